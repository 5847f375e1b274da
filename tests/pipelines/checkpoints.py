"""Small checkpoints with heads and a real tokenizer, the texts that pipelines find hard, and their names."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.pipelines.tokenizers import write_bytes_tokenizer, write_pieces_tokenizer
from tests.synthetic import (
    ALBERT_SMALL,
    BERT_SMALL,
    DISTILBERT_SMALL,
    ELECTRA_SMALL,
    MOBILEBERT_SMALL,
    ROBERTA_SMALL,
    write_checkpoint,
)
from tests.synthetic_tokenizer import write_tokenizer

_FILES = ("tokenizer.json", "vocab.txt", "special_tokens_map.json", "tokenizer_config.json")
_NER = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC", "I-ORG", "B-ORG", "TIME"]
_NLI = ["contradiction", "neutral", "entailment"]
_PIECES = ("albert", "xlm-roberta", "camembert")  # families with SentencePiece's tokenizers
_SIZE = 600  # of the vocabularies that are learnt here
_BASES = {
    "DistilBert": {**DISTILBERT_SMALL, "vocab_size": 30522},
    "Bert": {**BERT_SMALL, "vocab_size": 30522},
    "Electra": {**ELECTRA_SMALL, "vocab_size": 30522},
    "MobileBert": {**MOBILEBERT_SMALL, "vocab_size": 30522},
    "Roberta": {**ROBERTA_SMALL, "vocab_size": _SIZE},
    "XLMRoberta": {**ROBERTA_SMALL, "vocab_size": _SIZE, "model_type": "xlm-roberta"},
    "Camembert": {**ROBERTA_SMALL, "vocab_size": _SIZE, "model_type": "camembert"},
    "Albert": {**ALBERT_SMALL, "vocab_size": _SIZE},
}


def _config(family: str, task: str, labels: Sequence[str] = (), **others: Any) -> dict[str, Any]:
    numbered = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    return {**_BASES[family], "architectures": [f"{family}{task}"], **(numbered if labels else {}), **others}


_OTHERS = ("Roberta", "XLMRoberta", "Camembert", "Albert", "Electra", "MobileBert")
CONFIGS = {
    "sentiment": _config("DistilBert", "ForSequenceClassification", ["NEGATIVE", "POSITIVE"]),
    "topics": _config("DistilBert", "ForSequenceClassification", num_labels=12),
    "several": _config("Bert", "ForSequenceClassification", num_labels=5, problem_type="multi_label_classification"),
    "rating": _config("DistilBert", "ForSequenceClassification", num_labels=1, problem_type="regression"),
    "single": _config("DistilBert", "ForSequenceClassification", num_labels=1),
    "entailment": _config("DistilBert", "ForSequenceClassification", _NLI),
    "entailment-first": _config("Bert", "ForSequenceClassification", _NLI[::-1]),
    "entities": _config("DistilBert", "ForTokenClassification", _NER),
    "entities-bert": _config("Bert", "ForTokenClassification", _NER),
    "questions": _config("DistilBert", "ForQuestionAnswering"),
    "questions-bert": _config("Bert", "ForQuestionAnswering"),
    "encoder": _config("DistilBert", "Model"),
    **{f"entities-{family.lower()}": _config(family, "ForTokenClassification", _NER) for family in _OTHERS},
    **{f"topics-{family.lower()}": _config(family, "ForSequenceClassification", num_labels=12) for family in _OTHERS},
    **{f"entailment-{family.lower()}": _config(family, "ForSequenceClassification", _NLI) for family in _OTHERS},
    **{f"questions-{family.lower()}": _config(family, "ForQuestionAnswering") for family in _OTHERS},
    **{f"words-{family.lower()}": _config(family, "ForMaskedLM") for family in _OTHERS},
    **{f"encoder-{family.lower()}": _config(family, "Model") for family in _OTHERS},
}
"""config.json by name; the weights are those of seed 7."""

LONG = " ".join(
    f"In {1900 + i}, Anna Müller of Berlin wrote letter number {i} to the Queen of England about unbelievability."
    for i in range(140)
)[:10_000]
AWKWARD = {
    "plain": "My name is Sarah Connor and I live in Los Angeles, California.",
    "empty": "",
    "space": "  \n\t ",
    "emoji": "I ❤️ 🍕! 👨‍👩‍👧‍👦 visited 🏳️‍🌈 Paris 🇫🇷 with Zoë 😂😂",
    "surrogates": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝄞 music by 𠮷野家 and Bob 🎻 in Rome",
    "accents": unicodedata.normalize("NFD", "Zoë Müller naïvely ordered crème brûlée à Angoulême; Łódź, Ångström"),
    "composed": "Zoë Müller naïvely ordered crème brûlée à Angoulême; Łódź, Ångström",
    "cjk": "北京市是中华人民共和国的首都。東京タワーは港区にある。서울특별시",
    "rtl": "שלום עולם, دمشق هي عاصمة سوريا and Damascus 123",
    "controls": "John\x00Smith\x07 went\x1b[31m to\u200bNew\ufeffYork\x7f.\r\nThe end\u2028now",
    "word": "Anna met " + "pneumono" * 37 + "abcd in Rome",
    "unknown": "\U0001f9ff \U0001f9ec\U0001f9ed ☃☃ \U0001f9ff",
    "special": "[CLS] Anna [SEP] likes [MASK] in [PAD] Rome [UNK] ##ing",
    "punctuation": "don't!!! can't... U.S.A. (e.g., O'Neil's) -- $3.50/kg @Bob #ner http://a.b/c?d=e&f",
    "repeated": "Anna Anna anna ANNA Rome rome in Rome",
}
"""Texts by name, all of which fit the model."""

WORDS = "the city of light and wine , paris is great ! people play music unbelievably x".split()
TOO_LONG = " ".join(WORDS[i * i % 14] for i in range(1500))
"""Words that the small vocabulary has, and a text of them that no model takes whole."""


def write(folder: Path, name: str, minilm: Path) -> Path:
    """Write the checkpoint of that name, with MiniLM's tokenizer (BERT-uncased's) or one of its family's kind."""
    config = CONFIGS[name]
    path = write_checkpoint(folder / name, config, seed=7)
    texts = [LONG, *AWKWARD.values()]
    if config["model_type"] in _PIECES:
        return write_pieces_tokenizer(path, config["model_type"], texts, _SIZE)
    if config["model_type"] == "roberta":
        return write_bytes_tokenizer(path, texts, _SIZE)
    for file in _FILES:
        shutil.copy(minilm / file, path)
    return path


def write_small(folder: Path, name: str) -> Path:
    """Write the checkpoint of that name with a vocabulary of 1,200 words and its tokenizer; returns its folder."""
    config = {**CONFIGS[name], "vocab_size": 1200}
    return write_tokenizer(write_checkpoint(folder / name, config, seed=7), 1200, config["model_type"] != "distilbert")
