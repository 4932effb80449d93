"""A folder of the Hugging Face layout -> a GPT2. Reads safetensors only; a pickle is never opened.

Accepted: one file or shards; names with or without `transformer.`; an output head that is absent, equal to the token
embedding, or its own; the mask buffers that old releases stored as weights; float32, float16, bfloat16, float64.
Every tensor is checked (name, shape, finite) and is held once: what a file adds to memory is given back as it is read.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gpt2_core.checkpoints.find import CONFIG, INDEX, PICKLE, WEIGHTS, Found
from gpt2_core.checkpoints.verify import CheckpointError, weights_digest
from gpt2_core.config import GPT2Config
from gpt2_core.model import GPT2
from gpt2_core.tokenizer import Tokenizer

# Buffers, not weights. The pattern is exact, since `h.0.attn.c_attn.bias` ends the same way.
BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
LAYER = re.compile(r"h\.(\d+)\.")
FLOATS = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8}
AGAIN = "copy or download it again"
MAPPED_AT_ONCE = 256 << 20  # bytes of a file that stay mapped while it is read


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: the file, the name it has there, its shape and its size in bytes."""

    file: Path
    name: str
    shape: list[int]
    bytes: int


def read_checkpoint(found: Found, device: torch.device, dtype: torch.dtype) -> GPT2:
    """The model of a checkpoint folder, on `device` in `dtype`. Raises CheckpointError for anything that is not right."""
    config = read_config(found.folder, found.name)
    files = weight_files(found.folder)
    stored = _stored(files)
    config, stored = _output_head(config, stored)
    _check_layers(config, stored)
    with torch.device("meta"), _NoInitialisation():
        model = GPT2(config)
    _check_shapes({name: list(p.shape) for name, p in model.named_parameters()}, stored)
    with ThreadPoolExecutor(1) as beside:  # the checksum is as slow as reading, and lets Python go meanwhile
        digest = beside.submit(weights_digest, files)
        model.load_state_dict(_tensors(stored, device, dtype), assign=True)
        _check_digest(found, digest.result())
    model.tokenizer, model.source, model.weights_sha256 = _tokenizer(found.folder), found.source, digest.result()
    return model.eval()


