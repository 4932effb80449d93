"""A film <-> `film.json` and `film.safetensors` in a folder.

Neither file can run code, both are bounded in size and checked in every field, and the first names the checksum of the second,
so that halves of two films are never taken for one. The same film gives the same bytes.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gpt2_core.checkpoints.export import replace_file
from interp.film import MOST_TOKENS, ROLES, Film, FilmPrompt, Measurement

JSON, TENSORS, FORMAT = "film.json", "film.safetensors", 1
LARGEST = {JSON: 16 << 20, TENSORS: 512 << 20}  # bytes; a film of a few million parameters has 1 or 2 MB
AGAIN = "make the film again with `python -m interp.dynamics`"

# What film.json holds: a type or a choice of types, [kind] for a list of them, {key: kind} for an object.
INT, NUMBER, TEXT = (int,), (int, float), (str,)
PROMPT = {"name": TEXT, "text": TEXT, "ids": [INT], "strings": [TEXT], "top_strings": [[TEXT]]}
MEASUREMENT = {
    **{"seeds": [INT], "sequences": INT, "length": INT, "sample_tokens": INT, "temperature": NUMBER},
    **{"top_k": (int, type(None)), "sample_seed": INT, "bos": (bool,)},
}
CONTENT = {
    **{"format": INT, "model": TEXT, "parameters": INT, "steps": [INT], "tokens": [(int, type(None))]},
    **{"train_loss": [(int, float, type(None))], "validation_loss": [(int, float, type(None))]},
    **{"first_copy_loss": [NUMBER], "second_copy_loss": [NUMBER], "chance": {role: NUMBER for role in ROLES}},
    **{"sample_prompt": TEXT, "samples": [TEXT], "weights_sha256": [TEXT], "measurement": MEASUREMENT},
    **{"prompts": [PROMPT], "tensors_sha256": TEXT},
}
PLAIN = [key for key in CONTENT if key not in ("format", "prompts", "measurement", "tensors_sha256")]


def has_film(folder: str | Path) -> bool:
    """Whether a folder holds both files of a film; `read` says whether they are good."""
    return all((Path(folder) / name).is_file() for name in (JSON, TENSORS))


def write(film: Film, folder: str | Path) -> Path:
    """Write a film into a folder, which is made where needed; each file appears whole or not at all. Returns the folder.

    Raises OSError where it cannot be written.
    """
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    tensors = save(_arrays(film), {"format": str(FORMAT)})
    content = json.dumps(_content(film, tensors), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for path, whole in ((folder / TENSORS, tensors), (folder / JSON, content.encode())):
        replace_file(path, lambda unfinished, whole=whole: unfinished.write_bytes(whole))
    return folder


def read(folder: str | Path) -> Film:
    """The film in a folder. Raises ValueError, in one sentence, where there is none or it is damaged."""
    folder = Path(folder).expanduser()
    if not has_film(folder):
        raise ValueError(f"{folder} holds no film; expected {JSON} and {TENSORS}, so {AGAIN}.")
    raw, tensors = (_bytes(folder / name) for name in (JSON, TENSORS))
    try:
        content = json.loads(raw, parse_constant=_no_constant)
        if isinstance(content, dict) and content.get("format") != FORMAT:
            raise ValueError(f"it is of format {content.get('format')!r}, this version reads {FORMAT}")
        content = _typed(content, CONTENT, "it")
        if content["tensors_sha256"] != hashlib.sha256(tensors).hexdigest():
            raise ValueError(f"{TENSORS} beside it is damaged or of another film")
        return _film(content, _loaded(tensors))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{folder / JSON} cannot be read: {str(error).rstrip('.')}; {AGAIN}.") from error


def _loaded(tensors: bytes) -> dict[str, np.ndarray]:
    try:
        return load(tensors)
    except (SafetensorError, KeyError, TypeError) as error:  # a dtype that numpy has not is a KeyError there
        raise ValueError(f"{TENSORS} is damaged ({error})") from error


def _content(film: Film, tensors: bytes) -> dict[str, Any]:
    prompts = [{key: getattr(prompt, key) for key in PROMPT} for prompt in film.prompts]
    plain = {key: getattr(film, key) for key in PLAIN}
    measurement, digest = asdict(film.measurement), hashlib.sha256(tensors).hexdigest()
    return {"format": FORMAT, **plain, "measurement": measurement, "prompts": prompts, "tensors_sha256": digest}


def _arrays(film: Film) -> dict[str, np.ndarray]:
    arrays = {role: getattr(film, role).astype("<f4") for role in ROLES}
    for i, prompt in enumerate(film.prompts):
        rows, columns = np.tril_indices(len(prompt.strings))
        arrays[f"prompts.{i}.patterns"] = np.ascontiguousarray(prompt.patterns[..., rows, columns])
        arrays[f"prompts.{i}.top_probs"] = prompt.top_probs.astype("<f4")
    return arrays


def _film(content: dict[str, Any], arrays: dict[str, np.ndarray]) -> Film:
    arrays, frames = dict(arrays), len(content["steps"])
    induction = _take(arrays, "induction", np.float32, (frames, None, None))
    scores = {role: _take(arrays, role, np.float32, induction.shape) for role in ROLES if role != "induction"}
    prompts = []
    for i, prompt in enumerate(content["prompts"]):
        packed = _take(arrays, f"prompts.{i}.patterns", np.uint8, (*induction.shape, None))
        top_probs = _take(arrays, f"prompts.{i}.top_probs", np.float32, (frames, None))
        prompts.append(FilmPrompt(**prompt, patterns=_unpacked(packed, len(prompt["strings"])), top_probs=top_probs))
    if arrays:
        raise ValueError(f"{TENSORS} holds {min(arrays)!r}, which no film has")
    plain, how = {key: content[key] for key in PLAIN}, Measurement(**content["measurement"])
    return Film(**plain, **scores, induction=induction, prompts=tuple(prompts), measurement=how)


def _take(arrays: dict[str, np.ndarray], name: str, kind: type, shape: tuple[int | None, ...]) -> np.ndarray:
    """Take an array out of those of a file; None fits any length. Raises ValueError unless it is there and as expected."""
    if name not in arrays:
        raise ValueError(f"{TENSORS} lacks {name!r}")
    array = arrays.pop(name)
    if array.dtype != kind or array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape)):
        expected = f"{np.dtype(kind)} [{', '.join('any' if n is None else str(n) for n in shape)}]"
        raise ValueError(f"{name!r} in {TENSORS} is {array.dtype} {list(array.shape)}, expected {expected}")
    return array


def _unpacked(packed: UInt8[np.ndarray, "frame layer head pair"], n: int) -> UInt8[np.ndarray, "frame layer head query key"]:
    """Lower triangles, row by row -> square patterns with zeros above the diagonal."""
    if n > MOST_TOKENS or packed.shape[-1] != n * (n + 1) // 2:
        raise ValueError(f"a pattern of {n} tokens (at most {MOST_TOKENS}) has {packed.shape[-1]} entries")
    patterns = np.zeros((*packed.shape[:-1], n, n), np.uint8)
    rows, columns = np.tril_indices(n)
    patterns[..., rows, columns] = packed
    return patterns


def _typed(value: Any, kind: Any, where: str) -> Any:
    """A value of JSON as `kind` says, lists as tuples. Raises ValueError that names the place."""
    if isinstance(kind, dict):
        _check(isinstance(value, dict), where, "an object", value)
        if missing := [key for key in kind if key not in value]:
            raise ValueError(f"{where} lacks {missing[0]!r}")
        if unknown := [key for key in value if key not in kind]:
            raise ValueError(f"{where} has {unknown[0]!r}, which no film has")
        return {key: _typed(value[key], kind[key], key if where == "it" else f"{where}.{key}") for key in kind}
    if isinstance(kind, list):
        _check(isinstance(value, list), where, "a list", value)
        return tuple(_typed(entry, kind[0], f"{where}[{i}]") for i, entry in enumerate(value))
    _check(type(value) in kind, where, " or ".join(option.__name__ for option in kind), value)
    return value


def _check(holds: bool, where: str, expected: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"{where} is of type {type(value).__name__}, expected {expected}")


def _no_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")


def _bytes(path: Path) -> bytes:
    if (size := path.stat().st_size) > LARGEST[path.name]:
        raise ValueError(f"{path} has {size:,} bytes, a film at most {LARGEST[path.name]:,}; {AGAIN}.")
    return path.read_bytes()
