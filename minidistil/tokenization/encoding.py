"""What a tokenizer returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from minidistil._options import check_device

if TYPE_CHECKING:
    from tokenizers import Encoding

_Name = Literal[
    "input_ids", "attention_mask", "token_type_ids", "special_tokens_mask", "offset_mapping", "length",
    "overflow_to_sample_mapping",
]  # fmt: skip


class TokenSpan(NamedTuple):
    """Tokens from `start` on, up to `end`."""

    start: int
    end: int


class CharSpan(NamedTuple):
    """Characters from `start` on, up to `end`."""

    start: int
    end: int


class BatchEncoding(dict[str, "np.ndarray | Any"]):
    """What a tokenizer makes of text: `input_ids` and its companions, by key or attribute; `model(**encoding)`.

    `encoding[0]` is the `tokenizers.Encoding` of the first row.

    Args:
        data: lists or arrays by name.
        encoding: the rows' encodings, or None where nobody has them.
        tensor_type: "np" to make arrays of the lists.

    Attributes:
        encodings: one `tokenizers.Encoding` per row (a text, or a window of one), for whoever needs words, offsets or
            sequences of tokens; None for what `pad` returns.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encoding: Sequence[Encoding] | None = None,
        tensor_type: str | None = None,
    ) -> None:
        super().__init__(data or {})
        self.encodings = encoding
        self.convert_to_tensors(tensor_type)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getitem__(name)
        except KeyError:
            raise AttributeError(f"this encoding has no {name!r}; it has {list(self)}") from None

    # By its known names a value is whatever the caller asked for. What `model(**encoding)` passes is the second's; as
    # that is no bool, the model's output is known not to be a tuple.
    @overload
    def __getitem__(self, key: _Name) -> Any: ...
    @overload
    def __getitem__(self, key: str) -> np.ndarray | Any: ...
    @overload
    def __getitem__(self, key: int) -> Encoding: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[Encoding]: ...
    def __getitem__(self, key: Any) -> Any:
        """Return what goes by a name; or the encoding of a row, or those of several (a slice)."""
        return super().__getitem__(key) if isinstance(key, str) else self._rows[key]

    @property
    def data(self) -> dict[str, Any]:
        """What there is by name: the encoding itself, which is a dictionary here."""
        return self

    @property
    def is_fast(self) -> bool:
        """Whether words, characters and sequences of the tokens are known."""
        return self.encodings is not None

    @property
    def n_sequences(self) -> int | None:
        """How many texts stand in a row, 1 or 2; None where it is not known."""
        return self.encodings[0].n_sequences if self.encodings else None

    def to(self, device: Any, *, non_blocking: bool = False) -> BatchEncoding:
        """Return the encoding where `device` is the CPU. Here so that code written for PyTorch keeps working.

        Raises:
            ValueError: any other device.
        """
        check_device(device)
        return self

    def convert_to_tensors(self, tensor_type: str | None = None) -> BatchEncoding:
        """Make arrays of the lists, where `tensor_type` is "np"; None leaves them."""
        if tensor_type not in (None, "np"):
            raise ValueError(f'tensor_type must be None or "np", got {tensor_type!r}')
        if tensor_type is not None:
            self.update(to_arrays(self))
        return self

    @property
    def _rows(self) -> Sequence[Encoding]:
        if self.encodings is None:
            raise ValueError("this was padded after it was made: words and offsets are in what the tokenizer returned")
        return self.encodings

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of a row."""
        return list(self._rows[batch_index].tokens)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of a row, the word it belongs to; None for special tokens."""
        return list(self._rows[batch_index].word_ids)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of a row, 0 or 1 for the first or second of a pair; None for special tokens."""
        return list(self._rows[batch_index].sequence_ids)

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return 0 or 1, the text of a pair that a token is of; None for special tokens."""
        row, token = _row_and(batch_or_token_index, token_index)
        found: int | None = self._rows[row].token_to_sequence(token)
        return found

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Return the characters (start, end) of a token; None for special tokens. Of row 0 where one index is given."""
        row, token = _row_and(batch_or_token_index, token_index)
        found = self._rows[row].token_to_chars(token)
        return None if found is None else CharSpan(*found)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the word of a token; None for special tokens. Of row 0 where one index is given."""
        row, token = _row_and(batch_or_token_index, token_index)
        found: int | None = self._rows[row].token_to_word(token)
        return found

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the token of a character; None where none has it. Of row 0 where one index is given."""
        row, char = _row_and(batch_or_char_index, char_index)
        found: int | None = self._rows[row].char_to_token(char, sequence_index)
        return found

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the word of a character; None where none has it. Of row 0 where one index is given."""
        row, char = _row_and(batch_or_char_index, char_index)
        found: int | None = self._rows[row].char_to_word(char, sequence_index)
        return found

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Return the characters (start, end) of a word. Of row 0 where one index is given."""
        row, word = _row_and(batch_or_word_index, word_index)
        found = self._rows[row].word_to_chars(word, sequence_index)
        return None if found is None else CharSpan(*found)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Return the tokens (start, end) of a word; None where there is none. Of row 0 where one index is given."""
        row, word = _row_and(batch_or_word_index, word_index)
        found = self._rows[row].word_to_tokens(word, sequence_index)
        return None if found is None else TokenSpan(*found)


def _row_and(first: int, second: int | None) -> tuple[int, int]:
    return (0, first) if second is None else (first, second)


def to_arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of numbers as arrays: int64, or float64 where there are fractions.

    Raises:
        ValueError: rows of different lengths, or no numbers.
    """
    arrays = {}
    for name, rows in values.items():
        try:
            array = np.array(rows)
        except ValueError as error:
            raise ValueError(
                f"the texts have different numbers of tokens, so {name} does not form an array: use padding=True"
            ) from error
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} does not form an array of numbers")
        arrays[name] = array.astype(np.int64) if array.dtype.kind != "f" or not array.size else array
    return arrays
