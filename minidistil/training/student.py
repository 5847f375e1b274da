"""What training starts from: a student of a teacher's layers, a new head, or a model of random numbers.

Random numbers are uniform, made of the raw output of Philox, which no version of NumPy changes: the same seed makes
the same bits everywhere. Each parameter has a stream of its own, so that none depends on which others there are.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minidistil.training.writing import WRITTEN
from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.config import Config
from minidistil.weights.config_values import parse
from minidistil.weights.errors import listing
from minidistil.weights.families import FAMILIES
from minidistil.weights.model_weights import (
    ClassifierWeights,
    EmbeddingWeights,
    EncoderWeights,
    LayerWeights,
    Linear,
    MaskedLMWeights,
    ModelWeights,
    Norm,
    whole,
)
from minidistil.weights.precision import require_float32
from minidistil.weights.writing import configuration

if TYPE_CHECKING:
    from minidistil.backends.learning import Task
    from minidistil.tokenization import Tokenizer

TASKS: tuple[Task, ...] = ("masked_lm", "sequence_classification", "token_classification")
SPREAD = 0.02
"""Standard deviation of new weights, BERT's `initializer_range`."""


_OF_LABELS = ("id2label", "label2id", "num_labels", "problem_type")


class NewModel(NamedTuple):
    """A model: its configuration, which names its heads, and its weights."""

    config: Config
    weights: ModelWeights


def make_student(teacher: str | os.PathLike[str] | NewModel, layers: int | Sequence[int] | None = None) -> NewModel:
    """Make a student of a teacher's embeddings and some of its layers.

    Of BERT and DistilBERT it is a DistilBERT: BERT's first token type, which all sentences have, is added to the
    positions. Of RoBERTa and those like it, it is of the teacher's own family. It has those of the teacher's heads that
    are the same in its family: that for masked words, and of a teacher of its family those for labels; `new_head` gives
    it another.

    Args:
        teacher: a checkpoint as `minidistil.load` takes it, or one that was read.
        layers: numbers of the teacher's layers; or how many, evenly spread from the first on; or None for every
            second one: 0, 2, 4, ...

    Raises:
        CheckpointError: there is no such checkpoint, or it is faulty.
        ValueError: another family, weights that are not float32, or layers that the teacher does not have.
    """
    config, weights = teacher if isinstance(teacher, tuple) else _read(teacher)
    require_float32(weights, config.name_or_path or "this teacher", "a student made of its layers")
    embeddings = weights.encoder.embeddings
    if config.model_type not in WRITTEN or not isinstance(embeddings, EmbeddingWeights):
        raise ValueError(f"students are made of {', '.join(WRITTEN)}; this teacher is of {config.model_type}")
    chosen = _chosen(layers, len(weights.encoder.layers))
    raw = _distilbert(config) if config.model_type in ("bert", "distilbert") else dict(config.raw)
    raw["n_layers" if raw["model_type"] == "distilbert" else "num_hidden_layers"] = len(chosen)
    student = Config.from_dict(raw)
    encoder = EncoderWeights(_folded(embeddings, student), tuple(weights.encoder.layers[i] for i in chosen))
    heads = {task: _taken(config, weights, student, task) for task in TASKS}
    return _put_together(student, _with_eps(ModelWeights(encoder, **heads), student.layer_norm_eps))


