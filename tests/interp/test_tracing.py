"""Causal tracing against a loop over whole runs, with its controls."""

import pytest
import torch
from helpers import max_difference, random_model, some_tokens, tiny_config

from interp import tracing
from interp.edits import NO_EDITS, Edit, Plan
from interp.intervene import compile_plan
from interp.tracing import causal_trace, draw_noise, layers_restored, probability_of

CONFIG = tiny_config(n_layers=4, n_heads=2, d_model=16, d_vocab=60, n_ctx=16)
MODEL = random_model(CONFIG).double()
TOKENS = some_tokens(CONFIG, batch=1, pos=5)[0]
SUBJECT = (1, 3)
NOISE = draw_noise(MODEL, 2, samples=3, factor=3, seed=4)
PLAN = Plan((Edit.scale("resid_pre", 1, value=1.7), Edit.zero("z", 2, 1)))
METRIC = probability_of(7)


def one_run(sample: int | None, restored: dict[str, int], clean: dict[str, torch.Tensor], plan: Plan) -> tuple[float, dict]:
    """One run of one row: noise of a sample or none, and clean states put back at a position of the named hooks."""
    at = torch.arange(len(TOKENS))[None]
    inner = compile_plan(MODEL, plan, bos=False)
    inner = None if inner is None else inner.positioned(at, at)
    seen = {}

    def hook(name, x):
        if inner is not None and inner.wants(name):
            x = inner(name, x)
        x = x.clone()
        if name == "hook_embed" and sample is not None:
            for i in range(SUBJECT[1] - SUBJECT[0]):
                x[0, SUBJECT[0] + i] += NOISE.samples[sample, i]
        if name in restored:
            x[0, restored[name]] = clean[name][0, restored[name]]
        seen[name] = x
        return x

    with torch.no_grad():
        logits = MODEL(TOKENS[None], hook=hook)[0, -1]
    return logits.softmax(-1)[7].item(), seen


def test_noise_is_drawn_for_the_subject_where_none_is_given():
    drawn = causal_trace(MODEL, TOKENS, SUBJECT, METRIC)
    assert torch.equal(drawn.values, causal_trace(MODEL, TOKENS, SUBJECT, METRIC, noise=draw_noise(MODEL, 2)).values)


@pytest.mark.parametrize("plan", [NO_EDITS, PLAN])
@pytest.mark.parametrize(
    ("component", "window"), [("resid_pre", 1), ("resid_post", 1), ("mlp_out", 1), ("mlp_out", 3), ("attn_out", 2)]
)
def test_every_cell_equals_a_whole_run(component, window, plan):
    traced = causal_trace(MODEL, TOKENS, SUBJECT, METRIC, component, window, NOISE, plan, rows=7)
    clean, states = one_run(None, {}, {}, plan)
    assert traced.clean == pytest.approx(clean, abs=1e-6)
    for sample in range(3):
        assert traced.corrupted[sample].item() == pytest.approx(one_run(sample, {}, {}, plan)[0], abs=1e-6)
        for layer in range(4):
            low, high = layer - window // 2, layer - (-window // 2)
            names = [f"blocks.{l}.hook_{component}" for l in range(low, high) if 0 <= l < 4]
            for position in range(5):
                expected, _ = one_run(sample, dict.fromkeys(names, position), states, plan)
                assert traced.values[layer, position, sample].item() == pytest.approx(expected, abs=1e-6)
    assert max_difference(traced.effect, traced.values.mean(-1) - traced.corrupted.mean()) <= 1e-7
    assert traced.effect.abs().max() > 1e-4 and traced.total_effect == pytest.approx(clean - traced.corrupted.mean().item())


def test_controls():
    traced = causal_trace(MODEL, TOKENS, SUBJECT, METRIC, "resid_post", noise=NOISE)
    assert max_difference(traced.values[-1, -1], torch.full((3,), traced.clean)) <= 1e-6  # the last state is the answer
    assert max_difference(traced.values[-1, 0], traced.corrupted) <= 1e-6  # the last layer elsewhere is read by nobody
    assert max_difference(traced.values[:, 0], traced.corrupted.expand(4, -1)) <= 1e-6  # before the noise nothing was lost
    one = causal_trace(MODEL, TOKENS, (1, 2), METRIC, "resid_pre", noise=draw_noise(MODEL, 1))
    assert max_difference(one.values[0, 1], torch.full((10,), one.clean)) <= 1e-6  # all of the noise taken back
    assert abs(one.total_effect) > 1e-4


