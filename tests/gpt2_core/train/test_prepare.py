"""The whole preparation: totals against a naive loop, the same bytes whatever the workers or kills, damage, a full disk."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gpt2_core.tokenizer import Tokenizer
from gpt2_core.train import parts
from gpt2_core.train.__main__ import main
from gpt2_core.train.duplicates import digest, held_out, normal_words
from gpt2_core.train.prepare import prepare
from gpt2_core.train.settings import Settings
from gpt2_core.train.shards import Shards

ROOT = Path(__file__).resolve().parents[3]
WORDS = (ROOT / "README.md").read_text(encoding="utf-8").split()
LOOSE = Settings(quality=False, language="any", near_duplicates=0, validation=0.3)


def story(seed: int, length: int = 80) -> str:
    """Words of the README in a random order; all different from each other."""
    return " ".join(random.Random(seed).choices(WORDS, k=length)) + f" number{seed}"


def stories(folder: Path, count: int, length: int = 80) -> Path:
    """A folder of text files and one table of lines."""
    folder.mkdir()
    for n in range(count):
        (folder / f"{n:04d}.txt").write_text(story(n, length), encoding="utf-8")
    lines = "".join(json.dumps({"text": story(1000 + n, length)}) + "\n" for n in range(count))
    (folder / "lines.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    return folder


def run(source, out, settings=LOOSE, **more) -> Shards:
    return prepare([str(source)], out, settings, say=lambda text: None, **more).shards


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Everything that a preparation leaves, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def documents_of(shards: Shards, split: str) -> list[str]:
    """The texts of a split, cut at `<|endoftext|>`."""
    ids = shards.window(split, 0, shards.tokens(split))
    ends = np.flatnonzero(ids == 50256)
    assert not len(ids) or ends[-1] == len(ids) - 1
    return [Tokenizer.load().decode(part[part != 50256].tolist()) for part in np.split(ids, ends + 1)[:-1]]


def test_totals_and_tokens_against_a_naive_loop(tmp_path):
    folder, tokenizer = stories(tmp_path / "in", 30), Tokenizer.load()
    texts = [story(n) for n in range(30)] + [story(1000 + n) for n in range(30)]
    shards = run(folder, tmp_path / "out", Settings(quality=False, language="any", validation=0.3, shard_tokens=1000))
    split_of = {text: "validation" if held_out(digest(normal_words(text)), 0, 0.3) else "train" for text in texts}
    for split in ("train", "validation"):
        mine = [text for text in texts if split_of[text] == split]
        ids = [id for text in mine for id in [*tokenizer.encode(text), 50256]]
        assert shards.window(split, 0, shards.tokens(split)).tolist() == ids
        assert (shards.tokens(split), shards.documents(split)) == (len(ids), len(mine))
        assert shards.bytes(split) == sum(len(text.encode()) for text in mine)
    assert len(shards.splits["train"]) > 1
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["documents"] == {"read": 60, "kept": 60, "dropped": 0} and report["fingerprint"] == shards.fingerprint
    everything = Counter(id for text in texts for id in [*tokenizer.encode(text), 50256])
    assert [t["count"] for t in report["most_frequent_tokens"]] == [count for _, count in everything.most_common(50)]
    assert all(everything[t["id"]] == t["count"] for t in report["most_frequent_tokens"])
    assert report["sources"][0]["tokens"] == sum(everything.values())


def test_every_reason_is_counted_once(tmp_path):
    good = (
        "The harbour lay quiet that evening, and the boats that have come home were tied to the wall with old ropes. "
        "A woman walked along the stones to see whether her brother would be among the men who carried nets up the hill. "
        "She asked the first of them, and he shook his head; the second only pointed out to sea, where nothing moved."
    )
    folder = tmp_path / "in"
    folder.mkdir()
    files = {
        "1.txt": good.encode(),
        "2.md": f"# {good.title()}".encode(),
        "3.txt": (good + " again").encode(),
        "4.txt": b"too short a text in English for that rule to pass it",
        "5.txt": ("Der Hafen lag an diesem Abend still, und die Boote waren mit alten Seilen festgemacht. " * 3).encode(),
        "6.txt": b"\xff\xfe broken",
        "7.txt": b" \n ",
        "8.jsonl": json.dumps({"text": good[::-1], "url": "https://en.wikipedia.org/wiki/X"}).encode() + b"\n{no json",
        "9.parquet": b"PAR1 cut",
        "10.png": b"picture",
        "11.jsonl.gz": gzip.compress(b'{"text": "x"}\n' * 10)[:-12],
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    shards = run(folder, tmp_path / "out", Settings(validation=0))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    reasons = {name: {e["document"].removeprefix("in: ") for e in listed} for name, listed in report["examples"].items()}
    lines = reasons["unreadable"]
    assert {"6.txt", "8.jsonl/2", "9.parquet", "11.jsonl.gz"} == lines
    assert reasons["exact duplicate"] == {"2.md"} and reasons["near duplicate"] == {"3.txt"}
    assert reasons["other language"] >= {"5.txt"} and reasons["no text"] == {"7.txt"}
    assert reasons["Wikipedia"] == {"8.jsonl/1"} and reasons["other kind of file"] == {"10.png"}
    assert "4.txt" in reasons["quality: too few words"]
    assert documents_of(shards, "train") == [good]
    assert report["documents"]["read"] == report["documents"]["dropped"] + 1 == sum(report["dropped"].values()) + 1
    words = (tmp_path / "out" / "report.md").read_text()
    assert "no UTF-8: byte 0xff at 0" in words and "of in: 1.txt" in words and "At least 50" in words


def test_the_words_endoftext_in_a_text_are_words(tmp_path):
    (tmp_path / "a.txt").write_text("before <|endoftext|> after")
    shards = run(tmp_path / "a.txt", tmp_path / "out", Settings(quality=False, language="any", validation=0))
    ids = shards.window("train", 0, shards.tokens("train"))
    assert (ids == 50256).sum() == 1 and ids[-1] == 50256
    assert Tokenizer.load().decode(ids.tolist()) == "before <|endoftext|> after<|endoftext|>"


def test_long_documents_are_whole_unless_they_are_cut(tmp_path):
    text = "\n\n".join(story(n, 20) for n in range(9))
    (tmp_path / "a.txt").write_text(text)
    assert documents_of(
        run(tmp_path / "a.txt", tmp_path / "whole", Settings(quality=False, language="any", validation=0)), "train"
    ) == [text]
    cut = Settings(quality=False, language="any", validation=0, longest=400)
    shards = run(tmp_path / "a.txt", tmp_path / "cut", cut)
    pieces = documents_of(shards, "train")
    assert "\n\n".join(pieces) == text and max(map(len, pieces)) <= 400 and shards.documents("train") == 1
    assert shards.bytes("train") == sum(len(piece.encode()) for piece in pieces)


def test_more_documents_move_no_other(tmp_path):
    few, many = stories(tmp_path / "few", 20), stories(tmp_path / "many", 40)
    one, two = run(few, tmp_path / "1"), run(many, tmp_path / "2")
    for split in ("train", "validation"):
        assert set(documents_of(one, split)) <= set(documents_of(two, split))
    other = run(few, tmp_path / "3", Settings(**{**LOOSE.to_dict(), "seed": 1}))
    assert set(documents_of(other, "validation")) != set(documents_of(one, "validation"))


def test_the_same_bytes_whatever_the_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "BATCH_RECORDS", 3)
    monkeypatch.setattr(parts, "PART_RECORDS", 17)
    folder, settings = stories(tmp_path / "in", 40), Settings(quality=False, language="any", validation=0.3)
    alone, together = (bytes_of_run(folder, tmp_path / str(n), settings, n) for n in (1, 2))
    monkeypatch.undo()
    assert alone == together == bytes_of_run(folder, tmp_path / "one part", settings, 1)


def bytes_of_run(folder: Path, out: Path, settings: Settings, workers: int) -> dict[str, bytes]:
    run(folder, out, settings, workers=workers)
    return bytes_of(out)


class Killed(BaseException):
    """Stands for the end of the process: nothing in the program may catch it."""


@pytest.mark.parametrize("call", ["replace", "fsync", "rmtree"])
def test_killed_at_any_write_it_goes_on_to_the_same_bytes(tmp_path, monkeypatch, call):
    """Dies before the n-th call, for every n, and is run again until it is through."""
    monkeypatch.setattr(parts, "PART_RECORDS", 5)
    folder, settings = stories(tmp_path / "in", 8), Settings(**{**LOOSE.to_dict(), "shard_tokens": 500})
    run(folder, tmp_path / "whole", settings)
    target, deaths = ("shutil" if call == "rmtree" else "os") + f".{call}", 0
    real, out = getattr(sys.modules[target.partition(".")[0]], call), tmp_path / "killed"
    for allowed in range(100):
        left = iter(range(allowed))

        def dying(*args, left=left, **more):
            if next(left, None) is None:
                raise Killed
            return real(*args, **more)

        monkeypatch.setattr(target, dying)
        try:
            run(folder, out, settings)
            break
        except Killed:
            deaths += 1
        finally:
            monkeypatch.setattr(target, real)
    assert deaths >= (1 if call == "rmtree" else 5)
    run(folder, out, settings)
    assert bytes_of(out) == bytes_of(tmp_path / "whole")


CHILD = """
import sys
from pathlib import Path
import time
from gpt2_core.train import parts, prepare
from gpt2_core.train.__main__ import main
parts.PART_RECORDS = 10
parts.BATCH_RECORDS = 4
write = prepare.write_part
def slowly(*part):  # so that the signal finds it at work, however busy the machine
    write(*part)
    time.sleep(0.3)
