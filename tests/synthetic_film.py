"""Films of trainings that never happened, with the shape of real ones: the loss falls, and halfway the model learns to copy."""

import math
from pathlib import Path

import numpy as np

from interp.film import ROLES, Film, FilmPrompt, Measurement, quantised
from interp.film_store import write

WORDS = ("<|endoftext|>", "Mr", ".", " Darn", "ley", " bowed", " to", " Miss", " Har", "wick", ".", " Mr", ".", " Darn")
RANDOM = ("<|endoftext|>", *(" table", " river", "ing", " stone", " quick", " lamp", "er") * 2)
NEXT = ("ley", " the", ",", "\n", " and")


def synthetic_film(
    model="glass-7m", layers=4, heads=4, frames=40, seed=0, tokens=True, losses=True, copies=True, parameters=7_000_000
):
    """A film with everything that a real one has. copies=False: one that never learns to copy."""
    draw = np.random.default_rng(seed)
    steps = [0, *np.unique(np.geomspace(1, 6000, frames - 1).round().astype(int)).tolist()]
    steps = steps + [6000 + i for i in range(1, frames - len(steps) + 1)]
    late = np.array([1 / (1 + math.exp(-(math.log(1 + s) - math.log(700)) * 5)) for s in steps]) * copies
    done = np.array([math.log(1 + s) / math.log(6001) for s in steps])
    loss = 10.82 - done * (7.2 + 0.15 * math.log(parameters / 1e6))
    scores = {role: (0.02 + 0.1 * draw.random((1, layers, heads)) * done[:, None, None]).astype(np.float32) for role in ROLES}
    scores["previous_token"][:, 0, -1] += (0.75 * done).astype(np.float32)
    scores["induction"][:, -1, 0] += (0.7 * late).astype(np.float32)
    scores["duplicate_token"][:, 0, 0] += (0.3 * done).astype(np.float32)
    first = 10.82 + 2.5 * done
    second = first - late * 6 - 0.1 * done
    return Film(
        model=model,
        parameters=parameters,
        steps=tuple(steps),
        tokens=tuple(4096 * s if tokens else None for s in steps),
        train_loss=tuple(None if s == 0 or not losses else float(x + 0.02) for s, x in zip(steps, loss)),
        validation_loss=tuple(float(x) if losses else None for x in loss),
        first_copy_loss=tuple(map(float, first)),
        second_copy_loss=tuple(map(float, second)),
        **scores,
        chance={"previous_token": 0.042, "duplicate_token": 0.0139, "induction": 0.0139},
        prompts=(_prompt("name", WORDS, scores, draw), _prompt("random", RANDOM, scores, draw)),
        sample_prompt="The old man",
        samples=tuple(f" said, at step {s}, that\nit was <b>so</b>. " + "And the door was open. " * (s % 9) for s in steps),
        weights_sha256=tuple("0" * 64 for _ in steps),
        measurement=Measurement(),
    )


def _prompt(name, strings, scores, draw):
    frames, layers, heads = scores["induction"].shape
    n = len(strings)
    back = np.arange(n)[:, None] - np.arange(n)[None, :]
    weights = draw.random((1, layers, heads, n, n)) * (back >= 0)
    want = 8 * scores["previous_token"][..., None, None] * (back == 1) + 12 * scores["induction"][..., None, None] * (
        back == n // 2 - 1
    )
    weights = (weights + want * (back >= 0) * n / 4) + 0.3 * (np.arange(n) == 0)
    weights = weights * (back >= 0)
    patterns = quantised((weights / weights.sum(-1, keepdims=True)).astype(np.float32))
    certain = scores["induction"].max((1, 2))
    top = np.stack(
        [
            0.9 * certain / max(1e-6, certain.max()) + 0.02,
            0.05 * np.ones(frames),
            0.03 * np.ones(frames),
            0.01 * np.ones(frames),
            1e-4 * np.ones(frames),
        ],
        1,
    )
    order = np.argsort(-top, axis=1)
    rows = tuple(tuple(NEXT[k] for k in row) for row in order)
    return FilmPrompt(
        name,
        "".join(strings[1:]),
        tuple(range(n)),
        strings,
        patterns,
        rows,
        np.take_along_axis(top, order, 1).astype(np.float32),
    )


def folders_of(films, root: Path) -> dict[str, Path]:
    """The films written as they lie beside models; their folders by the model's name."""
    return {film.model: write(film, root / film.model) for film in films}
