"""`pipeline(task, model)`: text in, answers out."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

from minidistil._keywords import PipelineKeywords
from minidistil._loading import loading
from minidistil._options import check_device, is_one_of
from minidistil.pipelines.base import Pipeline

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Unpack

    from minidistil.models.base import Model
    from minidistil.pipelines.answers import Entity, Label, NamedToken
    from minidistil.pipelines.feature_extraction import FeatureExtractionPipeline
    from minidistil.pipelines.fill_mask import FillMaskPipeline
    from minidistil.pipelines.options import (
        Aggregation,
        FeatureExtractionOptions,
        FillMaskOptions,
        QuestionAnsweringOptions,
        TextClassificationOptions,
        TokenClassificationOptions,
        ZeroShotClassificationOptions,
    )
    from minidistil.pipelines.question_answering import QuestionAnsweringPipeline
    from minidistil.pipelines.text_classification import TextClassificationPipeline
    from minidistil.pipelines.token_classification import TokenClassificationPipeline
    from minidistil.pipelines.zero_shot_classification import ZeroShotClassificationPipeline
    from minidistil.sentences import SentenceEncoder
    from minidistil.tokenization import Tokenizer
    from minidistil.weights.precision import Precision
    from minidistil.weights.source import Source

    _Model: TypeAlias = str | os.PathLike[str] | Model[Any] | SentenceEncoder | None
    _Tokenizer: TypeAlias = str | os.PathLike[str] | Tokenizer | tuple[str, dict[str, Any]] | None

# Task -> module, class, and the loader of `minidistil.models.auto` that gives it a model.
_TASKS = {
    "feature-extraction": ("feature_extraction", "FeatureExtractionPipeline", "AutoModel"),
    "fill-mask": ("fill_mask", "FillMaskPipeline", "AutoModelForMaskedLM"),
    "question-answering": ("question_answering", "QuestionAnsweringPipeline", "AutoModelForQuestionAnswering"),
    "text-classification": (
        "text_classification",
        "TextClassificationPipeline",
        "AutoModelForSequenceClassification",
    ),
    "token-classification": (
        "token_classification",
        "TokenClassificationPipeline",
        "AutoModelForTokenClassification",
    ),
    "zero-shot-classification": (
        "zero_shot_classification",
        "ZeroShotClassificationPipeline",
        "AutoModelForSequenceClassification",
    ),
}
_CLASSIFYING = "text-classification"
_ALIASES = {"sentiment-analysis": _CLASSIFYING, "ner": "token-classification"}
_WITHOUT_NAME = (_CLASSIFYING,)
"""Tasks whose model the package carries."""


# Head ("" for none) -> the task that it is for, where nobody names one.
_FOR_HEAD = {
    "": "feature-extraction",
    "masked_lm": "fill-mask",
    "question_answering": "question-answering",
    "sequence_classification": "text-classification",
    "token_classification": "token-classification",
}


@overload
def pipeline(
    task: Literal["text-classification", "sentiment-analysis"],
    model: _Model = ...,
    tokenizer: _Tokenizer = ...,
    *,
    top_k: int | None,
    **options: Unpack[TextClassificationOptions],
) -> TextClassificationPipeline[list[Label]]: ...
@overload
def pipeline(
    task: Literal["text-classification", "sentiment-analysis"],
    model: _Model = ...,
    tokenizer: _Tokenizer = ...,
    **options: Unpack[TextClassificationOptions],
) -> TextClassificationPipeline[Label]: ...
@overload
def pipeline(
    task: Literal["token-classification", "ner"],
    model: _Model = ...,
    tokenizer: _Tokenizer = ...,
    *,
    aggregation_strategy: Aggregation,
    **options: Unpack[TokenClassificationOptions],
) -> TokenClassificationPipeline[Entity]: ...
@overload
def pipeline(
    task: Literal["token-classification", "ner"],
    model: _Model = ...,
    tokenizer: _Tokenizer = ...,
    *,
    aggregation_strategy: Literal["none"] | None = ...,
    **options: Unpack[TokenClassificationOptions],
) -> TokenClassificationPipeline[NamedToken]: ...
@overload
def pipeline(
    task: Literal["question-answering"],
    model: _Model = ...,
    tokenizer: _Tokenizer = ...,
    **options: Unpack[QuestionAnsweringOptions],
) -> QuestionAnsweringPipeline: ...
@overload
def pipeline(
    task: Literal["zero-shot-classification"],
    model: _Model = ...,
    tokenizer: _Tokenizer = ...,
    **options: Unpack[ZeroShotClassificationOptions],
) -> ZeroShotClassificationPipeline: ...
@overload
def pipeline(
    task: Literal["fill-mask"],
    model: _Model = ...,
    tokenizer: _Tokenizer = ...,
    **options: Unpack[FillMaskOptions],
) -> FillMaskPipeline: ...
@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: _Model = ...,
    tokenizer: _Tokenizer = ...,
    *,
    return_tensors: Literal[True],
    **options: Unpack[FeatureExtractionOptions],
) -> FeatureExtractionPipeline[np.ndarray]: ...
@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: _Model = ...,
    tokenizer: _Tokenizer = ...,
    *,
    return_tensors: Literal[False] | None = ...,
    **options: Unpack[FeatureExtractionOptions],
) -> FeatureExtractionPipeline[list[list[list[float]]]]: ...
@overload
def pipeline(task: str | None = ..., model: _Model = ..., tokenizer: _Tokenizer = ..., **options: Any) -> Any: ...
def pipeline(
    task: str | None = None,
    model: str | os.PathLike[str] | Model | SentenceEncoder | None = None,
    tokenizer: str | os.PathLike[str] | Tokenizer | tuple[str, dict[str, Any]] | None = None,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    threads: int | None = None,
    backend: str | None = None,
    precision: Precision | None = None,
    device: Any = None,
    model_kwargs: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Make a pipeline.

    Args:
        task: "text-classification" or "sentiment-analysis", "token-classification" or "ner", "question-answering",
            "zero-shot-classification", "fill-mask", "feature-extraction"; unset, the one for the model's head, by the
            `architectures` of its config.json.
        model: a folder, `package:NAME`, a hub id, or a loaded model that has the task's head; unset, for
            "text-classification" or "sentiment-analysis", the package's own, of the sentiment of reviews.
        tokenizer: the same for the tokenizer, or a tuple of that and a dictionary of its options; unset, the model's
            own.
        revision: hub branch, tag or commit.
        cache_dir: where hub files are kept.
        local_files_only: never open a connection.
        token: hub credentials.
        threads: to compute with; None for OMP_NUM_THREADS where it is set, else what the process may use.
        backend: "engine", "exact" or "blas"; unset, the engine, or "blas" with a warning where it cannot run.
        precision: "float32", "bfloat16" or "int8", of the weights; unset, int8 where the checkpoint is, else float32.
        device: None, -1 or "cpu", for code written for other libraries.
        model_kwargs: further options of loading the model.
        **options: of loading the model, such as `subfolder` and `config`; the task's own; and those of every pipeline:
            `truncation`, `max_length`, `batch_size`, `batch_tokens`, `progress`; see `Pipeline`.

    Returns:
        A callable; see its class.

    Raises:
        TypeError: an option that there is not.
        ValueError: an unknown task (the message lists those there are), no model, or an option that is refused.
    """
    if task is not None and not is_one_of(task, (*_TASKS, *_ALIASES)):
        raise ValueError(f"unknown task {task!r}; supported tasks: {', '.join(sorted({*_TASKS, *_ALIASES}))}")
    if model is None and _ALIASES.get(task or "", task) in _WITHOUT_NAME:
        with loading():
            from minidistil.weights.locate import OWN_MODEL
        model = OWN_MODEL
    if model is None:
        named = "" if task is None else repr(task)
        raise ValueError(f"pipeline({named}) needs model=: a folder, package:NAME, a hub id, or a loaded model")
    check_device(device)
    with loading():
        from minidistil.models.base import LoadOptions, divided
        from minidistil.weights.locate import find
        from minidistil.weights.options import checked_table, without_foreign

    # By name, not `**options: Unpack[LoadOptions]`: those are the task's, and any.
    said: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "local_files_only": local_files_only or None}
    said |= {"token": token, "threads": threads, "backend": backend, "precision": precision}
    said = {name: value for name, value in said.items() if value is not None}
    said |= {name: options.pop(name) for name in LoadOptions.__annotations__.keys() & options.keys()}
    said = checked_table(LoadOptions, "model_kwargs", model_kwargs) | without_foreign(LoadOptions, "pipeline", said)
    fetching, own = divided(cast(LoadOptions, said))
    options = without_foreign(PipelineKeywords, "pipeline", options)
    loaded: Any = model
    if isinstance(model, (str, os.PathLike)):
        task, loaded = _load(task, find(model, **fetching), own)
    task = task or _task_of(type(model if hasattr(model, "heads") else getattr(model, "model", model)))
    module, class_name, _ = _TASKS[_ALIASES.get(task, task)]
    with loading():
        pipeline_class: type[Pipeline] = getattr(importlib.import_module(f"{__name__}.{module}"), class_name)
    name, settings = tokenizer if isinstance(tokenizer, tuple) else (tokenizer, {})
    if isinstance(name, (str, os.PathLike)):
        from minidistil.tokenization import Tokenizer

        return pipeline_class(loaded, Tokenizer.from_pretrained(name, **{**fetching, **settings}), **options)
    return pipeline_class(loaded, name, **options)


