"""Tab: anatomy. The network drawn at its true size, and the selected token's way through it."""

import gradio as gr
import numpy as np

from app.components.anatomy_card import anatomy_card, anatomy_card_value
from app.components.anatomy_map import anatomy_map, anatomy_map_value
from app.components.panel import Badge, Exports, panel, panel_value
from app.page import Page
from app.service import anatomy as service
from app.service import anatomy_head, anatomy_script
from app.service.view import View
from app.setting import Setting
from app.state import TABS, PageState
from app.tabs import anatomy_mlp, anatomy_steps, anatomy_words
from app.text import Words, words
from interp.edits import NO_EDITS

POINT = Setting("anatomy.point", "result", one_of=service.POINTS)
STREAM = ("resid_pre", "resid_mid", "resid_post")
ADDED = {"attn_out": "resid_mid", "mlp_out": "resid_post"}  # a part -> the stream that it makes
# Which tabs look closer at a point, where the page has them.
CLOSER = {
    "embed": ("playground", "lens"), "pos_embed": ("lens",), "ln1": ("lens",), "ln2": ("lens",), "ln_final": ("lens", "probabilities"),
    "logits": ("probabilities", "attribution"), "pre": ("neurons",), "post": ("neurons",), "mlp_out": ("neurons", "patching"),
    "attn_out": ("attention", "heads", "patching"), **dict.fromkeys(service.PER_HEAD, ("attention", "heads", "patching")),
    **dict.fromkeys(STREAM, ("lens", "patching", "steering")),
}  # fmt: skip


def build(page: Page) -> None:
    """The drawing with its card, then the steps."""
    head = panel("gb_anatomy_head")
    with gr.Row():
        with gr.Column(scale=3, min_width=340):
            drawn = anatomy_map("gb_anatomy_map")
        with gr.Column(scale=2, min_width=320):
            card = anatomy_card("gb_anatomy_card")
            anatomy_words.build(page)
    only = lambda s: s.settings_of("anatomy").but(tab="anatomy", settings=(("anatomy.point", POINT.of(s)),))  # noqa: E731
    page.shows("anatomy", [head], _head, depends=lambda s: s.but(tab="anatomy", settings=(), layer=0, head=0))
    page.shows("anatomy", [drawn], _map, depends=only)
    page.shows("anatomy", [card], _card, depends=only)
    page.changes(drawn.pointselect, _choose, event_data=True)
    page.changes(card.opentab, _open, event_data=True)
    page.hands_out(head, anatomy_script.way_evidence)
    anatomy_steps.build(page)
    anatomy_mlp.build(page)


def _choose(state: PageState, event) -> PageState:
    head = {} if event.head is None else {"head": int(event.head)}
    return POINT.on(state, str(event.point)).but(layer=int(event.layer), **head)


def _open(state: PageState, event) -> PageState:
    return state.but(tab=str(event.tab))


def _head(view: View) -> list:
    t, way = words(view.state.lang), service.way(view)
    said = [t("anatomy.what", token=view.shown[view.position], position=view.position)]
    if way.added:
        said.append(t("anatomy.edits_added", count=len(way.added)))
    if view.state.plan:
        said.append(t("anatomy.edits_before"))
    badges = []
    for check in way.checks:
        title = t("page.check_title", name=t(f"anatomy.check_{check.name}"), residual=check.residual, tolerance=check.tolerance)
        said_of = f"anatomy.{check.name}_hold" if check.holds else "page.check_failed"
        badges.append(Badge(t(said_of), title, ok=check.holds))
    exports = Exports("gb_anatomy_map", "anatomy", t.section("panel"))
    return [panel_value(" ".join(said), help=t("anatomy.help"), help_label=t("page.help"), badges=badges, exports=exports)]


def _map(view: View) -> list:
    cfg, way, t = view.config, service.way(view), words(view.state.lang)
    size = {"layers": cfg.n_layers, "heads": cfg.n_heads}
    size |= {name: getattr(cfg, name) for name in ("d_model", "d_head", "d_mlp", "d_vocab", "n_ctx")}
    nearest = view.next_tokens
    return [
        anatomy_map_value(
            size,
            service.parameter_counts(cfg),
            resid=way.resid,
            before=service.way(view, NO_EDITS).resid if view.state.plan else None,
            embed=[float(np.linalg.norm(way.vectors[name])) for name in ("hook_embed", "hook_pos_embed")],
            attn=way.attn,
            mlp=way.mlp,
            heads=way.heads,
            bins=way.bins,
            final=float(np.linalg.norm(way.vectors["ln_final.hook_out"])),
            top=list(zip(nearest.shown, nearest.p))[:5],
            token=view.shown[view.position],
            position=view.position,
            count=len(view.run),
            off=view.off,
            edited={edit.hook_name for edit in view.state.plan},
            selected=(POINT.of(view.state), view.layer, view.head),
            text=t.section("anatomy_map"),
        )
    ]


