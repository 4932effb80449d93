"""Ablations against hooks written by hand, the fast search against whole runs and transformer-lens."""

import pytest
import torch
from helpers import bridge, max_difference, random_model, some_tokens, tiny_config

from interp.ablation import Ablation, Part, ablate, chosen_positions, resampled_rows
from interp.compensation import compensation, direct_effects
from interp.edits import NO_EDITS, Edit, Plan
from interp.intervene import compile_plan
from interp.knockout import knock_out_search, knock_outs
from interp.prompt_sets import answer_metric

CONFIG = tiny_config(n_layers=3, n_heads=4, d_model=16, d_vocab=60, n_ctx=16)
MODEL = random_model(CONFIG).double()
TOKENS, OTHERS = some_tokens(CONFIG, batch=3, pos=7), some_tokens(CONFIG, batch=3, pos=7, seed=1)
METRIC = answer_metric("logit_difference", [[1], [2, 3], [4]], [[5], [6], [7, 8]])
# An edit of resid_pre that would show if it acted twice, and one in the layer that is ablated.
PLAN = Plan((Edit.scale("resid_pre", 1, value=1.7), Edit.zero("z", 2, 3), Edit.scale("mlp_out", 0, value=-1.0)))
ABLATIONS = {
    "zero": Ablation.zero(),
    "mean at each position": Ablation.mean(OTHERS),
    "mean over positions": Ablation.mean(some_tokens(CONFIG, batch=2, pos=5, seed=2), per_position=False),
    "row by row": Ablation.resample(OTHERS),
    "drawn": Ablation.resample(OTHERS[:2], seed=5),
}
PARTS = {
    "head": (Part.head(1, 2), "blocks.1.attn.hook_z", (slice(None), 2)),
    "attn": (Part.attn(0), "blocks.0.hook_attn_out", (slice(None),)),
    "mlp": (Part.mlp(2), "blocks.2.hook_mlp_out", (slice(None),)),
    "neurons": (Part.neurons(1, [3, 9]), "blocks.1.mlp.hook_post", (slice(None), [3, 9])),
}


def run(tokens: torch.Tensor, hooks, plan: Plan = NO_EDITS) -> torch.Tensor:
    """Last-position logits of a whole run; the plan's hook acts first."""
    inner = compile_plan(MODEL, plan, bos=False)
    at = torch.arange(tokens.shape[1])[None]
    inner = None if inner is None else inner.positioned(at, at)

    def hook(name, x):
        if inner is not None and inner.wants(name):
            x = inner(name, x)
        return hooks[name](x.clone()) if name in hooks else x

    with torch.no_grad():
        return MODEL(tokens, hook=hook)[:, -1]


def kept(tokens: torch.Tensor, name: str, plan: Plan = NO_EDITS) -> torch.Tensor:
    """An activation of a whole run."""
    found = {}
    run(tokens, {name: lambda x: found.setdefault("x", x)}, plan)
    return found["x"]


def stand_in(how: str, name: str, prompt: int, position: int, plan: Plan = NO_EDITS) -> torch.Tensor:
    """What takes the activation's place at one position of one prompt, by definition."""
    ablation = ABLATIONS[how]
    if how == "zero":
        return torch.zeros_like(kept(TOKENS, name, plan)[0, 0])
    reference = kept(ablation.reference, name, plan)
    if how == "mean at each position":
        return sum(reference[row, position] for row in range(len(reference))) / len(reference)
    if how == "mean over positions":
        cells = [reference[row, p] for row in range(reference.shape[0]) for p in range(reference.shape[1])]
        return sum(cells) / len(cells)
    rows = [0, 1, 2] if how == "row by row" else resampled_rows(TOKENS, ablation.reference, 5).tolist()
    return reference[rows[prompt], position]


def without_by_hand(how: str, name: str, index: tuple, cells, plan: Plan = NO_EDITS) -> torch.Tensor:
    def replace(x):
        for prompt, position in cells:
            x[prompt, position][index[1:]] = stand_in(how, name, prompt, position, plan)[index[1:]]
        return x

    return run(TOKENS, {name: replace}, plan)


EVERYWHERE = [(prompt, position) for prompt in range(3) for position in range(7)]


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("how", ABLATIONS)
def test_each_ablation_of_each_part_equals_its_definition(how, kind):
    part, name, index = PARTS[kind]
    ours = ablate(MODEL, TOKENS, [part], ABLATIONS[how])
    assert max_difference(ours, without_by_hand(how, name, index, EVERYWHERE)) <= 1e-6
    assert (ours - run(TOKENS, {})).abs().max() > 1e-3


