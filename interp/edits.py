"""Changes to a running model, as data: an `Edit` says what to do at one hook, a `Plan` is several of them.

    Plan((Edit.zero("z", layer=2, head=1),))            turn off head L2H1
    Edit.scale("mlp_out", layer=0, value=0.5)           halve what an MLP writes
    Edit.mean("z", layer=2, head=1, text=reference)     replace by its mean over another text (mean ablation)
    Edit.patch("resid_pre", layer=3, text=other)        take the activation from a run on another prompt
    Edit.add("resid_pre", layer=1, text=" angry", minus=" calm", value=4.0)   push along a difference at every position
    Edit.contrast("resid_pre", layer=1, text="Love", minus="Hate", value=5)   the same token by token, from the front (ActAdd)
    Edit.project("resid_pre", layer=1, text=" angry", minus=" calm")          take away what points along a difference
    Edit.clamp("resid_pre", layer=1, text=" angry", minus=" calm", value=3)   hold what points along it at a value
    Edit.clamp_neuron(layer=1, neuron=17, value=3.0)                          hold a neuron's activation at a value
    Edit.set_cell(layer=2, head=1, query=9, key=4, value=1.0, renormalise=True)  one cell of an attention pattern

A plan is frozen, goes to JSON and back, and is compiled for a model by `compile_plan`, which gives a hook for
`model(tokens, hook=...)`, `generate` and every analysis. Edits act in order. Positions are indices into the tokens of the
run, a leading `<|endoftext|>` counted; None is every position, tokens generated later included.

Pitfalls: zero ablation takes a head away from everything it was trained with, so it exaggerates; mean ablation depends on
the text of the mean; neither shows what a head does when others take over for it (Wang et al. 2022, 2211.00593).
Sources: McGrath et al. 2023, 2307.15771 (self-repair); Turner et al. 2023, 2308.10248 (ActAdd); Arditi et al. 2024, 2406.11717
(projecting a direction out); Rimsky et al. 2023, 2312.06681 (the mean difference of two lists of texts).
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from gpt2_core.config import GPT2Config
from interp.edit_rules import EDITABLE, OPERATIONS, READS, check_numbers, check_operation, plain_text

__all__ = ["EDITABLE", "MAX_EDITS", "NO_EDITS", "OPERATIONS", "READS", "Edit", "Plan", "plain_text"]

MAX_EDITS = 64


@dataclass(frozen=True)
class Edit:
    """One change at one hook. Made by the class methods, `zero` to `set_cell`.

    component: a key of EDITABLE. head: one head, or None for all. positions: token positions, or None for all.
    value: the factor of `scale`, the coefficient of `add` and `contrast`, what `clamp` holds, the weight of `set`. text: the prompt
    that the activation is read from; minus: the prompt whose activation is subtracted. lines: `text` and `minus` are lists, one text
    per line, whose means are compared. key, renormalise: for `set`. neuron: one neuron of mlp_post, or None for all.
    Raises ValueError, in one sentence, for a combination that means nothing.
    """

    op: str
    component: str
    layer: int
    head: int | None = None
    positions: tuple[int, ...] | None = None
    value: int | float | None = None
    text: str | None = None
    minus: str | None = None
    key: int | None = None
    renormalise: bool = False
    neuron: int | None = None
    lines: bool = False

    def __post_init__(self) -> None:
        if self.op not in OPERATIONS:
            raise ValueError(f"No edit is called {self.op!r}; expected one of {', '.join(OPERATIONS)}.")
        if self.component not in EDITABLE:
            raise ValueError(f"{self.component!r} cannot be edited; expected one of {', '.join(EDITABLE)}.")
        for name in ("text", "minus"):
            object.__setattr__(self, name, None if getattr(self, name) is None else plain_text(getattr(self, name)))
        if self.positions is not None:
            object.__setattr__(self, "positions", tuple(self.positions))
        check_numbers(self)
        check_operation(self)

    @classmethod
    def zero(cls, component: str, layer: int, head: int | None = None, positions: tuple[int, ...] | None = None) -> "Edit":
        """The activation becomes 0."""
        return cls("zero", component, layer, head, positions)

    @classmethod
    def mean(
        cls, component: str, layer: int, head: int | None = None, *, text: str, positions: tuple[int, ...] | None = None
    ) -> "Edit":
        """The activation becomes its mean over the positions of another text."""
        return cls("mean", component, layer, head, positions, text=text)

    @classmethod
    def scale(
        cls,
        component: str,
        layer: int,
        head: int | None = None,
        *,
        value: int | float,
        positions: tuple[int, ...] | None = None,
    ) -> "Edit":
        """The activation is multiplied by `value`."""
        return cls("scale", component, layer, head, positions, value=float(value))

    @classmethod
    def patch(
        cls, component: str, layer: int, head: int | None = None, *, text: str, positions: tuple[int, ...] | None = None
    ) -> "Edit":
        """The activation is taken from a run on another text, position by position, where that text has the position."""
        return cls("patch", component, layer, head, positions, text=text)

    @classmethod
    def add(
        cls,
        component: str,
        layer: int,
        head: int | None = None,
        *,
        text: str,
        value: int | float = 1.0,
        minus: str | None = None,
        positions: tuple[int, ...] | None = None,
        lines: bool = False,
    ) -> "Edit":
        """`value` times a direction is added: the activation at the last token of `text`, less that of `minus`."""
        return cls("add", component, layer, head, positions, value=float(value), text=text, minus=minus, lines=lines)

    @classmethod
    def contrast(
        cls, component: str, layer: int, head: int | None = None, *, text: str, minus: str, value: int | float
    ) -> "Edit":
        """`value` times what two texts differ in is added, token by token from the front, the shorter one padded with spaces."""
        return cls("contrast", component, layer, head, value=float(value), text=text, minus=minus)

    @classmethod
    def project(
        cls,
        component: str,
        layer: int,
        head: int | None = None,
        *,
        text: str,
        minus: str | None = None,
        positions: tuple[int, ...] | None = None,
        lines: bool = False,
    ) -> "Edit":
        """What points along the direction of `add` is taken away; everything at right angles to it stays."""
        return cls("project", component, layer, head, positions, text=text, minus=minus, lines=lines)

    @classmethod
    def clamp(
        cls,
        component: str,
        layer: int,
        head: int | None = None,
        *,
        text: str,
        value: int | float,
        minus: str | None = None,
        positions: tuple[int, ...] | None = None,
        lines: bool = False,
    ) -> "Edit":
        """The component along the unit direction of `add` becomes `value`; everything at right angles to it stays."""
        return cls("clamp", component, layer, head, positions, value=float(value), text=text, minus=minus, lines=lines)

    @classmethod
    def clamp_neuron(cls, layer: int, neuron: int, value: int | float, positions: tuple[int, ...] | None = None) -> "Edit":
        """A neuron's activation, after the GELU, becomes `value`."""
        return cls("clamp", "mlp_post", layer, None, positions, value=float(value), neuron=neuron)

    @classmethod
    def set_cell(cls, layer: int, head: int, query: int, key: int, value: int | float, renormalise: bool = False) -> "Edit":
        """One attention weight is set; `renormalise` rescales the rest of its row so that the row sums to 1 again."""
        return cls("set", "pattern", layer, head, (query,), value=float(value), key=key, renormalise=renormalise)

    @property
    def hook_name(self) -> str:
        return f"blocks.{self.layer}.{EDITABLE[self.component][0]}"

    @property
    def head_axis(self) -> int | None:
        return EDITABLE[self.component][1]

    @property
    def place(self) -> str:
        """L2H1 for a head, L2N17 for a neuron, "resid_pre L3" for the rest."""
        if self.neuron is not None:
            return f"L{self.layer}N{self.neuron}"
        return f"{self.component} L{self.layer}" if self.head is None else f"L{self.layer}H{self.head}"

    def describe(self) -> str:
        """The edit in a few words, for terminals and logs."""
        what = {"zero": "zeroed", "mean": "mean of a text", "patch": "patched from a text", "project": "without"}.get(self.op)
        if what is None:
            what = {"scale": "x ", "add": "+ ", "contrast": "+ ", "clamp": "= ", "set": "= "}[self.op] + f"{self.value:g}"
        if self.text and self.op not in ("mean", "patch"):
            what += f" {self.text!r}" + (f" - {self.minus!r}" if self.minus else "")
        part = "" if self.head is None or self.component == "z" else f" {self.component}"
        where = "" if self.positions is None else " at " + ",".join(map(str, self.positions))
        to = f" -> {self.key}" if self.key is not None else ""
        return f"{self.place}{part} {what}{where}{to}"

    def check(self, config: GPT2Config) -> None:
        """Raises ValueError if a model of this shape has no such place."""
        if not 0 <= self.layer < config.n_layers:
            raise ValueError(
                f"{self.describe()}: layer {self.layer} does not exist, {config.model_name} has 0..{config.n_layers - 1}."
            )
        if self.head is not None and not 0 <= self.head < config.n_heads:
            raise ValueError(
                f"{self.describe()}: head {self.head} does not exist, {config.model_name} has 0..{config.n_heads - 1}."
            )
        if self.neuron is not None and not 0 <= self.neuron < config.d_mlp:
            raise ValueError(
                f"{self.describe()}: neuron {self.neuron} does not exist, {config.model_name} has 0..{config.d_mlp - 1}."
            )


