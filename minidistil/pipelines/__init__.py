"""`pipeline(task, model)`: text in, answers out."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from minidistil._loading import loading
from minidistil._options import check_device
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
    from minidistil.weights.options import HubOptions

    _Model: TypeAlias = str | os.PathLike[str] | Model[Any] | SentenceEncoder | None
    _Tokenizer: TypeAlias = str | os.PathLike[str] | Tokenizer | None

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
_ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}


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
def pipeline(task: str, model: _Model = ..., tokenizer: _Tokenizer = ..., **options: Any) -> Any: ...
def pipeline(
    task: str,
    model: str | os.PathLike[str] | Model | SentenceEncoder | None = None,
    tokenizer: str | os.PathLike[str] | Tokenizer | None = None,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    threads: int | None = None,
    backend: str | None = None,
    device: Any = None,
    **options: Any,
) -> Any:
    """Make a pipeline.

    Args:
        task: "text-classification" or "sentiment-analysis", "token-classification" or "ner", "question-answering",
            "zero-shot-classification", "fill-mask", "feature-extraction".
        model: a folder, `package:NAME`, a hub id, or a loaded model that has the task's head.
        tokenizer: the same for the tokenizer; unset, the model's own.
        revision: hub branch, tag or commit.
        cache_dir: where hub files are kept.
        local_files_only: never open a connection.
        token: hub credentials.
        threads: to compute with; None for OMP_NUM_THREADS where it is set, else what the process may use.
        backend: "engine", "exact" or "blas"; unset, the engine, or "blas" with a warning where it cannot run.
        device: None, -1 or "cpu", for code written for other libraries.
        **options: the task's own, and those of every pipeline: `truncation`, `max_length`, `batch_size`,
            `batch_tokens`, `progress`; see `Pipeline`.

    Returns:
        A callable; see its class.

    Raises:
        ValueError: an unknown task (the message lists those there are), no model, or an option the task lacks.
    """
    name = _ALIASES.get(task, task)
    if name not in _TASKS:
        raise ValueError(f"unknown task {task!r}; supported tasks: {', '.join(sorted({*_TASKS, *_ALIASES}))}")
    if model is None:
        raise ValueError(f"pipeline({task!r}) needs model=: a folder, package:NAME, a hub id, or a loaded model")
    if str(device) != "-1":  # transformers' number of the CPU
        check_device(device)
    module, class_name, loader = _TASKS[name]
    with loading():
        from minidistil.models.purpose import refuse_without_head
        from minidistil.weights import open_checkpoint

        auto = importlib.import_module("minidistil.models.auto")
        pipeline_class: type[Pipeline] = getattr(importlib.import_module(f"{__name__}.{module}"), class_name)
    # By name, not `**options: Unpack[LoadOptions]`: those are the task's, and any.
    fetching: HubOptions = {
        "revision": revision,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
        "token": token,
    }
    loaded: Any = model
    if isinstance(model, (str, os.PathLike)):
        opened = open_checkpoint(model, **fetching)
        if head := getattr(auto, loader)._head:
            refuse_without_head(opened, head, f'pipeline("{name}")')
        loaded = getattr(auto, loader).from_pretrained(opened.source, threads=threads, backend=backend)
    if tokenizer is None:
        chosen = loaded.tokenizer
    elif isinstance(tokenizer, (str, os.PathLike)):
        from minidistil.tokenization import Tokenizer

        chosen = Tokenizer.from_pretrained(tokenizer, **fetching)
    else:
        chosen = tokenizer
    return pipeline_class(loaded, chosen, **options)


__all__ = ["Pipeline", "pipeline"]
