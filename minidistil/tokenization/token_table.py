"""The tokens of a tokenizer: their ids, and the roles of the special ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil._options import is_iterable
from minidistil.tokenization.texts import refuse_half_characters

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend


def _special_token(role: str) -> property:
    return property(lambda self: self.special_tokens.get(role), doc=f"The {role.replace('_', ' ')}, or None.")


def _special_token_id(role: str) -> property:
    def read(self: TokenTable) -> int | None:
        token = self.special_tokens.get(role)
        return None if token is None else self.backend_tokenizer.token_to_id(token)

    return property(read, doc=f"The id of the {role.replace('_', ' ')}, or None.")


class TokenTable:
    """What a tokenizer knows of its tokens.

    Attributes:
        backend_tokenizer: the compiled tokenizer.
        special_tokens: token by role, such as {"mask_token": "[MASK]"}.
        extra_special_tokens: the special tokens without a role.
    """

    backend_tokenizer: Backend
    special_tokens: dict[str, str]
    extra_special_tokens: list[str]

    bos_token, bos_token_id = _special_token("bos_token"), _special_token_id("bos_token")
    eos_token, eos_token_id = _special_token("eos_token"), _special_token_id("eos_token")
    unk_token, unk_token_id = _special_token("unk_token"), _special_token_id("unk_token")
    sep_token, sep_token_id = _special_token("sep_token"), _special_token_id("sep_token")
    pad_token, pad_token_id = _special_token("pad_token"), _special_token_id("pad_token")
    cls_token, cls_token_id = _special_token("cls_token"), _special_token_id("cls_token")
    mask_token, mask_token_id = _special_token("mask_token"), _special_token_id("mask_token")
    pad_token_type_id = 0
    is_fast = True

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Token by role."""
        return dict(self.special_tokens)

    @property
    def additional_special_tokens(self) -> list[str]:
        """The special tokens without a role, by their name in transformers 4."""
        return list(self.extra_special_tokens)

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, those that have a role first."""
        return list(dict.fromkeys([*self.special_tokens.values(), *self.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        found = (self.backend_tokenizer.token_to_id(token) for token in self.all_special_tokens)
        return [token_id for token_id in found if token_id is not None]

    @property
    def vocab_size(self) -> int:
        """Entries of the vocabulary, without tokens added later."""
        size: int = self.backend_tokenizer.get_vocab_size(with_added_tokens=False)
        return size

    @property
    def vocab(self) -> dict[str, int]:
        """Id by token, as `get_vocab` returns it."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """Return id by token, added tokens included."""
        vocab: dict[str, int] = self.backend_tokenizer.get_vocab(with_added_tokens=True)
        return vocab

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id, the special ones among them."""
        added: dict[int, AddedToken] = self.backend_tokenizer.get_added_tokens_decoder()
        return added

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Id by added token, as `get_added_vocab` returns it."""
        return self.get_added_vocab()

    def get_added_vocab(self) -> dict[str, int]:
        """Return id by token of the added ones, in the order of their ids."""
        return {token.content: index for index, token in sorted(self.added_tokens_decoder.items())}

    def __len__(self) -> int:
        return int(self.backend_tokenizer.get_vocab_size(with_added_tokens=True))

    def __bool__(self) -> bool:
        return True

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Return the token of an id, or the list of tokens of several; None for an id that does not exist."""
        numbers = token_ids(ids)
        if not is_iterable(ids):
            return self.backend_tokenizer.id_to_token(numbers[0])
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self.backend_tokenizer.id_to_token(i) for i in numbers if i not in skipped]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Return the id of a token, or the list of ids of several; unknown ones get the unknown token's."""
        if isinstance(tokens, str):
            refuse_half_characters(tokens)
            found = self.backend_tokenizer.token_to_id(tokens)
            return self.unk_token_id if found is None else found
        if not is_iterable(tokens) or isinstance(tokens, bytes):
            raise TypeError(f"a token is a str, and tokens are a list of them; got {type(tokens).__name__}")
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Make text of tokens: ["sub", "##word"] to "subword"."""
        decoder = self.backend_tokenizer.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(tokens))

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many tokens a text (or a pair) gains by its special tokens."""
        count: int = self.backend_tokenizer.num_special_tokens_to_add(pair)
        return count

    def get_special_tokens_mask(
        self, token_ids_0: Sequence[int], token_ids_1: None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """Return 1 for every id that is a special token's, else 0.

        Raises:
            ValueError: ids without their special tokens, or of a second text.
        """
        if token_ids_1 is not None or not already_has_special_tokens:
            raise ValueError(
                "get_special_tokens_mask takes ids of a whole input: pass already_has_special_tokens=True with them, "
                "or ask the tokenizer for it: tokenizer(texts, return_special_tokens_mask=True)"
            )
        special = set(self.all_special_ids)
        return [int(index in special) for index in token_ids(token_ids_0)]


def token_ids(value: Any) -> list[int]:
    """One id, or a list or an array of them, as a list.

    Raises:
        ValueError: something else.
    """
    try:
        ids = np.atleast_1d(np.asarray(value))
    except ValueError:
        raise ValueError("one list of ids is expected, these are lists of different lengths") from None
    if ids.ndim != 1:
        raise ValueError(f"one list of ids is expected, got shape {ids.shape}; for several use batch_decode")
    if ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= 1 << 32):
        shown = f"{ids[:10].tolist()!r:.200} ({ids.dtype})"
        raise ValueError(f"ids are whole numbers from 0 on, below 2^32, got {shown}")
    found: list[int] = ids.tolist()
    return found
