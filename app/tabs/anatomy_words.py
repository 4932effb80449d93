"""Part of the anatomy tab: how the prompt became tokens, merge by merge."""

from app.components.panel import Exports, panel, panel_value
from app.components.stepper import pieces, rows, step, stepper, stepper_value
from app.page import Page
from app.service import anatomy_words as service
from app.service.view import View
from app.setting import Setting
from app.tabs.badges import check_badge
from app.text import Words, words

STEP, WORD = Setting("anatomy.word_step", 0, low=0, high=30), Setting("anatomy.word", -1, low=-1)
MOST_WORDS = 60


def build(page: Page) -> None:
    head, steps = panel("gb_anatomy_words_head"), stepper("gb_anatomy_words")
    own = lambda s: tuple(x for x in s.settings if x[0] in (STEP.name, WORD.name))  # noqa: E731
    page.shows("anatomy", [head, steps], _values, depends=lambda s: (s.model, s.prompt, s.bos, s.position, s.lang, own(s)))
    page.changes(steps.stepselect, lambda s, event: STEP.on(s, int(event.step)), event_data=True)
    page.changes(steps.rowselect, lambda s, event: WORD.on(s, int(event.row)), event_data=True)
    page.hands_out(head, service.words_evidence)


def _values(view: View) -> list:
    t, (found, check) = words(view.state.lang), service.prompt_words(view)
    badges = [check_badge(t, check, t("anatomy_words.check"))]
    exports = Exports("gb_anatomy_words", "tokens", t.section("panel"))
    what = t("anatomy_words.what", words=len(found), tokens=sum(len(word.ids) for word in found))
    said = panel_value(what, help=t("anatomy_words.help"), help_label=t("page.help"), badges=badges, exports=exports)
    value = stepper_value(
        word_steps(view, t, found), STEP.of(view.state), name=t("anatomy_words.name"), text=t.section("stepper")
    )
    return [said, value]


def chosen_word(view: View, found: tuple[service.Word, ...]) -> int:
    """The word chosen, where the prompt has it, else the one at the selected position."""
    chosen, at = WORD.of(view.state), view.position - view.state.bos
    if 0 <= chosen < len(found):
        return chosen
    return max((n for n, word in enumerate(found) if word.first <= at), default=0)


def word_steps(view: View, t: Words, found: tuple[service.Word, ...]) -> list[dict]:
    """Words, bytes and merges, ids."""
    if not found:
        return [step(t("anatomy_words.title_cut"), t("anatomy_words.empty"), [])]
    n, visible = chosen_word(view, found), view.model.tokenizer
    word = found[n]
    text = visible.shown([i for i in word.ids])
    stages = [([_seen(visible, p) for p in stage], None, "") for stage in word.stages]
    for k, (i, number) in enumerate(word.merges):
        stages[k + 1] = (stages[k + 1][0], i, t("anatomy_words.merge", number=number))
    start = max(0, min(n - MOST_WORDS // 2, len(found) - MOST_WORDS))
    listed = list(enumerate(found))[start : start + MOST_WORDS]
    columns = [t(f"anatomy_words.column_{c}") for c in ("word", "bytes", "merges", "tokens")]
    cells = [
        (i, ["".join(visible.shown(w.ids)), f"{len(w.text.encode())}", f"{len(w.merges)}", f"{len(w.ids)}"], None)
        for i, w in listed
    ]
    note = t("anatomy_words.left_out", count=len(found) - len(listed)) if len(listed) < len(found) else ""
    named = {"word": "".join(text), "count": len(word.merges), "bytes": len(word.stages[0])}
    ids = rows(
        [t("anatomy_words.column_token"), t("anatomy_words.column_id"), t("anatomy_words.column_position")],
        [(n, [s, f"{i:,}", str(word.first + k + view.state.bos)], None) for k, (s, i) in enumerate(zip(text, word.ids))],
        selected=None,
    )
    return [
        step(t("anatomy_words.title_cut"), t("anatomy_words.say_cut"), [rows(columns, cells, selected=n, note=note)]),
        step(t("anatomy_words.title_merge"), t("anatomy_words.say_merge", **named), [pieces(stages)]),
        step(t("anatomy_words.title_ids"), t("anatomy_words.say_ids", vocabulary=visible.n_vocab, **named), [ids]),
    ]


def _seen(tokenizer, piece: bytes) -> str:
    """A piece as it is printed on the page; all pieces are tokens."""
    return tokenizer.shown([tokenizer.vocabulary.ranks[piece]])[0]
