"""Causal analyses over prompt sets: every cell of every pair against whole runs, the statistics against loops."""

import pytest
import torch
from helpers import max_difference, random_model, tiny_config

from gpt2_core.tokenizer import Tokenizer
from interp import over_set as module
from interp.ablation import Ablation, Part
from interp.circuits import EMBED, Node, all_nodes
from interp.edits import NO_EDITS, Edit, Plan
from interp.intervene import compile_plan
from interp.over_set import ablated, at_words, collected, knocked_out, over_set, patched, paths, recovered, steps, traced
from interp.prompt_sets import build
from interp.tracing import draw_noise

TOKENIZER = Tokenizer.load()
MODEL = random_model(tiny_config(n_layers=2, n_heads=2, d_model=16), tokenizer=TOKENIZER)
DRAWN = build("ioi", TOKENIZER, n=5, seed=2)  # of several lengths
PLAN = Plan((Edit.scale("mlp_out", 0, value=1.5), Edit.zero("z", 1, 1)))
WORDS = ("IO", "S2", "END")


def tokens(prompt, bos=True):
    return torch.tensor([[TOKENIZER.bos_id] * bos + list(prompt.ids)])


@torch.no_grad()
def run(prompt, changes=None, plan=NO_EDITS, bos=True, keep=()):
    """The logits of a whole run with functions at hooks (after the plan's edits), and what was kept."""
    ids, kept = tokens(prompt, bos), {}
    at = torch.arange(ids.shape[1])[None]
    inner = compile_plan(MODEL, plan, bos)
    inner = inner and inner.positioned(at, at)

    def hook(name, x):
        x = inner(name, x) if inner is not None and inner.wants(name) else x
        x = changes[name](x.clone()) if changes and name in changes else x
        if name in keep:
            kept[name] = x
        return x

    return MODEL(ids, hook=hook)[0, -1].double(), kept


def difference(pair, logits):
    return (logits[pair.correct[0]] - logits[pair.wrong[0]]).item()


def last(pair, word, bos=True):
    return pair.clean.spans[word][1] - 1 + bos


@pytest.mark.parametrize(("plan", "bos"), [(NO_EDITS, True), (PLAN, False)])
def test_patching_at_named_words(plan, bos):
    found = over_set(MODEL, DRAWN, patched("resid_pre", at=WORDS), plan=plan, bos=bos)
    assert found.values.shape == (5, 2, 3) and len({len(pair.clean.ids) for pair in DRAWN.pairs}) > 1
    for i, pair in enumerate(DRAWN.pairs):
        names = [f"blocks.{layer}.hook_resid_pre" for layer in range(2)]
        _, clean = run(pair.clean, plan=plan, bos=bos, keep=names)
        base = difference(pair, run(pair.corrupted, plan=plan, bos=bos)[0])
        assert found.corrupted[i].item() == pytest.approx(base, abs=1e-5)
        for layer, name in enumerate(names):
            for j, word in enumerate(WORDS):
                p = last(pair, word, bos)

                def put(x, name=name, p=p, clean=clean):
                    x[:, p] = clean[name][:, p]
                    return x

                logits, _ = run(pair.corrupted, {name: put}, plan, bos)
                assert found.values[i, layer, j].item() == pytest.approx(difference(pair, logits) - base, abs=1e-5)
    assert found.provenance.plan == plan.to_json() and found.provenance.bos == bos
    assert found.values.abs().max() > 1e-3


