"""Checks that take parts away, and checks over many prompts drawn from a template.

Mean ablation follows Wang et al. 2022: a head's output becomes its mean over prompts of the same template whose three names are
others (p_ABC). What that mean is taken over changes the numbers by more than any rounding, and the prompts are drawn here, not
the paper's own; so these comparisons are wide.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt2_core.model import GPT2
from interp import prompt_sets
from interp.ablation import Ablation, Part, ablate
from interp.edits import Edit, Plan
from interp.literature.attributions import mean_by_head
from interp.literature.check import Bound, Check, Measured, about, at_least, near
from interp.literature.heads import MOVERS, PAPER
from interp.literature.predictions import MAIN
from interp.literature.prompts import ABSTRACT, listed, named, strongest
from interp.predictions import token_statistics
from interp.run import trace
from interp.statistics import summarise

N_MANY, N_KNOCKED_OUT, N_YEARS = 500, 84, 200
CHUNK = 50  # prompts at a time
CIRCUIT = (  # Wang et al. 2022, figure 2, all classes; here every head at all positions
    *((9, 9), (9, 6), (10, 0), (10, 7), (11, 10), (7, 3), (7, 9), (8, 6), (8, 10), (5, 5), (6, 9), (5, 8), (5, 9)),
    *((0, 1), (3, 0), (0, 10), (4, 11), (2, 2), (9, 0), (9, 7), (10, 1), (10, 2), (10, 6), (10, 10), (11, 2), (11, 9)),
)


def _first_layer(model: GPT2) -> Measured:
    def loss(plan: Plan) -> float:
        return -token_statistics(trace(model, ABSTRACT, plan)).logprob[1:].mean().item()

    without = {f"without L0H{head}": Plan((Edit.zero("v", 0, head),)) for head in range(model.config.n_heads)}
    return listed({"whole model": loss(Plan())} | {name: loss(plan) for name, plan in without.items()}, "nats")


@torch.no_grad()
def _many(model: GPT2) -> Measured:
    drawn = prompt_sets.build("ioi", model.tokenizer, N_MANY, seed=0)
    differences, probabilities, order = [], [], []
    for batch in drawn.batches(bos=False, device=model.cfg.device):
        logits = _last_logits(model, batch.clean)
        differences.append(batch.metric(logits))
        io = torch.tensor([pair.correct[0] for pair in batch.pairs])
        probabilities.append(logits.softmax(-1).gather(-1, io[:, None])[:, 0])
        order += batch.indices
    values = torch.cat(differences)
    summary = summarise(values, [drawn.texts[i] for i in order], worst=3)
    rows = {
        "mean logit difference": summary.mean,
        "share in which the right name leads": summary.share_positive,
        "mean probability of the right name": torch.cat(probabilities).mean().item(),
    }
    low, high = summary.interval.low.item(), summary.interval.high.item()
    worst = "; ".join(f"{case.prompt} ({case.value:.2f})" for case in summary.worst)
    return listed(rows, interval=f"{low:.2f} … {high:.2f} (95 %)", worst=worst)


def _last_logits(model: GPT2, tokens: Tensor) -> Tensor:
    return torch.cat([model(rows, logits_at=-1)[:, 0].float().cpu() for rows in tokens.split(CHUNK)])


def mean_ablated(model: GPT2, knocked_out: dict[str, Sequence[Part]], n: int = N_KNOCKED_OUT) -> dict[str, float]:
    """The mean logit difference with each set of parts mean-ablated over p_ABC of the same template; no `<|endoftext|>`."""
    drawn = prompt_sets.build("ioi", model.tokenizer, n, seed=0, corruption="abc", orders=("BABA",))
    sums = dict.fromkeys(knocked_out, 0.0)
    for batch in drawn.batches(bos=False, by_template=True, device=model.cfg.device):
        for name, parts in knocked_out.items():
            logits = ablate(model, batch.clean, parts, Ablation.mean(batch.corrupted), bos=False)
            sums[name] += batch.metric(logits).double().sum().item()
    return {name: total / n for name, total in sums.items()}


def _knock_outs(model: GPT2) -> Measured:
    movers = strongest(mean_by_head(model)[0], MOVERS)
    sets = {
        "whole model": (),
        "without its name movers": [Part.head(*head) for head in movers],
        "without the first MLP": [Part.mlp(0)],
    }
    if (model.config.n_layers, model.config.n_heads) == (12, 12):
        others = {(layer, head) for layer in range(12) for head in range(12)} - set(CIRCUIT)
        sets["the paper's circuit alone"] = [Part.head(*head) for head in sorted(others)]
    found = mean_ablated(model, sets)
    whole = found["whole model"]
    rows = {name: value / whole for name, value in found.items() if name != "whole model"}
    return listed({"whole model, logit difference": whole} | {f"{name}, share of it": v for name, v in rows.items()},
                  movers=named(movers))  # fmt: skip


@torch.no_grad()
def _greater_than(model: GPT2) -> Measured:
    drawn = prompt_sets.build("greater_than", model.tokenizer, N_YEARS, seed=0)
    clean, corrupted = [], []
    for batch in drawn.batches(bos=False, device=model.cfg.device):
        clean.append(batch.metric(_last_logits(model, batch.clean)))
        corrupted.append(batch.metric(_last_logits(model, batch.corrupted)))
    rows = {"years above less years below": torch.cat(clean), "the same, first year ending in 01": torch.cat(corrupted)}
    return listed({name: values.mean().item() for name, values in rows.items()}, prompt=drawn.texts[0])


KNOCKED_OUT = {
    ("whole model, logit difference", ""): about(3.56, 1.0),
    ("without its name movers, share of it", ""): about(0.95, 0.25),
    ("without the first MLP, share of it", ""): Bound(0, -float("inf"), 0.15),
    ("the paper's circuit alone, share of it", ""): about(0.87, 0.3),
}

CHECKS = (
    Check(
        "ablate_v",
        "The loss of one sentence, with the values of each head of the first layer set to zero",
        _first_layer,
        MAIN,
        near({"whole model": 3.999, "without L0H8": 5.453}, 3e-3),
        lambda c: 33 * (1 + c.n_heads),
        mode="folded",
    ),
    Check(
        "greater_than",
        "The war lasted from the year 1732 to the year 17...: probability of years above less those below",
        _greater_than,
        "Hanna et al. 2023, 2305.00586",
        {("years above less years below", ""): about(0.817, 0.1)},
        lambda c: N_YEARS * 26,
        approximate=f"{N_YEARS} prompts of ours, drawn from the paper's template",
    ),
    Check(
        "ioi_many",
        f"{N_MANY} sentences with an indirect object",
        _many,
        PAPER,
        {
            ("mean logit difference", ""): about(3.56, 1.0),
            ("share in which the right name leads", ""): at_least(0.95),
            ("mean probability of the right name", ""): about(0.49, 0.15),
        },
        lambda c: N_MANY * 20,
        approximate="prompts drawn here from the paper's templates; the paper has 99.3 %",
    ),
    Check(
        "ioi_knock_outs",
        "Knocking out heads of the circuit for indirect objects, and all heads but the circuit",
        _knock_outs,
        PAPER,
        KNOCKED_OUT,
        lambda c: N_KNOCKED_OUT * 20 * 8,
        approximate=f"{N_KNOCKED_OUT} prompts of ours, six or so per template for the mean; heads ablated at all positions",
    ),
)
