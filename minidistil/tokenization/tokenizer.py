"""Text to token ids and back, over the `tokenizers` library.

No call changes a tokenizer: padding and truncation are done on each call's own results, never switched on in the shared
object, so that any number of threads may use one tokenizer at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from minidistil._keywords import SavingKeywords, TokenizeKeywords
from minidistil._loading import loading
from minidistil._options import check_number, is_iterable, is_one_of
from minidistil.tokenization.encoding import BatchEncoding, to_arrays
from minidistil.tokenization.files import TokenizerFiles, read_tokenizer_files
from minidistil.tokenization.options import LoadTokenizerOptions
from minidistil.tokenization.padding import pad_encoded
from minidistil.tokenization.saving import FILES, described, files_of
from minidistil.tokenization.texts import read_texts
from minidistil.tokenization.token_table import TokenTable
from minidistil.tokenization.token_table import token_ids as read_ids
from minidistil.tokenization.tokenizer_json import library
from minidistil.tokenization.windows import encode, encode_windows
from minidistil.weights.by_reference import ByReference, Loaded
from minidistil.weights.config_values import refuse_own_code
from minidistil.weights.options import HubOptions, spelled_out
from minidistil.weights.small_files import read_object_if_there

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Backend
    from typing_extensions import Unpack

    from minidistil.weights.saving import Content
    from minidistil.weights.source import Source

_PADDING = {
    False: None,
    None: None,
    "do_not_pad": None,
    True: "longest",
    "longest": "longest",
    "max_length": "max_length",
}
_TRUNCATION = {
    False: None,
    None: None,
    "do_not_truncate": None,
    True: "longest_first",
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
}
_UNLIMITED_FROM = int(1e20)


class Tokenizer(ByReference, TokenTable):
    """Text to token ids and back. `AutoTokenizer.from_pretrained` makes one.

    A pickle says where to load from (`minidistil.weights.by_reference`); one of a tokenizer that was made in memory, or
    whose compiled one was changed, holds it.

    Attributes:
        backend_tokenizer: the compiled tokenizer; its own padding and truncation are off and stay off.
        special_tokens: token by role, such as {"mask_token": "[MASK]"}.
        extra_special_tokens: the special tokens without a role.
        model_max_length: longest input in tokens, special ones included; 10^30 where the files do not say.
        model_input_names: what a call returns unless told otherwise.
        padding_side: "right" or "left".
        truncation_side: "right" or "left".
        source: where it was loaded from, or None for one made in memory.
    """

    _shared = ("source",)
    _reads_weights = False

    def __init__(
        self,
        files: TokenizerFiles,
        name_or_path: str = "",
        source: Source | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.source = source
        self._settings = dict(settings or {})
        self.name_or_path = name_or_path
        self.backend_tokenizer: Backend = files.backend
        self.special_tokens = dict(files.special_tokens)
        self.extra_special_tokens = list(files.more_special_tokens)
        self.model_max_length = files.model_max_length
        self.padding_side = files.padding_side
        self.truncation_side = files.truncation_side
        self.clean_up_tokenization_spaces = files.clean_up
        self.model_input_names = list(files.model_input_names)

    @classmethod
    @spelled_out(LoadTokenizerOptions)
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str], **options: Unpack[LoadTokenizerOptions]
    ) -> Tokenizer:
        """Load the tokenizer of a checkpoint: its vocabulary, by the rules of its class and its files of settings.

        Args:
            name_or_path: a folder, `package:NAME`, or a hub id.
            **options: `LoadTokenizerOptions`.

        Raises:
            CheckpointError: there is no such folder, package or hub id, or it has no tokenizer; or with every fault of
                a file that is damaged.
            ValueError: an option of an impossible value.
        """
        from minidistil.weights.locate import find

        hub = {name: value for name, value in options.items() if name in HubOptions.__annotations__}
        settings = {name: value for name, value in options.items() if name not in hub}
        source = find(name_or_path, config_only=True, **cast(HubOptions, hub))
        if settings.pop("trust_remote_code", False):
            refuse_own_code(read_object_if_there(source.folder / "tokenizer_config.json"), source.folder)
        with loading():
            given = {name: getattr(value, "content", value) for name, value in settings.items()}  # of an AddedToken
            return cls(read_tokenizer_files(source.folder, given), str(name_or_path), source, given)

    @spelled_out(SavingKeywords)
    def save_pretrained(
        self, save_directory: str | os.PathLike[str], **others: Unpack[SavingKeywords]
    ) -> tuple[str, ...]:
        """Write the tokenizer's files: those that it was loaded from, and what was changed since.

        Args:
            save_directory: a folder, made where there is none. Files of another tokenizer there are removed.
            **others: `SavingKeywords`.

        Returns:
            The paths written.

        Raises:
            CheckpointError: the folder cannot be written, or the tokenizer's files have changed since it was loaded.
        """
        from minidistil.weights.saving import save

        return tuple(save(save_directory, self.files_to_save(), replaces=FILES))

    def files_to_save(self) -> dict[str, Content]:
        """Return what `save_pretrained` writes, by the files' names; see `minidistil.weights.saving`."""
        if self.source is None:
            return files_of(described(self))
        self.source.check()
        with loading():
            loaded = Tokenizer(read_tokenizer_files(self.source.folder))
        return files_of(described(self), described(loaded), self.source.folder)

    @classmethod
    def _load_again(cls, source: Source, **options: Any) -> Mapping[str, Any]:
        with loading():
            return {"source": source, "_description": read_tokenizer_files(source.folder, options).backend.to_str()}

    def _load_options(self) -> dict[str, Any]:
        return self._settings

    @classmethod
    def _restored(cls, loaded: Loaded) -> Tokenizer:
        made = super()._restored(loaded)
        with loading():
            from tokenizers import Tokenizer as Backend

            # Each has a compiled one of its own, as its user may change it.
            made.backend_tokenizer = Backend.from_str(made.__dict__.pop("_description"))
        return made

    def _what_is_shared(self) -> Loaded:
        if self._loaded is None and self.source is not None:  # what the files give, whatever became of it here
            self._loaded = Loaded(self._load_again(self.source, **self._settings))
        return super()._what_is_shared()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if self.source is not None:
            function, arguments, own = super().__reduce_ex__(protocol)
            if self.backend_tokenizer.to_str() == self._what_is_shared().values["_description"]:
                del own["backend_tokenizer"]
                return function, arguments, own
        return object.__new__, (type(self),), {**self._own(), "source": None}

    @spelled_out(TokenizeKeywords)
    def __call__(
        self,
        text: Any,
        text_pair: Any = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str | None = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        stride: int = 0,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        **others: Unpack[TokenizeKeywords],
    ) -> BatchEncoding:
        """Make token ids of a text, a pair of texts, or a list of either.

        Args:
            text: str; list of str; or, where `is_split_into_words`, a list of words or a list of such lists.
            text_pair: the second text of each pair, in the same form.
            add_special_tokens: put [CLS] and [SEP] around.
            padding: False; True or "longest" (to the batch's longest); "max_length".
            truncation: False; True or "longest_first"; "only_first"; "only_second". Unset, it is "longest_first" where
                `max_length` is given without padding, and off otherwise.
            max_length: in tokens, special ones included; unset, `model_max_length`.
            is_split_into_words: the texts are lists of words already.
            pad_to_multiple_of: round padded lengths up to a multiple of this.
            padding_side: "right" or "left"; unset, the tokenizer's own.
            stride: tokens that a window repeats of the one before it, where `return_overflowing_tokens`.
            return_tensors: None (lists) or "np" (int64 arrays, always 2-D).
            return_token_type_ids: unset, for models that take them.
            return_attention_mask: unset, yes.
            return_overflowing_tokens: what truncation cuts off becomes further rows, windows over the text; the rows
                are then always in a list, and `overflow_to_sample_mapping` says for each which text it is of.
            return_special_tokens_mask: also 1 where a token is special.
            return_offsets_mapping: also the (start, end) characters of every token.
            return_length: also each text's number of tokens.
            **others: `TokenizeKeywords`.

        Returns:
            Lists (of lists, for a list of texts) or arrays by name.

        Raises:
            TypeError: something other than text.
            ValueError: an unknown option, lengths that do not match, a `stride` as long as a window, or ragged arrays
                without padding.
        """
        pad, cut, max_length = self._strategies(padding, truncation, max_length, pad_to_multiple_of)
        add_special_tokens, is_split_into_words = bool(add_special_tokens), bool(is_split_into_words)
        stride = check_number("stride", stride, 0) or 0
        if return_tensors not in (None, "np"):
            raise ValueError(
                f'return_tensors must be None or "np", got {return_tensors!r}: minidistil makes no tensors, '
                "and torch.from_numpy(...) makes one of an array"
            )
        batched, batch = read_texts(text, text_pair, is_split_into_words)
        if cut is None or max_length is None:
            whole = encode(self.backend_tokenizer, self._where, batch, add_special_tokens, is_split_into_words)
            windows = [[e] for e in whole]
        else:
            repeated = stride if return_overflowing_tokens else 0
            windows = self._windows(batch, cut, max_length, repeated, add_special_tokens, is_split_into_words)
        encodings = [e for w in windows for e in w] if return_overflowing_tokens else [w[0] for w in windows]
        lengths = [len(e) for e in encodings]
        if pad is not None and encodings:
            self._pad(encodings, max(lengths) if pad == "longest" else max_length, pad_to_multiple_of, padding_side)

        wanted = self.model_input_names
        values: dict[str, Any] = {"input_ids": [e.ids for e in encodings]}
        if return_token_type_ids or (return_token_type_ids is None and "token_type_ids" in wanted):
            values["token_type_ids"] = [e.type_ids for e in encodings]
        if return_attention_mask or (return_attention_mask is None and "attention_mask" in wanted):
            values["attention_mask"] = [e.attention_mask for e in encodings]
        if return_special_tokens_mask:
            values["special_tokens_mask"] = [e.special_tokens_mask for e in encodings]
        if return_offsets_mapping:
            values["offset_mapping"] = [e.offsets for e in encodings]
        if return_length:
            values["length"] = [len(e) for e in encodings]
        if return_overflowing_tokens:
            values["overflow_to_sample_mapping"] = [i for i, w in enumerate(windows) for _ in w]
        if return_tensors == "np":
            values = to_arrays(values)
        elif not batched and not return_overflowing_tokens:
            values = {name: rows[0] for name, rows in values.items()}
        return BatchEncoding(values, encodings)

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> list[int]:
        """Return the ids of one text or pair, as `tokenizer(...).input_ids`."""
        ids: list[int] = self(text, text_pair, **options)["input_ids"]
        return ids

    def encode_plus(self, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
        """Make token ids of one text or pair, as a call does; its name in transformers 4."""
        encoded: BatchEncoding = self(text, text_pair, **options)
        return encoded

    def batch_encode_plus(self, batch_text_or_text_pairs: Any, **options: Any) -> BatchEncoding:
        """Make token ids of a list of texts or pairs, as a call does; its name in transformers 4."""
        if isinstance(batch_text_or_text_pairs, str) or not is_iterable(batch_text_or_text_pairs):
            found = type(batch_text_or_text_pairs).__name__
            raise TypeError(f"batch_encode_plus takes a list of texts or of pairs, got {found}")
        encoded: BatchEncoding = self(list(batch_text_or_text_pairs), **options)
        return encoded

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Make what the tokenizer returned before as long as each other.

        Args:
            encoded_inputs: what it returned for one text or several, or a list of what it returned for one each.
            padding: True or "longest"; "max_length"; False.
            max_length: in tokens; unset, `model_max_length`.
            pad_to_multiple_of: round lengths up to a multiple of this.
            padding_side: "right" or "left"; unset, the tokenizer's own.
            return_attention_mask: make one where there is none; unset, for models that take it.
            return_tensors: None (lists, or arrays where arrays were given) or "np".
            verbose: without effect.

        Raises:
            TypeError: no encodings.
            ValueError: an unknown option, or lists that do not match.
        """
        strategy, _, length = self._strategies(padding, False, max_length, pad_to_multiple_of)
        if return_tensors not in (None, "np"):
            raise ValueError(f'return_tensors must be None or "np", got {return_tensors!r}')
        wanted = "attention_mask" in self.model_input_names if return_attention_mask is None else return_attention_mask
        fillings = {"input_ids": self.pad_token_id or 0, "attention_mask": 0}
        fillings |= {"token_type_ids": self.pad_token_type_id, "special_tokens_mask": 1}
        side = self.padding_side if padding_side is None else padding_side
        return pad_encoded(
            encoded_inputs, fillings, strategy, length, pad_to_multiple_of, side, bool(wanted), return_tensors
        )

    @property
    def max_len_single_sentence(self) -> int:
        """The most tokens of a text, special ones left out."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """The most tokens of both texts of a pair, special ones left out."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def encode_limited(self, texts: Sequence[str], limit: int) -> tuple[list[np.ndarray], list[int]]:
        """Make ids of texts, special tokens included, cut to `limit` tokens; and say which were cut.

        Args:
            texts: list of str.
            limit: in tokens, special ones included.

        Returns:
            int64 [n] per text, and the indices of the texts that were longer.
        """
        windows = self.encode_windows(texts, limit)
        cut = [i for i, w in enumerate(windows) if len(w) > 1]
        return [np.array(w[0].ids, np.int64) for w in windows], cut

    def encode_windows(
        self,
        items: Sequence[Any],
        limit: int,
        *,
        strategy: str = "longest_first",
        stride: int = 0,
        is_split_into_words: bool = False,
    ) -> list[list[Encoding]]:
        """Encode texts with their special tokens, each in as many windows as it takes.

        Args:
            items: str, or pairs of str; where `is_split_into_words`, lists of words or pairs of such lists.
            limit: of a window, in tokens, special ones included.
            strategy: which part of a pair is cut into windows: "longest_first", "only_first" or "only_second".
            stride: tokens that a window repeats of the one before it.
            is_split_into_words: the texts are lists of words.

        Returns:
            Windows of each item, from the beginning of the text on; one where the item fits.

        Raises:
            ValueError: the rest of the item leaves the part that is to be cut no room, or too little for `stride`.
        """
        encoded = self._windows(items, strategy, limit, stride, True, is_split_into_words)
        for i, windows in enumerate(encoded):
            if len(windows) > 1 and max(map(len, windows)) > limit:
                raise ValueError(f"text {i}: windows of {limit} tokens leave no room for its text")
        return encoded

    def token_types(self, encodings: Sequence[Encoding], types: int) -> np.ndarray | None:
        """Return the token types int64 [T] of encodings, one after another.

        None, which stands for zeros, where a model has no `types` to tell apart, or the tokenizer gives it none.
        """
        if types < 2 or "token_type_ids" not in self.model_input_names:
            return None
        return np.concatenate([e.type_ids for e in encodings])

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """Return the tokens of one text or pair, without special tokens unless asked for."""
        return self(text, pair, add_special_tokens=add_special_tokens).tokens()

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """Make text of token ids (an int, a list or an array of them)."""
        ids = read_ids(token_ids)
        with library(self._where, "its tokenizer cannot decode these ids"):
            text: str = self.backend_tokenizer.decode(ids, skip_special_tokens=bool(skip_special_tokens))
        clean = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return _clean_up(text) if clean else text

    def batch_decode(self, sequences: Iterable[Any], skip_special_tokens: bool = False, **options: Any) -> list[str]:
        """Make texts of several lists of token ids."""
        if not is_iterable(sequences):
            raise TypeError(f"batch_decode takes lists of ids, got {type(sequences).__name__}")
        return [self.decode(ids, skip_special_tokens, **options) for ids in sequences]

    def __repr__(self) -> str:
        return (
            f"Tokenizer({self.name_or_path!r}, vocab_size={self.vocab_size}, model_max_length={self.model_max_length}, "
            f"special_tokens={self.special_tokens})"
        )

    @property
    def _where(self) -> str:
        """What errors call the tokenizer."""
        return self.name_or_path or "tokenizer"

    def _strategies(
        self, padding: Any, truncation: Any, max_length: int | None, multiple: int | None
    ) -> tuple[str | None, str | None, int | None]:
        if not is_one_of(padding, _PADDING):
            raise ValueError(f'padding must be False, True, "longest" or "max_length", got {padding!r}')
        if not is_one_of(truncation, _TRUNCATION):
            raise ValueError(
                f'truncation must be False, True, "longest_first", "only_first" or "only_second", got {truncation!r}'
            )
        max_length = check_number("max_length", max_length, 0)
        pad, cut = _PADDING[padding], _TRUNCATION[truncation]
        if max_length is not None and truncation is None and pad is None:
            cut = "longest_first"
        if max_length is None and self.model_max_length < _UNLIMITED_FROM:
            max_length = self.model_max_length
        if max_length is None and pad == "max_length":
            pad = None
        if pad is not None and self.pad_token_id is None:
            raise ValueError("this tokenizer has no padding token, so it cannot pad")
        check_number("pad_to_multiple_of", multiple)
        if cut and pad and multiple and max_length is not None and max_length % multiple:
            raise ValueError(
                f"truncating to {max_length} tokens and padding to a multiple of {multiple} contradict each other"
            )
        return pad, cut, max_length

    def _windows(
        self, batch: Sequence[Any], strategy: str, limit: int, stride: int, special: bool, split: bool
    ) -> list[list[Encoding]]:
        side = self.truncation_side
        return encode_windows(self.backend_tokenizer, self._where, batch, strategy, limit, stride, special, split, side)

    def _pad(self, encodings: list[Encoding], length: int | None, multiple: int | None, side: str | None) -> None:
        assert length is not None
        if multiple:
            length = -(-length // multiple) * multiple
        for encoding in encodings:
            if len(encoding) < length:
                encoding.pad(
                    length,
                    direction=self.padding_side if side is None else side,
                    pad_id=self.pad_token_id,
                    pad_token=self.pad_token,
                )


def _clean_up(text: str) -> str:
    for spaced, joined in (
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
        (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ):  # fmt: skip
        text = text.replace(spaced, joined)
    return text
