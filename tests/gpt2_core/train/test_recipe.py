"""Recipes: every mistake is one sentence; the packaged ones hold what they promise."""

from pathlib import Path

import pytest
from train_helpers import TINY

import gpt2_core.train
from gpt2_core.train import recipe as recipes
from gpt2_core.train.plan_cli import plan

PACKAGED = sorted((Path(gpt2_core.train.__file__).parent / "recipes").glob("*.toml"))
REPRODUCTION = Path(gpt2_core.train.__file__).parent / "recipes" / "gpt2-124m.toml"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("rows = 8", "row = 8", "[batch] has an unknown key 'row'"),
        ("rows = 8\n", "", "[batch] lacks 'rows'"),
        ("[model]", "[modle]", "the recipe has an unknown key 'modle'"),
        ("rows = 8", "rows = 8.5", "[batch] rows is 8.5, expected a whole number"),
        ("rows = 8", "rows = true", "[batch] rows is True, expected a whole number"),
        ("rows = 8", "rows = 6", "[batch] rows is 6, expected a multiple of rows_at_once, 4"),
        ('kind = "sampled"', 'kind = "hashed"', "[loss] kind is 'hashed', expected one of 'chunked', 'sampled'"),
        ("window = 16", "window = 64", "[data] window is 64, expected at most n_ctx, 32"),
        ("ids = [0, 1000]", "ids = [0, 60000]", "[repetition] ids is (0, 60000)"),
        ("ids = [0, 1000]", "ids = [0]", "[repetition] ids is [0], expected two whole numbers"),
        ("period = [4, 8]", "period = [4, 40]", "[repetition] period is (4, 40)"),
        ("learning_rate = 0.003", "learning_rate = -1", "[optimizer] learning_rate is -1.0, expected more than 0"),
        ("warmup_steps = 2", "warmup_steps = 9", "[optimizer] warmup_steps is 9, expected 0 to steps, 8"),
        ("threads = 1", 'dtype = "float16"', "[compute] dtype is 'float16'"),
        ("share = 0.25", "share = 0.25\nlength = 5", "[repetition] length is 5, expected 0, or a length that divides"),
        ("share = 0.25", "share = 0.25\nfade = 0", "[repetition] fade is 0.0, expected a share of the run above 0"),
        ("share = 0.25", "share = 0.25\nlength = 4", "[repetition] period is (4, 8), expected [shortest, longest] up to"),
        ("snapshots = 4", "snapshots = 1", "[save] snapshots is 1, expected 0, or 2 or more"),
        ("tokens = 64", "tokens = 8", "[evaluation] tokens is 8, expected at least one window"),
        ("n_heads = 2", "n_heads = 3", "d_model 16 must be a multiple of n_heads 3"),
        ("seed = 3", "seed = ", "not valid TOML"),
        ("seed = 3", "seed = 3\ninit = 3", "init must be a section [init], got 3"),
    ],
)
def test_a_mistake_is_one_sentence(old, new, expected):
    assert old in TINY
    with pytest.raises(ValueError) as error:
        recipes.parse(TINY.replace(old, new, 1))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="Cannot read the recipe .*none.toml"):
        recipes.read(tmp_path / "none.toml")


def test_whole_numbers_may_stand_for_others_and_defaults_are_filled_in():
    recipe = recipes.parse(TINY.replace("learning_rate = 0.003", "learning_rate = 1"))
    assert recipe.optimizer.learning_rate == 1.0 and isinstance(recipe.optimizer.learning_rate, float)
    assert recipe.to_dict()["optimizer"]["beta2"] == 0.95


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("rows_at_once = 4", "rows_at_once = 2", True),
        ("every = 2", "every = 3", True),
        ('name = "tiny"', 'name = "other"', True),
        ("steps = 8", "steps = 9", False),  # the schedule depends on it
        ("seed = 3", "seed = 4", False),
        ("tokens = 64", "tokens = 80", False),
        ("negatives = 200", "negatives = 201", False),
    ],
)
def test_what_may_change_when_a_run_goes_on(old, new, same):
    a, b = recipes.parse(TINY), recipes.parse(TINY.replace(old, new, 1))
    assert a != b
    assert (recipes.difference(a, b) is None) is same
    assert (a.hash() == b.hash()) is same


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_packaged_recipes_are_valid_and_named_after_their_file(path):
    assert recipes.read(path).name == path.stem


def test_the_124m_recipe_is_gpt2_and_its_comment_is_right():
    recipe = recipes.read(REPRODUCTION)
    assert recipe.config.n_params == 124_439_808
    assert recipe.tokens_per_step == 480 * 1024 == 491_520
    on_a100, on_h100 = plan(recipe, 8, 312, 0.3), plan(recipe, 8, 989, 0.35)
    assert on_a100.tokens == 600_000 * 491_520 and on_a100.accumulation == 2
    flops = (6 * 124_439_808 + 12 * 12 * 768 * 1024) * on_a100.tokens  # 6 N + 12 L d T, written out again
    assert on_a100.flops == pytest.approx(flops)
    assert on_a100.hours == pytest.approx(flops / (8 * 312e12 * 0.3) / 3600)
    comment = REPRODUCTION.read_text(encoding="utf-8")
    for figure in (
        f"{flops / on_a100.tokens:.2e}".replace("e+0", "e") + " a token",
        f"{flops:.2e}".replace("e+", "e") + " in all",
        f"{on_a100.tokens / 1e9:.1f} billion",
        f"{on_a100.tokens / 9_035_582_198:.0f} epochs",
        f"{on_a100.hours:.0f} on 8 x A100",
        f"{on_h100.hours:.0f} on 8 x H100",
        f"{16 * 124_439_808 / 2**30:.2f} GiB of weights",
        f"{3072 * 50257 * 12 / 2**30:.2f} GiB of logits",
        f"{34 * 768 * 12 * 1024 * 30 / 2**30:.0f} GiB)",
    ):
        assert figure in comment, figure


def test_a_plan_for_devices_that_cannot_share_the_rows_is_refused():
    with pytest.raises(ValueError, match="multiple of rows_at_once x devices, 30 x 7"):
        plan(recipes.read(REPRODUCTION), 7, 312, 0.3)
