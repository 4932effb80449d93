"""Part of the anatomy tab: the selected layer's MLP at the selected position, step by step."""

import numpy as np

from app.components.panel import Exports, panel, panel_value
from app.components.stepper import line, rows, step, stepper, stepper_value, table
from app.page import Page
from app.service import anatomy_mlp as service
from app.service import identities
from app.service.neurons import AT as NEURONS_AT
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs.anatomy_steps import said_check
from app.tabs.badges import identity
from app.text import Words, words

STEP, NEURON = Setting("anatomy.mlp_step", 0, low=0, high=30), Setting("anatomy.neuron", -1, low=-1)
FEW = 24
HOOKS = {
    "read": "ln2.hook_out",
    "ask": "mlp.hook_pre",
    "gelu": "mlp.hook_post",
    "write": "hook_mlp_out",
    "add": "hook_resid_post",
}


def build(page: Page) -> None:
    head, steps = panel("gb_anatomy_mlp_head"), stepper("gb_anatomy_mlp")
    own = lambda s: tuple(x for x in s.settings if x[0] in (STEP.name, NEURON.name))  # noqa: E731
    page.shows("anatomy", [head, steps], _values, depends=lambda s: s.but(tab="anatomy", head=0, settings=own(s)))
    page.changes(steps.stepselect, lambda s, event: STEP.on(s, int(event.step)), event_data=True)
    page.changes(steps.rowselect, lambda s, event: choose(View(page.store, s), int(event.row)), event_data=True)
    page.hands_out(head, service.mlp_evidence)


def choose(view: View, neuron: int) -> PageState:
    """The state with a neuron chosen, here and on the Neurons tab."""
    return NEURONS_AT.on(NEURON.on(view.state, neuron), f"{view.layer}.{neuron}")


def _values(view: View) -> list:
    t, found = words(view.state.lang), service.neurons(view, view.layer)
    place = {"layer": view.layer, "token": view.shown[view.position], "position": view.position}
    exports = Exports("gb_anatomy_mlp", f"mlp-L{view.layer}", t.section("panel"))
    badges = identity(t, identities.steps(found.checks.items(), found.edited))
    what, help = t("anatomy_mlp.what", **place), t("anatomy_mlp.help")
    said = panel_value(what, help=help, help_label=t("page.help"), badges=badges, exports=exports)
    name = t("anatomy_mlp.name", **place)
    return [said, stepper_value(mlp_steps(view, t, found), STEP.of(view.state), name=name, text=t.section("stepper"))]


def mlp_steps(view: View, t: Words, found: service.Neurons) -> list[dict]:
    """Read, ask, GELU, write, add: each with its numbers and its check."""
    norm, cfg = np.linalg.norm, view.config
    chosen = NEURON.of(view.state)
    neuron = chosen if chosen in found.top else found.top[0]
    mine = service.written(view, found, neuron)
    named = {
        "layer": found.layer, "token": view.shown[view.position], "d_model": cfg.d_model, "d_mlp": cfg.d_mlp, "neuron": neuron,
        "pre": found.pre[neuron], "post": found.post[neuron], "on": int((found.post > 0).sum()), "length": float(norm(found.out)),
        "before": float(norm(found.stream)), "after": float(norm(found.after)),
    }  # fmt: skip
    say = lambda key: t(f"anatomy_mlp.{key}", **named)  # noqa: E731
    columns = [say(f"column_{name}") for name in ("neuron", "pre", "post", "writes")]
    top = max(float(found.writes.max()), 1e-30)
    listed = [
        (n, [f"N{n}", f"{found.pre[n]:.3f}", f"{found.post[n]:.3f}", f"{found.writes[n]:.3f}"], found.writes[n] / top)
        for n in found.top
    ]
    neurons = rows(columns, listed, selected=neuron)
    blocks = {
        "read": [table([(say("stream"), found.stream), (say("normalised"), found.read)], most=FEW)],
        "ask": [line(say("line_ask")), table([(say("before_gelu"), found.pre)], most=FEW)],
        "gelu": [line(say("line_gelu")), table([(say("before_gelu"), found.pre), (say("after_gelu"), found.post)], most=FEW)],
        "write": [neurons, table([(say("neuron_writes"), mine), (say("all_write"), found.out)], most=FEW)],
        "add": [
            table([(say("stream"), found.stream), (say("all_write"), found.out), (say("stream_after"), found.after)], most=FEW),
            line(say("line_add")),
        ],
    }
    return [
        step(
            say(f"title_{name}"),
            say(f"say_{name}"),
            blocks[name],
            said_check(t, found.checks[name], f"blocks.{found.layer}.{HOOKS[name]}", name in found.edited),
        )
        for name in service.STEPS
    ]
