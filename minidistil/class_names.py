"""What transformers calls the classes of each family: a beginning for the family, an ending for the task.

Imports nothing, as `import minidistil` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator

BEGINNINGS = {
    "distilbert": "DistilBert",
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "camembert": "Camembert",
    "albert": "Albert",
    "electra": "Electra",
    "mobilebert": "MobileBert",
}
"""By model_type."""

ENDINGS = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForQuestionAnswering",
    "ForTokenClassification",
    "ForMultipleChoice",
)
"""Of the classes that every family has."""

FURTHER_ENDINGS = {"electra": ("ForPreTraining",)}
"""Of those that one family has, by model_type."""


def class_names() -> Iterator[tuple[str, str, str]]:
    """Yield model_type, ending and name of every class: "bert", "ForMaskedLM", "BertForMaskedLM"."""
    for model_type, beginning in BEGINNINGS.items():
        for ending in (*ENDINGS, *FURTHER_ENDINGS.get(model_type, ())):
            yield model_type, ending, f"{beginning}{ending}"


def config_names() -> list[str]:
    """Return the name of every family's configuration."""
    return [f"{beginning}Config" for beginning in BEGINNINGS.values()]


def tokenizer_names() -> list[str]:
    """Return every name of a family's tokenizer."""
    return [f"{beginning}Tokenizer{fast}" for beginning in BEGINNINGS.values() for fast in ("", "Fast")]
