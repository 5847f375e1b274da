"""Small models to train: of every family and head that can be, read from synthetic checkpoints."""

from __future__ import annotations

from pathlib import Path

from minidistil.weights import ModelWeights, open_checkpoint, read_model
from minidistil.weights.config import Config
from tests import synthetic
from tests.synthetic_tokenizer import write_tokenizer

TINY = {"vocab_size": 320, "max_position_embeddings": 64}
DISTILBERT = {**synthetic.DISTILBERT_SMALL, **TINY, "n_layers": 4, "dim": 32, "hidden_dim": 48, "n_heads": 2}
_BERT_SIZES = {"num_hidden_layers": 4, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
BERT = {**synthetic.BERT_SMALL, **TINY, **_BERT_SIZES}
ROBERTA = {**synthetic.ROBERTA_SMALL, **TINY, **_BERT_SIZES}
FAMILIES = {"DistilBert": DISTILBERT, "Bert": BERT, "Roberta": ROBERTA}
TASKS = {
    "ForMaskedLM": "masked_lm",
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
}
LABELS = ("bad", "good", "odd")
HEADS = [f"{family}{ending}" for family in FAMILIES for ending in TASKS]


def config_of(name: str) -> dict:
    """The config.json of a class: "BertForMaskedLM"."""
    family, _, ending = name.partition("For")
    values = {**FAMILIES[family], "architectures": [name]}
    if ending != "MaskedLM":
        values |= {"id2label": {str(i): label for i, label in enumerate(LABELS)}}
        values |= {"label2id": {label: i for i, label in enumerate(LABELS)}}
    return values


def write(folder: Path, name: str, seed: int = 0) -> Path:
    """Write a checkpoint of a class, with a tokenizer where it is WordPiece's; returns the folder."""
    values = config_of(name)
    synthetic.write_checkpoint(folder, values, seed)
    if values["model_type"] != "roberta":
        write_tokenizer(folder, values["vocab_size"], token_types=values["model_type"] == "bert")
    return folder


def read(folder: Path) -> tuple[Config, ModelWeights]:
    """The model of a folder."""
    opened = open_checkpoint(folder)
    return Config.from_dict(opened.config), read_model(opened)
