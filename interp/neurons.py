"""What makes a neuron fire: its highest activations over a text that the user gives.

The text is read in windows that each start afresh, and every neuron of a layer (after the GELU) keeps only its k highest places, so
a whole layer costs one pass and [neuron k] numbers, whatever the length of the text. The tokens around a place are read again when
they are asked for.

Pitfalls: the top activations show the tail of a neuron, not its usual work: on most tokens it may do something else
(`mean` and `active` stand beside them). What fires on one book may fire on something else in another. And a neuron's activation is
not its effect: its output vector decides that. Tokens at the start of a window lack context.

Source: Bolukbasi et al. 2021, 2104.07143 (an interpretability illusion: top activations depend on the data set).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.hooks import HookFunction, Watch
from gpt2_core.model import GPT2
from gpt2_core.streaming import end_id, words_of
from interp.edits import NO_EDITS, Plan
from interp.finite import last_logits, refuse_not_finite
from interp.intervene import compile_plan
from interp.run import Provenance, check_place, position_in, provenance

# Edges of the histogram's bins: from the GELU's least value (-0.17) on, a tenth each; what lies beyond the last is one bin.
EDGES: tuple[float, ...] = tuple(round(-0.2 + 0.1 * i, 1) for i in range(123))


@dataclass(frozen=True)
class TopActivations:
    """The highest activations of a layer's neurons over a text.

    values: Float [neuron k], highest first; positions: Int [neuron k], indices into `tokens`. Where the text has fewer than k tokens, k
    is their number. mean: over all tokens; active: share of tokens with an activation above 0; Float [neuron].
    histogram: Int [neuron bin], tokens whose activation lies between two neighbours of EDGES, the last bin without an upper end.
    tokens: the text without `<|endoftext|>`; window: tokens read together; done, windows: how many of them were read.
    """

    layer: int
    values: Float[Tensor, "neuron k"]
    positions: Int[Tensor, "neuron k"]
    mean: Float[Tensor, " neuron"]
    active: Float[Tensor, " neuron"]
    histogram: Int[Tensor, "neuron bin"]
    tokens: tuple[int, ...] = field(repr=False)
    window: int
    done: int
    windows: int
    plan: Plan
    provenance: Provenance


@dataclass(frozen=True)
class Context:
    """Tokens around one activation: strings and the neuron's activation at each, Float [token]; peak: index of the place itself."""

    strings: tuple[str, ...]
    activations: Float[Tensor, " token"]
    peak: int
    position: int


