"""Small checkpoints of every head of every family, and inputs for them. A family joins by one line here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.synthetic import (
    ALBERT_SMALL,
    BERT_SMALL,
    DISTILBERT_SMALL,
    ELECTRA_SMALL,
    MOBILEBERT_SMALL,
    ROBERTA_SMALL,
    write_checkpoint,
)

FAMILIES = {
    "DistilBert": DISTILBERT_SMALL,
    "Bert": BERT_SMALL,
    "Roberta": ROBERTA_SMALL,
    "XLMRoberta": {**ROBERTA_SMALL, "model_type": "xlm-roberta"},
    "Camembert": {**ROBERTA_SMALL, "model_type": "camembert"},
    "Albert": {**ALBERT_SMALL, "num_hidden_layers": 2},
    "Electra": ELECTRA_SMALL,
    "MobileBert": MOBILEBERT_SMALL,
}
TASKS = ("SequenceClassification", "QuestionAnswering", "TokenClassification", "MultipleChoice")
OF_SENTENCES = ("SequenceClassification", "MultipleChoice")
CHOICES = 2
LABELS = 16

# The modules of the two products of a class, or of a family's heads on sentences; and what stands between them.
TWO_PRODUCTS = {
    "DistilBert": ("pre_classifier", "classifier", "relu"),
    "Bert": ("bert.pooler.dense", "classifier", "tanh"),
    **{
        f"{family}For{task}": products
        for family in ("Roberta", "XLMRoberta", "Camembert")
        for task, products in (
            ("SequenceClassification", ("classifier.dense", "classifier.out_proj", "tanh")),
            ("MultipleChoice", ("roberta.pooler.dense", "classifier", "tanh")),
        )
    },
    "Albert": ("albert.pooler", "classifier", "tanh"),
    "MobileBert": ("mobilebert.pooler.dense", "classifier", "tanh"),
    "ElectraForSequenceClassification": ("classifier.dense", "classifier.out_proj", "gelu"),
    "ElectraForMultipleChoice": ("sequence_summary.summary", "classifier", "gelu"),
    "ElectraForPreTraining": ("discriminator_predictions.dense", "discriminator_predictions.dense_prediction", "gelu"),
}


@dataclass(frozen=True)
class Head:
    """A head of a family.

    Attributes:
        family: how transformers' classes of the family begin.
        task: what comes after "For".
        labels: of a classifier.
        changes: what config.json has otherwise than the family's small one.
    """

    family: str
    task: str
    labels: int = LABELS
    changes: tuple[tuple[str, object], ...] = ()

    @property
    def name(self) -> str:
        """The class of transformers and of minidistil."""
        return f"{self.family}For{self.task}"

    @property
    def key(self) -> str:
        """Names the checkpoint among all of them."""
        named = [str(self.labels)] * (self.labels != LABELS) + [f"{key}={value}" for key, value in self.changes]
        return "-".join([self.name, *named])

    @property
    def field(self) -> str:
        """The head in `ModelWeights`."""
        if self.task == "PreTraining":
            return "discriminator"
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in self.task)[1:]

    @property
    def products(self) -> tuple[str, str, str] | None:
        """Of a head of two products: the tensors' names of both, and the activation between them."""
        own = dict(self.changes)
        found = TWO_PRODUCTS.get(self.name, TWO_PRODUCTS.get(self.family))
        one = False in (own.get("classifier_activation"), own.get("summary_use_proj"))
        if found is None or one or self.task not in (*OF_SENTENCES, "PreTraining"):
            return None
        between = own.get("summary_activation", found[2])
        return (*found[:2], str(between or "linear"))

    @property
    def output(self) -> str:
        """The tensors' name of the last product."""
        if self.products:
            return self.products[1]
        return "qa_outputs" if self.task == "QuestionAnswering" else "classifier"

    def config(self, **changes: object) -> dict:
        """config.json of a small checkpoint."""
        labels = (
            {"id2label": {str(i): f"label {i}" for i in range(self.labels)}} if "Classification" in self.task else {}
        )
        own = {**FAMILIES[self.family], "architectures": [self.name], **labels, **dict(self.changes)}
        return {**own, **changes}

    def write(self, folder: Path, **changes: object) -> Path:
        """Write a small checkpoint."""
        return write_checkpoint(folder, self.config(**changes), seed=2)

    def inputs(self, sentences: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Full sentences [B, S] (choices [B / CHOICES, CHOICES, S]) with token types where the family has them."""
        generator = np.random.default_rng([seed, sentences, length])
        config = self.config()
        shape = (sentences, length)
        if self.task == "MultipleChoice":
            shape = (sentences // CHOICES, CHOICES, length)
        inputs = {
            "input_ids": generator.integers(3, config["vocab_size"], shape),
            "attention_mask": np.ones(shape, int),
        }
        if config.get("type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = np.sort(generator.integers(0, 2, shape))
        return inputs


HEADS = [Head(family, task) for family in FAMILIES for task in TASKS] + [Head("Electra", "PreTraining")]
FEW_LABELS = [
    Head("DistilBert", task, labels)
    for task in ("SequenceClassification", "TokenClassification")
    for labels in (1, 2, 3, 9)
] + [Head("Bert", "SequenceClassification", 1)]
"""Heads whose last product has few columns, which PyTorch sums in an order of their own."""

ONE_PRODUCT = [Head("MobileBert", task, changes=(("classifier_activation", False),)) for task in OF_SENTENCES]
"""Heads on sentences whose pooler is the first token's hidden state."""

SUMMARIES = [
    Head("Electra", "MultipleChoice", changes=changes)
    for changes in (
        (("summary_activation", "tanh"),),
        (("summary_activation", ""),),
        (("summary_activation", "leaky_relu"), ("summary_type", "first")),
        (("summary_use_proj", False),),
        (("summary_use_proj", False), ("summary_activation", "")),
    )
]
"""ELECTRA's choices, whose products and activation its configuration says."""

_BASE = (("dim", 768), ("n_heads", 12), ("hidden_dim", 3072), ("n_layers", 1))
_MINILM = (("hidden_size", 384), ("num_attention_heads", 12), ("intermediate_size", 1536))
REAL_WIDTHS = [
    Head("DistilBert", "SequenceClassification", 2, _BASE),
    Head("DistilBert", "QuestionAnswering", changes=_BASE),
    Head("DistilBert", "TokenClassification", 9, _BASE),
    Head("Bert", "SequenceClassification", 3, _MINILM),
    Head("Bert", "SequenceClassification", 1, _MINILM),
    Head("Roberta", "TokenClassification", 5, (("hidden_act", "relu"), ("num_attention_heads", 2))),
]
"""Widths of checkpoints that people use; too much for the quick tests."""
