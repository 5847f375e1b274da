"""What a tokenizer returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Encoding


class BatchEncoding(dict[str, Any]):
    """What a tokenizer makes of text: `input_ids` and its companions, by key or attribute; `model(**encoding)`.

    Attributes:
        encodings: one `tokenizers.Encoding` per row (a text, or a window of one), for whoever needs words, offsets or
            sequences of tokens.
    """

    def __init__(self, values: dict[str, Any], encodings: Sequence[Encoding]) -> None:
        super().__init__(values)
        self.encodings = encodings

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this encoding has no {name!r}; it has {list(self)}") from None

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of a row."""
        return list(self.encodings[batch_index].tokens)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of a row, the word it belongs to; None for special tokens."""
        return list(self.encodings[batch_index].word_ids)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of a row, 0 or 1 for the first or second of a pair; None for special tokens."""
        return list(self.encodings[batch_index].sequence_ids)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> tuple[int, int] | None:
        """Return the characters (start, end) of a token; None for special tokens. Of row 0 where one index is given."""
        row, token = _row_and(batch_or_token_index, token_index)
        found: tuple[int, int] | None = self.encodings[row].token_to_chars(token)
        return found

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the word of a token; None for special tokens. Of row 0 where one index is given."""
        row, token = _row_and(batch_or_token_index, token_index)
        found: int | None = self.encodings[row].token_to_word(token)
        return found

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the token of a character; None where none has it. Of row 0 where one index is given."""
        row, char = _row_and(batch_or_char_index, char_index)
        found: int | None = self.encodings[row].char_to_token(char, sequence_index)
        return found

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the word of a character; None where none has it. Of row 0 where one index is given."""
        row, char = _row_and(batch_or_char_index, char_index)
        found: int | None = self.encodings[row].char_to_word(char, sequence_index)
        return found

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> tuple[int, int] | None:
        """Return the characters (start, end) of a word. Of row 0 where one index is given."""
        row, word = _row_and(batch_or_word_index, word_index)
        found: tuple[int, int] | None = self.encodings[row].word_to_chars(word, sequence_index)
        return found


def _row_and(first: int, second: int | None) -> tuple[int, int]:
    return (0, first) if second is None else (first, second)
