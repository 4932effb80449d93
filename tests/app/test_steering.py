"""The Steering tab: what it shows equals whole runs; its examples do what they say on glass-7m; a reader's journey."""

import math
import re

import numpy as np
import pytest
from scripts import run_here

from app.components.bar_list import Bar, Bars, bar_list_value
from app.figures.steering import effect_by_value
from app.service import steering, steering_evidence, steering_text
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import steering_panels, steering_texts
from app.text import words
from gpt2_core import generate
from interp.edits import Edit, Plan
from interp.intervene import compile_plan
from interp.run import trace

# What each example's text has in it, which the text without it has not: measured on the model that the page opens with.
SHOWS = {"she": " she was", "sea": " the sea", "kings": " sea", "queen": " queen", "doctor": " she had", "girl": " girl"}
OFF = Plan((Edit.zero("z", 0, 1),))


def example(name, **changes):
    found = next(e for e in steering.EXAMPLES if e.name == name)
    return steering_text.LENGTH.on(found.state(PageState()), 12).but(**changes)


@pytest.fixture(scope="module")
def small():
    """The smallest model, a plan in force, and each operation."""
    store = ModelStore(Settings(model="glass-2m"))
    return lambda name, **changes: View(store, example(name, model="glass-2m", **changes))


def last(stream):
    return list(stream)[-1]


@pytest.mark.parametrize("chosen", steering.EXAMPLES, ids=lambda e: e.name)
def test_every_example_shows_what_it_says(store, chosen):
    view = View(store, example(chosen.name))
    pair, tokenizer = last(steering_text.write(view)), view.model.tokenizer
    before, after = (tokenizer.decode(list(text.ids)) for text in (pair.before, pair.after))
    assert SHOWS[chosen.name] in after and SHOWS[chosen.name] not in before
    assert steering.check(view).holds
    lang = words("ko")(f"steering.{chosen.name}_look")
    assert re.search("[가-힣]", lang)


def test_both_texts_are_what_generate_writes(small):
    state = steering_text.SEED.on(steering_text.TEMPERATURE.on(example("she", model="glass-2m", plan=OFF), 0.9), 3)
    view = View(small("she").store, state)
    growing = list(steering_text.write(view, fresh=True))
    edit = steering.tried(view)
    for name, plan in (("before", OFF), ("after", OFF.add(edit))):
        hook = compile_plan(view.model, plan)
        whole = generate(view.model, state.prompt, hook=hook, **steering_text.settings(view))
        text = getattr(growing[-1], name)
        assert text.ids == tuple(whole.ids[0] if isinstance(whole.ids[0], list | tuple) else whole.ids)
        assert all(getattr(pair, name).ids == text.ids[: len(getattr(pair, name).ids)] for pair in growing)
    assert growing[-1].done and growing[-1].parted is not None
    assert last(steering_text.write(view)) == growing[-1]


@pytest.mark.parametrize("name", SHOWS)
def test_the_next_token_and_the_chart_are_whole_runs(small, name):
    view = small(name, plan=OFF)
    edit = steering.tried(view)
    base, run = (trace(view.model, view.state.prompt, plan) for plan in (OFF, OFF.add(edit)))
    p, q = (r.logits[-1].double().softmax(-1) for r in (base, run))
    found = steering.moved(view)
    assert found.kl == pytest.approx((p * (p / q).log()).sum().item() / math.log(2), abs=1e-4)
    assert found.up_ids[0] == (q - p).argmax() and found.down_ids[0] == (q - p).argmin()
    chart = last(steering.sweep(view, rows=5))
    at = int(np.argmin(abs(chart.values - steering.chosen_value(edit))))
    assert chart.values[at] == pytest.approx(steering.chosen_value(edit))
    assert chart.probability[at] == pytest.approx(q[list(chart.targets)].numpy(), abs=1e-5)
    assert chart.base_probability == pytest.approx(p[list(chart.targets)].numpy(), abs=1e-5)
    assert chart.done and chart == last(steering.sweep(view))


def test_an_edit_that_is_in_the_plan_is_compared_with_the_plan_without_it(small):
    view = small("she", plan=OFF)
    added = View(view.store, view.state.but(plan=OFF.add(steering.tried(view))))
    assert steering.without_it(added) == OFF and steering.with_it(added) == added.state.plan
    assert steering.moved(added).kl == steering.moved(view).kl > 0


def test_how_long_writing_takes_is_said_before(small):
    view = small("she")
    longer = View(view.store, steering_text.LENGTH.on(view.state, 300))
    assert steering_text.seconds(longer) == pytest.approx(steering_text.seconds(view) * 301 / 13)
    assert steering.sweep_seconds(view) > steering.sweep_seconds(small("girl")) > 0
    lasts = words("en").lasting(steering_text.seconds(longer))
    assert f"About {lasts} on this machine" in steering_texts._paint(longer, None)[0]["what"]


def test_settings_become_edits(small):
    view = small("she")
    assert steering.tried(view) == Edit.add("resid_pre", 1, text=steering.SHE, minus=steering.HE, value=1.0, lines=True)
    single = steering.MINUS.on(steering.TEXT.on(view.state, "one text\n"), "")
    assert steering.edit_of(single, view.config) == Edit.add("resid_pre", 1, text="one text", value=1.0)
    with pytest.raises(ValueError, match="contrast needs a second text"):
        steering.edit_of(steering.OP.on(single, "contrast"), view.config)
    with pytest.raises(ValueError, match="Type exactly one token"):
        steering.watched(View(view.store, steering.WATCHED.on(view.state, " man|nottooneword")))
    with pytest.raises(ValueError, match="at most 4 tokens"):
        steering.watched(View(view.store, steering.WATCHED.on(view.state, " a| b| c| d| e")))


