"""Small checkpoints with heads and a real tokenizer, the texts that pipelines find hard, and their names."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

from tests.synthetic import BERT_SMALL, DISTILBERT_SMALL, ROBERTA_SMALL, write_checkpoint
from tests.synthetic_tokenizer import write_tokenizer

_FILES = ("tokenizer.json", "vocab.txt", "special_tokens_map.json", "tokenizer_config.json")
_NER = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC", "I-ORG", "B-ORG", "TIME"]
_DISTILBERT = {**DISTILBERT_SMALL, "vocab_size": 30522}
_BERT = {**BERT_SMALL, "vocab_size": 30522}
_ROBERTA = {**ROBERTA_SMALL, "vocab_size": 600}
_NLI = ["contradiction", "neutral", "entailment"]
CONFIGS = {
    "sentiment": {
        **_DISTILBERT,
        "architectures": ["DistilBertForSequenceClassification"],
        "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
        "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
    },
    "topics": {**_DISTILBERT, "architectures": ["DistilBertForSequenceClassification"], "num_labels": 12},
    "several": {
        **_BERT,
        "architectures": ["BertForSequenceClassification"],
        "num_labels": 5,
        "problem_type": "multi_label_classification",
    },
    "rating": {
        **_DISTILBERT,
        "architectures": ["DistilBertForSequenceClassification"],
        "num_labels": 1,
        "problem_type": "regression",
    },
    "single": {**_DISTILBERT, "architectures": ["DistilBertForSequenceClassification"], "num_labels": 1},
    "entailment": {
        **_DISTILBERT,
        "architectures": ["DistilBertForSequenceClassification"],
        "id2label": dict(enumerate(_NLI)),
        "label2id": {label: i for i, label in enumerate(_NLI)},
    },
    "entailment-first": {
        **_BERT,
        "architectures": ["BertForSequenceClassification"],
        "id2label": dict(enumerate(reversed(_NLI))),
        "label2id": {label: i for i, label in enumerate(reversed(_NLI))},
    },
    "entities": {
        **_DISTILBERT,
        "architectures": ["DistilBertForTokenClassification"],
        "id2label": dict(enumerate(_NER)),
        "label2id": {label: i for i, label in enumerate(_NER)},
    },
    "entities-bert": {
        **_BERT,
        "architectures": ["BertForTokenClassification"],
        "id2label": dict(enumerate(_NER)),
        "label2id": {label: i for i, label in enumerate(_NER)},
    },
    "questions": {**_DISTILBERT, "architectures": ["DistilBertForQuestionAnswering"]},
    "questions-bert": {**_BERT, "architectures": ["BertForQuestionAnswering"]},
    "entities-roberta": {
        **_ROBERTA,
        "architectures": ["RobertaForTokenClassification"],
        "id2label": dict(enumerate(_NER)),
        "label2id": {label: i for i, label in enumerate(_NER)},
    },
    "topics-roberta": {**_ROBERTA, "architectures": ["RobertaForSequenceClassification"], "num_labels": 12},
    "encoder": {**_DISTILBERT, "architectures": ["DistilBertModel"]},
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
    """Write the checkpoint of that name, with MiniLM's tokenizer (BERT-uncased's) or one of bytes."""
    path = write_checkpoint(folder / name, CONFIGS[name], seed=7)
    if CONFIGS[name]["model_type"] == "roberta":
        return _write_bytes_tokenizer(path)
    for file in _FILES:
        shutil.copy(minilm / file, path)
    return path


def write_small(folder: Path, name: str) -> Path:
    """Write the checkpoint of that name with a vocabulary of 1,200 words and its tokenizer; returns its folder."""
    config = {**CONFIGS[name], "vocab_size": 1200}
    return write_tokenizer(write_checkpoint(folder / name, config, seed=7), 1200, config["model_type"] == "bert")


def _write_bytes_tokenizer(path: Path) -> Path:
    """Write a byte-level BPE tokenizer as RoBERTa's, of 600 entries, learnt from the texts above."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([LONG, *AWKWARD.values()], trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.save(str(path / "tokenizer.json"))
    roles = {"bos": 0, "cls": 0, "eos": 2, "sep": 2, "pad": 1, "unk": 3, "mask": 4}
    config = {
        "tokenizer_class": "RobertaTokenizer",
        "model_max_length": 512,
        **{f"{role}_token": special[i] for role, i in roles.items()},
    }
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path
