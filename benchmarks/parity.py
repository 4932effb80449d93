"""How far our numbers are from Hugging Face's and transformer-lens's on equal random weights, at full width and depth.

python benchmarks/parity.py [--sizes gpt2 gpt2-medium gpt2-large gpt2-xl] [--tokens 64] [--out benchmarks/results/parity.json]

One size at a time: gpt2-xl in both libraries needs about 15 GB of memory. The same comparisons at reduced depth are tests
(tests/gpt2_core/test_model.py); this is the whole thing, for the table of README.md.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers import bridge, hf_model, random_model, some_tokens  # noqa: E402

from gpt2_core.config import RELEASED, SIZES  # noqa: E402
from gpt2_core.runtime import describe_machine  # noqa: E402


@torch.no_grad()
def compare(name: str, n_tokens: int) -> dict[str, float | int]:
    """Largest absolute difference of logits in fp32, relative difference in bf16, largest difference over all hooks."""
    config = SIZES[name].config
    model, tokens = random_model(config), some_tokens(config, 1, n_tokens)
    ours = model(tokens)
    theirs = hf_model(model)(tokens).logits
    row: dict[str, float | int] = {
        "layers": config.n_layers,
        "logits_fp32_max_abs": (ours - theirs).abs().max().item(),
        "logits_scale": theirs.abs().max().item(),
    }
    del theirs
    if name == RELEASED[0]:
        row |= _hooks(model, tokens)
    half = model.to(torch.bfloat16)(tokens).float()
    row["logits_bf16_relative"] = ((half - ours).norm() / ours.norm()).item()
    return row


def _hooks(model, tokens) -> dict[str, float | int]:
    _, theirs = bridge(model).run_with_cache(tokens)
    _, ours = model.run_with_cache(tokens)
    worst = 0.0
    for key, value in theirs.items():
        finite = value.float() > -1e30
        worst = max(worst, (ours[key].float() - value.float())[finite].abs().max().item())
    return {"hooks": len(theirs), "hooks_max_abs": worst}


def main() -> None:
    """Writes the comparison as JSON and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(RELEASED), choices=RELEASED)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "parity.json")
    options = parser.parse_args()
    results = {"machine": describe_machine(), "tokens": options.tokens, "sizes": {}}
    for name in options.sizes:
        results["sizes"][name] = compare(name, options.tokens)
        print(name, results["sizes"][name], flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
