"""Previews against directional derivatives taken by finite differences, cell by cell; false negatives against the exact sweep."""

import itertools

import pytest
import torch
from helpers import max_difference, random_model, some_tokens, tiny_config

from interp import attribution_patching, patching
from interp.attribution_patching import Preview, false_negatives, preview
from interp.edits import NO_EDITS, Edit, Plan
from interp.intervene import compile_plan
from interp.metrics import logit_diff, probability
from interp.patching import COMPONENTS, OF_HEADS
from interp.sweep_cells import RESIDUAL

CONFIG = tiny_config(n_layers=2, n_heads=2, d_model=16, d_vocab=40)
MODEL = random_model(CONFIG).double()
CLEAN, CORRUPTED = some_tokens(CONFIG, 1, 5, seed=1), some_tokens(CONFIG, 1, 5, seed=2)
METRIC = logit_diff(3, 5)
GROUPS = 3
HOOKS = {
    **{name: f"hook_{name}" for name in RESIDUAL},
    **{name: f"attn.hook_{name}" for name in OF_HEADS},
    "neurons": "mlp.hook_post",
}
WAYS = [*((c, False) for c in COMPONENTS), *((c, True) for c in OF_HEADS)]
PLAN = Plan((Edit.scale("z", 1, 1, value=0.5), Edit.scale("resid_mid", 0, value=1.3, positions=(2, 4))))


class Nudge:
    """The plan's edits, then `amount` added to an activation."""

    def __init__(self, plan, name, amount):
        self.plan, self.name, self.amount = plan, name, amount

    def wants(self, name):
        return name == self.name or (self.plan is not None and self.plan.wants(name))

    def positioned(self, queries, keys):
        return Nudge(self.plan.positioned(queries, keys) if self.plan else None, self.name, self.amount)

    def __call__(self, name, x):
        x = self.plan(name, x) if self.plan is not None and self.plan.wants(name) else x
        return x + self.amount if name == self.name else x


