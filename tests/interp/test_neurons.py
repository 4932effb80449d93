"""Top activations of all neurons in one pass, against keeping every activation."""

import pytest
import torch
from helpers import max_difference, random_model, tiny_config

from gpt2_core.tokenizer import Tokenizer
from interp.edits import Edit, Plan
from interp.intervene import compile_plan
from interp.neurons import EDGES, _counts, activations_at, contexts, top_activations, top_activations_stream

MODEL = random_model(tiny_config(n_layers=2, d_model=16, d_vocab=200, n_ctx=32))
TEXT = torch.randint(0, 199, (53,), generator=torch.Generator().manual_seed(0)).tolist()


@torch.no_grad()
def everything(layer, window, bos, edit=None):
    """Every activation of a layer over the text, window by window: [token neuron]."""
    rows, kept = [], []
    for start in range(0, len(TEXT), window):
        ids = [199] * bos + TEXT[start : start + window]
        hooks = [] if edit is None else [edit]
        MODEL.run_with_hooks(torch.tensor([ids]), [*hooks, (f"blocks.{layer}.mlp.hook_post", lambda x, hook: kept.append(x))])
        rows += list(kept[-1][0, bos:])
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("layer", "window", "bos", "k", "batch"), [(1, 10, True, 4, 2), (0, 31, True, 60, 1), (1, 16, False, 3, 8)]
)
def test_equal_to_sorting_everything(layer, window, bos, k, batch):
    found, table = top_activations(MODEL, TEXT, layer, k, window=window, bos=bos, batch=batch), everything(layer, window, bos)
    top = table.topk(min(k, 53), 0)
    assert found.values.shape == (64, min(k, 53)) and max_difference(found.values, top.values.T) <= 1e-5
    assert max_difference(table.T.gather(1, found.positions), found.values) <= 1e-5
    assert all(len(set(row)) == len(row) for row in found.positions.tolist())
    assert max_difference(found.mean, table.mean(0)) <= 1e-5
    assert max_difference(found.active, (table > 0).float().mean(0)) <= 1e-6


def test_the_histogram_counts_every_token_once():
    found, table = top_activations(MODEL, TEXT, 1, 3, window=10), everything(1, 10, True)
    for neuron in (0, 17):
        column = table[:, neuron].tolist()
        ends = [*EDGES[1:], float("inf")]
        counts = [sum(low <= x < high for x in column) for low, high in zip([-float("inf"), *EDGES[1:]], ends)]
        assert found.histogram[neuron].tolist() == counts and sum(counts) == 53


def test_an_edge_belongs_to_the_bin_above_it():
    counts = _counts(torch.tensor([[edge] for edge in EDGES[1:]]))
    assert counts.tolist() == [[0] + [1] * (len(EDGES) - 1)]


def test_every_neuron_at_one_position():
    plan = Plan((Edit.scale("attn_out", 0, value=-2.0),))
    found = activations_at(MODEL, TEXT[:20], 7, hook=compile_plan(MODEL, plan))
    for layer in (0, 1):
        kept = []
        hooks = [
            ("blocks.0.hook_attn_out", lambda x, hook: -2 * x),
            (f"blocks.{layer}.mlp.hook_post", lambda x, hook, kept=kept: kept.append(x)),
        ]
        with torch.no_grad():
            MODEL.run_with_hooks(torch.tensor([TEXT[:20]]), fwd_hooks=hooks)
        assert max_difference(found[layer], kept[0][0, 7]) <= 1e-5


def test_a_stream_is_the_text_so_far():
    parts = list(top_activations_stream(MODEL, TEXT, 1, 3, window=10, batch=2))
    assert [(p.done, p.windows) for p in parts] == [(2, 6), (4, 6), (6, 6)]
    for part in parts:
        n = min(part.done * 10, 53)
        whole = top_activations(MODEL, TEXT[:n], 1, 3, window=10)
        assert torch.equal(part.positions, whole.positions) and torch.equal(part.histogram, whole.histogram)
        assert max_difference(part.mean, whole.mean) <= 1e-6 and max_difference(part.active, whole.active) <= 1e-6


def test_contexts_show_the_tokens_around_each_place():
    found, table = top_activations(MODEL, TEXT, 1, 5, window=10), everything(1, 10, True)
    for rank, context in enumerate(contexts(MODEL, found, 7, before=3, after=2)):
        position = context.position
        assert position == found.positions[7, rank] and context.strings[context.peak] == f"<|{TEXT[position]}|>"
        first = position - context.peak
        assert first == max(position // 10 * 10, position - 3)
        assert len(context.strings) == min(position // 10 * 10 + 10, position + 3, 53) - first
        assert max_difference(context.activations, table[first : first + len(context.strings), 7]) <= 1e-5
    with pytest.raises(ValueError, match="L1N64"):
        contexts(MODEL, found, 64)


def test_a_plan_progress_and_cancelling():
    seen = []
    plan = Plan((Edit.scale("attn_out", 0, value=-2.0),))
    found = top_activations(MODEL, TEXT, 0, 2, window=10, batch=4, plan=plan, progress=lambda *x: seen.append(x))
    table = everything(0, 10, True, ("blocks.0.hook_attn_out", lambda x, hook: -2 * x))
    assert max_difference(found.values, table.topk(2, 0).values.T) <= 1e-5 and seen == [(4, 6), (6, 6)]
    assert max_difference(contexts(MODEL, found, 3)[0].activations.max(), found.values[3, 0]) <= 1e-5
    with pytest.raises(ValueError, match="Stopped after 0 windows"):
        top_activations(MODEL, TEXT, 0, window=10, cancel=lambda: True)
    for text, layer, k in (([], 0, 1), (TEXT, 2, 1), (TEXT, 0, 0)):
        with pytest.raises(ValueError):
            top_activations(MODEL, text, layer, k)


def test_text_is_read_by_the_tokenizer():
    model = random_model(tiny_config(d_model=16), tokenizer=Tokenizer.load())
    found = top_activations(model, "The old clock struck twelve", 0, 1)
    assert found.tokens == tuple(model.tokenizer.encode("The old clock struck twelve")) and str(found.tokens) not in repr(found)
    context = contexts(model, found, 0, before=99, after=99)[0]
    assert "".join(context.strings) == "The old clock struck twelve"
