"""The film of a training: a slider over its moments, curves, all heads, one head's attention, predictions and a sample.

Everything is sent once; the browser plays it without asking the server. What the reader settles on comes back as events.

Value (all keys always present): id, reel (None: nothing to show), frame, layer, head, lang, text, and what is looked at when the page
opens: role, counted in ROLES, and prompt. The reel has
    id          content hash            model, layers, heads
    steps, tokens [frame] | None, curves {name: [frame] of numbers or None}, bump (frame) | None, threshold (nats)
    scores      packed float32 [role frame layer head], roles and chance in the order of ROLES
    prompts     [{label, tokens, png, top: [frame][k] of [text, probability], scale}]
    sample      {prompt: runs, texts: [frame] of runs}, runs as `prompt_parts.marked` makes them
A prompt's png is a grey picture of its attention weights, 255 is 1.0: row layer * frames + frame, column
head * pairs + query * (query + 1) / 2 + key, where pairs = n (n + 1) / 2. Neighbouring rows are neighbouring moments of the
same heads, which compresses well.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from app.components.base import chosen_text, content_id, html_component, probability, with_id
from app.components.next_token import scale_for
from app.components.packing import grey_png, pack
from app.components.prompt_parts import marked

ROLES = ("previous_token", "duplicate_token", "induction")
CURVES = ("train_loss", "validation_loss", "first_copy_loss", "second_copy_loss")
TEXT_KEYS = (
    "play", "pause", "back", "on", "slider", "speed", "slow", "normal", "fast", "moment", "tokens", "steps", "untrained",
    "x_tokens", "x_steps", "hover_at", "pick",
    "loss_title", "loss_tip", "validation_loss", "validation_loss_tip", "train_loss", "train_loss_tip", "hover_loss", "no_loss",
    "unit_loss", "copy_title", "copy_tip", "first_copy_loss", "first_copy_loss_tip", "second_copy_loss",
    "second_copy_loss_tip", "gap", "gap_tip", "bump", "bump_said", "bump_last", "no_bump", "bump_show", "bump_source",
    "best_title", "best_tip", "unit_score", "hover_best",
    "previous_token", "previous_token_tip", "duplicate_token", "duplicate_token_tip", "induction", "induction_tip",
    "grid_title", "grid_tip", "grid_label", "role_label", "tile_label", "hover_head", "chance", "best_now",
    "pattern_title", "pattern_tip", "prompt_label", "hover_cell", "unit_weight", "precision",
    "track_title", "track_tip", "next_title", "next_tip", "next_scale", "hover_next",
    "sample_title", "sample_tip", "generated", "generated_by", "export", "export_failed",
)  # fmt: skip


@dataclass(frozen=True)
class FilmedPrompt:
    """A prompt in every frame: patterns uint8 [frame layer head query key]; top [frame][k] of (printed token, probability)."""

    label: str
    tokens: Sequence[str]
    patterns: np.ndarray
    top: Sequence[Sequence[tuple[str, float]]]


@dataclass(frozen=True)
class Reel:
    """A film as it is shown; every sequence and first axis counts frames.

    curves: by the names in CURVES, nats per token, None where unknown. scores, chance: by the names in ROLES; scores
    [frame layer head]. bump: the frame after which copying came, None if it never did; threshold: nats that count as copying.
    """

    model: str
    steps: Sequence[int]
    tokens: Sequence[int] | None
    curves: Mapping[str, Sequence[float | int | None]]
    scores: Mapping[str, np.ndarray]
    chance: Mapping[str, float]
    bump: int | None
    threshold: float
    prompts: Sequence[FilmedPrompt]
    sample_prompt: str
    samples: Sequence[str]


def film_value(
    reel: Reel | None,
    *,
    text: dict[str, str],
    lang: str,
    frame: int = 0,
    layer: int = 0,
    head: int = 0,
    role: str = "induction",
    prompt: int = 0,
) -> dict[str, Any]:
    """The value of the film at a moment and a head; reel None empties the place. A prompt that it does not have is its last.

    Raises ValueError when parts do not fit together, or for a frame or head that the film does not have.
    """
    packed = None if reel is None else _reel(reel)
    if packed is not None:
        for name, index, count in (
            ("frame", frame, len(packed["steps"])), ("layer", layer, packed["layers"]), ("head", head, packed["heads"]),
        ):  # fmt: skip
            if not 0 <= index < count:
                raise ValueError(f"got {name} {index}; this film has {name}s 0 to {count - 1}, choose among these.")
    place = {"frame": int(frame), "layer": int(layer), "head": int(head), "role": ROLES.index(role), "prompt": int(prompt)}
    return with_id({"reel": packed, **place, "lang": lang, "text": chosen_text(text, TEXT_KEYS)})


def film(elem_id: str, **kwargs: Any) -> gr.HTML:
    """The component. Events `filmframe` {frame}, when the slider comes to rest, `filmhead` {layer, head} and `filmlook` {role, prompt}."""
    return html_component("film", elem_id, **kwargs)


def packed_patterns(patterns: np.ndarray) -> np.ndarray:
    """uint8 [frame layer head query key] -> the picture [layer * frame, head * pair] that the module's head describes."""
    rows, columns = np.tril_indices(patterns.shape[-1])
    triangles = patterns[..., rows, columns].transpose(1, 0, 2, 3)  # layer frame head pair
    return np.ascontiguousarray(triangles.reshape(triangles.shape[0] * triangles.shape[1], -1))


