"""A link carries every choice of the page: which there are, their way into an address and back, and what is too long for one."""

import importlib
import json
import pkgutil
from urllib.parse import parse_qsl, urlencode

import gradio as gr
import pytest

import app.service
import app.tabs
from app import ui
from app.drawing import Drawing
from app.page import Page
from app.setting import Setting
from app.settings import Settings
from app.state import MAX_ADDRESS, MAX_PROMPT, MAX_SETTINGS, TABS, PageState
from app.store import ModelStore
from app.tabs.header import not_in_the_link
from app.text import words
from app.wiring import HEADER, Section
from interp.edits import Edit, Plan

INPUTS = (gr.Textbox, gr.Number, gr.Slider, gr.Dropdown, gr.Radio, gr.Checkbox, gr.CheckboxGroup, gr.File, gr.UploadButton)
# The form that adds an edit is closed when the page opens; what it makes is the plan, which is in the address.
DRAFT = "edits."


def every_setting() -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for package in (app.tabs, app.service):
        for module in pkgutil.iter_modules(package.__path__):
            names = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
            for setting in (value for value in names.values() if isinstance(value, Setting)):
                assert found.setdefault(setting.name, setting) is setting, f"{setting.name} is there twice"
    return found


SETTINGS = every_setting()


def another(setting: Setting):
    """A choice that is not the tab's own."""
    if setting.one_of is not None:
        return next(value for value in setting.one_of if value != setting.default)
    if isinstance(setting.default, bool):
        return not setting.default
    if isinstance(setting.default, str):
        return f'{setting.default} 100 % & "größer" = 한글\n#+?'
    low, high = max(setting.low, -3), min(setting.high, setting.default + 2)
    return type(setting.default)(high if high != setting.default else (low + high) / 2)


def read(query: str) -> PageState:
    return PageState.from_query(dict(parse_qsl(query, keep_blank_values=True)), PageState(prompt="what is built in"))


@pytest.mark.parametrize("tab", [tab for tab in TABS if any(name.startswith(f"{tab}.") for name in SETTINGS)])
def test_every_choice_of_a_tab_comes_back_from_an_address(tab):
    state, mine = PageState(prompt="a b", tab=tab), {n: s for n, s in SETTINGS.items() if n.startswith(f"{tab}.")}
    for setting in mine.values():
        state = setting.on(state, another(setting))
    again = read(state.to_query())
    assert again == state and len(again.settings) == len(mine)
    assert {name: s.of(again) for name, s in mine.items()} == {name: another(s) for name, s in mine.items()}
    assert {name.partition(".")[0] for name in SETTINGS} <= set(TABS)


def test_an_emptied_box_comes_back_empty():
    words_of = {name: setting for name, setting in SETTINGS.items() if isinstance(setting.default, str) and setting.default}
    emptied = [setting for setting in words_of.values() if setting.one_of is None]
    state = PageState(prompt="")
    for setting in emptied:
        state = setting.on(state, "")
    assert emptied and [setting.of(read(state.to_query())) for setting in emptied] == [""] * len(emptied)
    assert read(state.to_query()).prompt == ""


def test_an_address_has_room_for_every_setting():
    state = PageState()
    for setting in SETTINGS.values():
        state = setting.on(state, another(setting))
    assert len(SETTINGS) == len(state.settings) < MAX_SETTINGS and not state.address().left_out


def test_every_input_of_the_page_shows_the_state_and_changes_it(monkeypatch):
    pages = []

    class Spied(Page):
        def __init__(self, *given):
            super().__init__(*given)
            pages.append(self)

    monkeypatch.setattr(ui, "Page", Spied)
    demo = ui.build(ModelStore(Settings(device="cpu")))
    (page,) = pages
    shown = {output for section in page._sections for output in section.outputs}
    read_from = {given for change in page._changes for given in change.inputs}
    loose = [
        block for block in demo.blocks.values() if isinstance(block, INPUTS) and not (block in shown and block in read_from)
    ]
    assert len(shown) > 200
    assert [block.elem_id for block in loose if not str(block.label.key).startswith(DRAFT)] == []


