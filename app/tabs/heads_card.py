"""Part of the heads tab: the selected head's card. Roles, pattern, what is lost without it, who takes over, whom it works with."""

import gradio as gr

from app.components.head_view import MODES, SHOWN, head_view, head_view_value
from app.components.number_table import Column, number_table, number_table_value
from app.components.panel import Badge, Exports, panel, panel_value
from app.page import Page
from app.service import attention, heads, heads_card_evidence, heads_evidence, identities, staged
from app.service import heads_card as service
from app.service.heads_prompt import METHOD, rivals
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs.badges import check_badge, identity
from app.tabs.behind import behind
from app.text import Words, words
from interp.edits import NO_EDITS
from interp.run import Check

NOTEWORTHY = 0.05  # logits
OTHERS = 6  # heads in the list of those that take over
MODE = Setting("heads.mode", MODES[0], one_of=MODES)  # of the large head
COMPARE = Setting("heads.compare", SHOWN[0], one_of=SHOWN)


def build(page: Page, measured: gr.State) -> None:
    """The card's components and what they show. measured: changes when scores of all heads have arrived."""
    _identity(page, measured)
    done = behind(page, "heads", service.card_stages, lambda s: s.settings_of("heads").but(tab="heads"), "gb_heads_card_long")
    _tabled(page, "damage", _damage, heads_card_evidence.damage_evidence, done)
    for name, render, evidence in (
        ("over", _over, heads_card_evidence.compensation_evidence),
        ("circle", _circle, heads_card_evidence.circle_evidence),
    ):
        table = _tabled(page, name, render, evidence, done)
        page.changes(
            table.rowselect, lambda s, event, name=name: _go(View(page.store, s), name, int(event.row)), event_data=True
        )


def _identity(page: Page, measured: gr.State) -> None:
    """Who it is: roles, switches, pattern."""
    head = panel("gb_heads_card_head")
    with gr.Row():
        off = gr.Button("", size="sm", variant="primary", elem_id="gb_heads_off", min_width=140)
        there = gr.Button(page.label("heads.open"), size="sm", elem_id="gb_heads_open", min_width=140)
    roles, pattern = number_table("gb_heads_roles"), head_view("gb_heads_pattern")
    page.shows("heads", [head, off, roles], _card, inputs=[measured])
    page.shows("heads", [pattern], lambda view: [_pattern(view)], depends=lambda s: s.settings_of(None))
    page.changes(pattern.lookselect, lambda s, e: COMPARE.on(MODE.on(s, str(e.mode)), str(e.show)), event_data=True)
    page.hands_out(head, heads_evidence.roles_evidence)
    page.changes(off.click, lambda s: _switched(View(page.store, s)))
    page.changes(there.click, lambda s: s.but(tab="attention"))


def _tabled(page: Page, name: str, render, evidence, done: gr.State) -> gr.HTML:
    """A panel with one table, and its menu."""
    head, table = panel(f"gb_heads_{name}_head"), number_table(f"gb_heads_{name}")
    page.shows("heads", [head, table], render, inputs=[done])
    page.hands_out(head, evidence)
    return table


def described(t: Words, name: str, said: str, elem: str, badges: list[Badge] = ()) -> dict:
    """A panel's head with its explanation and menu."""
    exports = Exports(elem, f"head-{name}", t.section("panel"))
    return panel_value(said, help=t(f"heads.{name}_help"), help_label=t("page.help"), badges=list(badges), exports=exports)


def checked(t: Words, name: str, check: Check) -> Badge:
    """The badge of an identity that was checked."""
    return check_badge(t, check, t(f"heads.check_{name}"))


def listed(t: Words, label: str, columns: list[Column], rows: list, **options) -> dict:
    """A table with a name."""
    return number_table_value(columns, rows, text={**t.section("number_table"), "label": label}, **options)


def place(view: View) -> str:
    """The selected head's name."""
    return f"L{view.layer}H{view.head}"


