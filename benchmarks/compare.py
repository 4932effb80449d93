"""Our GPT-2 beside Hugging Face's and transformer-lens's: the same work, the same weights, the same process, in turns.

python -m benchmarks.compare [--only forward_64 decode ...] [--repeats 9] [--threads 1] [--out FILE]

The shape is GPT-2 small's and the weights are random, so nothing is downloaded. Each comparison first checks that both sides
give the same numbers. Results are kept per machine in benchmarks/results; see benchmarks/README.md.
"""

import argparse
import json
import os
import re
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2LMHeadModel, GPT2TokenizerFast
from transformers.utils import logging

from benchmarks.measure import alternate, row
from benchmarks.training import training_step
from gpt2_core import GPT2, Tokenizer, generate, load
from gpt2_core.checkpoints import verify
from gpt2_core.config import SIZES
from gpt2_core.runtime import describe_machine
from tests.helpers import bridge, random_model, some_tokens

ROOT = Path(__file__).resolve().parents[1]
HERE = {"local_files_only": True, "dtype": torch.float32}
Ways = dict[str, Callable[[], Any]]
PROMPT, NEW_TOKENS = 16, 64


@cache
def ours() -> GPT2:
    """GPT-2 small's shape, random weights."""
    return random_model(SIZES["gpt2"].config, tokenizer=Tokenizer.load())


@cache
def folder() -> Path:
    """The same weights in the Hugging Face layout."""
    where = tempfile.TemporaryDirectory()
    _kept.append(where)
    ours().save_pretrained(where.name)
    return Path(where.name)


_kept: list[tempfile.TemporaryDirectory] = []  # until the program ends


@cache
def theirs(attention: str) -> GPT2LMHeadModel:
    """transformers' model of the same weights, with "sdpa" (fused) or "eager" attention."""
    return GPT2LMHeadModel.from_pretrained(folder(), attn_implementation=attention, **HERE).eval()


def same(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-3) -> None:
    """Raises where two results are not the same: a comparison of unequal work would mean nothing."""
    difference = (a - b).abs().max().item()
    if not difference <= tolerance:
        raise ValueError(f"The results differ by {difference}, more than {tolerance}; the times would not be comparable.")


# -- the work -----------------------------------------------------------------------------------------------------------------


def forward(n_tokens: int) -> Ways:
    """All logits of one text."""
    tokens = some_tokens(ours().config, 1, n_tokens)
    ways = {
        "ours": lambda: ours()(tokens),
        "transformers sdpa": lambda: theirs("sdpa")(tokens, use_cache=False).logits,
        "transformers eager": lambda: theirs("eager")(tokens, use_cache=False).logits,
    }
    for way in ways.values():
        same(way(), ways["ours"]())
    return ways


def decode() -> Ways:
    """A greedy continuation with a KV cache; ours also gives log-probabilities, ranks, entropies and the texts."""
    tokens = some_tokens(ours().config, 1, PROMPT)
    mask = torch.ones_like(tokens)
    greedy = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}

    def ours_() -> list[int]:
        made = generate(ours(), tokens, max_new_tokens=NEW_TOKENS, temperature=0.0, stop_ids=(), top=0)
        return list(made.ids)

    def theirs_(attention: str) -> list[int]:
        return theirs(attention).generate(tokens, attention_mask=mask, **greedy)[0, PROMPT:].tolist()

    ways = {"ours": ours_, **{f"transformers {a}": partial(theirs_, a) for a in ("sdpa", "eager")}}
    if len({tuple(way()) for way in ways.values()}) != 1:
        raise ValueError("The continuations differ; the times would not be comparable.")
    return ways


def all_activations(n_tokens: int = 64) -> Ways:
    """Every activation of one text, under the names that both libraries keep by default."""
    tokens, lens = some_tokens(ours().config, 1, n_tokens), bridge(ours())
    (_, mine), (_, its) = ours().run_with_cache(tokens), lens.run_with_cache(tokens)
    for name in ("blocks.0.attn.hook_pattern", "blocks.11.hook_resid_post"):
        same(mine[name], its[name])
    print(f"{'':28} kept: ours {len(mine)} names, transformer-lens {len(its)}")
    return {
        "ours": lambda: ours().run_with_cache(tokens),
        "transformer-lens bridge": lambda: lens.run_with_cache(tokens),
    }


def tokenizer() -> Ways:
    """Text to ids: the program's own sources, about a hundred pages of English and Python."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "gpt2_core").rglob("*.py")))
    text = text.replace("<|", "<")  # the other one would take it for a special token
    mine = Tokenizer.load()
    its = GPT2TokenizerFast.from_pretrained(folder(), local_files_only=True)
    if mine.encode(text) != its(text)["input_ids"]:
        raise ValueError("The token ids differ; the times would not be comparable.")
    print(f"{'':28} {len(text):,} characters")
    return {
        "ours": lambda: mine.encode(text),
        "transformers fast": lambda: its(text, return_attention_mask=False)["input_ids"],
    }


def loading() -> Ways:
    """A checkpoint's folder to a first prediction, which reads every weight.

    Ours also computes the file's sha256, checks every tensor for NaN, and copies it, so that the file may change; transformers
    leaves the weights in the file and reads them when they are used.
    """
    path, tokens = folder(), some_tokens(ours().config, 1, 8)

    def ours_() -> torch.Tensor:
        verify._sha256.cache_clear()  # a checksum already known would be unfair
        return load(path)(tokens)

    def theirs_() -> torch.Tensor:
        return GPT2LMHeadModel.from_pretrained(path, **HERE).eval()(tokens, use_cache=False).logits

    same(ours_(), theirs_())
    return {"ours": ours_, "transformers": theirs_}


WORK: dict[str, Callable[[], Ways]] = {
    "forward_64": partial(forward, 64),
    "forward_512": partial(forward, 512),
    "decode_64": decode,
    "run_with_cache_64": all_activations,
    "tokenizer_encode": tokenizer,
    "load_and_predict": loading,
    "training_step": training_step,
}


# -- the program ----------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def compare(names: list[str], repeats: int) -> dict[str, Any]:
    """Times of each piece of work, ours and the peers'."""
    results = {}
    for work in names:
        results[work] = alternate(WORK[work](), repeats)
        for name, result in results[work].items():
            print(row(work, name, result), flush=True)
    return results


def machine_name() -> str:
    """The processor and the number of threads, as a file name."""
    machine = describe_machine()
    name = f"{machine['cpu']} {machine['cores']} cores {machine['threads']} threads"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def main() -> None:
    """Compares, prints, and writes the results of this machine, keeping those of work that was not run again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(WORK), choices=WORK, metavar="WORK")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    out = options.out or ROOT / "benchmarks" / "results" / f"{machine_name()}.json"
    before = os.getloadavg()
    results = compare(options.only, options.repeats)
    load_average = {"before": before, "after": os.getloadavg()}
    known = json.loads(out.read_text(encoding="utf-8"))["work"] if out.exists() else {}
    for name, ways in results.items():
        known[name] = {"repeats": options.repeats, "load_average": load_average, "ways": ways}
    out.parent.mkdir(parents=True, exist_ok=True)
    versions = {name: __import__(name).__version__ for name in ("transformers", "tokenizers", "tiktoken")}
    content = {"machine": describe_machine() | versions, "work": known}
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"written to {out}")


if __name__ == "__main__":
    main()
