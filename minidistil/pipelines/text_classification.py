"""text-classification, also called sentiment-analysis: which label a text has."""

# mypy: disable-error-code="overload-overlap, override"
# (Of overloads the first that fits is meant: a str is an iterable of str as well.)

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np

from minidistil._options import check_number, is_one_of
from minidistil.backends.batch import PackedBatch
from minidistil.models.probabilities import sigmoid, softmax
from minidistil.models.tasks import SequenceClassification
from minidistil.pipelines.answers import Label, TextPair
from minidistil.pipelines.base import Pipeline, Windows, needs_head
from minidistil.pipelines.scores import pooled, pooling_options
from minidistil.sentences.classifier import SentenceClassifier
from minidistil.tokenization import Tokenizer
from minidistil.weights.config import Config

if TYPE_CHECKING:
    from tokenizers import Encoding
    from typing_extensions import Unpack

    from minidistil.pipelines.options import TextClassificationCall

# What one text gets: its best label, or, where `top_k` was given to the constructor, a list of them.
Found = TypeVar("Found", Label, list[Label])
_FUNCTIONS = ("sigmoid", "softmax", "none")
_ONE_BEST = "best"  # top_k where nobody set it


@dataclass(frozen=True)
class _Options:
    top_k: int | str | None
    function: str
    pool_windows: str | None
    stride: int
    asked: bool  # top_k was given with the call