@pytest.mark.parametrize("positions", [[2, -1], torch.tensor([[1], [4], [6]])])
def test_some_positions_only_under_a_plan(positions):
    part, name, index = PARTS["head"]
    chosen = [[2, 6]] * 3 if isinstance(positions, list) else positions.tolist()
    cells = [(prompt, position) for prompt in range(3) for position in chosen[prompt]]
    ours = ablate(MODEL, TOKENS, [part], ABLATIONS["row by row"], positions, PLAN)
    assert max_difference(ours, without_by_hand("row by row", name, index, cells, PLAN)) <= 1e-6
    assert (ours - ablate(MODEL, TOKENS, [part], ABLATIONS["row by row"], plan=PLAN)).abs().max() > 1e-3


def test_parts_together():
    def both(x):
        x[:, :, [0, 3]] = 0
        return x

    parts = [Part.head(1, 0), Part.head(1, 3), Part.mlp(1)]
    expected = run(TOKENS, {"blocks.1.attn.hook_z": both, "blocks.1.hook_mlp_out": torch.zeros_like})
    assert max_difference(ablate(MODEL, TOKENS, parts), expected) <= 1e-6
    assert max_difference(ablate(MODEL, TOKENS, []), run(TOKENS, {})) <= 1e-6


def test_controls():
    itself = ablate(MODEL, TOKENS, [PARTS[kind][0] for kind in PARTS], Ablation.resample(TOKENS))
    assert max_difference(itself, run(TOKENS, {})) <= 1e-6  # a prompt in its own place changes nothing
    assert (
        max_difference(ablate(MODEL, TOKENS, [Part.attn(1)]), ablate(MODEL, TOKENS, [Part.attn(1)], ABLATIONS["drawn"])) > 1e-3
    )
    neurons = ablate(MODEL, TOKENS, [Part.neurons(1, range(64))])
    bias = MODEL.h[1].mlp.c_proj.bias
    assert max_difference(neurons, run(TOKENS, {"blocks.1.hook_mlp_out": lambda x: bias.expand_as(x)})) <= 1e-6


def test_drawn_prompts_differ_from_their_own():
    reference = torch.cat([TOKENS, OTHERS])
    for seed in range(20):
        rows = resampled_rows(TOKENS, reference, seed)
        assert all(not torch.equal(reference[row], TOKENS[i]) for i, row in enumerate(rows))
    assert len({tuple(resampled_rows(TOKENS, reference, seed).tolist()) for seed in range(20)}) > 5
    assert torch.equal(resampled_rows(TOKENS, reference, 3), resampled_rows(TOKENS, reference, 3))
    with pytest.raises(ValueError, match="differs from it"):
        resampled_rows(TOKENS[:1], TOKENS[:1], 0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ablate(MODEL, TOKENS, [Part.head(3, 0)]), "layers 0..2"),
        (lambda: ablate(MODEL, TOKENS, [Part.head(0, 4)]), "0..3 do"),
        (lambda: ablate(MODEL, TOKENS, [Part.neurons(0, [])]), "0..63 do"),
        (lambda: ablate(MODEL, TOKENS, [Part("lung", 0)]), "No part"),
        (lambda: ablate(MODEL, TOKENS, [Part.mlp(0)], Ablation.mean(OTHERS[:, :4])), "4 tokens"),
        (lambda: ablate(MODEL, TOKENS, [Part.mlp(0)], Ablation.resample(OTHERS[:2])), "row by row"),
        (lambda: ablate(MODEL, TOKENS, [Part.mlp(0)], positions=[7]), "Positions 7..7"),
        (lambda: Ablation("mean"), "needs reference"),
        (lambda: Ablation("zero", OTHERS), "reads no reference"),
        (lambda: Ablation("freeze"), "No ablation"),
    ],
)
def test_what_cannot_be_ablated(make, said):
    with pytest.raises(ValueError, match=f"(?i){said}"):
        make()


def test_words():
    assert [part.label for part, _, _ in PARTS.values()] == ["L1H2", "attn L0", "MLP L2", "neurons L1 (2)"]
    assert ABLATIONS["zero"].describe() == "zero"
    assert ABLATIONS["mean over positions"].describe() == "mean over 2 prompts, over all positions"
    assert ABLATIONS["drawn"].describe() == "another of 2 prompts, drawn with seed 5"
    assert chosen_positions(TOKENS, [0, -1])[1].tolist() == [True, *[False] * 5, True]


