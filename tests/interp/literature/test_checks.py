"""Comparing, the stored tables, and running the checks."""

import math
from pathlib import Path

import pytest
import torch
from helpers import random_model, tiny_config
from literature_models import batches

from gpt2_core import load
from gpt2_core.config import SIZES
from interp import literature
from interp.folding import fold
from interp.literature import extra_large, prompts, reference, runs
from interp.literature.check import Bound, Check, about, at_least, at_most, compare, near


def test_a_bound_is_an_interval_and_a_missing_cell_is_a_miss():
    measured = prompts.listed({"a": 1.0, "b": 2.0, "c": math.nan})
    expected = near({"a": 1.05}, 0.1) | {("b", ""): at_most(1.5), ("c", ""): at_least(0), ("d", ""): about(0, 1)}
    found = compare(measured, expected)
    assert found.cells == 4 and not found.passed
    assert [miss.cell[0] for miss in found.misses] == ["c", "d", "b"]  # the worst first, and NaN is never inside
    assert found.misses[1].measured is None and found.misses[2].measured == 2.0
    assert found.largest == pytest.approx(0.05) and found.where == ("a", "")
    assert compare(measured, near({"a": 1.05}, 0.1)).passed and not compare(measured, near({"a": 1.2}, 0.1)).passed
    assert [str(b) for b in (about(1, 0.1), at_least(3), at_most(0.5), Bound(0, -math.inf, 2))] == [
        "1 ± 0.1",
        "≥ 3",
        "≤ 0.5",
        "≤ 2",
    ]


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("dla_heads", (9, 9), 2.985),
        ("dla_heads", (10, 7), -1.899),
        ("patch_resid_pre", (8, 10), 0.66),
        ("patch_resid_pre", (9, 14), 0.94),
        ("patch_attn_out", (5, 10), 0.35),
        ("patch_attn_out", (11, 14), -0.41),
        ("patch_mlp_out", (0, 10), 0.85),
        ("patch_z", (5, 5), 0.343),
        ("patch_v", (8, 10), 0.273),
        ("patch_pattern", (9, 9), 0.277),
        ("previous_token", (4, 11), 0.992),
        ("duplicate_token", (0, 5), 0.703),
        ("induction", (7, 10), 0.904),
        ("backup_heads", (10, 10), 1.229),
        ("copying_ov", (11, 3), 0.999),
        ("copying", (1, 11), -0.999),
        ("patch_one_pair", (0, 10), 1.0),
    ],
)
def test_the_stored_tables_are_the_published_ones(name, place, value):
    table = torch.tensor(reference.values(name))
    assert table.shape in ((12, 12), (12, 15), (12, 17))
    assert table[place].item() == pytest.approx(value, abs=0.006) and reference.source(name).startswith("TransformerLens")


def test_expected_cells_are_those_that_gpt2_small_would_be_measured_at(model):
    heads_of, positions = {"H" + str(i) for i in range(12)}, {str(i) for i in range(17)}
    for check in literature.CHECKS:
        assert check.expected and check.source and check.mode in ("raw", "folded")
        for row, column in check.expected:
            assert column == "" or (row[0] == "L" and int(row[1:]) < 12 and column in heads_of | positions), (check.id, row)
    assert len(literature.BY_ID) == len(literature.CHECKS) == 41
    readme, docs = (
        Path(__file__).parents[3].joinpath(name).read_text("utf-8") for name in ("README.md", "docs/interpretability.md")
    )
    assert f"{len(literature.CHECKS)} results" in readme and f"The {len(literature.CHECKS)} checks:" in docs


def test_the_eight_prompts_are_the_notebooks(model):
    clean, corrupted, right, wrong = batches(model)
    assert clean.shape == (8, 15) and torch.equal(corrupted, clean[[1, 0, 3, 2, 5, 4, 7, 6]])
    names = [5335, 1757, 1757, 5335, 4186, 3700, 3700, 4186, 6035, 15686, 15686, 6035, 5780, 14235, 14235, 5780]
    assert torch.stack([right, wrong], 1).flatten().tolist() == names
    assert len(model.tokenizer.encode(prompts.ABSTRACT)) + 1 == 33


