"""Sweeps against one forward pass per cell with a hook, and against transformer-lens's patching functions on equal weights."""

import functools
import itertools

import pytest
import torch
from helpers import bridge, max_difference, random_model, some_tokens, tiny_config
from transformer_lens import patching as lens_patching

from gpt2_core.tokenizer import Tokenizer
from interp import patching
from interp.edits import NO_EDITS, Edit, Plan
from interp.intervene import compile_plan
from interp.metrics import kl, log_probability, logit_diff, probability
from interp.sweep_cells import COMPONENTS, OF_HEADS, RESIDUAL, Cell

CONFIG = tiny_config(n_layers=3, d_model=32, d_vocab=60)
MODEL = random_model(CONFIG)
CLEAN, CORRUPTED = some_tokens(CONFIG, 1, 7, seed=1), some_tokens(CONFIG, 1, 7, seed=2)
SHARED = torch.cat([CLEAN[:, :3], CORRUPTED[:, 3:]], 1)  # the first difference is at position 3
METRIC = logit_diff(3, 5)
LENS = functools.cache(lambda: bridge(MODEL))
GROUPS = 5
PLAN = Plan(
    (
        Edit.scale("z", 1, 2, value=0.5),
        Edit.scale("q", 2, 1, value=1.5, positions=(2, 4)),
        Edit.set_cell(1, 0, 5, 2, 0.7, renormalise=True),
        Edit.scale("mlp_post", 1, value=1.2, positions=(3, 6)),
        Edit.scale("mlp_out", 0, value=0.8),
        Edit.scale("resid_pre", 2, value=1.1, positions=(4, 6)),
        Edit.scale("attn_out", 2, value=0.9),
        Edit.zero("v", 2, 3, positions=(5,)),
        Edit.scale("resid_mid", 1, value=1.1),
        Edit.scale("resid_post", 1, value=0.9, positions=(3,)),
        Edit.scale("k", 1, 1, value=-1.0),
    )
)
HOOKS = {
    **{name: f"hook_{name}" for name in RESIDUAL},
    **{name: f"attn.hook_{name}" for name in OF_HEADS},
    "neurons": "mlp.hook_post",
}
WAYS = [*((c, False) for c in COMPONENTS), *((c, True) for c in OF_HEADS)]


class Patch:
    """The oracle's hook: the plan's edits, then one activation replaced where `where` is."""

    def __init__(self, plan, name, source, where):
        self.plan, self.name, self.source, self.where = plan, name, source, where

    def wants(self, name):
        return name == self.name or (self.plan is not None and self.plan.wants(name))

    def positioned(self, queries, keys):
        return Patch(self.plan.positioned(queries, keys) if self.plan else None, self.name, self.source, self.where)

    def __call__(self, name, x):
        if self.plan is not None and self.plan.wants(name):
            x = self.plan(name, x)
        if name == self.name:
            x = x.clone()
            x[self.where] = self.source[self.where]
        return x


