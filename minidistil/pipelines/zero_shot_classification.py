"""zero-shot-classification: which of any labels fits a text, by a model of entailment."""

# mypy: disable-error-code="overload-overlap, override"
# (Of overloads the first that fits is meant: a str is an iterable of str as well.)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from minidistil._warn import warn_caller
from minidistil.backends.batch import PackedBatch
from minidistil.models.probabilities import softmax
from minidistil.models.tasks import SequenceClassification
from minidistil.pipelines.answers import RankedLabels
from minidistil.pipelines.base import Pipeline, Windows, needs_head
from minidistil.pipelines.scores import pooled, pooling_options
from minidistil.tokenization import Tokenizer
from minidistil.weights.config import Config

if TYPE_CHECKING:
    from tokenizers import Encoding
    from typing_extensions import Unpack

    from minidistil.pipelines.options import ZeroShotClassificationCall

_TEMPLATE = "This example is {}."


@dataclass(frozen=True)
class _Options:
    labels: tuple[str, ...]
    hypotheses: tuple[str, ...]
    multi_label: bool
    pool_windows: str | None
    stride: int


class ZeroShotClassificationPipeline(Pipeline):
    """Labels of the caller's choice, ranked by how much a text entails "This example is <label>."

    The answer to a text is {"sequence", "labels", "scores"}, best label first. The pairs of all texts with all labels
    are computed together.

    Options, at construction or per call:
        candidate_labels: a list of str, or one str with commas; also the second argument of a call.
        hypothesis_template: with {} where the label goes.
        multi_label: each label for itself (entailment against contradiction) rather than all against each other.
        pool_windows: "mean" or "max", to read long texts to their end: the label scores of the windows that they take
            are averaged, or the highest taken. A text that fits has one window. Unset, `truncation` decides.
        stride: tokens that a window repeats of the one before it, 0 unless told otherwise.
    """

    task = "zero-shot-classification"
    option_names = ("candidate_labels", "hypothesis_template", "multi_label", "pool_windows", "stride")

    def __init__(self, model: Any, tokenizer: Tokenizer | None = None, **options: Any) -> None:
        needs_head(
            self.task, model, SequenceClassification, "a classification head", "AutoModelForSequenceClassification"
        )
        if model.config.num_labels < 2:
            raise ValueError(
                f"{self.task} needs a model that tells entailment from contradiction; this one has the single label "
                f"{model.config.id2label[0]}"
            )
        super().__init__(model, tokenizer, **options)
        self._entailment = entailment_id(model.config)

    @overload
    def __call__(
        self,
        inputs: str,
        candidate_labels: str | Sequence[str] | None = ...,
        **options: Unpack[ZeroShotClassificationCall],
    ) -> RankedLabels: ...
    @overload
    def __call__(
        self,
        inputs: list[str] | tuple[str, ...],
        candidate_labels: str | Sequence[str] | None = ...,
        **options: Unpack[ZeroShotClassificationCall],
    ) -> list[RankedLabels]: ...
    @overload
    def __call__(
        self,
        inputs: Iterable[str],
        candidate_labels: str | Sequence[str] | None = ...,
        **options: Unpack[ZeroShotClassificationCall],
    ) -> Iterator[RankedLabels]: ...
    def __call__(self, inputs: Any, candidate_labels: Any = None, **options: Any) -> Any:
        """Rank labels for one text, a list of them, or those of an iterable; see `Pipeline.__call__`."""
        if candidate_labels is not None:
            options["candidate_labels"] = candidate_labels
        return super().__call__(inputs, **options)

    def _read(self, item: Any, name: str, task: _Options) -> Any:
        if not task.labels:
            raise ValueError(f'{self.task} needs candidate_labels, such as ["travel", "cooking"]')
        return super()._read(item, name, task)

    def _options(self, **options: Any) -> _Options:
        labels = options.get("candidate_labels")
        template = options.get("hypothesis_template", _TEMPLATE)
        if isinstance(labels, str):
            labels = [label.strip() for label in labels.split(",") if label.strip()]
        labels = tuple(labels or ())
        for label in labels:
            if not isinstance(label, str):
                raise TypeError(f"candidate_labels must be str, got {type(label).__name__}")
        if not isinstance(template, str):
            raise TypeError(f"hypothesis_template must be a str, got {type(template).__name__}")
        try:
            hypotheses = tuple(template.format(label) for label in labels)
        except (IndexError, KeyError, ValueError) as error:
            raise ValueError(f"hypothesis_template {template!r} must have one {{}}, where the label goes") from error
        if labels and hypotheses[0] == template and labels[0] != "{}":
            raise ValueError(f"hypothesis_template {template!r} has no {{}}, where the label goes")
        return _Options(labels, hypotheses, bool(options.get("multi_label", False)), *pooling_options(options))

    def _windows(self, items: list[Any], limit: int, general: dict[str, Any], task: _Options) -> Windows:
        """Of each text, its windows with the first label, then the same with the second, and so on."""
        lengths = [len(ids) for ids in self.tokenizer(list(task.hypotheses), add_special_tokens=False)["input_ids"]]
        by_label = []
        for hypothesis, length in zip(task.hypotheses, lengths, strict=True):
            # Pooled windows show the same part of a text with every label, so all leave the longest one room.
            most, stride = (limit - max(lengths) + length, task.stride) if task.pool_windows else (limit, 0)
            pairs = [(text, hypothesis) for text in items]
            by_label.append(self.tokenizer.encode_windows(pairs, most, strategy="only_first", stride=stride))
        by_text = list(zip(*by_label, strict=True))
        if task.pool_windows:
            return Windows([[w for own in of for w in own] for of in by_text], [])
        cut = [i for i, of in enumerate(by_text) if any(len(own) > 1 for own in of)]
        return Windows([[own[0] for own in of] for of in by_text], cut)

    def _compute(self, windows: list[Encoding], batch: PackedBatch, task: Any) -> Sequence[np.ndarray]:
        return list(self.model.logits_packed(batch))

    def _answer(self, item: str, windows: list[Encoding], results: list[np.ndarray], task: _Options) -> Any:
        logits = np.stack(results).reshape(len(task.labels), -1, self.model.config.num_labels)
        read = [entailment_scores(of, self._entailment, task.multi_label) for of in logits.swapaxes(0, 1)]
        scores = pooled(read, task.pool_windows)
        order = np.argsort(scores, kind="stable")[::-1].tolist()
        return {"sequence": item, "labels": [task.labels[i] for i in order], "scores": scores[order].tolist()}


def entailment_id(config: Config) -> int:
    """Return the number of the label that says that one text follows from another.

    It is the first that begins with "entail"; without one the last label is taken, as in transformers, with a warning.
    """
    for number, label in config.id2label.items():
        if label.lower().startswith("entail"):
            return number
    last = config.num_labels - 1
    warn_caller(
        UserWarning(
            f"none of the labels {', '.join(config.id2label.values())} begins with 'entail'; the last one is taken for "
            "entailment (is this a model of natural language inference?)"
        )
    )
    return last


def entailment_scores(logits: np.ndarray, entailment: int, multi_label: bool) -> np.ndarray:
    """Return a score per candidate.

    Args:
        logits: float32 [n, N], of each candidate's pair.
        entailment: which of the N labels is entailment; contradiction is the first, or the last where that is it.
        multi_label: compare entailment with contradiction, candidate by candidate, rather than the candidates.

    Returns:
        float32 [n].
    """
    if multi_label or len(logits) == 1:
        contradiction = -1 if entailment == 0 else 0
        return softmax(logits[:, [contradiction, entailment]])[:, 1]
    return softmax(logits[:, entailment])
