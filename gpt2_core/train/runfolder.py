"""The folder of a run: whose it is, and where the run goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gpt2_core.train import recipe as recipes
from gpt2_core.train.checkpoint import Found, newest, sweep
from gpt2_core.train.recipe import Recipe

RECIPE, CHECKPOINTS, SNAPSHOTS, MODEL, LOCK = "recipe.toml", "checkpoints", "snapshots", "model", ".lock"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the folder for this process. Raises ValueError if another process trains in it."""
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)  # released by the system if this process is killed
    except Timeout as error:
        raise ValueError(f"Another process is training in {run}; wait for it, or give another --out.") from error
    try:
        yield
    finally:
        lock.release()


def claim(run: Path, recipe: Recipe, text: str) -> None:
    """Keep the recipe's text in the folder, and clear what an interrupted save left.

    Raises ValueError, in one sentence, if the folder belongs to a recipe that trains differently.
    """
    kept = run / RECIPE
    if kept.exists():
        if differs := recipes.difference(recipe, recipes.read(kept)):
            raise ValueError(f"{run} belongs to another recipe: {differs}; give another --out, or the run's recipe.")
    elif (run / CHECKPOINTS).exists():
        raise ValueError(f"{run} has checkpoints but no {RECIPE}, so it is unknown what they are of; give another --out.")
    unfinished = run / f"{RECIPE}.tmp"
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(kept)
    for folder in (run, run / CHECKPOINTS, run / SNAPSHOTS):
        sweep(folder)


def resume_point(run: Path, recipe: Recipe, fingerprint: str) -> Found | None:
    """The newest whole checkpoint, or None for a fresh run.

    Raises ValueError, in one sentence, if it belongs to other data or another recipe, or if all checkpoints are broken.
    """
    found = newest(run / CHECKPOINTS)
    if found is None:
        return None
    if found.state["data"] != fingerprint:
        raise ValueError(f"{run} was trained on other data than {recipe.data.folder}; give another --out, or the run's data.")
    if found.state["recipe"] != recipe.hash():
        raise ValueError(f"{found.folder} is of another recipe than {run / RECIPE}; give another --out.")
    return found
