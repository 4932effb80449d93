"""What heads do to words, from weights alone, one word and one head at a time."""

import pytest
import torch
from helpers import random_model, tiny_config
from literature_models import measured

from interp.folding import fold
from interp.literature import vocabulary
from interp.literature.prompts import named


@pytest.fixture(scope="module")
def words_of_40():
    """A model of few words, so that a random head's share is neither 0 nor 1."""
    return random_model(tiny_config(n_layers=3, n_heads=3, d_model=24, d_vocab=40), seed=3)


def _rendered(model, token):
    """What the first MLP makes of a token alone, centred, by the layer's own modules."""
    block, row = model.h[0], model.W_E[token]
    normal = torch.nn.functional.layer_norm(row, (24,), block.ln_2.weight, block.ln_2.bias, block.ln_2.eps)
    mlp = block.mlp
    out = torch.nn.functional.gelu(normal @ mlp.c_fc.weight + mlp.c_fc.bias, approximate="tanh")
    out = out @ mlp.c_proj.weight + mlp.c_proj.bias
    return out - out.mean()


def test_suppressed_and_looked_for_words_one_at_a_time(words_of_40, monkeypatch):
    model, folded = words_of_40, fold(words_of_40)
    monkeypatch.setattr(vocabulary, "N_TOKENS", 40)
    table = torch.zeros(3, 3)
    table[1, 2] = -1.0
    monkeypatch.setattr(vocabulary, "mean_by_head", lambda model: (table, 0.0))
    attn, lowered, looked = folded.h[1].attn, 0, 0
    for token in range(40):
        logits = _rendered(model, token) @ attn.W_V[2] @ attn.W_O[2] @ folded.W_U
        lowered += int((logits < logits[token]).sum()) < 10
        scores = []
        for key in range(40):
            row = _rendered(model, key)
            scores.append((folded.W_U[:, token] @ attn.W_Q[2]) @ (row / row.norm() @ attn.W_K[2]))
        looked += max(range(40), key=lambda i, scores=scores: scores[i]) == token
    found = measured("copy_suppression", model)
    assert found.values[:, 0].tolist() == pytest.approx([lowered / 40, looked / 40]) and 0 < lowered < 40
    assert found.facts["head"] == "L1H2"


def test_a_head_made_to_hold_words_back_holds_all_back_and_looks_at_each():
    words = torch.nn.functional.normalize(torch.randn(40, 24, generator=torch.Generator().manual_seed(0)), dim=-1)
    eye = torch.eye(24)[None]
    made = vocabulary.HeadMatrices(eye, eye, eye, -eye)
    given = (words, made, 0, words.T, torch.arange(40))
    assert vocabulary.suppressed(*given) == vocabulary.looked_for(*given) == 1
    raising = vocabulary.HeadMatrices(-eye, eye, eye, eye)
    assert vocabulary.suppressed(words, raising, *given[2:]) == vocabulary.looked_for(words, raising, *given[2:]) == 0


def test_successors_one_word_and_one_head_at_a_time(words_of_40, monkeypatch):
    model, folded = words_of_40, fold(words_of_40)
    pairs = {"a": (torch.tensor([3, 4, 5]), torch.tensor([4, 5, 3])), "b": (torch.tensor([20, 21]), torch.tensor([21, 22]))}
    monkeypatch.setattr(vocabulary, "series_pairs", lambda tokenizer: pairs)
    table = torch.zeros(3, 3, 5)
    for layer in range(3):
        for head in range(3):
            attn, n = folded.h[layer].attn, 0
            for first, following in pairs.values():
                for word, successor in zip(first.tolist(), following.tolist()):
                    logits = _rendered(model, word) @ attn.W_V[head] @ attn.W_O[head] @ folded.W_U
                    table[layer, head, n] = all(logits[successor] >= logits[other] for other in following.tolist())
                    n += 1
    found = torch.stack(list(vocabulary.succeeded(model, pairs)))
    assert torch.equal(found, table.transpose(1, 2)) and 0 < table.mean() < 1
    shares = table.mean(-1).flatten()
    best = shares.argmax().item()
    others = [share for i, share in enumerate(shares.tolist()) if i != best]
    result = measured("successor", model)
    assert result["share of pairs"] == pytest.approx(shares[best].item())
    assert result["lead over the next head"] == pytest.approx(shares[best].item() - max(others))
    assert result["series: a"] == pytest.approx(table[best // 3, best % 3, :3].mean().item())
    assert result.facts["strongest"] == result.facts["head"] == named([divmod(best, 3)])


def test_series_are_of_single_tokens_and_some_begin_again(model):
    pairs = vocabulary.series_pairs(model.tokenizer)
    assert set(pairs) == set(vocabulary.SERIES)
    first, following = ([model.tokenizer.decode([i]) for i in column.tolist()] for column in pairs["days"])
    assert following == first[1:] + first[:1] and first[0] == " Monday" and len(first) == 7
    assert len(pairs["letters"][0]) == 25 and len(pairs["months"][0]) == 12
    assert all(ids.ndim == 1 and len(ids) == len(pair[1]) for pair in pairs.values() for ids in pair)
