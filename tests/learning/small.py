"""Small models of every family and head that can be trained, and batches for them. A family joins by one line here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.learning import LossWeights, Targets, Task
from minidistil.weights import open_checkpoint
from minidistil.weights.config import Config
from minidistil.weights.model_weights import ModelWeights
from minidistil.weights.read_model import read_model
from tests import heads, synthetic

FAMILIES = ("DistilBert", "Bert", "Roberta", "XLMRoberta", "Camembert")
TASKS: dict[Task, str] = {
    "masked_lm": "MaskedLM",
    "sequence_classification": "SequenceClassification",
    "token_classification": "TokenClassification",
}
# Two layers, 12 wide: heads of 4, a feed-forward of 20; nothing fills a vector.
SIZES = {"vocab_size": 29, "max_position_embeddings": 17, "n_layers": 2, "n_heads": 3, "dim": 12, "hidden_dim": 20}
_KEYS = {"n_layers": "num_hidden_layers", "n_heads": "num_attention_heads", "dim": "hidden_size"}
_KEYS["hidden_dim"] = "intermediate_size"


def config(family: str, task: Task, labels: int = 3, sizes: dict | None = None, **changes: object) -> dict:
    """config.json of a small model with a head."""
    sizes = {**SIZES, **(sizes or {})}
    if family != "DistilBert":
        sizes = {_KEYS.get(name, name): size for name, size in sizes.items()}
    labelled = {} if task == "masked_lm" else {"id2label": {str(i): f"label {i}" for i in range(labels)}}
    own = heads.FAMILIES[family]
    return {**own, **sizes, "architectures": [f"{family}For{TASKS[task]}"], **labelled, **changes}


def model(folder: Path, values: dict, seed: int = 0) -> tuple[Config, ModelWeights]:
    """Write and read a small checkpoint of this config.json."""
    checkpoint = open_checkpoint(synthetic.write_checkpoint(folder, values, seed))
    return Config.from_dict(values), read_model(checkpoint)


def batch(values: dict, lengths: tuple[int, ...], seed: int = 0) -> PackedBatch:
    """Sentences of these lengths, with token types where the family has more than one."""
    generator = np.random.default_rng([seed, *lengths])
    tokens = sum(lengths)
    first = values["pad_token_id"] + 1 if values["model_type"] not in ("distilbert", "bert") else 0
    kinds = values.get("type_vocab_size", 0)
    return PackedBatch(
        input_ids=generator.integers(0, values["vocab_size"], tokens),
        position_ids=np.concatenate([np.arange(n) + first for n in lengths]),
        token_type_ids=generator.integers(0, kinds, tokens) if kinds > 1 else None,
        inputs_embeds=None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
    )


def targets(of: PackedBatch, task: Task, outputs: int, width: int, weights: LossWeights, seed: int = 0) -> Targets:
    """What the model should have said: every fourth row is without a label; a teacher where the weights ask for one.

    Args:
        of: the batch.
        task: says which rows are read: some, the first of each sentence, or all.
        outputs: N, labels or words.
        width: D.
        weights: of the losses.
        seed: of all numbers.
    """
    generator = np.random.default_rng([seed, outputs, width])
    if task == "masked_lm":
        rows = np.sort(generator.permutation(of.tokens)[: max(1, of.tokens // 3)])
    elif task == "sequence_classification":
        rows = of.offsets[:-1]
    else:
        rows = np.arange(of.tokens)
    labels = generator.integers(0, outputs, len(rows))
    labels[1::4] = -1
    logits = 2 * generator.standard_normal((len(rows), outputs), np.float32) if weights.soft else None
    hidden = generator.standard_normal((of.tokens, width), np.float32) if weights.cosine else None
    return Targets(np.asarray(rows, np.int64), labels.astype(np.int32), logits, hidden, weights)
