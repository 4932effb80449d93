"""What a panel hands out besides its picture: its numbers as a table and as data, and scripts that compute them again.

A panel that says `page.hands_out(head, evidence)` gets a menu: PNG and SVG of the picture, CSV, JSON, "as code", and a link. The
numbers come from the same cached results as the picture; a script names the model, the prompt and every choice in full, so
that it runs anywhere and prints what the panel shows.
"""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a text cell that begins so would be run by a spreadsheet


@dataclass(frozen=True)
class Evidence:
    """name: of the files, without ending. columns and rows: the table. facts: what else the JSON says: settings, checks, provenance.

    code: a script with this project's library; lens_code: one with transformer-lens, "" where that library has no such thing.
    """

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    code: str
    lens_code: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def as_csv(evidence: Evidence) -> str:
    """The table (RFC 4180)."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(evidence.columns)
    writer.writerows([[_cell(value) for value in row] for row in evidence.rows])
    return out.getvalue()


def as_json(evidence: Evidence) -> str:
    """Facts and table: {"facts": ..., "columns": [...], "rows": [[...]]}. NaN and infinities become null."""
    content = {"facts": evidence.facts, "columns": evidence.columns, "rows": evidence.rows}
    return json.dumps(_plain(content), ensure_ascii=False, indent=1, allow_nan=False)


def _cell(value: Any) -> Any:
    value = _plain(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _plain(value: Any) -> Any:
    """Numbers of numpy as Python's, containers as lists and dicts."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
