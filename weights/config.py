"""config.json, checked, under one set of names for every family (DistilBERT's own)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from minidistil.weights import FAMILIES, CheckpointError, locate, read_config
from minidistil.weights.config_values import architectures, family_of, labels, parse
from minidistil.weights.errors import quoted
from minidistil.weights.options import HubOptions, spelled_out

if TYPE_CHECKING:
    from typing_extensions import Unpack

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")


@dataclass(frozen=True)
class Config:
    """What config.json says about a model, checked. Its tables are not to be changed.

    Attributes:
        model_type: the family, a key of `minidistil.weights.FAMILIES`.
        architectures: classes that saved the checkpoint, such as "DistilBertForMaskedLM".
        vocab_size: V, rows of the word embeddings.
        max_position_embeddings: P, rows of the position table; see `longest_sentence`.
        type_vocab_size: token types, 0 for families that have none.
        n_layers: L; layers that share their weights count each time that they are applied.
        n_heads: H, divides attention_size.
        dim: D, width of a token.
        attention_size: I, width of all heads together: D, but between the bottlenecks of MobileBERT.
        embedding_size: E, width of the embeddings before they are projected to D; D itself in most families.
        hidden_dim: F, width inside the feed-forward.
        activation: of the feed-forward (and of DistilBERT's masked-LM head), one of `minidistil.weights.ACTIVATIONS`.
        layer_norm_eps: added to the variance; always 1e-12 for DistilBERT, as in transformers.
        pad_token_id: where `positions_skip_padding`, the positions begin after it; else no effect on results.
        tie_word_embeddings: whether the masked-LM projection is the word embeddings.
        id2label: class number -> label.
        label2id: label -> class number.
        problem_type: one of PROBLEM_TYPES, or None where the number of labels decides.
        raw: the content of config.json.
        classifier_activation: False where MobileBERT's pooler is the first token's hidden state, without a product.
    """

    model_type: str
    architectures: tuple[str, ...]
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    n_layers: int
    n_heads: int
    dim: int
    attention_size: int
    embedding_size: int
    hidden_dim: int
    activation: str
    layer_norm_eps: float
    pad_token_id: int
    tie_word_embeddings: bool
    id2label: Mapping[int, str]
    label2id: Mapping[str, int]
    problem_type: str | None
    raw: Mapping[str, Any] = field(repr=False)
    classifier_activation: bool = True

    @classmethod
    @spelled_out(HubOptions)
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **options: Unpack[HubOptions]) -> Config:
        """Read the configuration of a checkpoint; of a hub id, without its weights.

        Args:
            name_or_path: a folder, `package:NAME` of an installed package that carries one, or a hub id.
            **options: `HubOptions`.

        Raises:
            CheckpointError: not found, or with every fault of config.json.
        """
        folder = locate(name_or_path, config_only=True, **options)
        return cls.from_dict(read_config(folder), where=folder)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], *, where: str | os.PathLike[str] = "configuration") -> Config:
        """Check the content of a config.json; `where` is what an error calls it.

        Raises:
            CheckpointError: listing every key that is missing, of the wrong kind, contradictory or unsupported.
        """
        faults: list[str] = []
        family = family_of(raw, faults)
        values = parse(family, raw, faults) if family else {}
        id2label = labels(raw, faults)
        label2id = {label: number for number, label in id2label.items()}
        named = raw.get("architectures")
        if named is not None and (not isinstance(named, (list, tuple)) or len(architectures(raw)) < len(named)):
            faults.append("config.json: architectures is no list of names")
        problem_type = raw.get("problem_type")
        if problem_type is not None and problem_type not in PROBLEM_TYPES:
            faults.append(
                f"config.json: problem_type = {quoted(repr(problem_type))}; known are {', '.join(PROBLEM_TYPES)}"
            )
        if faults or family is None:
            raise CheckpointError(os.fspath(where), faults)
        return cls(
            model_type=family.model_type,
            architectures=tuple(architectures(raw)),
            id2label=id2label,
            label2id=label2id,
            problem_type=problem_type,
            raw=dict(raw),
            **{key.name: values[key.name] for key in fields(cls) if key.name in values},  # the weights say the others
        )

    @property
    def positions_skip_padding(self) -> bool:
        """Whether positions count, from pad_token_id + 1, the tokens that are not padding, as in RoBERTa."""
        return FAMILIES[self.model_type].positions_skip_padding

    @property
    def longest_sentence(self) -> int:
        """Tokens that the position table has room for."""
        return self.max_position_embeddings - (self.pad_token_id + 1 if self.positions_skip_padding else 0)

    @property
    def num_labels(self) -> int:
        """Number of classes of a classification head."""
        return len(self.id2label)

    @property
    def head_dim(self) -> int:
        """d = I / H, width of one attention head."""
        return self.attention_size // self.n_heads

    @property
    def hidden_size(self) -> int:
        """D, as transformers calls it in every family."""
        return self.dim

    @property
    def num_attention_heads(self) -> int:
        """H, as transformers calls it in every family."""
        return self.n_heads

    @property
    def num_hidden_layers(self) -> int:
        """L, as transformers calls it in every family."""
        return self.n_layers

    @property
    def intermediate_size(self) -> int:
        """F, as BERT calls it."""
        return self.hidden_dim

    @property
    def hidden_act(self) -> str:
        """The activation, as BERT calls it."""
        return self.activation
