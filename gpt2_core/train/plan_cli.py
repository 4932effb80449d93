"""`python -m gpt2_core.train plan CONFIG.toml`: what a recipe costs, before it is run."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from gpt2_core.accounting import adam_training_bytes
from gpt2_core.train import recipe as recipes
from gpt2_core.train.log import step_flops
from gpt2_core.train.recipe import Recipe

GIB = 2**30


@dataclass(frozen=True)
class Plan:
    """Costs of a whole run. `state_bytes` on each device (weights, gradients, moments); `loss_bytes` of the logits in flight."""

    parameters: int
    tokens_per_step: int
    tokens: int
    flops: float
    hours: float
    accumulation: int
    state_bytes: int
    loss_bytes: int


def plan(recipe: Recipe, devices: int, tflops: float | int, utilisation: float | int) -> Plan:
    """The costs on `devices` of `tflops` (peak of one, in the recipe's dtype) at a given share of it.

    The exact loss is counted throughout; activations are not in the memory: they depend on the kernels (measure one step).
    Raises ValueError if the rows of a step cannot be shared among the devices.
    """
    rows, at_once = recipe.batch.rows, recipe.batch.rows_at_once
    if rows % (devices * at_once):
        raise ValueError(f"[batch] rows is {rows}, expected a multiple of rows_at_once x devices, {at_once} x {devices}.")
    tokens = recipe.optimizer.steps * recipe.tokens_per_step
    flops = step_flops(recipe.config, tokens, recipe.data.window, None)
    positions = min(recipe.loss.chunk, at_once * recipe.data.window)
    return Plan(
        parameters=recipe.config.n_params,
        tokens_per_step=recipe.tokens_per_step,
        tokens=tokens,
        flops=flops,
        hours=flops / (devices * tflops * 1e12 * utilisation) / 3600,
        accumulation=rows // (devices * at_once),
        state_bytes=adam_training_bytes(recipe.config),
        loss_bytes=positions * recipe.config.d_vocab * 12,  # logits, log-probabilities and gradient in float32
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="CONFIG.toml", type=Path)
    parser.add_argument("--devices", type=int, default=8, help="processes, one a device (default: 8)")
    parser.add_argument("--tflops", type=float, default=312.0, help="peak of one device (default: 312, an A100 in bfloat16)")
    parser.add_argument("--utilisation", type=float, default=0.3, help="share of the peak that is reached (default: 0.3)")


def main(args: argparse.Namespace) -> int:
    try:
        recipe = recipes.read(args.recipe)
        p = plan(recipe, args.devices, args.tflops, args.utilisation)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"{recipe.name}: {p.parameters:,} parameters\n"
        f"{p.tokens_per_step:,} tokens a step ({p.accumulation} forward passes on each of {args.devices} devices), "
        f"{recipe.optimizer.steps:,} steps, {p.tokens:,} tokens\n"
        f"{p.flops:.3e} FLOPs, {p.hours:,.1f} hours at {args.utilisation:.0%} of {args.devices} x {args.tflops:g} TFLOP/s\n"
        f"on each device {p.state_bytes / GIB:.2f} GiB of weights, gradients and moments, "
        f"{p.loss_bytes / GIB:.2f} GiB of logits in flight, and the activations of {recipe.batch.rows_at_once} rows"
    )
    return 0