@pytest.mark.parametrize(("whose", "written"), [(HEADER, {"box"}), (True, {"strip"}), (False, {"strip", "box"})])
def test_a_tab_opened_by_its_name_gets_what_the_address_says(whose, written):
    """The strip of tabs shows its own choice; the controls of the tab have yet to show theirs."""
    strip = Section(None, ("strip",), lambda view: [0], depends=lambda s: s.tab, control=True)
    box = Section("lens", ("box",), lambda view: [0], depends=lambda s: s.settings, control=True)
    drawing = Drawing(ModelStore(Settings(device="cpu")), [strip, box], "state", "drawn", "message", "refresher")
    state = PageState(prompt="a", settings=(("lens.mid", "1"),))
    told = drawing.respond(lambda s: s.but(tab="lens"), state, {}, {}, whose, "lens")
    assert {"strip", "box"} & told.keys() == written and told["state"].tab == "lens"


# ---- what is too long ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_what_is_too_long_is_left_out_and_named(lang):
    t, text = words(lang), "옛날 옛적에 " * 1500
    state = PageState(prompt="short", plan=Plan((Edit.zero("z", 0, 1),)), lang=lang)
    state = SETTINGS["neurons.own"].on(SETTINGS["zero_shot.own"].on(state, json.dumps({"passage": "a"})), text)
    address = state.address()
    assert address.left_out == (("s.neurons.own", len(text)),) and len(address.query) <= MAX_ADDRESS
    again = read(address.query)
    assert again == SETTINGS["neurons.own"].on(state, "")
    said = not_in_the_link(t, address)
    assert f"{len(text):,}" in said and t("page.tab_neurons") in said and "{" not in said
    assert not_in_the_link(t, again.address()) == ""


def test_an_english_prompt_of_any_length_that_is_taken_fits():
    prompt = ("He said that it was late, and went. " * 1000)[:MAX_PROMPT]
    assert read(PageState(prompt=prompt).to_query()).prompt == prompt


def test_the_longest_go_first_and_no_more_than_needed():
    state = PageState(prompt="한" * 3_000)
    for name, count in (("zero_shot.own", 2_000), ("neurons.own", 1_500), ("patching.clean", 1_000)):
        state = SETTINGS[name].on(state, "글" * count)
    assert state.address().left_out == (("prompt", 3_000), ("s.zero_shot.own", 2_000))
    assert read(state.to_query()).prompt == "what is built in"
    assert "the prompt (3,000 characters), your text in Zero-shot (2,000 characters)" in not_in_the_link(
        words("en"), state.address()
    )
    plan = Plan(tuple(Edit.mean("z", layer, 0, text="한" * 900) for layer in range(4)))
    assert "the edits" in not_in_the_link(words("en"), PageState(plan=plan).address())


# ---- in the browser --------------------------------------------------------------------------------------------------------------

STORY = "The captain looked at the old map, and the sailors looked at the"
OWN_TEXT = "The old king sat in the old house by the sea. The old dog ran to the old king."


def painted(page, selector):
    page.wait_for_selector(f"{selector} [data-painted]", state="visible")


def in_address(page, *parts):
    page.wait_for_function("(parts) => parts.every((part) => location.search.includes(part))", arg=list(parts))


def has_value(page, selector, value):
    """The box shows it, now or soon."""
    page.wait_for_function("([s, v]) => document.querySelector(s)?.value === v", arg=[selector, value])


def typed(page, selector, text):
    """A text that counts when its box is left."""
    page.fill(selector, text)
    page.press(selector, "Tab")


