"""Activation patching: put one piece of one run into another run, and see how much of the answer comes with it.

Two prompts of equal length differ in what decides the answer: the clean one makes the model say it, the corrupted one does not.
    mode "denoise"   clean pieces go into the corrupted run: what suffices to bring the answer back?
    mode "noise"     corrupted pieces go into the clean run: what is needed to keep it?
These are different questions: of two heads that do the same work either suffices, so noising shows neither.

    metric = logit_diff(correct=5335, wrong=1757)
    result = sweep(model, clean_tokens, corrupted_tokens, metric, component="resid_pre")     # result.values [layer pos]
    for layer, row in sweep_rows(model, clean_tokens, corrupted_tokens, metric, "z"): ...    # as they are computed

`normalised` is (metric - corrupted) / (clean - corrupted) in both modes: 0 is the corrupted run, 1 the clean one. It may pass
either end, and head effects do not add up. Pitfall: corrupt by exchanging words (so that lengths match and both prompts
are natural), not by noise; and prefer a logit difference. See `interp.sweep_cells` for the components, `interp.sweep` for speed.

Sources: Vig et al. 2020, 2004.12265; Meng et al. 2022, 2202.05262; Wang et al. 2022, 2211.00593; Zhang & Nanda 2023, 2309.16042
(metrics and corruptions); Heimersheim & Nanda 2024, 2404.15255 (denoising and noising); TransformerLens, `patching.py`.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gpt2_core.model import GPT2
from interp.edits import NO_EDITS, Plan
from interp.metrics import MetricFunction
from interp.run import Prompt, prompt_ids
from interp.sweep_cells import COMPONENTS, OF_HEADS, Cell
from interp.sweep_cost import Estimate, estimate
from interp.sweep_run import Mode, Prepared, Sweep

__all__ = [
    "COMPONENTS",
    "OF_HEADS",
    "Cell",
    "Estimate",
    "Mode",
    "Prepared",
    "Sweep",
    "estimate",
    "prepare",
    "sweep",
    "sweep_rows",
    "token_pair",
]


def token_pair(model: GPT2, clean: Prompt, corrupted: Prompt, bos: bool = True) -> tuple[list[int], list[int]]:
    """The ids of two prompts; a text gets `<|endoftext|>` in front where `bos` says so, ids are taken as they are.

    Raises ValueError where they cannot be patched into each other: different lengths, or no difference at all.
    """
    pair = [prompt_ids(model, prompt, bos and isinstance(prompt, str)) for prompt in (clean, corrupted)]
    a, b = (len(ids) for ids in pair)
    if a != b:
        raise ValueError(f"The clean prompt has {a} tokens and the corrupted one {b}; patching needs equal lengths.")
    if pair[0] == pair[1]:
        raise ValueError("The two prompts are the same; change the words that decide the answer in one of them.")
    return pair[0], pair[1]


def prepare(
    model: GPT2,
    clean_tokens: Prompt,
    corrupted_tokens: Prompt,
    metric: MetricFunction,
    component: str = "resid_pre",
    *,
    mode: Mode = "denoise",
    by_position: bool = False,
    n_groups: int = 32,
    layers: Sequence[int] | None = None,
    plan: Plan = NO_EDITS,
    bos: bool = True,
    memory: int | None = None,
) -> Prepared:
    """Both runs, with their metrics, and everything a sweep needs; `rows()` then streams it.

    component: one of COMPONENTS. by_position: for heads, each position alone too. n_groups: of neurons. layers: None is all.
    plan: edits in force in every run. memory: bytes that one batch of variants may take (None: an eighth of what is free, at most
    1 GiB). Raises ValueError for prompts that do not fit each other and for a component that does not exist.
    """
    if component not in COMPONENTS:
        raise ValueError(f"{component!r} cannot be patched; expected one of {', '.join(COMPONENTS)}.")
    if by_position and component not in OF_HEADS:
        raise ValueError(f"by_position is for the parts of heads ({', '.join(OF_HEADS)}), not for {component}; leave it out.")
    if not 1 <= n_groups <= model.config.d_mlp:
        raise ValueError(f"n_groups must lie in 1..{model.config.d_mlp}, the number of neurons of a layer; got {n_groups}.")
    if mode not in ("denoise", "noise"):
        raise ValueError(f"mode must be 'denoise' or 'noise', got {mode!r}.")
    every = range(model.config.n_layers)
    layers = tuple(every if layers is None else layers)
    if not layers or not set(layers) <= set(every) or len(set(layers)) < len(layers):
        raise ValueError(f"layers must be some of 0..{every[-1]}, each once; got {list(layers)}.")
    tokens = token_pair(model, clean_tokens, corrupted_tokens, bos)
    return Prepared(model, tokens, metric, component, mode, by_position, n_groups, layers, plan, memory)


def sweep_rows(model: GPT2, *args, **options) -> Iterator[tuple[int, Float[Tensor, "..."]]]:
    """(layer, row of values) as they are computed, with the arguments of `prepare`. Closing the generator stops the sweep."""
    yield from prepare(model, *args, **options).rows()


def sweep(model: GPT2, clean_tokens: Prompt, corrupted_tokens: Prompt, metric: MetricFunction, component: str = "resid_pre", **options) -> Sweep:  # fmt: skip
    """The metric with each cell patched, and the controls; options as for `prepare`."""
    prepared = prepare(model, clean_tokens, corrupted_tokens, metric, component, **options)
    return prepared.result(torch.stack([row for _, row in prepared.rows()]))