@dataclass(frozen=True)
class Plan:
    """Edits in force, in order. `Plan()` changes nothing."""

    edits: tuple[Edit, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "edits", tuple(self.edits))
        if len(self.edits) > MAX_EDITS:
            raise ValueError(f"A plan holds {MAX_EDITS} edits, got {len(self.edits)}; remove some.")

    def __len__(self) -> int:
        return len(self.edits)

    def __iter__(self):
        return iter(self.edits)

    def add(self, *edits: Edit) -> "Plan":
        """A plan with these edits behind the others; an edit that is already in force is not repeated."""
        return Plan(self.edits + tuple(e for e in edits if e not in self.edits))

    def remove(self, index: int) -> "Plan":
        """A plan without the edit at `index`."""
        if not 0 <= index < len(self.edits):
            raise ValueError(f"There is no edit {index}; the plan has {len(self.edits)}.")
        return Plan(self.edits[:index] + self.edits[index + 1 :])

    def fitting(self, config: GPT2Config) -> "Plan":
        """The edits that a model of this shape has a place for."""
        sizes = ("layer", config.n_layers), ("head", config.n_heads), ("neuron", config.d_mlp)
        return Plan(tuple(e for e in self.edits if all((getattr(e, name) or 0) < size for name, size in sizes)))

    def shifted(self, by: int) -> "Plan":
        """Every position and key moved by `by`; what falls before the first token is dropped, with its edit if nothing is left."""
        return Plan(tuple(moved for edit in self.edits if (moved := _shifted(edit, by)) is not None))

    def check(self, config: GPT2Config) -> "Plan":
        """This plan; raises ValueError if an edit does not fit a model of this shape."""
        for edit in self.edits:
            edit.check(config)
        return self

    def to_json(self) -> str:
        """A compact JSON list; fields at their default are left out."""
        defaults = {f.name: f.default for f in fields(Edit)}
        return json.dumps(
            [{k: v for k, v in asdict(e).items() if v != defaults[k]} for e in self.edits],
            separators=(",", ":"),
            ensure_ascii=False,
        )

    @staticmethod
    def from_json(text: str) -> "Plan":
        """The plan of `to_json`. Raises ValueError, in one sentence, for anything else."""
        try:
            items = json.loads(text or "[]")
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"The plan of edits is not JSON ({error}); expected a list of edits.") from None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError("The plan of edits must be a JSON list of objects.")
        return Plan(tuple(_edit_from(item) for item in items[: MAX_EDITS + 1]))


