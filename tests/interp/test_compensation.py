"""Direct effects before and after a knock-out: against their sums, arithmetic by hand, whole runs and folded weights."""

import pytest
import torch
from helpers import max_difference, random_model, some_tokens, tiny_config

from interp.ablation import Ablation, Part, ablate
from interp.compensation import compensation, direct_effects
from interp.edits import Edit, Plan
from interp.folding import fold
from interp.intervene import compile_plan
from interp.prompt_sets import answer_metric

CONFIG = tiny_config(n_layers=3, n_heads=4, d_model=16, d_vocab=60, n_ctx=16)
MODEL = random_model(CONFIG).double()
TOKENS, OTHERS = some_tokens(CONFIG, batch=3, pos=7), some_tokens(CONFIG, batch=3, pos=7, seed=1)
METRIC = answer_metric("logit_difference", [[1], [2, 3], [4]], [[5], [6], [7, 8]])
MEAN = Ablation.mean(OTHERS)


def of(effects, part):
    """The direct effect of a part; of neurons, that of their MLP."""
    return effects.heads[:, part.layer, part.index[0]] if part.kind == "head" else effects.mlps[:, part.layer]


@pytest.mark.parametrize("parts", [[Part.head(0, 1), Part.head(1, 2)], [Part.mlp(1)], [Part.neurons(0, [1, 2, 3])]])
def test_compensation_by_its_sums(parts):
    result = compensation(MODEL, TOKENS, METRIC, parts, MEAN)
    assert result.before.check.holds and result.after.check.holds
    assert max_difference(result.before.total, METRIC(ablate(MODEL, TOKENS, []))) <= 1e-6
    after = METRIC(ablate(MODEL, TOKENS, parts, MEAN))
    assert max_difference(result.drop, METRIC(ablate(MODEL, TOKENS, [])) - after) <= 1e-6
    grown = result.grown(mlps=True)
    assert [g.change for g in grown] == sorted((g.change for g in grown), reverse=True)
    assert not set(parts) & {g.part for g in grown}
    assert len(grown) == 15 - sum(part.kind in ("head", "mlp") for part in parts)
    best = grown[0]
    assert (best.before, best.after) == pytest.approx([of(e, best.part).mean().item() for e in (result.before, result.after)])
    assert max_difference(result.lost, sum(of(result.before, part) - of(result.after, part) for part in parts)) <= 1e-12
    assert result.repaired == pytest.approx(1 - result.drop.mean().item() / result.lost.mean().item())


def test_a_last_head_is_lost_as_a_whole_but_for_the_scale():
    result = compensation(MODEL, TOKENS, METRIC, [Part.head(2, 1)])
    assert max_difference(result.after.heads[:, 2, 1], torch.zeros(3)) <= 1e-12
    assert max_difference(result.lost, result.before.heads[:, 2, 1]) <= 1e-12
    rescaled = result.before.heads[:, 0, 0] * result.before.scale / result.after.scale  # nothing else can react
    assert max_difference(rescaled, result.after.heads[:, 0, 0]) <= 1e-6


def test_direct_effects_by_hand_and_under_a_plan():
    effects = direct_effects(MODEL, TOKENS, METRIC, compile_plan(MODEL, Plan((Edit.zero("z", 1, 0),))))
    assert effects.check.holds and effects.heads[:, 1, 0].abs().max() == 0
    plain = direct_effects(MODEL, TOKENS, METRIC)
    with torch.no_grad():
        _, cache = MODEL.run_with_cache(TOKENS)
    for prompt in range(3):
        written = cache["z", 1][prompt, -1, 2] @ MODEL.h[1].attn.W_O[2]
        centred = (written - written.mean()) / cache["ln_final.hook_scale"][prompt, -1] * MODEL.ln_f.weight
        logits = centred @ MODEL.W_U
        right, wrong = ([ids for ids in row.tolist() if ids >= 0] for row in (METRIC.correct[prompt], METRIC.wrong[prompt]))
        expected = logits[right].mean() - logits[wrong].mean()
        assert plain.heads[prompt, 1, 2].item() == pytest.approx(expected.item(), abs=1e-6)
    between = Plan((Edit.scale("resid_mid", 1, value=2.0),))
    unsaid = direct_effects(MODEL, TOKENS, METRIC, compile_plan(MODEL, between))
    assert not unsaid.check.holds  # an edit between the parts is no part, and the check says so


STREAM_EDITS = [
    Edit.scale("attn_out", 0, value=2.0),
    Edit.scale("resid_pre", 0, value=1.5),
    Edit.scale("resid_pre", 2, value=0.5),
    Edit.scale("resid_mid", 1, value=0.5),
    Edit.scale("resid_post", 2, value=3.0),
]


@pytest.mark.parametrize("plan", [Plan((e,)) for e in STREAM_EDITS] + [Plan(tuple(STREAM_EDITS))], ids=lambda p: p.to_json())
def test_edits_of_the_stream_are_a_term_of_their_own(plan):
    result = compensation(MODEL, TOKENS, METRIC, [Part.head(1, 2)], plan=plan)
    for effects, parts in ((result.before, []), (result.after, [Part.head(1, 2)])):
        assert effects.check.holds and effects.check.tolerance < 1e-6 and effects.edits.abs().max() > 1e-3
        assert max_difference(effects.total, METRIC(ablate(MODEL, TOKENS, parts, plan=plan))) <= 1e-6
    plain = compensation(MODEL, TOKENS, METRIC, [Part.head(1, 2)])
    assert plain.before.edits.abs().max() == 0


def test_direct_effects_of_folded_weights():
    """The head's bias is part of the difference; heads differ from the raw ones by their value biases, MLPs do not."""
    raw, folded = (direct_effects(model, TOKENS, METRIC) for model in (MODEL, fold(MODEL)))
    assert folded.check.holds and max_difference(raw.total, folded.total) <= 1e-6
    assert max_difference(raw.mlps, folded.mlps) <= 1e-6 < (raw.heads - folded.heads).abs().max()


def test_what_has_no_compensation():
    with pytest.raises(ValueError, match="name all of its heads"):
        compensation(MODEL, TOKENS, METRIC, [Part.attn(0)])
    with pytest.raises(ValueError, match="is a direction"):
        compensation(MODEL, TOKENS, answer_metric("probability", [[1]], [[2]]), [Part.head(0, 0)])
