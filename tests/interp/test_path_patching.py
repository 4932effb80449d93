"""Path patching against Algorithm 1 written out with hooks, one sender at a time, and against transformer-lens."""

import functools

import pytest
import torch
from helpers import bridge, max_difference, random_model, some_tokens, tiny_config
from transformer_lens import patching as lens_patching

from interp import path_patching
from interp.edits import NO_EDITS, Edit, Plan
from interp.intervene import compile_plan
from interp.metrics import logit_diff, probability
from interp.path_patching import Receiver

CONFIG = tiny_config(n_layers=3, n_heads=3, d_model=24, d_vocab=50, eps=0.1)
MODEL = random_model(CONFIG)
ORIGINAL, NEW = some_tokens(CONFIG, 1, 6, seed=1), some_tokens(CONFIG, 1, 6, seed=2)
NEW[:, :2] = ORIGINAL[:, :2]
METRIC = logit_diff(3, 5)
RECEIVERS = (Receiver(2, 1, "q"), Receiver(1, 2, "k"), Receiver(2, 0, "v"))
HEADS = [(layer, head) for layer in range(3) for head in range(3)]
PLAN = Plan((Edit.scale("z", 1, 1, value=0.5), Edit.scale("mlp_out", 0, value=1.3), Edit.scale("q", 2, 1, value=2.0)))


class Then:
    """The plan's edits, then functions by hook name."""

    def __init__(self, plan, functions):
        self.plan, self.functions = plan, functions

    def wants(self, name):
        return name in self.functions or (self.plan is not None and self.plan.wants(name))

    def positioned(self, queries, keys):
        return Then(self.plan.positioned(queries, keys) if self.plan else None, self.functions)

    def __call__(self, name, x):
        x = self.plan(name, x) if self.plan is not None and self.plan.wants(name) else x
        return self.functions[name](x) if name in self.functions else x


@torch.no_grad()
def algorithm_1(senders, receivers, positions=None, plan=NO_EDITS):
    """Four passes with hooks; the receivers' inputs as they are at hook_q, hook_k, hook_v."""
    hook = compile_plan(MODEL, plan)
    z_names = [f"blocks.{layer}.attn.hook_z" for layer in range(3)]
    receiver_names = [f"blocks.{r.layer}.attn.hook_{r.input}" for r in receivers]
    _, original = MODEL.run_with_cache(ORIGINAL, z_names, hook=hook)  # 1
    _, new = MODEL.run_with_cache(NEW, z_names, hook=hook)  # 2

    def frozen(layer):
        z = original["z", layer].clone()
        for head in (h for where, h in senders if where == layer):
            z[:, :, head] = new["z", layer][:, :, head]
        return lambda x: z

    third = Then(hook, {name: frozen(layer) for layer, name in enumerate(z_names)})
    logits, reached = MODEL.run_with_cache(ORIGINAL, receiver_names or ["hook_embed"], hook=third)  # 3
    if not receivers:
        return METRIC(logits[:, -1]).item()
    where = range(ORIGINAL.shape[1]) if positions is None else positions

    def put_in(name):
        heads = [r.head for r, its in zip(receivers, receiver_names) if its == name]

        def replace(x):
            x = x.clone()
            for head in heads:
                for p in where:
                    x[:, p, head] = reached[name][:, p, head]
            return x

        return replace

    logits = MODEL(ORIGINAL, hook=Then(hook, {name: put_in(name) for name in receiver_names}))  # 4
    return METRIC(logits[:, -1]).item()


@pytest.mark.parametrize("receivers", [(), RECEIVERS[:1], RECEIVERS])
@pytest.mark.parametrize("plan", [NO_EDITS, PLAN])
def test_exact_equals_algorithm_1(receivers, plan):
    result = path_patching.sweep(MODEL, ORIGINAL, NEW, METRIC, receivers, plan=plan)
    expected = torch.tensor([algorithm_1([sender], receivers, plan=plan) for sender in HEADS]).view(3, 3)
    assert max_difference(result.values, expected) <= 1e-5
    assert result.effect.abs().max() > 1e-3 and result.check.holds and result.check.residual <= 1e-5
    assert "Algorithm 1" in result.label and result.method == "exact"
    if receivers:
        after = max(r.layer for r in receivers)
        assert max_difference(result.values[after:], torch.full((3 - after, 3), result.base)) <= 1e-6


@pytest.mark.parametrize("receivers", [(), RECEIVERS])
@pytest.mark.parametrize("positions", [None, [5], [2, 4]])
def test_sets_of_senders_and_positions(receivers, positions):
    senders = [(0, 1), (1, 0), (0, 2)]
    result = path_patching.sweep(MODEL, ORIGINAL, NEW, METRIC, receivers, senders=senders, positions=positions)
    assert result.values.item() == pytest.approx(algorithm_1(senders, receivers, positions), abs=1e-5)


@functools.cache
def lens():
    return bridge(MODEL)