prepare.write_part = slowly
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def start(script: Path, folder: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, str(script), "prepare", str(folder), "--out", str(out), "--workers", "2"]
    more = ["--no-quality", "--language", "any", "--validation", "0.3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # a shell's background job ignores Ctrl-C, and so would its children
    return subprocess.Popen([*command, *more], env=environment, preexec_fn=listen, **pipes)


def listen() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)


def processes_with(text: str) -> list[int]:
    """Ids of the living processes that have a text in their environment or command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found += [int(entry.name)] if text.encode() in (entry / "environ").read_bytes() else []
        except OSError:  # gone, or another user's
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_killed_and_interrupted_processes_go_on_and_leave_none_behind(tmp_path, monkeypatch):
    folder, out, script = stories(tmp_path / "in", 150, 300), tmp_path / "out", tmp_path / "child.py"
    script.write_text(CHILD)
    monkeypatch.setenv("PREPARE_TEST", str(tmp_path))
    for part, kind in ((1, signal.SIGKILL), (6, signal.SIGINT)):
        process = start(script, folder, out)
        wait_for(out / "work" / f"part-{part:06d}.jsonl", process)
        assert process.poll() is None, process.communicate()
        process.send_signal(kind)
        _, said = process.communicate(timeout=60)
        assert process.returncode == (130 if kind == signal.SIGINT else -signal.SIGKILL)
        assert kind == signal.SIGKILL or said.strip().splitlines()[-1] == "Interrupted: run the same command again; it goes on."
        assert not (out / "index.json").exists()
        deadline = time.monotonic() + 30
        while processes_with(str(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not processes_with(str(tmp_path))
    settings, said = Settings(quality=False, language="any", validation=0.3), []
    prepare([str(folder)], out, settings, say=said.append)
    assert len(said) == 1 and said[0].startswith("Going on after")
    run(folder, tmp_path / "whole", settings)
    assert bytes_of(out) == bytes_of(tmp_path / "whole")


def test_a_finished_folder_is_left_as_it_is(tmp_path):
    folder = stories(tmp_path / "in", 5)
    run(folder, tmp_path / "out")
    before, said = bytes_of(tmp_path / "out"), []
    prepare([str(folder)], tmp_path / "out", LOOSE, say=said.append)
    assert bytes_of(tmp_path / "out") == before and said == [f"{tmp_path / 'out'} is finished already."]


def refused(match: str, sources: list[str], out: Path, settings: Settings = LOOSE) -> None:
    with pytest.raises(ValueError, match=match):
        prepare(sources, out, settings, say=lambda text: None)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    folder = stories(tmp_path / "in", 5)
    run(folder, tmp_path / "out")
    refused(
        "begun with other values of: seed; give the same",
        [str(folder)],
        tmp_path / "out",
        Settings(**{**LOOSE.to_dict(), "seed": 1}),
    )
    (folder / "new.txt").write_text("new")
    refused("begun with other values of: sources", [str(folder)], tmp_path / "out")
    refused("lies within the source", [str(folder)], folder / "out")
    refused("holds other files", [str(folder)], tmp_path)
    refused("is a file", [str(folder)], folder / "new.txt")
    refused("does not exist", [str(tmp_path / "none")], tmp_path / "other")
    (tmp_path / "out" / "manifest.json").write_text("{")
    refused("is damaged", [str(folder)], tmp_path / "out")


def test_two_runs_in_one_folder(tmp_path):
    filelock = pytest.importorskip("filelock")
    folder, out = stories(tmp_path / "in", 2), tmp_path / "out"
    out.mkdir()
    with filelock.FileLock(out / ".lock"):
        refused("Another preparation is at work", [str(folder)], out)
    assert run(folder, out).documents("train")


def test_an_empty_source_gives_empty_splits(tmp_path):
    (tmp_path / "in").mkdir()
    shards = run(tmp_path / "in", tmp_path / "out")
    assert shards.tokens("train") == shards.tokens("validation") == 0 and shards.window("train", 0, 0).tolist() == []


def test_the_command_line(tmp_path, capsys, monkeypatch):
    folder, out = stories(tmp_path / "in", 20), tmp_path / "out"
    command = ["prepare", str(folder), "--out", str(out), "--no-quality", "--language", "any"]
    assert main(command) == 0
    assert "20 s" not in (printed := capsys.readouterr().out) and "train: " in printed and "tokens/s" in printed
    assert main([*command, "--seed", "1"]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert main([*command, "--validation", "1"]) == 1 and "expected at least 0 and less than 1" in capsys.readouterr().err
    assert main([*command, "--workers", "0"]) == 1 and "--workers is 0" in capsys.readouterr().err
    assert main(["prepare", "hf:some/thing", "--out", str(tmp_path / "hub")]) == 1 and "add --hub" in capsys.readouterr().err
    assert not (tmp_path / "hub").exists() or not list((tmp_path / "hub").glob("*.json"))


def test_a_full_disk_is_one_sentence_and_not_the_end(tmp_path, capsys, monkeypatch):
    folder, out = stories(tmp_path / "in", 20), tmp_path / "out"
    command = [
        "prepare",
        str(folder),
        "--out",
        str(out),
        "--no-quality",
        "--language",
        "any",
        "--validation",
        "0.3",
        "--near-duplicates",
        "0",
    ]
    real, calls = os.fsync, iter(range(3))

    def full(file):
        if next(calls, None) is None:
            raise OSError(28, "No space left on device")
        real(file)

    monkeypatch.setattr("os.fsync", full)
    assert main(command) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == f"The disk of {out} is full: make room and run the same command again; it goes on."
    monkeypatch.undo()
    assert main(command) == 0
    run(folder, tmp_path / "whole")
    assert bytes_of(out) == bytes_of(tmp_path / "whole")