def _load(task: str | None, source: Source, options: Any) -> tuple[str, Any]:
    """The task, that of the checkpoint where nobody names one, and a model for it."""
    with loading():
        auto = importlib.import_module("minidistil.models.auto")
        from minidistil.models.purpose import refuse_without_head
        from minidistil.sentences.files import is_classifier
        from minidistil.weights import open_checkpoint

    if (task is None or _ALIASES.get(task, task) == _CLASSIFYING) and is_classifier(source.folder):
        with loading():
            from minidistil.sentences.classifier import SentenceClassifier

        return _CLASSIFYING, SentenceClassifier.from_folder(source, **options)
    opened = open_checkpoint(source)
    task = task or _task_of(auto.class_of(opened))
    loader = getattr(auto, _TASKS[_ALIASES.get(task, task)][2])
    if loader._head:
        refuse_without_head(opened, loader._head, f'pipeline("{_ALIASES.get(task, task)}")')
    return task, loader.from_pretrained(source, **options)


def _task_of(kind: type[Any]) -> str:
    """The task that a class of models is for."""
    head = "".join(getattr(kind, "heads", ()))
    if head not in _FOR_HEAD:
        tasks = ", ".join(sorted({*_TASKS, *_ALIASES}))
        raise ValueError(f"{kind.__name__} is a model for none of the tasks; name one: {tasks}")
    return _FOR_HEAD[head]


__all__ = ["Pipeline", "pipeline"]
