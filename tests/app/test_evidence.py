"""What panels hand out: settings in the address, tables, data, and scripts that print what the panel shows."""

import json
import re

import numpy as np
import pytest
from scripts import run_here

from app import evidence
from app.components.courier import courier_value
from app.components.panel import Exports, panel_value
from app.service import lens as service
from app.service.lens_evidence import track_evidence
from app.service.view import View
from app.setting import Setting
from app.settings import Settings
from app.state import MAX_SETTING, MAX_SETTINGS, PageState
from app.store import ModelStore
from app.text import words
from interp.edits import Edit, Plan

METRIC = Setting("patching.metric", "logit_diff", one_of=("logit_diff", "kl"))
SCALE, COUNT, MID = (
    Setting("steering.scale", 4.0, low=-50, high=50),
    Setting("neurons.count", 10, low=1),
    Setting("lens.mid", False),
)


@pytest.fixture(scope="module")
def view():
    store = ModelStore(Settings(model="glass-2m"))
    return View(store, PageState(model="glass-2m", prompt="The old clock struck twelve, the old"))


def test_a_setting_travels_in_the_address():
    state = MID.on(COUNT.on(SCALE.on(METRIC.on(PageState(), "kl"), -2.5), 7), True)
    query = dict(re.findall(r"(s\.[^=]+)=([^&]*)", state.to_query()))
    assert query == {"s.patching.metric": "kl", "s.steering.scale": "-2.5", "s.neurons.count": "7", "s.lens.mid": "1"}
    again = PageState.from_query(query, PageState())
    assert again == state and (METRIC.of(again), SCALE.of(again), COUNT.of(again), MID.of(again)) == ("kl", -2.5, 7, True)
    assert METRIC.on(again, "logit_diff").settings == tuple(s for s in again.settings if s[0] != METRIC.name)
    assert again.settings_of("lens").settings == (("lens.mid", "1"),)


@pytest.mark.parametrize(
    ("setting", "text", "said"),
    [(METRIC, "x", "choose one of logit_diff, kl"), (SCALE, "99", "expected -50 to 50"), (SCALE, "x", "expected a number"),
     (COUNT, "1.5", "expected a whole number"), (COUNT, "0", "expected 1 to inf"), (MID, "yes", "expected 0 or 1"), (SCALE, "nan", "expected")],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_told(setting, text, said):
    with pytest.raises(ValueError, match=said):
        setting.of(PageState(settings=((setting.name, text),)))


def test_an_address_cannot_carry_just_anything():
    many = tuple((f"a.b{i}", "1") for i in range(MAX_SETTINGS + 1))
    for settings in ((("A", "1"),), (("a.b", "x" * (MAX_SETTING + 1)),), many):
        with pytest.raises(ValueError):
            PageState(settings=settings)


def test_tables_and_data():
    panel = evidence.Evidence("x", ("token", "p"), [(" a,b", np.float32(0.5)), ("=1+1", float("nan"))], "print()")
    assert evidence.as_csv(panel).splitlines() == ["token,p", '" a,b",0.5', "'=1+1,"]
    assert json.loads(evidence.as_json(panel)) == {
        "facts": {},
        "columns": ["token", "p"],
        "rows": [[" a,b", 0.5], ["=1+1", None]],
    }
    t = words("en")
    assert courier_value(panel, "csv", "1", t)["download"]["name"] == "glassbox-x.csv"
    assert courier_value(panel, "code", "1", t)["code"] == {"name": "x", "ours": "print()", "lens": ""}
    with pytest.raises(ValueError, match="got 'exe'"):
        courier_value(panel, "exe", "1", t)
    assert panel_value("what", exports=Exports("gb_x", "x", t.section("panel")))["exports"]["picture"] == "gb_x"


def test_both_scripts_print_what_the_lens_shows(view, capsys):
    target = service.final_prediction(view)
    panel = track_evidence(view, target, mid=True)
    for code in (panel.code, panel.lens_code):
        lines = run_here(code, capsys).splitlines()
        shown = [
            (float(p) / 100, int(rank))
            for p, rank in (re.search(r"([\d.]+)% rank (\d+)", line).groups() for line in lines[-len(panel.rows) :])
        ]
        assert np.allclose([p for p, _ in shown], [row[1] for row in panel.rows], atol=2e-6)
        assert [rank for _, rank in shown] == [row[2] for row in panel.rows]
    edited = View(view.store, view.state.but(plan=Plan((Edit.zero("z", 0, 1),))))
    panel = track_evidence(edited, target, mid=False)
    assert panel.lens_code == ""
    assert f"{panel.rows[-1][1]:9.4%} rank {panel.rows[-1][2]}" in run_here(panel.code, capsys).splitlines()[-1]