def new_head(config: Config, weights: ModelWeights, task: Task, labels: Sequence[str] = (), seed: int = 0) -> NewModel:
    """Give a model a new head, in the place of all that it has.

    Args:
        config: the model's.
        weights: the model's, whose encoder is kept as it is.
        task: which head.
        labels: of a classifier, in order; none for masked words.
        seed: of the head's random numbers.

    Raises:
        ValueError: labels that are not one or more, each once.
    """
    raw = {name: value for name, value in config.raw.items() if name not in _OF_LABELS}
    if task != "masked_lm":
        if len(set(labels)) != len(labels) or not labels:
            raise ValueError(f"labels must be one or more, each once; got {listing(labels) or 'none'}")
        raw["id2label"] = {str(i): label for i, label in enumerate(labels)}
        raw["label2id"] = {label: i for i, label in enumerate(labels)}
    config = Config.from_dict(raw)
    D, eps = config.dim, config.layer_norm_eps

    def linear(module: str, n: int) -> Linear:
        return Linear(random_numbers((n, D), seed, f"{task}.{module}.weight"), np.zeros(n, np.float32))

    head: MaskedLMWeights | ClassifierWeights | Linear
    if task == "masked_lm":
        embeddings = weights.encoder.embeddings
        projector = linear("vocab_projector", config.vocab_size)
        if config.tie_word_embeddings:
            projector = Linear(whole(embeddings.word_embeddings), projector.bias)
        head = MaskedLMWeights(linear("vocab_transform", D), _norm(D, eps), projector, _activation(config, task))
    elif task == "sequence_classification":
        head = ClassifierWeights(linear("dense", D), _activation(config, task), linear("output", len(labels)))
    else:
        head = linear("output", len(labels))
    return _put_together(config, ModelWeights(weights.encoder, **{task: head}))  # type: ignore[arg-type]


def new_model(config: Config | Mapping[str, Any], task: Task, labels: Sequence[str] = (), seed: int = 0) -> NewModel:
    """Make a model of random numbers, to be trained from scratch; biases are 0, gains of LayerNorms 1.

    Args:
        config: of a family that checkpoints are written of.
        task: the head that it gets.
        labels: of a classifier, in order; none for masked words.
        seed: of the random numbers.

    Raises:
        CheckpointError: a faulty configuration.
        ValueError: another family, or labels that are not one or more, each once.
    """
    config = config if isinstance(config, Config) else Config.from_dict(config)
    if config.model_type not in WRITTEN:
        raise ValueError(f"models are made of {', '.join(WRITTEN)}, not of {config.model_type}")
    D, F, eps, types = config.dim, config.hidden_dim, config.layer_norm_eps, config.type_vocab_size

    def linear(name: str, n: int, k: int) -> Linear:
        return Linear(random_numbers((n, k), seed, f"{name}.weight"), np.zeros(n, np.float32))

    def layer(at: str) -> LayerWeights:
        q, k, v, out = (linear(f"{at}.{name}", D, D) for name in ("q_lin", "k_lin", "v_lin", "out_lin"))
        lin1, lin2 = linear(f"{at}.lin1", F, D), linear(f"{at}.lin2", D, F)
        return LayerWeights(q, k, v, out, _norm(D, eps), lin1, lin2, _norm(D, eps))

    def table(name: str, rows: int) -> np.ndarray:
        return random_numbers((rows, D), seed, f"embeddings.{name}.weight")

    embeddings = EmbeddingWeights(
        table("word_embeddings", config.vocab_size),
        table("position_embeddings", config.max_position_embeddings),
        table("token_type_embeddings", types) if types else None,
        _norm(D, eps),
    )
    encoder = EncoderWeights(embeddings, tuple(layer(f"layers.{i}") for i in range(config.n_layers)))
    return new_head(config, ModelWeights(encoder), task, labels, seed)


def random_numbers(shape: tuple[int, ...], seed: int, name: str, spread: float = SPREAD) -> np.ndarray:
    """Return float32 numbers, uniform around 0 with the standard deviation `spread`.

    Args:
        shape: of the array.
        seed: of all streams.
        name: of the stream.
        spread: their standard deviation.
    """
    generator = np.random.Philox(key=np.array([seed % 2**64, zlib.crc32(name.encode())], np.uint64))
    words = generator.random_raw(int(np.prod(shape)))
    half = np.float32(spread * 3**0.5)
    # 24 bits, the middle of each of 2^24 steps, all exact in float32; then one rounding.
    steps = (words >> np.uint64(40)).astype(np.float32) - np.float32(2**23 - 0.5)
    return (steps * (half * np.float32(2**-23))).reshape(shape)