def test_noise_is_seeded_and_of_the_size_that_is_said():
    assert torch.equal(NOISE.samples, draw_noise(MODEL, 2, 3, 3, 4).samples)
    assert not torch.equal(NOISE.samples, draw_noise(MODEL, 2, 3, 3, 5).samples)
    assert NOISE.sigma == pytest.approx(MODEL.W_E.std().item())
    some = draw_noise(MODEL, 20, samples=50, sigma=0.5, factor=2)
    assert some.samples.std().item() == pytest.approx(1.0, rel=0.03) and some.samples.mean().abs() < 0.02
    assert tracing.embedding_sigma(MODEL, [1, 2]) == pytest.approx(MODEL.W_E[[1, 2]].std().item())


def test_windows_are_cut_off_at_the_ends():
    assert [list(layers_restored(layer, 1, 4)) for layer in range(4)] == [[0], [1], [2], [3]]
    assert list(layers_restored(5, 10, 12)) == list(range(0, 10)) and list(layers_restored(0, 10, 12)) == [0, 1, 2, 3, 4]
    assert list(layers_restored(11, 3, 12)) == [10, 11]


def test_steps_can_be_left_at_any_time():
    steps = tracing.trace_steps(MODEL, TOKENS, SUBJECT, METRIC, "mlp_out", 3, NOISE, rows=3)
    first = next(steps)
    assert (first.layer, first.positions, first.values.shape, first.done, first.total) == (0, (0,), (1, 3), 1, 20)
    steps.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"component": "z"}, "restored"),
        ({"window": 3}, "for mlp_out"),
        ({"component": "mlp_out", "window": 0}, "1 or more"),
        ({"subject": (3, 6)}, "does not lie"),
        ({"subject": (1, 2)}, "noise is for 2 tokens"),
    ],
)
def test_what_cannot_be_traced(change, said):
    with pytest.raises(ValueError, match=said):
        causal_trace(MODEL, TOKENS, **{"subject": SUBJECT, "metric": METRIC, "noise": NOISE, **change})
    with pytest.raises(ValueError, match="above 0"):
        draw_noise(MODEL, 2, samples=0)


def test_two_runs_and_then_a_batch_for_each_cell():
    calls = []

    class Counting(type(MODEL)):
        def forward(self, tokens, **how):
            calls.append((how.get("start_at_layer"), len(tokens)))
            return super().forward(tokens, **how)

    model = Counting(CONFIG).double()
    model.load_state_dict(MODEL.state_dict())
    traced = causal_trace(model, TOKENS, SUBJECT, METRIC, noise=NOISE)
    assert calls == [(None, 1), (None, 3), (None, 15), (1, 15), (2, 15), (3, 15)]  # nothing is run twice
    with_end = causal_trace(model, torch.cat([torch.tensor([59]), TOKENS]), (2, 4), METRIC, noise=NOISE)
    assert (traced.provenance.bos, with_end.provenance.bos) == (False, True)


def test_positions_restored_alone_are_those_of_the_whole_trace():
    traced = causal_trace(MODEL, TOKENS, SUBJECT, METRIC, "mlp_out", 3, NOISE)
    steps = list(tracing.trace_steps(MODEL, TOKENS, SUBJECT, METRIC, "mlp_out", 3, NOISE, positions=(2, -1), rows=3))
    assert [step.positions for step in steps] == [(2,), (4,)] * 4 and (steps[-1].done, steps[-1].total) == (8, 8)
    for step in steps:
        torch.testing.assert_close(step.values, traced.values[step.layer, list(step.positions)])
    with pytest.raises(ValueError, match="Position 5 is outside"):
        next(tracing.trace_steps(MODEL, TOKENS, SUBJECT, METRIC, "mlp_out", 1, NOISE, positions=(5,)))
