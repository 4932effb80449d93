"""A film of a training: what a model did at each of a series of checkpoints, small enough to lie beside the model.

`interp.dynamics.film` makes one, `write` and `read` keep it in a folder: `film.json` (everything but arrays) and
`film.safetensors` (attention in steps of 1/255, lower triangles only; scores and probabilities as they are, float32).
Both are checked when they are read, since a film may come from anywhere.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

ROLES = ("previous_token", "duplicate_token", "induction")
COPY_GAIN = 2.0  # nats per token saved on a second copy, from which on a model is said to copy
INDUCTION = 0.4  # induction score from which on a head is said to be an induction head
MOST_FRAMES, MOST_PROMPTS, MOST_TOKENS = 1000, 20, 64  # a film is looked at frame by frame; more is a mistake
MOST_NATS = 1e4


@dataclass(frozen=True)
class Measurement:
    """How the numbers of a film were taken.

    seeds: of the repeated random tokens, over which scores and copy losses are means; sequences: per seed; length: tokens per
    copy. sample_tokens, temperature, top_k, sample_seed: of the sample. bos: whether prompts and sample begin with
    `<|endoftext|>` (the random tokens never do).
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    sequences: int = 4
    length: int = 50
    sample_tokens: int = 40
    temperature: float | int = 0.8
    top_k: int | None = 40
    sample_seed: int = 0
    bos: bool = True


@dataclass(frozen=True, eq=False)
class FilmPrompt:
    """A prompt in every frame.

    name: a short label; text: as written; ids, strings: its tokens, a leading `<|endoftext|>` included.
    patterns: UInt8 [frame layer head query key], attention in steps of 1/255 (255 is 1.0), rounded to the nearest, so never
        off by more than 1/510; above the diagonal 0.
    top_strings, top_probs: the likeliest next tokens after the last position, [frame][k].
    """

    name: str
    text: str
    ids: tuple[int, ...]
    strings: tuple[str, ...]
    patterns: UInt8[np.ndarray, "frame layer head query key"]
    top_strings: tuple[tuple[str, ...], ...]
    top_probs: Float[np.ndarray, "frame k"]

    def __post_init__(self) -> None:
        """Raises ValueError where the parts do not fit each other."""
        n, shape = len(self.strings), self.patterns.shape
        _require(0 < n <= MOST_TOKENS, f"prompt {self.name!r} has {n} tokens, expected 1 to {MOST_TOKENS}")
        _require(len(self.ids) == n, f"prompt {self.name!r} has {len(self.ids)} ids for {n} tokens")
        _require(shape[3:] == (n, n), f"patterns of prompt {self.name!r} are {list(shape[3:])}, expected {n} x {n}")
        _require(not np.triu(self.patterns, 1).any(), f"patterns of prompt {self.name!r} look at later tokens")
        counts = {len(self.top_strings), len(self.top_probs), shape[0]}
        _require(len(counts) == 1, f"prompt {self.name!r} has {sorted(counts)} frames in its parts, expected one number")
        widths = {len(row) for row in self.top_strings} | {self.top_probs.shape[1]}
        _require(len(widths) == 1, f"prompt {self.name!r} has {sorted(widths)} predictions in its frames, expected one number")
        _require(_within_0_1(self.top_probs), f"predictions of prompt {self.name!r} are not probabilities")

    def attention(self, frame: int) -> Float[np.ndarray, "layer head query key"]:
        """The patterns of a frame as weights in 0..1."""
        return self.patterns[frame].astype(np.float32) / 255


