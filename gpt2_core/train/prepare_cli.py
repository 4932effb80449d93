"""The arguments of `python -m gpt2_core.train prepare`, and what it prints."""

import argparse
import errno
import json
import sys
from pathlib import Path

from tqdm import tqdm

from gpt2_core.train.outcomes import Outcome
from gpt2_core.train.prepare import Prepared, prepare
from gpt2_core.train.settings import Settings

FULL = (errno.ENOSPC, errno.EDQUOT)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `prepare`."""
    default = Settings()
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="a folder, an archive (.tar .tar.gz .tar.xz .zip), a file "
                        "(.txt .md .html .jsonl .jsonl.gz .jsonl.zst .parquet), or hf:owner/name with --hub")  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, help="the folder of the shards, the index and the report")
    parser.add_argument("--workers", type=int, default=1, help="processes; the bytes do not depend on it (1)")
    parser.add_argument("--hub", action="store_true", help="allow hf: sources to be streamed from the Hugging Face hub")
    parser.add_argument("--seed", type=int, default=default.seed, help="decides which documents are held out (0)")
    parser.add_argument("--validation", type=float, default=default.validation, help="share of documents held out (0.02)")
    parser.add_argument("--language", default=default.language, help="code of the language to keep, or any (en)")
    parser.add_argument(
        "--no-quality", dest="quality", action="store_false", help="keep documents that break the quality rules"
    )
    parser.add_argument("--keep-wikipedia", dest="wikipedia", action="store_true", help="keep documents from wikipedia.org")
    parser.add_argument("--keep-quotes", dest="quotes", action="store_false", help="leave curly quotes as they are")
    parser.add_argument("--near-duplicates", type=float, default=default.near_duplicates, metavar="SIMILARITY",
                        help="Jaccard similarity from which on a document is a copy; 0 looks for exact copies only (0.8)")  # fmt: skip
    parser.add_argument("--longest", type=int, default=default.longest, metavar="CHARACTERS",
                        help="cut longer documents at the ends of paragraphs; 0 keeps them whole (0)")  # fmt: skip
    parser.add_argument("--text-key", default=default.text_key, help="field of the text in .jsonl and .parquet (text)")
    parser.add_argument("--url-key", default=default.url_key, help="field of the address in .jsonl and .parquet (url)")
    parser.add_argument(
        "--largest-mib", type=int, default=default.largest_mib, help="documents beyond this size are not read (64)"
    )
    parser.add_argument("--shard-tokens", type=int, default=default.shard_tokens, help="tokens of a shard (100000000)")


def main(args: argparse.Namespace) -> int:
    """Prepares, and returns 0; 1 with one sentence where it cannot; 130 where it was interrupted (run again, it goes on)."""
    try:
        prepared = _run(args)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in FULL:
            raise
        print(f"The disk of {args.out} is full: make room and run the same command again; it goes on.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: run the same command again; it goes on.", file=sys.stderr)
        return 130
    print(summary(args.out, prepared))
    return 0


def _run(args: argparse.Namespace) -> Prepared:
    if args.workers < 1:
        raise ValueError(f"--workers is {args.workers}, expected at least 1.")
    settings = Settings(**{name: getattr(args, name) for name in Settings.__dataclass_fields__})
    with tqdm(unit="B", unit_scale=True, desc="documents", disable=None) as bar:

        def progress(results: list[Outcome]) -> None:
            bar.update(sum(found.size for found in results))

        return prepare(args.sources, args.out, settings, args.workers, args.hub, tqdm.write, progress)


def summary(out: Path, prepared: Prepared) -> str:
    """What a finished preparation says of itself."""
    counts = json.loads((out / "report.json").read_text(encoding="utf-8"))
    seconds, shards = prepared.process_seconds + prepared.write_seconds, prepared.shards
    lines = [f"{name}: {shards.documents(name):,} documents, {shards.tokens(name):,} tokens" for name in shards.splits]
    lines += [f"dropped, {reason}: {count:,}" for reason, count in counts["dropped"].items()]
    if seconds:
        total = sum(shards.tokens(name) for name in shards.splits)
        lines.append(f"{seconds:.0f} s, {total / seconds:,.0f} tokens/s; {out / 'report.md'}")
    return "\n".join(lines)