def top_activations(
    model: GPT2,
    text: str | Sequence[int],
    layer: int,
    k: int = 10,
    *,
    window: int = 256,
    batch: int = 8,
    bos: bool = True,
    plan: Plan = NO_EDITS,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> TopActivations:
    """The k highest activations of every neuron of a layer, in one pass over a text.

    window: tokens read together, at most the context; with `bos` each window begins with `<|endoftext|>`, which is not counted.
    progress(done, all): windows, after each batch. cancel: asked before each batch; raises ValueError if it says so.
    Raises ValueError for an empty text, and for a layer or k that is not there.
    """
    steps, found, windows = (
        top_activations_stream(model, text, layer, k, window=window, batch=batch, bos=bos, plan=plan),
        None,
        0,
    )
    while found is None or found.done < found.windows:
        if cancel is not None and cancel():
            raise ValueError(f"Stopped after {windows} windows.")
        found = next(steps)
        windows = found.done
        if progress is not None:
            progress(found.done, found.windows)
    return found


def top_activations_stream(
    model: GPT2,
    text: str | Sequence[int],
    layer: int,
    k: int = 10,
    *,
    window: int = 256,
    batch: int = 8,
    bos: bool = True,
    plan: Plan = NO_EDITS,
) -> Iterator[TopActivations]:
    """The same after each batch of windows: of the text read so far. Raises as `top_activations`, when it is first asked."""
    ids = model.tokenizer.encode(text) if isinstance(text, str) else list(text)
    if not ids:
        raise ValueError("The text is empty; give some text to look for activations in.")
    check_place(model.config, layer)
    if k < 1:
        raise ValueError(f"Expected k of at least 1, got {k}.")
    window = max(1, min(window, model.config.n_ctx - bos))
    starts, origin = range(0, len(ids), window), provenance(model, plan, bos)
    hook, best, total, active, histogram = compile_plan(model, plan, bos), None, 0.0, 0.0, 0
    for first in range(0, len(starts), batch):
        for at, values in _activations(model, ids, starts[first : first + batch], window, layer, bos, hook):
            best = _merged(best, values, at, k)
            total, active = total + values.sum(0, dtype=torch.float64), active + (values > 0).sum(0)
            histogram = histogram + _counts(values)
        done = min(first + batch, len(starts))
        read = min(done * window, len(ids))
        means = (total / read).float().cpu(), (active / read).float().cpu(), histogram.cpu()
        yield TopActivations(layer, best[0].cpu(), best[1].cpu(), *means, tuple(ids), window, done, len(starts), plan, origin)


@torch.no_grad()
def activations_at(
    model: GPT2, tokens: Sequence[int], position: int = -1, *, hook: HookFunction | None = None
) -> Float[Tensor, "layer neuron"]:
    """Every neuron's activation at one position of a prompt. tokens: ids, `<|endoftext|>` included; hook: of a compiled plan."""
    at, seen = position_in(len(tokens), position), {}
    names = [f"blocks.{layer}.mlp.hook_post" for layer in range(model.config.n_layers)]
    keep = lambda name, x: seen.__setitem__(name, x[0, at].float())  # noqa: E731 - one position, whatever the prompt's length
    last_logits(model, torch.tensor([list(tokens)]), Watch(names.__contains__, keep, hook))  # refuses what is not finite
    return torch.stack([seen[name] for name in names])


def _counts(values: Float[Tensor, "token neuron"]) -> Int[Tensor, "neuron bin"]:
    """How many tokens lie in each bin of EDGES, for each neuron."""
    inner = torch.tensor(EDGES[1:], device=values.device, dtype=values.dtype)
    bins = torch.bucketize(values.T.contiguous(), inner, right=True)
    counts = torch.zeros(len(bins), len(EDGES), dtype=torch.long, device=values.device)
    return counts.scatter_add_(1, bins, torch.ones_like(bins))


@torch.no_grad()
def contexts(model: GPT2, top: TopActivations, neuron: int, before: int = 12, after: int = 4) -> tuple[Context, ...]:
    """The tokens around each of a neuron's highest activations, with its activation on all of them, highest place first.

    Only the windows in which they lie are read again, so contexts end at a window's edge.
    """
    if not 0 <= neuron < len(top.values):
        raise ValueError(f"L{top.layer}N{neuron} does not exist, the layer has neurons 0..{len(top.values) - 1}.")
    bos, ids = top.provenance.bos, list(top.tokens)
    hook, read, out = compile_plan(model, top.plan, bos), {}, []
    for position in top.positions[neuron].tolist():
        start = position // top.window * top.window
        if start not in read:
            ((_, values),) = _activations(model, ids, [start], top.window, top.layer, bos, hook)
            read[start] = values[:, neuron].cpu()
        low, high = max(start, position - before), min(start + len(read[start]), position + after + 1)
        strings = tuple(words_of(model).strings(ids[low:high]))
        out.append(Context(strings, read[start][low - start : high - start], position - low, position))
    return tuple(out)


def _activations(
    model: GPT2, ids: list[int], starts: Sequence[int], window: int, layer: int, bos: bool, hook
) -> Iterator[tuple[Int[Tensor, " token"], Float[Tensor, "token neuron"]]]:
    """For each window: positions in the text, and the layer's activations there, float32."""
    name, seen = f"blocks.{layer}.mlp.hook_post", {}
    rows = [[end_id(model)] * bos + ids[start : start + window] for start in starts]
    width = max(map(len, rows))
    # Only the text's last window is shorter; padding on the right is never seen by what stands before it.
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    with torch.no_grad():  # here, because a decorator of a generator ends when it begins
        model(tokens, hook=Watch(name.__eq__, seen.__setitem__, hook), stop_at_layer=layer + 1)
    refuse_not_finite(model, seen[name], tokens, hook)
    for start, row, values in zip(starts, rows, seen[name]):
        count = len(row) - bos
        yield torch.arange(start, start + count, device=values.device), values[bos : bos + count].float()


def _merged(best, values: Float[Tensor, "token neuron"], at: Int[Tensor, " token"], k: int) -> tuple[Tensor, Tensor]:
    """The k highest of what was kept and of a new window: values and positions, [neuron k]."""
    values, at = values.T, at.expand(values.shape[1], -1)
    if best is not None:
        values, at = torch.cat([best[0], values], 1), torch.cat([best[1], at], 1)
    top = values.topk(min(k, values.shape[1]), 1)
    return top.values, at.gather(1, top.indices)