class TextClassificationPipeline(Pipeline, Generic[Found]):
    """The labels of a text, or of a pair of texts given as {"text": ..., "text_pair": ...}, with their scores.

    Results have the form that transformers gives them: [{"label", "score"}] for a str, {"label", "score"} for each
    item of a list and for a pair; where `top_k` is given, a list of such for each text, best first.

    Options, at construction or per call:
        top_k: labels to return; None for all; unset, the best one.
        function_to_apply: "sigmoid", "softmax" or "none"; unset, none for regression, sigmoid for one label or several
            that may hold at once (`problem_type`), softmax for the others.
        pool_windows: "mean" or "max", to read long texts to their end: the label scores of the windows that they take
            are averaged, or the highest taken. A text that fits has one window. Unset, `truncation` decides.
        stride: tokens that a window repeats of the one before it, 0 unless told otherwise.
    """

    task = "text-classification"
    expected = 'str or {"text": ..., "text_pair": ...}'
    option_names = ("top_k", "function_to_apply", "pool_windows", "stride")

    def __init__(self, model: Any, tokenizer: Tokenizer | None = None, **options: Any) -> None:
        needs_head(self.task, model, (SequenceClassification, SentenceClassifier), "a classification head", _LOADER)
        super().__init__(model, tokenizer, **options)

    def _settings(self, options: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        general, task = super()._settings(options)
        return general, _Options(task.top_k, task.function, task.pool_windows, task.stride, "top_k" in options)

    def _options(self, **options: Any) -> _Options:
        top_k = options.get("top_k", _ONE_BEST)
        if not is_one_of(top_k, (None, _ONE_BEST)):
            top_k = check_number("top_k", top_k)
        function = options.get("function_to_apply") or default_function(self.model.config)
        if str(function).lower() not in _FUNCTIONS:
            raise ValueError(f"function_to_apply must be one of {', '.join(_FUNCTIONS)}, got {function!r}")
        return _Options(top_k, str(function).lower(), *pooling_options(options), asked=False)

    @overload
    def __call__(self, inputs: str, *, top_k: int | None, **options: Unpack[TextClassificationCall]) -> list[Label]: ...
    @overload
    def __call__(self, inputs: str, **options: Unpack[TextClassificationCall]) -> list[Found]: ...
    @overload
    def __call__(
        self, inputs: TextPair, *, top_k: int | None, **options: Unpack[TextClassificationCall]
    ) -> list[Label]: ...
    @overload
    def __call__(self, inputs: TextPair, **options: Unpack[TextClassificationCall]) -> Found: ...
    @overload
    def __call__(
        self,
        inputs: list[str] | list[TextPair] | list[str | TextPair] | tuple[str | TextPair, ...],
        *,
        top_k: int | None,
        **options: Unpack[TextClassificationCall],
    ) -> list[list[Label]]: ...
    @overload
    def __call__(
        self,
        inputs: list[str] | list[TextPair] | list[str | TextPair] | tuple[str | TextPair, ...],
        **options: Unpack[TextClassificationCall],
    ) -> list[Found]: ...
    @overload
    def __call__(
        self, inputs: Iterable[str | TextPair], *, top_k: int | None, **options: Unpack[TextClassificationCall]
    ) -> Iterator[list[Label]]: ...
    @overload
    def __call__(
        self, inputs: Iterable[str | TextPair], **options: Unpack[TextClassificationCall]
    ) -> Iterator[Found]: ...
    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Classify one text or pair, a list of them, or those of an iterable; see `Pipeline.__call__`."""
        answer = super().__call__(inputs, **options)
        # transformers wraps the answer to a single str, unless the call itself says how many labels it wants.
        return [answer] if isinstance(inputs, str) and "top_k" not in options else answer

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write copies of the model's checkpoint and of the tokenizer; see their `save_pretrained`."""
        if isinstance(self.model, SentenceClassifier):  # its tokenizer is one of its parts
            self.model.save_pretrained(save_directory)
        else:
            super().save_pretrained(save_directory)

    def _is_one(self, inputs: Any, task: Any) -> bool:
        return isinstance(inputs, (str, dict))

    def _read(self, item: Any, name: str, task: Any) -> Any:
        return read_text_or_pair(item, name)

    def _windows(self, items: list[Any], limit: int, general: dict[str, Any], task: _Options) -> Windows:
        windows = self.tokenizer.encode_windows(items, limit, stride=task.stride if task.pool_windows else 0)
        if task.pool_windows:
            return Windows(windows, [])
        return Windows([w[:1] for w in windows], [i for i, w in enumerate(windows) if len(w) > 1])

    def _compute(self, windows: list[Encoding], batch: PackedBatch, task: Any) -> Sequence[np.ndarray]:
        return list(self.model.logits_packed(batch))

    def _answer(self, item: Any, windows: list[Encoding], results: list[np.ndarray], task: _Options) -> Any:
        scores = pooled([label_scores(logits, task.function) for logits in results], task.pool_windows)
        labels = self.model.config.id2label
        if task.top_k == _ONE_BEST:
            best = int(scores.argmax())
            return {"label": labels[best], "score": float(scores[best])}
        order = np.argsort(-scores, kind="stable").tolist()
        count = len(order) if task.top_k is None else int(task.top_k)
        return [{"label": labels[i], "score": float(scores[i])} for i in order[:count]]


_LOADER = "AutoModelForSequenceClassification"


def read_text_or_pair(item: Any, name: str) -> str | tuple[str, str]:
    """Check a text, or a pair as {"text", "text_pair"}; returns str or a tuple of two.

    Raises:
        TypeError: anything else; the message calls the item `name`.
    """
    if isinstance(item, str):
        return item
    if isinstance(item, dict) and set(item) <= {"text", "text_pair"} and isinstance(item.get("text"), str):
        second = item.get("text_pair")
        if second is None or second == "":
            return str(item["text"])
        if isinstance(second, str):
            return item["text"], second
    if isinstance(item, dict):
        held = ", ".join(f"{key}: {type(value).__name__}" for key, value in item.items())
        raise TypeError(f'{name} must be {{"text": str, "text_pair": str}}, got {{{held}}}')
    hint = '; write a pair as {"text": ..., "text_pair": ...}' if isinstance(item, (list, tuple)) else ""
    raise TypeError(f"{name} must be a str, got {type(item).__name__}{hint}")


def default_function(config: Config) -> str:
    """Return what makes scores of a model's logits: "none", "sigmoid" or "softmax"."""
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def label_scores(logits: np.ndarray, function: str) -> np.ndarray:
    """Return the scores float32 [N] of logits float32 [N] by a function of that name."""
    if function == "softmax":
        return softmax(logits)
    return sigmoid(logits) if function == "sigmoid" else logits
