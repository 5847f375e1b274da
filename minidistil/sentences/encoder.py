"""Sentence embeddings by the conventions of sentence-transformers.

The order of every sum is fixed by the sentence alone, so its embedding never depends on its batch: pooling adds the
rows of the tokens one after another, first to last, in float32 (`_sum_rows`); a length is the root of NumPy's pairwise
sum over the D squares of one row.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil.inputs import pack_sentences, token_batches
from minidistil.sentences.files import SIMILARITIES, SentenceFiles, read_sentence_files
from minidistil.tokenization import Tokenizer, check_truncation, input_limit, refuse_truncation, warn_of_truncation

if TYPE_CHECKING:
    from minidistil.config import Config
    from minidistil.models import Model

_TOKENS = 2048  # of one call of the backend: enough for its speed, short enough for Ctrl-C
_WINDOW = 8192  # sentences that are tokenized and sorted by length together


class SentenceEncoder:
    """A model that makes one vector of a sentence: encoder, pooling, normalization.

    Attributes:
        model: the encoder.
        prompts: text by name, put before the sentences.
        default_prompt_name: the one that is used unless told otherwise, or None.
        similarity_fn_name: "cosine", "dot", "euclidean" or "manhattan".
        max_seq_length: longer sentences are cut to this many tokens; may be set.
        truncate_dim: dimensions that are kept, or None for all.
        truncated: how many sentences have been cut since the model was loaded.
    """

    def __init__(self, model: Model, folder: Path | None, files: SentenceFiles | None = None) -> None:
        self.model = model
        self._files = read_sentence_files(folder) if files is None else files
        self.prompts = dict(self._files.prompts)
        self.default_prompt_name = self._files.default_prompt
        self.similarity_fn_name = self._files.similarity
        self.truncate_dim = self._files.truncate_dim
        self.truncated = 0
        self._count_lock = threading.Lock()
        self._max_seq_length = self._files.max_seq_length

    @classmethod
    def from_folder(cls, folder: str | Path, *, threads: int | None = None, backend: str = "engine") -> SentenceEncoder:
        """Load a sentence-transformers folder, or any encoder's (mean pooling).

        Args:
            folder: with or without modules.json.
            threads: to compute with; None for what the process may use.
            backend: "engine", "exact" or "blas".

        Raises:
            ValueError: a module that minidistil does not have, or a damaged checkpoint.
        """
        from minidistil.auto import AutoModel

        folder = Path(folder)
        files = read_sentence_files(folder)
        model = AutoModel.from_pretrained(files.transformer or folder, threads=threads, backend=backend)
        return cls(model, folder, files)

    @property
    def config(self) -> Config:
        """The encoder's config."""
        return self.model.config

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The encoder's tokenizer, lower-casing where the folder asks for it."""
        if not self._files.lower_case or self.model.folder is None:
            return self.model.tokenizer
        from tokenizers import normalizers

        own = Tokenizer.from_pretrained(self.model.folder)  # not the model's: this one is changed
        present = own.backend_tokenizer.normalizer
        steps = [normalizers.Lowercase()] + ([] if present is None else [present])
        own.backend_tokenizer.normalizer = normalizers.Sequence(steps)
        return own

    @property
    def max_seq_length(self) -> int:
        """Longer sentences are cut to this many tokens, special ones included."""
        limit = input_limit(self.tokenizer, self.config.max_position_embeddings)
        return limit if self._max_seq_length is None else min(self._max_seq_length, self.config.max_position_embeddings)

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        if value is not None and value < 1:
            raise ValueError(f"max_seq_length must be positive, got {value}")
        self._max_seq_length = value

    def get_sentence_embedding_dimension(self) -> int:
        """Return the number of dimensions of an embedding."""
        full = self.config.dim * len(self._files.pooling)
        return full if self.truncate_dim is None else min(full, self.truncate_dim)

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """Run the encoder alone; see `Model.__call__`."""
        return self.model(*args, **inputs)

    def encode(
        self,
        sentences: str | Sequence[str] | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        *,
        output_value: str = "sentence_embedding",
        precision: str = "float32",
        convert_to_numpy: bool = True,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        truncation: str | bool = "warn",
    ) -> Any:
        """Embed one sentence or many. The same sentence gives the same bits in any batch.

        Args:
            sentences: a str, or any iterable of them.
            prompt_name: key of `prompts`, whose text goes before every sentence.
            prompt: that text itself; wins over `prompt_name`.
            batch_size: most sentences per call of the model; speed alone depends on it. Tokens bound it anyway.
            show_progress_bar: show one on standard error.
            output_value: "sentence_embedding", or "token_embeddings" for the encoder's rows of each sentence.
            precision: "float32".
            convert_to_numpy: True; there is nothing else to convert to.
            normalize_embeddings: scale the vectors to length 1, after cutting to `truncate_dim`.
            truncate_dim: keep the first dimensions only; unset, the model's own.
            truncation: what to do with sentences longer than `max_seq_length`: "warn" (cut, and one
                `TruncationWarning` with their number), True (cut), "error" or False (refuse). `truncated` counts all.

        Returns:
            float32 [D] for a str; float32 [B, D] otherwise, in the order of the sentences; for token embeddings, one
            float32 [n, D] or a list of them.

        Raises:
            TypeError: something other than text.
            ValueError: an unknown option or prompt, or sentences that are too long where that is an error.
        """
        self._check_options(batch_size, output_value, precision, convert_to_numpy, truncation)
        single = isinstance(sentences, str)
        texts = [sentences] if isinstance(sentences, str) else list(sentences)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"sentences[{i}] must be a str, got {type(text).__name__}")
        before = self._prompt(prompt, prompt_name)
        if before:
            texts = [before + text for text in texts]
        limit = self.max_seq_length
        results: list[Any] = [None] * len(texts)
        cut_count = 0
        with _progress(len(texts), show_progress_bar) as bar:
            for start in range(0, len(texts), _WINDOW):
                ids, cut = self.tokenizer.encode_limited(texts[start : start + _WINDOW], limit)
                if truncation in ("error", False):
                    refuse_truncation(cut, limit, start)
                cut_count += len(cut)
                for places, vectors in self._encode_window(ids, batch_size, output_value, before):
                    for place, vector in zip(places, vectors, strict=True):
                        results[start + place] = vector
                    bar.update(len(places))
        with self._count_lock:
            self.truncated += cut_count
        if truncation == "warn":
            warn_of_truncation(cut_count, len(texts), limit)
        if output_value == "token_embeddings":
            return results[0] if single else results
        full = self.config.dim * len(self._files.pooling)
        embeddings = np.array(results, np.float32).reshape(len(texts), full)
        keep = self.truncate_dim if truncate_dim is None else truncate_dim
        if keep is not None:
            embeddings = np.ascontiguousarray(embeddings[:, :keep])
        if normalize_embeddings:
            embeddings = normalize(embeddings)
        return embeddings[0] if single else embeddings

    def encode_query(self, sentences: Any, **options: Any) -> Any:
        """Embed queries: `encode` with the prompt named "query", where there is one."""
        return self.encode(sentences, **self._task_prompt("query", options))

    def encode_document(self, sentences: Any, **options: Any) -> Any:
        """Embed documents: `encode` with the prompt named "document", where there is one."""
        return self.encode(sentences, **self._task_prompt("document", options))

    def similarity(self, a: Any, b: Any) -> np.ndarray:
        """Return float32 [n, m]: how similar each of n embeddings is to each of m, by `similarity_fn_name`."""
        return similarity(a, b, self.similarity_fn_name)

    def _task_prompt(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        if options.get("prompt") is None and options.get("prompt_name") is None and name in self.prompts:
            return {**options, "prompt_name": name}
        return options

    def _check_options(
        self, batch_size: int | None, output_value: str, precision: str, to_numpy: bool, truncation: str | bool
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be positive, got {batch_size}")
        if output_value not in ("sentence_embedding", "token_embeddings"):
            raise ValueError(f'output_value must be "sentence_embedding" or "token_embeddings", got {output_value!r}')
        if precision != "float32":
            raise ValueError(f'precision must be "float32", got {precision!r}: quantized embeddings are not made yet')
        if not to_numpy:
            raise ValueError("embeddings are NumPy arrays; convert_to_numpy=False has nothing else to give")
        check_truncation(truncation)

    def _prompt(self, prompt: str | None, name: str | None) -> str:
        if prompt is not None:
            return prompt
        if name is None:
            return self.prompts.get(self.default_prompt_name or "", "")
        if name not in self.prompts:
            raise ValueError(f"no prompt is named {name!r}; there are {sorted(self.prompts)}")
        return self.prompts[name]

    def _encode_window(
        self, ids: list[np.ndarray], most: int | None, output_value: str, prompt: str
    ) -> Iterator[tuple[np.ndarray, Iterable[np.ndarray]]]:
        """Places and vectors, batch by batch, longest sentences first."""
        modes, skip = self._files.pooling, 0
        if prompt and not self._files.include_prompt:
            skip = self._prompt_tokens(prompt)
        lengths = np.array([len(sentence) for sentence in ids])
        order = np.argsort(-lengths, kind="stable")
        for run in token_batches(lengths[order].tolist(), _TOKENS, most):
            places = order[run]
            batch = pack_sentences([ids[i] for i in places])
            self._check_ids(batch.input_ids)
            first, last = batch.offsets[:-1], batch.offsets[1:]
            if output_value == "token_embeddings":
                hidden = self.model.encode_packed(batch)
                yield places, [hidden[a:b].copy() for a, b in zip(first, last, strict=True)]
                continue
            if modes == ("cls",) and not skip:
                pooled = self.model.encode_packed(batch, rows=first)
            elif modes == ("lasttoken",):
                pooled = self.model.encode_packed(batch, rows=last - 1)
            else:
                pooled = pool(self.model.encode_packed(batch), batch.offsets, modes, skip)
            yield places, normalize(pooled) if self._files.normalize else pooled

    def _prompt_tokens(self, prompt: str) -> int:
        """How many tokens at the start of a sentence are the prompt's, [CLS] among them."""
        ids = self.tokenizer(prompt)["input_ids"]
        return len(ids) - (ids[-1] in self.tokenizer.all_special_ids)

    def _check_ids(self, ids: np.ndarray | None) -> None:
        if ids is not None and ids.max() >= self.config.vocab_size:
            raise ValueError(
                f"the tokenizer made the id {ids.max()}, and the model has {self.config.vocab_size} words: "
                "they do not belong together"
            )


def pool(hidden: np.ndarray, offsets: np.ndarray, modes: Sequence[str], skip: int = 0) -> np.ndarray:
    """Make one row of each sentence's token rows.

    Args:
        hidden: float32 [T, D].
        offsets: int64 [B + 1].
        modes: of "cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken".
        skip: tokens at the start of each sentence to leave out (a prompt).

    Returns:
        float32 [B, D * len(modes)].

    Raises:
        ValueError: a sentence has no tokens beyond `skip`.
    """
    rows = []
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        x = hidden[start + skip : end]
        if not len(x):
            raise ValueError(f"the prompt takes all {end - start} tokens of a sentence and nothing is left to pool")
        rows.append(np.concatenate([_pool_one(x, mode, skip) for mode in modes]))
    return np.array(rows, np.float32)


def _pool_one(x: np.ndarray, mode: str, skip: int) -> np.ndarray:
    n = np.float32(len(x))
    if mode == "mean":
        return _sum_rows(x) / n
    if mode == "cls":
        return x[0]
    if mode == "max":
        return x.max(axis=0)
    if mode == "mean_sqrt_len_tokens":
        return _sum_rows(x) / np.sqrt(n)
    if mode == "weightedmean":
        weights = np.arange(skip + 1, skip + 1 + len(x), dtype=np.float32)  # the position from 1, prompt included
        return _sum_rows(x * weights[:, None]) / _sum_rows(weights[:, None])
    assert mode == "lasttoken"
    return x[-1]


def _sum_rows(x: np.ndarray) -> np.ndarray:
    """The rows of [n, D] added one after another, first to last; tested bit for bit against a loop."""
    total = np.add.reduce(x, axis=0) if x.shape[1] > 1 else np.cumsum(x, axis=0)[-1]  # one column is summed pairwise
    return np.asarray(total, np.float32)


def normalize(x: np.ndarray) -> np.ndarray:
    """Scale float32 [B, D] rows to length 1; a row shorter than 1e-12 is divided by that."""
    lengths = np.sqrt(np.add.reduce(x * x, axis=1))
    return x / np.maximum(lengths, np.float32(1e-12))[:, None]


def similarity(a: Any, b: Any, name: str = "cosine") -> np.ndarray:
    """Compare every embedding of one set with every one of another.

    Args:
        a: floats [n, D] or [D].
        b: floats [m, D] or [D].
        name: "cosine", "dot", or the negated distances "euclidean" and "manhattan".

    Returns:
        float32 [n, m]; larger is more similar.

    Raises:
        ValueError: an unknown name or widths that differ.
    """
    if name not in SIMILARITIES:
        raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, got {name!r}")
    x, y = np.atleast_2d(np.asarray(a, np.float32)), np.atleast_2d(np.asarray(b, np.float32))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"embeddings must be [n, D] and [m, D] of the same width, got {x.shape} and {y.shape}")
    if name == "cosine":
        return np.asarray(normalize(x) @ normalize(y).T)
    if name == "dot":
        return np.asarray(x @ y.T)
    distances = np.empty((len(x), len(y)), np.float32)
    for i, row in enumerate(x):  # a row at a time: [n, m, D] would not fit
        difference = y - row
        if name == "euclidean":
            distances[i] = np.sqrt(np.add.reduce(difference * difference, axis=1))
        else:
            distances[i] = np.add.reduce(np.abs(difference), axis=1)
    return -distances


class _NoBar:
    def update(self, count: int) -> None:
        """Show nothing."""


def _progress(total: int, show: bool | None) -> Any:
    if not show:
        return nullcontext(_NoBar())
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="Encoding", unit=" sentences")
