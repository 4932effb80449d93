"""The panel of edits: chips of those in force, and a form to add one."""

import gradio as gr

from app.components.edit_chips import EditChip, edit_chips, edit_chips_value
from app.components.panel import panel, panel_value
from app.page import Page
from app.service.view import View
from app.state import PageState
from app.text import Words, words
from interp.edits import EDITABLE, READS, Edit, Plan
from interp.edits import OPERATIONS as EVERY

OPERATIONS = tuple(op for op in EVERY if op != "feature")  # a feature is chosen in the Neurons tab, where one sees what it is
MAX_POSITIONS = 64  # of one edit


def chip(t: Words, edit: Edit) -> EditChip:
    """An edit in force as its chip."""
    part = "" if edit.head is None or edit.component == "z" else f" {edit.component}"
    positions = _range(edit.positions or ())
    said = {"place": edit.place + part, "value": edit.value or 0, "query": positions, "key": edit.key}
    kind = "chip_held" if edit.op == "clamp" and edit.neuron is not None else f"chip_{edit.op}"
    if edit.op == "feature":
        said |= {"place": f"{edit.component} L{edit.layer}", "feature": edit.feature, "autoencoder": edit.autoencoder}
    label = t(f"edits.{kind}", text=_quoted(t, edit), **said)
    if edit.positions is not None and edit.op != "set":
        label += t("edits.at", positions=positions)
    return EditChip(label, edit.describe())


def _quoted(t: Words, edit: Edit) -> str:
    """The texts of an edit, short: “angry”, or “angry” − “calm”."""

    def short(text: str) -> str:
        line = " | ".join(text.strip().split("\n"))
        return line if len(line) <= 24 else line[:23] + "…"

    if not edit.minus:
        return t("edits.one_text", text=short(edit.text or ""))
    return t("edits.two_texts", text=short(edit.text), minus=short(edit.minus))


def _range(positions: tuple[int, ...]) -> str:
    """3, 5; and 5–494 for a run of more than three."""
    run = len(positions) > 3 and positions == tuple(range(positions[0], positions[-1] + 1))
    return f"{positions[0]}–{positions[-1]}" if run else ", ".join(map(str, positions))


def build(page: Page) -> None:
    """The chips and, folded away, the form."""
    chips = edit_chips("gb_edits")
    page.shows(None, [chips], lambda view: [_chips(view)], depends=lambda state: (state.plan, state.lang))
    page.changes(chips.editremove, lambda s, event: s.but(plan=s.plan.remove(int(event.index))), event_data=True)
    page.changes(chips.editclear, lambda s: s.but(plan=Plan()))
    with gr.Accordion(page.label("edits.add"), open=False, elem_id="gb_edit_form"):
        _form(page)


def _chips(view: View) -> dict:
    t = words(view.state.lang)
    return edit_chips_value([chip(t, edit) for edit in view.state.plan], text=t.section("edit_chips"))


def _form(page: Page) -> None:
    head = panel("gb_edit_head")
    with gr.Row():
        op = gr.Dropdown([(o, o) for o in OPERATIONS], value="zero", label=page.label("edits.op"), elem_id="gb_edit_op")
        component = gr.Dropdown(
            [(c, c) for c in EDITABLE], value="z", label=page.label("edits.component"), elem_id="gb_edit_component"
        )
    with gr.Row():
        layer = gr.Number(0, precision=0, minimum=0, label=page.label("edits.layer"), min_width=90, elem_id="gb_edit_layer")
        # A text box, because an empty gr.Number turns into 0 when the form is opened, and 0 is a head.
        where = gr.Textbox("", label=page.label("edits.head"), min_width=90, elem_id="gb_edit_head_number")
        neuron = gr.Textbox("", label=page.label("edits.neuron"), min_width=90, visible=False, elem_id="gb_edit_neuron")
        positions = gr.Textbox("", label=page.label("edits.positions"), min_width=120, elem_id="gb_edit_positions")
        value = gr.Number(1.0, label=page.label("edits.value"), min_width=90, visible=False)
        key = gr.Number(0, precision=0, minimum=0, label=page.label("edits.key"), min_width=90, visible=False)
    with gr.Row():
        text = gr.Textbox("", label=page.label("edits.text"), max_lines=8, visible=False)
        minus = gr.Textbox("", label=page.label("edits.minus"), max_lines=8, visible=False)
        lines = gr.Checkbox(False, label=page.label("edits.lines"), visible=False)
        renormalise = gr.Checkbox(True, label=page.label("edits.renormalise"), visible=False)
    add = gr.Button(page.label("edits.add_button"), size="sm", variant="primary", elem_id="gb_edit_add")
    fields = {"value": value, "key": key, "text": text, "minus": minus, "lines": lines, "renormalise": renormalise}

    page.shows(None, [head, op, component], _labels, depends=lambda state: state.lang)
    op.input(
        lambda chosen: (
            [gr.update(visible=name in READS[chosen]) for name in fields]
            + [gr.update(value="pattern") if chosen == "set" else gr.skip()]
        ),
        op,
        [*fields.values(), component],
        show_progress="hidden",
        api_visibility="private",
    )
    component.change(
        lambda chosen: gr.update(visible=chosen == "mlp_post"),
        component,
        neuron,
        show_progress="hidden",
        api_visibility="private",
    )
    page.changes(add.click, _add, inputs=[op, component, layer, where, neuron, positions, *fields.values()])


def _labels(view: View) -> list:
    t = words(view.state.lang)
    return [
        panel_value(t("edits.what"), help=t("edits.help"), help_label=t("page.help")),
        gr.update(choices=[(t(f"edits.op_{o}"), o) for o in OPERATIONS]),
        gr.update(choices=[(t(f"edits.component_{c}"), c) for c in EDITABLE]),
    ]


def _add(
    state: PageState, op, component, layer, head, neuron, positions, value, key, text, minus, lines, renormalise
) -> PageState:
    if layer is None:
        raise ValueError(words(state.lang)("edits.no_layer"))
    given = {
        "value": value,
        "key": key,
        "text": text or None,
        "minus": minus or None,
        "lines": lines,
        "renormalise": renormalise,
    }
    used = {name: given[name] for name in READS[op]}
    if used.get("value") is not None:
        used["value"] = float(used["value"])
    if used.get("key") is not None:
        used["key"] = int(used["key"])
    edit = Edit(
        op=op,
        component=component,
        layer=int(layer),
        head=read_head(head, words(state.lang)),
        neuron=read_head(neuron, words(state.lang)) if component == "mlp_post" else None,
        positions=read_positions(positions, words(state.lang)),
        **used,
    )
    return state.but(plan=state.plan.add(edit))


def read_head(text: str, t: Words) -> int | None:
    """ "3" -> 3; empty -> None, all heads. Raises ValueError in the reader's language for anything else."""
    text = text.strip()
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ValueError(t("edits.bad_head", came=text[:40]))
    return int(text) if text else None


def read_positions(text: str, t: Words) -> tuple[int, ...] | None:
    """ "3, 5" -> (3, 5); empty -> None. Raises ValueError in the reader's language for anything else."""
    parts = [part.strip() for part in text.replace("，", ",").split(",") if part.strip()]
    if any(not part.isascii() or not part.isdigit() for part in parts):
        raise ValueError(t("edits.bad_positions", came=text[:40]))
    if len(parts) > MAX_POSITIONS:
        raise ValueError(t("edits.many_positions", came=len(parts), most=MAX_POSITIONS))
    return tuple(map(int, parts)) or None
