"""Batches: every token once an epoch, repetition documents, the same rows however they are shared out."""

import numpy as np
import pytest
import torch
from train_helpers import make_shards, tiny_text

from gpt2_core.train import recipe as recipes
from gpt2_core.train.batches import Batch, Batches, negatives_seed, repetition_rows
from gpt2_core.train.shards import Shards, ShardWriter, write_index


def counting(folder, tokens: int) -> Shards:
    """Training text in which each token is its own position."""
    splits = {}
    for split in ("train", "validation"):
        writer = ShardWriter(folder, split, 300)
        for at in range(0, tokens, 100):
            writer.add(np.arange(at, min(at + 100, tokens)), 100)
        writer.close()
        splits[split] = writer.shards
    write_index(folder, 0, splits)
    return Shards.open(folder)


def parsed(**changes: str) -> recipes.Recipe:
    return recipes.parse(tiny_text(**changes))


def parts(batch: Batch) -> tuple[torch.Tensor, ...]:
    return batch.text, batch.repeated, batch.importance


@pytest.mark.parametrize("tokens", [800, 807])
def test_each_token_is_predicted_once_an_epoch(tmp_path, tokens):
    recipe = parsed(**{"repetition.share": "0.0", "optimizer.steps": "40"})
    batches = Batches(recipe, counting(tmp_path, tokens))
    per_epoch, orders = tokens // 16, []
    rows = torch.cat([batches(step).text for step in range(2 * per_epoch // 8 + 1)])
    for epoch in range(2):
        part = rows[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert torch.equal(part[:, 1:], (part[:, :1] + torch.arange(1, 17)) % tokens)  # windows of the circle of tokens
        targets = part[:, 1:].flatten().tolist()
        assert len(set(targets)) == len(targets) == per_epoch * 16  # all but the remainder, none twice
        orders.append(targets)
    assert orders[0] != orders[1]


def test_a_batch_depends_on_its_step_only(tmp_path):
    shards = Shards.open(make_shards(tmp_path / "data"))
    recipe = parsed(**{"optimizer.steps": "30", "repetition.final_share": "0.25"})
    forward, backward = Batches(recipe, shards), Batches(recipe, shards)
    expected = [forward(step) for step in range(30)]
    for step in reversed(range(30)):
        assert all(torch.equal(a, b) for a, b in zip(parts(backward(step)), parts(expected[step])))
    other = Batches(parsed(**{"optimizer.steps": "30", "repetition.final_share": "0.25", "seed": "4"}), shards)
    assert not torch.equal(other(0).text, expected[0].text) and not torch.equal(other(0).repeated, expected[0].repeated)
    assert negatives_seed(recipe, 0) != negatives_seed(recipe, 1)


@pytest.mark.parametrize("length", [0, 8])
@pytest.mark.parametrize("shares", [[8], [4, 4], [2, 2, 2, 2], [3, 5], [1] * 8])
def test_rows_shared_out_are_the_rows_of_the_batch(tmp_path, shares, length):
    recipe = parsed(**{"repetition.final_share": "0.25", "repetition.length": f"{length}"})
    batch = Batches(recipe, Shards.open(make_shards(tmp_path / "data")))(0)
    documents = 2 * 16 // (length or 16)  # two of the eight rows repeat
    assert batch.text.shape == (6, 17) and batch.repeated.shape == (documents, (length or 16) + 1)
    starts = np.cumsum([0, *shares[:-1]])
    shared = [batch.rows(int(start), count) for start, count in zip(starts, shares)]
    for whole, pieces in zip(parts(batch), zip(*map(parts, shared))):
        assert torch.equal(torch.cat(pieces), whole)
    for part, count in zip(shared, shares):
        assert len(part.targets) == count * 16
    assert sum(part.weight for part in shared) == batch.weight == 6 * 16 + batch.importance.sum().item()


def test_repetition_documents_repeat_and_their_first_copy_has_no_weight(tmp_path):
    recipe = parsed(
        **{
            "repetition.share": "1.0",
            "repetition.final_share": "1.0",
            "repetition.length": "32",
            "data.window": "32",
            "batch.rows": "64",
        }
    )
    batch = Batches(recipe, Shards.open(make_shards(tmp_path / "data")))(5)
    assert batch.text.shape == (0, 33) and batch.repeated.shape == (64, 33)
    periods = []
    for tokens, importance in zip(batch.repeated.tolist(), batch.importance.tolist()):
        period = next(p for p in range(1, 33) if all(tokens[i] == tokens[i - p] for i in range(p, 33)))
        assert importance == [0.0] * (period - 1) + [1.0] * (33 - period)  # prediction i is of token i + 1
        periods.append(period)
    assert set(periods) == {4, 5, 6, 7, 8}
    assert 0 <= batch.repeated.min() and batch.repeated.max() < 1000


def test_the_share_of_repetition_falls_linearly():
    rows = repetition_rows(
        parsed(**{"optimizer.steps": "1000", "repetition.share": "0.5", "repetition.final_share": "0.1", "batch.rows": "16"})
    )
    assert rows[:100].mean() == pytest.approx(16 * 0.48, abs=0.05) and rows[-100:].mean() == pytest.approx(16 * 0.12, abs=0.05)
    assert rows.sum() == pytest.approx(1000 * 16 * 0.3, abs=1)
    assert (
        repetition_rows(parsed(**{"optimizer.steps": "10", "repetition.share": "0.25", "repetition.final_share": "-1.0"})) == 2
    ).all()
    faded = repetition_rows(
        parsed(
            **{
                "optimizer.steps": "1000",
                "repetition.share": "0.5",
                "repetition.final_share": "0.0",
                "repetition.fade": "0.4",
                "batch.rows": "16",
            }
        )
    )
    assert faded[:400].sum() == pytest.approx(400 * 16 * 0.25, rel=0.01) and not faded[401:].any()


def test_too_little_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match="The training text has 16 tokens, which is less than a window of 16"):
        Batches(parsed(), counting(tmp_path, 16))
