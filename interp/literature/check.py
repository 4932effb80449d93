"""A check: what is measured, what the literature says it comes to on GPT-2 small, and how far apart the two are.

A measurement is a list of named numbers or a table of them. An expectation names cells of it and gives each a `Bound`: the
value as printed, and the interval that a measured one must lie in. A cell that is expected and was not measured (the strongest
head has another name, say) counts as missed. What has no expectation is measured all the same.

Pitfall: a tolerance says how well two programs should agree on the same weights (rounding, the digits printed). Where the
prompts are not the very same ones, as for averages over a paper's own data set, the interval is wide and `approximate` says why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2

Cell = tuple[str, str]  # the label of a row, and of a column; "" where there is one column only
INFINITY = float("inf")


@dataclass(frozen=True)
class Bound:
    """A published value and where a measured one must lie."""

    value: float | int
    low: float | int
    high: float | int

    def miss(self, measured: float | int) -> float:
        """By how much a number lies outside; 0 inside, infinite for NaN."""
        if measured != measured:
            return INFINITY
        return float(max(self.low - measured, measured - self.high, 0.0))

    @property
    def slack(self) -> float:
        """The tolerance around the value; 0 for a limit on one side."""
        return float(self.high - self.value) if self.low > -INFINITY and self.high < INFINITY else 0.0

    def __str__(self) -> str:
        if self.low == -INFINITY:
            return f"≤ {self.high:g}"
        if self.high == INFINITY:
            return f"≥ {self.low:g}"
        return f"{self.value:g} ± {self.slack:.2g}"


def about(value: float | int, tolerance: float | int) -> Bound:
    """The value, give or take the tolerance."""
    return Bound(value, value - tolerance, value + tolerance)


def at_least(value: float | int) -> Bound:
    return Bound(value, value, INFINITY)


def at_most(value: float | int) -> Bound:
    return Bound(value, -INFINITY, value)


Expectation = Mapping[Cell, Bound]


def near(values: Mapping[str, float | int], tolerance: float | int) -> dict[Cell, Bound]:
    """An expectation of named numbers."""
    return {(name, ""): about(value, tolerance) for name, value in values.items()}


@dataclass(frozen=True)
class Measured:
    """values: Float [row column], float64, one column for a list. rows, columns: their labels. axes: what they are.

    unit: "nats", "logits", "" for shares and scores. facts: what else there is to know,
    such as which heads were taken, by a short name.
    """

    values: Float[Tensor, "row column"]
    rows: tuple[str, ...]
    columns: tuple[str, ...] = ("",)
    axes: tuple[str, str] = ("", "")
    unit: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, cell: Cell | str) -> float:
        row, column = (cell, "") if isinstance(cell, str) else cell
        return self.values[self.rows.index(row), self.columns.index(column)].item()

    def __contains__(self, cell: Cell) -> bool:
        return cell[0] in self.rows and cell[1] in self.columns

    @property
    def is_list(self) -> bool:
        return self.columns == ("",)


@dataclass(frozen=True)
class Check:
    """One result of the literature.

    id: its name on the command line. title: what is measured, in a sentence. mode: the weights that `measure` takes, "raw" or
    "folded". source: where the expected numbers are from. expected: of the released model `of`; `everywhere`: of every model.
    tokens: how many tokens a whole forward pass would read in the same time, about. approximate: why a wide interval is compared,
    if it is.
    """

    id: str
    title: str
    measure: Callable[[GPT2], Measured]
    source: str
    expected: Expectation
    tokens: Callable[[GPT2Config], int]
    mode: str = "raw"
    everywhere: bool = False
    approximate: str = ""
    of: str = "gpt2"


@dataclass(frozen=True)
class Miss:
    """An expected cell that was not met; measured is None where there is no such cell."""

    cell: Cell
    bound: Bound
    measured: float | None


@dataclass(frozen=True)
class Comparison:
    """cells: how many were compared. misses: those outside, the worst first. largest: the largest |measured - value|, of all
    cells with a value to be near; where: its cell."""

    cells: int
    misses: tuple[Miss, ...]
    largest: float = 0.0
    where: Cell = field(default=("", ""))

    @property
    def passed(self) -> bool:
        return not self.misses


def compare(measured: Measured, expected: Expectation) -> Comparison:
    """Every expected cell against what was measured."""
    misses, largest, where = [], 0.0, ("", "")
    for cell, bound in expected.items():
        value = measured[cell] if cell in measured else None
        if value is None or bound.miss(value):
            misses.append(Miss(cell, bound, value))
        if value is not None and bound.slack and abs(value - bound.value) > largest:
            largest, where = abs(value - bound.value), cell
    misses.sort(key=lambda miss: -(INFINITY if miss.measured is None else miss.bound.miss(miss.measured)))
    return Comparison(len(expected), tuple(misses), largest, where)
