"""Sources of every kind, whole and broken: what is read, in which order, and what is said of the rest."""

import gzip
import io
import json
import os
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gpt2_core.train import hub, sources
from gpt2_core.train.documents import Place, Record, bounded_lines, read_path
from gpt2_core.train.extract import extract
from gpt2_core.train.settings import Settings


def read(path: Path, **changes) -> list[Record]:
    return list(read_path(path, Place(0, "", Settings(**changes))))


def texts(records: list[Record]) -> list[str]:
    return [extract(record, Settings()).text for record in records if not record.reason]


def reports(records: list[Record]) -> dict[str, tuple[str, str]]:
    return {record.origin: (record.reason, record.detail) for record in records if record.reason}


def tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def parquet(rows: list[dict]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


LINES = b'{"text": "one"}\n\n{"text": "two"}\n'
MEMBERS = {
    "b/1.md": b"# first",
    "a.txt": b"second",
    "c.jsonl": LINES,
    "d.parquet": parquet([{"text": "row"}]),
    "e.jsonl.gz": gzip.compress(LINES),
}
EXPECTED = ["first", "second", "one", "two", "row", "one", "two"]


@pytest.mark.parametrize("name, mode", [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tgz", "w:gz"), ("x.tar.xz", "w:xz")])
def test_tars_are_read_in_their_own_order(tmp_path, name, mode):
    found = read(tar(tmp_path / name, MEMBERS, mode))
    assert texts(found) == EXPECTED and not reports(found)
    assert [record.origin for record in found[:3]] == ["b/1.md", "a.txt", "c.jsonl/1"]


def test_zips_are_read_in_their_own_order(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    assert texts(read(tmp_path / "x.zip")) == EXPECTED


def test_folders_are_read_by_name_with_archives_in_place(tmp_path):
    for name, data in {
        "b.txt": b"b",
        "a/z.txt": b"z",
        "a/.hidden/x.txt": b"no",
        ".secret.txt": b"no",
        "c.jsonl.zst": zstandard.compress(LINES),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    tar(tmp_path / "a" / "y.tar", {"m.txt": b"member"})
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    os.mkfifo(tmp_path / "pipe.txt")  # reading it would wait for ever
    found = read(tmp_path)
    assert texts(found) == ["member", "z", "b", "one", "two"]
    assert reports(found) == {"picture.png": ("other kind of file", ".png")}
    assert found[0].origin == "a/y.tar/m.txt"


def test_members_are_never_paths(tmp_path):
    """Names that climb, absolute names and links stay names; links and devices are no documents."""
    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    with tarfile.open(inside / "x.tar", "w") as archive:
        for name in ("../../climbed.txt", "/absolute.txt"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found = read(inside / "x.tar")
    assert texts(found) == ["x", "x"]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x.tar"]


def test_rows_of_a_table_carry_their_address(tmp_path):
    rows = [{"text": "t", "url": "http://a.org", "n": 1}, {"text": None, "url": None, "n": 2}]
    (tmp_path / "x.parquet").write_bytes(parquet(rows))
    found = read(tmp_path / "x.parquet")
    assert (found[0].data, found[0].url) == ("t", "http://a.org")
    assert found[1].reason == "unreadable" and "NoneType" in found[1].detail
    (tmp_path / "y.parquet").write_bytes(parquet([{"body": "t"}]))
    assert "no column 'text' among body" in read(tmp_path / "y.parquet")[0].detail
    assert read(tmp_path / "y.parquet", text_key="body")[0].data == "t"


def broken(tmp_path: Path) -> dict[str, bytes]:
    """Files cut or damaged in the middle, by name."""
    many = b"".join(json.dumps({"text": f"line {n} {os.urandom(40).hex()}"}).encode() + b"\n" for n in range(3000))
    members = {f"{n}.txt": os.urandom(2000).hex().encode() for n in range(40)}
    whole = {
        "cut.jsonl.gz": gzip.compress(many),
        "cut.jsonl.zst": zstandard.compress(many),
        "cut.tar": tar(tmp_path / "t", members).read_bytes(),
        "cut.tar.gz": tar(tmp_path / "t", members, "w:gz").read_bytes(),
        "cut.tar.xz": tar(tmp_path / "t", members, "w:xz").read_bytes(),
        "cut.parquet": parquet([{"text": "row"}] * 10),
    }
    (tmp_path / "t").unlink()
    return {name: data[: int(len(data) * 0.6)] for name, data in whole.items()}


@pytest.mark.parametrize("name", ["cut.jsonl.gz", "cut.jsonl.zst", "cut.tar", "cut.tar.gz", "cut.tar.xz", "cut.parquet"])
def test_a_cut_file_keeps_what_came_before_and_is_reported(tmp_path, name):
    (tmp_path / name).write_bytes(broken(tmp_path)[name])
    found = read(tmp_path / name)
    assert [record.reason for record in found].count("unreadable") == 1 and found[-1].reason == "unreadable"
    assert len(found) > 1 or name == "cut.parquet"
    assert ("broken after" in found[-1].detail) == (name != "cut.parquet")


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl.zst", "x.tar", "x.tar.gz", "x.tar.xz", "x.zip", "x.parquet"])
@pytest.mark.parametrize("data", [b"", b"no such format", b"\x00" * 5000], ids=["empty", "text", "zeros"])
def test_a_file_of_another_format_is_one_report_at_most(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    found = read(tmp_path / name)
    assert len(found) <= 1 and not texts(found)
    if data == b"no such format":
        assert found[0].reason == "unreadable" and found[0].detail


def test_damage_in_a_zip_member_leaves_the_others(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("1.txt", "2.txt", "3.txt"):
            archive.writestr(name, f"text of {name}")
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(data.replace(b"text of 2", b"test of 2"))
    found = read(tmp_path / "x.zip")
    assert texts(found) == ["text of 1.txt", "text of 3.txt"]
    assert "CRC" in reports(found)["2.txt"][1]


def test_sizes_are_limited(tmp_path):
    big = b"a" * ((1 << 20) + 1)
    (tmp_path / "big.txt").write_bytes(big)
    (tmp_path / "big.jsonl").write_bytes(b'{"text": "a"}\n"' + big + b'"\n{"text": "b"}\n')
    tar(tmp_path / "big.tar.xz", {"bomb.txt": bytes(1 << 25), "small.txt": b"small"}, "w:xz")
    found = read(tmp_path, largest_mib=1)
    assert {origin: reason for origin, (reason, _) in reports(found).items()} == dict.fromkeys(
        ("big.txt", "big.jsonl/2", "big.tar.xz/bomb.txt"), "too large"
    )
    assert texts(found) == ["a", "b", "small"]
    assert all(len(record.data) <= 1 << 20 for record in found if isinstance(record.data, bytes | str))


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\x00", b"\n")), st.integers(1, 20), st.integers(1, 9))
def test_bounded_lines_against_split(data, limit, block):
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    expected = data.split(b"\n")
    expected = expected if expected[-1] else expected[:-1]
    assert list(bounded_lines(blocks, limit)) == [line if len(line) <= limit else None for line in expected]


def test_sources_that_are_not_there_or_of_no_kind(tmp_path):
    with pytest.raises(ValueError, match="does not exist; give a folder, a file, or hf:owner/name"):
        sources.look_at([str(tmp_path / "none")])
    (tmp_path / "x.pdf").write_bytes(b"%PDF")
    with pytest.raises(ValueError, match="of no kind that is read; expected a folder or a file ending in .txt"):
        sources.look_at([str(tmp_path / "x.pdf")])


def test_a_source_s_state_follows_its_files(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    before = sources.look_at([str(tmp_path)])[0][0]
    assert (before.files, before.size) == (1, 1) and before == sources.look_at([str(tmp_path)])[0][0]
    (tmp_path / "a.txt").write_text("ab")
    assert sources.look_at([str(tmp_path)])[0][0].state != before.state


@pytest.mark.parametrize("done", range(8))
def test_going_on_leaves_out_what_is_done(tmp_path, done):
    for name, count in (("a", 3), ("b", 4)):
        (tmp_path / name).mkdir()
        for n in range(count):
            (tmp_path / name / f"{n}.txt").write_text(f"{name}{n}")
    places = sources.look_at([str(tmp_path / "a"), str(tmp_path / "b")])[0]
    everything = [(r.source, r.origin) for r in sources.records(places, Settings(), Counter())]
    rest = sources.records(places, Settings(), Counter(source for source, _ in everything[:done]))
    assert [(r.source, r.origin) for r in rest] == everything[done:]


class Rows(list):
    """As much of a streamed data set as is used."""

    def skip(self, count: int) -> "Rows":
        return Rows(self[count:])


def test_the_hub_is_asked_only_when_allowed(monkeypatch):
    monkeypatch.setattr(hub, "pin", lambda name: pytest.fail("the hub was contacted"))
    with pytest.raises(ValueError, match=r"CC0.*13 GB.*add --hub"):
        sources.look_at(["hf:Skylion007/openwebtext"])
    with pytest.raises(ValueError, match="datasets/some/thing for its licence and size.*add --hub"):
        sources.look_at(["hf:some/thing"])


def test_a_hub_data_set_is_streamed_at_one_revision(monkeypatch):
    pinned = (hub.HubSource("some/thing", "abc123"), "some/thing at abc123: licence x, 1.0 GB in all its files.")
    monkeypatch.setattr(sources, "pin", lambda name: pinned)
    asked = []
    monkeypatch.setattr(hub, "_stream", lambda source: asked.append(source) or Rows({"text": f"row {n}"} for n in range(5)))
    found, sentences = sources.look_at(["hf:some/thing"], allow_hub=True)
    assert sentences == [pinned[1]] and found[0].remembered() == {
        "name": "hf:some/thing",
        "files": 1,
        "size": 0,
        "state": "abc123",
    }
    rest = list(sources.records(found, Settings(), Counter({0: 3})))
    assert [(r.origin, r.data) for r in rest] == [("4", "row 3"), ("5", "row 4")]
    monkeypatch.setattr(sources, "pin", lambda name: pytest.fail("pinned again"))
    later, _ = sources.look_at(["hf:some/thing"], allow_hub=True, known=[found[0].remembered()])
    assert later == found and asked[0].revision == "abc123"


def test_a_broken_connection_ends_the_run_and_loses_no_rows(monkeypatch):
    def rows():
        yield {"text": "row"}
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(hub, "_stream", lambda source: rows())
    found = hub.read_hub(hub.HubSource("some/thing", "abc"), Place(0, "", Settings()), 0)
    assert next(found).data == "row"
    with pytest.raises(
        ValueError, match=r"hf:some/thing broke off after row 1 \(ConnectionError: reset by peer\); run the same"
    ):
        next(found)


def test_configurations_of_a_hub_data_set():
    assert hub.parts_of("hf:a/b") == ("a/b", "") and hub.parts_of("hf:a/b:c-1") == ("a/b", "c-1")


def test_a_missing_library_is_not_taken_for_a_damaged_file(tmp_path, monkeypatch):
    (tmp_path / "x.jsonl.zst").write_bytes(zstandard.compress(LINES))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ValueError, match="Reading .zst needs zstandard: pip install -r requirements-train.txt"):
        read(tmp_path / "x.jsonl.zst")


def test_a_hub_data_set_that_is_not_found(monkeypatch):
    with pytest.raises(ValueError, match="hf:some/thing was not found on the hub"):  # HF_HUB_OFFLINE is set for tests
        hub.pin("hf:some/thing")
