"""Which parts of a tab an answer carries, and when it asks for the rest."""

import gradio as gr

from app.drawing import Drawing
from app.state import PageState
from app.wiring import Section

TAB = "attention"


def drawing(store, *parts, fails=()):
    """A tab of these parts, from top to bottom, below a header: "chart…", "control…", or a picture."""
    made = {"header": gr.State(), **{name: gr.Plot() if name.startswith("chart") else gr.HTML() for name in parts}}

    def section(name, component):
        def render(view):
            if name in fails:
                raise ValueError(f"No {name}.")
            return [name]

        control, tab = name.startswith("control"), None if name == "header" else TAB
        return Section(tab, (component,), render, depends=lambda s: s.prompt, control=control)

    sections = [section(*part) for part in made.items()]
    return Drawing(store, sections, *(gr.State() for _ in range(4))), {component: name for name, component in made.items()}


def answers(desk, names, tab, state, drawn, own_control=False):
    """What each answer draws until nothing more is asked for."""
    told, out = [], {desk.refresher: "asks"}
    while desk.refresher in out:
        out = desk.respond(lambda s: s, state, drawn, {}, own_control, tab)
        drawn, tab, own_control = out[desk.drawn], state.tab, False  # the refresher asks for the open tab
        told.append([names[component] for component in out if component in names])
        assert len(told) < 5
    return told


def test_what_is_above_the_first_chart_is_drawn_first_and_the_rest_in_one_answer(store):
    desk, names = drawing(store, "grid", "chart a", "table", "chart b", "control")
    state = PageState(tab=TAB, prompt="one two")
    assert answers(desk, names, TAB, state, {}) == [["header", "grid", "control"], ["chart a", "table", "chart b"]]
    assert answers(desk, names, None, state, {}) == [["header"], ["grid", "control"], ["chart a", "table", "chart b"]]


def test_where_charts_are_all_there_is_or_come_first_nothing_waits(store):
    state = PageState(tab=TAB, prompt="one two")
    for parts in (["chart a", "chart b"], ["chart a", "grid", "chart b"], ["control", "chart a"], ["grid", "table"]):
        desk, names = drawing(store, *parts)
        assert answers(desk, names, TAB, state, {}) == [["header", *parts]]


def test_an_unchanged_picture_does_not_hold_up_a_chart(store):
    desk, names = drawing(store, "grid", "chart a")
    state = PageState(tab=TAB, prompt="one two")
    drawn = {1: desk.respond(lambda s: s, state, {}, {}, False, TAB)[desk.drawn][1]}
    assert answers(desk, names, TAB, state, drawn) == [["header", "chart a"]]


def test_a_control_below_a_chart_is_not_written_over_by_the_second_answer(store):
    desk, names = drawing(store, "grid", "chart a", "control")
    state = PageState(tab=TAB, prompt="one two")
    assert answers(desk, names, TAB, state, {}, own_control=True) == [["header", "grid"], ["chart a"]]


def test_a_chart_that_cannot_be_drawn_is_said_once_and_not_asked_for_again(store):
    desk, names = drawing(store, "grid", "chart a", "chart b", fails=["chart a"])
    state = PageState(tab=TAB, prompt="one two")
    assert answers(desk, names, TAB, state, {}) == [["header", "grid"], ["chart b"]]