def where(component, index):
    """The part of an activation [1 pos ...], or of a pattern [1 head query key], that a cell is about."""
    if component in RESIDUAL:
        return (slice(None), index[0])
    if component == "neurons":
        n = CONFIG.d_mlp
        return (slice(None), slice(None), [i for i in range(n) if i * GROUPS // n == index[0]])
    head, pos = index[0], index[1] if len(index) > 1 else slice(None)
    return (slice(None), head, pos) if component == "pattern" else (slice(None), pos, head)


@torch.no_grad()
def naive(component, by_position, clean, corrupted, metric=METRIC, mode="denoise", plan=NO_EDITS):
    """One forward pass per cell."""
    base, source = (corrupted, clean) if mode == "denoise" else (clean, corrupted)
    hook, length = compile_plan(MODEL, plan), clean.shape[1]
    sizes = (
        [length]
        if component in RESIDUAL
        else [GROUPS]
        if component == "neurons"
        else [CONFIG.n_heads, length][: 1 + by_position]
    )
    out = torch.zeros(CONFIG.n_layers, *sizes)
    for layer in range(CONFIG.n_layers):
        name = f"blocks.{layer}.{HOOKS[component]}"
        _, cache = MODEL.run_with_cache(source, name, hook=hook)
        for index in itertools.product(*map(range, sizes)):
            logits = MODEL(base, hook=Patch(hook, name, cache[name], where(component, index)))
            out[(layer, *index)] = metric(logits[:, -1]).item()
    return out


@pytest.mark.parametrize("component, by_position", WAYS)
@pytest.mark.parametrize(
    "mode, corrupted, plan", [("denoise", CORRUPTED, NO_EDITS), ("noise", SHARED, NO_EDITS), ("denoise", SHARED, PLAN)]
)
def test_every_cell_equals_a_run_with_a_hook(component, by_position, mode, corrupted, plan):
    options = {"mode": mode, "plan": plan, "n_groups": GROUPS, "by_position": by_position}
    result = patching.sweep(MODEL, CLEAN, corrupted, METRIC, component, **options)
    expected = naive(component, by_position, CLEAN, corrupted, mode=mode, plan=plan)
    assert result.values.shape == expected.shape and len(result.axes) == expected.ndim
    assert max_difference(result.values, expected) <= 1e-5
    assert result.effect.abs().max() > 1e-2, "nothing was patched"
    assert all(check.holds and check.residual <= 1e-5 for check in result.checks), result.checks


@pytest.mark.parametrize("component, by_position", [w for w in WAYS if w[0] not in ("neurons", "result", "resid_post")])
def test_equals_transformer_lens(component, by_position):
    name = f"attn_head_{'out' if component == 'z' else component}_{'by' if by_position else 'all'}_pos"
    function = getattr(lens_patching, f"get_act_patch_{component if component in RESIDUAL else name}")
    lens = LENS()
    with torch.no_grad():
        _, cache = lens.run_with_cache(CLEAN)
        theirs = function(lens, CORRUPTED, cache, lambda logits: METRIC(logits[:, -1])[0])
    ours = patching.sweep(MODEL, CLEAN, CORRUPTED, METRIC, component, by_position=by_position).values
    if component in "qkvz" and by_position:
        theirs = theirs.transpose(1, 2)  # theirs is [layer pos head] but for patterns
    assert ours.shape == theirs.shape
    assert max_difference(ours, theirs) <= 1e-4


@pytest.mark.parametrize(
    "metric", [probability(3), log_probability(3), kl(MODEL(CLEAN)[0, -1].detach()), lambda x: x.max(-1).values]
)
def test_other_metrics_unembed_everything(metric):
    result = patching.sweep(MODEL, CLEAN, CORRUPTED, metric)
    assert max_difference(result.values, naive("resid_pre", False, CLEAN, CORRUPTED, metric)) <= 1e-5
    assert result.clean == pytest.approx(metric(MODEL(CLEAN)[:, -1]).item(), abs=1e-6)
    assert result.corrupted == pytest.approx(metric(MODEL(CORRUPTED)[:, -1]).item(), abs=1e-6)


def test_normalised_score():
    denoised = patching.sweep(MODEL, CLEAN, CORRUPTED, METRIC)
    assert (
        max_difference(denoised.normalised, (denoised.values - denoised.corrupted) / (denoised.clean - denoised.corrupted)) == 0
    )
    noised = patching.sweep(MODEL, CLEAN, CORRUPTED, METRIC, mode="noise")
    assert denoised.base == denoised.corrupted == noised.corrupted and noised.base == noised.clean
    # The last position alone, after the last block, is the whole answer: 1 when brought in, 0 when taken out.
    for result, end in ((denoised, 1.0), (noised, 0.0)):
        last = patching.sweep(MODEL, CLEAN, CORRUPTED, METRIC, "resid_post", mode=result.mode)
        assert last.normalised[-1, -1].item() == pytest.approx(end, abs=1e-4)
        assert last.effect[-1, :-1].abs().max() == 0
    same = patching.sweep(MODEL, CLEAN, CORRUPTED, lambda logits: logits[:, 0] * 0)
    assert "no difference to bring back" in same.note and denoised.note is None
    with pytest.raises(ValueError, match="no difference to bring back"):
        _ = same.normalised


def test_maps_of_the_residual_stream_are_shifted_copies():
    pre, mid, post = (patching.sweep(MODEL, CLEAN, CORRUPTED, METRIC, f"resid_{at}").values for at in ("pre", "mid", "post"))
    assert max_difference(pre[1:], mid[:-1]) <= 1e-5 and max_difference(mid, post) <= 1e-5


def test_rows_stream_and_stop():
    full = patching.sweep(MODEL, CLEAN, CORRUPTED, METRIC, "z").values
    rows = patching.sweep_rows(MODEL, CLEAN, CORRUPTED, METRIC, "z")
    layer, row = next(rows)
    assert layer == 0 and max_difference(row, full[0]) <= 1e-6
    rows.close()
    assert list(rows) == []
    some = patching.sweep(MODEL, CLEAN, CORRUPTED, METRIC, "z", layers=[2, 0])
    assert some.layers == (2, 0) and max_difference(some.values, full[[2, 0]]) <= 1e-6


ONE_WORD = torch.cat([CLEAN[:, :3], CORRUPTED[:, 3:4], CLEAN[:, 4:]], 1)
LAST_WORD = torch.cat([CLEAN[:, :6], CORRUPTED[:, 6:]], 1)


@pytest.mark.parametrize("corrupted", [ONE_WORD, LAST_WORD])
@pytest.mark.parametrize("component, by_position", [("resid_pre", False), ("z", False), ("k", True)])
def test_pairs_that_differ_in_one_word(corrupted, component, by_position):
    result = patching.sweep(MODEL, CLEAN, corrupted, METRIC, component, by_position=by_position)
    assert max_difference(result.values, naive(component, by_position, CLEAN, corrupted)) <= 1e-5


@torch.no_grad()
def test_logits_of_one_cell():
    prepared = patching.prepare(MODEL, CLEAN, SHARED, METRIC, "v", by_position=True)
    _, cache = MODEL.run_with_cache(CLEAN, "blocks.1.attn.hook_v")
    hook = Patch(None, "blocks.1.attn.hook_v", cache["v", 1], (slice(None), 4, 2))
    assert max_difference(prepared.logits(1, Cell(4, 2)), MODEL(SHARED, hook=hook)[0, -1]) <= 1e-5
    assert max_difference(prepared.logits(1, Cell(1, 2)), MODEL(SHARED)[0, -1]) <= 1e-5
    with pytest.raises(ValueError, match="no cell"):
        prepared.logits(1, Cell(4))


def test_texts_tokens_and_provenance():
    model = random_model(tiny_config(n_layers=1, d_model=32), tokenizer=Tokenizer.load())
    text = patching.sweep(model, "the old clock", "the new clock", METRIC, plan=Plan((Edit.zero("mlp_out", 0),)))
    assert text.provenance.bos and text.provenance.plan != "[]" and text.values.shape == (1, 4)
    assert text.clean_tokens[0] == 50256 and text.mode == "denoise" and text.metric == "logit_diff(3, 5)"
    bare = patching.sweep(model, "the old clock", "the new clock", METRIC, bos=False)
    ids = model.tokenizer.encode("the old clock"), model.tokenizer.encode("the new clock")
    again = patching.sweep(model, *ids, METRIC)
    assert max_difference(bare.values, again.values) == 0 and not again.provenance.bos and bare.values.shape == (1, 3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"corrupted_tokens": CORRUPTED[0, :5]}, "equal lengths"),
        ({"corrupted_tokens": CLEAN}, "the same"),
        ({"corrupted_tokens": CORRUPTED.expand(2, -1)}, "one prompt"),
        ({"component": "resid"}, "resid_pre"),
        ({"by_position": True}, "by_position is for"),
        ({"component": "neurons", "n_groups": 0}, "n_groups"),
        ({"layers": [3]}, "layers must be some of 0..2"),
        ({"layers": [1, 1]}, "each once"),
        ({"plan": Plan((Edit.zero("z", 9),))}, "layer 9"),
        ({"metric": logit_diff(3, 60)}, "reads token 60"),
    ],
)
def test_what_cannot_be_patched(arguments, message):
    given = {"clean_tokens": CLEAN, "corrupted_tokens": CORRUPTED, "metric": METRIC, **arguments}
    with pytest.raises(ValueError, match=message):
        patching.prepare(MODEL, **given)


@pytest.mark.gpu
def test_on_a_gpu():
    model = random_model(CONFIG).to("cuda")
    for component, by_position in WAYS:
        ours = patching.sweep(model, CLEAN, SHARED, METRIC, component, by_position=by_position).values
        cpu = patching.sweep(MODEL, CLEAN, SHARED, METRIC, component, by_position=by_position).values
        assert max_difference(ours, cpu) <= 1e-4