@pytest.mark.parametrize("component", ["q", "k", "v"])
def test_direct_equals_transformer_lens(component):
    with torch.no_grad():
        caches = [lens().run_with_cache(tokens)[1] for tokens in (NEW, ORIGINAL)]
        theirs = lens_patching.get_act_patch_direct_path_all_sources(
            lens(), ORIGINAL, *caches, lambda logits: METRIC(logits[:, -1])[0], component, False
        )
    for layer in (1, 2):
        for head in range(3):
            ours = path_patching.sweep(MODEL, ORIGINAL, NEW, METRIC, [Receiver(layer, head, component)], method="direct")
            assert max_difference(ours.values[:layer], theirs[:layer, :, layer, head]) <= 1e-4
            assert max_difference(ours.values[layer:], torch.full((3 - layer, 3), ours.base)) <= 1e-6
            assert "MLPs held" in ours.label


@torch.no_grad()
@pytest.mark.parametrize("sender", [(0, 1), (1, 2)])
def test_direct_and_linear_by_hand(sender):
    """Into the queries of L2H1, and into the logits: the sender's change, written out."""
    layer, head = sender
    _, original = MODEL.run_with_cache(ORIGINAL)
    _, new = MODEL.run_with_cache(NEW)
    change = (new["z", layer] - original["z", layer])[:, :, head] @ MODEL.W_O[layer, head]
    attn, ln, ln_f = MODEL.h[2].attn, MODEL.h[2].ln_1, MODEL.ln_f
    centred = change - change.mean(-1, keepdim=True)
    frozen = original["q", 2][:, :, 1] + centred / original["scale", 2, "ln1"] * ln.weight @ attn.W_Q[1]
    resid = original["resid_pre", 2] + change
    recomputed = torch.nn.functional.layer_norm(resid, (24,), ln.weight, ln.bias, ln.eps) @ attn.W_Q[1] + attn.b_Q[1]
    for method, queries in (("linear", frozen), ("direct", recomputed)):

        def put_in(name, x, queries=queries):
            x = x.clone()
            x[:, :, 1] = queries
            return x

        expected = METRIC(MODEL(ORIGINAL, hook=Then(None, {"blocks.2.attn.hook_q": lambda x: put_in("", x)}))[:, -1]).item()
        ours = path_patching.sweep(MODEL, ORIGINAL, NEW, METRIC, [Receiver(2, 1)], method=method)
        assert ours.values[sender].item() == pytest.approx(expected, abs=1e-5)
    logits = original["hook_unembed"][:, -1] + (centred / original["ln_final.hook_scale"] * ln_f.weight)[:, -1] @ MODEL.W_U
    linear = path_patching.sweep(MODEL, ORIGINAL, NEW, METRIC, method="linear")
    assert linear.values[sender].item() == pytest.approx(METRIC(logits).item(), abs=1e-5)
    direct = path_patching.sweep(MODEL, ORIGINAL, NEW, METRIC, method="direct")
    logits = MODEL.unembed(original["resid_post", 2] + change)[:, -1]
    assert direct.values[sender].item() == pytest.approx(METRIC(logits).item(), abs=1e-5)


def test_the_methods_differ_where_mlps_lie_between_and_agree_where_none_does():
    by = {m: path_patching.sweep(MODEL, ORIGINAL, NEW, METRIC, [Receiver(2, 1)], method=m) for m in path_patching.METHODS}
    assert max_difference(by["exact"].values, by["direct"].values) > 1e-3
    assert max_difference(by["direct"].values, by["linear"].values) > 1e-5
    assert len({result.label for result in by.values()}) == 3
    together = path_patching.sweep(MODEL, ORIGINAL, NEW, METRIC, senders=[(0, 0), (1, 1)], method="linear")
    alone = path_patching.sweep(MODEL, ORIGINAL, NEW, METRIC, method="linear")
    assert together.effect.item() == pytest.approx((alone.effect[0, 0] + alone.effect[1, 1]).item(), abs=1e-5)


def test_other_metrics_and_provenance():
    result = path_patching.sweep(MODEL, ORIGINAL, NEW, probability(4), RECEIVERS, positions=[5])
    assert result.metric == "probability(4)" and result.positions == (5,) and result.receivers == RECEIVERS
    assert result.original_tokens == tuple(ORIGINAL[0].tolist()) and result.provenance.plan == "[]"
    assert result.base != result.new


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"senders": [(3, 0)]}, "L3H0 does not exist"),
        ({"receivers": [Receiver(0, 3)]}, "L0H3 does not exist"),
        ({"positions": [6]}, r"0\.\.5"),
        ({"positions": []}, r"0\.\.5"),
        ({"method": "linear", "plan": Plan((Edit.zero("resid_mid", 1),))}, "use method 'exact'"),
    ],
)
def test_paths_that_do_not_exist(arguments, message):
    with pytest.raises(ValueError, match=message):
        path_patching.sweep(MODEL, ORIGINAL, NEW, METRIC, **arguments)
