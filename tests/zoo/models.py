"""Small models with tokenizers of the zoo, and what their pipelines are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.heads import FAMILIES
from tests.synthetic import write_checkpoint
from tests.zoo.folders import ROWS
from tests.zoo.row import write

_BY_TYPE = {config["model_type"]: name for name, config in FAMILIES.items()}
FILL_MASK = (
    "bert-base-uncased", "bert-base-cased", "distilbert-base-uncased", "mobilebert-uncased",
    "electra-small-discriminator", "roberta-base", "roberta, nothing said", "vocab.json and merges.txt",
    "xlm-roberta-base", "sentencepiece.bpe.model", "camembert-base", "sentencepiece.bpe.model, camembert",
    "albert-base-v2", "spiece.model", "vocab.txt, other tokens", "XLMRobertaTokenizer for BERT",
)  # fmt: skip
PAIRS = (
    "bert-base-uncased", "only ids", "DistilBertTokenizer for BERT", "XLMRobertaTokenizer for BERT",
    "PreTrainedTokenizerFast", "BertTokenizer for DistilBERT", "roberta-base", "electra-small-discriminator",
)  # fmt: skip
"""Models with two token types, but DistilBERT's and RoBERTa's; whether a pair has them is for the tokenizer to say."""

TEXTS = ("Paris is the {mask} of France.", "{mask} the café", "new {mask}")
PAIR = {"text": "Paris is the city", "text_pair": "the café of France, new"}


def write_model(folder: Path, name: str, ending: str) -> Path:
    """Write a model whose class ends so, with the tokenizer of a row; returns the folder."""
    row = ROWS[name]
    family = _BY_TYPE[row.model_type or "bert"]
    write(folder, row)
    changes = {"architectures": [f"{family}{ending}"], "vocab_size": 400}
    return write_checkpoint(folder, {**FAMILIES[family], **row.config, **changes}, seed=11)


def ask(pipeline: Any, folder: Path, ending: str) -> Any:
    """What the pipeline of a library, `transformers.pipeline` or ours, answers."""
    if ending == "ForMaskedLM":
        fill = pipeline("fill-mask", model=str(folder))
        texts = [text.format(mask=fill.tokenizer.mask_token) for text in TEXTS]
        return [[[r["token"], r["token_str"], r["sequence"], round(r["score"], 7)] for r in fill(t)] for t in texts]
    classify = pipeline("text-classification", model=str(folder), top_k=None)
    return sorted([answer["label"], round(answer["score"], 6)] for answer in classify(PAIR))
