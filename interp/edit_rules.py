"""Which edits mean something: what can be edited, what each operation reads, and the sentence that refuses the rest."""

import operator
from typing import Any

MAX_TEXT = 4000
MAX_LINES = 64  # texts of a list, one per line
MAX_NAME = 200
LARGEST = 1_000_000  # no layer, head or position is counted beyond

# What may be edited: the short name -> the hook inside a block, and the axis of the heads (None: no heads).
EDITABLE: dict[str, tuple[str, int | None]] = {
    "resid_pre": ("hook_resid_pre", None),
    "resid_mid": ("hook_resid_mid", None),
    "resid_post": ("hook_resid_post", None),
    "attn_out": ("hook_attn_out", None),
    "mlp_out": ("hook_mlp_out", None),
    "mlp_post": ("mlp.hook_post", None),
    "q": ("attn.hook_q", 2),
    "k": ("attn.hook_k", 2),
    "v": ("attn.hook_v", 2),
    "z": ("attn.hook_z", 2),
    "pattern": ("attn.hook_pattern", 1),
}
# What each operation reads, besides component, layer, head, neuron and positions.
READS: dict[str, tuple[str, ...]] = {
    "zero": (),
    "mean": ("text",),
    "scale": ("value",),
    "patch": ("text",),
    "add": ("value", "text", "minus", "lines"),
    "contrast": ("value", "text", "minus"),
    "project": ("text", "minus", "lines"),
    "clamp": ("value", "text", "minus", "lines"),
    "set": ("value", "key", "renormalise"),
    "feature": ("value", "feature", "autoencoder"),
}
OPERATIONS = tuple(READS)
OF_ONE_NEURON = ("zero", "mean", "scale", "patch", "add", "clamp")  # a direction needs all of them
_OPTIONAL = {
    **dict.fromkeys(("value", "text", "minus", "key", "feature", "autoencoder")),
    "renormalise": False,
    "lines": False,
}


def plain_text(text: str) -> str:
    """The text with pairs of surrogates joined and halves of pairs replaced: what can be written as UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def texts_of(text: str, lines: bool) -> tuple[str, ...]:
    """The texts that a field holds: itself, or with `lines` each of its lines that is not empty."""
    return tuple(line for line in text.split("\n") if line) if lines else (text,)


def whole(number: Any) -> Any:
    """An integer of NumPy or torch as Python's own; anything else as it is, for `check_numbers` to refuse."""
    try:
        return number if isinstance(number, bool) else operator.index(number)
    except TypeError:
        return number


def check_numbers(edit: Any) -> None:
    """Raises ValueError for a layer, head, neuron, key or position that cannot be, and for a switch that is none."""
    if edit.layer is None:
        raise ValueError("An edit needs a layer, a whole number from 0.")
    for name in ("layer", "head", "key", "neuron", "feature"):
        if not (getattr(edit, name) is None or _index(getattr(edit, name))):
            raise ValueError(f"An edit's {name} is a whole number from 0, got {getattr(edit, name)!r}.")
    if edit.positions is not None and (not edit.positions or not all(map(_index, edit.positions))):
        raise ValueError(f"positions must be whole numbers from 0, got {list(edit.positions)}.")
    for name in ("renormalise", "lines"):
        if not isinstance(getattr(edit, name), bool):
            raise ValueError(f"An edit's {name} is true or false, got {getattr(edit, name)!r}.")


def check_operation(edit: Any) -> None:
    """Raises ValueError where the operation lacks something it reads, or is given what it has no use for."""
    if edit.head is not None and EDITABLE[edit.component][1] is None:
        raise ValueError(f"{edit.component} has no heads; leave the head out, or edit z.")
    reads = READS[edit.op]
    for name, default in _OPTIONAL.items():
        if name not in reads and getattr(edit, name) != default:
            raise ValueError(f"{edit.op} has no use for {name}; it reads {', '.join(reads) or 'nothing more'}.")
    if "value" in reads and not _finite(edit.value):
        raise ValueError(f"{edit.op} needs a finite number as its value, got {edit.value!r}.")
    if edit.neuron is not None:
        _check_neuron(edit)
    _check_texts(edit, reads)
    if edit.op == "set":
        _check_cell(edit)
    if edit.op == "feature":
        _check_feature(edit)


def _check_neuron(edit: Any) -> None:
    if edit.component != "mlp_post" or edit.op not in OF_ONE_NEURON:
        raise ValueError(f"A neuron is edited at mlp_post by {', '.join(OF_ONE_NEURON)}, not at {edit.component} by {edit.op}.")
    if edit.op == "clamp" and (edit.text or edit.minus or edit.lines):
        raise ValueError("clamp holds a neuron or the direction of texts, not both; leave one out.")


def _check_texts(edit: Any, reads: tuple[str, ...]) -> None:
    of_texts = "text" in reads and not (edit.op == "clamp" and edit.neuron is not None)
    if of_texts and not edit.text:
        or_neuron = ", or a neuron of mlp_post" if edit.op == "clamp" else ""
        raise ValueError(f"{edit.op} needs a text to take the activation from{or_neuron}; give one.")
    if edit.op == "contrast" and not edit.minus:
        raise ValueError("contrast needs a second text to subtract; give one.")
    for name in ("text", "minus"):
        given = getattr(edit, name) or ""
        if len(given) > MAX_TEXT:
            raise ValueError(f"An edit's {name} may have {MAX_TEXT} characters, got {len(given)}.")
        if edit.lines and given and not 1 <= len(texts_of(given, True)) <= MAX_LINES:
            raise ValueError(f"A list has 1 to {MAX_LINES} texts, one per line; {name} has {len(texts_of(given, True))}.")
    if of_texts and edit.component == "pattern":
        raise ValueError(f"{edit.op} is not defined for attention patterns, whose size is the prompt's; use set or zero.")


def _check_cell(edit: Any) -> None:
    if edit.component != "pattern" or None in (edit.head, edit.key, edit.positions):
        raise ValueError("set changes one attention cell: it needs component 'pattern', a head, a position and a key.")
    if not 0 <= edit.value <= 1 or any(edit.key > p for p in edit.positions):
        raise ValueError(f"An attention weight lies in 0..1 and its key not after its query; got {edit.describe()}.")


def _check_feature(edit: Any) -> None:
    if edit.feature is None or not edit.autoencoder or edit.head is not None or edit.component == "pattern":
        raise ValueError(
            "feature sets a feature of an autoencoder: it needs the autoencoder's name, a feature from 0, and a component without heads."
        )
    if len(edit.autoencoder) > MAX_NAME:
        raise ValueError(f"An autoencoder's name may have {MAX_NAME} characters, got {len(edit.autoencoder)}.")


def _finite(value: int | float | None) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
