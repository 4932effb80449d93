"""Part of the anatomy tab: one head's arithmetic at the selected position, step by step with its real numbers."""

import numpy as np

from app.components.panel import Exports, panel, panel_value
from app.components.stepper import line, rows, step, stepper, stepper_value, table
from app.page import Page
from app.service import anatomy_head as service
from app.service import identities
from app.service.view import View
from app.setting import Setting
from app.state import PageState
from app.tabs.badges import identity
from app.text import Words, words
from interp.run import Check

STEP, KEY = Setting("anatomy.step", 0, low=0, high=30), Setting("anatomy.key", -1, low=-1)
MOST_KEYS = 40  # rows of a list of positions
LATER = 3  # of the positions that the mask hides
FEW = 24  # entries shown of a vector as wide as the stream
HOOKS = {
    "read": "ln1.hook_out", "query": "attn.hook_q", "key": "attn.hook_k", "product": "attn.hook_attn_scores",
    "scale": "attn.hook_attn_scores", "mask": "attn.hook_attn_scores", "softmax": "attn.hook_pattern", "value": "attn.hook_v",
    "sum": "attn.hook_z", "write": "attn.hook_result", "add": "hook_resid_mid",
}  # fmt: skip


def build(page: Page) -> None:
    """The head of the panel and its steps."""
    head, steps = panel("gb_anatomy_steps_head"), stepper("gb_anatomy_steps")
    page.shows("anatomy", [head, steps], _values, depends=lambda s: s.but(tab="anatomy", settings=_own(s)))
    page.changes(steps.stepselect, lambda s, event: STEP.on(s, int(event.step)), event_data=True)
    page.changes(steps.rowselect, lambda s, event: KEY.on(s, int(event.row)), event_data=True)
    page.hands_out(head, lambda view: service.head_evidence(view, view.layer, view.head))


def _own(state: PageState) -> tuple[tuple[str, str], ...]:
    return tuple(s for s in state.settings if s[0] in (STEP.name, KEY.name))


def _values(view: View) -> list:
    t, found = words(view.state.lang), service.arithmetic(view, view.layer, view.head)
    place = {"head": f"L{view.layer}H{view.head}", "token": view.shown[view.position], "position": view.position}
    exports = Exports("gb_anatomy_steps", f"head-L{view.layer}H{view.head}", t.section("panel"))
    badges = identity(t, identities.steps(found.checks.items(), found.edited))
    what, help = t("anatomy_steps.what", **place), t("anatomy_steps.help")
    said = panel_value(what, help=help, help_label=t("page.help"), badges=badges, exports=exports)
    value = stepper_value(
        head_steps(view, t, found), STEP.of(view.state), name=t("anatomy_steps.name", **place), text=t.section("stepper")
    )
    return [said, value]


def chosen_key(view: View, found: service.Arithmetic) -> int:
    """The position that the query is compared with: the one chosen, where it is seen, else the one looked at most."""
    chosen = KEY.of(view.state)
    return chosen if 0 <= chosen <= found.query_at else int(np.argmax(found.pattern))


def listed_keys(found: service.Arithmetic, chosen: int) -> list[int]:
    """The positions that lists show: all, or the first, the last, the chosen and those with the largest weights."""
    seen = found.query_at + 1
    if seen <= MOST_KEYS:
        return list(range(seen))
    largest = np.argsort(-found.pattern[:seen], kind="stable")[: MOST_KEYS - 3].tolist()
    return sorted({0, found.query_at, chosen, *largest})


def head_steps(view: View, t: Words, found: service.Arithmetic) -> list[dict]:
    """Every step with its numbers and its check."""
    key = chosen_key(view, found)
    told = _Told(view, t, found, key, listed_keys(found, key))
    made = {name: getattr(told, f"_{name}")() for name in service.STEPS}
    return [
        step(t(f"anatomy_steps.title_{name}"), t(f"anatomy_steps.say_{name}", **told.named), blocks, _check(t, found, name))
        for name, blocks in made.items()
    ]


def _check(t: Words, found: service.Arithmetic, name: str) -> dict:
    check, hook = found.checks[name], f"blocks.{found.layer}.{HOOKS[name]}"
    return said_check(t, check, hook, name in found.edited)


def said_check(t: Words, check: Check, hook: str, edited: bool) -> dict:
    """A step's badge: computed anew, it equals the model's own value at the hook, unless an edit in force changes it there."""
    title = t("anatomy_steps.check", hook=hook, residual=check.residual, tolerance=check.tolerance)
    if check.holds:
        return {"text": t("anatomy_steps.equals"), "title": title, "ok": True}
    return {"text": t("anatomy_steps.edited" if edited else "page.check_failed"), "title": title, "ok": edited}


