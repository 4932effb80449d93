"""Identities that must hold of what a panel shows, where the library's result carries none: each computed on another way.

A text is read again in one pass, without the cache that wrote it; a map's cell is run alone; eigenvalues are added up beside the
trace. Each is an `interp.run.Check` whose name is its sentence in `app.text.checks`. None: it cannot hold here, as for a pattern that
an edit in force replaces, or what it would compare is not known yet. Pitfall: an identity says that the numbers are computed
right, not that they mean what one would like them to.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch.nn.functional import gelu, layer_norm

from app.service import heads_search, heads_weights, neurons, neurons_directions, patching, scaling, steering, steering_text
from app.service.attention import head_pattern
from app.service.heads_prompt import METRIC, goal_of
from app.service.view import View
from app.service.writing import Writing
from gpt2_core.scoring import score
from interp.edits import Plan
from interp.intervene import compile_plan
from interp.run import Check, judged
from interp.weights import Copying, SingularVectors, embedding, factors, head_matrices

CHUNK = 64  # positions whose whole distributions are held at once


@torch.no_grad()
def probabilities(view: View) -> Check:
    """After every token of the prompt the probabilities of all tokens add up to 1."""
    s = view.state

    def compute() -> Check:
        sums = [x.float().softmax(-1).sum(-1) for x in view.run.logits.split(CHUNK)]
        return judged("probabilities", (torch.cat(sums) - 1).abs().max().item(), torch.float32)

    return view.store.result((s.model, "check probabilities", s.prompt, s.bos, s.plan), compute)


def rows(view: View) -> Check | None:
    """The selected head's weights sum to 1 in every row; an edit of its pattern or scores may break that, and is no fault."""
    at = view.layer, view.head
    if any(e.component == "pattern" and e.layer == at[0] and e.head in (None, at[1]) for e in view.state.plan):
        return None
    residual = np.abs(head_pattern(view, view.run, *at).sum(-1) - 1).max().item()
    return judged("rows", residual, view.model.cfg.dtype)


def read_again(view: View, ids: Sequence[int], logprobs: Sequence[float | None], plan: Plan) -> Check | None:
    """A text read in one pass gives its tokens the log-probabilities that writing it, with a cache, gave them.

    ids: all of them, `<|endoftext|>` included where the page has it. logprobs: None for tokens that were not written. None where the
    text is longer than the context, which has then slid along it.
    """
    bos = view.state.bos
    if len(ids) > view.config.n_ctx or not any(x is not None for x in logprobs):
        return None

    def compute() -> Check:
        read = score(view.model, list(ids[bos:]), bos=bos, hook=compile_plan(view.model, plan, bos), top=0).logprobs
        pairs = [(a, b) for a, b in zip(logprobs[bos:], read, strict=True) if a is not None]
        size = max(abs(a) for a, _ in pairs)
        return judged("read_again", max(abs(a - b) for a, b in pairs), view.model.cfg.dtype, size)

    return view.store.result((view.state.model, "check read again", tuple(ids), tuple(logprobs), bos, plan), compute)


def texts(view: View, made: Writing) -> Check | None:
    """The worst of `read_again` over the Playground's first text, with the edits and without them. None while it is being written."""
    if not made.done:
        return None
    at = View(view.store, made.order.state)
    return _worst(
        read_again(at, [x.id for x in row[0].tokens], [x.logprob if x.written else None for x in row[0].tokens], plan)
        for row, plan in zip(made.columns, made.order.plans)
    )


def pair(view: View, written: steering_text.Pair | None) -> Check | None:
    """The same of the two texts that steering writes."""
    if written is None or not written.done:
        return None
    given = view.run.tokens
    return _worst(
        read_again(view, [*given, *text.ids], [*[None] * len(given), *np.log(text.p).tolist()], plan)
        for text, plan in zip((written.before, written.after), (steering.without_it(view), steering.with_it(view)))
    )


def _worst(checks: Iterable[Check | None]) -> Check | None:
    return max(
        (check for check in checks if check is not None), key=lambda check: check.residual / check.tolerance, default=None
    )


def search(view: View, found: heads_search.Found | None) -> Check | None:
    """With every head in place, the search for few heads begins at the page's own prediction."""
    if found is None:
        return None
    expected = goal_of(view, view.run, METRIC.of(view.state))(view.run.logits[view.position][None]).item()
    return judged("search", abs(found.curve[0] - expected), view.model.cfg.dtype, abs(expected))


@torch.no_grad()
def strengths(view: View, found: SingularVectors) -> Check:
    """The squared strengths of all directions add up to the sum of the matrix's squared entries (a share of it)."""
    at, w = view.head, head_matrices(view.model, view.layer, found.folded)
    pair = (w.W_V[at], w.W_O[at].T) if found.circuit == "OV" else (w.W_Q[at], w.W_K[at])
    left, right = (m.double() for m in pair)
    whole = ((left.T @ left) * (right.T @ right)).sum()
    off = (found.singular_values.double().square().sum() / whole - 1).abs().item() if whole > 0 else 0.0
    return judged("strengths", off, torch.float32)


