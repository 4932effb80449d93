"""The literature page: its command, its plain data, its tab."""

import json
import math

import pytest
import torch

from app import cli, terminal
from app.service import literature as service
from app.settings import Settings
from app.store import ModelStore
from interp import literature
from interp.literature.check import Check, about, at_most, near
from interp.literature.prompts import layers_by_heads, listed
from tests.helpers import random_model, tiny_config


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(device="cpu"))


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
    assert found["ioi_many"] / found["loss"] == pytest.approx(500 * 20 / 5)
