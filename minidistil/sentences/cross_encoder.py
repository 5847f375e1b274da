"""Rerankers: a score for a pair of texts that the model reads together, by the conventions of sentence-transformers."""

# mypy: disable-error-code="overload-overlap"
# (Of overloads the first that fits is meant.)

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._keywords import PredictKeywords, RerankerKeywords, SavingKeywords
from minidistil._loading import loading
from minidistil._options import check_device, check_number, is_iterable, refuse_table
from minidistil._warn import warn_caller
from minidistil.models.inputs import pack_sentences, token_batches
from minidistil.models.probabilities import softmax
from minidistil.models.purpose import refuse_without_head
from minidistil.models.tasks import SequenceClassification
from minidistil.sentences.files import RerankerFiles, read_reranker_files
from minidistil.sentences.modules import activation_name
from minidistil.sentences.progress import progress
from minidistil.sentences.prompted import Prompted, SentenceOptions, resolved
from minidistil.tokenization import check_truncation, refuse_truncation, refuse_without_tokens, warn_of_truncation
from minidistil.weights import CheckpointError
from minidistil.weights.by_reference import ByReference
from minidistil.weights.options import spelled_out

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from minidistil.models.signatures import PredictOptions, RankedDocument
    from minidistil.weights.source import Source

Activation = Callable[[np.ndarray], np.ndarray]
_TOKENS = 2048  # of one call of the backend: enough for its speed, short enough for Ctrl-C
_WINDOW = 8192  # pairs that are tokenized and sorted by length together


class _Options(SentenceOptions, RerankerKeywords, total=False):
    """Of `CrossEncoder`."""


