"""How a prediction forms from layer to layer: what each row of a lens says about its own certainty and its way to the end.

    entropy          how undecided the row is, bits
    max_probability  the share of its first choice
    final_rank       the place that the row gives to the token the model finally predicts (0: already its first choice)
    kl_to_final      KL(final || row), bits: what is lost by taking the row for the model
    cross_entropy    -log2 of the probability that the row gives to the token that really comes next, bits
    step_kl, step_js, step_tv    how far one row is from the row before it: KL(row || before), Jensen-Shannon (bits), total variation

Every number is a property of the lens as much as of the layer: a logit lens that reads a layer badly also makes it look undecided
and far from the end. Compare with a tuned lens before saying that a layer does not know.

Source: Belrose et al. 2023, 2303.08112, section 3 and the library's prediction trajectory.
"""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.distribution import entropy, jensen_shannon, kl, total_variation
from gpt2_core.model import GPT2
from interp.lens import Translate, chunks, final_check, labels, read_rows
from interp.run import Check, Provenance, Run


@dataclass(frozen=True)
class Trajectory:
    """Axes [row pos], for the three steps [row - 1 pos] (entry 0 is the step from row 0 to row 1). Units in the module's text.

    cross_entropy is NaN at the last position, whose next token is unknown. check: the last row equals the logits.
    """

    labels: tuple[str, ...]
    entropy: Float[Tensor, "row pos"]
    max_probability: Float[Tensor, "row pos"]
    final_rank: Int[Tensor, "row pos"]
    kl_to_final: Float[Tensor, "row pos"]
    cross_entropy: Float[Tensor, "row pos"]
    step_kl: Float[Tensor, "step pos"]
    step_js: Float[Tensor, "step pos"]
    step_tv: Float[Tensor, "step pos"]
    check: Check
    provenance: Provenance

    def means(self) -> dict[str, list[float]]:
        """Each statistic per row (or step), averaged over the positions where it is known."""
        tables = (f.name for f in fields(self) if isinstance(getattr(self, f.name), Tensor))
        return {name: getattr(self, name).float().nanmean(1).tolist() for name in tables}


@torch.no_grad()
def trajectory(
    model: GPT2, run: Run, mid: bool = False, layer_norm: str = "recomputed", translate: Translate | None = None
) -> Trajectory:
    """The statistics of every row of a lens: the logit lens in either mode, or with `translate` a tuned lens."""
    parts, worst = [], 0.0
    following = torch.tensor([*run.tokens[1:], -1], device=run.logits.device)
    for at in chunks(run):
        final = run.logits[at].float()
        rows = read_rows(model, run, mid, layer_norm, translate, at)
        columns, last = _chunk(rows, final.log_softmax(-1), following[at])
        worst = max(worst, (last - final).abs().max().item())
        parts.append(columns)
    tables = [torch.cat(pieces, -1) for pieces in zip(*parts)]
    return Trajectory(labels(model.config.n_layers, mid), *tables, final_check(model, worst), run.provenance)


def _chunk(rows, final: Float[Tensor, "pos d_vocab"], following: Int[Tensor, " pos"]) -> tuple[list[Tensor], Tensor]:
    """The tables of some positions, and the last row's logits."""
    columns, steps, before = [], [], None
    predicted = final.argmax(-1, keepdim=True)
    for logits in rows:
        logprobs = logits.log_softmax(-1)
        columns.append(_row(logprobs, final, predicted, following))
        if before is not None:
            steps.append(_step(logprobs, before))
        before = logprobs
    return [torch.stack(column) for column in (*zip(*columns), *zip(*steps))], logits


def _row(logprobs: Tensor, final: Tensor, predicted: Tensor, following: Tensor) -> tuple[Tensor, ...]:
    own = logprobs.gather(-1, predicted)
    came = -logprobs.gather(-1, following.clamp(min=0)[:, None])[:, 0]
    return (
        entropy(logprobs) / math.log(2),
        logprobs.max(-1).values.exp(),
        (logprobs > own).sum(-1),
        kl(final, logprobs) / math.log(2),
        torch.where(following < 0, torch.nan, came / math.log(2)),
    )


def _step(logprobs: Tensor, before: Tensor) -> tuple[Tensor, ...]:
    bits = (kl(logprobs, before) / math.log(2), jensen_shannon(logprobs, before) / math.log(2))
    return (*bits, total_variation(logprobs, before))
