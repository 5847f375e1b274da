"""feature-extraction: the last hidden state of every token."""

# mypy: disable-error-code="overload-overlap, override"
# (Of overloads the first that fits is meant: a str is an iterable of str as well.)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import numpy as np

from minidistil._options import check_table
from minidistil.backends.batch import PackedBatch
from minidistil.pipelines.base import Pipeline
from minidistil.tokenization import Tokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding
    from typing_extensions import Unpack

    from minidistil.pipelines.options import FeatureExtractionCall

Found = TypeVar("Found", list[list[list[float]]], np.ndarray)  # by the constructor's `return_tensors`


@dataclass(frozen=True)
class _Options:
    return_tensors: bool


class FeatureExtractionPipeline(Pipeline, Generic[Found]):
    """The last hidden state of every token of a text, special tokens included: a nested list [1][S][D].

    Options, at construction or per call:
        return_tensors: float32 arrays [1, S, D] in place of lists.
        tokenize_kwargs: as in transformers: {"truncation": True, "max_length": 128} is the same as those options.
    """

    task = "feature-extraction"
    option_names = ("return_tensors", "tokenize_kwargs")

    def __init__(self, model: Any, tokenizer: Tokenizer | None = None, **options: Any) -> None:
        if not hasattr(model, "encode_packed"):
            raise TypeError(f"feature-extraction needs an encoder, got {type(model).__name__}: load it with AutoModel")
        super().__init__(model, tokenizer, **options)

    @overload
    def __call__(
        self, inputs: str, *, return_tensors: Literal[True], **options: Unpack[FeatureExtractionCall]
    ) -> np.ndarray: ...
    @overload
    def __call__(self, inputs: str, **options: Unpack[FeatureExtractionCall]) -> Found: ...
    @overload
    def __call__(
        self,
        inputs: list[str] | tuple[str, ...],
        *,
        return_tensors: Literal[True],
        **options: Unpack[FeatureExtractionCall],
    ) -> list[np.ndarray]: ...
    @overload
    def __call__(
        self, inputs: list[str] | tuple[str, ...], **options: Unpack[FeatureExtractionCall]
    ) -> list[Found]: ...
    @overload
    def __call__(
        self, inputs: Iterable[str], *, return_tensors: Literal[True], **options: Unpack[FeatureExtractionCall]
    ) -> Iterator[np.ndarray]: ...
    @overload
    def __call__(self, inputs: Iterable[str], **options: Unpack[FeatureExtractionCall]) -> Iterator[Found]: ...
    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return the hidden states of one text, a list of them, or those of an iterable; see `Pipeline.__call__`."""
        return super().__call__(inputs, **options)

    def _settings(self, options: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        given = options.get("tokenize_kwargs") or self._defaults.get("tokenize_kwargs")
        own = check_table("tokenize_kwargs", given)
        if set(own) - {"truncation", "max_length", "padding"}:
            raise TypeError(f"of tokenize_kwargs truncation, max_length and padding are known here, got {sorted(own)}")
        return super()._settings({**own, **options})

    def _options(self, **options: Any) -> _Options:
        return _Options(bool(options.get("return_tensors")))

    def _compute(self, windows: list[Encoding], batch: PackedBatch, task: Any) -> Sequence[np.ndarray]:
        return np.split(self.model.encode_packed(batch), batch.offsets[1:-1])

    def _answer(self, item: str, windows: list[Encoding], results: list[np.ndarray], task: _Options) -> Any:
        hidden = results[0][None]  # [S, D] -> [1, S, D]
        return hidden.copy() if task.return_tensors else hidden.tolist()
