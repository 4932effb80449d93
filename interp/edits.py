"""Changes to a running model, as data: an `Edit` says what to do at one hook, a `Plan` is several of them.

    Plan((Edit.zero("z", layer=2, head=1),))            turn off head L2H1
    Edit.scale("mlp_out", layer=0, value=0.5)           halve what an MLP writes
    Edit.mean("z", layer=2, head=1, text=reference)     replace by its mean over another text (mean ablation)
    Edit.patch("resid_pre", layer=3, text=other)        take the activation from a run on another prompt
    Edit.add("resid_pre", layer=1, text=" angry", minus=" calm", value=4.0)   steer along a difference (ActAdd)
    Edit.set_cell(layer=2, head=1, query=9, key=4, value=1.0, renormalise=True)  one cell of an attention pattern

A plan is frozen, goes to JSON and back, and is compiled for a model by `compile_plan`, which gives a hook for
`model(tokens, hook=...)`, `generate` and every analysis. Edits act in order. Positions are indices into the tokens of the
run, a leading `<|endoftext|>` counted; None is every position, tokens generated later included.

Pitfalls: zero ablation takes a head away from everything it was trained with, so it exaggerates; mean ablation depends on
the text of the mean; neither shows what a head does when others take over for it (Wang et al. 2022, 2211.00593).
Sources: McGrath et al. 2023, 2307.15771 (self-repair); Turner et al. 2023, 2308.10248 (ActAdd).
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from gpt2_core.config import GPT2Config

MAX_EDITS = 64
MAX_TEXT = 4000

# What may be edited: the short name -> the hook inside a block, and the axis of the heads (None: no heads).
EDITABLE: dict[str, tuple[str, int | None]] = {
    "resid_pre": ("hook_resid_pre", None),
    "resid_mid": ("hook_resid_mid", None),
    "resid_post": ("hook_resid_post", None),
    "attn_out": ("hook_attn_out", None),
    "mlp_out": ("hook_mlp_out", None),
    "mlp_post": ("mlp.hook_post", None),
    "q": ("attn.hook_q", 2),
    "k": ("attn.hook_k", 2),
    "v": ("attn.hook_v", 2),
    "z": ("attn.hook_z", 2),
    "pattern": ("attn.hook_pattern", 1),
}
# What each operation reads, besides component, layer, head and positions.
READS: dict[str, tuple[str, ...]] = {
    "zero": (),
    "mean": ("text",),
    "scale": ("value",),
    "patch": ("text",),
    "add": ("value", "text", "minus"),
    "set": ("value", "key", "renormalise"),
}
OPERATIONS = tuple(READS)
LARGEST = 1_000_000  # no layer, head or position is counted beyond


def plain_text(text: str) -> str:
    """The text with pairs of surrogates joined and halves of pairs replaced: what can be written as UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(frozen=True)