@spelled_out(_Options)
class CrossEncoder(ByReference, Prompted):
    """A sequence-classification model that scores pairs of texts, such as a query and a passage.

    Args:
        model_name_or_path: a folder, `package:NAME` of an installed package that carries one, or a hub id.
        max_length: longer pairs are cut to this many tokens, the longer text first; unset, the model's limit.
        activation_fn: what makes scores of logits: a function of float32 [b, N], or the name of an activation. Unset,
            what the checkpoint says, else the sigmoid for one label, nothing for more.
        device: None or "cpu".
        prompts: text by name, over those of the checkpoint.
        default_prompt_name: the one that is used unless told otherwise; unset, the checkpoint's.
        **options: `SentenceOptions`. "torch" is a name of the default backend.

    Attributes:
        model: the encoder with its head.
        prompts: text by name, put before the first text of every pair.
        default_prompt_name: the one that is used unless told otherwise, or None.
        truncated: how many pairs have been cut so far.
        activation_fn: what makes scores of logits: a function, or the name of an activation.

    Raises:
        CheckpointError: files that are missing, damaged or contradict each other; or no classification head.
        ValueError: an unknown option, or a module that minidistil does not have.
    """

    model: SequenceClassification
    _limit_name = "max_length"
    _shared = ("source",)

    @default_mode()
    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        max_length: int | None = None,
        activation_fn: str | Activation | None = None,
        device: Any = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        **options: Unpack[_Options],
    ) -> None:
        with loading():
            from minidistil.models.auto import AutoModelForSequenceClassification
            from minidistil.weights import open_checkpoint
            from minidistil.weights.locate import find

        check_device(device)
        hub, own, tokenizer_options = resolved(options)
        source = find(model_name_or_path, **hub)
        self.source = source
        files: RerankerFiles = read_reranker_files(source.folder)
        refuse_without_head(open_checkpoint(files.transformer), "sequence_classification", "CrossEncoder(...)")
        model = AutoModelForSequenceClassification.from_pretrained(source.at(files.transformer), **own)
        known = {**files.prompts, **(prompts or {})}
        super().__init__(model, known, files.default_prompt, files.max_seq_length, tokenizer_options)
        if default_prompt_name is not None:
            self.prompt_text(name=default_prompt_name)  # refuses a name that there is not
            self.default_prompt_name = default_prompt_name
        if max_length is not None:
            self.max_length = max_length
        self.activation_fn: str | Activation = self._resolve(activation_fn, files.activation)

    @classmethod
    def _load_again(cls, source: Source, **options: Any) -> Mapping[str, Any]:
        return {"source": source}

    @property
    def num_labels(self) -> int:
        """N, the number of scores of a pair."""
        return self.config.num_labels

    max_length = Prompted.max_seq_length

    # A pair has one number where there is one label, and else an array of them: as the checkpoint decides, `| Any`.
    @overload
    def predict(
        self,
        sentences: tuple[str, str] | list[str],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        **options: Unpack[PredictOptions],
    ) -> np.float32 | Any: ...

    @overload
    def predict(
        self,
        sentences: Iterable[tuple[str, str]] | Iterable[list[str]],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        **options: Unpack[PredictOptions],
    ) -> NDArray[np.float32]: ...

    @overload
    def predict(
        self,
        sentences: Any = ...,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        **options: Unpack[PredictOptions],
    ) -> Any: ...

    @spelled_out(PredictKeywords)
    @default_mode()
    def predict(
        self,
        sentences: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        activation_fn: str | Activation | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        *,
        truncation: str | bool = "warn",
        **others: Unpack[PredictKeywords],
    ) -> Any:
        """Score one pair of texts or many. A pair's score has the same bits in any batch.

        Args:
            sentences: a pair (two str), or an iterable of pairs.
            prompt_name: key of `prompts`, whose text goes before the first text of every pair.
            prompt: that text itself; wins over `prompt_name`.
            batch_size: most pairs per call of the model; speed alone depends on it. Tokens bound it anyway.
            show_progress_bar: show one on standard error.
            activation_fn: what makes scores of logits, for this call.
            apply_softmax: where there are several labels, make the scores of a pair sum to 1.
            convert_to_numpy: True; there is nothing else to convert to.
            convert_to_tensor: False.
            device: None or "cpu".
            truncation: what to do with pairs longer than `max_length`: "warn" (cut, and one `TruncationWarning` with
                their number), True (cut), "error" or False (refuse). `truncated` counts all.
            **others: `PredictKeywords`.

        Returns:
            For one label float32 [n], or a float32 for one pair; for N labels float32 [n, N] or [N].

        Raises:
            TypeError: something other than pairs of text.
            ValueError: an unknown option or prompt, or pairs that are too long where that is an error.
        """
        if convert_to_tensor or not convert_to_numpy:
            raise ValueError("scores are NumPy arrays; torch.from_numpy(...) makes a tensor of one")
        check_device(device)
        check_number("batch_size", batch_size)
        check_truncation(truncation)
        activation = self._function(self.activation_fn if activation_fn is None else activation_fn)
        single, pairs = _pairs(sentences)
        before = self.prompt_text(prompt, prompt_name)
        logits = np.empty((len(pairs), self.num_labels), np.float32)
        with progress(len(pairs), show_progress_bar, "pairs") as bar:
            for places, found in self._logits([(before + a, b) for a, b in pairs], batch_size, truncation):
                logits[places] = found
                bar.update(len(places))
        scores = np.asarray(activation(logits), np.float32) if len(logits) else logits
        if self.num_labels == 1:
            scores = scores.reshape(-1)
        elif apply_softmax and len(scores):
            scores = softmax(scores)
        return scores[0] if single else scores

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        **options: Any,
    ) -> list[RankedDocument]:
        """Order documents by their score with a query, best first; of equal scores the earlier document first.

        Args:
            query: what is looked for.
            documents: where.
            top_k: how many to return; None for all.
            return_documents: also return the documents' texts.
            **options: `predict`'s.

        Returns:
            A dictionary per document: corpus_id (its place in `documents`), score, and text where asked for.

        Raises:
            TypeError: something other than text.
            ValueError: a model with several labels, or as `predict`.
        """
        if self.num_labels != 1:
            raise ValueError(f"only models with one label rank, this one has {self.num_labels}: use predict(pairs)")
        if not isinstance(query, str):
            raise TypeError(f"query must be a str, got {type(query).__name__}")
        if isinstance(documents, str):
            raise TypeError("documents must be a list of str, got one str")
        check_number("top_k", top_k)
        refuse_table("documents", documents)
        texts = list(documents)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"documents[{i}] must be a str, got {type(text).__name__}")
        scores = self.predict([(query, text) for text in texts], **options)
        order = np.argsort(-scores, kind="stable").tolist()[:top_k]
        rows: list[RankedDocument] = [{"corpus_id": i, "score": float(scores[i])} for i in order]
        if return_documents:
            for row in rows:
                row["text"] = texts[row["corpus_id"]]
        return rows

    @spelled_out(SavingKeywords)
    def save_pretrained(self, path: str | os.PathLike[str], **others: Unpack[SavingKeywords]) -> list[str]:
        """Write the model's files as sentence-transformers reads them: a copy of those that it was loaded from.

        What was changed since, as prompts, `max_length`, the activation or the tokenizer's settings, is written too.
        Weights that are not safetensors become such. The files are whole, or nobody takes the folder for a checkpoint.

        Args:
            path: a folder, made where there is none.
            **others: `SavingKeywords`.

        Returns:
            The paths written.

        Raises:
            CheckpointError: the folder cannot be written, or the model's files have changed since it was loaded.
            ValueError: a model that was made in memory, or an activation that no file can hold.
        """
        with loading():
            from minidistil.sentences.saving import reranker_files
            from minidistil.tokenization.saving import FILES
            from minidistil.weights.saving import save

        if self.source is None:
            raise ValueError(f"this {type(self).__name__} was made in memory, so there is no checkpoint to copy")
        self.source.check()
        return save(path, reranker_files(self, self.source, self.activation_fn), replaces=FILES)

    save = save_pretrained

    def _logits(
        self, pairs: list[tuple[str, str]], most: int | None, truncation: str | bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places int64 [b] and logits float32 [b, N], batch by batch, longest pairs first."""
        limit, cut_count = self.max_length, 0
        for start in range(0, len(pairs), _WINDOW):
            windows = self.tokenizer.encode_windows(pairs[start : start + _WINDOW], limit)
            cut = [i for i, own in enumerate(windows) if len(own) > 1]
            if truncation in ("error", False):
                refuse_truncation(cut, limit, start)
            cut_count += len(cut)
            lengths = np.array([len(own[0]) for own in windows])
            refuse_without_tokens(lengths.tolist(), start)
            order = np.argsort(-lengths, kind="stable")
            for run in token_batches(lengths[order].tolist(), _TOKENS, most):
                places = order[run]
                encoded = [windows[i][0] for i in places]
                types = self.tokenizer.token_types(encoded, self.config.type_vocab_size)
                numbers = start + places
                batch = pack_sentences(self.config, [e.ids for e in encoded], types, "pair {}", numbers)
                yield numbers, self.model.logits_packed(batch)
        self._count_truncated(cut_count)
        if truncation == "warn":
            warn_of_truncation(cut_count, len(pairs), limit)

    def _resolve(self, given: str | Activation | None, stored: str | None) -> str | Activation:
        """The function given, else the checkpoint's, else the usual one; refused where it is none."""
        if given is not None:
            self._function(given)
            return given
        if stored is not None and stored.startswith("torch."):
            try:
                self._function(stored)
            except ValueError as error:
                raise CheckpointError(str(self.model.folder), str(error)) from None
            return stored
        usual = "torch.nn.Sigmoid" if self.num_labels == 1 else "torch.nn.Identity"
        if stored is not None:
            warn_caller(
                UserWarning(f"the checkpoint's activation function {stored!r} is none of torch.nn; using {usual}")
            )
        return usual

    def _function(self, activation: str | Activation) -> Activation:
        if callable(activation):
            return activation
        if not isinstance(activation, str):
            found = type(activation).__name__  # type: ignore[unreachable]  # callers may pass anything
            raise TypeError(f"activation_fn must be a function or the name of an activation, got {found}")
        name = activation_name(activation) if activation.startswith("torch.") else activation
        if name == "linear":
            return lambda logits: logits
        return lambda logits: self.model._backend.activation(name, logits)


def _pairs(sentences: Any) -> tuple[bool, list[tuple[str, str]]]:
    """Whether one pair was given, and the list of pairs."""
    refuse_table("sentences", sentences)
    if isinstance(sentences, (str, Mapping)) or not is_iterable(sentences):
        raise TypeError(f"predict takes a pair of texts or a list of pairs, got {type(sentences).__name__}")
    items = list(sentences)
    single = bool(items) and isinstance(items[0], str)
    pairs = [items] if single else items
    for i, pair in enumerate(pairs):
        name = "the pair" if single else f"pair {i}"
        if isinstance(pair, str) or not is_iterable(pair):
            raise TypeError(f"{name} must be two texts, got {type(pair).__name__}")
        held = list(pair)
        if len(held) != 2 or not all(isinstance(text, str) for text in held):
            raise TypeError(
                f"{name} must be two texts, got {', '.join(type(text).__name__ for text in held) or 'none'}"
            )
    return single, [(str(a), str(b)) for a, b in pairs]