@pytest.mark.browser
def test_a_copied_link_opens_with_all_choices(page_url, browser_page):
    """Knobs of the Playground, a text and models in Zero-shot, a text in Neurons; the address is copied and opened anew."""
    page = browser_page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{page_url}/?lang=en")
    page.wait_for_selector("#gb_playground_text_00 .gb-generated")
    page.fill("#gb_playground_temperature input[type=number]", "0.3")
    page.fill("#gb_playground_tokens input[type=number]", "9")
    in_address(page, "s.playground.temperature=0.3", "s.playground.tokens=9")
    page.click("#gb_playground_more > button")
    page.locator("#gb_playground_seed :is(input, textarea)").press_sequentially("7")
    in_address(page, "s.playground.seed=7")

    page.get_by_role("tab", name="Zero-shot", exact=True).click()
    painted(page, "#gb_zero_shot_answers")
    page.fill("#gb_zero_shot_field_0 textarea", STORY)  # as if pasted
    page.locator("#gb_zero_shot_models").get_by_label("glass-2m").check()
    in_address(page, "s.zero_shot.own=", "s.zero_shot.models=page%2Cglass-2m")
    has_value(page, "#gb_zero_shot_example input", "your own text")

    page.get_by_role("tab", name="Neurons", exact=True).click()
    painted(page, "#gb_neurons_contexts")
    typed(page, "#gb_neurons_own textarea", OWN_TEXT)
    page.locator("#gb_neurons_text_head", has_text="your text").wait_for()
    in_address(page, "s.neurons.own=")

    page.click("#gb_neurons_text_head [data-name=link]")
    page.wait_for_selector("#gb_neurons_text_head [data-name=link]:has-text('Copied')")
    link = page.evaluate("navigator.clipboard.readText()")
    page.goto("about:blank")
    page.goto(link)
    page.locator("#gb_neurons_text_head", has_text="your text").wait_for()
    has_value(page, "#gb_neurons_own textarea", OWN_TEXT)
    page.get_by_role("tab", name="Zero-shot", exact=True).click()
    has_value(page, "#gb_zero_shot_field_0 textarea", STORY)
    has_value(page, "#gb_zero_shot_example input", "your own text")
    page.wait_for_function("document.querySelectorAll('#gb_zero_shot_answers [data-state=done]').length === 2")  # and answered
    page.get_by_role("tab", name="Playground", exact=True).click()
    page.wait_for_selector("#gb_playground_text_00 .gb-generated")
    has_value(page, "#gb_playground_temperature input[type=number]", "0.3")
    page.click("#gb_playground_more > button")
    has_value(page, "#gb_playground_seed :is(input, textarea)", "7")
    page.click("#gb_playground_generate")
    page.wait_for_function("document.querySelectorAll('#gb_playground_text_00 .gb-generated').length === 9")
    assert "seed 7" in page.inner_text("#gb_playground_about_00")

    page.fill("#gb_prompt textarea", "한글 " * 4000)
    page.wait_for_function("!location.search.includes('prompt=')")
    page.click("#gb_toolbar [data-name=share]")
    page.wait_for_selector("#gb-tip:has-text('Too long for a link: the prompt (12,000 characters).')")


@pytest.mark.browser
def test_how_pictures_are_looked_at_is_in_the_address_too(page_url, browser_page):
    """Switches inside our own pictures; each tab is opened by its name, so that what the address says has to reach it there."""
    page = browser_page
    plan = json.dumps([{"op": "zero", "component": "z", "layer": 0, "head": 1}])
    page.goto(f"{page_url}/?{urlencode({'lang': 'en', 'tab': 'lens', 'plan': plan})}")
    painted(page, "#gb_lens_table")
    page.click("#gb_lens_table [data-choice=entropy]")
    in_address(page, "s.lens.color=entropy")
    page.get_by_role("tab", name="Attention", exact=True).click()
    page.click("#gb_attention_view [data-choice=difference]")
    page.click("#gb_attention_view [data-choice=lines]")
    in_address(page, "s.attention.mode=lines", "s.attention.compare=difference")
    page.get_by_role("tab", name="Training", exact=True).click()
    page.locator("#gb_training_film .fm-prompts button").nth(1).click()
    in_address(page, "s.training.prompt=1")
    link = page.url.replace("tab=training", "tab=scaling") + "&s.lens.mid=1"
    page.goto("about:blank")
    page.goto(link)
    painted(page, "#gb_scaling_columns")
    pressed = "[aria-pressed=true]"
    for tab, places in (
        ("Training", ["#gb_training_film .fm-prompts button:nth-child(2)" + pressed]),
        ("Attention", [f"#gb_attention_view [data-choice={name}]{pressed}" for name in ("lines", "difference")]),
        ("Lens", [f"#gb_lens_table [data-choice=entropy]{pressed}", "#gb_lens_mid input:checked"]),
    ):
        page.get_by_role("tab", name=tab, exact=True).click()
        for place in places:
            page.locator(place).first.wait_for()
