"""Downloads against a small hub of our own on 127.0.0.1 that speaks the Hugging Face protocol."""

import hashlib
import json
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
from helpers import random_model, some_tokens, tiny_config
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from gpt2_core import config
from gpt2_core.checkpoints import CheckpointError, available, describe_download, load, save_pretrained
from gpt2_core.config import SIZES

REPO, COMMIT = "someone/tiny", "d" * 40
CONFIG = tiny_config(d_vocab=200, n_ctx=32)
TOKENS = some_tokens(CONFIG)


class Hub:
    """The files of one repository, and how the hub behaves today."""

    def __init__(self, folder: Path):
        self.folder, self.commit, self.requests, self.ranges = folder, COMMIT, [], []
        self.break_after: int | None = None  # bytes of weights sent before the connection drops
        self.corrupt, self.status, self.ignore_ranges = False, None, False

    def listing(self) -> dict:
        siblings = []
        for path in sorted(self.folder.iterdir()):
            data = path.read_bytes()
            lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            entry = {"rfilename": path.name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
            siblings.append(entry | ({"lfs": lfs} if path.suffix == ".safetensors" else {}))
        card = {"license": "mit"}
        return {"id": REPO, "sha": self.commit, "siblings": siblings, "cardData": card, "tags": []}


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body: bool):
        hub, path = self.hub, self.path.split("?")[0]
        hub.requests.append((self.command, path))
        if hub.status:
            return self.fail(*hub.status)
        if path.startswith("/api/models/"):
            if REPO not in path and "openai-community/gpt2" not in path:
                return self.fail(404, "RepoNotFound")
            if "/revision/" in path and path.rsplit("/", 1)[1] not in (COMMIT, "main", SIZES["gpt2"].revision):
                return self.fail(404, "RevisionNotFound")
            return self.send(json.dumps(hub.listing()).encode(), {"Content-Type": "application/json"}, body)
        file = hub.folder / path.rsplit("/", 1)[1]
        if not file.is_file():
            return self.fail(404, "EntryNotFound")
        self.send_file(file, body)

    def send_file(self, file: Path, body: bool):
        data = file.read_bytes()
        etag = (hashlib.sha256 if file.suffix == ".safetensors" else hashlib.sha1)(data).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.commit, "Accept-Ranges": "bytes"}
        start, wanted = 0, self.headers.get("Range")
        if body and wanted and not self.hub.ignore_ranges:
            self.hub.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if self.hub.corrupt and file.suffix == ".safetensors":
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.send(data[start:], headers, body, status=206 if start else 200)

    def send(self, data: bytes, headers: dict, body: bool, status: int = 200):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        if (limit := self.hub.break_after) is not None and self.path.endswith(".safetensors"):
            self.wfile.write(data[:limit])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(data)

    def fail(self, status: int, code: str):
        self.send_response(status)
        for key, value in {"X-Error-Code": code, "X-Error-Message": "no", "Content-Length": "0"}.items():
            self.send_header(key, value)
        self.end_headers()


@pytest.fixture
def model():
    return random_model(CONFIG)