def continued(prompt: str, sample: str) -> list[list[str]]:
    """The sample in runs, white space marked as it is within the whole text: the space after the prompt is an ordinary one."""
    runs, skip = [], len(prompt)
    for characters, mark in marked(prompt + sample):
        if rest := characters[skip:]:
            runs.append([rest, mark])
        skip = max(0, skip - len(characters))
    return runs


def _reel(reel: Reel) -> dict[str, Any]:
    scores = np.stack([np.asarray(reel.scores[role], np.float32) for role in ROLES])
    frames, (layers, heads) = len(reel.steps), scores.shape[2:]
    lengths = {
        "scores": scores.shape[1],
        "samples": len(reel.samples),
        "tokens": frames if reel.tokens is None else len(reel.tokens),
    }
    lengths |= {name: len(reel.curves[name]) for name in CURVES}
    if wrong := [f"{name} {n}" for name, n in lengths.items() if n != frames]:
        raise ValueError(f"a film of {frames} steps came with {', '.join(wrong)}; give one of each per step.")
    content = {
        "model": reel.model,
        "layers": layers,
        "heads": heads,
        "steps": list(reel.steps),
        "tokens": None if reel.tokens is None else list(reel.tokens),
        "curves": {name: [None if x is None else float(x) for x in reel.curves[name]] for name in CURVES},
        "bump": reel.bump,
        "threshold": float(reel.threshold),
        "roles": list(ROLES),
        "chance": [float(reel.chance[role]) for role in ROLES],
        "scores": pack(scores),
        "prompts": [_prompt(prompt, (frames, layers, heads)) for prompt in reel.prompts],
        "sample": {
            "prompt": marked(reel.sample_prompt),
            "texts": [continued(reel.sample_prompt, sample) for sample in reel.samples],
        },
    }
    return {"id": content_id(content), **content}


def _prompt(prompt: FilmedPrompt, shape: tuple[int, int, int]) -> dict[str, Any]:
    n = len(prompt.tokens)
    if prompt.patterns.shape != (*shape, n, n) or prompt.patterns.dtype != np.uint8:
        came = f"{prompt.patterns.dtype} {prompt.patterns.shape}"
        raise ValueError(f"patterns of {prompt.label!r} came as {came}, expected uint8 {(*shape, n, n)}, query and key last.")
    if len(prompt.top) != shape[0]:
        raise ValueError(f"{prompt.label!r} has predictions for {len(prompt.top)} frames of {shape[0]}; give some for each.")
    top = [[[word, probability(p, f"The prediction {word!r}")] for word, p in row] for row in prompt.top]
    largest = max((p for row in top for _, p in row), default=1.0)
    return {
        "label": prompt.label,
        "tokens": list(prompt.tokens),
        "png": grey_png(packed_patterns(prompt.patterns)),
        "top": [[[word, _short(p)] for word, p in row] for row in top],
        "scale": scale_for(largest),
    }


def _short(p: float) -> float:
    """Six digits, which is more than is printed: text travels uncompressed."""
    return 0.0 if p == 0 else round(p, 6 - math.floor(math.log10(p)) - 1)
