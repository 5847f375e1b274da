"""A batch of sentences without padding: the one form in which tokens reach a backend, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from minidistil.weights.config import Config

Place = Callable[[int, int], str]
"""How errors call token t of sentence b; it follows the array's name."""


@dataclass(frozen=True)
class PackedBatch:
    """T tokens of B sentences, one sentence after another, attended tokens only.

    Compiled code takes rows of tables, and sentences of these arrays, by the numbers in them, and checks none. So a
    batch keeps copies that nobody else can write to, which fit one another, and knows their largest numbers; `check`,
    which every backend begins with, holds those against the model.

    Attributes:
        input_ids: int32 [T], or None where `inputs_embeds` is given. (Numbers that int32 cannot hold stay as they are,
            for `check` to refuse; so in the two arrays below.)
        position_ids: int32 [T], rows of the position table.
        token_type_ids: int32 [T], or None for all zeros (or for a model that has no token types).
        inputs_embeds: float32 [T, E], in place of the word embeddings, or None.
        offsets: int64 [B + 1]; sentence b is rows offsets[b] to offsets[b + 1], at least one.
        attention_bias: float32 [B, 1 or H, S, S], added to the scaled scores; only for a 4-D attention mask, where
            every sentence has S tokens.

    Raises:
        TypeError: numbers of tokens that are no integers.
        ValueError: arrays that do not fit one another.
    """

    input_ids: np.ndarray | None
    position_ids: np.ndarray
    token_type_ids: np.ndarray | None
    inputs_embeds: np.ndarray | None
    offsets: np.ndarray
    attention_bias: np.ndarray | None = None
    _largest: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.input_ids is None) == (self.inputs_embeds is None):
            raise ValueError("a batch has input_ids or inputs_embeds, one of them")
        offsets = _integers(self.offsets, "offsets").astype(np.int64, copy=False)
        lengths = offsets[1:] - offsets[:-1]
        if len(offsets) == 0 or offsets[0] != 0 or (len(lengths) and lengths[lengths.argmin()] < 1):
            raise ValueError(
                f"offsets must begin with 0 and grow from sentence to sentence, got {offsets[:9].tolist()}"
            )
        self._set("offsets", offsets)
        self._set("_largest", {})
        for name in ("input_ids", "token_type_ids", "position_ids"):
            if (value := getattr(self, name)) is not None:
                numbers = _integers(value, name)
                self._largest[name] = _largest(numbers)
                fits = self._largest[name] < 2**31
                self._set(name, numbers.astype(np.int32, copy=False) if fits else numbers)
                self._check_shape(name, (self.tokens,))
            elif name == "position_ids":
                raise TypeError("position_ids must be integers [T], got None")
        if self.inputs_embeds is not None:
            self._set("inputs_embeds", _floats(self.inputs_embeds, "inputs_embeds"))
            self._check_shape("inputs_embeds", (self.tokens, self.inputs_embeds.shape[-1]))
        if self.attention_bias is not None:
            self._set("attention_bias", _floats(self.attention_bias, "attention_bias"))
            S = int(lengths.max(initial=0))
            if (lengths != S).any():
                raise ValueError("attention_bias is for sentences of one length")
            heads = self.attention_bias.shape[1] if self.attention_bias.ndim == 4 else 1
            self._check_shape("attention_bias", (self.sentences, heads, S, S))

    @property
    def tokens(self) -> int:
        """T, the number of packed tokens."""
        return int(self.offsets[-1])

    @property
    def sentences(self) -> int:
        """B, the number of sentences."""
        return len(self.offsets) - 1

    def check(self, config: Config, place: Place | None = None) -> None:
        """Hold the batch against a model.

        Args:
            config: the model's.
            place: how errors call a token; "of sentence b, token t" where not given.

        Raises:
            ValueError: a number that is no row of the model's table, or another width; says where, and what there is.
        """
        sizes = {
            "input_ids": (config.vocab_size, "the vocabulary has {} entries (is it this model's tokenizer?)"),
            "token_type_ids": (config.type_vocab_size or 1, "this model has {} token types"),
            "position_ids": (config.max_position_embeddings, "this model has {} positions"),
        }
        for name, largest in self._largest.items():
            size, what = sizes[name]
            if largest >= size:
                if name == "token_type_ids" and not config.type_vocab_size:
                    what = f"{config.model_type} has no token types (leave them out)"
                raise ValueError(self._out_of_range(name, size, what.format(size), place or _of_sentence))
        if self.inputs_embeds is not None:
            self._check_shape("inputs_embeds", (self.tokens, config.embedding_size))
        if self.attention_bias is not None and (heads := self.attention_bias.shape[1]) not in (1, config.n_heads):
            raise ValueError(f"attention_bias is for {heads} heads, this model has {config.n_heads}")

    def rows(self, wanted: Any) -> np.ndarray:
        """Rows of the batch, checked: integers [R] to int64 [R], a copy.

        Raises:
            TypeError, ValueError: no integers, or not of 0 to T - 1.
        """
        rows = _integers(wanted, "rows")
        if (largest := _largest(rows)) >= max(self.tokens, 1):
            at = int(np.flatnonzero(_unsigned(rows) == largest)[0])
            raise ValueError(f"rows[{at}] is {rows[at]}, out of range: the batch has {self.tokens} tokens")
        return rows.astype(np.int64, copy=False)

    def _set(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
            value.flags.writeable = False
        object.__setattr__(self, name, value)

    def _check_shape(self, name: str, wanted: tuple[int, ...]) -> None:
        found = getattr(self, name).shape
        if found != wanted:
            raise ValueError(f"{name} must be {list(wanted)} for these sentences, got {list(found)}")

    def _out_of_range(self, name: str, size: int, what: str, place: Place) -> str:
        numbers = getattr(self, name)
        bad = np.flatnonzero(_unsigned(numbers) >= size)
        b = int(np.searchsorted(self.offsets, bad[0], side="right")) - 1
        others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        where = place(b, int(bad[0] - self.offsets[b]))
        return f"{name}{where} is {numbers[bad[0]]}{others}, out of range: {what}, 0 to {size - 1}"


def _integers(value: Any, name: str) -> np.ndarray:
    """A copy of integers [n]: as int32 or, where they are of another type, as the widest of their kind."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be 1-D, got lists of different lengths") from None
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, got shape {array.shape}")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    wide = np.int32 if array.dtype == np.int32 else np.uint64 if array.dtype.kind == "u" else np.int64
    return np.array(array, wide, order="C")


def _floats(value: Any, name: str) -> np.ndarray:
    try:
        return np.ascontiguousarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of floats: {error}") from None


def _unsigned(numbers: np.ndarray) -> np.ndarray:
    """What one comparison tells too large and negative numbers by: those become the largest."""
    return numbers.view(np.uint32 if numbers.itemsize == 4 else np.uint64)


def _largest(numbers: np.ndarray) -> int:
    """The largest as `_unsigned` tells, 0 of none; by argmax, which needs less of NumPy: quicker in cold caches."""
    counted = _unsigned(numbers)
    return int(counted[counted.argmax()]) if len(counted) else 0


def _of_sentence(b: int, t: int) -> str:
    return f" of sentence {b}, token {t}"
