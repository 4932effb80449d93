"""What can be chosen in the lens tab, as settings of the address."""

from typing import Any

from app.components.lens_table import COLORS
from app.service.lens import LENSES, usable
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.text import Words

KIND = Setting("lens.kind", LENSES[0], one_of=LENSES)
MID, TARGET = Setting("lens.mid", False), Setting("lens.target", "")
COLOR = Setting("lens.color", COLORS[0], one_of=COLORS)  # of the table: nothing is computed or sent again for it
FROM_LAYER = Setting("lens.from_layer", 2, low=0)
INTO = Setting("lens.into", "")  # "": a target prompt that suits the model
INTO_LAYER = Setting("lens.into_layer", 1, low=0)
NEW_TOKENS = Setting("lens.new_tokens", 8, low=1, high=50)


def asked(view: View) -> tuple[bool, str]:
    """Whether rows after attention are shown, and the lens."""
    kind, mid = usable(view, KIND.of(view.state), MID.of(view.state))
    return mid, kind


def seen(state: PageState, *settings: Setting, **same: Any) -> PageState:
    """What a picture depends on: the state with these settings alone, and with `same` as it is for every such state."""
    kept = {setting.name for setting in settings}
    return state.but(tab="lens", settings=tuple(s for s in state.settings if s[0] in kept), **same)


def row_labels(t: Words, labels: tuple[str, ...]) -> list[str]:
    """The rows of a lens in the page's language."""
    named = [t("lens.mid_row", label=label.split()[0]) if label.endswith(" mid") else label for label in labels]
    return [t("lens.embed"), *named[1:-1], t("lens.last_row", label=named[-1])]
