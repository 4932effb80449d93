"""Changes that a plan of edits cannot say: functions at hooks, which may follow a plan and keep their positions.

A `Plan` is data and goes into addresses and files; a steering vector, a patched state or an edited feature is a tensor. Such a
change is a function (activation, query positions) -> activation at one hook name. `change_hook` makes a hook of several, to be
given to `model(tokens, hook=...)`, `generate` and `stream`; positions are those of the run, with a KV cache or padding too.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2
from interp.edits import EDITABLE, NO_EDITS, Plan
from interp.intervene import PlanHook, compile_plan
from interp.run import check_place

Change = Callable[[Tensor, Tensor], Tensor]  # (activation [batch query ...], query positions [batch|1 query]) -> activation


class ChangeHook:
    """The edits of a plan, then these changes in order; nothing else of the model is called."""

    def __init__(self, changes: Sequence[tuple[str, Change]], plan: PlanHook | None = None, queries: Tensor | None = None):
        self._changes, self._plan, self._queries = list(changes), plan, queries

    def wants(self, name: str) -> bool:
        return any(name == at for at, _ in self._changes) or (self._plan is not None and self._plan.wants(name))

    def positioned(self, queries: Int[Tensor, "batch query"], keys: Int[Tensor, "batch key"]) -> "ChangeHook":
        return ChangeHook(self._changes, self._plan and self._plan.positioned(queries, keys), queries)

    def __call__(self, name: str, x: Tensor) -> Tensor:
        if self._plan is not None and self._plan.wants(name):
            x = self._plan(name, x)
        for at, change in self._changes:
            if at == name:
                x = change(x, self._queries)
        return x


def change_hook(model: GPT2, changes: Sequence[tuple[str, Change]], plan: Plan = NO_EDITS, bos: bool = True) -> ChangeHook:
    """The hook of changes (hook name, function), after the edits of a plan compiled for this model."""
    return ChangeHook(changes, compile_plan(model, plan, bos))


def chosen(queries: Int[Tensor, "batch query"], positions: tuple[int, ...] | None) -> Bool[Tensor, "batch query"]:
    """Where a run stands at one of these positions; None is everywhere."""
    if positions is None:
        return torch.ones_like(queries, dtype=torch.bool)
    return torch.isin(queries, torch.tensor(positions, device=queries.device, dtype=queries.dtype))


def site(config: GPT2Config, component: str, layer: int) -> str:
    """The hook name of a component of d_model numbers per position. Raises ValueError for any other, or a layer that is not there."""
    wide = [name for name, (hook, _) in EDITABLE.items() if hook.startswith("hook_")]
    if component not in wide:
        raise ValueError(f"{component!r} is no vector of the residual stream; expected one of {', '.join(wide)}.")
    check_place(config, layer)
    return f"blocks.{layer}.{EDITABLE[component][0]}"
