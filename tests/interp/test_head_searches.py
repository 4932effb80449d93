"""Searches over heads that are watched while they run: greedy knock-outs, growing lists of pairs, one head's neighbours."""

import pytest
import torch
from helpers import max_difference, random_model, some_tokens, tiny_config

from interp.edits import Edit, Plan
from interp.intervene import compile_plan
from interp.knockout_greedy import greedy_knock_out
from interp.weights_composition import composition, neighbours
from interp.weights_pairs import entries_so_far, pairs_so_far, top_pairs

CONFIG = tiny_config(n_layers=3, n_heads=4, d_model=16, d_vocab=60, n_ctx=16)
MODEL = random_model(CONFIG)
TOKENS = some_tokens(CONFIG, batch=2, pos=6)
HEADS = [(layer, head) for layer in range(3) for head in range(4)]


def difference(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, 3] - logits[:, 7]


@torch.no_grad()
def whole_run(plan: Plan) -> float:
    return difference(MODEL(TOKENS, hook=compile_plan(MODEL, plan, bos=False))[:, -1]).mean().item()


@pytest.mark.parametrize("lower", [True, False])
def test_greedy_knock_outs_are_those_of_whole_runs(lower):
    plan = Plan((Edit.scale("resid_pre", 1, value=1.3), Edit.zero("z", 2, 1)))  # a head that is already off is not asked
    rounds = [r for r in greedy_knock_out(MODEL, TOKENS, difference, 3, lower, plan, bos=False) if r.head is not None]
    taken = []
    for number, found in enumerate(rounds, 1):
        gone = plan.add(*(Edit.zero("z", *head) for head in taken))
        each = {h: whole_run(gone.add(Edit.zero("z", *h))) for h in HEADS if h not in taken and h != (2, 1)}
        best = (min if lower else max)(each, key=each.get)
        assert (found.number, found.taken, found.head) == (number, tuple(taken), best)
        assert found.value == pytest.approx(each[best], abs=1e-5) and found.baseline == pytest.approx(whole_run(gone), abs=1e-5)
        table = torch.full((3, 4), torch.nan)
        for head, value in each.items():
            table[head] = value
        assert (
            torch.equal(found.values.isnan(), table.isnan())
            and max_difference(found.values.nan_to_num(), table.nan_to_num()) < 1e-5
        )
        taken.append(best)
    assert len(taken) == 3


def test_a_greedy_search_shows_how_far_it_is_and_can_be_left():
    search = greedy_knock_out(MODEL, TOKENS, difference, 2, bos=False)
    first = next(search)
    assert first.head is None and (first.done, first.total) == (4, 12) and first.values[1:].isnan().all()
    search.close()
    with pytest.raises(ValueError, match="1 to 12 heads away, got steps=13"):
        next(greedy_knock_out(MODEL, TOKENS, difference, 13))
    plan = Plan((Edit.scale("z", 0, 0, value=2.0), Edit.zero("z", 1), Edit.zero("z", 2, 3)))  # one head alone is at zero
    with pytest.raises(ValueError, match="1 to 11 heads away, got steps=12"):
        next(greedy_knock_out(MODEL, TOKENS, difference, 12, plan=plan))


def test_pairs_grow_to_the_top_pairs():
    steps = list(pairs_so_far(MODEL, 1, 2, "QK", k=9))
    expected = top_pairs(MODEL, 1, 2, "QK", k=9)
    assert [s.final for s in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].left.tolist() == expected.left.tolist() and torch.equal(steps[-1].values, expected.values)
    left, right = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)), torch.eye(3).repeat(8, 1)
    grown = list(entries_so_far(left, right, 5, rows=4, columns=3))
    assert 1 < len(grown) < 80  # neither all at once nor every block
    shares = [looked_at for _, _, _, looked_at, _ in grown]
    assert shares == sorted(shares) and len(set(shares)) == len(shares) and shares[-1] < 1
    lowest = [values[-1].item() for values, *_ in grown]
    assert lowest == sorted(lowest)  # the list only gets better
    assert max_difference(grown[-1][0], (left @ right.T).flatten().topk(5).values) < 1e-6


@pytest.mark.parametrize("mode", ["Q", "K", "V"])
@pytest.mark.parametrize("folded", [True, False])
def test_neighbours_are_a_row_and_a_column_of_all_compositions(mode, folded):
    every = composition(MODEL, mode, folded)
    for layer, head in ((0, 1), (1, 3), (2, 0)):
        found = neighbours(MODEL, layer, head, mode, folded)
        assert max_difference(found.earlier, every.scores[:, :, layer, head]) < 1e-6
        assert max_difference(found.later, every.scores[layer, head]) < 1e-6
        assert (found.baseline, found.baseline_std) == (every.baseline, every.baseline_std)
    with pytest.raises(ValueError, match="L3H0 does not exist"):
        neighbours(MODEL, 3, 0, mode)