def refuse_another_vocabulary(teacher: Tokenizer, student: Tokenizer) -> None:
    """Refuse a teacher that reads other tokens than the student: their numbers mean nothing to each other.

    Raises:
        ValueError: says how they differ.
    """
    theirs, own = teacher.get_vocab(), student.get_vocab()
    if theirs == own:
        return
    if len(theirs) != len(own):
        raise ValueError(f"teacher and student read other tokens: {len(theirs)} and {len(own)} of them")
    wanted, by_id = ({i: token for token, i in table.items()} for table in (theirs, own))
    other = [f"{i} ({token!r}, {by_id.get(i)!r})" for i, token in sorted(wanted.items()) if by_id.get(i) != token]
    raise ValueError(f"teacher and student read other tokens: {len(other)} differ, such as {listing(other[:3])}")


def _chosen(layers: int | Sequence[int] | None, there: int) -> list[int]:
    if layers is None:
        return list(range(0, there, 2))
    if isinstance(layers, int):
        if not 0 < layers <= there:
            raise ValueError(f"the teacher has {there} layers; a student of {layers} cannot be made of them")
        return [i * there // layers for i in range(layers)]
    chosen = [int(i) for i in layers]
    missing = sorted({i for i in chosen if not 0 <= i < there})
    if missing or not chosen:
        asked = listing(map(str, missing)) or "none"
        raise ValueError(f"the teacher has layers 0 to {there - 1}; asked for {asked}")
    return chosen


def _distilbert(config: Config) -> dict[str, Any]:
    """The config.json of a DistilBERT with the sizes of another model."""
    return {
        "model_type": "distilbert",
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "n_layers": config.n_layers,
        "n_heads": config.n_heads,
        "dim": config.dim,
        "hidden_dim": config.hidden_dim,
        "activation": config.activation,
        "pad_token_id": max(config.pad_token_id, 0),
        "tie_word_embeddings": config.tie_word_embeddings,
        "sinusoidal_pos_embds": False,
        "initializer_range": SPREAD,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "qa_dropout": 0.1,
        "id2label": dict(config.id2label),
        "label2id": dict(config.label2id),
    }


def _folded(embeddings: EmbeddingWeights, student: Config) -> EmbeddingWeights:
    types = embeddings.token_type_embeddings
    if student.type_vocab_size or types is None:
        return embeddings
    return replace(
        embeddings, position_embeddings=embeddings.position_embeddings + types[0], token_type_embeddings=None
    )


def _with_eps(part: Any, eps: float) -> Any:
    """Weights whose LayerNorms add another epsilon: DistilBERT's is always 1e-12."""
    if isinstance(part, Norm):
        return replace(part, eps=eps)
    if isinstance(part, tuple):
        return tuple(_with_eps(one, eps) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{field.name: _with_eps(getattr(part, field.name), eps) for field in fields(part)})
    return part


def _taken(config: Config, weights: ModelWeights, student: Config, task: Task) -> Any:
    """The teacher's head, where the student's family has the same."""
    head = getattr(weights, task)
    if head is None or config.model_type == student.model_type:
        return head
    same = task == "masked_lm" and _activation(config, task) == _activation(student, task)
    return head if same else None


def _activation(config: Config, task: Task) -> str:
    """What stands between the two products of a head; "linear" where it has one."""
    family = FAMILIES[config.model_type]
    name = family.head_activations.get(task, "linear")
    return str(parse(family, config.raw, [])[name]) if name in family.keys else name


def _norm(width: int, eps: float) -> Norm:
    return Norm(np.ones(width, np.float32), np.zeros(width, np.float32), eps)


def _put_together(config: Config, weights: ModelWeights) -> NewModel:
    return NewModel(Config.from_dict(configuration(config.raw, weights)), weights)


def _read(teacher: str | os.PathLike[str]) -> NewModel:
    opened = open_checkpoint(teacher)
    config = Config.from_dict(opened.config, where=opened.folder, name_or_path=opened.source.name)
    return NewModel(config, read_model(opened))