def where(component, index):
    if component in RESIDUAL:
        return (0, index[0])
    if component == "neurons":
        return (0, slice(None), [i for i in range(CONFIG.d_mlp) if i * GROUPS // CONFIG.d_mlp == index[0]])
    head, pos = index[0], index[1] if len(index) > 1 else slice(None)
    return (0, head, pos) if component == "pattern" else (0, pos, head)


@torch.no_grad()
def by_differences(component, by_position, alphas, mode, plan=NO_EDITS, metric=METRIC, step=1e-5):
    """Central differences of the metric along (source - base) of each cell, averaged over interpolated embeddings."""
    base, source = (CORRUPTED, CLEAN) if mode == "denoise" else (CLEAN, CORRUPTED)
    hook = compile_plan(MODEL, plan)
    x0, x1 = (MODEL(tokens, stop_at_layer=0) for tokens in (base, source))
    sizes = [5] if component in RESIDUAL else [GROUPS] if component == "neurons" else [2, 5][: 1 + by_position]
    out = torch.zeros(2, *sizes, dtype=torch.float64)
    for layer in range(2):
        name = f"blocks.{layer}.{HOOKS[component]}"
        ends = [MODEL.run_with_cache(tokens, name, hook=hook)[1][name] for tokens in (base, source)]
        for index in itertools.product(*map(range, sizes)):
            part = torch.zeros_like(ends[0])
            cell = where(component, index)
            part[cell] = (ends[1] - ends[0])[cell]
            for alpha in alphas:
                x = x0 + alpha * (x1 - x0)
                up, down = (
                    metric(MODEL(x, start_at_layer=0, hook=Nudge(hook, name, sign * step * part))[:, -1]).item()
                    for sign in (1, -1)
                )
                out[(layer, *index)] += (up - down) / (2 * step) / len(alphas)
    return out


@pytest.mark.parametrize("component, by_position", WAYS)
@pytest.mark.parametrize("method, mode, plan", [("attribution", "denoise", PLAN), ("eap_ig", "noise", NO_EDITS)])
def test_every_cell_equals_its_derivative(component, by_position, method, mode, plan):
    options = {"mode": mode, "plan": plan, "by_position": by_position, "n_groups": GROUPS}
    guess = preview(MODEL, CLEAN, CORRUPTED, METRIC, component, method=method, steps=3, **options)
    expected = by_differences(component, by_position, [0.0] if method == "attribution" else [1 / 3, 2 / 3, 1.0], mode, plan)
    assert guess.effect.shape == expected.shape and expected.std() > 1e-4
    assert max_difference(guess.effect, expected) <= 1e-6
    exact = patching.sweep(MODEL, CLEAN, CORRUPTED, METRIC, component, **options)
    assert guess.effect.shape == exact.values.shape
    assert (guess.clean, guess.corrupted) == pytest.approx((exact.clean, exact.corrupted), abs=1e-6)


def test_small_patches_are_foreseen_exactly():
    """Prompts whose embeddings hardly differ: the metric is as good as linear between them."""
    near = random_model(CONFIG).double()
    with torch.no_grad():
        near.wte.weight.mul_(1e-4)
    for component in ("resid_pre", "z", "pattern"):
        guess = preview(near, CLEAN, CORRUPTED, METRIC, component)
        exact = patching.sweep(near, CLEAN, CORRUPTED, METRIC, component)
        assert max_difference(guess.effect, exact.effect) <= 1e-3 * exact.effect.abs().max().item()
        assert max_difference(guess.values, exact.values) <= 1e-3 * exact.effect.abs().max().item()


def test_integrated_gradients_close_the_gap():
    gaps = [preview(MODEL, CLEAN, CORRUPTED, METRIC, method="eap_ig", steps=steps).gap for steps in (4, 32, 256)]
    assert gaps[1] < gaps[0] / 3 and gaps[2] < gaps[1] / 3 and gaps[2] < 0.01
    guess = preview(MODEL, CLEAN, CORRUPTED, METRIC, method="eap_ig", steps=256)
    assert guess.effect[0].sum().item() == pytest.approx(guess.clean - guess.corrupted, abs=gaps[2] + 1e-6)


def test_other_metrics():
    guess = preview(MODEL, CLEAN, CORRUPTED, probability(3), "z")
    expected = by_differences("z", False, [0.0], "denoise", metric=probability(3))
    assert max_difference(guess.effect, expected) <= 1e-6 and guess.metric == "probability(3)"


def saturated():
    """One layer whose only head looks at the first token so firmly that the softmax has no slope left."""
    config = tiny_config(n_layers=1, n_heads=1, d_model=16, d_vocab=40)
    model = random_model(config).double()
    with torch.no_grad():
        model.h[0].attn.c_attn.weight[:, :32] *= 40
    return model


def test_false_negatives_by_hand_and_in_a_saturated_softmax():
    model = saturated()
    exact = patching.sweep(model, CLEAN, CORRUPTED, METRIC, "q")
    guess = preview(model, CLEAN, CORRUPTED, METRIC, "q")
    missed = false_negatives(guess, exact, threshold=0.1)
    scale = abs(exact.clean - exact.corrupted)
    assert exact.effect.abs().item() > 0.1 * scale and guess.effect.abs().item() < 0.05 * scale
    assert missed.mask.tolist() == [[True]] and missed.share == 1.0
    assert not false_negatives(guess, exact, threshold=100.0).mask.any()

    def with_effect(result, effect):
        fields = {name: getattr(result, name) for name in type(result).__dataclass_fields__}
        key = "effect" if isinstance(result, Preview) else "values"
        return type(result)(**{**fields, key: effect if key == "effect" else effect + result.base})

    steep = lambda logits: 100 * METRIC(logits)  # noqa: E731
    wide = patching.sweep(model, CLEAN, CORRUPTED, steep), preview(model, CLEAN, CORRUPTED, steep)
    scale = abs(wide[0].clean - wide[0].corrupted)
    unit = torch.tensor([[1.0, 1.0, 0.0, 0.05, -1.0]], dtype=torch.float64) * scale
    seen = torch.tensor([[0.9, 0.0, 0.0, 0.0, 0.049]], dtype=torch.float64) * scale
    by_hand = false_negatives(with_effect(wide[1], seen), with_effect(wide[0], unit), threshold=0.1)
    assert by_hand.mask.tolist() == [[False, True, False, False, True]] and by_hand.share == pytest.approx(2 / 3)


def test_what_cannot_be_previewed():
    guess, exact = preview(MODEL, CLEAN, CORRUPTED, METRIC, "z"), patching.sweep(MODEL, CLEAN, CORRUPTED, METRIC, "q")
    with pytest.raises(ValueError, match="two of the same"):
        false_negatives(guess, exact)
    constant = lambda logits: 0 * logits[:, 0]  # noqa: E731
    with pytest.raises(ValueError, match="no difference to bring back"):
        false_negatives(preview(MODEL, CLEAN, CORRUPTED, constant), patching.sweep(MODEL, CLEAN, CORRUPTED, constant))
    with pytest.raises(ValueError, match="above 0"):
        false_negatives(preview(MODEL, CLEAN, CORRUPTED, METRIC, "q"), exact, threshold=0.0)
    for arguments, message in (
        ({"component": "resid"}, "cannot be patched"),
        ({"by_position": True}, "by_position is for"),
        ({"steps": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            preview(MODEL, CLEAN, CORRUPTED, METRIC, **arguments)
    assert guess.label == attribution_patching.METHODS["attribution"]


@pytest.mark.gpu
def test_on_a_gpu():
    model = random_model(CONFIG)
    here = preview(model, CLEAN, CORRUPTED, METRIC, "z").effect
    assert max_difference(preview(model.to("cuda"), CLEAN, CORRUPTED, METRIC, "z").effect, here) <= 1e-4
