"""Which few heads a prediction hangs on together: knock out the worst one, look again without it, knock out the next, and so on.

    for step in greedy_knock_out(model, tokens, metric, steps=4):
        step.head, step.value                                   # the head taken away, the metric without all taken so far

`interp.knockout` asks each head alone, and is blind to two heads that stand in for each other: without either one nothing is
missing. Here the heads that take over are found in a later round, when the first is already gone (Wang et al. 2022 found the backup
name movers of GPT-2 small by looking after a knock-out).

Pitfalls: greedy is not optimal, a set of heads found one by one may not be the smallest; every round makes the network less like
the one that was trained; and on one prompt the list is about that prompt. Heads are set to zero, so that the list can be put into a
plan of edits as it is.

Sources: Wang et al. 2022, 2211.00593, section 3.3; Michel et al. 2019, 1905.10650 (greedy pruning of heads).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.model import GPT2
from interp.ablation import Metric
from interp.edits import NO_EDITS, Edit, Plan
from interp.knockout import knock_outs


@dataclass(frozen=True)
class GreedyRound:
    """A round as far as it has come. values: [layer head], the mean metric without the heads `taken` and each other one; NaN where
    it is not yet known, and for the heads taken. baseline: with only `taken` gone. head, value: the worst one and the metric without
    it, when the round is over, else None."""

    number: int
    taken: tuple[tuple[int, int], ...]
    baseline: float
    values: Float[Tensor, "layer head"]
    done: int
    total: int
    head: tuple[int, int] | None = None
    value: float | None = None


def greedy_knock_out(
    model: GPT2,
    tokens: Int[Tensor, "prompt pos"],
    metric: Metric,
    steps: int = 4,
    lower: bool = True,
    plan: Plan = NO_EDITS,
    bos: bool | None = None,
) -> Iterator[GreedyRound]:
    """Rounds of zero ablation, each yielded again and again as its layers are done, and at last with its head.

    lower: whether the worst is the lowest mean metric (a logit difference) or the highest (KL). Heads that the plan already sets to
    zero are not asked again. Raises ValueError for no step, and for more steps than heads.
    """
    shape = model.config.n_layers, model.config.n_heads
    taken = tuple(dict.fromkeys((e.layer, e.head) for e in plan if e == Edit.zero("z", e.layer, e.head) and e.head is not None))
    already = len(taken)
    if not 1 <= steps <= shape[0] * shape[1] - already:
        raise ValueError(f"A search takes 1 to {shape[0] * shape[1] - already} heads away, got steps={steps}.")
    for number in range(1, steps + 1):
        gone = plan.add(*(Edit.zero("z", *head) for head in taken[already:]))
        values = torch.full(shape, torch.nan, dtype=torch.float32)
        for step in knock_outs(model, tokens, metric, plan=gone, bos=bos):
            baseline = step.baseline.mean().item()
            values[step.layer, list(step.units)] = step.values.mean(0).float().cpu()
            for layer, head in taken:
                values[layer, head] = torch.nan
            yield GreedyRound(number, taken[already:], baseline, values.clone(), step.done, step.total)
        signed = (values if lower else -values).nan_to_num(nan=torch.inf)
        head = divmod(int(signed.argmin()), shape[1])
        yield GreedyRound(number, taken[already:], baseline, values.clone(), step.total, step.total, head, values[head].item())
        taken = (*taken, head)
