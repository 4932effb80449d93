"""What the panels of the heads tab hand out: tables with units, and scripts that print them."""

import numpy as np
import pytest
from scripts import numbers, run_here
from views import view_of

from app.service import heads, heads_card_evidence, heads_evidence, heads_search, heads_weights, staged
from app.service.heads_prompt import METHOD, METRIC
from app.service.view import View
from app.settings import Settings
from app.store import ModelStore
from interp.edits import NO_EDITS

PROMPT = "The old clock struck twelve, the old"


@pytest.fixture(scope="module")
def store():
    return ModelStore(Settings(model="glass-2m", device="cpu"))


@pytest.fixture
def view(store):
    return at(store)


def at(store, settings=(), **changes) -> View:
    return view_of(store, *settings, **{"prompt": PROMPT, "layer": 1, "head": 1, **changes})


@pytest.mark.parametrize(
    ("name", "settings"),
    [("knock_out", ()), ("knock_out", ((METHOD, "mean"), (METRIC, "log_probability"))), ("knock_out", ((METHOD, "resample"), (METRIC, "kl"))),
     ("direct", ()), ("sink", ()), ("entropy", ()), ("distance", ()), ("ov_copying", ())],
)  # fmt: skip
def test_the_script_of_a_score_prints_the_map(store, capsys, name, settings):
    view = at(store, settings=[(heads.SCORE, name), *settings])
    if name == "ov_copying":
        staged.finished(view, heads.copy_stage(view, NO_EDITS))
    table, panel = heads.score(view, name), heads_evidence.map_evidence(view)
    codes = [panel.code, panel.lens_code] if panel.lens_code else [panel.code]
    assert bool(panel.lens_code) == (name in ("sink", "entropy", "distance") or (name == "knock_out" and not settings))
    for code in codes:
        assert np.allclose(numbers(run_here(code, capsys))[-len(table) :], table, atol=2e-3)
    assert panel.columns == ("head", heads_evidence.column(view, name))
    assert [row[1] for row in panel.rows] == table.flatten().tolist()


def test_the_tables_script_prints_all_that_is_known(store, capsys):
    view = at(store)
    staged.finished(view, heads.copy_stage(view, NO_EDITS))
    panel = heads_evidence.table_evidence(view)
    printed = run_here(panel.code, capsys).splitlines()
    assert len(panel.columns) >= 9 and {"knock_out_logits", "entropy_bits", "ov_copying"} <= set(panel.columns)
    for column, name in enumerate(panel.columns[1:], 1):
        first = printed.index(name) + 1
        assert np.allclose(
            sum(numbers("\n".join(printed[first : first + 2])), []), [row[column] for row in panel.rows], atol=2e-3
        )
    lone = at(store, prompt="old", bos=False, position=None, settings=[(heads.SCORE, "sink")])
    with pytest.raises(ValueError, match="at least 2"):
        heads_evidence.map_evidence(lone)
    assert "distance_tokens" not in heads_evidence.table_evidence(lone).columns


def test_scripts_of_the_card_print_its_numbers(store, capsys):
    view = at(store, settings=[(heads_search.STEPS, 2)])
    damage = heads_card_evidence.damage_evidence(view)
    printed = numbers(run_here(damage.code, capsys))
    assert np.allclose(printed, [row[1:] for row in damage.rows], atol=1e-3)
    assert np.allclose(numbers(run_here(damage.lens_code, capsys))[-1], damage.rows[1][1:], atol=1e-3)
    over = heads_card_evidence.compensation_evidence(view)
    assert np.allclose(numbers(run_here(over.code, capsys)), [row[1:] for row in over.rows], atol=1e-3)
    circle = heads_card_evidence.circle_evidence(view)
    lines = sorted(run_here(circle.code, capsys).split("\n")[:-1])
    assert sorted(line.split()[:3] for line in lines) == sorted([list(row[:3]) for row in circle.rows])
    search = heads_evidence
    with pytest.raises(ValueError, match="run it first"):
        search.search_evidence(view)
    *_, found = heads_search.search(view)
    printed = run_here(search.search_evidence(view).code, capsys).split("\n")[:-1]
    assert [line.split()[1] for line in printed] == ["none", *("L{}H{}".format(*head) for head in found.heads)]
    assert [float(line.split()[2]) for line in printed] == pytest.approx(found.curve, abs=1e-3)


def test_scripts_of_the_weights_print_them(store, capsys, monkeypatch):
    view = at(store, layer=0, head=1, settings=[(heads_weights.FOLDED, False)])
    directions = heads_card_evidence.directions_evidence(view, "OV")
    printed = [line[:2] for line in numbers(run_here(directions.code, capsys))]
    assert np.allclose(printed, [row[1:3] for row in directions.rows], atol=1e-3)
    assert sum(row[2] for row in directions.rows) < 1 and "folded=False" in directions.code
    monkeypatch.setattr(heads_card_evidence, "PAIRS", 3)
    monkeypatch.setattr(heads_weights, "PAIRS", 3)
    pairs = heads_card_evidence.pairs_evidence(view, "QK")
    printed = run_here(pairs.code, capsys).splitlines()
    assert [float(line.split()[0]) for line in printed] == pytest.approx([row[2] for row in pairs.rows], abs=1e-3)
    eigen = heads_card_evidence.eigenvalues_evidence(view)
    score, *printed = numbers(run_here(eigen.code, capsys))
    assert score == pytest.approx([eigen.facts["score"]], abs=1e-3) and np.allclose(printed, eigen.rows, rtol=1e-4, atol=1e-3)
    values = np.array([complex(*row) for row in eigen.rows])
    assert eigen.facts["score"] == pytest.approx(values.real.sum() / np.abs(values).sum(), abs=1e-5)


def test_roles_are_handed_out_with_their_null(store, capsys, monkeypatch):
    for module in (heads, heads_evidence):
        monkeypatch.setattr(module, "SEEDS", (3, 4))
        monkeypatch.setattr(module, "LENGTH", 12)
    monkeypatch.setattr(heads, "EVERY", 20)
    monkeypatch.setattr(store, "_results", type(store._results)())
    view = at(store)
    panel = heads_evidence.roles_evidence(view)
    printed = run_here(panel.code, capsys).splitlines()
    assert [line.split()[0] for line in printed] == list(heads.ROLES) == [row[0] for row in panel.rows]
    told = numbers("\n".join(line.split(" threshold")[0] for line in printed))
    assert np.allclose(told, [row[1:7] for row in panel.rows], atol=1e-4)
    for row, role in zip(panel.rows, heads.all_roles(view, NO_EDITS)):
        assert row[8] == (row[1] >= row[7] and row[2] > row[6]) == bool(role.given[1, 1])
    assert heads.given_roles(view) == {
        place: [r.name for r in heads.all_roles(view, NO_EDITS) if place in r.heads]
        for r in heads.all_roles(view, NO_EDITS)
        for place in r.heads
    }