class _Told:
    """The blocks of each step."""

    def __init__(self, view: View, t: Words, found: service.Arithmetic, key: int, listed: list[int]):
        self.t, self.f, self.key, self.listed, self.shown = t, found, key, listed, view.shown
        cfg, norm = view.config, np.linalg.norm
        self.named = {
            "head": f"L{found.layer}H{found.head}", "token": view.shown[found.query_at], "position": found.query_at,
            "other": view.shown[key], "key": key, "d_model": cfg.d_model, "d_head": cfg.d_head, "scale": found.scale,
            "seen": found.query_at + 1, "hidden": len(found.pattern) - found.query_at - 1, "weight": float(found.pattern[key]),
            "before": float(norm(found.stream)), "after": float(norm(found.mid)), "own": float(norm(found.result)),
            "others": float(norm(found.others)),
        }  # fmt: skip

    def _say(self, key: str, **values: object) -> str:
        return self.t(f"anatomy_steps.{key}", **self.named, **values)

    def _rows(self, columns: list[str], cells, bar=None, extra: list | None = None) -> dict:
        """One row a position: its name, then cells(key)."""
        named = [self._say("column_token"), *(self._say(f"column_{c}") for c in columns)]
        made = [(k, [f"{k:>4} {self.shown[k]}", *cells(k)], None if bar is None else bar(k)) for k in self.listed]
        left = self.f.query_at + 1 - len(self.listed)
        note = ""
        if left:
            rest = 1 - float(self.f.pattern[self.listed].sum())
            note = self._say("left_out", count=left, rest=rest)
        return rows(named, [*made, *(extra or [])], selected=self.key, off=[e[0] for e in extra or []], note=note)

    def _read(self) -> list[dict]:
        return [table([(self._say("stream"), self.f.stream), (self._say("normalised"), self.f.read)], most=FEW)]

    def _query(self) -> list[dict]:
        return [line(self._say("line_query")), table([("q", self.f.query)])]

    def _key_of(self) -> str:
        return self._say("key_of")

    def _key(self) -> list[dict]:
        sizes = np.linalg.norm(self.f.keys, axis=-1)
        return [
            table([("q", self.f.query), (self._key_of(), self.f.keys[self.key])]),
            self._rows(["length"], lambda k: [f"{sizes[k]:.3f}"]),
        ]

    def _product(self) -> list[dict]:
        q, k = self.f.query, self.f.keys[self.key]
        total = line(self._say("line_product", dot=float(self.f.dots[self.key])))
        return [table([("q", q), (self._key_of(), k), ("q × k", q * k)], sums=True), total]

    def _scale(self) -> list[dict]:
        dot, score = float(self.f.dots[self.key]), float(self.f.scores[self.key])
        cells = lambda k: [f"{self.f.dots[k]:.3f}", f"{self.f.scores[k]:.3f}"]  # noqa: E731
        return [line(self._say("line_scale", dot=dot, score=score)), self._rows(["dot", "score"], cells)]

    def _mask(self) -> list[dict]:
        later = range(self.f.query_at + 1, min(len(self.shown), self.f.query_at + 1 + LATER))
        extra = [(k, [f"{k:>4} {self.shown[k]}", "−∞"], None) for k in later]
        return [line(self._say("line_mask")), self._rows(["score"], lambda k: [f"{self.f.scores[k]:.3f}"], extra=extra)]

    def _softmax(self) -> list[dict]:
        raised = np.exp(self.f.scores - self.f.scores.max())
        cells = lambda k: [f"{self.f.scores[k]:.3f}", f"{raised[k]:.4f}", f"{self.f.pattern[k]:.4f}"]  # noqa: E731
        total = line(self._say("line_softmax", raised=float(raised[self.key]), total=float(raised.sum())))
        return [total, self._rows(["score", "raised", "weight"], cells, lambda k: self.f.pattern[k])]

    def _value(self) -> list[dict]:
        v, w, sizes = self.f.values[self.key], self.f.pattern, np.linalg.norm(self.f.values, axis=-1)
        top = max(float((w * sizes).max()), 1e-30)
        cells = lambda k: [f"{w[k]:.4f}", f"{sizes[k]:.3f}", f"{w[k] * sizes[k]:.3f}"]  # noqa: E731
        both = table([(self._say("value_of"), v), (self._say("weighted"), w[self.key] * v)])
        return [both, self._rows(["weight", "length", "contribution"], cells, lambda k: w[k] * sizes[k] / top)]

    def _sum(self) -> list[dict]:
        mine = self.f.pattern[self.key] * self.f.values[self.key]
        told = [(self._say("weighted"), mine), (self._say("all_others"), self.f.z - mine), ("z", self.f.z)]
        return [table(told), line(self._say("line_sum", length=float(np.linalg.norm(self.f.z))))]

    def _write(self) -> list[dict]:
        return [line(self._say("line_write")), table([(self._say("written"), self.f.result)], most=FEW)]

    def _add(self) -> list[dict]:
        told = [("stream", self.f.stream), ("written", self.f.result), ("others_add", self.f.others), ("after", self.f.mid)]
        return [table([(self._say(name), x) for name, x in told], most=FEW), line(self._say("line_add"))]
