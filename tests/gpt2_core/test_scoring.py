"""Scores against naive loops that read one window per token, and against Hugging Face's perplexity guide."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import hf_model, random_model, some_tokens, tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_core import scoring
from gpt2_core.model import GPT2
from gpt2_core.scoring import logprob_of, logprobs_of, perplexity, perplexity_of, score, windows
from gpt2_core.tokenizer import Tokenizer

EOS = 50256
TEXT = "The naïve quick brown fox 😀 jumps over the lazy dog, twice.\n\nThen it rests. "


@pytest.fixture(scope="module")
def model() -> GPT2:
    return random_model(tiny_config(), tokenizer=Tokenizer.load())


@pytest.fixture(scope="module")
def small() -> GPT2:
    """A small vocabulary and context, for many windows."""
    return random_model(tiny_config(d_vocab=97, n_ctx=16))


@torch.no_grad()
def naive_logprobs(model: GPT2, ids: list[int], hook=None) -> torch.Tensor:
    return model(torch.tensor([ids]), hook=hook)[0].double().log_softmax(-1)


def zero_layer_1(name, x):
    return torch.zeros_like(x) if name == "blocks.1.hook_mlp_out" else None


# -- score ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", [None, zero_layer_1])
@pytest.mark.parametrize("bos", [True, False])
def test_scores_equal_a_plain_forward_pass(model, bos, hook):
    got = score(model, TEXT, bos=bos, hook=hook, top=3)
    ids = model.tokenizer.encode(TEXT)
    assert got.ids == tuple(ids) and got.strings == tuple(model.tokenizer.strings(ids)) and got.bos == bos
    table = naive_logprobs(model, [EOS, *ids] if bos else ids, hook)
    start = 0 if bos else 1
    for i in range(start, len(ids)):
        row = table[i if bos else i - 1]
        assert got.logprobs[i] == pytest.approx(row[ids[i]].item(), abs=1e-4)
        assert got.ranks[i] == (row > row[ids[i]] + 1e-6).sum()
        assert got.entropies[i] == pytest.approx(-(row.exp() * row).sum().item(), abs=1e-4)
        assert [a.id for a in got.alternatives[i]] == row.topk(3).indices.tolist()
        assert [a.logprob for a in got.alternatives[i]] == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)
        assert got.surprisals[i] == -got.logprobs[i]
        assert got.surprisals_bits[i] == pytest.approx(-got.logprobs[i] / math.log(2))
    if not bos:
        first = (got.logprobs[0], got.ranks[0], got.entropies[0], got.alternatives[0], got.surprisals[0])
        assert first == (None, None, None, (), None)
    scored = got.logprobs[start:]
    assert got.total_logprob == pytest.approx(sum(scored))
    assert got.perplexity == pytest.approx(math.exp(-sum(scored) / len(scored)))


def test_an_edit_changes_scores(model):
    assert score(model, TEXT).logprobs != score(model, TEXT, hook=zero_layer_1).logprobs


def test_one_token_without_bos_has_no_score(model):
    got = score(model, [40], bos=False)
    assert got.logprobs == (None,) and got.perplexity is None and got.total_logprob == 0


@pytest.mark.parametrize("bos", [True, False])
def test_a_text_longer_than_the_context_is_scored_in_windows(small, bos):
    ids = some_tokens(small.cfg, 1, 50)[0].tolist()
    got = score(small, ids, bos=bos)
    assert len(got.logprobs) == 50 and "16 tokens" in got.notices[0] and "8 apart" in got.notices[0]
    sequence = [small.cfg.d_vocab - 1, *ids] if bos else ids
    expected = [table_row for table_row in _window_by_window(small, sequence, 16, 8)]
    assert [v for v in got.logprobs if v is not None] == pytest.approx(expected, abs=1e-4)
    assert got.logprobs.count(None) == (0 if bos else 1)
    assert score(small, ids[:15], bos=bos).notices == ()


@pytest.mark.parametrize("stride", [1, 5, 8, 15, 16])
@pytest.mark.parametrize("bos", [True, False])
def test_scores_add_up_to_the_perplexity_of_their_stride(small, stride, bos):
    ids = some_tokens(small.cfg, 1, 50)[0].tolist()
    got = score(small, ids, bos=bos, stride=stride)
    sequence = [small.cfg.d_vocab - 1, *ids] if bos else ids
    assert [v for v in got.logprobs if v is not None] == pytest.approx(_window_by_window(small, sequence, 16, stride), abs=1e-4)
    whole, expected = perplexity_of(small, got), perplexity(small, ids, stride=stride, bos=bos)
    assert whole.nats == -got.total_logprob == pytest.approx(expected.nats, rel=1e-5)
    assert replace(whole, nats=0.0) == replace(expected, nats=0.0)
    assert f"{stride} apart" in got.notices[0]


@pytest.mark.parametrize("bos", [True, False])
def test_scores_add_up_to_perplexities_per_word_byte_and_character(model, bos):
    got, expected = perplexity_of(model, score(model, TEXT, bos=bos)), perplexity(model, TEXT, stride=32, bos=bos)
    assert got.units == expected.units and got.per("byte").perplexity == pytest.approx(expected.per("byte").perplexity)


def test_a_stride_that_cannot_be_is_one_sentence(small):
    for stride in (0, 17):
        with pytest.raises(ValueError, match="stride must be between 1 and the context"):
            score(small, [1, 2, 3], stride=stride)


def _window_by_window(model: GPT2, ids: list[int], context: int, stride: int) -> list[float]:
    """Each token's log-probability from a forward pass over nothing but the window that scores it, up to that token."""
    out = []
    for i in range(1, len(ids)):
        begin = 0 if i < context else math.ceil((i + 1 - context) / stride) * stride
        if begin < i:
            out.append(naive_logprobs(model, ids[begin:i])[-1, ids[i]].item())
    return out


