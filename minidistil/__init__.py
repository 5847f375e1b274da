"""DistilBERT and its family on the CPU: PyTorch's bits, without PyTorch.

    from minidistil import pipeline, AutoTokenizer, AutoModel, DistilBertForMaskedLM
    import minidistil; model = minidistil.load(path_or_id)

Everything here is loaded when it is first used: importing the package takes a few milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minidistil.auto import (
        AutoModel,
        AutoModelForMaskedLM,
        AutoModelForMultipleChoice,
        AutoModelForQuestionAnswering,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        load,
    )
    from minidistil.models import (
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertModel,
        DistilBertForMaskedLM,
        DistilBertForMultipleChoice,
        DistilBertForQuestionAnswering,
        DistilBertForSequenceClassification,
        DistilBertForTokenClassification,
        DistilBertModel,
    )
    from minidistil.pipelines import pipeline
    from minidistil.sentences import SentenceEncoder
    from minidistil.tokenization import AutoTokenizer, Tokenizer, TruncationWarning
    from minidistil.weights import CheckpointError

    __version__: str

_HOMES = {
    "AutoModel": "auto",
    "AutoModelForMaskedLM": "auto",
    "AutoModelForMultipleChoice": "auto",
    "AutoModelForQuestionAnswering": "auto",
    "AutoModelForSequenceClassification": "auto",
    "AutoModelForTokenClassification": "auto",
    "load": "auto",
    "BertForMaskedLM": "models",
    "BertForMultipleChoice": "models",
    "BertForQuestionAnswering": "models",
    "BertForSequenceClassification": "models",
    "BertForTokenClassification": "models",
    "BertModel": "models",
    "DistilBertForMaskedLM": "models",
    "DistilBertForMultipleChoice": "models",
    "DistilBertForQuestionAnswering": "models",
    "DistilBertForSequenceClassification": "models",
    "DistilBertForTokenClassification": "models",
    "DistilBertModel": "models",
    "pipeline": "pipelines",
    "SentenceEncoder": "sentences",
    "AutoTokenizer": "tokenization",
    "Tokenizer": "tokenization",
    "TruncationWarning": "tokenization",
    "CheckpointError": "weights",
}

__all__ = [
    "AutoModel",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoTokenizer",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "CheckpointError",
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertModel",
    "SentenceEncoder",
    "Tokenizer",
    "TruncationWarning",
    "__version__",
    "load",
    "pipeline",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name == "__version__":
        from importlib.metadata import version

        value = version("minidistil")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
