"""The literature page: its command, its plain data, its tab."""

import json
import math
from dataclasses import replace

import pytest
import torch
from scripts import run_here

from app import cli, terminal
from app.service import literature as service
from app.service import literature_page as page_service
from app.service.view import View
from app.settings import Settings
from app.state import PageState
from app.store import ModelStore
from app.tabs import literature as tab
from app.text import words
from interp import literature
from interp.literature.check import Check, about, at_most, near
from interp.literature.prompts import layers_by_heads, listed
from tests.helpers import random_model, tiny_config


def _check(measured, expected):
    return Check("made_up", "Made up", lambda model: measured, "a paper", expected, lambda config: 1, everywhere=True)


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config(d_vocab=50, d_model=16, n_heads=2))


def test_the_command_streams_checks_and_ends_with_0_where_nothing_fails(capsys):
    assert cli.main(["literature", "--model", "glass-2m", "--only", "sums, loss"]) == 0
    out = capsys.readouterr().out
    assert out.index("----  loss: Mean loss") < out.index("PASS  sums") < out.index("1 as expected, 1 without an expectation.")
    assert "source: TransformerLens" in out and "5 of 5 numbers" in out


def test_json_is_one_document_with_whole_tables(capsys, store):
    assert cli.main(["literature", "--model", "glass-2m", "--only", "dla_heads", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["counts"] == {"pass": 0, "fail": 0, "none": 1, "refused": 0} and answer["model"] == "glass-2m"
    (check,) = answer["checks"]
    assert check["weights"] == check["provenance"]["weights"] == "folded" and len(check["rows"]) == 4
    from interp.folding import fold

    expected = literature.BY_ID["dla_heads"].measure(fold(store.model("glass-2m"))).values
    torch.testing.assert_close(torch.tensor(check["table"]["measured"]).double(), expected, atol=1e-5, rtol=1e-3)


def test_an_expectation_that_is_not_met_ends_with_1(capsys, monkeypatch):
    wrong = _check(listed({"a": 1.0}), near({"a": 2}, 0.1))
    monkeypatch.setattr(literature.runs, "chosen", lambda only: (wrong,))
    monkeypatch.setattr(service, "chosen", lambda only: (wrong,))
    monkeypatch.setattr(service.literature, "chosen", lambda only: (wrong,))
    assert cli.main(["literature", "--model", "glass-2m"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  made_up" in out and "<- not met" in out and "1 not as expected." in out


def test_an_unknown_check_is_one_sentence(capsys):
    assert cli.main(["literature", "--only", "nonsense"]) == 2
    assert "No check is called 'nonsense'" in capsys.readouterr().err


def test_a_failed_table_shows_its_misses_first_and_its_largest_difference(model):
    table = torch.tensor([[0.1, 0.2], [3.0, 0.0]])
    expected = {("L0", "H0"): about(0.1, 0.01), ("L0", "H1"): about(0.5, 0.01), ("L1", "H0"): about(3.005, 0.01)}
    answer = service.plain_outcome(literature.run_one(_check(layers_by_heads(table), expected), model))
    assert answer["status"] == "fail" and (answer["compared"], answer["missed"]) == (3, 1)
    assert answer["tolerance"] == "± 0.01" and answer["largest_at"] == "L0H1"
    assert [(row["name"], row["met"]) for row in answer["rows"]] == [("L0H1", False), ("L1H0", True), ("L0H0", True)]
    assert answer["table"]["expected"] == [[0.1, 0.5], [3.005, None]]
    text = " ".join(terminal.literature_text(answer).split())
    assert "2 of 3 numbers ± 0.01, largest difference 0.3 at L0H1" in text and "L0H1 0.2 0.5 ± 0.01 <- not met" in text


def test_what_was_expected_and_not_measured_is_a_row_of_its_own(model):
    answer = service.plain_outcome(literature.run_one(_check(listed({"a": 1.0}), {("b", ""): at_most(1)}), model))
    assert answer["rows"][1] == {"name": "b", "expected": 1, "bound": "≤ 1", "measured": None, "met": False}
    assert answer["rows"][0]["met"] is None
    refused = service.plain_outcome(literature.run_one(_check(listed({"a": math.nan}), {}), model))
    assert refused["status"] == "refused" and refused["table"] is None and "not finite" in terminal.literature_text(refused)


def test_estimates_follow_the_cost_of_each_check(store):
    found = service.estimates(store.model("glass-2m"), ["loss", "ioi_many"])
    assert found["ioi_many"] / found["loss"] == pytest.approx(
        literature.BY_ID["ioi_many"].tokens(store.model("glass-2m").config) / 5
    )


# -- the tab -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def view(store):
    return View(store, PageState(model="glass-2m", prompt="The old clock"))


def _pretend(monkeypatch, measured, expected):
    """The check "induction" measures this and expects that, of every model."""
    made = replace(literature.BY_ID["induction"], measure=lambda model: measured, expected=expected, everywhere=True)
    monkeypatch.setitem(literature.BY_ID, "induction", made)
    monkeypatch.setattr(literature.runs, "CHECKS", tuple(literature.BY_ID.values()))


def test_every_check_and_every_number_has_words_in_both_languages(store):
    view = View(store, PageState(model="glass-2m", prompt="x"))
    for lang in ("en", "ko"):
        t = words(lang)
        for id, check in literature.BY_ID.items():
            assert t(f"literature.{id}_title") and t(f"literature.{id}_means")
            assert not check.approximate or t(f"literature.{id}_loose")
    assert check_names(words("en")) == []
    korean = {name: tab.row_label(words("ko"), name) for name in ("loss", "prompt 3", "without L0H8", "L9H9", "9_mid")}
    assert korean == {"loss": "손실", "prompt 3": "프롬프트 3", "without L0H8": "L0H8 없이", "L9H9": "L9H9", "9_mid": "9_mid"}
    assert tab.row_label(words("en"), "logit of ' Mary'") == "logit of ' Mary'" and view.state.lang == "en"


def check_names(t):
    """Names of expected numbers that are words, and have no sentence."""
    plain = [row for c in literature.CHECKS for row, column in c.expected if not column and " " in row and "'" not in row[:3]]
    return [name for name in plain if tab.row_label(t, name) == name and tab._slug(name) not in t.section("literature_rows")
            and not tab.DYNAMIC.fullmatch(name)]  # fmt: skip


def test_the_list_begins_with_what_is_quick_and_is_completed_step_by_step(store):
    view = View(ModelStore(Settings(device="cpu")), PageState(model="glass-2m", prompt="x"))
    head, go, stop, said, table = tab._overview(view, tab.IDLE)
    assert go["visible"] and not stop["visible"] and "glass-2m is not GPT-2 small" in said["what"]
    states = [row[1] for row in table["rows"]]
    assert len(states) == 41 and states[0] == "measured" and states.count("✓ as expected") == 1 and "not yet" in states
    assert [b["text"] for b in head["badges"]] == ["1 as expected"] and len(table["columns"]) == 3
    left = len(page_service.missing(view))
    steps = page_service.steps(view)
    first = next(steps)
    assert first == page_service.missing(view)[0] and next(steps) != first and len(page_service.missing(view)) == left - 1
    running = tab._overview(view, ("glass-2m", "patch_z", 5))
    assert "Measuring Which heads bring the answer back" in running[3]["what"] and running[2]["visible"]


def test_an_opened_check_shows_published_beside_measured_and_marks_what_differs(view, monkeypatch):
    table = torch.tensor([[0.1, 0.2], [3.0, 0.0]])
    expected = {("L0", "H0"): about(0.1, 0.01), ("L0", "H1"): about(0.5, 0.01)}
    _pretend(monkeypatch, layers_by_heads(table, chance="0.5"), expected)
    page_service.kept(view).pop("induction", None)
    head, maps, beside, there, here, bars, _, numbers, key = tab._opened(view, tab.IDLE, "")
    assert maps["visible"] and beside["visible"] and not bars["visible"]
    assert here["marked"] == [[0, 1]] and there["bound"] == here["bound"] == 3 and here["caption"] == "Measured here (glass-2m)"
    assert [b["ok"] for b in head["badges"]] == [False, True] and head["badges"][0]["text"] == "1 of 2 numbers differ"
    assert "evenly spread attention would score: 0.5" in head["help"]
    assert numbers["rows"][0] == ["L0H1", "0.2", "0.5 ± 0.01", "-0.3", "✗ differs"]
    again = tab._opened(view, tab.IDLE, key)
    assert all(value.get("__type__") == "update" and len(value) == 1 for value in again)  # nothing to draw again
    page_service.kept(view).pop("induction")


def test_a_list_is_drawn_as_bars_with_diamonds(view, monkeypatch):
    _pretend(monkeypatch, listed({"loss": 2.0, "first copy": -1.0}, "nats"), near({"loss": 2.1}, 0.2))
    page_service.kept(view).pop("induction", None)
    out = tab._opened(view, tab.IDLE, "")
    figure = out[6]
    assert out[5]["visible"] and not out[1]["visible"]
    assert (
        list(figure.data[0].x) == [2.0, -1.0] and figure.data[1].x[0] == pytest.approx(2.1) and math.isnan(figure.data[1].x[1])
    )
    assert figure.description == "2 numbers; the largest is loss (2)."
    page_service.kept(view).pop("induction")


def test_what_takes_long_waits_for_the_button(view, monkeypatch):
    monkeypatch.setattr(page_service, "seconds", lambda view, ids: 90.0)
    page_service.kept(view).pop("copying", None)
    out = tab._opened(View(view.store, tab.CHECK.on(view.state, "copying")), tab.IDLE, "")
    assert "press the button above (about 90 s for this one)" in out[0]["what"] and not out[1]["visible"]
    with pytest.raises(ValueError, match="not been measured yet"):
        page_service.evidence(view, "copying")


def test_the_script_prints_the_numbers_of_the_panel(view, capsys):
    page_service.outcome(view, "patch_z")
    panel = page_service.evidence(view, "patch_z")
    printed = run_here(panel.code, capsys)
    assert printed.startswith("none of TransformerLens") and [row[0] for row in panel.rows] == ["L0H0", "L0H1", "L1H0", "L1H1"]
    values = [float(x) for line in printed.splitlines()[1:] for x in line.split()[1:]]
    assert values == pytest.approx([row[1] for row in panel.rows], abs=1e-5)
    assert panel.rows[0][2:] == (None, None, None) and panel.facts["status"] == "none"
    whole = page_service.everything(view)
    assert ("patch_z", "L1H1") in [(row[0], row[2]) for row in whole.rows] and "literature.run" in whole.code


@pytest.mark.browser
def test_a_reader_opens_a_result_and_measures_the_rest(browser_page, page_url):
    page = browser_page
    page.goto(f"{page_url}/?tab=literature&model=glass-2m&s.literature.check=dla_heads")
    page.wait_for_selector("#gb_literature_measured [data-painted]")
    page.wait_for_selector("#gb_literature_checks tbody tr:has-text('What must be equal'):has-text('as expected')")
    assert page.locator("#gb_literature_checks tbody tr").count() == 41
    page.locator("#gb_literature_checks tbody tr", has_text="Heads that look up what came next").click()
    page.wait_for_selector("#gb_literature_check :text('the look-up that makes copying possible')")
    page.wait_for_selector("#gb_literature_check :text('no expectation for this model')")
    page.click("#gb_literature_go")
    page.wait_for_selector("#gb_literature_checks tbody tr:has-text('Exchanging the giver'):has-text('measured')")
    page.evaluate("document.querySelector('#gb_literature_stop')?.click()")  # gone where all are measured by now
    page.wait_for_selector("#gb_literature_go:has-text('41')")  # what is missing of 41, or that all 41 are measured
    assert page.locator("#gb_literature_checks tbody tr:has-text('Exchanging the giver'):has-text('measured')").count() == 1
