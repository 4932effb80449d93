"""Training dynamics: what a network learns when, from a series of its checkpoints.

At each checkpoint the same things are measured, and the result is a `Film`. The best known event in it is the *induction
bump*: within a short stretch of training some heads begin to look for the token that followed the present one earlier
(induction heads), and the second copy of a random sequence, until then as hard as the first, becomes easy. Previous-token
heads come before, for the induction heads read what those write. The losses on random tokens say it most clearly, since in text
much else is learnt at the same time. The curve says that the two come together; that one makes the other needs an ablation.

Any folders of the Hugging Face layout are a series: a run's `snapshots/`, or what transformers' Trainer saves. Only
config.json and model.safetensors are needed; training.json adds losses and tokens.

Sources: Olsson et al. 2022, 2209.11895, arguments 1 and 2 (the bump, and what happens at it).
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gpt2_core.checkpoints import load
from gpt2_core.generate import generate
from gpt2_core.model import GPT2
from gpt2_core.streaming import words_of
from interp.attention import pattern_names, patterns
from interp.film import ROLES, Film, FilmPrompt, Measurement, quantised
from interp.film_store import JSON, TENSORS, has_film, read, write
from interp.heads import scores
from interp.predictions import next_tokens
from interp.run import trace
from interp.series import Checkpoint, checkpoints, series_of

__all__ = ["PROMPTS", "Checkpoint", "Film", "checkpoints", "film", "has_film", "read", "write"]

TOP = 5  # predictions kept per prompt and frame

RANDOM = (1044, 3539, 10733, 15360, 18263, 5279, 15527)  # heads.repeated_random_tokens(50257, 1, 7, seed=0)
PROMPTS: dict[str, str | tuple[int, ...]] = {
    "name": "Mr. Darnley bowed to Miss Harwick. Mr. Darn",  # a made-up name: only this text says how it goes on
    "narrative": "The captain opened the door and went into the",
    "random": RANDOM * 2,
}
SAMPLE_PROMPT = "The old man"


@dataclass(frozen=True)
class Shot:
    """A prompt at one checkpoint: its tokens, quantised patterns [layer head query key], likeliest next tokens [k]."""

    text: str
    ids: tuple[int, ...]
    strings: tuple[str, ...]
    patterns: np.ndarray
    top_strings: tuple[str, ...]
    top_probs: np.ndarray


@dataclass(frozen=True)
class Frame:
    """What was measured at one checkpoint. Arrays and tuples as in `Film`, without the frame axis."""

    weights_sha256: str
    scores: dict[str, np.ndarray]
    chance: dict[str, float]
    first_copy_loss: float
    second_copy_loss: float
    shots: tuple[Shot, ...]
    sample: str


def film(
    series: str | Path | Sequence[str | Path],
    prompts: Mapping[str, str | tuple[int, ...]] = PROMPTS,
    *,
    name: str | None = None,
    measurement: Measurement | None = None,
    sample_prompt: str = SAMPLE_PROMPT,
    progress: bool = False,
) -> Film:
    """Measure every checkpoint of a series, see `checkpoints` for what that may be.

    prompts: by a short label, texts or token ids, of at most 64 tokens. name: of the model; None is what training.json says, else
    the folder's name. measurement: None is the usual one, its random sequences shortened where two do not fit the context.
    Raises ValueError where checkpoints cannot be read, or are not of one shape.
    """
    series = checkpoints(series)
    frames, shape = [], None
    for checkpoint in tqdm(series, desc="film", unit="frame", disable=not progress):
        model = load(checkpoint.folder.resolve())
        shape = shape or model.config
        if model.config.shape() != shape.shape():
            raise ValueError(f"{checkpoint.folder} has another shape than {series[0].folder}; a film shows one model.")
        measurement = measurement or _fitting(shape.n_ctx)
        frames.append(_frame(model, prompts.values(), sample_prompt, measurement))
    return Film(
        model=name or series[-1].name,
        parameters=shape.n_params,
        steps=tuple(checkpoint.step for checkpoint in series),
        tokens=tuple(checkpoint.tokens for checkpoint in series),
        train_loss=tuple(checkpoint.train_loss for checkpoint in series),
        validation_loss=tuple(checkpoint.validation_loss for checkpoint in series),
        first_copy_loss=tuple(frame.first_copy_loss for frame in frames),
        second_copy_loss=tuple(frame.second_copy_loss for frame in frames),
        **{role: np.stack([frame.scores[role] for frame in frames]) for role in ROLES},
        chance=frames[0].chance,
        prompts=tuple(_prompt(label, [frame.shots[i] for frame in frames]) for i, label in enumerate(prompts)),
        sample_prompt=sample_prompt,
        samples=tuple(frame.sample for frame in frames),
        weights_sha256=tuple(frame.weights_sha256 for frame in frames),
        measurement=measurement,
    )


def _fitting(n_ctx: int) -> Measurement:
    """The usual measurement, its two copies shortened to the context."""
    return Measurement(length=min(Measurement().length, n_ctx // 2))


def _frame(model: GPT2, prompts: Iterable[str | tuple[int, ...]], sample_prompt: str, how: Measurement) -> Frame:
    per_seed = [scores(model, seed, how.sequences, how.length) for seed in how.seeds]
    sampled = generate(
        model, sample_prompt, max_new_tokens=how.sample_tokens, temperature=how.temperature, top_k=how.top_k,
        seed=how.sample_seed, top=1, bos=how.bos,
    )  # fmt: skip
    return Frame(
        weights_sha256=model.weights_sha256,
        scores={role: np.mean([getattr(s, role).numpy() for s in per_seed], 0) for role in ROLES},
        chance=per_seed[0].chance,
        first_copy_loss=float(np.mean([s.first_copy_loss for s in per_seed])),
        second_copy_loss=float(np.mean([s.second_copy_loss for s in per_seed])),
        shots=tuple(_shot(model, prompt, how.bos) for prompt in prompts),
        sample=sampled.text,
    )


def _shot(model: GPT2, prompt: str | tuple[int, ...], bos: bool) -> Shot:
    run = trace(model, prompt, bos=bos, names_filter=pattern_names(model.config.n_layers))
    top = next_tokens(run, k=TOP)
    return Shot(
        text=run.text,
        ids=run.tokens,
        strings=run.strings,
        patterns=quantised(patterns(run).values.numpy()),
        top_strings=tuple(words_of(model).strings(top.ids.tolist())),
        top_probs=top.probabilities.numpy(),
    )


def _prompt(name: str, shots: Sequence[Shot]) -> FilmPrompt:
    first = shots[0]
    if any(shot.strings != first.strings for shot in shots):
        raise ValueError(f"The checkpoints cut {first.text!r} into different tokens; a film needs one vocabulary.")
    return FilmPrompt(
        name=name,
        text=first.text,
        ids=first.ids,
        strings=first.strings,
        patterns=np.stack([shot.patterns for shot in shots]),
        top_strings=tuple(shot.top_strings for shot in shots),
        top_probs=np.stack([shot.top_probs for shot in shots]),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m interp.dynamics RUN --out FOLDER`. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m interp.dynamics", description="Make the film of a training.")
    parser.add_argument("series", nargs="+", help="a run folder (its snapshots/), a folder of checkpoint-N, or the checkpoints")
    parser.add_argument("--out", required=True, help="the folder to write film.json and film.safetensors into")
    parser.add_argument("--name", help="the model's name, where training.json does not say it")
    given = parser.parse_args(arguments)
    try:
        made = film(series_of(given.series), name=given.name, progress=True)
        folder = write(made, given.out)
    except KeyboardInterrupt:
        print("Stopped before the film was written.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    size = sum((folder / file).stat().st_size for file in (JSON, TENSORS))
    print(f"{made.frames} frames of {made.model} in {folder} ({size / 1e6:.2f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
