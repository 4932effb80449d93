"""Activation patching beside transformer-lens's: the same weights, the same cells, the same process, in turns.

python -m benchmarks.sweeps [--repeats 3] [--cells 24] [--threads 1] [--out FILE]

GPT-2 small's shape with random weights, 16 tokens: resid_pre at 12 layers x 16 positions, and z of all 144 heads. Two pairs of
prompts: "one word" differs at one token two thirds in, as prompts for patching do (positions before it cannot matter, and are not
computed); "every token" shares nothing, the most work there is. transformer-lens runs every cell as one forward pass, whose cost
does not depend on the cell, so `--cells` of them, spread evenly, are timed and scaled up (0: all of them).

What the arithmetic allows is reported as well: the multiplications that a sweep cannot do without (`interp.sweep_cost`, both recorded
runs added), the speed of a plain product of two large matrices, timed in the same turns, and the ratio that a sweep would
reach if it ran at that speed from beginning to end.
"""

import argparse
import json
import os
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformer_lens import patching as lens_patching

from benchmarks.compare import ROOT, machine_name, ours, same
from benchmarks.measure import alternate, row
from gpt2_core.runtime import describe_machine
from interp import patching
from interp.metrics import logit_diff
from interp.sweep_cost import estimate
from tests.helpers import bridge, some_tokens

TOKENS, CHANGED, SIDE = 16, 10, 2048
METRIC = logit_diff(11, 222)
SETTERS = {
    "resid_pre": (lens_patching.layer_pos_patch_setter, "pos"),
    "z": (lens_patching.layer_head_vector_patch_setter, "head"),
}


def pairs() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """(clean, corrupted) token ids [1 pos]."""
    clean, other = (some_tokens(ours().config, 1, TOKENS, seed) for seed in (1, 2))
    one_word = clean.clone()
    one_word[0, CHANGED] = other[0, CHANGED]
    return {"one word": (clean, one_word), "every token": (clean, other)}


def any_metric(logits: torch.Tensor) -> torch.Tensor:
    """The same number as METRIC from a function that does not say what it reads: the whole vocabulary is unembedded."""
    return logits[:, 11] - logits[:, 222]


def theirs(lens: Any, component: str, tokens: tuple[torch.Tensor, torch.Tensor], cells: list[tuple[int, int]]) -> torch.Tensor:
    """transformer-lens's patching of some cells (layer, position or head), the clean run included."""
    setter, axis = SETTERS[component]
    index = pd.DataFrame(cells, columns=["layer", axis])
    _, cache = lens.run_with_cache(tokens[0])
    metric = lambda logits: logits[0, -1, 11] - logits[0, -1, 222]  # noqa: E731
    return lens_patching.generic_activation_patch(lens, tokens[1], cache, metric, setter, component, index_df=index)


def compare(component: str, tokens: tuple[torch.Tensor, torch.Tensor], n_cells: int, repeats: int, lens: Any) -> dict[str, Any]:
    """Times of a whole sweep, transformer-lens's scaled up from the cells that were run; the values first."""
    mine = patching.sweep(ours(), *tokens, METRIC, component)
    every = [(layer, i) for layer in range(mine.values.shape[0]) for i in range(mine.values.shape[1])]
    # A stride that shares no factor with the row's length meets every position and every layer.
    count = len(every) if not n_cells else min(n_cells, len(every))
    cells = [every[i * len(every) // count + i % max(1, len(every) // count)] for i in range(count)]
    its = theirs(lens, component, tokens, cells)
    mine_there = torch.stack([mine.values[cell] for cell in cells])
    same(mine_there, its, 1e-4)
    a, b, bias = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE), torch.zeros(SIDE)
    ways = {
        "ours": lambda: patching.sweep(ours(), *tokens, METRIC, component),
        "ours, any metric": lambda: patching.sweep(ours(), *tokens, any_metric, component),
        "transformer-lens": partial(theirs, lens, component, tokens, cells),
        "matrix product, MKL": lambda: torch.addmm(bias, a, b),
        "matrix product, oneDNN": lambda: torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], ""),
    }
    times = alternate(ways, repeats, warmup=0)
    products = [times.pop(name) for name in list(times) if name.startswith("matrix product")]
    factor = len(every) / count
    times["transformer-lens"] = {name: value * factor for name, value in times["transformer-lens"].items()}
    return {
        "cells": len(every),
        "cells_timed_of_transformer_lens": count,
        "largest_difference": (mine_there - its).abs().max().item(),
        "checks": {check.name: check.residual for check in mine.checks},
        "ways": times,
        "arithmetic": arithmetic(component, tokens, times, min(product["cpu_median"] for product in products)),
    }


def arithmetic(
    component: str, tokens: tuple[torch.Tensor, torch.Tensor], times: dict[str, Any], product: float
) -> dict[str, float]:
    """How near a sweep is to the least processor time that its multiplications take; product: seconds of the matrix product."""
    first = int((tokens[0] != tokens[1])[0].nonzero()[0])
    config = ours().config
    runs = 2 * TOKENS * config.n_layers * 24 * config.d_model**2
    flops = runs + estimate(ours(), TOKENS, component, first=first, n_read=len(METRIC.reads)).flops
    speed = 2 * SIDE**3 / product
    return {
        "gflop": flops / 1e9,
        "gflop_per_second": flops / times["ours"]["cpu_median"] / 1e9,
        "gflop_per_second_of_a_matrix_product": speed / 1e9,
        "least_seconds": flops / speed,
        "ratio_the_arithmetic_allows": times["transformer-lens"]["cpu_median"] * speed / flops,
    }


@torch.no_grad()
def main() -> None:
    """Compares, prints, and writes the results of this machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cells", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    out = options.out or ROOT / "benchmarks" / "results" / f"sweeps-{machine_name()}.json"
    lens, before, results = bridge(ours()), os.getloadavg(), {}
    for name, tokens in pairs().items():
        for component in SETTERS:
            work = f"{component}, {name}"
            results[work] = compare(component, tokens, options.cells, options.repeats, lens)
            for way, result in results[work]["ways"].items():
                print(row(work, way, result), flush=True)
            print({name: round(value, 2) for name, value in results[work]["arithmetic"].items()}, flush=True)
    content = {
        "machine": describe_machine() | {name: metadata.version(name) for name in ("transformers", "transformer-lens")},
        "tokens": TOKENS,
        "first_difference": {"one word": CHANGED, "every token": 0},
        "repeats": options.repeats,
        "load_average": {"before": before, "after": os.getloadavg()},
        "work": results,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"written to {out}")


if __name__ == "__main__":
    main()
