"""The zero-shot tab's form: what is chosen lies in the state, the boxes show it, and the tab in a browser."""

import json
import re

import pytest
from browsers import tip

from app.service import zero_shot_choice as choice
from app.service.view import View
from app.state import PageState
from app.tabs import zero_shot as tab
from app.tabs import zero_shot_form as forms
from app.tabs.zero_shot_answers import paper_value, part_labels
from app.text import EN, KO, words, zero_shot
from gpt2_core.tasks import TASKS

NAME = "glass-7m"
T = words("en")


def view_of(store, *settings, model=NAME) -> View:
    return View(store, PageState(model=model, prompt="x", tab="zero_shot", settings=settings))


def typed(view, mark=None, **values):
    """The view after a person wrote into the boxes."""
    now = choice.chosen(view)
    return View(view.store, choice.typed(view, {**now.values, **values}, now.mark if mark is None else mark))


def test_the_form_opens_on_an_example_that_suits_the_model(store):
    now = choice.chosen(view_of(store))
    assert (now.mark, now.models, now.own) == ("finish stranger", (NAME,), {})
    now = choice.chosen(view_of(store, model="gpt2"))
    assert (now.mark, now.models) == ("summarise ferry", ("gpt2",))


def test_what_was_typed_stays_and_an_untouched_example_follows_the_model(store):
    view = View(store, choice.choose_task(view_of(store), "answer"))
    assert choice.chosen(view).mark == "answer parlour"
    assert choice.chosen(View(store, view.state.but(model="gpt2"))).mark == "answer science"
    mine = typed(view, question="Who sang?")
    for other in (mine, View(store, mine.state.but(model="gpt2"))):
        now = choice.chosen(other)
        assert (now.mark, now.own, now.values["question"]) == ("answer parlour", {"question": "Who sang?"}, "Who sang?")
        assert now.values["pairs"] == choice.example_named(TASKS["answer"], "parlour").values["pairs"]
    assert (
        choice.chosen(typed(mine, question=f" {choice.example_named(TASKS['answer'], 'parlour').values['question']}\n")).own
        == {}
    )
    moon = choice.choose_example(mine, "moon", "answer parlour")
    assert choice.chosen(View(store, moon)).values["question"] == "who was the first man to walk on the moon"
    assert choice.chosen(View(store, choice.choose_task(mine, "read"))).own == {}


def test_an_emptied_box_is_a_choice_too(store):
    empty = typed(view_of(store), passage="")
    assert choice.chosen(empty).own == {"passage": ""} and choice.chosen(empty).values["passage"] == ""


def test_what_boxes_of_another_example_say_is_not_taken_for_the_readers_text(store):
    """As when events overtake each other at opening, or when a task is chosen while a box is being left."""
    view = view_of(store)
    boxes = [[NAME], None, "Once upon a", "", ""]
    for mark in ("", "answer parlour"):
        assert tab._typed(view, *boxes, mark) == view.state
        assert choice.choose_example(view, "miller", mark) == view.state
    assert choice.chosen(View(store, tab._typed(view, *boxes, "finish stranger"))).own == {"passage": "Once upon a"}


def test_the_list_names_the_example_unless_the_text_is_the_readers(store):
    view = view_of(store)
    for lang in ("en", "ko"):
        before, after = (forms.example_update(words(lang), choice.chosen(v), "books") for v in (view, typed(view, passage="a")))
        assert before["value"] == "stranger" and after["value"] == choice.OWN_TEXT
        assert [value for _, value in after["choices"]] == [*(value for _, value in before["choices"]), choice.OWN_TEXT]
    for again in ("stranger", choice.OWN_TEXT):  # what already stands there
        assert choice.choose_example(view, again, "finish stranger") == view.state


