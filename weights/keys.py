"""Values of a JSON object, read by a table: each under its key, of its kind, within its range; or a fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minidistil.weights.errors import quoted

REQUIRED: Any = object()
MOST = (1 << 31) - 1

_KINDS = {
    float: "a number",
    bool: "true or false",
    str: "a text",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True)
class Key:
    """A value of config.json, or of another file of JSON.

    Attributes:
        names: keys it may stand under, the file's own first.
        kind: int, float, bool, str, list or dict.
        default: taken where no key is there; REQUIRED where that is a fault.
        null: taken where the key has null; unset, `default`.
        least: smallest value accepted, for numbers.
        most: largest value accepted, for whole numbers.
        of: kinds of what a list or an object holds; empty for anything.
        choices: values accepted; empty for any.
    """

    names: tuple[str, ...]
    kind: type
    default: Any = REQUIRED
    least: float = 1
    most: int = MOST
    of: tuple[type, ...] = ()
    choices: tuple[Any, ...] = ()
    null: Any = REQUIRED


def key_name(key: Key, content: Mapping[str, Any]) -> str:
    """The name under which an object has a value: the first of the key's, or an alias."""
    return next((name for name in key.names if name in content), key.names[0])


def read_keys(keys: Mapping[str, Key], content: Mapping[str, Any], where: str, faults: list[str]) -> dict[str, Any]:
    """Canonical name -> value, for every key of a table that has a valid one; the others become faults.

    Args:
        keys: canonical name -> key.
        content: what the file holds.
        where: what faults call the file; "" where the error names it.
        faults: gets one sentence for each value that is missing or not as the table wants it.
    """
    values = {}
    for canonical, key in keys.items():
        name = key_name(key, content)
        if name not in content or (content[name] is None and key.default is not REQUIRED):
            if key.default is REQUIRED:
                faults.append(f"{where} lacks {name}".lstrip())
            else:
                values[canonical] = key.default if name not in content or key.null is REQUIRED else key.null
        elif _is_valid(key, content[name]):
            values[canonical] = key.kind(content[name])
        else:
            found = f"{name} = {quoted(repr(content[name]))}, expected {_expected(key)}"
            faults.append(f"{where}: {found}" if where else found)
    return values


def _is_valid(key: Key, value: Any) -> bool:
    if key.choices and value not in key.choices:
        return False
    if key.kind is int:
        return type(value) is int and key.least <= value <= key.most
    if key.kind is float:
        return type(value) in (int, float) and key.least <= value <= 1e30
    if not isinstance(value, key.kind):
        return False
    held = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return not key.of or all(isinstance(one, key.of) for one in held)


def _expected(key: Key) -> str:
    if key.choices:
        return f"one of {', '.join(map(str, key.choices))}"
    if key.kind is int:
        return f"a whole number of at least {key.least:g}" + (f", {key.most} at most" if key.most < MOST else "")
    of = [_KINDS[kind] for kind in key.of if kind in _KINDS]
    return _KINDS[key.kind] + (f" whose values are {' or '.join(of)}" if of else "")