def test_knocking_out_and_ablating_take_the_corrupted_prompts_output():
    found = over_set(MODEL, DRAWN, knocked_out(at=("S2",)))
    pair_of_heads = over_set(MODEL, DRAWN, ablated([Part.head(0, 1), Part.head(1, 0)]))
    zeroed = over_set(MODEL, DRAWN, knocked_out("mlp", Ablation.zero()))
    assert found.values.shape == (5, 2, 2) and pair_of_heads.values.shape == (5,) and zeroed.values.shape == (5, 2, 1)
    names = [f"blocks.{layer}.attn.hook_z" for layer in range(2)]
    for i, pair in enumerate(DRAWN.pairs):
        whole = difference(pair, run(pair.clean)[0])
        assert found.clean[i].item() == pytest.approx(whole, abs=1e-5)
        _, other = run(pair.corrupted, keep=names)

        def swapped(name, heads, where=slice(None), other=other):
            def change(x):
                for head in heads:
                    x[:, where, head] = other[name][:, where, head]
                return x

            return change

        for layer, name in enumerate(names):
            for head in range(2):
                logits, _ = run(pair.clean, {name: swapped(name, [head], last(pair, "S2"))})
                assert found.values[i, layer, head].item() == pytest.approx(difference(pair, logits) - whole, abs=1e-5)
            logits, _ = run(pair.clean, {f"blocks.{layer}.hook_mlp_out": torch.zeros_like})
            assert zeroed.values[i, layer, 0].item() == pytest.approx(difference(pair, logits) - whole, abs=1e-5)
        logits, _ = run(pair.clean, {names[0]: swapped(names[0], [1]), names[1]: swapped(names[1], [0])})
        assert pair_of_heads.values[i].item() == pytest.approx(difference(pair, logits) - whole, abs=1e-5)


def test_path_patching_into_the_end_holds_every_other_head():
    found = over_set(MODEL, DRAWN, paths())
    names = [f"blocks.{layer}.attn.hook_z" for layer in range(2)]
    for i, pair in enumerate(DRAWN.pairs):
        (logits, own), (_, other) = run(pair.clean, keep=names), run(pair.corrupted, keep=names)
        base = difference(pair, logits)
        for layer in range(2):
            for head in range(2):
                held = {name: z.clone() for name, z in own.items()}
                held[names[layer]][:, :, head] = other[names[layer]][:, :, head]
                logits, _ = run(pair.clean, {name: lambda x, z=z: z for name, z in held.items()})
                assert found.values[i, layer, head].item() == pytest.approx(difference(pair, logits) - base, abs=1e-5)


def test_tracing_with_noise_on_a_word():
    found = over_set(MODEL, DRAWN, traced("IO", at=("IO", "END"), samples=2, seed=3, component="mlp_out"))
    assert found.values.shape == (5, 2, 2)
    for i, pair in enumerate(DRAWN.pairs[:2]):
        start, end = (p + 1 for p in pair.clean.spans["IO"])
        noise = draw_noise(MODEL, end - start, 2, 3, 3).samples
        _, clean = run(pair.clean, keep=["blocks.1.hook_mlp_out"])
        at, effects = last(pair, "END"), []
        state = clean["blocks.1.hook_mlp_out"][0, at]
        for sample in noise:

            def drown(x, sample=sample, start=start, end=end):
                x[0, start:end] += sample
                return x

            def restore(x, state=state, at=at):
                x[0, at] = state
                return x

            noisy, _ = run(pair.clean, {"hook_embed": drown})
            restored, _ = run(pair.clean, {"hook_embed": drown, "blocks.1.hook_mlp_out": restore})
            effects.append(difference(pair, restored) - difference(pair, noisy))
        assert found.values[i, 1, 1].item() == pytest.approx(sum(effects) / 2, abs=1e-5)


def test_what_a_circuit_keeps():
    every = over_set(MODEL, DRAWN, recovered(all_nodes(MODEL.config)))
    assert max_difference(every.values, every.clean - every.corrupted) <= 1e-5
    assert every.normalised.item() == pytest.approx(1, abs=1e-4)
    nothing = over_set(MODEL, DRAWN, recovered(()))
    assert nothing.values.abs().max() <= 1e-5
    # Without the last MLP: its output is the corrupted prompt's.
    kept = [node for node in all_nodes(MODEL.config) if node != Node("mlp", 1)]
    found, name = over_set(MODEL, DRAWN, recovered(kept)), "blocks.1.hook_mlp_out"
    for i, pair in enumerate(DRAWN.pairs):
        _, other = run(pair.corrupted, keep=[name])
        logits, _ = run(pair.clean, {name: lambda x, other=other: other[name]})
        assert found.values[i].item() == pytest.approx(difference(pair, logits) - found.corrupted[i].item(), abs=1e-5)
    assert EMBED in kept


