"""Sentence embeddings by the conventions of sentence-transformers.

The order of every sum is fixed by the sentence alone (`pooling`), so its embedding never depends on its batch.
"""

# mypy: disable-error-code="overload-overlap"
# (Of overloads the first that fits is meant: a str is an iterable of str as well.)

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, overload

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._keywords import EncodeKeywords, SavingKeywords
from minidistil._loading import loaded_once, loading
from minidistil._options import check_device, check_number, is_iterable, is_one_of, refuse_table
from minidistil.backends.batch import PackedBatch
from minidistil.models.inputs import pack_sentences, token_batches
from minidistil.sentences.comparison import similarity, similarity_name, similarity_pairwise
from minidistil.sentences.files import SENTENCE, TOKENS, SentenceFiles, read_sentence_files
from minidistil.sentences.modules import Modules, read_modules
from minidistil.sentences.parts import PoolingPart, TransformerPart
from minidistil.sentences.pooling import normalize, pool, single_rows
from minidistil.sentences.progress import progress
from minidistil.sentences.prompted import Prompted
from minidistil.sentences.quantization import (
    PRECISIONS,
    check_precision,
    check_ranges,
    quantize_embeddings,
    stored_width,
)
from minidistil.tokenization import (
    Tokenizer,
    check_truncation,
    refuse_truncation,
    refuse_without_tokens,
    warn_of_truncation,
)
from minidistil.weights.by_reference import ByReference
from minidistil.weights.locate import find
from minidistil.weights.options import spelled_out

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from minidistil.models.base import Model, ModelOptions
    from minidistil.models.signatures import EncodeOptions, SentenceValues
    from minidistil.weights.source import Source

_TOKENS = 2048  # of one call of the backend: enough for its speed, short enough for Ctrl-C
_WINDOW = 8192  # sentences that are tokenized and sorted by length together, at most,
_CHARACTERS = 1 << 20  # and their characters: a token takes some hundred bytes in the tokenizers library


class _Batch(NamedTuple):
    """What became of some sentences of a window: where they stand in it, and float32 [b, N], [t, D], [b + 1]."""

    places: np.ndarray
    embeddings: np.ndarray | None
    tokens: np.ndarray | None
    packed: PackedBatch