class Edit:
    """One change at one hook. Made by the class methods `zero`, `mean`, `scale`, `patch`, `add`, `set_cell`.

    component: a key of EDITABLE. head: one head, or None for all. positions: token positions, or None for all.
    value: the factor of `scale`, the coefficient of `add`, the weight of `set`. text: the prompt that `patch`, `mean` and `add`
    read from; minus: the prompt whose activation `add` subtracts. key, renormalise: for `set`.
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

    def __post_init__(self) -> None:
        if self.op not in OPERATIONS:
            raise ValueError(f"No edit is called {self.op!r}; expected one of {', '.join(OPERATIONS)}.")
        if self.component not in EDITABLE:
            raise ValueError(f"{self.component!r} cannot be edited; expected one of {', '.join(EDITABLE)}.")
        for name in ("text", "minus"):
            self._set(name, None if getattr(self, name) is None else plain_text(getattr(self, name)))
        if self.positions is not None:
            self._set("positions", tuple(self.positions))
        self._check_numbers()
        if self.head is not None and self.head_axis is None:
            raise ValueError(f"{self.component} has no heads; leave the head out, or edit z.")
        self._check_operation()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_numbers(self) -> None:
        if self.layer is None:
            raise ValueError("An edit needs a layer, a whole number from 0.")
        for name in ("layer", "head", "key"):
            if not _index_or_none(getattr(self, name)):
                raise ValueError(f"An edit's {name} is a whole number from 0, got {getattr(self, name)!r}.")
        if self.positions is not None and (not self.positions or not all(map(_index, self.positions))):
            raise ValueError(f"positions must be whole numbers from 0, got {list(self.positions)}.")
        if not isinstance(self.renormalise, bool):
            raise ValueError(f"An edit's renormalise is true or false, got {self.renormalise!r}.")

    def _check_operation(self) -> None:
        reads = READS[self.op]
        for f in fields(self)[5:]:
            if f.name not in reads and getattr(self, f.name) != f.default:
                raise ValueError(f"{self.op} has no use for {f.name}; it reads {', '.join(reads) or 'nothing more'}.")
        if "value" in reads and not _finite(self.value):
            raise ValueError(f"{self.op} needs a finite number as its value, got {self.value!r}.")
        if "text" in reads and not self.text:
            raise ValueError(f"{self.op} needs a text to take the activation from; give one.")
        for name in ("text", "minus"):
            if len(getattr(self, name) or "") > MAX_TEXT:
                raise ValueError(f"An edit's {name} may have {MAX_TEXT} characters, got {len(getattr(self, name))}.")
        if "text" in reads and self.component == "pattern":
            raise ValueError(f"{self.op} is not defined for attention patterns, whose size is the prompt's; use set or zero.")
        if self.op == "set":
            if self.component != "pattern" or None in (self.head, self.key, self.positions):
                raise ValueError("set changes one attention cell: it needs component 'pattern', a head, a position and a key.")
            if not 0 <= self.value <= 1 or any(self.key > p for p in self.positions):
                raise ValueError(f"An attention weight lies in 0..1 and its key not after its query; got {self.describe()}.")

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
    ) -> "Edit":
        """`value` times a direction is added: the activation at the last token of `text`, less that of `minus`."""
        return cls("add", component, layer, head, positions, value=float(value), text=text, minus=minus)

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
        """L2H1 for a head, "resid_pre L3" for the rest."""
        return f"{self.component} L{self.layer}" if self.head is None else f"L{self.layer}H{self.head}"

    def describe(self) -> str:
        """The edit in a few words, for terminals and logs."""
        what = {"zero": "zeroed", "mean": "mean of a text", "patch": "patched from a text"}.get(self.op)
        if what is None:
            sign = {"scale": "x ", "add": "+ ", "set": "= "}[self.op]
            what = f"{sign}{self.value:g}" + (f" {self.text!r}" if self.text else "")
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
        return Plan(tuple(e for e in self.edits if e.layer < config.n_layers and (e.head or 0) < config.n_heads))

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
    kinds = {"op": str, "component": str, "text": str, "minus": str, "renormalise": bool, "value": (int, float)}
    unknown = item.keys() - {f.name for f in fields(Edit)}
    if unknown:
        raise ValueError(f"An edit has no field {sorted(unknown)[0]!r}.")
    missing = {"op", "component", "layer"} - item.keys()
    if missing:
        raise ValueError(f"An edit lacks {sorted(missing)[0]!r}: {json.dumps(item)[:80]}")
    for name, value in item.items():
        wrong = not isinstance(value, kinds.get(name, list if name == "positions" else int))
        may_be_null = name not in ("op", "component", "layer", "renormalise")
        if not (value is None and may_be_null) and (wrong or (isinstance(value, bool) and name != "renormalise")):
            raise ValueError(f"An edit's {name} cannot be {value!r}.")
    positions = item.get("positions")
    return Edit(**{**item, "positions": None if positions is None else tuple(positions)})


def _shifted(edit: Edit, by: int) -> Edit | None:
    if edit.positions is None:
        return edit
    positions = tuple(p + by for p in edit.positions if p + by >= 0)
    key = None if edit.key is None else edit.key + by
    return None if not positions or (key or 0) < 0 else replace(edit, positions=positions, key=key)


def _finite(value: int | float | None) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _index_or_none(value: Any) -> bool:
    return value is None or _index(value)
