"""config.json, checked, under one set of names for every family (DistilBERT's own)."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypedDict, TypeVar, cast

from minidistil._keywords import ConfigKeywords
from minidistil.weights import FAMILIES, CheckpointError, locate, read_config
from minidistil.weights.config_values import architectures, family_of, labels, parse, refuse_own_code
from minidistil.weights.errors import quoted
from minidistil.weights.keys import Key, read_keys
from minidistil.weights.options import HubOptions, Option, spelled_out

if TYPE_CHECKING:
    from typing_extensions import Unpack

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
_OUTPUTS = {
    "output_hidden_states": Key(("output_hidden_states",), bool, False),
    "output_attentions": Key(("output_attentions",), bool, False),
    "return_dict": Key(("return_dict", "use_return_dict"), bool, True),
}
Loaded = TypeVar("Loaded", bound="Config")


class ConfigOptions(TypedDict, total=False):
    """What is said in the place of a checkpoint's config.json."""

    num_labels: Annotated[int | None, Option("how many labels there are; they become LABEL_0 and so on.")]
    id2label: Annotated[Mapping[int, str] | None, Option("label of each class number.")]
    label2id: Annotated[Mapping[str, int] | None, Option("class number of each label; follows from `id2label`.")]
    problem_type: Annotated[str | None, Option("what makes scores of the logits; one of `PROBLEM_TYPES`.")]
    output_hidden_states: Annotated[bool | None, Option("whether calls return them unless told otherwise.")]
    output_attentions: Annotated[bool | None, Option("whether calls return them unless told otherwise.")]
    return_dict: Annotated[bool | None, Option("whether calls return an object, and no tuple, unless told otherwise.")]
    trust_remote_code: Annotated[
        bool | None,
        Option("no code of a checkpoint is ever run; where True asks for some that is there, that is an error."),
    ]


class ReadOptions(HubOptions, ConfigOptions, ConfigKeywords, total=False):
    """Of `Config.from_pretrained`."""


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
        output_hidden_states: whether a model's call returns them unless told otherwise.
        output_attentions: the same of attention probabilities.
        return_dict: False where a call returns a tuple unless told otherwise.
        name_or_path: where it was read, or "".
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
    output_hidden_states: bool = False
    output_attentions: bool = False
    return_dict: bool = True
    name_or_path: str = field(default="", repr=False, compare=False)
    family: ClassVar[str | None] = None

    @classmethod
    @spelled_out(ReadOptions)
    def from_pretrained(
        cls: type[Loaded], name_or_path: str | os.PathLike[str], **options: Unpack[ReadOptions]
    ) -> Loaded:
        """Read the configuration of a checkpoint; of a hub id, without its weights.

        Args:
            name_or_path: a folder, `package:NAME` of an installed package that carries one, or a hub id.
            **options: `HubOptions` and `ConfigOptions`.

        Raises:
            CheckpointError: not found, or with every fault of config.json.
        """
        hub = {name: value for name, value in options.items() if name in HubOptions.__annotations__}
        folder = locate(name_or_path, config_only=True, **cast(HubOptions, hub))
        raw = replaced(read_config(folder), cast(ConfigOptions, options), folder)
        return cls.from_dict(raw, where=folder, name_or_path=os.fspath(name_or_path))

    @classmethod
    def from_dict(
        cls: type[Loaded],
        raw: Mapping[str, Any],
        *,
        where: str | os.PathLike[str] = "configuration",
        name_or_path: str = "",
    ) -> Loaded:
        """Check the content of a config.json; `where` is what an error calls it, `name_or_path` where it was read.

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
        outputs = read_keys(_OUTPUTS, raw, "config.json", faults)
        if family is not None and cls.family not in (None, family.model_type):
            faults.append(f"config.json: model_type {family.model_type} is not {cls.family}: use AutoConfig")
        if faults or family is None:
            raise CheckpointError(os.fspath(where), faults)
        kind = _CLASSES[family.model_type] if cls.family is None else cls
        made = kind(
            model_type=family.model_type,
            architectures=tuple(architectures(raw)),
            id2label=id2label,
            label2id=label2id,
            problem_type=problem_type,
            raw=dict(raw),
            name_or_path=name_or_path,
            **outputs,
            **{key.name: values[key.name] for key in fields(cls) if key.name in values},  # the weights say the others
        )
        return cast(Loaded, made)

    def to_dict(self) -> dict[str, Any]:
        """Return a config.json of the same content: what was read, with labels and outputs spelled out."""
        spelled = {"model_type": self.model_type, "architectures": list(self.architectures)}
        labelled = {"id2label": dict(self.id2label), "label2id": dict(self.label2id)}
        outputs = {name: getattr(self, name) for name in _OUTPUTS}
        return {**copy.deepcopy(dict(self.raw)), **spelled, **labelled, **outputs}

    def get(self, name: str, default: Any = None) -> Any:
        """Return what the configuration says under a name, this class's or config.json's own; else `default`."""
        return getattr(self, name, default)

    def __getattr__(self, name: str) -> Any:
        raw = self.__dict__.get("raw") or {}
        if name.startswith("_") or name not in raw:
            raise AttributeError(f"this configuration has no {name!r}, and neither has its config.json")
        return raw[name]

    @property
    def use_return_dict(self) -> bool:
        """Whether a call returns an object, as transformers asks for it."""
        return self.return_dict

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


class _OfFamily(Config):
    """A family's configuration: as it was read, or made of the keys that its config.json has."""

    def __init__(self, *values: Any, **named: Any) -> None:
        if values or "raw" in named:  # those of `Config`, which reads them off a file
            super().__init__(*values, **named)
            return
        usual = _USUAL.get(str(self.family), _BASE)
        read = Config.from_dict({**usual, **named, "model_type": self.family}, where=type(self).__name__)
        for key in fields(self):
            object.__setattr__(self, key.name, getattr(read, key.name))