@pytest.mark.parametrize("positions", [[0, 7], [-8, 0]])
def test_every_position_must_lie_in_the_prompts(positions):
    with pytest.raises(ValueError, match=rf"{min(positions)}\.\.{max(positions)} do not all lie in prompts of 7 tokens"):
        chosen_positions(TOKENS, positions)


@pytest.mark.parametrize("plan", [NO_EDITS, PLAN])
@pytest.mark.parametrize("component", ["head", "attn", "mlp"])
@pytest.mark.parametrize("how", ["zero", "mean at each position", "drawn"])
def test_the_search_equals_whole_runs(how, component, plan):
    found = knock_out_search(MODEL, TOKENS, METRIC, ABLATIONS[how], component, plan=plan, rows=7)
    assert found.values.shape == (3, 3, 4 if component == "head" else 1)
    for layer in range(3):
        for unit in range(found.values.shape[2]):
            part = Part(component, layer, (unit,) if component == "head" else ())
            alone = METRIC(ablate(MODEL, TOKENS, [part], ABLATIONS[how], plan=plan))
            assert max_difference(found.values[:, layer, unit], alone) <= 1e-6
    assert max_difference(found.baseline, METRIC(run(TOKENS, {}, plan))) <= 1e-6
    assert max_difference(found.mean_effect, (found.values - found.baseline[:, None, None]).mean(0)) <= 1e-9
    assert found.effects.abs().max() > 1e-2


def test_the_search_at_some_positions_in_any_chunks():
    positions = torch.tensor([[1], [4], [6]])
    given = (MODEL, TOKENS, METRIC, ABLATIONS["row by row"], "head", positions)
    whole = knock_out_search(*given)
    steps = list(knock_outs(*given, rows=1))
    assert [step.units for step in steps] == [(head,) for _ in range(3) for head in range(4)]
    assert [(step.done, step.total) for step in steps] == [(i + 1, 12) for i in range(12)]
    assert max_difference(torch.cat([step.values for step in steps], 1), whole.values.flatten(1)) <= 1e-9
    one = METRIC(ablate(MODEL, TOKENS, [Part.head(1, 3)], ABLATIONS["row by row"], positions))
    assert max_difference(whole.values[:, 1, 3], one) <= 1e-6
    with pytest.raises(ValueError, match="searched"):
        knock_out_search(MODEL, TOKENS, METRIC, component="neurons")


def test_the_search_runs_no_more_than_it_must():
    calls = []

    class Counting(type(MODEL)):
        def forward(self, tokens, **how):
            calls.append((how.get("start_at_layer"), len(tokens)))
            return super().forward(tokens, **how)

    model = Counting(CONFIG).double()
    model.load_state_dict(MODEL.state_dict())
    found = knock_out_search(model, TOKENS, METRIC)
    assert calls == [(None, 3), (None, 12), (1, 12), (2, 12)]  # residuals and the baseline, then a batch a layer
    assert max_difference(found.values, knock_out_search(MODEL, TOKENS, METRIC).values) <= 1e-9


@pytest.mark.parametrize("bos", [False, True])
def test_provenance_says_how_the_prompts_begin(bos):
    tokens = torch.cat([torch.full((3, 1), 59), TOKENS], 1) if bos else TOKENS
    assert compensation(MODEL, tokens, METRIC, [Part.head(0, 0)]).provenance.bos == bos
    assert knock_out_search(MODEL, tokens, METRIC).provenance.bos == bos


def test_head_effects_equal_transformer_lens():
    model = random_model(CONFIG)
    theirs = bridge(model)
    single = answer_metric("logit_difference", [[1], [2], [4]], [[5], [6], [7]])
    with torch.no_grad():
        theirs.set_use_attn_result(True)
        _, cache = theirs.run_with_cache(TOKENS)
        ours = direct_effects(model, TOKENS, single)
        for layer in range(3):
            result = cache[f"blocks.{layer}.attn.hook_result"][:, -1]  # [prompt head d_model]
            normalised = (result - result.mean(-1, keepdim=True)) / cache["ln_final.hook_scale"][:, -1:]
            direction = (model.W_U[:, [1, 2, 4]] - model.W_U[:, [5, 6, 7]]).T * model.ln_f.weight
            assert max_difference(ours.heads[:, layer], (normalised * direction[:, None]).sum(-1)) <= 1e-4

        def zero(z, hook):
            z[:, :, 2] = 0
            return z

        logits = theirs.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.attn.hook_z", zero)])[:, -1]
    assert max_difference(ablate(model, TOKENS, [Part.head(1, 2)]), logits) <= 1e-4