def _card(view: View) -> list:
    t, point, cfg = words(view.state.lang), POINT.of(view.state), view.config
    named = {"layer": view.layer, "head": view.head, "token": view.shown[view.position], "position": view.position}
    sizes = {"n_ctx": cfg.n_ctx, "d_head": cfg.d_head}
    there = anatomy_head.vector(view, point, view.layer, view.head)
    links = [(tab, t(f"page.tab_{tab}")) for tab in CLOSER[point] if tab in TABS]
    return [
        anatomy_card_value(
            t(f"anatomy.point_{point}", **named),
            service.hook_name(point, view.layer),
            t(f"anatomy.formula_{point}", **named, **sizes),
            _facts(view, t, point, there),
            there,
            links,
            text=t.section("anatomy_card"),
        )
    ]


def _facts(view: View, t: Words, point: str, there: np.ndarray) -> list[tuple[str, str]]:
    cfg, way, layer = view.config, service.way(view), view.layer
    facts = [
        (t("anatomy.fact_tensor"), service.shape_of(cfg, point, len(view.run))),
        (t("anatomy.fact_here"), t("anatomy.fact_vector", count=len(there))),
    ]
    if point in service.OVER_KEYS:
        key = int(np.argmax(there))
        most = t("anatomy.fact_most_on", token=view.shown[key], key=key, value=float(there[key]))
        facts.append((t("anatomy.fact_most"), most))
    else:
        facts.append((t("anatomy.fact_norm"), f"{np.linalg.norm(there):.4g}"))
    if view.state.plan and point not in service.OVER_KEYS:
        without = np.linalg.norm(anatomy_head.vector(view, point, layer, view.head, NO_EDITS))
        facts.append((t("anatomy.fact_before"), f"{without:.4g}"))
    facts += _added_facts(way, t, point, layer, view.head)
    if point in ("ln1", "ln2"):
        facts.append((t("anatomy.fact_scale"), f"{way.vectors[f'blocks.{layer}.{point}.hook_scale'].item():.4g}"))
    if point == "post":
        facts.append((t("anatomy.fact_active"), t("anatomy.fact_active_of", count=int((there > 0).sum()), total=len(there))))
    weights = _weights(t, point, cfg)
    return facts + ([(t("anatomy.fact_parameters"), weights)] if weights else [])


def _added_facts(way: service.Way, t: Words, point: str, layer: int, head: int) -> list[tuple[str, str]]:
    """Of a part that is added to the stream: from which length to which, and in which direction; of a head, its share."""
    if point == "result":
        share = way.heads[layer, head] / max(way.heads[layer].sum(), 1e-30)
        return [(t("anatomy.fact_share"), t("anatomy.fact_share_of", share=share))]
    if point not in ADDED:
        return []
    table, at = (way.attn, 2 * layer) if point == "attn_out" else (way.mlp, 2 * layer + 1)
    return [
        (t("anatomy.fact_stream"), t("anatomy.fact_from_to", before=way.resid[at], after=way.resid[at + 1])),
        (t("anatomy.fact_along"), t("anatomy.fact_cosine", cosine=table[layer, 1])),
    ]


def _weights(t: Words, point: str, cfg) -> str:
    sizes = {name: getattr(cfg, name) for name in ("d_model", "d_head", "d_mlp", "d_vocab", "n_ctx")}
    name = {"ln1": "ln", "ln2": "ln", "ln_final": "ln", "embed": "embed" if cfg.tied else "embed_untied"}.get(point, point)
    known = ("embed", "embed_untied", "pos_embed", "ln", "q", "k", "v", "result", "attn_out", "pre", "mlp_out", "logits")
    return t(f"anatomy.params_{name}", **sizes, **service.parameter_counts(cfg)) if name in known else ""
