"""A choice inside a tab: which metric, which component, what text. It lives in the page's state, so that a copied address has it.

    METRIC = Setting("patching.metric", "logit_diff", one_of=("logit_diff", "probability", "kl"))
    METRIC.of(state)            # what was chosen, checked
    METRIC.on(state, "kl")      # the state with another choice

`app.page.Page.control` ties one to a component of the page.
"""

import math
from dataclasses import dataclass
from typing import Any

from app.state import PageState


@dataclass(frozen=True)
class Setting:
    """name: "tab.choice". default: its type (bool, int, float, str) is the setting's. one_of: the choices, None for any.

    low, high: bounds of a number.
    """

    name: str
    default: Any
    one_of: tuple | None = None
    low: float = -math.inf
    high: float = math.inf

    def of(self, state: PageState) -> Any:
        """What the state says. Raises ValueError for what cannot be chosen, as an address may ask for it."""
        text = dict(state.settings).get(self.name)
        return self.default if text is None else self._checked(self._read(text))

    def on(self, state: PageState, value: Any) -> PageState:
        """The state with another choice; the tab's own choice is not written down. Raises ValueError for what cannot be chosen."""
        if value is None:  # an emptied number box
            return state
        value = self._checked(self._read(_written(value)))
        others = tuple(s for s in state.settings if s[0] != self.name)
        chosen = () if value == self.default else ((self.name, _written(value)),)
        return state.but(settings=others + chosen)

    def _read(self, text: str) -> Any:
        kind = type(self.default)
        if kind is str:
            return text
        try:
            if kind is bool:
                return {"0": False, "1": True}[text]
            number = float(text)
            return int(number) if kind is int and number.is_integer() else kind(text)
        except (ValueError, KeyError):
            wanted = {bool: "0 or 1", int: "a whole number", float: "a number"}[kind]
            raise ValueError(f"{self.name} is {text[:40]!r}; expected {wanted}.") from None

    def _checked(self, value: Any) -> Any:
        if self.one_of is not None and value not in self.one_of:
            raise ValueError(f"{self.name} cannot be {str(value)[:40]!r}; choose one of {', '.join(map(str, self.one_of))}.")
        if isinstance(value, int | float) and not self.low <= value <= self.high:
            raise ValueError(f"{self.name} is {value}; expected {self.low:g} to {self.high:g}.")
        return value


def _written(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