_BASE = {"vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
_BASE |= {"intermediate_size": 3072, "max_position_embeddings": 512}
_USUAL: dict[str, dict[str, int]] = {
    "distilbert": {**_BASE, "num_hidden_layers": 6},
    "roberta": {**_BASE, "vocab_size": 50265},
    "albert": {
        **_BASE, "vocab_size": 30000, "embedding_size": 128, "hidden_size": 4096, "intermediate_size": 16384,
        "num_attention_heads": 64,
    },
    "electra": {
        **_BASE, "embedding_size": 128, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024,
    },
    "mobilebert": {
        **_BASE, "hidden_size": 512, "num_hidden_layers": 24, "num_attention_heads": 4, "intermediate_size": 512,
    },
}  # fmt: skip
"""What transformers 5.24 takes where nobody says otherwise, by model_type; `_BASE` for the others."""


class DistilBertConfig(_OfFamily):
    """DistilBERT's configuration."""

    family = "distilbert"


class BertConfig(_OfFamily):
    """BERT's configuration."""

    family = "bert"


class RobertaConfig(_OfFamily):
    """RoBERTa's configuration."""

    family = "roberta"


class XLMRobertaConfig(_OfFamily):
    """XLM-RoBERTa's configuration."""

    family = "xlm-roberta"


class CamembertConfig(_OfFamily):
    """CamemBERT's configuration."""

    family = "camembert"


class AlbertConfig(_OfFamily):
    """ALBERT's configuration."""

    family = "albert"


class ElectraConfig(_OfFamily):
    """ELECTRA's configuration."""

    family = "electra"


class MobileBertConfig(_OfFamily):
    """MobileBERT's configuration."""

    family = "mobilebert"


_CLASSES: dict[str, type[Config]] = {str(kind.family): kind for kind in _OfFamily.__subclasses__()}


def replaced(raw: Mapping[str, Any], options: ConfigOptions, where: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a config.json with what was said in its place.

    Args:
        raw: the content.
        options: of which None says nothing, and others than `ConfigOptions` mean nothing here.
        where: whose it is, for errors.

    Raises:
        CheckpointError: code of the checkpoint's own is asked for.
        ValueError: labels and their number contradict each other.
    """
    said: dict[str, Any] = {name: options.get(name) for name in ConfigOptions.__annotations__}
    if said.pop("trust_remote_code"):
        refuse_own_code(raw, where)
    new = {name: value for name, value in said.items() if value is not None}
    number, table = new.pop("num_labels", None), new.get("id2label")
    if number is not None and table is not None and len(table) != number:
        raise ValueError(f"num_labels is {number}, and id2label has {len(table)} labels")
    result = {**raw, **new}
    if table is not None and "label2id" not in new:
        result.pop("label2id", None)
    if number is not None and table is None and len(labels(raw, [])) != number:
        result = {name: value for name, value in result.items() if name not in ("id2label", "label2id")}
        result["num_labels"] = number
    return result