def _card(view: View, measured: int) -> list:
    t, at, plan = words(view.state.lang), (view.layer, view.head), view.state.plan
    found, before = heads.all_roles(view, plan), heads.all_roles(view, NO_EDITS) if plan else ()
    given = [role for role in found if role.given[at]]
    names = ", ".join(t(f"heads.role_{role.name}") for role in given)
    said = [t("heads.card_roles", place=place(view), roles=names) if given else t("heads.card_none", place=place(view))]
    said = said if len(found) == len(heads.ROLES) else [t("heads.card_waiting", place=place(view))]
    factor = attention.factor_in_force(plan, *at)
    if factor is not None:
        said.append(t("attention.head_factor", factor=factor) if factor else t("attention.head_factor_0"))
    badges = [Badge(t(f"heads.role_{role.name}"), t("heads.badge_title", threshold=role.threshold)) for role in given]
    own_off = attention.own_factor(plan, *at) == 0
    earlier = {role.name: role.score.mean[at].item() for role in before}
    columns = [
        Column(t("heads.column_role"), "text"),
        Column(t("heads.column_score"), bound=1.0),
        Column(t("heads.column_range"), "text", t("heads.column_range_title")),
        Column(t("heads.column_null"), "text", t("heads.column_null_title")),
        Column(t("heads.column_threshold"), digits=1, title=t("heads.column_threshold_title")),
        Column(t("heads.column_given"), "text"),
    ]
    columns += [Column(t("heads.column_unedited"))] * bool(plan)
    rows = [
        [
            t(f"heads.role_{role.name}"),
            role.score.mean[at].item(),
            _range(role.score, at),
            _range(role.null, at),
            role.threshold,
            t("heads.yes" if role.given[at] else "heads.no"),
            *([earlier.get(role.name)] if plan else []),
        ]
        for role in found
    ]
    return [
        described(t, "card", " ".join(said), "gb_heads_roles", [*badges, *identity(t, identities.rows(view))]),
        t("attention.on" if own_off else "attention.off", place=place(view)),
        listed(
            t, t("heads.roles_label", place=place(view)), columns, rows, marked=[i for i, r in enumerate(found) if r.given[at]]
        ),
    ]


def _range(spread, at: tuple[int, int]) -> str:
    low, high = spread.low[at].item(), spread.high[at].item()
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} – {high:.2f}"


def _pattern(view: View) -> dict:
    layer, head = view.layer, view.head
    before = None if view.before is None else attention.head_pattern(view, view.before, layer, head)
    return head_view_value(
        attention.head_pattern(view, view.run, layer, head).clip(0, 1),
        None if before is None else before.clip(0, 1),
        tokens=view.shown,
        layer=layer,
        head=head,
        text=words(view.state.lang).section("head_view"),
        position=view.position,
        mode=MODE.of(view.state),
        show=SHOWN[0] if before is None else COMPARE.of(view.state),
        edited_cells=attention.cells_set(view.state.plan, layer, head, len(view.run)),
    )


def _switched(view: View) -> PageState:
    return view.state.but(plan=attention.with_factor(view.state.plan, view.layer, view.head, 0.0))


def _damage(view: View, done: int) -> list:
    t = words(view.state.lang)
    found = staged.value(view, service.damage(view, view.run))
    before = None if view.before is None else staged.value(view, service.damage(view, view.before))
    share = service.direct(view, view.run)
    names = {"place": place(view), "token": view.show([rivals(view).first])[0], "at": view.shown[view.position]}
    count = view.config.n_layers * view.config.n_heads
    said = [t("heads.damage_what", **names)]
    said.append(
        t("heads.direct_what", value=share.value, always=share.always, total=share.total, rank=share.rank, count=count, **names)
    )
    if view.before is not None:
        said.append(t("heads.direct_before", value=service.direct(view, view.before).value))
    said += [t("heads.computing")] * (found is None)
    columns = [
        Column(t("heads.column_way"), "text"),
        Column(t("heads.column_logit")),
        Column(t("heads.column_change"), bound=_largest(found)),
        Column(t("heads.column_p"), digits=4),
        Column("KL", title=t("heads.column_kl_title"), digits=4),
        Column(t("heads.column_then"), "token"),
    ]
    columns += [Column(t("heads.column_change_unedited"))] * (view.before is not None)
    rows = [] if found is None else _damage_rows(view, t, found, before)
    head = described(t, "damage", " ".join(said), "gb_heads_damage", [checked(t, "direct", share.check)])
    return [head, listed(t, t("heads.damage_label", place=place(view)), columns, rows)]