# -- perplexity -----------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(n=st.integers(1, 200), context=st.integers(2, 40), stride=st.integers(1, 40))
def test_windows_score_every_token_once(n, context, stride):
    stride = min(stride, context)
    found = list(windows(n, context, stride))
    scored = [i for w in found for i in range(w.first, w.end)]
    begins = {w.begin for w in found}
    assert all(w.end - w.begin <= context and w.begin < w.first <= max(w.end, w.begin + 1) for w in found)
    assert scored == [i for i in range(n) if i != 0 and not (stride == context and i in begins)]


@torch.no_grad()
def hugging_faces_guide(hf, ids: torch.Tensor, max_length: int, stride: int) -> tuple[float, int]:
    """The loop of the guide "Perplexity of fixed-length models", summing instead of averaging."""
    nats, n_tokens, previous_end = 0.0, 0, 0
    for begin in range(0, ids.size(1), stride):
        end = min(begin + max_length, ids.size(1))
        labels = ids[:, begin:end].clone()
        labels[:, : -(end - previous_end)] = -100
        valid = (labels[:, 1:] != -100).sum().item()
        if valid:
            nats += hf(ids[:, begin:end], labels=labels).loss.item() * valid
        n_tokens += valid
        previous_end = end
        if end == ids.size(1):
            break
    return nats, n_tokens


@pytest.mark.parametrize("context, stride", [(16, 16), (16, 5), (10, 1), (12, 11), (16, 8), (2, 1)])
@pytest.mark.parametrize("n", [60, 16, 7])
def test_perplexity_equals_hugging_faces_guide_and_a_naive_loop(small, context, stride, n):
    ids = some_tokens(small.cfg, 1, n, seed=n)
    nats, scored = hugging_faces_guide(hf_model(small), ids, context, stride)
    got = perplexity(small, ids[0], stride=stride, context=context)
    assert got.n_scored == scored == got.n_units
    assert got.nats == pytest.approx(nats, rel=1e-5)
    assert got.nats == pytest.approx(-sum(_window_by_window(small, ids[0].tolist(), context, stride)), rel=1e-5)
    assert got.perplexity == pytest.approx(math.exp(nats / scored), rel=1e-5)
    assert (got.stride, got.context, got.n_tokens, got.bos) == (stride, context, n, False)


def test_normalisers_count_the_text(model):
    got = perplexity(model, TEXT, stride=32, normaliser="byte", bos=True)
    assert got.units == {
        "token": len(model.tokenizer.encode(TEXT)),
        "word": len(TEXT.split()),
        "byte": len(TEXT.encode()),
        "char": len(TEXT),
    }
    assert got.nats == pytest.approx(-score(model, TEXT).total_logprob, rel=1e-5)
    for unit, count in got.units.items():
        assert got.per(unit).nats_per_unit == pytest.approx(got.nats / count)
        assert got.per(unit).bits_per_unit == pytest.approx(got.nats / count / math.log(2))
    words = perplexity(model, TEXT, stride=32, normaliser="word", n_units=20, bos=True)
    assert words.perplexity == pytest.approx(math.exp(words.nats / 20))


def test_hook_and_chunks_change_nothing_but_what_they_should(model, monkeypatch):
    ids = some_tokens(model.cfg, 1, 100)[0].tolist()
    plain = perplexity(model, ids, stride=20)
    monkeypatch.setattr(scoring, "CHUNK", 3)
    assert perplexity(model, ids, stride=20).nats == pytest.approx(plain.nats, rel=1e-6)
    assert perplexity(model, ids, stride=20, hook=lambda name, x: None).nats == pytest.approx(plain.nats, rel=1e-6)
    edited = perplexity(model, ids, stride=20, hook=zero_layer_1)
    assert abs(edited.nats - plain.nats) > 1e-3


