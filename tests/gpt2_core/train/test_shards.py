"""Windows of shards against slices of the concatenation, and what is refused."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_core.train.shards import Shards, ShardWriter, write_index, write_whole


def written(folder, documents: list[np.ndarray], shard_tokens: int) -> Shards:
    """The documents as the train split, and an empty validation split."""
    writers = {"train": ShardWriter(folder, "train", shard_tokens), "validation": ShardWriter(folder, "validation")}
    for document in documents:
        writers["train"].add(document, 3 * len(document))
    for writer in writers.values():
        writer.close()
    write_index(folder, 7, {split: writer.shards for split, writer in writers.items()})
    return Shards.open(folder)


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    shard_tokens=st.integers(1, 20),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=60, deadline=None)
def test_a_window_is_a_slice_of_the_concatenation(tmp_path_factory, sizes, shard_tokens, ends):
    ids = np.random.default_rng(len(sizes)).integers(0, 50257, sum(sizes))
    documents = np.split(ids, np.cumsum(sizes)[:-1])
    shards = written(tmp_path_factory.mktemp("shards"), documents, shard_tokens)
    start, stop = sorted(round(end * len(ids)) for end in ends)
    window = shards.window("train", start, stop - start)
    assert window.dtype == np.int64 and window.tolist() == ids[start:stop].tolist()
    counts = (shards.tokens("train"), shards.documents("train"), shards.bytes("train"))
    assert counts == (len(ids), len(sizes), 3 * len(ids))
    whole = max(sizes)
    assert all(shard.tokens <= max(shard_tokens, whole) for shard in shards.splits["train"])


def test_the_files_are_little_endian_uint16_with_the_hashes_of_the_index(tmp_path):
    shards = written(tmp_path, [np.array([1, 258, 50256]), np.array([2])], 3)
    assert (tmp_path / "train-00000.bin").read_bytes() == bytes([1, 0, 2, 1, 0x50, 0xC4])
    index = json.loads((tmp_path / "index.json").read_text())
    assert (index["format"], index["vocabulary"], index["dtype"], index["seed"]) == (1, "gpt2", "uint16", 7)
    for shard in index["splits"]["train"]["shards"]:
        assert shard["sha256"] == hashlib.sha256((tmp_path / shard["file"]).read_bytes()).hexdigest()
    shards.verify()


def test_the_fingerprint_follows_the_content(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
    one, same = (written(tmp_path / name, [np.array([1, 2])], 10) for name in "ab")
    other = written(tmp_path / "c", [np.array([1, 3])], 10)
    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "split, start, length, match",
    [("train", -1, 2, "within the 4"), ("train", 3, 2, "within the 4"), ("test", 0, 1, "no split")],
)
def test_windows_that_are_not_there(tmp_path, split, start, length, match):
    shards = written(tmp_path, [np.arange(4)], 10)
    with pytest.raises(ValueError, match=match):
        shards.window(split, start, length)


def test_open_refuses_what_is_not_whole(tmp_path):
    with pytest.raises(ValueError, match="holds no index.json"):
        Shards.open(tmp_path)
    written(tmp_path, [np.arange(4)], 10)
    file = tmp_path / "train-00000.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="has 7 bytes, the index says 8"):
        Shards.open(tmp_path)
    file.unlink()
    with pytest.raises(ValueError, match="is missing"):
        Shards.open(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2, "vocabulary": "gpt2", "dtype": "uint16"}',
                                  '{"format": 1, "vocabulary": "gpt2", "dtype": "uint16", "seed": 0, "splits": []}'])  # fmt: skip
def test_open_refuses_another_index(tmp_path, text):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(ValueError, match="prepare the data"):
        Shards.open(tmp_path)


def test_verify_finds_a_changed_byte(tmp_path):
    shards = written(tmp_path, [np.arange(4)], 10)
    (tmp_path / "train-00000.bin").write_bytes(bytes(8))
    with pytest.raises(ValueError, match="damaged"):
        shards.verify()


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
