"""Causal tracing: where in the network a fact is recalled, by drowning the subject in noise and restoring one state at a time.

    traced = causal_trace(model, tokens, subject=(1, 4), metric=probability_of(answer))
    traced.effect                                                # [layer pos]: what the restored state brings back

Three kinds of run (Meng et al. 2022, ROME, section 2.1). Clean: the prompt as it is. Corrupted: the token embeddings of the subject
get noise N(0, (3 sigma)^2), sigma being the standard deviation of the embedding matrix's entries, and the answer is lost. Restored:
the corrupted run, with one state put back to its clean value at one position (for what MLPs or attention write: in a window of
layers around it, 10 in the paper, since one layer alone rarely shows). Each value is the mean over the same noise samples.

Pitfalls: noise takes the model to inputs that it has never seen, and results can differ from those of exchanging the subject for
another word (Zhang and Nanda 2023, 2309.16042, who prefer that, as `prompt_sets` does). A wide window smears over layers. The
restored state is seen by all later positions: early sites at the last subject token say where information passes, not where the
answer is made. A single prompt says little: trace several.

Source: Meng et al. 2022, 2202.05262, with kmeng01/rome `experiments/causal_trace.py` (the window; the noise goes to the token
embeddings only; one draw for all restored runs).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core.hooks import HookFunction
from gpt2_core.model import GPT2
from interp.ablation import Replace
from interp.edits import NO_EDITS, Plan
from interp.finite import last_logits, refuse_not_finite
from interp.given import token_ids
from interp.intervene import compile_plan
from interp.metrics import MetricFunction, evaluate, probability
from interp.run import Provenance, begins_with_end, position_in, provenance

COMPONENTS = ("resid_pre", "resid_post", "mlp_out", "attn_out")
ROWS = 64  # noise samples times positions in one batch


@dataclass(frozen=True)
class Noise:
    """samples [sample token d_model] were drawn by `seed` from N(0, (factor * sigma)^2)."""

    samples: Float[Tensor, "sample token d_model"]
    sigma: float
    factor: float
    seed: int


@dataclass(frozen=True)
class CausalTrace:
    """values: the metric with a state restored, [layer pos sample]; clean and corrupted: without restoring, the latter [sample].

    subject: first and end position of the noise. window: layers restored together (1: one). component: what was restored.
    """

    values: Float[Tensor, "layer pos sample"]
    clean: float
    corrupted: Float[Tensor, " sample"]
    subject: tuple[int, int]
    component: str
    window: int
    noise: Noise
    provenance: Provenance

    @property
    def mean(self) -> Float[Tensor, "layer pos"]:
        """The metric with the state restored, averaged over noise samples."""
        return self.values.mean(-1)

    @property
    def effect(self) -> Float[Tensor, "layer pos"]:
        """The indirect effect: by how much restoring the state raises the metric of the corrupted run."""
        return self.mean - self.corrupted.mean()

    @property
    def total_effect(self) -> float:
        """What the noise took away: the most that restoring is expected to bring back."""
        return self.clean - self.corrupted.mean().item()


@dataclass(frozen=True)
class TraceStep:
    """Some positions of a layer, done: values [pos sample] at `positions`. clean, corrupted: as in CausalTrace, the same in each
    step. done and total count cells [layer pos]."""

    layer: int
    positions: tuple[int, ...]
    values: Float[Tensor, "pos sample"]
    clean: float
    corrupted: Float[Tensor, " sample"]
    done: int
    total: int


def probability_of(token: int) -> MetricFunction:
    """The metric of the paper: the probability of the answer's (first) token."""
    return probability(token)


def embedding_sigma(model: GPT2, ids: Int[Tensor, " token"] | list[int] | None = None) -> float:
    """The standard deviation of the token embeddings' entries: of the whole matrix, or of some tokens (the paper: of its subjects)."""
    weights = model.W_E.detach() if ids is None else model.W_E.detach()[torch.as_tensor(ids)]
    return weights.double().std().item()


