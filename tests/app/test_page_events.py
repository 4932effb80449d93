"""The page's events without a browser: what a person is told, and what stays as it was."""

import inspect
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.helpers import special_args
from gradio.state_holder import StateHolder

from app.page import Notice, Page
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs.edit_form import _add, read_positions
from app.tabs.header import switch_bos
from app.tabs.playground_knobs import read_knobs
from app.text import words
from app.ui import build, first_state, launch_options
from interp.edits import Edit, Plan


@pytest.fixture
def page(store):
    with gr.Blocks():
        page = Page(store)
        page.add_message()
    return page


def guarded(page, fn, outputs):
    """What a guarded function gives, by component, without what it leaves as it is."""
    shown = [*outputs, page.message]
    run = page.guarded(fn, outputs, shown)

    def told(values):
        return {c: v for c, v in zip(shown, values, strict=True) if v != gr.skip()}

    if inspect.isgeneratorfunction(run):
        return lambda *values: [told(step) for step in run(*values)]
    return lambda *values: told(run(*values))


def changed(event, *values):
    """The values that an event of the page sends, without those that stay as they are."""
    return [value for value in event.fn(*values) if value != gr.skip()]


def refuse(state, *values):
    raise ValueError("That cannot be.")


def test_a_refusal_is_the_pages_message_and_nothing_else(page):
    out = gr.State(0)
    told = guarded(page, refuse, [out])(PageState(lang="ko"), 1)
    assert list(told) == [page.message]
    value = told[page.message]
    assert (value["text"], value["kind"], value["close"]) == ("That cannot be.", "error", "이 메시지 닫기")
    assert guarded(page, refuse, [out])(PageState(), 1)[page.message]["id"] != value["id"]  # so that it appears again


def test_other_errors_are_not_hidden(page):
    with pytest.raises(ZeroDivisionError):
        guarded(page, lambda state: 1 / 0, [gr.State(0)])(PageState())


def test_nothing_is_run_before_the_page_has_opened(page):
    assert guarded(page, refuse, [gr.State(0)])(None, 1) == {}
    assert guarded(page, lambda state: (yield 1), [gr.State(0)])(None) == []


def test_values_go_to_their_outputs_however_they_are_returned(page):
    a, b = gr.State(0), gr.State(0)
    state = PageState()
    assert guarded(page, lambda s, x: (x, 2), [a, b])(state, 1) == {a: 1, b: 2}
    assert guarded(page, lambda s: {"a": "picture"}, [a])(state) == {a: {"a": "picture"}}
    assert guarded(page, lambda s: (1, 2), [a])(state) == {a: (1, 2)}
    assert guarded(page, lambda s: {b: 3}, [a, b])(state) == {b: 3}


def test_a_generator_stays_one_and_its_refusal_comes_after_what_it_gave(page):
    out = gr.State(0)

    def count(state):
        yield 1
        raise ValueError("No further.")

    assert inspect.isgeneratorfunction(page.guarded(count, [out], [out, page.message]))
    first, second = guarded(page, count, [out])(PageState())
    assert first == {out: 1} and second[page.message]["text"] == "No further."


def test_gradio_still_sees_what_to_pass(page):
    def save(state: PageState, event: gr.EventData) -> dict:
        return {}

    data = gr.EventData(None, {"kind": "json"})
    inputs, _, event_index, _ = special_args(page.guarded(save, [], []), inputs=["state"], event_data=data)
    assert event_index == 1 and inputs[0] == "state" and inputs[1].kind == "json"


def handlers(store, name):
    """(function, inputs, outputs) of the page's events whose function has this name."""
    demo = build(store)
    return demo, [f for f in demo.fns.values() if f.name == name and f.api_visibility == "private"]


def test_exporting_a_prompt_beyond_the_context_says_a_sentence(store):
    demo, (event,) = handlers(store, "save")
    n_ctx = store.model(store.settings.model).config.n_ctx
    state = PageState(prompt=" the" * (n_ctx + 5))
    data = gr.EventData(None, {"kind": "json"})
    (value,) = changed(event, state, data)
    assert value["kind"] == "error" and str(n_ctx) in value["text"]


@pytest.mark.parametrize("name", ["save", "offer", "pick", "_put_away", "_begin", "_resume", "score"])
def test_events_do_nothing_before_the_page_has_opened(store, name):
    demo, events = handlers(store, name)
    assert events
    for event in events:
        assert changed(event, None, *[None] * (len(inspect.signature(event.fn).parameters) - 1)) == []
        assert any(c.elem_id == "gb_message" for c in event.outputs)
        assert event.inputs[0].value is None and isinstance(event.inputs[0], gr.State)


