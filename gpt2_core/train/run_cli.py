"""`python -m gpt2_core.train run CONFIG.toml --out RUN`: train, or go on where the run in RUN stopped."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from gpt2_core.runtime import configure_threads
from gpt2_core.train import recipe as recipes
from gpt2_core.train.distributed import Ranks, ranks
from gpt2_core.train.recipe import Recipe
from gpt2_core.train.runfolder import claim, locked, resume_point
from gpt2_core.train.shards import Shards
from gpt2_core.train.stopping import Stop, TrainingStopped
from gpt2_core.train.trainer import Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="CONFIG.toml", type=Path, help="the recipe, for example in gpt2_core/train/recipes")
    parser.add_argument("--out", metavar="RUN", type=Path, required=True, help="folder of the run: log, checkpoints, model")
    parser.add_argument("--data", metavar="DIR", help="the prepared data, in place of the recipe's [data] folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    parser.add_argument("--threads", type=int, help="of one process, in place of the recipe's [compute] threads")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="save and end after M minutes; run again to go on")


def main(args: argparse.Namespace) -> int:
    """0: finished or stopped as asked; 1: training had to stop; 2: it could not begin. Speaks one sentence each."""
    try:
        text, recipe = _recipe(args)
        with ranks(args.device) as here:
            return _train(args, recipe, text, here)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (TrainingStopped, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _recipe(args: argparse.Namespace) -> tuple[str, Recipe]:
    recipe = recipes.read(args.recipe)
    if args.data is not None:
        recipe = replace(recipe, data=replace(recipe.data, folder=args.data))
    threads = recipe.compute.threads if args.threads is None else args.threads
    if threads:
        configure_threads(threads)
    return args.recipe.read_text(encoding="utf-8"), recipe


def _train(args: argparse.Namespace, recipe: Recipe, text: str, here: Ranks) -> int:
    shards = Shards.open(recipe.data.folder)
    if not here.first:
        here.wait()  # until the first process has claimed the folder
        return _go(args, recipe, shards, here)
    with locked(args.out):
        claim(args.out, recipe, text)
        here.wait()
        return _go(args, recipe, shards, here)


def _go(args: argparse.Namespace, recipe: Recipe, shards: Shards, here: Ranks) -> int:
    found = resume_point(args.out, recipe, shards.fingerprint)
    for sentence in found.broken if found is not None and here.first else ():
        print(f"A broken checkpoint is passed over: {sentence}.", file=sys.stderr)
    with Stop(args.max_minutes).on_signals() as stop:
        trainer = Trainer(recipe, shards, args.out, here, found)
        reason = trainer.train(stop)
    if here.first and reason is None:
        print(f"Finished: {args.out / 'model'}")
    elif here.first:
        print(f"Stopped at step {trainer.step} of {recipe.optimizer.steps}: {reason}. The same command goes on from there.")
    return 0