def draw_noise(
    model: GPT2, n_tokens: int, samples: int = 10, factor: float | int = 3, seed: int = 0, sigma: float | None = None
) -> Noise:
    """Noise for the embeddings of n_tokens tokens; the same for the same seed on every device.

    Raises ValueError for no samples, no tokens, or a factor or sigma that is not above 0.
    """
    sigma = embedding_sigma(model) if sigma is None else sigma
    if samples < 1 or n_tokens < 1 or factor <= 0 or sigma <= 0:
        raise ValueError(
            f"Noise needs samples, tokens, a factor and a sigma above 0, got {samples}, {n_tokens}, {factor:g} and {sigma:g}."
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(samples, n_tokens, model.config.d_model, generator=generator, dtype=torch.float32)
    return Noise((factor * sigma * drawn).to(model.W_E), sigma, float(factor), seed)


@torch.no_grad()
def causal_trace(
    model: GPT2,
    tokens: Int[Tensor, " pos"] | list[int],
    subject: tuple[int, int],
    metric: MetricFunction,
    component: str = "resid_post",
    window: int = 1,
    noise: Noise | None = None,
    plan: Plan = NO_EDITS,
    bos: bool | None = None,
    rows: int = ROWS,
) -> CausalTrace:
    """Restores every layer and position of one prompt in turn.

    tokens: the ids of the prompt, `<|endoftext|>` included if wanted. bos: for the texts of the plan; None is as the prompt has it.
    subject: first and end position. metric: last-position logits [sample d_vocab] to [sample], such as `probability_of(answer)`.
    window: for mlp_out and attn_out, how many layers around the layer are restored together. Raises ValueError for what does not
    fit.
    """
    ids = torch.tensor(token_ids(tokens), dtype=torch.long)
    noise = noise or draw_noise(model, max(subject[1] - subject[0], 1))  # a subject of no tokens is refused below
    bos = begins_with_end(model, ids) if bos is None else bos
    steps = list(trace_steps(model, ids, subject, metric, component, window, noise, plan, bos, rows))
    values = torch.cat([step.values for step in steps]).view(model.config.n_layers, len(ids), len(noise.samples))
    ends = steps[0].clean, steps[0].corrupted
    return CausalTrace(values, *ends, subject, component, window, noise, provenance(model, plan, bos))


@torch.no_grad()
def trace_steps(
    model: GPT2,
    tokens: Int[Tensor, " pos"],
    subject: tuple[int, int],
    metric: MetricFunction,
    component: str,
    window: int,
    noise: Noise,
    plan: Plan = NO_EDITS,
    bos: bool | None = None,
    rows: int = ROWS,
    positions: Sequence[int] | None = None,
) -> Iterator[TraceStep]:
    """`causal_trace` as it goes, layer by layer; stop asking and it stops. positions: those to restore, None is all.

    Before the first restored layer every restored run is the corrupted one, so each begins there, with positions times noise
    samples as the rows of one batch.
    """
    _check(tokens, subject, component, window, noise)
    inner = compile_plan(model, plan, begins_with_end(model, tokens) if bos is None else bos)
    n, samples = len(tokens), len(noise.samples)
    sites = [f"blocks.{layer}.hook_{component}" for layer in range(model.config.n_layers)]
    logits, clean = model.run_with_cache(tokens[None], sites, hook=inner, logits_at=-1)
    starts = [f"blocks.{layer}.hook_resid_post" for layer in range(model.config.n_layers - 1)]
    many, corrupt = tokens.expand(samples, -1), _noisy(noise, subject, inner)
    drowned, corrupted = model.run_with_cache(many, starts, hook=corrupt, logits_at=-1)
    refuse_not_finite(model, logits, tokens[None], inner)
    refuse_not_finite(model, drowned, many, corrupt, rows=[f"with noise sample {i}" for i in range(samples)])
    ends = evaluate(metric, logits[:, 0]).item(), evaluate(metric, drowned[:, 0])
    places = torch.arange(n) if positions is None else torch.tensor([position_in(n, at) for at in positions])
    done, total = 0, len(places) * len(sites)
    for layer in range(len(sites)):
        restored = layers_restored(layer, window, len(sites))
        for chunk in places.split(max(1, rows // samples)):
            own = {sites[l]: _restore(clean[sites[l]], chunk, samples) for l in restored}
            first = restored[0]
            before = corrupted[starts[first - 1]].repeat(len(chunk), 1, 1) if first else many.repeat(len(chunk), 1)
            hook = Replace(own, inner) if first else _noisy(noise, subject, inner, own, len(chunk))
            labels = [f"with {component} of layer {layer} restored at position {at}" for at in chunk.tolist()]
            logits = last_logits(model, before, hook, first or None, labels)
            done += len(chunk)
            values = torch.stack([evaluate(metric, part) for part in logits.chunk(len(chunk))])
            yield TraceStep(layer, tuple(chunk.tolist()), values, *ends, done, total)


def layers_restored(layer: int, window: int, n_layers: int) -> range:
    """The window of layers around a layer, cut off at both ends: ROME's, with the longer half below for an even window."""
    return range(max(0, layer - window // 2), min(n_layers, layer - (-window // 2)))


def _check(tokens: Tensor, subject: tuple[int, int], component: str, window: int, noise: Noise) -> None:
    start, end = subject
    if component not in COMPONENTS:
        raise ValueError(f"Only {', '.join(COMPONENTS)} can be restored, got {component!r}.")
    if window < 1 or (window > 1 and component.startswith("resid")):
        raise ValueError(f"A window of {window} layers is for mlp_out and attn_out, 1 or more; {component} takes 1.")
    if not 0 <= start < end <= len(tokens):
        raise ValueError(f"The subject {start}..{end} does not lie in a prompt of {len(tokens)} tokens.")
    if noise.samples.shape[1] != end - start:
        raise ValueError(
            f"The noise is for {noise.samples.shape[1]} tokens, the subject has {end - start}; draw it for as many."
        )


def _noisy(
    noise: Noise,
    subject: tuple[int, int],
    inner: HookFunction | None,
    own: dict[str, Callable[[Tensor], Tensor]] | None = None,
    copies: int = 1,
) -> Replace:
    """The hook of corrupted runs, whose rows are [copy sample], with further replacements."""

    def add(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, subject[0] : subject[1]] += noise.samples.to(x).repeat(copies, 1, 1)
        return x

    return Replace({"hook_embed": add, **(own or {})}, inner)


def _restore(clean: Float[Tensor, "one pos d_model"], positions: Tensor, samples: int) -> Callable[[Tensor], Tensor]:
    """Puts back, in copy i of all samples, the clean state at positions[i]."""

    def restore(x: Tensor) -> Tensor:
        copies = x.view(len(positions), samples, *x.shape[1:])
        here = positions.to(x.device)[:, None] == torch.arange(x.shape[1], device=x.device)
        return torch.where(here[:, None, :, None], clean[:, None], copies).view(x.shape)

    return restore