@pytest.mark.parametrize("name", ["she", "kings", "queen", "doctor", "girl"])
def test_scripts_print_what_the_panels_show(small, capsys, name):
    view = small(name)
    panel = steering_evidence.shift_evidence(view)
    for code in (panel.code, panel.lens_code):
        printed = run_here(code, capsys)
        assert float(re.search(r"KL ([\d.]+) bits", printed)[1]) == pytest.approx(panel.facts["kl_bits"], abs=2e-4)
        moves = [tuple(map(float, m)) for m in re.findall(r"([\d.]+) -> ([\d.]+)$", printed, re.M)]
        assert np.allclose(moves[: len(panel.rows)], [row[3:] for row in panel.rows], atol=2e-5)
    if name not in ("kings", "girl"):
        return
    aimed = steering_evidence.aim_evidence(view)
    values = [row[4] for row in aimed.rows]
    assert len({row[0] for row in aimed.rows}) == (np.array(aimed.facts["lengths"]) > 0).sum() and 0 not in values
    assert np.allclose([float(x) for x in re.findall(r"^([+-][\d.]+) ", run_here(aimed.code, capsys), re.M)], values, atol=2e-5)
    for code in (aimed.code, aimed.lens_code):
        lengths = [
            float(x) for x in re.findall(r": length ([\d.]+)|^length ([\d.]+)", run_here(code, capsys), re.M) for x in x if x
        ]
        assert np.allclose(lengths, aimed.facts["lengths"], atol=2e-4)


def test_the_other_scripts(small, capsys):
    view = small("she", plan=OFF)
    assert steering_evidence.shift_evidence(view).lens_code == ""
    with pytest.raises(ValueError, match="not computed yet"):
        steering_evidence.sweep_evidence(small("doctor"))
    with pytest.raises(ValueError, match="not written yet"):
        steering_evidence.text_evidence(small("doctor"))
    last(steering.sweep(view)), last(steering_text.write(view))
    swept = steering_evidence.sweep_evidence(view)
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", run_here(swept.code, capsys))]
    assert np.allclose(losses, [row[swept.columns.index("surprisal_bits")] for row in swept.rows], atol=2e-4)
    written = steering_evidence.text_evidence(view)
    printed = run_here(written.code, capsys).splitlines()
    ids = [row[2] for row in written.rows if row[0] == "after"]
    assert printed[-1] == repr(view.model.tokenizer.decode(ids))
    chances = [float(x) for line in printed[0::2] for x in line.split()]
    assert np.allclose(chances, [row[4] for row in written.rows], atol=2e-5)


@pytest.mark.parametrize("name", SHOWS)
def test_every_operation_is_painted(small, name):
    view = small(name, lang="ko" if name in ("she", "kings") else "en")
    last(steering_text.write(view)), last(steering.sweep(view))
    assert len(steering_panels._aim(view)) == 3 and len(steering_panels._shift(view)) == 2
    assert len(steering_panels._paint(view, steering.sweep_at_hand(view))) == 4
    head, before, after, _ = steering_texts._paint(view, steering_text.at_hand(view))
    assert before["tokens"] != after["tokens"] and head["exports"]
    assert steering_panels._paint(view, None)[1] is None and steering_texts._paint(view, None)[1]["tokens"]


def test_bars():
    text = words("en").section("bar_list")
    value = bar_list_value(
        [Bars("x", [Bar("a", -2.0, "-2", before=1.0), Bar("b", 1.0, "1", key="k")])], text=text, label="l", unit="u"
    )
    assert value["bound"] == 2 and value["signed"] and value["lists"][0]["rows"][1]["key"] == "k"
    with pytest.raises(ValueError, match="finite"):
        bar_list_value([Bars("x", [Bar("a", math.nan, "")])], text=text, label="l", unit="u")
    with pytest.raises(ValueError, match="pass a larger bound"):
        bar_list_value([Bars("x", [Bar("a", 2.0, "")])], text=text, label="l", unit="u", bound=1)


def test_the_chart_by_value():
    labels = words("en").section("steering_sweep")
    p, loss = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]), np.array([3.0, np.nan, 5.0])
    chart = effect_by_value([-1, 0, 1], ["a", "<b>"], p, loss, labels, chosen=1, base_surprisal=4.0, control=(p / 2, loss))
    solid = [trace for trace in chart.data if trace.line.dash == "solid"]
    assert [list(trace.y)[:1] for trace in solid] == [[0.1], [0.2], [3.0]] and solid[1].name == "&lt;b&gt;"
    assert [trace.line.dash for trace in chart.data].count("dot") == 3 and "a, <b>" in chart.description
    with pytest.raises(ValueError, match="expected values by tokens"):
        effect_by_value([-1, 0, 1], ["a"], p, loss, labels, chosen=1, base_surprisal=4.0)


@pytest.mark.browser
def test_a_reader_steers_the_model(page_url, browser_page):
    page = browser_page
    page.goto(f"{page_url}/?tab=steering&lang=en")
    page.locator("#gb_steering_aim [data-painted]").wait_for(timeout=120_000)
    page.locator("#gb_steering_sea").click()
    after = page.locator("#gb_steering_after .gb-generated")
    page.locator("#gb_steering_after .gb-tok", has_text="sea").first.wait_for()
    assert "sea" not in page.locator("#gb_steering_before").inner_text()
    page.locator("#gb_steering_shift .gb-bars-row", has_text="sea").first.wait_for()
    page.locator("#gb_steering_write").click()
    after.nth(5).wait_for()
    page.locator("#gb_steering_to_plan").click()
    page.locator("#gb_edits .gb-edit, #gb_edits button", has_text="resid_pre L1").first.wait_for()
    assert "s.steering.text=" in page.evaluate("location.search")