NO_EDITS = Plan()


def _edit_from(item: dict[str, Any]) -> Edit:
    switches = {"renormalise": bool, "lines": bool}
    kinds = {"op": str, "component": str, "text": str, "minus": str, "value": (int, float), **switches}
    unknown = item.keys() - {f.name for f in fields(Edit)}
    if unknown:
        raise ValueError(f"An edit has no field {sorted(unknown)[0]!r}.")
    missing = {"op", "component", "layer"} - item.keys()
    if missing:
        raise ValueError(f"An edit lacks {sorted(missing)[0]!r}: {json.dumps(item)[:80]}")
    for name, value in item.items():
        wrong = not isinstance(value, kinds.get(name, list if name == "positions" else int))
        may_be_null = name not in ("op", "component", "layer", *switches)
        if not (value is None and may_be_null) and (wrong or (isinstance(value, bool) and name not in switches)):
            raise ValueError(f"An edit's {name} cannot be {value!r}.")
    positions = item.get("positions")
    return Edit(**{**item, "positions": None if positions is None else tuple(positions)})


def _shifted(edit: Edit, by: int) -> Edit | None:
    if edit.positions is None:
        return edit
    positions = tuple(p + by for p in edit.positions if p + by >= 0)
    key = None if edit.key is None else edit.key + by
    return None if not positions or (key or 0) < 0 else replace(edit, positions=positions, key=key)
