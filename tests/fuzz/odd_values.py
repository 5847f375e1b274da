"""Arguments that people pass: right ones, and right ones made wrong in one way."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

_DTYPES = "?bBhHiIlLqQefdgFSUOmM"
_WORDS = "the city of light and wine paris is great music king x ! , 7 naïve 北京 [MASK] [SEP] <mask>".split()


def ids(rng: random.Random, vocabulary: int, longest: int, choices: bool = False) -> np.ndarray:
    """Token ids int64 [B, S], or [B, C, S]."""
    shape = [rng.choice((1, 1, 2, 3, 5)), rng.randint(1, rng.choice((3, 8, longest)))]
    if choices:
        shape.insert(1, rng.choice((1, 2, 3)))
    count = int(np.prod(shape))
    return np.array([rng.randrange(vocabulary) for _ in range(count)], np.int64).reshape(shape)


def mask(rng: random.Random, shape: tuple[int, ...], heads: int) -> Any:
    """A mask for ids of this shape: of tokens, or of pairs of tokens."""
    if rng.random() < 0.7 or len(shape) != 2:
        dropped = np.array([rng.random() < 0.3 for _ in range(int(np.prod(shape)))]).reshape(shape)
        dropped[..., rng.randrange(shape[-1])] = False
        return (~dropped).astype(rng.choice((np.int64, np.int32, np.uint8, np.float32, np.bool_)))
    B, S = shape
    wanted = (rng.choice((B, 1)), rng.choice((heads, 1)), rng.choice((S, 1)), S)
    bias = np.array([rng.choice((0.0, 0.0, -1.5, 3.0, -np.inf, -1e30, -10000.0)) for _ in range(int(np.prod(wanted)))])
    bias = bias.reshape(wanted).astype(rng.choice((np.float32, np.float64, np.float16)))
    bias[..., rng.randrange(S)] = 0
    return bias if rng.random() < 0.7 else bias == 0


def laid_out(rng: random.Random, array: np.ndarray) -> Any:
    """The same numbers in another type, layout or container, all of which are right."""
    integers = array.dtype.kind in "iu"
    kind = rng.randrange(10)
    if kind == 0 and integers and array.size and array.min() >= 0 and array.max() < 128:
        return array.astype(rng.choice("bBhHiIlLqQ"))
    if kind == 1:
        return array.tolist()
    if kind == 2:
        return np.asfortranarray(array)
    if kind == 3:
        wide = np.zeros((*array.shape[:-1], array.shape[-1] * 3), array.dtype)
        wide[..., 1::3] = array
        return wide[..., 1::3]
    if kind == 4:
        return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    if kind == 5:
        return array.astype(array.dtype.newbyteorder(">"))
    if kind == 6:
        frozen = array.copy()
        frozen.flags.writeable = False
        return frozen
    if kind == 7:
        unaligned = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        unaligned[...] = array
        return unaligned
    if kind == 8 and integers:
        return tuple(map(tuple, array.tolist())) if array.ndim == 2 else array.astype(np.int32)
    return array


def spoilt(rng: random.Random, array: np.ndarray) -> Any:
    """An array made wrong in one way, or something else in its place; now and then it is right still."""
    changes: tuple[Callable[[], Any], ...] = (
        lambda: array.astype(rng.choice(_DTYPES)),
        lambda: _with(array, rng, rng.choice((-1, -(2**31), 2**31 - 1, 2**31, 2**32, 2**63 - 1, 23, 300, 10**6, 2))),
        lambda: array.astype(np.uint64) + np.uint64(rng.choice((2**31, 2**32, 2**63, 2**64 - 1))),
        lambda: _with(array.astype(np.float64), rng, rng.choice((np.nan, np.inf, -np.inf, 0.5, 1e300))),
        lambda: array[None], lambda: array[0] if len(array) else 0, lambda: array.reshape(-1), lambda: array[..., None],
        lambda: array[:0], lambda: array[..., :0], lambda: array[:, :0], lambda: array.T, lambda: np.tile(array, 60),
        lambda: array[..., 1:], lambda: np.broadcast_to(array.dtype.type(1), array.shape),
        lambda: np.concatenate([array, array]), lambda: [*array.tolist(), [1]], lambda: [[1], [1, 2]], list,
        lambda: [[]], lambda: [[], []], lambda: [[[]]], lambda: None, lambda: "text", lambda: b"bytes", lambda: 7,
        lambda: -1.5, lambda: True, lambda: {"input_ids": array}, lambda: object(), lambda: range(5),
        lambda: [["1", "2"]], lambda: [[None, 1]], lambda: [[True]],
        lambda: np.ma.masked_array(array, array > 3), lambda: np.array(7), lambda: np.array("x"), lambda: [[10**30]],
        lambda: np.zeros((0, 0), array.dtype), lambda: np.zeros((2, 0, 3), array.dtype),
        lambda: np.zeros((1,) * 20, np.int64), lambda: memoryview(np.ascontiguousarray(array)),
        lambda: np.zeros(3, [("a", "i4")]), lambda: {1, 2}, lambda: lambda: 0, lambda: array.astype(object),
        lambda: array * 1j, lambda: np.full((3, 2, 4, 2), array.dtype.type(1)),
    )  # fmt: skip
    return rng.choice(changes)()


def _with(array: np.ndarray, rng: random.Random, value: Any) -> np.ndarray:
    changed = array.copy()
    if changed.size:
        flat = changed.reshape(-1)
        number = np.array(value if changed.dtype.kind == "f" else np.int64(value)).astype(changed.dtype)
        flat[rng.randrange(flat.size)] = number
    return changed


def text(rng: random.Random) -> str:
    """A text that somebody may have written."""
    kind = rng.randrange(12)
    if kind == 0:
        return rng.choice(
            (
                "",
                " ",
                "\n\t",
                "\x00",
                "\u200b",
                "\ufeff",
                "é" * 200,
                "👨‍👩‍👧‍👦",
                "\u202e",
                "[CLS] [SEP] [PAD]",
                "##",
                "▁",
            )
        )
    if kind == 1:
        return "".join(
            chr(rng.choice((rng.randrange(128), rng.randrange(0xD800), 0x1F600, 0x10FFFF))) for _ in range(30)
        )
    words = rng.choices(_WORDS, k=rng.choice((1, 3, 8, 8, 20, 200 if kind == 2 else 8)))
    return " ".join(words)


def spoilt_text(rng: random.Random) -> Any:
    """What is no text, or hardly."""
    return rng.choice((
        None, 1, 1.5, True, b"bytes", [], (), {}, [""], [None], [[]], [["a"], 1], ("a", "b", "c"), {"text": "a"},
        {"a": 1}, object(), "\ud800", "a\udfffb", ["\ud800"], np.str_("text"), np.array(["a", "b"]), np.array([1, 2]),
        np.array("a"), range(3), ["a", 1], ["a", None], [("a", "b"), "c"], [("a", 1)], {"text": "a", "text_pair": None},
        {"question": "a"}, {"a", "b"},
    ))  # fmt: skip


def option(rng: random.Random) -> Any:
    """A value that an option may or may not take."""
    return rng.choice((
        None, True, False, 0, 1, 2, 5, 8, 10**6, 2**31, 2**63, 10**20, -1, 0.5, float("nan"), "", "x", "warn", "error",
        "first", "longest", "max_length", "np", "pt", "sigmoid", "softmax", "none", "relu", "max", "int8", "query", [],
        [1], ["a"], ["a", "b"], {}, (), {"truncation": True}, np.int64(3), np.float32(2), np.array([1.0]),
        np.zeros((2, 8), np.float32), object(),
    ))  # fmt: skip
