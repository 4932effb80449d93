"""Checks over many prompts drawn from a template: how often a model is right, how it fails, and how it can be made to fail.

The prompts are drawn here, from the papers' templates and with our names, places and objects. So the numbers are those of another
sample of nearly the same population, and are compared loosely. A mean hides its tail: `ioi_tails` looks at the share of errors,
`ioi_adversarial` at sentences written to bring errors about.

Sources: Wang et al. 2022, 2211.00593 (figure 8, appendix L); Hanna et al. 2023, 2305.00586; R. Mehta 2024, "GPT-2 sometimes fails
at IOI", ronakrm.github.io/ioi-tails (all 9 million sentences of the BABA templates).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from interp import prompt_sets
from interp.literature.check import Bound, Cell, Check, Measured, about, at_least
from interp.literature.heads import PAPER
from interp.literature.prompts import last_logits, listed, unread
from interp.prompt_sets.pairs import PromptSet
from interp.statistics import summarise, worst_cases

N_MANY, N_YEARS, N_ADVERSARIAL, N_TAILS = 500, 200, 200, 1000
PUBLISHED_TAIL = 0.01348
Z95 = 1.959964


@torch.no_grad()
def answers(model: GPT2, drawn: PromptSet) -> tuple[Float[Tensor, " prompt"], Float[Tensor, " prompt"]]:
    """Of every prompt, in the order of the set: the logit difference, and the probability of the right name; no `<|endoftext|>`."""
    differences, probabilities = torch.zeros(2, len(drawn))
    for batch in drawn.batches(bos=False, device=model.cfg.device):
        rows, logits = list(batch.indices), last_logits(model, batch.clean)
        right = torch.tensor([pair.correct[0] for pair in batch.pairs])
        differences[rows] = batch.metric(logits)
        probabilities[rows] = logits.softmax(-1).gather(-1, right[:, None])[:, 0]
    return differences, probabilities


def _many(model: GPT2) -> Measured:
    drawn = prompt_sets.build("ioi", model.tokenizer, N_MANY, seed=0)
    differences, probabilities = answers(model, drawn)
    summary = summarise(differences, drawn.texts, worst=3)
    rows = {
        "mean logit difference": summary.mean,
        "share in which the right name leads": summary.share_positive,
        "mean probability of the right name": probabilities.mean().item(),
    }
    low, high = summary.interval.low.item(), summary.interval.high.item()
    return listed(rows, interval=f"{low:.2f} … {high:.2f} (95 %)", worst=_worst(differences, drawn))


def _worst(differences: Tensor, drawn: PromptSet) -> str:
    return "; ".join(f"{case.prompt} ({case.value:.2f})" for case in worst_cases(differences, drawn.texts, 3))


def wilson(count: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, count of n (Wilson 1927): the shares p from which count/n is 1.96 standard errors away."""
    share, z = count / n, Z95
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def _tails(model: GPT2) -> Measured:
    drawn = prompt_sets.build("ioi", model.tokenizer, N_TAILS, seed=0, orders=("BABA",))
    differences, _ = answers(model, drawn)
    wrong = int((differences < 0).sum())
    low, high = wilson(wrong, len(drawn))
    rows = {
        "share of errors": wrong / len(drawn),
        "lower end of its interval": low,
        "upper end of its interval": high,
    }
    return listed(rows, worst=_worst(differences, drawn))


def _adversarial(model: GPT2) -> Measured:
    rows, prompt = {}, ""
    for name, extra in (("IO again", "IO"), ("S again", "S"), ("as it is", None)):
        drawn = prompt_sets.build("ioi", model.tokenizer, N_ADVERSARIAL, seed=0, extra=extra)
        differences, probabilities = answers(model, drawn)
        rows[f"{name}: logit difference"] = differences.mean().item()
        rows[f"{name}: probability of IO"] = probabilities.mean().item()
        rows[f"{name}: S leads"] = (differences < 0).double().mean().item()
        prompt = prompt or drawn.texts[0]
    return listed(rows, prompt=prompt)


@torch.no_grad()
def _greater_than(model: GPT2) -> Measured:
    drawn = prompt_sets.build("greater_than", model.tokenizer, N_YEARS, seed=0)
    clean, corrupted = [], []
    for batch in drawn.batches(bos=False, device=model.cfg.device):
        clean.append(batch.metric(last_logits(model, batch.clean)))
        corrupted.append(batch.metric(last_logits(model, batch.corrupted)))
    rows = {"years above less years below": torch.cat(clean), "the same, first year ending in 01": torch.cat(corrupted)}
    return listed({name: values.mean().item() for name, values in rows.items()}, prompt=drawn.texts[0])


def _adversarial_expected() -> dict[Cell, Bound]:
    published = {  # figure 8: logit difference, probability of IO, share of S above IO
        "as it is": (about(3.55, 1.0), about(0.49, 0.15), Bound(0.007, -math.inf, 0.05)),
        "S again": (about(3.64, 1.2), about(0.59, 0.2), Bound(0.004, -math.inf, 0.05)),
        "IO again": (about(1.23, 1.0), about(0.36, 0.2), about(0.234, 0.18)),
    }
    what = ("logit difference", "probability of IO", "S leads")
    return {(f"{name}: {kind}", ""): bound for name, bounds in published.items() for kind, bound in zip(what, bounds)}


TAILS = {
    ("share of errors", ""): about(PUBLISHED_TAIL, 0.012),
    ("lower end of its interval", ""): Bound(PUBLISHED_TAIL, -math.inf, PUBLISHED_TAIL + 0.01),
    ("upper end of its interval", ""): Bound(PUBLISHED_TAIL, PUBLISHED_TAIL - 0.01, math.inf),
}

CHECKS = (
    Check(
        "greater_than",
        "The war lasted from the year 1732 to the year 17...: probability of years above less those below",
        _greater_than,
        "Hanna et al. 2023, 2305.00586",
        {("years above less years below", ""): about(0.817, 0.1)},
        lambda c: unread(c, N_YEARS * 26) + N_YEARS,
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
        lambda c: unread(c, N_MANY * 20) + N_MANY,
        approximate="prompts drawn here from the paper's templates; the paper has 99.3 %",
    ),
    Check(
        "ioi_adversarial",
        "Naming the indirect object twice confuses the model; naming the subject a third time does not",
        _adversarial,
        f"{PAPER}, figure 8",
        _adversarial_expected(),
        lambda c: unread(c, N_ADVERSARIAL * 70) + 3 * N_ADVERSARIAL,
        approximate=f"{N_ADVERSARIAL} prompts of ours with one of the paper's extra sentences (its code adds two); not tried on its weights",
    ),
    Check(
        "ioi_tails",
        "How often the wrong name leads, with the interval of the share",
        _tails,
        "R. Mehta 2024, ronakrm.github.io/ioi-tails",
        TAILS,
        lambda c: unread(c, N_TAILS * 20) + N_TAILS,
        approximate=f"{N_TAILS} prompts of ours; the published share is of all 9 million sentences of its names, places and objects",
    ),
)