def test_an_offer_of_an_unknown_model_says_a_sentence(store):
    demo, (event,) = handlers(store, "offer")
    (value,) = changed(event, PageState(), "no/such")
    assert "No model is called" in value["text"]


# ---- the switch for <|endoftext|> ---------------------------------------------------------------------------------------------


def test_edits_stay_at_their_tokens_when_the_first_token_comes_or_goes():
    edits = (Edit.zero("z", 2, 1, (3, 5)), Edit.set_cell(0, 1, 4, 2, 0.5), Edit.zero("z", 0, 1))
    state = PageState(prompt="a", plan=Plan(edits), position=3)
    off = switch_bos(state, False)
    assert [(e.positions, e.key) for e in off.plan] == [((2, 4), None), ((3,), 1), (None, None)]
    assert (off.bos, off.position) == (False, None)
    assert switch_bos(off, True).plan == state.plan
    assert switch_bos(state, True) is state


@pytest.mark.parametrize("lang, sentence", [("en", "1 edits were at"), ("ko", "편집 1개")])
def test_an_edit_of_the_first_token_goes_with_it_and_that_is_said(lang, sentence):
    kept = Edit.zero("z", 2, 1, (0, 2))
    state = PageState(prompt="a", plan=Plan((Edit.zero("z", 1, 1, (0,)), kept)), lang=lang)
    with pytest.raises(Notice, match=sentence) as said:
        switch_bos(state, False)
    assert [e.positions for e in said.value.state.plan] == [(1,)] and not said.value.state.bos


# ---- addresses ----------------------------------------------------------------------------------------------------------------


def request(query, accept="en"):
    return SimpleNamespace(query_params=query, headers={"accept-language": accept})


@pytest.mark.parametrize("query", [{"position": "x"}, {"plan": "{"}, {"model": "/etc"}, {"tab": "cellar"}])
def test_a_wrong_address_keeps_its_language(store, query):
    state, said = first_state(store, request({**query, "lang": "ko"}))
    assert state.lang == "ko" and state.prompt and said
    assert first_state(store, request({**query, "lang": "fr"}, "ko-KR,en"))[0].lang == "ko"


def test_the_memory_of_visits_that_are_over_has_an_end(store):
    """Gradio keeps a copy of the page's configuration for each of the latest visits, and forgets those before them."""
    holder = StateHolder()
    demo = build(store)
    demo.state_session_capacity = launch_options(store)["state_session_capacity"]
    holder.set_blocks(demo)
    assert holder.capacity <= 300
    holder.capacity = 2
    for visit in ("first", "second", "third"):
        assert holder[visit] is not None
    assert "first" not in holder and "third" in holder


# ---- nothing is cut off in silence ----------------------------------------------------------------------------------------------


def test_too_many_positions_are_refused():
    t = words("en")
    assert read_positions(",".join(map(str, range(64))), t) == tuple(range(64))
    with pytest.raises(ValueError, match="at most 64 positions, got 65"):
        read_positions(",".join(map(str, range(65))), t)


def test_an_empty_layer_is_refused():
    fields = ["zero", "z", None, "1", None, "", 1.0, 0, "", "", False, True]
    with pytest.raises(ValueError, match="needs a layer"):
        _add(PageState(), *fields)
    fields[2] = 3
    assert _add(PageState(), *fields).plan.edits[0].layer == 3


def test_too_many_stop_strings_are_refused():
    def knobs(n):
        return read_knobs(words("en"), 9, 1, 0, 1, 1, "7", 0, 1, "\n".join(f"stop {i}" for i in range(n)))

    assert len(knobs(16).stop) == 16
    with pytest.raises(ValueError, match="16 stop strings, got 17"):
        knobs(17)


# ---- downloads ----------------------------------------------------------------------------------------------------------------


def test_the_buttons_of_a_download_say_whose_it_is(monkeypatch):
    own, asked = ModelStore(Settings(device="cpu")), []
    monkeypatch.setattr(own, "download", lambda name, progress, owner: asked.append(("download", name, owner)))
    monkeypatch.setattr(own, "cancel_download", lambda name, owner: asked.append(("cancel", name, owner)))
    visitor = gr.Request(session_hash="a visitor")
    for name, inputs in [("download", [PageState(), "gpt2"]), ("cancel", ["gpt2"])]:
        demo, (event,) = handlers(own, name)
        assert not event.cancels and len(event.inputs) == len(inputs)
        event.fn(*special_args(event.fn, inputs=inputs, request=visitor)[0])
    assert asked == [("download", "gpt2", "a visitor"), ("cancel", "gpt2", "a visitor")]
