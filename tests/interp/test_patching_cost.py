"""What a sweep computes and what it leaves out: its FLOPs counted, batches, rows on demand, the last block, fused products."""

import pytest
import torch
from helpers import max_difference, random_model, some_tokens, tiny_config
from torch.utils.flop_counter import FlopCounterMode

from interp import patching, sweep, sweep_cost
from interp.fused import fused
from interp.metrics import logit_diff
from interp.sweep import Rerun, absorbs
from interp.sweep_cells import COMPONENTS, OF_HEADS

CONFIG = tiny_config(n_layers=3, d_model=32, d_vocab=60)
MODEL = random_model(CONFIG)
CLEAN, CORRUPTED = some_tokens(CONFIG, 1, 7, seed=1), some_tokens(CONFIG, 1, 7, seed=2)
SHARED = torch.cat([CLEAN[:, :3], CORRUPTED[:, 3:]], 1)  # the first difference is at position 3
METRIC = logit_diff(3, 5)
GROUPS = 5
WAYS = [*((c, False) for c in COMPONENTS), *((c, True) for c in OF_HEADS)]


def test_a_row_is_computed_only_when_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(sweep_cost, "ENOUGH_TOKENS", 1)  # no layer is small enough to be computed with another
    prepared, done = patching.prepare(MODEL, CLEAN, CORRUPTED, METRIC), []
    compute = prepared._rerun.finish
    monkeypatch.setattr(prepared._rerun, "finish", lambda entries: done.append(entries[0].block) or compute(entries))
    rows = prepared.rows()
    next(rows), next(rows)
    assert done == [0, 1]


@pytest.mark.parametrize("component, by_position", [("resid_pre", False), ("k", True), ("z", False)])
def test_batches_do_not_change_the_values(component, by_position):
    options = {"component": component, "by_position": by_position}
    whole = patching.sweep(MODEL, CLEAN, SHARED, METRIC, **options).values
    assert max_difference(whole[[1]], patching.sweep(MODEL, CLEAN, SHARED, METRIC, layers=[1], **options).values) <= 1e-5
    one_by_one = patching.sweep(MODEL, CLEAN, SHARED, METRIC, memory=30_000, **options).values
    assert max_difference(whole, one_by_one) <= 1e-5
    with pytest.raises(ValueError, match="1,000 are allowed"):
        patching.sweep(MODEL, CLEAN, SHARED, METRIC, memory=1000, **options)


def count_flops(prepared):
    """Of the rows of a sweep, by torch's counter; it does not know fused attention on CPUs, whose calls are added up here."""
    attend, seen = prepared._rerun.attend, []

    def counted(layer, q, k, v, first):
        seen.append(4 * q.shape[0] * q.shape[1] * k.shape[1] * CONFIG.d_model)
        return attend(layer, q, k, v, first)

    prepared._rerun.attend = counted
    prepared._rerun.blocks = MODEL.h  # the counter does not know oneDNN's products either
    with FlopCounterMode(display=False) as counter:
        list(prepared.rows())
    return counter.get_total_flops() + sum(seen)


def test_shared_beginnings_cost_nothing_and_change_nothing():
    result = patching.sweep(MODEL, CLEAN, SHARED, METRIC)
    assert result.effect[:, :3].abs().max() == 0 and (result.effect[:, 3:] != 0).any()
    all_different = count_flops(patching.prepare(MODEL, CLEAN, CORRUPTED, METRIC))
    shared = count_flops(patching.prepare(MODEL, CLEAN, SHARED, METRIC))
    assert shared < 0.6 * all_different


ONE_WORD = torch.cat([CLEAN[:, :3], CORRUPTED[:, 3:4], CLEAN[:, 4:]], 1)
LAST_WORD = torch.cat([CLEAN[:, :6], CORRUPTED[:, 6:]], 1)


@pytest.mark.parametrize("component", ["resid_pre", "v", "z"])
def test_the_last_block_without_keys_and_values(monkeypatch, component):
    assert absorbs(CONFIG, 7, 0) and absorbs(CONFIG, 7, 3) and not absorbs(CONFIG, 7, 6)
    double = random_model(CONFIG).double()
    calls, once = [], Rerun._attend_once
    monkeypatch.setattr(Rerun, "_attend_once", lambda self, x, at: calls.append(len(at)) or once(self, x, at))
    without = patching.sweep(double, CLEAN, SHARED, METRIC, component).values
    assert calls
    monkeypatch.setattr(sweep, "absorbs", lambda *_: False)
    calls.clear()
    assert max_difference(without, patching.sweep(double, CLEAN, SHARED, METRIC, component).values) <= 1e-12 and not calls