@pytest.fixture
def hub(tmp_path, monkeypatch, model):
    hub = Hub(save_pretrained(model, tmp_path / "upstream"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.close_session()
    yield hub
    server.shutdown()
    server.server_close()
    huggingface_hub.close_session()


def weights_requests(hub: Hub) -> int:
    return sum(command == "GET" and path.endswith(".safetensors") for command, path in hub.requests)


def test_a_download_is_the_model_and_is_found_again(hub, model, monkeypatch):
    seen = []
    loaded = load(REPO, download=True, progress=lambda done, total: seen.append((done, total)))
    assert torch.equal(loaded(TOKENS), model(TOKENS)) and loaded.source == f"{REPO} revision {COMMIT}"
    size = sum(p.stat().st_size for p in hub.folder.iterdir())
    assert seen[-1] == (size, size) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert weights_requests(hub) == 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    for again in (load(REPO), load(REPO, download=True), load(REPO, revision=COMMIT)):
        assert torch.equal(again(TOKENS), model(TOKENS))
    assert len(hub.requests) == asked


def test_the_cache_has_hugging_faces_layout(hub, model):
    import transformers

    load(REPO, download=True)
    reference = transformers.GPT2LMHeadModel.from_pretrained(REPO, cache_dir=constants.HF_HUB_CACHE, local_files_only=True)
    with torch.no_grad():
        assert (reference.float().eval()(TOKENS).logits - model(TOKENS)).abs().max() <= 1e-4
    blobs = Path(constants.HF_HUB_CACHE) / "models--someone--tiny" / "blobs"
    assert hashlib.sha256((hub.folder / "model.safetensors").read_bytes()).hexdigest() in {p.name for p in blobs.iterdir()}


@pytest.mark.parametrize("ignore_ranges", [False, True])
def test_an_interrupted_download_continues(hub, model, monkeypatch, ignore_ranges):
    class Cancelled(Exception):
        pass

    def cancel(done, total):
        if done > 50_000:
            raise Cancelled

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    with pytest.raises(Cancelled):
        load(REPO, download=True, progress=cancel)
    partial = next((Path(constants.HF_HUB_CACHE) / "models--someone--tiny" / "blobs").glob("*.partial"))
    kept = partial.stat().st_size
    assert 0 < kept < (hub.folder / "model.safetensors").stat().st_size
    with pytest.raises(CheckpointError, match="download=True"):
        load(REPO)  # a part of a model is no model
    hub.ignore_ranges = ignore_ranges
    assert torch.equal(load(REPO, download=True)(TOKENS), model(TOKENS))
    assert hub.ranges == ([] if ignore_ranges else [f"bytes={kept}-"]) and not partial.exists()


def test_a_dropped_connection_is_one_sentence_and_keeps_what_came(hub, model, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub waits between its own attempts
    hub.break_after = 0
    with pytest.raises(CheckpointError, match="While downloading model.safetensors of someone/tiny: the network .*try again"):
        load(REPO, download=True)
    hub.break_after = None
    assert torch.equal(load(REPO, download=True)(TOKENS), model(TOKENS))


def test_wrong_bytes_never_enter_the_cache(hub, model):
    hub.corrupt = True
    with pytest.raises(CheckpointError, match="wrong checksum: .* thrown away, so try again"):
        load(REPO, download=True)
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.partial")) and not list(Path(constants.HF_HUB_CACHE).rglob("model.*"))
    hub.corrupt = False
    assert torch.equal(load(REPO, download=True)(TOKENS), model(TOKENS))


def test_the_registrys_checksum_counts_more_than_the_hubs(hub):
    with pytest.raises(CheckpointError, match="answered with revision dddd.* but 607a30d"):
        load("gpt2", download=True)
    hub.commit = SIZES["gpt2"].revision
    with pytest.raises(CheckpointError, match="download of model.safetensors has the wrong checksum: .* expected 248dfc39"):
        load("gpt2", download=True)


def test_a_registry_model_is_fetched_at_its_revision(hub, model, monkeypatch):
    digest = hashlib.sha256((hub.folder / "model.safetensors").read_bytes()).hexdigest()
    size = replace(SIZES["gpt2"], sha256=digest, revision=COMMIT)
    monkeypatch.setitem(config.SIZES, "gpt2", size)
    loaded = load("gpt2", download=True)
    assert loaded.weights_sha256 == digest and loaded.config.model_name == "gpt2"
    assert any(path.endswith(f"/api/models/openai-community/gpt2/revision/{COMMIT}") for _, path in hub.requests)
    assert next(entry for entry in available() if entry.name == "gpt2").state == "cached"


def test_a_partial_file_that_is_too_long_is_begun_anew(hub, model):
    digest = hashlib.sha256((hub.folder / "model.safetensors").read_bytes()).hexdigest()
    partial = Path(constants.HF_HUB_CACHE) / "models--someone--tiny" / "blobs" / f"{digest}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(10_000_000))
    assert torch.equal(load(REPO, download=True)(TOKENS), model(TOKENS))


def test_shards_are_fetched(hub, model):
    tensors = load_file(hub.folder / "model.safetensors")
    weight_map = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for file in set(weight_map.values()):
        save_file({name: tensors[name] for name in tensors if weight_map[name] == file}, hub.folder / file)
    (hub.folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (hub.folder / "model.safetensors").unlink()
    assert torch.equal(load(REPO, download=True)(TOKENS), model(TOKENS))


def test_the_plan_names_size_and_licence(hub):
    plan = describe_download(REPO)
    assert (plan.repo, plan.revision, plan.licence) == (REPO, COMMIT, "mit")
    assert {file.name: file.bytes for file in plan.files} == {p.name: p.stat().st_size for p in hub.folder.iterdir()}
    assert plan.bytes == sum(file.bytes for file in plan.files) and weights_requests(hub) == 0


@pytest.mark.parametrize("name", ["gpt2", "gpt2-medium", "openai-community/gpt2-large", "gpt2-xl"])
def test_registry_models_are_described_without_the_network(hub, name):
    plan = describe_download(name)
    size = SIZES[plan.repo.split("/")[1]]
    assert (plan.revision, plan.bytes, plan.licence) == (size.revision, size.file_bytes, "modified MIT (OpenAI)")
    assert hub.requests == []


def test_an_embedded_model_needs_no_download():
    with pytest.raises(CheckpointError, match="nothing to download"):
        describe_download("glass-7m")


def pickle_only(hub):
    (hub.folder / "model.safetensors").rename(hub.folder / "pytorch_model.bin")


FAULTS = {
    "no model of this name": ("someone/else", None, lambda hub: None),
    "no such revision": (REPO, "v9", lambda hub: None),
    "grant access": (REPO, None, lambda hub: setattr(hub, "status", (403, "GatedRepo"))),
    "answered with an error": (REPO, None, lambda hub: setattr(hub, "status", (501, ""))),
    "pickle pytorch_model.bin, which is never loaded": (REPO, None, pickle_only),
    "has no config.json": (REPO, None, lambda hub: (hub.folder / "config.json").unlink()),
    "no weights that can be read": (REPO, None, lambda hub: (hub.folder / "model.safetensors").unlink()),
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_faults_get_one_sentence(hub, sentence):
    name, revision, prepare = FAULTS[sentence]
    prepare(hub)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load(name, revision=revision, download=True)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_no_network_is_one_sentence(hub, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(CheckpointError, match="While asking the hub about someone/tiny: the network failed"):
            load(REPO, download=True)


def test_the_offline_switch_is_one_sentence(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE forbids the network"):
        load(REPO, download=True)
    assert hub.requests == []