def test_cheap_ones_come_first_and_an_embedded_model_has_no_expectation():
    costs = [check.tokens(SIZES["gpt2"].config) for check in literature.CHECKS]
    assert costs == sorted(costs) and costs[0] < 10
    glass = load("glass-2m")
    outcomes = list(literature.run(glass, ["dla_heads", "loss", "sums"]))
    assert [(o.check.id, o.status) for o in outcomes] == [("loss", "none"), ("sums", "pass"), ("dla_heads", "none")]
    assert outcomes[0].expected == {} and outcomes[0].comparison is None
    assert [o.provenance.weights for o in outcomes] == ["raw", "raw", "folded"]
    assert literature.seconds(glass, literature.CHECKS[-1]) > literature.seconds(glass, literature.CHECKS[0]) > 0


def test_expectations_are_for_openais_weights_only(model):
    named = random_model(model.config, tokenizer=model.tokenizer)
    assert not literature.is_released(named)
    named.weights_sha256 = SIZES["gpt2"].sha256
    assert (
        literature.is_released(named) and literature.is_released(fold(named)) and not literature.is_released(named, "gpt2-xl")
    )
    failed = literature.run_one(literature.BY_ID["loss"], named)  # not these weights, after all
    assert failed.status == "fail" and failed.comparison.misses[0].measured == failed.measured["loss"]
    assert literature.run_one(literature.BY_ID["loss"], named.to(torch.bfloat16)).status == "none"


def test_two_checks_are_of_gpt2_xl(model):
    assert [check.id for check in literature.CHECKS if check.of == "gpt2-xl"] == ["love_hate", "recall"]
    assert {check.of for check in literature.CHECKS} == {"gpt2", "gpt2-xl"}
    named = random_model(model.config, tokenizer=model.tokenizer)
    named.weights_sha256 = SIZES["gpt2-xl"].sha256
    assert literature.run_one(literature.BY_ID["loss"], named).expected == {}
    assert set(literature.run_one(literature.BY_ID["love_hate"], named).expected) == set(literature.BY_ID["love_hate"].expected)


def test_what_cannot_be_run_says_why_and_the_rest_goes_on(model):
    short = random_model(tiny_config(d_model=16, n_heads=2, n_ctx=64), tokenizer=model.tokenizer)
    fine, refused = literature.run(short, ["previous_token", "loss"])
    assert refused.status == "refused" and "length must lie in 2..32" in refused.reason and fine.status == "none"
    demanded = Check("x", "x", literature.BY_ID["previous_token"].measure, "x", near({"a": 1}, 1), len, everywhere=True)
    assert literature.run_one(demanded, short).status == "fail"
    infinite = Check("x", "x", lambda m: prompts.listed({"a": math.inf}), "x", {}, len)
    assert "not finite" in literature.run_one(infinite, short).reason


def test_unknown_checks_and_folded_models_are_refused(model, folded):
    with pytest.raises(ValueError, match="No check is called 'nonsense'; expected some of loss"):
        literature.chosen(["nonsense"])
    with pytest.raises(ValueError, match="give the model as it was released"):
        next(literature.run(folded))
    assert next(literature.run(model)).check.id == literature.CHECKS[0].id


@pytest.fixture(scope="module")
def of_papers_shape():
    """As many layers and heads as GPT-2 small, so that the heads of the papers exist."""
    config = tiny_config(n_layers=12, n_heads=12, d_model=24, n_ctx=128)
    return random_model(config, tokenizer=load("glass-2m").tokenizer)


SHORT = {"sentences": ("N_MANY", "N_YEARS", "N_ADVERSARIAL", "N_TAILS"), "circuit": ("N_CIRCUIT", "N_SIGNALS")}
SHORT |= {"vocabulary": ("N_TOKENS",), "extra_large": ("SAMPLES",)}


@pytest.mark.parametrize("part", SHORT)
def test_what_is_expected_is_among_what_is_measured(of_papers_shape, monkeypatch, part):
    module = getattr(runs, part)
    for name in SHORT[part]:
        monkeypatch.setattr(module, name, 2)
    monkeypatch.setattr(extra_large, "FACTS", extra_large.FACTS[:1])
    monkeypatch.setattr(extra_large, "TOO_LITTLE", -1.0)  # a random model may know more with noise than without
    for check in module.CHECKS:
        measured = check.measure(of_papers_shape)
        assert all(cell in measured for cell in check.expected), check.id


def test_tokens_that_are_not_read_out_cost_the_layers_share(model):
    layers = sum(weight.numel() for weight in model.h.parameters() if weight.ndim == 2)
    assert prompts.unread(model.config, 10**6) == round(10**6 * layers / (layers + model.W_U.numel()))
