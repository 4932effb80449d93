"""One forward pass and everything worth keeping of it: `trace` -> frozen `Run`."""

import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gpt2_core import __version__
from gpt2_core.activations import ActivationCache
from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2
from gpt2_core.streaming import end_id, whole_text, words_of
from interp.edits import NO_EDITS, Plan
from interp.finite import refuse_not_finite
from interp.given import token_ids
from interp.intervene import compile_plan

Prompt = str | Sequence[int] | Int[Tensor, "..."]  # a text, ids, or a tensor of ids [pos] or [1 pos]


@dataclass(frozen=True)
class Provenance:
    """What is needed to get the same numbers again."""

    model: str
    source: str
    weights_sha256: str | None
    dtype: str
    device: str
    bos: bool
    weights: str  # "raw": as released, logits equal Hugging Face's; or "folded", see `interp.folding`
    plan: str
    version: str
    torch: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Check:
    """An identity that must hold, and by how much it was missed."""

    name: str
    residual: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.residual <= self.tolerance


def judged(name: str, residual: float, dtype: torch.dtype, size: float = 1.0) -> Check:
    """A check with the tolerance that its number format deserves: 1e-4 in float32, 1e-9 in float64, 2e-2 in half precision.

    size: of the numbers that were compared; above 1, the tolerance grows with it, as their rounding does.
    """
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-4}.get(dtype, 2e-2)
    return Check(name, residual, tolerance * max(1.0, size))


@dataclass(frozen=True)
class Run:
    """A forward pass. tokens: ids, `<|endoftext|>` included where bos; strings: one per token; logits: [pos d_vocab];
    activations: by hook name, without a batch axis."""

    text: str
    tokens: tuple[int, ...]
    strings: tuple[str, ...]
    logits: Float[Tensor, "pos d_vocab"]
    activations: ActivationCache
    plan: Plan
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.tokens)

    def at(self, position: int) -> int:
        """A position of this run, counted from 0 (a negative one counts from the end). Raises ValueError for one outside it."""
        return position_in(len(self), position)


def position_in(length: int, position: int) -> int:
    """A position among `length` tokens, counted from 0 (a negative one counts from the end). Raises ValueError outside them."""
    if not -length <= position < length:
        raise ValueError(f"Position {position} is outside this run of {length} tokens; give one of 0..{length - 1}.")
    return range(length)[position]


def check_place(config: GPT2Config, layer: int, head: int | None = None) -> None:
    """Raises ValueError for a layer, or a head of it, that a model of this shape does not have; both count from 0."""
    if 0 <= layer < config.n_layers and 0 <= (head or 0) < config.n_heads:
        return
    what, shape = ("Layer ", "") if head is None else ("L", f" of heads 0..{config.n_heads - 1}")
    what += f"{layer}" if head is None else f"{layer}H{head}"
    raise ValueError(f"{what} does not exist, {config.model_name} has layers 0..{config.n_layers - 1}{shape}.")


def begins_with_end(model: GPT2, tokens: Int[Tensor, "*prompt pos"]) -> bool:
    """Whether every prompt begins with `<|endoftext|>`: whether token ids that someone hands in were made with bos.

    Raises ValueError where there are no tokens.
    """
    if not isinstance(tokens, Tensor):
        raise ValueError(
            f"Expected a tensor of token ids, a row a prompt, got {reprlib.repr(tokens)}; use model.to_tokens(text)."
        )
    if not tokens.numel():
        raise ValueError(f"The prompts are empty (token ids of shape {list(tokens.shape)}); give at least one token.")
    return bool((tokens[..., 0] == end_id(model)).all())


def provenance(model: GPT2, plan: Plan, bos: bool) -> Provenance:
    """Where a result of this model under this plan comes from."""
    cfg = model.cfg
    return Provenance(
        model=cfg.model_name,
        source=model.source,
        weights_sha256=model.weights_sha256,
        dtype=str(cfg.dtype).removeprefix("torch."),
        device=cfg.device,
        bos=bos,
        weights="folded" if getattr(model, "processing", ()) else "raw",
        plan=plan.to_json(),
        version=__version__,
        torch=metadata.version("torch"),
    )


def of_weights(model: GPT2) -> Provenance:
    """Where a result comes from that was read from the weights alone: no prompt, no edits."""
    return provenance(model, NO_EDITS, bos=False)


def prompt_ids(model: GPT2, prompt: Prompt, bos: bool) -> list[int]:
    """Token ids of a prompt, `<|endoftext|>` in front where asked. Raises ValueError if nothing is left, or too much is."""
    if isinstance(prompt, str) and model.tokenizer is None:
        raise ValueError(f"{model.config.model_name} has no tokenizer to read a text with; give token ids.")
    if isinstance(prompt, Tensor) and prompt.ndim == 2:
        if len(prompt) != 1:
            raise ValueError(f"Expected one prompt, got {len(prompt)} rows of token ids; give each alone.")
        prompt = prompt[0]
    ids = model.tokenizer.encode(prompt) if isinstance(prompt, str) else token_ids(prompt)
    ids = [end_id(model)] * bos + list(ids)
    if not ids:
        raise ValueError("The prompt is empty; type some text, or put <|endoftext|> in front.")
    if len(ids) > model.config.n_ctx:
        raise ValueError(f"The prompt has {len(ids)} tokens, {model.config.model_name} reads {model.config.n_ctx}; shorten it.")
    return ids


@torch.no_grad()
def trace(
    model: GPT2,
    prompt: Prompt,
    plan: Plan = NO_EDITS,
    bos: bool = True,
    names_filter: Any = None,
) -> Run:
    """Runs a prompt and keeps what happened.

    prompt: a text, or token ids [pos] or [1 pos] (then `bos` adds one in front all the same). plan: edits in force. names_filter: which activations
    to keep, as for `run_with_cache`; None keeps all that cost nothing extra. Raises ValueError for a prompt that is empty or longer
    than the context, for a plan that does not fit the model, and where the output is not finite.
    """
    ids = prompt_ids(model, prompt, bos)
    hook = compile_plan(model, plan, bos)
    logits, cache = model.run_with_cache(torch.tensor([ids]), names_filter, hook=hook)
    refuse_not_finite(model, logits, torch.tensor([ids]), hook)
    return Run(
        text=prompt if isinstance(prompt, str) else whole_text(words_of(model), ids[bos:]),
        tokens=tuple(ids),
        strings=tuple(words_of(model).strings(ids)),
        logits=logits[0],
        activations=cache.remove_batch_dim(),
        plan=plan,
        provenance=provenance(model, plan, bos),
    )