class _NoInitialisation(TorchFunctionMode):
    """Leaves out `nn.init`: its numbers would be thrown away, and on the meta device it imports torch's compiler (2 s)."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def read_config(folder: Path, name: str) -> GPT2Config:
    """The shape that the folder's config.json describes. Raises CheckpointError where it describes no GPT-2."""
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {CONFIG}; expected a folder with {CONFIG} and {WEIGHTS}.")
    try:
        return GPT2Config.from_hf(_json_object(path), model_name=name)
    except CheckpointError:
        raise
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files: `model.safetensors`, or the shards that its index names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        return _shards(folder)
    if pickles := sorted(p.name for p in (*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth"))):
        raise CheckpointError(
            f"{folder} has only the pickle {pickles[0]}, which can run code when it is opened and is therefore never loaded; "
            'convert it with transformers (GPT2LMHeadModel.from_pretrained(folder).save_pretrained("new-folder")) and load that.'
        )
    raise CheckpointError(f"{folder} has no weights; expected {WEIGHTS} (or {INDEX} and its shards), not {PICKLE}.")


def _shards(folder: Path) -> list[Path]:
    weight_map = _json_object(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise CheckpointError(f"{folder / INDEX} has no weight_map from tensors to files; {AGAIN}.")
    names = sorted(set(weight_map.values()))
    if outside := [name for name in names if name != Path(name).name or "\\" in name or name in ("", "..")]:
        raise CheckpointError(f"{folder / INDEX} names the shard {outside[0]!r}; shards must be files in the same folder.")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise CheckpointError(f"{folder} lacks the shard {missing[0]} ({len(missing)} of {len(names)} missing); {AGAIN}.")
    return [folder / name for name in names]


def _stored(files: list[Path]) -> dict[str, Stored]:
    """What the files hold, by the released names: without the prefix, without mask buffers."""
    stored: dict[str, Stored] = {}
    for file in files:
        with _opened(file) as content:
            for raw in content.keys():
                name = raw.removeprefix("transformer.")
                if BUFFER.fullmatch(name):
                    continue
                if name in stored:
                    raise CheckpointError(f"{file} holds {name} a second time (as {raw}); keep one of the two.")
                view = content.get_slice(raw)
                if (kind := view.get_dtype()) not in FLOATS:
                    raise CheckpointError(f"{raw} in {file} is stored as {kind}; expected one of {', '.join(FLOATS)}.")
                shape = view.get_shape()
                stored[name] = Stored(file, raw, shape, torch.Size(shape).numel() * FLOATS[kind])
    return stored


def _output_head(config: GPT2Config, stored: dict[str, Stored]) -> tuple[GPT2Config, dict[str, Stored]]:
    """Decide by the tensors whether the output head is the token embedding: a stored copy of it counts as tied."""
    head, embedding = stored.get("lm_head.weight"), stored.get("wte.weight")
    if head is None:
        return config, stored
    if embedding is None and config.tied:
        return config, {**{k: v for k, v in stored.items() if k != "lm_head.weight"}, "wte.weight": head}
    if embedding is None or head.shape != embedding.shape or not torch.equal(_tensor(head), _tensor(embedding)):
        return replace(config, tied=False), stored
    return replace(config, tied=True), {k: v for k, v in stored.items() if k != "lm_head.weight"}


def _check_layers(config: GPT2Config, stored: dict[str, Stored]) -> None:
    layers = {int(match[1]) for name in stored if (match := LAYER.match(name))}
    if layers and layers != set(range(config.n_layers)):
        file = next(iter(stored.values())).file
        raise CheckpointError(
            f"{CONFIG} says {config.n_layers} layers, but {file.parent} holds {len(layers)} (the last is {max(layers)}); "
            f"the two do not belong together or a part is missing, so {AGAIN}."
        )


def _check_shapes(expected: dict[str, list[int]], stored: dict[str, Stored]) -> None:
    missing = [name for name in expected if name not in stored]
    if missing:
        raise CheckpointError(f"The weights lack {missing[0]} ({len(missing)} of {len(expected)} tensors missing); {AGAIN}.")
    if extra := sorted(stored.keys() - expected.keys()):
        raise CheckpointError(
            f"{stored[extra[0]].file} holds {extra[0]} ({len(extra)} such tensors), which GPT-2 does not have; "
            "only plain GPT-2 language models can be loaded."
        )
    for name, shape in expected.items():
        if stored[name].shape != shape:
            came, file = stored[name].shape, stored[name].file
            raise CheckpointError(f"{name} in {file} has shape {came}, expected {shape} by {CONFIG}; {AGAIN}.")


def _check_digest(found: Found, digest: str) -> None:
    if found.sha256 is not None and digest != found.sha256:
        raise CheckpointError(
            f"The weights of {found.name} in {found.folder} have the wrong checksum: sha256 {digest}, expected "
            f"{found.sha256}; {AGAIN}, or give the folder's path to load it as it is."
        )


def _tensors(stored: dict[str, Stored], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file, names in _portions(stored):
        with _opened(file) as content:
            for name in names:
                tensor = content.get_tensor(stored[name].name)
                _check_finite(tensor, name, f"in {file} holds NaN or infinite numbers, so the checkpoint is broken; {AGAIN}")
                # A copy: a tensor that stays mapped would change, or crash the program, with the file.
                tensors[name] = tensor.to(device=device, dtype=dtype, copy=True)
                if dtype == torch.float16:
                    _check_finite(tensors[name], name, "has numbers too large for float16; use bfloat16 or float32")
    return tensors


def _portions(stored: dict[str, Stored]) -> Iterator[tuple[Path, list[str]]]:
    """Names to read from a file before it is closed and opened again, which gives back the memory it was mapped to."""
    by_file: dict[Path, list[str]] = {}
    for name, where in stored.items():
        by_file.setdefault(where.file, []).append(name)
    for file, names in by_file.items():
        portion: list[str] = []
        for name in names:
            portion.append(name)
            if sum(stored[n].bytes for n in portion) >= MAPPED_AT_ONCE:
                yield file, portion
                portion = []
        if portion:
            yield file, portion


def _check_finite(tensor: Tensor, name: str, wrong: str) -> None:
    # A finite sum proves finite terms and needs no memory; only a large one needs the second look.
    if not tensor.sum(dtype=torch.float32).isfinite() and not tensor.isfinite().all():
        raise CheckpointError(f"{name} {wrong}.")


def _tensor(where: Stored) -> Tensor:
    with _opened(where.file) as content:
        return content.get_tensor(where.name)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt") as content:
            yield content
    except (SafetensorError, OSError) as error:
        with file.open("rb") as raw:
            pointer = raw.read(24).startswith(b"version https://git-lfs")
        if pointer:
            raise CheckpointError(f"{file} is a Git LFS pointer, not the weights; fetch them with `git lfs pull`.") from error
        raise CheckpointError(f"{file} is truncated or damaged (safetensors says: {error}); {AGAIN}.") from error


def _tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.load(folder)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); {AGAIN}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} should hold a JSON object, but holds a {type(content).__name__}; {AGAIN}.")
    return content
