"""Files of a checkpoint, read without trust in them: regular files of bounded size, and JSON without surprises.

A pipe or a device in the place of a file would wait for ever or never end. Links are followed: the Hugging Face cache
is made of them.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from minidistil.weights import limits
from minidistil.weights.errors import CheckpointError, quoted


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read it; CheckpointError where it cannot be read, or is no regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise CheckpointError(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(path, "is no regular file but a folder, a pipe or a device")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of `most` bytes at most; CheckpointError otherwise."""
    if not is_there(path):
        raise CheckpointError(path, "is missing")
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            content = file.read(most + 1) if size <= most else b""
        except OSError as error:
            raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from None
    if max(size, len(content)) > most:
        raise CheckpointError(path, f"has {max(size, len(content))} bytes; {most} are the most accepted")
    return content


def read_text(path: Path, most: int) -> str:
    """The content of a regular file of UTF-8 text; CheckpointError otherwise."""
    try:
        return read_bytes(path, most).decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(path, f"is not UTF-8 text: {error.reason} at byte {error.start}") from None


def read_json(path: Path, most: int = limits.JSON_BYTES) -> Any:
    """The value that a file of JSON holds; CheckpointError where it is none, or beyond the limits."""
    try:
        return parse_json(read_bytes(path, most))
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(path, f"is not valid JSON: {error}") from None


def parse_json(content: bytes) -> Any:
    """The value of JSON text, strict where parsers differ: no NaN, no infinity, no name twice, no half characters.

    Raises:
        ValueError: says what is wrong, as the end of a sentence.
    """
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()  # the codec for both would be imported here
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_no_constant
        )
        too_deep = _deeper_than(limits.JSON_DEPTH, value)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except RecursionError:
        too_deep = True
    if too_deep:
        raise ValueError(f"nested too deeply; {limits.JSON_DEPTH} levels are the most accepted")
    if "\\u" in text:  # no other way leads to half of a surrogate pair
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair, which is no character") from None
    return value


def read_object(path: Path) -> dict[str, Any]:
    """The content of a file that holds a JSON object; CheckpointError otherwise."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(path, f"is not a JSON object but {type(content).__name__}")
    return content


def read_object_if_there(path: Path) -> dict[str, Any]:
    """The same; {} where there is no such file."""
    return read_object(path) if is_there(path) else {}


def is_there(path: Path) -> bool:
    """Whether anything has that name, of whatever kind: what is there and cannot be read is an error, not absent."""
    return os.path.exists(path)  # noqa: PTH110 (a name that is none is not there either; Path.exists raises)


def is_folder(path: Path) -> bool:
    """Whether a folder has that name."""
    return os.path.isdir(path)  # noqa: PTH112 (as above)


def is_inside(name: str) -> bool:
    """Whether a name in a file means something within that file's folder.

    The name alone is judged, not where links lead: the Hugging Face cache's lead out of the folder.
    """
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{quoted(twice)} stands twice in an object")
    return table


def _integer(text: str) -> int:
    if len(text) > limits.JSON_DIGITS:
        raise ValueError(f"a number of {len(text)} digits; {limits.JSON_DIGITS} are the most accepted")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {quoted(text)} is beyond all floating point numbers")
    return value


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _deeper_than(most: int, value: Any) -> bool:
    level = [value]
    for _ in range(most):
        inner = (v.values() if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list)))
        level = [v for values in inner for v in values if isinstance(v, (dict, list))]
        if not level:
            return False
    return True