class SentenceEncoder(ByReference, Prompted):
    """A model that makes one vector of a sentence: encoder, pooling, and what modules.json has after them.

    Copies share the weights. A pickle says where to load from (`minidistil.weights.by_reference`).

    Attributes:
        model: the encoder.
        prompts: text by name, put before the sentences.
        default_prompt_name: the one that is used unless told otherwise, or None.
        truncate_dim: dimensions that are kept, or None for all.
        truncated: how many sentences have been cut since the model was loaded.
    """

    @default_mode()
    def __init__(
        self,
        model: Model,
        folder: str | os.PathLike[str] | None,
        files: SentenceFiles | None = None,
        tokenizer_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.source = None if folder is None else find(folder)
        files = read_sentence_files(self.source.folder if self.source else None) if files is None else files
        self._files = _with_layers(files, model.config.output_hidden_states)
        limit = self._files.max_seq_length
        super().__init__(model, self._files.prompts, self._files.default_prompt, limit, tokenizer_options)
        self._modules: Modules = read_modules(self._files, model.config.dim, model.config.n_layers)
        self.truncate_dim = self._files.truncate_dim
        self._similarity_fn_name = self._files.similarity

    _shared = ("source", "_files", "_modules")

    @classmethod
    @default_mode()
    def from_folder(cls, folder: str | os.PathLike[str], **options: Unpack[ModelOptions]) -> SentenceEncoder:
        """Load a sentence-transformers folder, or any encoder's (mean pooling).

        Args:
            folder: with or without modules.json.
            **options: `ModelOptions`.

        Raises:
            CheckpointError: a damaged checkpoint, or modules that do not fit together; lists every fault.
            ValueError: a module that minidistil does not have.
        """
        with loading():
            from minidistil.models.auto import AutoModel

        source = find(folder)
        files = read_sentence_files(source.folder)
        model = AutoModel.from_pretrained(source.at(files.transformer or source.folder), **options)
        return cls(model, source, files)

    @classmethod
    def _load_again(cls, source: Source, **options: Any) -> Mapping[str, Any]:
        files = _with_layers(read_sentence_files(source.folder), options.pop("all_layers"))
        return {"source": source, "_files": files, "_modules": read_modules(files, **options)}

    def _load_options(self) -> dict[str, Any]:
        config = self.config
        return {"dim": config.dim, "n_layers": config.n_layers, "all_layers": config.output_hidden_states}

    @spelled_out(SavingKeywords)
    def save_pretrained(self, path: str | os.PathLike[str], **others: Unpack[SavingKeywords]) -> list[str]:
        """Write the model's files as sentence-transformers reads them: a copy of those that it was loaded from.

        What was changed since, as prompts, `max_seq_length`, `truncate_dim` or the tokenizer's settings, is written
        too. Weights that are not safetensors become such. The files are whole, or nobody takes the folder for a
        checkpoint.

        Args:
            path: a folder, made where there is none.
            **others: `SavingKeywords`.

        Returns:
            The paths written.

        Raises:
            CheckpointError: the folder cannot be written, or the model's files have changed since it was loaded.
            ValueError: a model that was made in memory.
        """
        with loading():
            from minidistil.sentences.saving import encoder_files
            from minidistil.tokenization.saving import FILES
            from minidistil.weights.saving import save

        if self.source is None:
            raise ValueError(f"this {type(self).__name__} was made in memory, so there is no checkpoint to copy")
        self.source.check()
        settings = {"similarity_fn_name": self.similarity_fn_name, "truncate_dim": self.truncate_dim}
        return save(path, encoder_files(self, self.source, self._files, settings), replaces=FILES)

    save = save_pretrained

    @loaded_once
    def tokenizer(self) -> Tokenizer:
        """The encoder's tokenizer, lower-casing where the folder asks for it."""
        if not self._tokenizer_options and (not self._files.lower_case or self.model.source is None):
            return self.model.tokenizer
        own = self._read_tokenizer()  # not the model's: this one is changed
        if not self._files.lower_case:
            return own
        from tokenizers import normalizers

        present = own.backend_tokenizer.normalizer
        steps = [normalizers.Lowercase()] + ([] if present is None else [present])
        own.backend_tokenizer.normalizer = normalizers.Sequence(steps)
        return own

    @property
    def similarity_fn_name(self) -> str:
        """Of `similarity` and `similarity_pairwise`: "cosine", "dot", "euclidean" or "manhattan"; may be set."""
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, name: str | enum.Enum | None) -> None:
        self._similarity_fn_name = "cosine" if name is None else similarity_name(name)

    @property
    def parts(self) -> list[Any]:
        """The modules in the order of modules.json, the encoder first; those that change nothing are left out."""
        modules, modes = self._modules, self._files.pooling
        mode = modes[0] if len(modes) == 1 else modes
        pooling = PoolingPart(mode, modules.token_width, self._files.include_prompt)
        average = [] if modules.layers is None else [modules.layers]
        return [TransformerPart(self), *average, *modules.tokens, pooling, *modules.sentences]

    def get_embedding_dimension(self) -> int:
        """Return the number of dimensions of an embedding."""
        full = self._modules.width
        return full if self.truncate_dim is None else min(full, self.truncate_dim)

    get_sentence_embedding_dimension = get_embedding_dimension

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """Run the encoder alone; see `Model.__call__`."""
        return self.model(*args, **inputs)

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: Literal["sentence_embedding"] = ...,
        precision: Literal["float32"] | None = ...,
        **options: Unpack[EncodeOptions],
    ) -> NDArray[np.float32]: ...

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: Literal["sentence_embedding"] = ...,
        precision: Literal["int8", "binary"],
        **options: Unpack[EncodeOptions],
    ) -> NDArray[np.int8]: ...

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: Literal["sentence_embedding"] = ...,
        precision: Literal["uint8", "ubinary"],
        **options: Unpack[EncodeOptions],
    ) -> NDArray[np.uint8]: ...

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: Literal["sentence_embedding"] = ...,
        precision: Literal["float16"],
        **options: Unpack[EncodeOptions],
    ) -> NDArray[np.float16]: ...

    @overload
    def encode(
        self,
        sentences: str,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: Literal["token_embeddings"],
        **options: Unpack[EncodeOptions],
    ) -> NDArray[np.float32]: ...

    @overload
    def encode(
        self,
        sentences: Iterable[str],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: Literal["token_embeddings"],
        **options: Unpack[EncodeOptions],
    ) -> list[NDArray[np.float32]]: ...

    @overload
    def encode(
        self,
        sentences: str,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: None,
        **options: Unpack[EncodeOptions],
    ) -> SentenceValues: ...

    @overload
    def encode(
        self,
        sentences: Iterable[str],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: None,
        **options: Unpack[EncodeOptions],
    ) -> list[SentenceValues]: ...

    @overload
    def encode(
        self,
        sentences: Any = ...,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: str | None = ...,
        precision: str | None = ...,
        **options: Unpack[EncodeOptions],
    ) -> Any: ...

    @spelled_out(EncodeKeywords)
    @default_mode()
    def encode(
        self,
        sentences: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        output_value: str | None = SENTENCE,
        precision: str | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        *,
        ranges: Any = None,
        truncation: str | bool = "warn",
        first_index: int = 0,
        **others: Unpack[EncodeKeywords],
    ) -> Any:
        """Embed one sentence or many. The same sentence gives the same bits in any batch.

        The steps, in this order: the modules, cut to `truncate_dim`, scale to length 1, quantize.

        Args:
            sentences: a str, or any iterable of them.
            prompt_name: key of `prompts`, whose text goes before every sentence.
            prompt: that text itself; wins over `prompt_name`.
            batch_size: most sentences per call of the model; speed alone depends on it. Tokens bound it anyway.
            show_progress_bar: show one on standard error.
            output_value: "sentence_embedding"; "token_embeddings" for the rows that are pooled; None for both, and the
                token ids, in a dictionary per sentence.
            precision: in which the embeddings are handed out: "float32"; "float16"; "int8" or "uint8", by `ranges`;
                "binary" or "ubinary" (see `quantize_embeddings`). That of the model's weights is said when it is
                loaded.
            convert_to_numpy: True; there is nothing else to convert to.
            convert_to_tensor: False.
            device: None or "cpu".
            normalize_embeddings: scale the vectors to length 1.
            truncate_dim: keep the first dimensions only; unset, the model's own.
            ranges: floats [2, D] for int8 and uint8: each dimension's least and greatest value, as
                `calibration_ranges` measures them.
            truncation: what to do with sentences longer than `max_seq_length`: "warn" (cut, and one
                `TruncationWarning` with their number), True (cut), "error" or False (refuse). `truncated` counts all.
            first_index: what errors call the first sentence, for callers that pass many in parts.
            **others: `EncodeKeywords`.

        Returns:
            float32 [D] for a str; float32 [B, D] otherwise, in the order of the sentences; other numbers by
            `precision`. For token embeddings float32 [n, D], for None a dictionary; or a list of them.

        Raises:
            TypeError: something other than text.
            ValueError: an unknown option or prompt, ranges that do not fit, or sentences that are too long where that
                is an error.
        """
        if convert_to_tensor or not convert_to_numpy:
            raise ValueError("embeddings are NumPy arrays; torch.from_numpy(...) makes a tensor of one")
        check_device(device)
        precision = "float32" if precision is None else precision
        self._check_options(batch_size, output_value, precision, truncate_dim, truncation)
        keep = min(self._modules.width, truncate_dim or self.truncate_dim or self._modules.width)
        if precision in ("int8", "uint8"):
            ranges = check_ranges(ranges, precision, keep)
        single = isinstance(sentences, str)
        refuse_table("sentences", sentences)
        if isinstance(sentences, Mapping) or not (single or is_iterable(sentences)):
            raise TypeError(f"sentences must be a str or an iterable of str, got {type(sentences).__name__}")
        texts = [sentences] if isinstance(sentences, str) else list(cast(Iterable[Any], sentences))
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"sentences[{first_index + i}] must be a str, got {type(text).__name__}")
        before = self.prompt_text(prompt, prompt_name)

        embeddings = np.empty((len(texts), stored_width(keep, precision)), PRECISIONS[precision])
        found: list[Any] = [None] * len(texts)
        with progress(len(texts), show_progress_bar) as bar:
            for start, batch in self._run(texts, before, batch_size, output_value, truncation, first_index):
                if output_value == SENTENCE and batch.embeddings is not None:
                    some = batch.embeddings[:, :keep]
                    some = normalize(some) if normalize_embeddings else some
                    embeddings[start + batch.places] = quantize_embeddings(some, precision, ranges)
                else:
                    for i, place in enumerate(batch.places.tolist()):
                        found[start + place] = _one(batch, i, output_value)
                bar.update(len(batch.places))
        if output_value != SENTENCE:
            if output_value is None:
                found = [{**one, SENTENCE: one[SENTENCE][:keep].copy()} for one in found]
            return found[0] if single else found
        return embeddings[0] if single else embeddings

    if TYPE_CHECKING:
        encode_query = encode
        encode_document = encode
    else:

        def encode_query(self, sentences: Any = None, **options: Any) -> Any:
            """Embed queries: `encode` with the prompt named "query"."""
            return self._encode_for(("query",), sentences, options)

        def encode_document(self, sentences: Any = None, **options: Any) -> Any:
            """Embed documents: `encode` with the prompt named "document", else "passage" or "corpus"."""
            return self._encode_for(("document", "passage", "corpus"), sentences, options)

    @default_mode()
    def similarity(self, a: Any, b: Any) -> np.ndarray:
        """Return float32 [n, m]: how similar each of n embeddings is to each of m, by `similarity_fn_name`.

        No pair's bits depend on how many there are.
        """
        return similarity(a, b, self.similarity_fn_name, self.model._backend.products)

    @default_mode()
    def similarity_pairwise(self, a: Any, b: Any) -> np.ndarray:
        """Return float32 [n]: how similar embedding i of one set is to embedding i of the other."""
        return similarity_pairwise(a, b, self.similarity_fn_name)

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Keep `truncate_dim` dimensions within a `with` block (None: all)."""
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    truncate_sentence_embeddings = truncate_embeddings

    def embedding_width(self, precision: str = "float32", truncate_dim: int | None = None) -> int:
        """Return how many numbers `encode` writes for a sentence in a precision of embeddings."""
        full = self._modules.width
        return stored_width(min(full, truncate_dim or self.truncate_dim or full), precision)

    def digest(self) -> str:
        """Return 64 hexadecimal digits that identify the model's files: weights, tokenizer, modules."""
        return self._files.digest()

    def _encode_for(self, prompts: tuple[str, ...], sentences: Any, options: dict[str, Any]) -> Any:
        """Encode with the first of some prompts that there is, unless the options have one."""
        if options.get("prompt") is None and options.get("prompt_name") is None:
            options = {**options, "prompt_name": next((name for name in prompts if name in self.prompts), None)}
        return self.encode(**options) if sentences is None else self.encode(**options, sentences=sentences)

    def _check_options(
        self,
        batch_size: int | None,
        output_value: str | None,
        precision: str,
        truncate_dim: int | None,
        truncation: str | bool,
    ) -> None:
        check_number("batch_size", batch_size)
        if not is_one_of(output_value, (SENTENCE, TOKENS, None)):
            raise ValueError(f'output_value must be "{SENTENCE}", "{TOKENS}" or None, got {output_value!r}')
        check_precision(precision)
        if precision != "float32" and output_value != SENTENCE:
            raise ValueError(f'precision="{precision}" is for sentence embeddings; output_value is {output_value!r}')
        check_number("truncate_dim", truncate_dim)
        check_truncation(truncation)

    def _run(
        self,
        texts: list[str],
        prompt: str,
        most: int | None,
        output_value: str | None,
        truncation: str | bool,
        first_index: int,
    ) -> Iterator[tuple[int, _Batch]]:
        """Start of a window and what became of a batch of its sentences, window by window, longest sentences first."""
        skip = self._prompt_tokens(prompt) if prompt and not self._files.include_prompt else 0
        limit, cut_count = self.max_seq_length, 0
        for start, stop in _windows(texts):
            ids, cut = self.tokenizer.encode_limited([prompt + text for text in texts[start:stop]], limit)
            if truncation in ("error", False):
                refuse_truncation(cut, limit, first_index + start)
            refuse_without_tokens([len(sentence) for sentence in ids], first_index + start)
            cut_count += len(cut)
            lengths = np.array([len(sentence) for sentence in ids])
            order = np.argsort(-lengths, kind="stable")
            for run in token_batches(lengths[order].tolist(), _TOKENS, most):
                places = order[run]
                numbers = first_index + start + places
                batch = pack_sentences(self.config, [ids[i] for i in places], None, "sentences[{}]", numbers)
                yield start, _Batch(places, *self._forward(batch, skip, output_value), batch)
        self._count_truncated(cut_count)
        if truncation == "warn":
            warn_of_truncation(cut_count, len(texts), limit)

    def _forward(
        self, batch: PackedBatch, skip: int, output_value: str | None
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The sentences' rows float32 [B, N] and the tokens' [T, D], where they are wanted."""
        modules, modes, backend = self._modules, self._files.pooling, self.model._backend
        rows = None
        if output_value == SENTENCE and modules.layers is None:
            rows = single_rows(batch.offsets, modes, skip)
        if modules.layers is None:
            hidden = self.model.encode_packed(batch, rows)
        else:
            hidden = modules.layers(backend.encode(batch, hidden_states=True).hidden_states or ())
        for module in modules.tokens:
            hidden = module(hidden, backend)
        if output_value == TOKENS:
            return None, hidden
        pooled = pool(hidden, batch.offsets, modes, skip) if rows is None else hidden.reshape(batch.sentences, -1)
        for module in modules.sentences:
            pooled = module(pooled, backend)
        return pooled, hidden

    def _prompt_tokens(self, prompt: str) -> int:
        """How many tokens at the start of a sentence are the prompt's, [CLS] among them."""
        ids = self.tokenizer(prompt)["input_ids"]
        return len(ids) - (ids[-1] in self.tokenizer.all_special_ids)


def _windows(texts: list[str]) -> Iterator[tuple[int, int]]:
    """Cut texts, in order, into runs of at most _WINDOW of them and _CHARACTERS characters, at least one text each."""
    start, characters = 0, 0
    for i, text in enumerate(texts):
        if i > start and (i - start == _WINDOW or characters + len(text) > _CHARACTERS):
            yield start, i
            start, characters = i, 0
        characters += len(text)
    if start < len(texts):
        yield start, len(texts)


def _with_layers(files: SentenceFiles, all_layers: bool) -> SentenceFiles:
    """What a folder says, of an encoder that may have been told to hand on what leaves every layer."""
    return replace(files, all_layers=files.all_layers or all_layers)


def _one(batch: _Batch, i: int, output_value: str | None) -> Any:
    """Sentence i of a batch as `encode` hands it out: its tokens' rows, or all there is."""
    assert batch.tokens is not None
    own = slice(batch.packed.offsets[i], batch.packed.offsets[i + 1])
    tokens = batch.tokens[own].copy()
    if output_value == TOKENS:
        return tokens
    assert batch.embeddings is not None
    assert batch.packed.input_ids is not None
    ids = batch.packed.input_ids[own].astype(np.int64)
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        TOKENS: tokens,
        SENTENCE: batch.embeddings[i].copy(),
    }
