"""Checks of single heads: what they attend to on repeated random tokens and in sentences with an indirect object, what they copy.

Traps that the literature has fallen into, or seems to: a high induction score does not put a head into the circuit of a task
(L5H1 and L7H10 score high and are not in that of Wang et al. 2022), and circuit heads need not score highest (L2H2 is only the
fourth previous-token head). So tables are compared as tables and heads are not named by their scores.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from interp import prompt_sets
from interp.heads import scores
from interp.literature.attributions import mean_by_head
from interp.literature.check import Check, Measured, about, at_least, at_most
from interp.literature.patches import S_INHIBITION
from interp.literature.prompts import GREETING, has_paper_heads, layers_by_heads, listed, named, strongest
from interp.literature.reference import source, table
from interp.prompt_sets.names import FIRST_NAMES
from interp.prompt_sets.pairs import single_tokens
from interp.roles import copy_scores
from interp.run import trace
from interp.weights import copying, head_matrices

ONE_CELL = 1 / 101  # the notebook's induction diagonal has one cell more, of the first copy; ours begins with the second
PAPER = "Wang et al. 2022, 2211.00593"
N_PROMPTS, N_NAMES = 100, 40
MOVERS, NEGATIVE = 3, 2  # name movers are the heads with the largest direct effect, negative ones those with the smallest


def _role(role: str) -> Callable[[GPT2], Measured]:
    def measure(model: GPT2) -> Measured:
        found = scores(model, seed=0, batch=2, length=100)  # the notebook's own random tokens
        return layers_by_heads(getattr(found, role), chance=f"{found.chance[role]:.3f}")

    return measure


def _copying(model: GPT2) -> Measured:
    return layers_by_heads(copying(model).scores)


def _copying_ov(model: GPT2) -> Measured:
    rows = []
    for layer in range(model.config.n_layers):
        w = head_matrices(model, layer)
        values = torch.linalg.eigvals(w.W_O.double() @ w.W_V.double())  # those of W_V W_O that are not 0
        rows.append(values.sum(-1).real / values.abs().sum(-1))
    return layers_by_heads(torch.stack(rows))


@torch.no_grad()
def attention_from_end(model: GPT2, n: int = N_PROMPTS) -> dict[str, Float[Tensor, "layer head"]]:
    """Mean attention from the last token to the indirect object ("IO") and to the second subject ("S2"), no `<|endoftext|>`."""
    drawn, sums = prompt_sets.build("ioi", model.tokenizer, n, seed=0), {"IO": 0.0, "S2": 0.0}
    for batch in drawn.batches(bos=False, device=model.cfg.device):
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.n_layers)]
        _, cache = model.run_with_cache(batch.clean, names, return_type=None)
        last = torch.stack([cache[name][:, :, -1] for name in names], 1)  # [prompt layer head key]
        rows = torch.arange(len(batch), device=last.device)
        for word in sums:
            sums[word] = sums[word] + last[rows, :, :, batch.positions[word]].double().sum(0).cpu()
    return {word: total / n for word, total in sums.items()}


def inhibiting_heads(model: GPT2, looked: dict[str, Float[Tensor, "layer head"]]) -> list[tuple[int, int]]:
    """The S-inhibition heads: the paper's in a model of GPT-2 small's shape, else those that look most at the second subject."""
    return list(S_INHIBITION) if has_paper_heads(model) else strongest(looked["S2"], len(S_INHIBITION))


def _circuit(model: GPT2) -> Measured:
    direct = mean_by_head(model)[0]
    movers, negative = strongest(direct, MOVERS), strongest(direct, NEGATIVE, largest=False)
    looked = attention_from_end(model)
    inhibiting = inhibiting_heads(model, looked)
    names = list(single_tokens(model.tokenizer, FIRST_NAMES).values())[:N_NAMES]
    copied, lowered = (copy_scores(model, names, negative=sign) for sign in (False, True))
    rows = {
        "attention to the indirect object, name movers": _mean(looked["IO"], movers),
        "attention to the second subject, S-inhibition heads": _mean(looked["S2"], inhibiting),
        "copy score, name movers": _mean(copied, movers),
        "copy score, all heads": copied.mean().item(),
        "negative copy score, negative movers": _mean(lowered, negative),
        "negative copy score, all heads": lowered.mean().item(),
    }
    return listed(rows, movers=named(movers), negative=named(negative), inhibiting=named(inhibiting))


def _mean(values: Float[Tensor, "layer head"], heads: list[tuple[int, int]]) -> float:
    return sum(values[head].item() for head in heads) / len(heads)


def _sink(model: GPT2) -> Measured:
    resid = trace(model, GREETING).activations["resid_pre", model.config.n_layers // 2].double()
    norms, first = resid.norm(dim=-1), resid[0].abs()
    return listed(
        {"norm of the first token / largest of the others": (norms[0] / norms[1:].max()).item(), "its largest number": first.max().item()},
        layer=str(model.config.n_layers // 2), dimension=str(first.argmax().item()),
    )  # fmt: skip


CIRCUIT = {
    ("attention to the indirect object, name movers", ""): about(0.59, 0.15),
    ("attention to the second subject, S-inhibition heads", ""): about(0.51, 0.15),
    ("copy score, name movers", ""): at_least(0.9),
    ("copy score, all heads", ""): at_most(0.25),
    ("negative copy score, negative movers", ""): at_least(0.9),
    ("negative copy score, all heads", ""): at_most(0.25),
}
SINK = {("norm of the first token / largest of the others", ""): at_least(10), ("its largest number", ""): at_least(1000)}

CHECKS = (
    Check(
        "sink",
        "The first token's residual stream is huge",
        _sink,
        "Xiao et al. 2023, 2309.17453; Sun et al. 2024, 2402.17762",
        SINK,
        lambda c: 5,
        approximate="limits far below what is reported, which differs by layer",
    ),
    Check(
        "previous_token",
        "Attention to the token before, on repeated random tokens",
        _role("previous_token"),
        source("previous_token"),
        table("previous_token", 0.005),
        lambda c: 400,
    ),
    Check(
        "duplicate_token",
        "Attention to the same token one copy earlier",
        _role("duplicate_token"),
        source("duplicate_token"),
        table("duplicate_token", 0.005),
        lambda c: 400,
    ),
    Check(
        "induction",
        "Attention to the token that came next, one copy earlier",
        _role("induction"),
        source("induction"),
        table("induction", 0.002 + ONE_CELL),
        lambda c: 400,
    ),
    Check(
        "copying_ov",
        "Eigenvalues of W_V W_O: does a head write what it reads?",
        _copying_ov,
        source("copying_ov"),
        table("copying_ov", 0.01),
        lambda c: 200,
    ),
    Check(
        "copying",
        "Eigenvalues of W_E W_V W_O W_U: does a head raise the word that it reads?",
        _copying,
        source("copying"),
        table("copying", 0.01),
        lambda c: 1000,
    ),
    Check(
        "ioi_heads",
        "Heads of the circuit for indirect objects: where the last word looks, and what they copy",
        _circuit,
        PAPER,
        CIRCUIT,
        lambda c: N_PROMPTS * 20 + N_NAMES * c.n_layers * c.n_heads,
        approximate=f"{N_PROMPTS} prompts and {N_NAMES} names of ours; copy scores are of single names, not inside sentences",
    ),
)
