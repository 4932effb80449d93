"""Tables of a TOML file read into frozen dataclasses: each section a dataclass, each key a field, every key and type checked.

An unknown, missing or ill-typed key is a ValueError of one sentence that names it as it stands in the file.
"""

import dataclasses
import typing
from dataclasses import fields
from typing import Any, Literal


def spelled(key: str) -> str:
    """A dotted key as it stands in the file: "[optimizer] steps"."""
    section, _, name = key.rpartition(".")
    return f"[{section}] {name}" if section else name


def flatten(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def build(kind: type, table: dict[str, Any], section: str = "") -> Any:
    """An instance of a section's dataclass; nested dataclasses are subtables. Raises ValueError, which names the key."""
    where = f"[{section}]" if section else "the recipe"
    known = {f.name: f for f in fields(kind)}
    for key in table:
        if key not in known:
            raise ValueError(f"{where} has an unknown key {key!r}; expected only {', '.join(known)}.")
    hints, values = typing.get_type_hints(kind), {}
    for name, declared in known.items():
        if name in table:
            values[name] = _value(hints[name], table[name], f"{section}.{name}".lstrip("."))
        elif declared.default is dataclasses.MISSING and declared.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} lacks {name!r}; add it.")
    return kind(**values)


def _value(hint: Any, value: Any, key: str) -> Any:
    """`value` as the type of its field, or ValueError."""
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ValueError(f"{key} must be a section [{key}], got {value!r}.")
        return build(hint, value, key)
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise ValueError(f"{spelled(key)} is {value!r}, expected one of {', '.join(map(repr, typing.get_args(hint)))}.")
        return value
    if hint == tuple[int, int]:
        if not (isinstance(value, (list, tuple)) and len(value) == 2 and all(type(v) is int for v in value)):
            raise ValueError(f"{spelled(key)} is {value!r}, expected two whole numbers [low, high].")
        return tuple(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text in quotes"}
        raise ValueError(f"{spelled(key)} is {value!r}, expected {words[hint]}.")
    return value