def test_equal_tokens_are_not_patched_before_the_first_block():
    assert (CLEAN == CORRUPTED).sum() == 0
    row = patching.sweep(MODEL, CLEAN, ONE_WORD, METRIC).effect[0]
    assert row.nonzero().tolist() == [[3]]
    spared = patching.estimate(MODEL, 7, first=3, n_read=2).flops - count_flops(
        patching.prepare(MODEL, CLEAN, ONE_WORD, METRIC)
    )
    whole = count_flops(patching.prepare(MODEL, CLEAN, SHARED, METRIC, layers=[0]))
    word = count_flops(patching.prepare(MODEL, CLEAN, ONE_WORD, METRIC, layers=[0]))
    assert spared == whole - word > 0


@pytest.mark.parametrize("component, by_position", WAYS)
@pytest.mark.parametrize("first", [0, 3, 6])
def test_the_estimate_counts_what_the_sweep_does(component, by_position, first):
    options = {"by_position": by_position, "n_groups": GROUPS}
    corrupted = {0: CORRUPTED, 3: SHARED, 6: LAST_WORD}[first]
    prepared = patching.prepare(MODEL, CLEAN, corrupted, METRIC, component, **options)
    n_read = len(METRIC.reads)
    expected = patching.estimate(MODEL, 7, component, first=first, n_read=n_read, **options)
    assert expected.flops == count_flops(prepared)
    assert expected.rows <= CONFIG.n_layers * len(prepared.cells()) and expected.bytes > 0 and expected.seconds > 0
    everything = patching.estimate(MODEL, 7, component, first=first, **options)
    assert everything.flops - expected.flops == expected.rows * 2 * CONFIG.d_model * (CONFIG.d_vocab - n_read)


@torch.no_grad()
def test_fused_products_are_the_models():
    double = random_model(CONFIG).double()
    assert fused(double) is double
    fast = fused(MODEL)
    assert fast is not MODEL and fast.h[0].attn.c_attn is not MODEL.h[0].attn.c_attn and fast.wte is MODEL.wte
    assert max_difference(fast(CLEAN), MODEL(CLEAN)) <= 1e-5
    exact = patching.sweep(double, CLEAN, SHARED, METRIC, "z")
    assert max_difference(exact.values, patching.sweep(MODEL, CLEAN, SHARED, METRIC, "z").values) <= 1e-5
    assert all(check.residual <= 1e-12 and check.tolerance < 1e-7 for check in exact.checks)


def test_batches_hold_every_cell_once_within_the_memory():
    starts, one = {0: 3, 1: 0, 2: 5, 3: 0, 4: 6}, sweep_cost.row_bytes(CONFIG, 7, 0, 2, explicit=False)
    found = list(sweep_cost.batches(CONFIG, 7, 1, starts, 2, explicit=False, memory=2 * one))
    assert sorted(cell for batch in found for cell in batch.cells) == sorted(starts) and len(found) > 1
    assert all(batch.tokens == sum(7 - starts[cell] for cell in batch.cells) for batch in found)
    assert all(batch.bytes <= 2 * one for batch in found) and [batch.last for batch in found] == [False] * (len(found) - 1) + [
        True
    ]
    scores = sweep_cost.row_bytes(CONFIG, 7, 2, 5, explicit=True) - sweep_cost.row_bytes(CONFIG, 7, 2, 5, explicit=False)
    assert scores == 4 * 5 * 7 * sweep_cost._BYTES_OF_SCORES  # heads, queries, keys


def test_the_estimate_takes_the_memory_that_is_allowed_and_one_row_at_least():
    one = sweep_cost.row_bytes(CONFIG, 7, 0, CONFIG.d_vocab, explicit=False)
    least, some, most = (patching.estimate(MODEL, 7, memory=memory).bytes for memory in (1, 3 * one, 2**50))
    assert (some - least, most - least) == (2 * one, 6 * one)


def test_estimates_that_mean_nothing():
    for arguments in ({"component": "resid"}, {"first": 7}):
        with pytest.raises(ValueError, match=r"expected|Expected"):
            patching.estimate(MODEL, 7, **arguments)