def _largest(found: service.Damage | None) -> float:
    return 0.0 if found is None else max(abs(way.logit - found.logit) for way in found.ways)


def _damage_rows(view: View, t: Words, found: service.Damage, before: service.Damage | None) -> list[list]:
    first = [t("heads.way_none"), found.logit, None, found.p, None, view.show([found.first])[0]]
    rows = [first + [None] * (view.before is not None)]
    for i, way in enumerate(found.ways):
        name = t(f"heads.method_{way.method}")
        if way.low is not None:
            name += " " + t("heads.way_range", low=way.low - found.logit, high=way.high - found.logit)
        row = [name, way.logit, way.logit - found.logit, way.p, way.kl, view.show([way.token])[0]]
        rows.append(
            row + ([None if before is None else before.ways[i].logit - before.logit] if view.before is not None else [])
        )
    return rows


def _over(view: View, done: int) -> list:
    t, two = words(view.state.lang), rivals(view)
    found = staged.value(view, service.taken_over(view))
    first, second = view.show([two.first, two.second])
    names = {"place": place(view), "first": first, "second": second, "way": t(f"heads.method_{METHOD.of(view.state)}")}
    columns = [
        Column(t("heads.column_head"), "text"),
        Column(t("heads.column_with"), digits=3),
        Column(t("heads.column_without"), digits=3),
        Column(
            t("heads.column_growth"),
            digits=3,
            bound=max((abs(g.change) for g in found.grown(OTHERS)), default=0.0) if found else 0.0,
        ),
    ]
    if found is None:
        head = described(t, "over", t("heads.computing"), "gb_heads_over")
        return [head, listed(t, t("heads.over_label", place=place(view)), columns, [])]
    lost, drop = found.lost.mean().item(), found.drop.mean().item()
    said = [t("heads.over_what", lost=lost, drop=drop, **names)]
    if lost >= NOTEWORTHY and 0 <= found.repaired <= 1:  # a share of next to nothing, or of more than all, says nothing
        said.append(t("heads.over_repaired", share=found.repaired))
    rows = [[g.part.label, g.before, g.after, g.change] for g in found.grown(OTHERS)]
    badges = [checked(t, "sum", max((found.before.check, found.after.check), key=lambda c: c.residual))]
    table = listed(t, t("heads.over_label", place=place(view)), columns, rows, chooses=True)
    return [described(t, "over", " ".join(said), "gb_heads_over", badges), table]


def _circle(view: View, done: int) -> list:
    t = words(view.state.lang)
    found = staged.value(view, service.circle(view))
    columns = [
        Column(t("heads.column_head"), "text"),
        Column(t("heads.column_how"), "text"),
        Column(t("heads.column_composition"), digits=3),
        Column(t("heads.column_above"), title=t("heads.column_above_title"), digits=1),
    ]
    badges = [Badge(t("heads.folded"), t("heads.folded_title"))]
    if found is None:
        head = described(t, "circle", t("heads.computing"), "gb_heads_circle", badges)
        return [head, listed(t, t("heads.circle_label", place=place(view)), columns, [])]
    rows = [
        [f"L{n.layer}H{n.head}", t(f"heads.{side}_{n.mode}"), n.score, n.above]
        for side in ("earlier", "later")
        for n in getattr(found, side)
    ]
    said = t(
        "heads.circle_what" if rows else "heads.circle_none",
        place=place(view),
        chance=found.baseline,
        above=service.ABOVE_CHANCE,
    )
    table = listed(t, t("heads.circle_label", place=place(view)), columns, rows, chooses=True)
    return [described(t, "circle", said, "gb_heads_circle", badges), table]


def _go(view: View, name: str, row: int) -> PageState:
    """The head of a row of a table, selected."""
    if name == "over":
        found = staged.value(view, service.taken_over(view))
        heads_listed = [] if found is None else [(g.part.layer, g.part.index[0]) for g in found.grown(OTHERS)]
    else:
        found = staged.value(view, service.circle(view))
        heads_listed = [] if found is None else [(n.layer, n.head) for n in (*found.earlier, *found.later)]
    if row >= len(heads_listed):
        return view.state
    layer, head = heads_listed[row]
    return view.state.but(layer=layer, head=head)