def test_logits_are_made_a_few_positions_at_a_time(model, monkeypatch):
    monkeypatch.setattr(scoring, "CHUNK", 7)
    rows, unembed = [], model.unembed
    monkeypatch.setattr(model, "unembed", lambda x: rows.append(x.shape[1]) or unembed(x))
    perplexity(model, some_tokens(model.cfg, 1, 64)[0], stride=64)
    assert max(rows) == 7 and sum(rows) == 63


def test_progress_and_cancel(small):
    ids, told = some_tokens(small.cfg, 1, 60)[0].tolist(), []
    perplexity(small, ids, stride=8, progress=lambda done, total: told.append((done, total)))
    assert told == [(min(16 + 8 * i, 60), 60) for i in range(7)]
    part = perplexity(small, ids, stride=8, cancel=lambda: len(told) >= 10, progress=lambda *t: told.append(t))
    assert part.cancelled and part.n_scored == 31
    assert part.nats == pytest.approx(perplexity(small, ids[:32], stride=8).nats, rel=1e-5)
    none = perplexity(small, ids, stride=8, cancel=lambda: True)
    assert none.cancelled and none.n_scored == 0 and math.isnan(none.nats_per_unit)


def test_a_cancelled_text_counts_only_what_was_read(model):
    calls = iter([False, True])
    text = "one two three four " * 40
    part = perplexity(model, text, stride=16, normaliser="word", bos=True, cancel=lambda: next(calls))
    read = model.tokenizer.decode(model.tokenizer.encode(text)[:63])
    assert part.n_units == len(read.split()) and part.n_scored == 63


@pytest.mark.parametrize(
    "change, says",
    [
        ({"stride": 0}, "stride must be between 1 and the context"),
        ({"stride": 17}, "stride must be between 1 and the context"),
        ({"stride": 1, "context": 17}, "context must be between 2"),
        ({"stride": 1, "context": 1}, "context must be between 2"),
        ({"stride": 8, "normaliser": "word"}, "normaliser"),
    ],
)
def test_bad_settings_are_one_sentence(small, change, says):
    with pytest.raises(ValueError, match=says):
        perplexity(small, [1, 2, 3], **change)


def test_nothing_to_score_is_one_sentence(model, small):
    for run in (lambda: score(model, ""), lambda: perplexity(model, [], stride=4)):
        with pytest.raises(ValueError, match="empty"):
            run()
    with pytest.raises(ValueError, match="no tokenizer"):
        score(small, "text")


# -- continuations ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [[5, 9, 40, 2], [7], []])
@pytest.mark.parametrize("hook", [None, zero_layer_1])
def test_continuations_equal_whole_forward_passes(small, prefix, hook):
    options = [[3, 8, 1, 60, 2], [4], [3, 8]]
    for ids, got in zip(options, logprobs_of(small, prefix, options, hook=hook), strict=True):
        start = prefix or [small.cfg.d_vocab - 1]
        table = naive_logprobs(small, [*start, *ids], hook)[len(start) - 1 :]
        expected = [table[i, id].item() for i, id in enumerate(ids)]
        assert list(got) == pytest.approx(expected, abs=1e-4) and got.total == pytest.approx(sum(expected), abs=1e-4)
        assert got.mean == pytest.approx(sum(expected) / len(ids), abs=1e-4) and len(got) == len(ids)
        assert list(got.ranks) == [int((table[i] > table[i, id] + 1e-6).sum()) for i, id in enumerate(ids)]
        assert list(logprob_of(small, prefix, ids, hook=hook)) == pytest.approx(expected, abs=1e-4)


def test_log_probabilities_of_a_bfloat16_model_are_float32(small):
    model = random_model(small.config).bfloat16()
    total = logprob_of(model, [5, 9, 40], [7]).total
    assert total == pytest.approx(naive_logprobs(model, [5, 9, 40])[2, 7].item(), abs=0.05)
    assert total != torch.tensor(total).bfloat16().item()


def test_a_greedy_continuation_is_recognised(small):
    first = int(naive_logprobs(small, [5, 9])[-1].argmax())
    second = int(naive_logprobs(small, [5, 9, first])[-1].argmax())
    assert logprob_of(small, [5, 9], [first, second]).is_greedy
    assert not logprob_of(small, [5, 9], [first, (second + 1) % 97]).is_greedy


def test_continuations_must_fit(small):
    assert len(logprob_of(small, list(range(10)), list(range(7)))) == 7
    with pytest.raises(ValueError, match="context of 16"):
        logprob_of(small, list(range(10)), list(range(8)))
    with pytest.raises(ValueError, match="at least one token"):
        logprobs_of(small, [1], [[1], []])
    with pytest.raises(ValueError, match="at least one token"):
        logprobs_of(small, [1], [])