@torch.no_grad()
def direction(view: View) -> Check:
    """A difference of two tokens is as long as their lengths and their product say; a head's directions are those of `strengths`."""
    kind = neurons_directions.KIND.of(view.state)
    if kind != "tokens":
        return strengths(view, neurons_directions.vectors(view, kind))
    a, b = embedding(view.model)[list(neurons_directions.tokens(view))].double()
    size = neurons_directions.directions(view).size
    return judged("length", abs(size - (a @ a + b @ b - 2 * a @ b).sqrt().item()), torch.float32, size)


@torch.no_grad()
def trace(view: View, found: Copying) -> Check | None:
    """The selected head's eigenvalues add up to how much all tokens raise themselves, taken token by token (a share of their sizes).

    None behind the first MLP: reading the whole vocabulary through it again would take too long.
    """
    options = heads_weights.options(view)
    if options["first_mlp"]:
        return None
    at = view.layer, view.head

    def compute() -> Check:
        left, right = factors(view.model, *at, "OV", **options)
        itself = sum((a.double() * b.double()).sum().item() for a, b in zip(left.split(4096), right.split(4096)))
        values = found.eigenvalues[at]
        size = values.abs().sum().item() or 1.0
        return judged("trace", abs(values.sum().real.item() - itself) / size, torch.float32)

    return view.store.result((view.state.model, "check trace", *at, *options.values()), compute)


def cell(view: View, place: patching.Place) -> Check | None:
    """The patched run alone gives the value that the map, whose runs go in batches, has in this cell. None before the map is there."""
    found = patching.known(view, place.what)
    if found is None:
        return None
    value = float(found.values[place.row, place.column])
    return judged("cell", abs(value - patching.patched_metric(view, place)), view.model.cfg.dtype, abs(value))


def steps(checks: Iterable[tuple[str, Check]], edited: Iterable[str]) -> Check:
    """The worst of several steps that are computed anew, those aside that an edit in force changes."""
    theirs = [check for name, check in checks if name not in set(edited)]
    return Check("steps", max((c.residual for c in theirs), default=0.0), min((c.tolerance for c in theirs), default=0.0))


@torch.no_grad()
def neuron(view: View) -> Check | None:
    """The chosen neuron's activations are the GELU of what its input weights read of the stream. None where an edit replaces them."""
    layer, at = neurons.chosen(view)
    if any(e.layer == layer and e.component in ("mlp_pre", "mlp_post") for e in view.state.plan):
        return None
    block = view.model.h[layer]
    stream = view.run.activations[f"blocks.{layer}.hook_resid_mid"]
    read = layer_norm(stream, stream.shape[-1:], block.ln_2.weight, block.ln_2.bias, block.ln_2.eps)
    pre = read @ block.mlp.c_fc.weight[:, at] + block.mlp.c_fc.bias[at]
    mine = gelu(pre.float(), approximate="tanh").cpu().numpy()
    theirs = neurons.here(view)
    return judged("neuron", np.abs(mine - theirs).max().item(), view.model.cfg.dtype, np.abs(theirs).max().item())


def counted(found: neurons.Fired, at: int) -> Check:
    """Every token that was read is in the histogram."""
    return Check("counted", float(abs(int(found.top.histogram[at].sum()) - len(found.top.tokens))), 0.0)


def reading(view: View, found: scaling.Reading | None) -> Check | None:
    """The page's model, read beside the others, gives the page's own probabilities of the next token. None until it was read."""
    if found is None:
        return None
    own = view.run.logits[-1].float().softmax(-1)[list(found.ids)].tolist()
    return judged("reading", max(abs(a - b) for a, b in zip(found.p, own)), view.model.cfg.dtype)


def parameters(view: View, costs: Iterable[scaling.Cost]) -> Check:
    """The costs' formula counts the parameters that the models in memory have; the output head is the embedding, and counts once."""
    there = [cost for cost in costs if view.store.in_memory(cost.entry.name)]
    counts = {cost.n_params: sum(p.numel() for p in view.store.model(cost.entry.name).parameters()) for cost in there}
    return Check("parameters", float(sum(abs(formula - counted) for formula, counted in counts.items())), 0.0)


def swept(view: View, found: steering.Sweep | None) -> Check | None:
    """At the chosen value, the chart has the probabilities of the run with the edit. None until it is complete."""
    if found is None or not found.done:
        return None
    chosen = int(np.abs(found.values - steering.chosen_value(steering.tried(view))).argmin())
    own = steering.steered(view).logits[view.position].float().softmax(-1)[list(found.targets)].cpu().numpy()
    return judged("swept", np.abs(found.probability[chosen] - own).max().item(), view.model.cfg.dtype)
