"""A run that gives NaN or infinity is refused, in one sentence that says where the first such number came from.

One number that is not finite spreads to everything behind it, and a map of NaN, or a search that compares with NaN, looks like an
answer. So every analysis takes its logits through `last_logits`, or hands what it ran to `refuse_not_finite`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.hooks import HookFunction, Watch
from gpt2_core.model import GPT2

_INSIDE = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")


def last_logits(
    model: GPT2, x: Tensor, hook: HookFunction | None = None, start_at_layer: int | None = None, rows: Sequence[str] = ()
) -> Float[Tensor, "row d_vocab"]:
    """Last-position logits of token ids, or of a residual stream; for the rest see `refuse_not_finite`."""
    logits = model(x, hook=hook, start_at_layer=start_at_layer, logits_at=-1)
    refuse_not_finite(model, logits, x, hook, start_at_layer, rows)
    return logits[:, 0]


@torch.no_grad()
def refuse_not_finite(
    model: GPT2,
    output: Float[Tensor, "row ..."],
    x: Tensor,
    hook: HookFunction | None = None,
    start_at_layer: int | None = None,
    rows: Sequence[str] = (),
) -> None:
    """Raises ValueError where the output of `model(x, hook=hook, start_at_layer=...)` holds NaN or infinity.

    rows: what equal parts of the rows are ("without L0H1", "without L0H2"), for the sentence. The run is made once more to find the
    first place that is not finite.
    """
    if output.isfinite().all():
        return
    row = int((~output.isfinite()).flatten(1).any(1).nonzero()[0])
    each = len(output) // max(1, len(rows))
    which = f" {rows[row // each]}" if rows else ""
    which += f" for prompt {row % each}" if each > 1 else ""
    first, half = _first(model, x, hook, start_at_layer, row), "use float32, " if model.cfg.dtype.itemsize < 4 else ""
    raise ValueError(
        f"The model's output{which} is not finite in {model.cfg.dtype}, first at {first}; {half}make the edits smaller, or check "
        "the weights."
    )


def _first(model: GPT2, x: Tensor, hook: HookFunction | None, start_at_layer: int | None, row: int) -> str:
    """The first hook, in the order of the data flow, at which this row is not finite."""
    names = {f"blocks.{layer}.{site}" for layer in range(model.config.n_layers) for site in _INSIDE}
    found: list[str] = []

    def see(name: str, value: Tensor) -> None:
        if not value[row].isfinite().all():
            found.append(name)

    names |= {"hook_embed", "hook_pos_embed", "hook_unembed"}
    model(x, hook=Watch(names.__contains__, see, hook), start_at_layer=start_at_layer, logits_at=-1)
    return (found or ["hook_unembed"])[0]
