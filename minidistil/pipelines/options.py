"""The options of pipelines, for type checkers and editors: those of a call, and those of `pipeline()`.

An option that decides of the answer's type is left out of a call's and stands in the overloads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from minidistil._keywords import PipelineKeywords
from minidistil.models.base import LoadOptions

Aggregation = Literal["simple", "first", "average", "max"]


class PipelineOptions(PipelineKeywords, total=False):
    """What every pipeline takes, at construction or with a call; see `Pipeline`."""

    batch_size: int | None
    batch_tokens: int | None
    truncation: str | bool | None
    max_length: int | None
    padding: bool | str | None
    progress: bool


class LoadingOptions(PipelineOptions, LoadOptions, total=False):
    """What `pipeline()` takes for every task beside that: how to get a model, and how it is computed."""

    device: Any
    model_kwargs: dict[str, Any] | None


class TextClassificationCall(PipelineOptions, total=False):
    """The options of a call, but for `top_k`, which decides of the answer's form."""

    function_to_apply: str | None
    pool_windows: Literal["mean", "max"] | None
    stride: int | None


class TextClassificationOptions(TextClassificationCall, LoadingOptions, total=False):
    """The same for `pipeline()`."""


class TokenClassificationCall(PipelineOptions, total=False):
    """The options of a call, but for `aggregation_strategy`, which decides of the answer's form."""

    ignore_labels: list[str] | None
    stride: int | None
    is_split_into_words: bool
    delimiter: str | None


class TokenClassificationOptions(TokenClassificationCall, LoadingOptions, total=False):
    """The same for `pipeline()`."""


class ZeroShotClassificationCall(PipelineOptions, total=False):
    """The options of a call, but for `candidate_labels`."""

    hypothesis_template: str
    multi_label: bool
    pool_windows: Literal["mean", "max"] | None
    stride: int | None


class ZeroShotClassificationOptions(ZeroShotClassificationCall, LoadingOptions, total=False):
    """The same for `pipeline()`."""

    candidate_labels: str | list[str] | None


class FeatureExtractionCall(PipelineOptions, total=False):
    """The options of a call, but for `return_tensors`, which decides of the answer's type."""

    tokenize_kwargs: Mapping[str, Any] | None


class FeatureExtractionOptions(FeatureExtractionCall, LoadingOptions, total=False):
    """The same for `pipeline()`."""


class FillMaskCall(PipelineOptions, total=False):
    """The options of a call, and of the constructor."""

    top_k: int | None
    targets: str | list[str] | None
    windows: bool
    tokenizer_kwargs: Mapping[str, Any] | None


class FillMaskOptions(FillMaskCall, LoadingOptions, total=False):
    """The same for `pipeline()`."""


class QuestionAnsweringCall(PipelineOptions, total=False):
    """The options of a call, and of the constructor."""

    top_k: int | None
    doc_stride: int | None
    max_answer_len: int | None
    max_seq_len: int | None
    max_question_len: int | None
    handle_impossible_answer: bool
    align_to_words: bool | None


class QuestionAnsweringOptions(QuestionAnsweringCall, LoadingOptions, total=False):
    """The same for `pipeline()`."""
