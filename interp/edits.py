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
    Edit.of_feature("res-jb", "resid_pre", layer=8, feature=12, value=5.0)    hold a feature of an autoencoder (`interp.sae`)

A plan is frozen, goes to JSON and back, and is compiled for a model by `compile_plan`, which gives a hook for
`model(tokens, hook=...)`, `generate` and every analysis. Edits act in order. Positions are indices into the tokens of the
run, a leading `<|endoftext|>` counted; None is every position, tokens generated later included. One that a run does not reach
changes nothing in it.

Pitfalls: zero ablation takes a head away from everything it was trained with, so it exaggerates; mean ablation depends on
the text of the mean; neither shows what a head does when others take over for it (Wang et al. 2022, 2211.00593).
Sources: McGrath et al. 2023, 2307.15771 (self-repair); Turner et al. 2023, 2308.10248 (ActAdd); Arditi et al. 2024, 2406.11717
(projecting a direction out); Rimsky et al. 2023, 2312.06681 (the mean difference of two lists of texts).
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from gpt2_core.config import GPT2Config
from interp.edit import Edit
from interp.edit_rules import EDITABLE, OPERATIONS, READS, plain_text
from interp.given import each_a

__all__ = ["EDITABLE", "MAX_EDITS", "NO_EDITS", "OPERATIONS", "READS", "Edit", "Plan", "plain_text"]

MAX_EDITS = 64


@dataclass(frozen=True)
class Plan:
    """Edits in force, in order. `Plan()` changes nothing."""

    edits: tuple[Edit, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "edits", each_a(Edit, self.edits, "edits"))
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
    kinds = dict.fromkeys(("op", "component", "text", "minus", "autoencoder"), str) | {"value": (int, float), **switches}
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