@dataclass(frozen=True, eq=False)
class Film:
    """A training, frame by frame; every tuple and every first axis counts frames.

    model, parameters: of the trained model. steps, tokens: how far training was (tokens None where nobody wrote it down).
    train_loss, validation_loss: nats per token, None where unknown. first_copy_loss, second_copy_loss: nats per token on
    repeated random tokens. previous_token, duplicate_token, induction: [frame layer head], see `interp.heads`; chance: what even
    attention would score. sample_prompt, samples: a text and its continuation. weights_sha256: of each checkpoint.
    """

    model: str
    parameters: int
    steps: tuple[int, ...]
    tokens: tuple[int | None, ...]
    train_loss: tuple[float | int | None, ...]
    validation_loss: tuple[float | int | None, ...]
    first_copy_loss: tuple[float | int, ...]
    second_copy_loss: tuple[float | int, ...]
    previous_token: Float[np.ndarray, "frame layer head"]
    duplicate_token: Float[np.ndarray, "frame layer head"]
    induction: Float[np.ndarray, "frame layer head"]
    chance: dict[str, float | int]
    prompts: tuple[FilmPrompt, ...]
    sample_prompt: str
    samples: tuple[str, ...]
    weights_sha256: tuple[str, ...]
    measurement: Measurement

    def __post_init__(self) -> None:
        """Raises ValueError where the parts do not fit each other."""
        n = len(self.steps)
        _require(0 < n <= MOST_FRAMES, f"it has {n} frames, expected 1 to {MOST_FRAMES}")
        _require(list(self.steps) == sorted(set(self.steps)), f"its steps do not rise: {list(self.steps)}")
        for name in PER_FRAME:
            _require(len(getattr(self, name)) == n, f"{name} has {len(getattr(self, name))} values for {n} frames")
        shape = self.induction.shape
        for role in ROLES:
            _require(getattr(self, role).shape == shape, f"{role} is {list(getattr(self, role).shape)}, expected {list(shape)}")
            _require(_within_0_1(getattr(self, role)), f"{role} holds scores outside 0..1")
            _require(0 <= self.chance.get(role, -1) <= 1, f"chance of {role} is {self.chance.get(role)}, expected 0 to 1")
        for name in LOSSES:
            wrong = [value for value in getattr(self, name) if value is not None and not 0 <= value <= MOST_NATS]
            _require(not wrong, f"{name} holds {wrong[:1]}, expected 0 to {MOST_NATS} nats")
        _require(len(self.prompts) <= MOST_PROMPTS, f"it has {len(self.prompts)} prompts, expected at most {MOST_PROMPTS}")
        for prompt in self.prompts:
            there = prompt.patterns.shape[:3]
            _require(there == shape, f"patterns of prompt {prompt.name!r} are {list(there)}, expected {list(shape)}")

    @property
    def frames(self) -> int:
        return len(self.steps)

    @property
    def copy_gain(self) -> tuple[float, ...]:
        """Nats per token that the second copy of random tokens is easier than the first, per frame."""
        return tuple(float(first - second) for first, second in zip(self.first_copy_loss, self.second_copy_loss))

    @property
    def induction_bump(self) -> int | None:
        """The frame after which the copy gain grows most; None if it never reaches `COPY_GAIN` nats."""
        gain = self.copy_gain
        if len(gain) < 2 or max(gain) < COPY_GAIN:
            return None
        return int(np.argmax(np.diff(gain)))

    def best_heads(self, role: str) -> tuple[tuple[int, int], ...]:
        """(layer, head) of the highest score of a role, per frame. Raises ValueError for an unknown role."""
        _require(role in ROLES, f"{role!r} is no role; expected one of {', '.join(ROLES)}")
        scores = getattr(self, role)
        _, layers, heads = scores.shape
        best = scores.reshape(len(scores), layers * heads).argmax(-1)
        return tuple((int(index) // heads, int(index) % heads) for index in best)

    @property
    def has_induction(self) -> bool:
        """Whether the last frame has an induction head that is used: a score of `INDUCTION` and a gain of `COPY_GAIN`."""
        return bool(self.induction[-1].max() >= INDUCTION and self.copy_gain[-1] >= COPY_GAIN)


LOSSES = ("train_loss", "validation_loss", "first_copy_loss", "second_copy_loss")
PER_FRAME = ("steps", "tokens", *LOSSES, *ROLES, "samples", "weights_sha256")


def quantised(patterns: Float[np.ndarray, "*axes query key"]) -> UInt8[np.ndarray, "*axes query key"]:
    """Attention weights 0..1 in steps of 1/255, rounded to the nearest. Raises ValueError for weights outside 0..1."""
    _require(_within_0_1(patterns), "attention weights lie outside 0..1")
    return np.rint(patterns.clip(0, 1) * 255).astype(np.uint8)


def _within_0_1(values: np.ndarray) -> bool:
    """Whether all values lie in 0..1, up to float32's rounding; NaN does not."""
    return bool((values >= -1e-5).all() and (values <= 1 + 1e-5).all())


def _require(holds: bool, wrong: str) -> None:
    if not holds:
        raise ValueError(f"This is no film: {wrong}.")
