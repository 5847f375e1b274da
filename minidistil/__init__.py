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
        AlbertForMaskedLM,
        AlbertForMultipleChoice,
        AlbertForQuestionAnswering,
        AlbertForSequenceClassification,
        AlbertForTokenClassification,
        AlbertModel,
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertModel,
        CamembertForMaskedLM,
        CamembertForMultipleChoice,
        CamembertForQuestionAnswering,
        CamembertForSequenceClassification,
        CamembertForTokenClassification,
        CamembertModel,
        DistilBertForMaskedLM,
        DistilBertForMultipleChoice,
        DistilBertForQuestionAnswering,
        DistilBertForSequenceClassification,
        DistilBertForTokenClassification,
        DistilBertModel,
        ElectraForMaskedLM,
        ElectraForMultipleChoice,
        ElectraForPreTraining,
        ElectraForQuestionAnswering,
        ElectraForSequenceClassification,
        ElectraForTokenClassification,
        ElectraModel,
        RobertaForMaskedLM,
        RobertaForMultipleChoice,
        RobertaForQuestionAnswering,
        RobertaForSequenceClassification,
        RobertaForTokenClassification,
        RobertaModel,
        XLMRobertaForMaskedLM,
        XLMRobertaForMultipleChoice,
        XLMRobertaForQuestionAnswering,
        XLMRobertaForSequenceClassification,
        XLMRobertaForTokenClassification,
        XLMRobertaModel,
    )
    from minidistil.pipelines import pipeline
    from minidistil.sentences import (
        CrossEncoder,
        SentenceEncoder,
        SentenceTransformer,
        calibration_ranges,
        encode_chunks,
        encode_to_file,
        quantize_embeddings,
    )
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
    "AlbertForMaskedLM": "models",
    "AlbertForMultipleChoice": "models",
    "AlbertForQuestionAnswering": "models",
    "AlbertForSequenceClassification": "models",
    "AlbertForTokenClassification": "models",
    "AlbertModel": "models",
    "BertForMaskedLM": "models",
    "BertForMultipleChoice": "models",
    "BertForQuestionAnswering": "models",
    "BertForSequenceClassification": "models",
    "BertForTokenClassification": "models",
    "BertModel": "models",
    "CamembertForMaskedLM": "models",
    "CamembertForMultipleChoice": "models",
    "CamembertForQuestionAnswering": "models",
    "CamembertForSequenceClassification": "models",
    "CamembertForTokenClassification": "models",
    "CamembertModel": "models",
    "DistilBertForMaskedLM": "models",
    "DistilBertForMultipleChoice": "models",
    "DistilBertForQuestionAnswering": "models",
    "DistilBertForSequenceClassification": "models",
    "DistilBertForTokenClassification": "models",
    "DistilBertModel": "models",
    "ElectraForMaskedLM": "models",
    "ElectraForMultipleChoice": "models",
    "ElectraForPreTraining": "models",
    "ElectraForQuestionAnswering": "models",
    "ElectraForSequenceClassification": "models",
    "ElectraForTokenClassification": "models",
    "ElectraModel": "models",
    "RobertaForMaskedLM": "models",
    "RobertaForMultipleChoice": "models",
    "RobertaForQuestionAnswering": "models",
    "RobertaForSequenceClassification": "models",
    "RobertaForTokenClassification": "models",
    "RobertaModel": "models",
    "XLMRobertaForMaskedLM": "models",
    "XLMRobertaForMultipleChoice": "models",
    "XLMRobertaForQuestionAnswering": "models",
    "XLMRobertaForSequenceClassification": "models",
    "XLMRobertaForTokenClassification": "models",
    "XLMRobertaModel": "models",
    "pipeline": "pipelines",
    "CrossEncoder": "sentences",
    "SentenceEncoder": "sentences",
    "SentenceTransformer": "sentences",
    "calibration_ranges": "sentences",
    "encode_chunks": "sentences",
    "encode_to_file": "sentences",
    "quantize_embeddings": "sentences",
    "AutoTokenizer": "tokenization",
    "Tokenizer": "tokenization",
    "TruncationWarning": "tokenization",
    "CheckpointError": "weights",
}

__all__ = [
    "AlbertForMaskedLM",
    "AlbertForMultipleChoice",
    "AlbertForQuestionAnswering",
    "AlbertForSequenceClassification",
    "AlbertForTokenClassification",
    "AlbertModel",
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
    "CamembertForMaskedLM",
    "CamembertForMultipleChoice",
    "CamembertForQuestionAnswering",
    "CamembertForSequenceClassification",
    "CamembertForTokenClassification",
    "CamembertModel",
    "CheckpointError",
    "CrossEncoder",
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertModel",
    "ElectraForMaskedLM",
    "ElectraForMultipleChoice",
    "ElectraForPreTraining",
    "ElectraForQuestionAnswering",
    "ElectraForSequenceClassification",
    "ElectraForTokenClassification",
    "ElectraModel",
    "RobertaForMaskedLM",
    "RobertaForMultipleChoice",
    "RobertaForQuestionAnswering",
    "RobertaForSequenceClassification",
    "RobertaForTokenClassification",
    "RobertaModel",
    "SentenceEncoder",
    "SentenceTransformer",
    "Tokenizer",
    "TruncationWarning",
    "XLMRobertaForMaskedLM",
    "XLMRobertaForMultipleChoice",
    "XLMRobertaForQuestionAnswering",
    "XLMRobertaForSequenceClassification",
    "XLMRobertaForTokenClassification",
    "XLMRobertaModel",
    "__version__",
    "calibration_ranges",
    "encode_chunks",
    "encode_to_file",
    "load",
    "pipeline",
    "quantize_embeddings",
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
