"""The data report: what was kept and what was dropped and why, as JSON for programs and Markdown for people.

It holds nothing that depends on the machine or the time, so that the same input and settings give the same report.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gpt2_core.tokenizer import Tokenizer
from gpt2_core.train.documents import UNREADABLE
from gpt2_core.train.duplicates import PERMUTATIONS, SHINGLE, bands
from gpt2_core.train.filters import RULES
from gpt2_core.train.outcomes import Outcome
from gpt2_core.train.settings import Settings
from gpt2_core.train.shards import TOKEN, write_whole

EXAMPLES, UNREADABLE_LISTED, FREQUENT = 20, 1000, 50


@dataclass(eq=False)
class Tally:
    """Counts that grow with every outcome."""

    sources: list[str]
    read: Counter[int] = field(default_factory=Counter)  # records by source
    kept: Counter[int] = field(default_factory=Counter)
    source_tokens: Counter[int] = field(default_factory=Counter)
    size: Counter[int] = field(default_factory=Counter)  # bytes read by source
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_size: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    splits: dict[str, Counter[str]] = field(default_factory=lambda: {"train": Counter(), "validation": Counter()})
    frequency: np.ndarray = field(default_factory=lambda: np.zeros(1 << 16, np.int64))

    def drop(self, found: Outcome, reason: str, detail: str) -> None:
        """Counts a record that gives no document."""
        self._read(found)
        self.dropped[reason] += 1
        self.dropped_size[reason] += found.size
        listed = self.examples.setdefault(reason, [])
        if len(listed) < (UNREADABLE_LISTED if reason == UNREADABLE else EXAMPLES):
            listed.append({"document": f"{self.sources[found.source]}: {found.origin}", "detail": detail})

    def keep(self, found: Outcome, split: str) -> None:
        """Counts a document that goes to a split."""
        self._read(found)
        ids = np.frombuffer(found.tokens, TOKEN)
        self.frequency += np.bincount(ids, minlength=len(self.frequency))
        self.kept[found.source] += 1
        self.source_tokens[found.source] += len(ids)
        self.splits[split].update({"documents": 1, "tokens": len(ids), "bytes": found.text_bytes})

    def _read(self, found: Outcome) -> None:
        self.read[found.source] += 1
        self.size[found.source] += found.size


def content(tally: Tally, settings: Settings, fingerprint: str) -> dict:
    """The report as JSON holds it. Token counts include the `<|endoftext|>` after each document."""
    return {
        "format": 1,
        "fingerprint": fingerprint,
        "documents": {
            "read": tally.read.total(),
            "kept": tally.kept.total(),
            "dropped": tally.dropped.total(),
        },
        "splits": {name: {key: split[key] for key in ("documents", "tokens", "bytes")} for name, split in tally.splits.items()},
        "dropped": dict(sorted(tally.dropped.items(), key=lambda item: (-item[1], item[0]))),
        "dropped_bytes": dict(sorted(tally.dropped_size.items())),
        "sources": [_source(tally, number, name) for number, name in enumerate(tally.sources)],
        "most_frequent_tokens": _frequent(tally.frequency),
        "settings": settings.to_dict(),
        "rules": _rules(settings),
        "near_duplicates": _near(settings),
        "examples": dict(sorted(tally.examples.items())),
    }


def _source(tally: Tally, number: int, name: str) -> dict:
    return {
        "name": name,
        "read": tally.read[number],
        "kept": tally.kept[number],
        "bytes_read": tally.size[number],
        "tokens": tally.source_tokens[number],
    }


def _frequent(frequency: np.ndarray) -> list[dict]:
    order = np.lexsort((np.arange(len(frequency)), -frequency))[:FREQUENT]
    ids, total = [int(id) for id in order if frequency[id]], max(1, int(frequency.sum()))
    strings = Tokenizer.load().shown(ids)
    return [
        {"id": id, "text": string, "count": int(frequency[id]), "share": round(int(frequency[id]) / total, 6)}
        for id, string in zip(ids, strings)
    ]


def _rules(settings: Settings) -> list[dict]:
    if not settings.quality:
        return []
    return [
        {
            "reason": rule.reason,
            "measure": (rule.measure.__doc__ or "").strip(),
            "least": rule.least,
            "most": None if rule.most == float("inf") else rule.most,
            "source": rule.source,
        }
        for rule in RULES
        if rule.language in ("any", settings.language)
    ]


def _near(settings: Settings) -> dict | None:
    if not settings.near_duplicates:
        return None
    count, rows = bands(settings.near_duplicates)
    return {
        "threshold": settings.near_duplicates,
        "permutations": PERMUTATIONS,
        "shingle": SHINGLE,
        "bands": count,
        "rows": rows,
    }


def write(folder: Path, report: dict) -> None:
    """Writes `report.json` and `report.md`."""
    write_whole(folder / "report.json", (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    write_whole(folder / "report.md", markdown(report).encode())


def markdown(report: dict) -> str:
    """The report for people."""
    documents, settings = report["documents"], report["settings"]
    chosen = ", ".join(f"{name} {value}" for name, value in settings.items())
    lines = [
        "# Data report",
        "",
        f"{documents['read']:,} documents read, {documents['kept']:,} kept, {documents['dropped']:,} dropped.",
        f"Settings: {chosen}. Fingerprint `{report['fingerprint']}`.",
        "",
        *_table("split", ("documents", "tokens", "bytes"), report["splits"].items()),
        "",
        "## Sources",
        "",
        *_table("source", ("read", "kept", "bytes_read", "tokens"), ((s["name"], s) for s in report["sources"])),
        "",
        "## Dropped",
        "",
        *_dropped(report),
        "## Most frequent tokens",
        "",
        *_table("token", ("id", "count", "share"), ((f"`{t['text']}`", t) for t in report["most_frequent_tokens"])),
    ]
    return "\n".join(lines) + "\n"


def _dropped(report: dict) -> list[str]:
    lines = []
    limits = {f"quality: {rule['reason']}": rule for rule in report["rules"]}
    for reason, count in report["dropped"].items():
        rule = limits.get(reason)
        bounds = (
            ""
            if rule is None
            else f" ({rule['measure']} At least {rule['least']}"
            + (")" if rule["most"] is None else f", at most {rule['most']})")
        )
        lines += [f"### {reason}: {count:,}{bounds}", ""]
        lines += [f"- {_cell(e['document'])}: {_cell(e['detail'])}" for e in report["examples"][reason]]
        lines += [f"- and {count - listed:,} more"] if (listed := len(report["examples"][reason])) < count else []
        lines.append("")
    return lines or ["Nothing.", ""]


def _table(first: str, columns: tuple[str, ...], rows) -> list[str]:
    head = f"| {first} | {' | '.join(column.replace('_', ' ') for column in columns)} |"
    body = [f"| {_cell(name)} | {' | '.join(f'{row[column]:,}' for column in columns)} |" for name, row in rows]
    return [head, "|---" + "|---:" * len(columns) + "|", *body]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
