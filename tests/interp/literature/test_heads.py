"""Single heads against their definitions written out as loops."""

import pytest
import torch
from literature_models import measured, repeated

from interp import prompt_sets
from interp.literature import heads, prompts


def test_head_scores_read_the_notebooks_tokens(model):
    _, cache = model.run_with_cache(repeated())
    pattern = cache["pattern", 1]
    at = torch.arange(200)
    wanted = {
        "previous_token": pattern[:, :, at[1:], at[1:] - 1].mean((0, 2)),
        "duplicate_token": pattern[:, :, at[100:], at[100:] - 100].mean((0, 2)),
        "induction": pattern[:, :, at[100:], at[100:] - 99].mean((0, 2)),
    }
    for role, expected in wanted.items():
        torch.testing.assert_close(measured(role, model).values[1].float(), expected, atol=1e-5, rtol=1e-4)
    diagonal = pattern.diagonal(-99, dim1=-2, dim2=-1).mean((0, 2))  # the notebook's, with one cell of the first copy
    assert (diagonal - wanted["induction"]).abs().max() <= heads.ONE_CELL


def test_copying_scores_are_of_the_eigenvalues_of_folded_weights(model, folded):
    for id, around in (("copying_ov", torch.eye(24).double()), ("copying", (folded.W_U @ folded.W_E).double())):
        W_OV = (folded.h[1].attn.W_V[2] @ folded.h[1].attn.W_O[2]).double()
        values = torch.linalg.eigvals(W_OV @ around)
        expected = values.real.sum() / values.abs().sum()
        assert measured(id, model)["L1", "H2"] == pytest.approx(expected.item(), abs=2e-3), id


def test_attention_from_the_end(model):
    n = 6
    found, drawn = heads.attention_from_end(model, n), prompt_sets.build("ioi", model.tokenizer, n, seed=0)
    sums = {"IO": torch.zeros(3, 3), "S2": torch.zeros(3, 3)}
    for pair in drawn.pairs:
        ids = list(pair.clean.ids)
        _, cache = model.run_with_cache(torch.tensor([ids]))
        places = {"IO": ids.index(pair.correct[0]), "S2": len(ids) - 1 - ids[::-1].index(pair.wrong[0])}
        for word, place in places.items():
            sums[word] += torch.stack([cache["pattern", layer][0, :, -1, place] for layer in range(3)])
    for word, total in sums.items():
        torch.testing.assert_close(found[word].float(), total / n, atol=1e-5, rtol=1e-4)


def test_circuit_heads_are_found_by_their_effect_where_no_paper_names_them(model, monkeypatch):
    monkeypatch.setattr(heads, "N_NAMES", 4)
    found = measured("ioi_heads", model)
    direct, looked = measured("dla_heads", model).values, heads.attention_from_end(model)
    movers = [divmod(i, 3) for i in direct.flatten().argsort(descending=True)[:3].tolist()]
    assert found["attention to the indirect object, name movers"] == pytest.approx(
        sum(looked["IO"][head].item() for head in movers) / 3, abs=1e-6
    )
    assert found.facts["movers"] == prompts.named(movers) and 0 <= found["copy score, all heads"] <= 1


def test_sink(model):
    _, cache = model.run_with_cache(model.to_tokens("Hello world!"))
    resid = cache["resid_pre", 1][0]
    found = measured("sink", model)
    assert found[found.rows[0]] == pytest.approx((resid[0].norm() / resid[1:].norm(dim=-1).max()).item(), rel=1e-4)
    assert found["its largest number"] == pytest.approx(resid[0].abs().max().item(), rel=1e-5)
