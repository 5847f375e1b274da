"""Everything that a run depends on beside its data and the model that it starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_args

from minidistil._options import check_number, is_one_of
from minidistil.backends.learning import Chances, Task
from minidistil.weights.config import Config

_FREE = ("checkpoint_seconds",)
"""What no byte of the result follows from."""


@dataclass(frozen=True)
class Settings:
    """Of a run; the same settings, data and start give the same bytes.

    The defaults are fine-tuning's, as Devlin et al. 2018 and transformers' examples have them. A step is an update of
    the weights: it reads a batch, in as many micro-batches as memory asks for.

    Attributes:
        task: what is learned: "masked_lm", "sequence_classification" or "token_classification".
        epochs: how often the data are read.
        learning_rate: the highest, after warm-up.
        warmup: the part of all steps in which the learning rate rises from zero; then it falls to zero, linearly.
        decay: AdamW's, of weights, but not of biases and LayerNorms.
        beta1, beta2, eps: AdamW's.
        largest_norm: gradients of a larger norm are scaled down to it; None for no clipping.
        batch_sentences: of a step.
        batch_tokens: of a step, at most, in the place of a number of sentences; None where that counts.
        micro_tokens: most tokens whose gradients are computed at once, but for one sentence that is longer. Sums begin
            anew in each micro-batch, so the last bits depend on it.
        hidden_dropout, attention_dropout, head_dropout: chances; None for those of the model's configuration.
        hard: weight of the cross entropy with the labels, or the masked words.
        soft: weight of KL(teacher || student) at `temperature`, times temperature^2.
        temperature: of the soft targets.
        cosine: weight of 1 - cos(hidden state, teacher's), the last ones, mean over tokens.
        seed: of the order of sentences, masks, dropout, and a new head.
        max_length: in tokens, special ones included; longer texts are cut. None for what the model takes.
        pieces: whether what is cut off longer texts becomes examples of its own (masked_lm only).
        mask_chance: the part of a sentence's tokens that are to be guessed; of these 80 % are masked, 10 % become
            another word, 10 % stay.
        evaluate_every: steps between evaluations; None for once an epoch.
        checkpoint_seconds: between checkpoints.

    Raises:
        TypeError, ValueError: a setting of an impossible value.
    """

    task: Task
    epochs: int = 3
    learning_rate: float = 5e-5
    warmup: float = 0.1
    decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-6
    largest_norm: float | None = 1.0
    batch_sentences: int = 32
    batch_tokens: int | None = None
    micro_tokens: int = 4096
    hidden_dropout: float | None = None
    attention_dropout: float | None = None
    head_dropout: float | None = None
    hard: float = 1.0
    soft: float = 0.0
    temperature: float = 2.0
    cosine: float = 0.0
    seed: int = 0
    max_length: int | None = None
    pieces: bool = False
    mask_chance: float = 0.15
    evaluate_every: int | None = None
    checkpoint_seconds: float = 180.0

    def __post_init__(self) -> None:
        if not is_one_of(self.task, get_args(Task)):
            raise ValueError(f"task must be one of {', '.join(get_args(Task))}, got {self.task!r}")
        for name in ("epochs", "batch_sentences", "micro_tokens", "batch_tokens", "max_length", "evaluate_every"):
            value = getattr(self, name)
            if value is None and name in ("epochs", "batch_sentences", "micro_tokens"):
                raise TypeError(f"{name} must be a whole number, got None")
            object.__setattr__(self, name, check_number(name, value))
        object.__setattr__(self, "seed", _seed(self.seed))
        object.__setattr__(self, "pieces", bool(self.pieces))
        for name, (least, most, open_end) in _RANGES.items():
            if getattr(self, name) is None and name.endswith("_dropout"):
                continue
            object.__setattr__(self, name, _number(name, getattr(self, name), least, most, open_end))
        if self.largest_norm is not None:
            object.__setattr__(self, "largest_norm", _number("largest_norm", self.largest_norm, 0.0, math.inf, True))
            if not self.largest_norm:
                raise ValueError("largest_norm must be positive; None clips nothing")
        if not self.temperature:
            raise ValueError("temperature must be positive")
        if not (self.hard or self.soft or self.cosine):
            raise ValueError("hard, soft and cosine are all 0: there is nothing to learn")
        if self.pieces and self.task != "masked_lm":
            raise ValueError(
                f"pieces=True is for masked_lm: a piece of a text need not have the text's label ({self.task})"
            )

    @property
    def chances(self) -> Chances:
        """Of dropout, and the seed of its masks; those that are None are 0."""
        return Chances(self.hidden_dropout or 0.0, self.attention_dropout or 0.0, self.head_dropout or 0.0, self.seed)

    def resolved(self, config: Config) -> Settings:
        """Return the settings with the model's chances of dropout in the place of None."""
        names = {f"{name}_dropout": keys for name, keys in _DROPOUT_KEYS[config.model_type == "distilbert"].items()}
        chances: dict[str, Any] = {
            name: next((raw for key in keys if (raw := config.raw.get(key)) is not None), 0.1)
            for name, keys in names.items()
            if getattr(self, name) is None
        }
        return replace(self, **chances)

    @property
    def needs_teacher(self) -> bool:
        """Whether a term of the loss asks for one."""
        return bool(self.soft or self.cosine)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON has them; `Settings(**d)` makes them again."""
        return asdict(self)

    def circumstances(self) -> dict[str, Any]:
        """Return those that the bytes of the result follow from: what a run that goes on must have as before."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE}

    @classmethod
    def of(cls, task: Task, given: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Settings:
        """Make settings of keywords, which stand before the defaults of a kind of run; those of None say nothing.

        Raises:
            TypeError: an unknown keyword; says which there are.
            ValueError: an impossible value.
        """
        known = [field.name for field in fields(cls) if field.name != "task"]
        unknown = [name for name in given if name not in known]
        if unknown:
            raise TypeError(f"there is no setting {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
        optional = ("batch_tokens", "evaluate_every", "max_length", "largest_norm")
        said = {name: value for name, value in given.items() if value is not None or name in optional}
        return cls(task, **{**(defaults or {}), **said})


# Where a configuration says them, the first that is there; 0.1 where none is, as in transformers.
_DROPOUT_KEYS: dict[bool, dict[str, tuple[str, ...]]] = {
    True: {"hidden": ("dropout",), "attention": ("attention_dropout",), "head": ("seq_classif_dropout",)},
    False: {
        "hidden": ("hidden_dropout_prob",),
        "attention": ("attention_probs_dropout_prob",),
        "head": ("classifier_dropout", "hidden_dropout_prob"),
    },
}
_RANGES: dict[str, tuple[float, float, bool]] = {  # least, most, whether the most itself is too much
    "learning_rate": (0.0, math.inf, True),
    "warmup": (0.0, 1.0, False),
    "decay": (0.0, math.inf, True),
    "beta1": (0.0, 1.0, True),
    "beta2": (0.0, 1.0, True),
    "eps": (0.0, math.inf, True),
    "hidden_dropout": (0.0, 1.0, True),
    "attention_dropout": (0.0, 1.0, True),
    "head_dropout": (0.0, 1.0, True),
    "hard": (0.0, math.inf, True),
    "soft": (0.0, math.inf, True),
    "cosine": (0.0, math.inf, True),
    "temperature": (0.0, math.inf, True),
    "mask_chance": (0.0, 1.0, False),
    "checkpoint_seconds": (0.0, math.inf, True),
}


def _number(name: str, value: Any, least: float, most: float, open_end: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not least <= value <= most or (open_end and value == most):
        end = f"{least:g} or more" if most == math.inf else f"from {least:g} to {'below ' if open_end else ''}{most:g}"
        raise ValueError(f"{name} must be {end}, got {value!r}")
    return float(value)


def _seed(value: Any) -> int:
    seed = value if isinstance(value, int) and not isinstance(value, bool) else None
    if seed is None:
        raise TypeError(f"seed must be a whole number, got {type(value).__name__}")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must be from 0 to below 2^64, got {seed}")
    return seed
