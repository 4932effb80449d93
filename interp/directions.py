"""Directions of the residual stream that texts show: what two prompts differ in, token by token, and what two lists of texts do.

    contrast(model, "Love", "Hate", layer)          ActAdd's vectors, one per position (Turner et al. 2023, 2308.10248)
    mean_difference(model, kind, unkind, layer)     one direction, from the texts' last tokens (Rimsky et al. 2023, 2312.06681)

`interp.steering` adds them, takes them away and holds them, and says what can go wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from gpt2_core.streaming import words_of
from interp.changes import site
from interp.finite import refuse_not_finite
from interp.run import prompt_ids


@dataclass(frozen=True)
class Contrast:
    """The difference of two prompts at a layer: vectors Float [pos d_model] (plus - minus), position 0 the first token.

    plus, minus: the tokens compared, the shorter prompt padded with spaces. typical_norm: the mean norm of the two prompts' own
    vectors after the first position, which is what a coefficient should be judged against.
    """

    vectors: Float[Tensor, "pos d_model"]
    layer: int
    component: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    typical_norm: float

    @property
    def norms(self) -> Float[Tensor, " pos"]:
        return self.vectors.norm(dim=-1)


@torch.no_grad()
def contrast(
    model: GPT2,
    plus: str | Sequence[int],
    minus: str | Sequence[int],
    layer: int,
    component: str = "resid_pre",
    bos: bool = True,
) -> Contrast:
    """ActAdd's vectors: h(plus) - h(minus) at every position, aligned from the front, the shorter prompt padded with spaces.

    Raises ValueError for a layer or component that is not there, and for ids of unequal length in a model without a tokenizer.
    """
    name = site(model.config, component, layer)
    rows = [prompt_ids(model, prompt, bos) for prompt in (plus, minus)]
    longest = max(map(len, rows))
    if len(rows[0]) != len(rows[1]) and model.tokenizer is None:
        raise ValueError(f"The prompts have {len(rows[0])} and {len(rows[1])} tokens; without a tokenizer give equal lengths.")
    if min(map(len, rows)) < longest:
        space = model.tokenizer.encode(" ")
        rows = [row + space * (longest - len(row)) for row in rows]
    _, cache = model.run_with_cache(torch.tensor(rows), name, return_type=None, stop_at_layer=layer + 1)
    x = cache[name]
    refuse_not_finite(model, x, torch.tensor(rows))
    typical = x[:, min(1, longest - 1) :].norm(dim=-1).mean().item()
    strings = (tuple(words_of(model).strings(row)) for row in rows)
    return Contrast(x[0] - x[1], layer, component, *strings, typical)


@torch.no_grad()
def mean_difference(
    model: GPT2,
    plus: Sequence[str | Sequence[int]],
    minus: Sequence[str | Sequence[int]],
    layer: int,
    component: str = "resid_pre",
    bos: bool = True,
) -> Float[Tensor, " d_model"]:
    """The mean activation at the last token of some texts, less that of others: one direction."""
    name = site(model.config, component, layer)
    if isinstance(plus, str) or isinstance(minus, str) or not plus or not minus:
        raise ValueError(
            f"A difference needs lists of texts on both sides, got {plus!r} and {minus!r}; give at least one each."
        )

    def mean(texts) -> Tensor:
        last = []
        for text in texts:
            ids = torch.tensor([prompt_ids(model, text, bos)])
            _, cache = model.run_with_cache(ids, name, return_type=None, stop_at_layer=layer + 1)
            refuse_not_finite(model, cache[name], ids)
            last.append(cache[name][0, -1])
        return torch.stack(last).mean(0)

    return mean(plus) - mean(minus)