def test_the_pages_model_stays_the_pages_among_those_asked(store):
    state = choice.choose_models(view_of(store).state, [NAME, "glass-2m"])
    assert dict(state.settings)["zero_shot.models"] == "page,glass-2m"
    assert choice.chosen(View(store, state.but(model="glass-3m"))).models == ("glass-3m", "glass-2m")
    assert choice.chosen(View(store, state.but(model="glass-2m"))).models == ("glass-2m",)
    assert choice.chosen(View(store, choice.choose_models(state, []))).models == ()
    assert choice.choose_models(state, [NAME]).settings == ()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (("zero_shot.task", "sing"), "no task 'sing'"),
        (("zero_shot.example", "nobody"), "The task finish has no example 'nobody'; choose one of"),
        (("zero_shot.own", "{"), "expected JSON with a text for some of the fields passage"),
        (("zero_shot.own", '{"question": "x"}'), "fields passage"),
        (("zero_shot.own", '{"passage": 3}'), "fields passage"),
        (("zero_shot.own", "[" * 9000), "expected JSON"),
    ],
)
def test_an_address_that_cannot_be_is_one_sentence(store, setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        choice.chosen(view_of(store, setting))


def test_an_address_with_a_text_of_the_readers_opens_answered_and_typing_does_not_wait(store):
    view = view_of(store, ("zero_shot.own", json.dumps({"passage": "The dog went to the old"})))
    prompt, waiting = tab._shown(view, choice.chosen(view).mark)
    assert prompt["parts"] and waiting["columns"] is None and waiting["note"] == T("zero_shot.stale")
    (column,) = tab._shown(view, "")[1]["columns"]
    assert column["state"] == "done" and not tab._shown(view, "")[1]["note"]
    assert tab._shown(view, choice.chosen(view).mark)[1]["columns"] == [column]  # kept


def test_every_task_fits_into_the_pool_and_has_its_sentences(store):
    for task in TASKS.values():
        assert len(forms.text_fields(task)) <= forms.POOL and len(task.fields) - len(forms.text_fields(task)) <= 1
        now = choice.chosen(view_of(store, ("zero_shot.task", task.name)))
        for lang in ("en", "ko"):
            t = words(lang)
            forms.example_choices(t, now, "books")
            paper_value(t, task)
            assert all(t(f"zero_shot.field_{field.name}") for field in task.fields)
            assert all(t(f"zero_shot.option_{option}") for field in task.fields for option in field.options)
            part_labels(t, task.assemble(now.values))
        boxes = forms.box_updates(T, now)
        assert forms.values_of(task, forms.option_update(T, now).get("value"), [box["value"] for box in boxes]) == now.values
    assert zero_shot.EN.keys() == zero_shot.KO.keys() <= EN.keys() == KO.keys()


def test_the_papers_numbers_stand_beside_the_task():
    value = paper_value(T, TASKS["read"])
    assert "1542M (1558M): CoQA, development set 55 F1." in value["what"] and "human 89" in value["help"]


# ---- in the browser ---------------------------------------------------------------------------------------------------------------


def painted(page, name):
    page.wait_for_selector(f"#gb_zero_shot_{name} [data-painted]")
    return page.locator(f"#gb_zero_shot_{name}")


def opened(page, url):
    page.goto(f"{url}/?tab=zero_shot&lang=en")
    painted(page, "answers")
    return page


def choose(page, dropdown, label):
    page.click(f"#gb_zero_shot_{dropdown} input")
    page.get_by_role("option", name=label, exact=False).first.click()


def prompt_in_view(page):
    return page.eval_on_selector_all("#gb_zero_shot_parts .gb-pp-text", "nodes => nodes.map(n => n.textContent).join('')")


@pytest.mark.browser
def test_opens_answered_choose_type_stream_and_open_in_the_workbench(browser_page, page_url):
    page = opened(browser_page, page_url)
    example = choice.example_named(TASKS["finish"], "stranger")
    assert prompt_in_view(page) == example.values["passage"]
    column = page.locator("#gb_zero_shot_answers .gb-mc-column")
    assert column.locator(".gb-mc-main .gb-mc-text").inner_text() == example.answer
    assert "generated by glass-7m" in column.inner_text()
    assert "The stranger" in page.input_value("#gb_zero_shot_example input")
    choose(page, "task", "Answer a question")
    page.wait_for_function("document.querySelectorAll('#gb_zero_shot_parts .gb-pp-part').length === 5")
    pairs = choice.example_named(TASKS["answer"], "parlour").values["pairs"]
    assert prompt_in_view(page) == f"{pairs}\nQ: Who sat at the window?\nA:"
    box = page.locator("#gb_zero_shot_field_1 textarea")
    box.press("ControlOrMeta+a")
    box.press_sequentially("Who sat by the river?")
    page.wait_for_function("document.querySelector('#gb_zero_shot_parts').textContent.includes('by the river?')")
    page.wait_for_selector("#gb_zero_shot_answers .gb-mc-old")
    box.press("ControlOrMeta+a")
    box.press("Backspace")
    page.wait_for_selector("#gb_zero_shot_parts .gb-pp-problem:not([hidden])")
    box.fill("Who sat by the river?")  # as if pasted with the mouse
    page.wait_for_selector("#gb_zero_shot_parts .gb-pp-problem", state="hidden")
    page.evaluate(
        "window.seen = []; new MutationObserver(() => window.seen.push("
        "document.querySelector('#gb_zero_shot_answers .gb-mc-block:nth-of-type(2) .gb-mc-text')?.textContent || ''))"
        ".observe(document.querySelector('#gb_zero_shot_answers'), {subtree: true, childList: true})"
    )
    page.click("#gb_zero_shot_go")
    page.wait_for_selector("#gb_zero_shot_answers .gb-mc:not(.gb-mc-old) [data-state='done']")
    assert len({text for text in page.evaluate("window.seen")}) >= 2  # it grew in view, as fast as the machine draws
    page.click("#gb_zero_shot_open")
    page.wait_for_function("document.querySelector('#gb_prompt textarea').value.endsWith('Who sat by the river?\\nA:')")
    assert page.locator("#gb_tab_playground").is_visible()


@pytest.mark.browser
def test_candidates_have_bars_and_a_breakdown(browser_page, page_url):
    page = opened(browser_page, page_url)
    choose(page, "task", "Resolve a pronoun")
    rows = page.locator("#gb_zero_shot_answers .gb-mc-row")
    page.wait_for_function("document.querySelectorAll('#gb_zero_shot_answers .gb-mc-row').length === 4")
    page.wait_for_selector("#gb_zero_shot_option")
    assert page.locator("#gb_zero_shot_answers .gb-mc-picked").count() == 2
    numbers = [float(x.replace("−", "-")) for x in re.findall(r"-\d+\.\d+", tip(page, rows.first))]
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=0.01) and len(numbers) == 8
