"""Tables of published numbers, as the notebooks that printed them keep them: `notebooks.json` beside this file."""

import json
from functools import lru_cache
from pathlib import Path

from interp.literature.check import Bound, Cell, about

FILE = Path(__file__).with_name("notebooks.json")


@lru_cache(maxsize=1)
def _arrays() -> dict:
    return json.loads(FILE.read_text(encoding="utf-8"))


def values(name: str) -> list:
    """A table's numbers, a list or a list of rows."""
    return _arrays()[name]["values"]


def source(name: str) -> str:
    """The notebook and the cell that a table is from."""
    return _arrays()[name]["source"]


def listed(name: str, rows: list[str], tolerance: float) -> dict[Cell, Bound]:
    """The expectation of a list: each row its number."""
    return {(row, ""): about(value, tolerance) for row, value in zip(rows, values(name), strict=True)}


def table(name: str, tolerance: float, column: str = "H") -> dict[Cell, Bound]:
    """The expectation of a table: rows L0, L1, ...; columns H0, H1, ..., or 0, 1, ... for positions (`column=""`)."""
    return {
        (f"L{layer}", f"{column}{i}"): about(value, tolerance)
        for layer, row in enumerate(values(name))
        for i, value in enumerate(row)
    }