def test_statistics_of_the_cells():
    def analysis(model, pair, plan):  # known numbers: cell 0 the pair's place, cell 1 always -2
        return torch.tensor([float(pair.indices[0]), -2.0])

    found = over_set(MODEL, DRAWN, analysis, level=0.9, seed=7)
    assert found.mean.tolist() == [2.0, -2.0] and found.clear.tolist() == [True, True]
    summary = found.summary(0, worst=2)
    assert summary.values.tolist() == [0, 1, 2, 3, 4] and [case.index for case in summary.worst] == [0, 1]
    assert summary.worst[0].prompt == DRAWN.texts[0] and summary.n_unique == found.n_unique == 5
    drawn = torch.randint(5, (2000, 5), generator=torch.Generator().manual_seed(7)).double().mean(1)
    alone = module.bootstrap(torch.arange(5.0), level=0.9, seed=7)
    assert (found.interval.low[0].item(), found.interval.high[0].item()) == (alone.low.item(), alone.high.item())
    assert drawn.quantile(0.02) < alone.low < drawn.quantile(0.08)
    assert found.normalised.tolist() == pytest.approx([x / found.difference for x in (2.0, -2.0)])
    assert found.of_the_set().values.tolist() == found.clean.tolist() and DRAWN.texts[0] not in repr(found)
    with pytest.raises(ValueError, match="1 indices"):
        found.summary(0, 1)


def test_streamed_pair_by_pair_and_stopped_at_any_time():
    stream = steps(MODEL, DRAWN, patched("z"))
    first = [next(stream) for _ in range(3)]
    stream.close()
    assert [(step.done, step.total) for step in first] == [(1, 5), (2, 5), (3, 5)]
    whole, part = over_set(MODEL, DRAWN, patched("z")), collected(MODEL, DRAWN, first)
    assert torch.equal(part.values, whole.values[:3]) and part.prompts == DRAWN.texts[:3] and part.n_unique == 3
    with pytest.raises(ValueError, match="at least two"):
        collected(MODEL, DRAWN, first[:1])


def test_other_metrics():
    found = over_set(MODEL, DRAWN, ablated([Part.mlp(0)]), metric="probability")
    for i, pair in enumerate(DRAWN.pairs):
        p = run(pair.clean)[0].softmax(-1)[pair.correct[0]].item()
        assert found.clean[i].item() == pytest.approx(p, rel=1e-4)
    assert found.metric == "probability" and found.name == "ioi" and found.seed == 2


def test_what_cannot_be_measured_names_the_pair():
    with pytest.raises(ValueError, match=r"name positions with at="):
        over_set(MODEL, DRAWN, patched("resid_pre"))
    with pytest.raises(ValueError, match=r"Pair 0 of 'ioi' \(.*no word 'S9'"):
        over_set(MODEL, DRAWN, patched("resid_pre", at=("S9",)))
    (pair, *_) = DRAWN.each()
    with pytest.raises(ValueError, match="it has END, IO"):
        at_words(torch.zeros(3), pair, ["x"])
    same = over_set(MODEL, DRAWN, ablated([]))
    assert same.values.abs().max() == 0 and not same.clear
    flat = random_model(MODEL.config, tokenizer=TOKENIZER)
    with torch.no_grad():
        flat.ln_f.weight.zero_()
    with pytest.raises(ValueError, match="the same on average"):
        over_set(flat, DRAWN, ablated([])).normalised  # noqa: B018 - the property raises


def test_each_pair_alone_in_order():
    for i, batch in enumerate(DRAWN.each(bos=False)):
        assert batch.indices == (i,) and batch.clean.tolist() == [list(DRAWN.pairs[i].clean.ids)] and not batch.bos
        assert batch.metric.correct.tolist() == [list(DRAWN.pairs[i].correct)]
