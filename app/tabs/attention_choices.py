"""What can be chosen in the attention tab, as settings of the address, and which of them a picture depends on."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.components.head_view import MODES, SHOWN
from app.page import Page
from app.service import attention as service
from app.service.attention_paths import METHODS
from app.service.attention_shown import KINDS
from app.service.attention_surgery import ALL, CELL, COLUMN, LAST, ONE, SELECTED, cell
from app.service.view import View
from app.setting import Setting
from app.state import PageState

ORDERS = ("position", "role", *service.MEASURES)
FAINT = 0.1  # of the scale: where strong colours end
EVERY = -1  # layer: all; key: the one that is looked at most

SHOW = Setting("attention.show", KINDS[0], one_of=KINDS)
ORDER = Setting("attention.order", ORDERS[0], one_of=ORDERS)
TIMES = Setting("attention.times", 0, low=0, high=1000)
LAYER = Setting("attention.only", EVERY, low=EVERY)
HIDE = Setting("attention.hide_first", False)
STRONG = Setting("attention.strong", False)
ROLE = Setting("attention.role", service.ROLES[0], one_of=service.ROLES)
KEY = Setting("attention.key", EVERY, low=EVERY)
VALUE = Setting("attention.value", 0.0, low=0, high=1)
ROWS = Setting("attention.rows", CELL, one_of=(CELL, COLUMN))
HEADS = Setting("attention.heads", ONE, one_of=(ONE, ALL))
RENORMALISE = Setting("attention.renormalise", True)
READ_AT = Setting("attention.read_at", LAST, one_of=(LAST, SELECTED))
BY_HEAD = Setting("attention.by_head", False)
MODE = Setting("attention.mode", MODES[0], one_of=MODES)  # of the large head: nothing is computed or sent again for these two
COMPARE = Setting("attention.compare", SHOWN[0], one_of=SHOWN)
METHOD = Setting("attention.method", METHODS[0], one_of=METHODS)


def seen(state: PageState, *settings: Setting, **same: Any) -> PageState:
    """What a picture depends on: the state with these settings alone, and with `same` as it is for every such state."""
    names = {setting.name for setting in settings}
    return state.but(tab="attention", settings=tuple(s for s in state.settings if s[0] in names), **same)


def choice(page: Page, setting: Setting, component: Any, choices: Callable[[View], list], **same: Any) -> None:
    """Ties a drop-down or radio to a setting; choices(view) are its (label, value) pairs, in the page's language."""

    def render(view: View) -> list:
        offered, value = choices(view), setting.of(view.state)
        values = [v for _, v in offered]
        return [gr.update(choices=offered, value=value if value in values else values[0])]

    page.shows(
        "attention", [component], render, depends=lambda s: seen(s, setting, prompt="", position=None, **same), control=True
    )
    page.changes(component.input, setting.on, inputs=[component], own_control=True)


def chosen_cell(view: View) -> tuple[int, int]:
    """The (query, key) of the selected weight."""
    return cell(view, KEY.of(view.state))
