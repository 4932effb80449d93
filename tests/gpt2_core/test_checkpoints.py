"""Reading and writing checkpoints: every layout that occurs, every fault with its sentence, transformers as the oracle."""

import dataclasses
import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
import transformers
from helpers import hf_model, max_difference, random_model, some_tokens, tiny_config
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from gpt2_core.checkpoints import CheckpointError, available, load, locate, save_pretrained
from gpt2_core.config import RELEASED, SIZES
from gpt2_core.tokenizer import Tokenizer

CONFIG = tiny_config(d_vocab=200, n_ctx=32)
TOKENS = some_tokens(CONFIG)


@pytest.fixture
def model():
    return random_model(CONFIG)


@pytest.fixture
def folder(model, tmp_path):
    return save_pretrained(model, tmp_path / "tiny")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch, request):
    if "weights" not in request.keywords:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def rewrite(folder: Path, change) -> Path:
    """Replace the weights by `change(tensors)`."""
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(change(tensors) or tensors, folder / "model.safetensors")
    return folder


def reconfigure(folder: Path, **changes) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def shard(folder: Path, tensors: dict | None = None, parts: int = 3) -> Path:
    tensors = tensors or load_file(folder / "model.safetensors")
    names = list(tensors)
    weight_map = {name: f"model-{i % parts + 1:05}-of-{parts:05}.safetensors" for i, name in enumerate(names)}
    for file in set(weight_map.values()):
        save_file({name: tensors[name].clone() for name in names if weight_map[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "model.safetensors").unlink()
    return folder


def same(a, b) -> bool:
    return torch.equal(a(TOKENS), b(TOKENS))


# ---- the embedded model, and the oracle


@pytest.mark.parametrize("name", [size.name for size in SIZES.values() if size.embedded])
def test_embedded_models_equal_transformers(no_network, name):
    model = load(name)
    folder = locate(name).folder
    reference = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokens = torch.tensor([model.tokenizer.encode("When the old clock struck twelve, the old clock")])
    with torch.no_grad():
        assert max_difference(model(tokens), reference(tokens).logits) <= 1e-4
    assert sum(p.numel() for p in model.parameters()) == model.cfg.n_params
    assert model.weights_sha256 == SIZES[name].sha256 and model.source == f"embedded {name}"
    assert model.cfg.shape() == SIZES[name].config.shape() and not model.training


def test_nothing_but_an_explicit_wish_uses_the_network(no_network):
    load("glass-7m")
    assert {entry.name: entry.state for entry in available()} == {
        name: "embedded" if size.embedded else "downloadable" for name, size in SIZES.items()
    }
    for name in ("gpt2", "distilgpt2", "someone/something"):
        with pytest.raises(CheckpointError, match="download=True"):
            load(name)


@pytest.mark.parametrize("changes", [{}, {"tied": False}, {"d_mlp": 96}, {"n_layers": 6, "n_ctx": 17}, {"eps": 1e-3}])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_loads_what_we_write(tmp_path, changes, dtype):
    model = random_model(dataclasses.replace(CONFIG, **changes)).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path)
    reference = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager").eval()
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == dtype
    with torch.no_grad():
        assert max_difference(model.float()(TOKENS), reference(TOKENS).logits) <= 1e-4


@pytest.mark.parametrize("tied", [True, False])
def test_we_load_what_transformers_writes(tmp_path, tied):
    model = random_model(dataclasses.replace(CONFIG, tied=tied))
    hf_model(model).save_pretrained(tmp_path, max_shard_size="40KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    loaded = load(str(tmp_path))
    assert same(loaded, model) and loaded.config.tied == tied


def test_what_is_written_comes_back(model, folder, no_network):
    model.tokenizer = Tokenizer.load()
    model.save_pretrained(folder)
    loaded = load(folder)
    assert same(loaded, model) and dataclasses.replace(loaded.config, model_name="custom") == model.config
    assert loaded.config.model_name == "tiny" and str(folder) in loaded.source
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer_config.json"]
    )
    assert transformers.AutoTokenizer.from_pretrained(folder)("It's 시계")["input_ids"] == model.tokenizer.encode("It's 시계")
    modes = {(folder / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1  # readable by whoever reads the configuration


# ---- layouts


def with_buffers(tensors):
    for layer in range(CONFIG.n_layers):
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 32, 32, dtype=torch.uint8)
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)


LAYOUTS = {
    "prefix": lambda t: {f"transformer.{name}": tensor for name, tensor in t.items()},
    "buffers": with_buffers,
    "copied head": lambda t: t | {"lm_head.weight": t["wte.weight"].clone()},
    "head alone": lambda t: {("lm_head.weight" if n == "wte.weight" else f"transformer.{n}"): x for n, x in t.items()},
    "double": lambda t: {name: tensor.double() for name, tensor in t.items()},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sharded", [False, True])
def test_every_layout_gives_the_same_model(model, folder, layout, sharded):
    rewrite(folder, LAYOUTS[layout])
    loaded = load(shard(folder) if sharded else folder)
    assert same(loaded, model) and loaded.config.tied and len(loaded.weights_sha256) == 64


def test_another_head_is_kept(model, folder):
    head = torch.randn(200, 64)
    loaded = load(rewrite(folder, lambda t: t | {"lm_head.weight": head}))
    assert not loaded.config.tied and torch.equal(loaded.lm_head.weight, head)
    assert not same(loaded, model)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wanted", ["float32", "bfloat16", "float16", torch.float32])
def test_number_formats(model, folder, stored, wanted):
    loaded = load(rewrite(folder, lambda t: {n: x.to(stored) for n, x in t.items()}), dtype=wanted)
    kind = getattr(torch, wanted) if isinstance(wanted, str) else wanted
    for name, p in loaded.named_parameters():
        assert p.dtype == kind and torch.equal(p, dict(model.named_parameters())[name].to(stored).to(kind)), name


def test_reading_in_portions_changes_nothing(model, folder, monkeypatch):
    monkeypatch.setattr("gpt2_core.checkpoints.read.MAPPED_AT_ONCE", 1000)
    assert same(load(folder), model)


def test_a_loaded_model_does_not_hang_on_its_file(model, folder):
    loaded = load(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(bytes(20_000))
    assert same(loaded, model)


def test_loaded_weights_can_be_trained(folder):
    loaded = load(folder)
    loaded(TOKENS).sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in loaded.parameters())


def test_a_vocabulary_of_another_size_loads_and_says_so(folder):
    loaded = load(folder)  # 200 ids in the model, GPT-2's 50257 in the tokenizer
    assert loaded.tokenizer.n_vocab == 50257
    with pytest.raises(ValueError, match="do not fit the vocabulary of 200"):
        loaded(torch.tensor([loaded.tokenizer.encode("Hello world")]))


def test_a_path_or_a_registry_name_may_look_alike(folder, monkeypatch, tmp_path):
    shutil.move(folder, tmp_path / "gpt2")
    monkeypatch.chdir(tmp_path)
    assert load("./gpt2").config.model_name == "gpt2"
    with pytest.raises(CheckpointError, match="download=True"):
        load("gpt2")


# ---- the Hugging Face cache


def put_in_cache(folder: Path, repository: str, revision: str, main: bool = False) -> None:
    at = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, at / "snapshots" / revision)
    if main:
        (at / "refs").mkdir()
        (at / "refs" / "main").write_text(revision)


@pytest.mark.parametrize(
    "cached, name", [("distilbert/distilgpt2", "distilgpt2"), ("distilgpt2", "distilgpt2"), ("me/x", "me/x")]
)
def test_the_cache_is_read_under_old_and_new_ids(model, folder, no_network, cached, name):
    put_in_cache(folder, cached, "a" * 40, main=True)
    loaded = load(name)
    assert same(loaded, model) and loaded.source == f"{cached} revision {'a' * 40}"
    assert same(load(name, revision="a" * 40), model)
    with pytest.raises(CheckpointError, match="not in the Hugging Face cache"):
        load(name, revision="b" * 40)


@pytest.mark.parametrize("cached", ["gpt2", "openai-community/gpt2"])
def test_a_pinned_revision_must_have_its_checksum(folder, no_network, cached):
    put_in_cache(folder, cached, SIZES["gpt2"].revision)
    assert next(entry for entry in available() if entry.name == "gpt2").state == "cached"
    for name in ("gpt2", "openai-community/gpt2"):
        with pytest.raises(CheckpointError, match="wrong checksum: sha256 .* expected 248dfc39"):
            load(name)


def test_another_revision_of_a_registry_model_is_taken_as_it_is(model, folder):
    put_in_cache(folder, "gpt2", "c" * 40, main=True)
    assert same(load("gpt2"), model)


def test_an_unfinished_snapshot_is_not_used(folder):
    put_in_cache(shard(folder), "me/x", "a" * 40, main=True)
    next((Path(constants.HF_HUB_CACHE) / "models--me--x").rglob("model-00002*")).unlink()
    assert locate("me/x") is None


# ---- faults


def truncate(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def pickle_only(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lacking_shard(folder):
    (shard(folder) / "model-00002-of-00003.safetensors").unlink()


def escaping_shard(folder):
    shutil.copy(folder / "model.safetensors", folder.parent / "outside.safetensors")
    weight_map = dict.fromkeys(load_file(folder / "model.safetensors"), "../outside.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def set_value(name, value):
    def change(tensors):
        tensors[name].view(-1)[-1] = value

    return lambda folder: rewrite(folder, change)


def index_without_map(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": []}')


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


FAULTS = {
    "truncated or damaged": truncate,
    "Git LFS pointer": write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    r"lack h.1.mlp.c_fc.bias \(1 of 28 tensors missing": lambda f: rewrite(
        f, lambda t: {k: t[k] for k in t if k != "h.1.mlp.c_fc.bias"}
    ),
    "lack wte.weight": lambda f: rewrite(f, lambda t: {k: t[k] for k in t if k != "wte.weight"}),
    r"lack lm_head.weight": lambda f: reconfigure(f, tie_word_embeddings=False),
    r"c_attn.weight in .* has shape \[192, 64\], expected \[64, 192\]": lambda f: rewrite(
        f, lambda t: t | {"h.0.attn.c_attn.weight": t["h.0.attn.c_attn.weight"].T.contiguous()}
    ),
    r"wpe.weight in .* has shape \[32, 64\], expected \[64, 64\]": lambda f: reconfigure(f, n_positions=64),
    r"says 3 layers, but .* holds 2": lambda f: reconfigure(f, n_layer=3),
    r"says 1 layers, but .* holds 2": lambda f: reconfigure(f, n_layer=1),
    "holds score.weight .1 such tensors., which GPT-2 does not have": lambda f: rewrite(
        f, lambda t: t | {"score.weight": torch.ones(2)}
    ),
    "stored as I8": lambda f: rewrite(f, lambda t: t | {"wte.weight": t["wte.weight"].to(torch.int8)}),
    "a second time": lambda f: rewrite(f, lambda t: t | {"transformer.wpe.weight": t["wpe.weight"].clone()}),
    "h.1.ln_2.weight in .* holds NaN": set_value("h.1.ln_2.weight", torch.nan),
    "wte.weight in .* holds NaN or infinite": set_value("wte.weight", -torch.inf),
    "model_type 'llama'": lambda f: reconfigure(f, model_type="llama"),
    "activation_function": lambda f: reconfigure(f, activation_function="relu"),
    "n_heads 5": lambda f: reconfigure(f, n_head=5),
    "n_layers must be a positive whole number": lambda f: reconfigure(f, n_layer=0),
    "config.json is not valid JSON": write("config.json", '{"n_layer": 2,'),
    "config.json should hold a JSON object": write("config.json", "[]"),
    "lacks n_layer, n_head, n_embd": write("config.json", "{}"),
    "has no config.json": lambda f: (f / "config.json").unlink(),
    "pickle pytorch_model.bin.*never loaded; convert it with transformers": pickle_only,
    "has no weights": lambda f: (f / "model.safetensors").unlink(),
    "lacks the shard model-00002-of-00003.safetensors": lacking_shard,
    "shards must be files in the same folder": escaping_shard,
    "no weight_map": index_without_map,
    "vocab.json is not valid JSON": lambda f: (write("vocab.json", "{")(f), write("merges.txt", "a b\n")(f)),
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_faults_get_one_sentence(folder, sentence):
    FAULTS[sentence](folder)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and len(message) < 600


def test_a_large_finite_sum_is_no_fault(folder):
    load(set_value("wte.weight", 3e38)(rewrite(folder, lambda t: t | {"wte.weight": torch.full((200, 64), 1e38)})))


def test_numbers_too_large_for_float16(folder):
    rewrite(folder, lambda t: t | {"ln_f.bias": torch.full((64,), 1e5)})
    with pytest.raises(CheckpointError, match="ln_f.bias has numbers too large for float16; use bfloat16"):
        load(folder, dtype="float16")


NAMES = {
    "nonsense": "'nonsense' is no folder, none of glass-2m, .* check the spelling",
    "./nowhere": "no folder './nowhere'",
    "a/b/c": "no folder 'a/b/c'",
    "../..": "no config.json",
    "": "An empty name",
    "gpt2-xl": r"gpt2-xl \(6,432 MB, licence modified MIT \(OpenAI\)\) is not in the Hugging Face cache",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_nowhere(name, monkeypatch, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    with pytest.raises(CheckpointError, match=NAMES[name]):
        load(name)


def test_a_file_or_a_revision_of_a_folder(folder):
    with pytest.raises(CheckpointError, match="is a file; give the folder"):
        load(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="leave revision out"):
        load(folder, revision="main")


def test_a_failed_export_leaves_the_old_weights(model, folder, monkeypatch):
    def fail(weights, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    before = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr("gpt2_core.checkpoints.export.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_pretrained(model, folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


# ---- real weights, where they are cached

COUNTS = {"gpt2": 124_439_808, "gpt2-medium": 354_823_168, "gpt2-large": 774_030_080, "gpt2-xl": 1_557_611_200}


@pytest.mark.parametrize("name", RELEASED)
def test_the_registry_has_the_released_parameter_counts(name):
    assert SIZES[name].config.n_params == COUNTS[name]
    assert len(SIZES[name].revision) == 40 and SIZES[name].sha256 is None or len(SIZES[name].sha256) == 64


@pytest.mark.weights
@pytest.mark.parametrize("name", RELEASED)
def test_released_weights_have_the_released_parameter_counts(name):
    if locate(name) is None:
        pytest.skip(f"{name} is not in the Hugging Face cache")
    assert sum(p.numel() for p in load(name).parameters()) == COUNTS[name]
