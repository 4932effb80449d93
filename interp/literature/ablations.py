"""Checks that take parts away: values of the first layer, name movers, the first MLP.

Mean ablation follows Wang et al. 2022: a head's output becomes its mean over prompts of the same template whose three names are
others (p_ABC). What that mean is taken over changes the numbers by more than any rounding, and the prompts are drawn here, not
the paper's own; so these comparisons are wide.
"""

from collections.abc import Sequence

from gpt2_core.model import GPT2
from interp import prompt_sets
from interp.ablation import Ablation, Part, ablate
from interp.edits import Edit, Plan
from interp.literature.attributions import mean_by_head
from interp.literature.check import Bound, Check, Measured, about, near
from interp.literature.heads import MOVERS, PAPER
from interp.literature.predictions import MAIN
from interp.literature.prompts import ABSTRACT, listed, named, strongest, unread
from interp.predictions import token_statistics
from interp.run import trace

N_KNOCKED_OUT = 84


def _first_layer(model: GPT2) -> Measured:
    def loss(plan: Plan) -> float:
        return -token_statistics(trace(model, ABSTRACT, plan)).logprob[1:].mean().item()

    without = {f"without L0H{head}": Plan((Edit.zero("v", 0, head),)) for head in range(model.config.n_heads)}
    return listed({"whole model": loss(Plan())} | {name: loss(plan) for name, plan in without.items()}, "nats")


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
    found = mean_ablated(model, sets)
    whole = found["whole model"]
    rows = {name: value / whole for name, value in found.items() if name != "whole model"}
    return listed({"whole model, logit difference": whole} | {f"{name}, share of it": v for name, v in rows.items()},
                  movers=named(movers))  # fmt: skip


KNOCKED_OUT = {
    ("whole model, logit difference", ""): about(3.56, 1.0),
    ("without its name movers, share of it", ""): about(0.95, 0.25),
    ("without the first MLP, share of it", ""): Bound(0, -float("inf"), 0.15),  # "it reverses the sign"
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
        "ioi_knock_outs",
        "Knocking out the name movers, and the first MLP",
        _knock_outs,
        PAPER,
        KNOCKED_OUT,
        lambda c: unread(c, N_KNOCKED_OUT * 20 * 6) + 1000,
        approximate=f"{N_KNOCKED_OUT} prompts of ours, six or so per template for the mean; heads ablated at all positions",
    ),
)
