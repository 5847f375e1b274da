"""What differs between the model families' checkpoints, as tables: keys of config.json, and names of tensors.

Canonical names are those of `model_weights` (DistilBERT's own). A family is supported by adding a `Family` here; code
elsewhere asks the tables and never the model_type. Source of the names and defaults: transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from minidistil.weights import _mobile_bert
from minidistil.weights.keys import Key
from minidistil.weights.model_weights import PARAMETERS, LayerWeights

ACTIVATIONS = (
    "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate", "gelu_python_tanh", "quick_gelu", "gelu_10",
    "relu", "relu2", "relu6", "leaky_relu", "hardswish", "silu", "swish", "tanh", "mish", "sigmoid", "linear",
)  # fmt: skip
"""Names that config.json may give an activation; whether a backend has it is for the backend to say."""

COMPUTED_AS = {"gelu_python": "gelu"}
"""Further names, and what is computed: the same function, which transformers puts together of other roundings."""

CONFIGURED = "activation"

TASKS = {
    "ForMaskedLM": "masked_lm",
    "ForSequenceClassification": "sequence_classification",
    "ForQuestionAnswering": "question_answering",
    "ForTokenClassification": "token_classification",
    "ForMultipleChoice": "multiple_choice",
    "ForPreTraining": "discriminator",
}
"""How the classes of transformers end, and the head that they have, where the family has it."""


@dataclass(frozen=True)
class Family:
    """The tables of one model_type.

    Attributes:
        model_type: as in config.json.
        prefix: of the base model's tensors in a checkpoint that has a head.
        keys: canonical name -> key of config.json.
        fixed: canonical name -> value that config.json cannot change.
        only: key of config.json -> values that this implementation has; another value is refused.
        modules: canonical module -> module of the checkpoint; `{i}` counts layers, or groups with `{j}` layers each.
            Shapes are in `model_weights.PARAMETERS`.
        heads: beginnings of tensor names that belong to heads, known but not necessarily read.
        aliases: canonical parameter -> tensor names it may have instead of its module's, the preferred first.
        head_activations: head of two products -> the activation between them, or the canonical name of a key that
            says which, such as CONFIGURED.
        head_dropout: where training drops elements in the head on sentences: before "dense", before "output"; empty
            where the family cannot be trained.
        head_only: head -> canonical name of a key -> values that this implementation has, where the head is read.
        optional: canonical module -> canonical name of a key that says whether it is there.
        sinusoidal: key of config.json that says that an absent position table is the sinusoidal one, or None.
        positions_skip_padding: whether positions count, from pad_token_id + 1, the tokens that are not padding.
        projects_other_widths_only: whether the projection of the embeddings is there only where they are not D wide.
        shapes: canonical module -> shapes of its parameters, where they are not those of `model_weights.PARAMETERS`.
        layer: the class of a layer's weights: another one, of the same fields, where another thing is computed of them.
        variant: gives, for a family whose modules follow from its configuration, the fields of this class that do.
    """

    model_type: str
    prefix: str
    keys: Mapping[str, Key]
    modules: Mapping[str, str]
    heads: tuple[str, ...]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    head_activations: Mapping[str, str] = field(default_factory=dict)
    head_dropout: tuple[str, ...] = ()
    head_only: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    sinusoidal: str | None = None
    positions_skip_padding: bool = False
    projects_other_widths_only: bool = False
    shapes: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    layer: type[LayerWeights] = LayerWeights
    variant: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None

    def parameters(self, module: str) -> Mapping[str, tuple[str, ...]]:
        """Kind ("weight", "bias") -> shape, of the parameters of a canonical module."""
        return self.shapes[module] if module in self.shapes else PARAMETERS[module]

    def of(self, values: Mapping[str, Any]) -> Family:
        """The tables for a configuration of the family."""
        absent = {module for module, key in self.optional.items() if not values.get(key, True)}
        modules = {module: stored for module, stored in self.modules.items() if module not in absent}
        return replace(self, modules=modules) if self.variant is None else replace(self, **self.variant(values))


DISTILBERT = Family(
    model_type="distilbert",
    prefix="distilbert.",
    keys={
        "vocab_size": Key(("vocab_size",), int),
        "max_position_embeddings": Key(("max_position_embeddings",), int),
        "n_layers": Key(("n_layers", "num_hidden_layers"), int),
        "n_heads": Key(("n_heads", "num_attention_heads"), int),
        "dim": Key(("dim", "hidden_size"), int),
        "hidden_dim": Key(("hidden_dim", "intermediate_size"), int),
        "activation": Key(("activation", "hidden_act"), str, "gelu"),
        "pad_token_id": Key(("pad_token_id",), int, 0, least=-1),
        "tie_word_embeddings": Key(("tie_word_embeddings",), bool, True),
    },
    fixed={"layer_norm_eps": 1e-12, "type_vocab_size": 0},  # a layer_norm_eps in config.json has no effect
    modules={
        "embeddings.word_embeddings": "embeddings.word_embeddings",
        "embeddings.position_embeddings": "embeddings.position_embeddings",
        "embeddings.layer_norm": "embeddings.LayerNorm",
        "layers.{i}.q_lin": "transformer.layer.{i}.attention.q_lin",
        "layers.{i}.k_lin": "transformer.layer.{i}.attention.k_lin",
        "layers.{i}.v_lin": "transformer.layer.{i}.attention.v_lin",
        "layers.{i}.out_lin": "transformer.layer.{i}.attention.out_lin",
        "layers.{i}.sa_layer_norm": "transformer.layer.{i}.sa_layer_norm",
        "layers.{i}.lin1": "transformer.layer.{i}.ffn.lin1",
        "layers.{i}.lin2": "transformer.layer.{i}.ffn.lin2",
        "layers.{i}.output_layer_norm": "transformer.layer.{i}.output_layer_norm",
        "masked_lm.vocab_transform": "vocab_transform",
        "masked_lm.vocab_layer_norm": "vocab_layer_norm",
        "masked_lm.vocab_projector": "vocab_projector",
        "sequence_classification.dense": "pre_classifier",
        "sequence_classification.output": "classifier",
        "multiple_choice.dense": "pre_classifier",
        "multiple_choice.output": "classifier",
        "token_classification.output": "classifier",
        "question_answering.output": "qa_outputs",
    },
    head_activations={"masked_lm": CONFIGURED, "sequence_classification": "relu", "multiple_choice": "relu"},
    head_dropout=("output",),
    heads=(
        "vocab_transform.",
        "vocab_layer_norm.",
        "vocab_projector.",
        "pre_classifier.",
        "classifier.",
        "qa_outputs.",
    ),
    sinusoidal="sinusoidal_pos_embds",
)

BERT = Family(
    model_type="bert",
    prefix="bert.",
    keys={
        "vocab_size": Key(("vocab_size",), int),
        "max_position_embeddings": Key(("max_position_embeddings",), int),
        "type_vocab_size": Key(("type_vocab_size",), int, 2),
        "n_layers": Key(("num_hidden_layers",), int),
        "n_heads": Key(("num_attention_heads",), int),
        "dim": Key(("hidden_size",), int),
        "hidden_dim": Key(("intermediate_size",), int),
        "activation": Key(("hidden_act",), str, "gelu"),
        "layer_norm_eps": Key(("layer_norm_eps",), float, 1e-12, least=0),
        "pad_token_id": Key(("pad_token_id",), int, 0, least=-1),
        "tie_word_embeddings": Key(("tie_word_embeddings",), bool, True),
    },
    only={"position_embedding_type": ("absolute",), "is_decoder": (False,), "add_cross_attention": (False,)},
    modules={
        "embeddings.word_embeddings": "embeddings.word_embeddings",
        "embeddings.position_embeddings": "embeddings.position_embeddings",
        "embeddings.token_type_embeddings": "embeddings.token_type_embeddings",
        "embeddings.layer_norm": "embeddings.LayerNorm",
        "layers.{i}.q_lin": "encoder.layer.{i}.attention.self.query",
        "layers.{i}.k_lin": "encoder.layer.{i}.attention.self.key",
        "layers.{i}.v_lin": "encoder.layer.{i}.attention.self.value",
        "layers.{i}.out_lin": "encoder.layer.{i}.attention.output.dense",
        "layers.{i}.sa_layer_norm": "encoder.layer.{i}.attention.output.LayerNorm",
        "layers.{i}.lin1": "encoder.layer.{i}.intermediate.dense",
        "layers.{i}.lin2": "encoder.layer.{i}.output.dense",
        "layers.{i}.output_layer_norm": "encoder.layer.{i}.output.LayerNorm",
        "pooler": "pooler.dense",
        "masked_lm.vocab_transform": "cls.predictions.transform.dense",
        "masked_lm.vocab_layer_norm": "cls.predictions.transform.LayerNorm",
        "masked_lm.vocab_projector": "cls.predictions.decoder",
        "sequence_classification.dense": "pooler.dense",
        "sequence_classification.output": "classifier",
        "multiple_choice.dense": "pooler.dense",
        "multiple_choice.output": "classifier",
        "token_classification.output": "classifier",
        "question_answering.output": "qa_outputs",
    },
    head_activations={"masked_lm": CONFIGURED, "sequence_classification": "tanh", "multiple_choice": "tanh"},
    head_dropout=("output",),
    # One tensor under two names. The first is the one that the model adds, the second the one usually saved.
    aliases={"masked_lm.vocab_projector.bias": ("cls.predictions.decoder.bias", "cls.predictions.bias")},
    heads=("cls.", "classifier.", "qa_outputs.", "fit_dense.", "fit_denses."),
)

_BERT_ENCODER = {name: stored for name, stored in BERT.modules.items() if name.startswith(("embeddings.", "layers."))}
_ON_EVERY_TOKEN = {"token_classification.output": "classifier", "question_answering.output": "qa_outputs"}


def _roberta(model_type: str) -> Family:
    """RoBERTa, and the families that are RoBERTa with another tokenizer."""
    return Family(
        model_type=model_type,
        prefix="roberta.",
        keys={**BERT.keys, "pad_token_id": Key(("pad_token_id",), int, 1, least=-1)},
        only=BERT.only,
        modules={
            **_BERT_ENCODER,
            "pooler": "pooler.dense",
            "masked_lm.vocab_transform": "lm_head.dense",
            "masked_lm.vocab_layer_norm": "lm_head.layer_norm",
            "masked_lm.vocab_projector": "lm_head.decoder",
            "sequence_classification.dense": "classifier.dense",
            "sequence_classification.output": "classifier.out_proj",
            "multiple_choice.dense": "pooler.dense",
            "multiple_choice.output": "classifier",
            **_ON_EVERY_TOKEN,
        },
        head_activations={"masked_lm": "gelu", "sequence_classification": "tanh", "multiple_choice": "tanh"},
        head_dropout=("dense", "output"),
        aliases={"masked_lm.vocab_projector.bias": ("lm_head.decoder.bias", "lm_head.bias")},
        heads=("lm_head.", "classifier.", "qa_outputs."),
        positions_skip_padding=True,
    )


ROBERTA, XLM_ROBERTA, CAMEMBERT = map(_roberta, ("roberta", "xlm-roberta", "camembert"))

_ALBERT_LAYER = "encoder.albert_layer_groups.{i}.albert_layers.{j}"
ALBERT = Family(
    model_type="albert",
    prefix="albert.",
    keys={
        **BERT.keys,
        "embedding_size": Key(("embedding_size",), int, 128),
        "n_groups": Key(("num_hidden_groups",), int, 1),
        "group_layers": Key(("inner_group_num",), int, 1),
        "activation": Key(("hidden_act",), str, "gelu_new"),
    },
    only=BERT.only,
    modules={
        **{name: stored for name, stored in _BERT_ENCODER.items() if name.startswith("embeddings.")},
        "embeddings.projection": "encoder.embedding_hidden_mapping_in",
        "layers.{i}.q_lin": f"{_ALBERT_LAYER}.attention.query",
        "layers.{i}.k_lin": f"{_ALBERT_LAYER}.attention.key",
        "layers.{i}.v_lin": f"{_ALBERT_LAYER}.attention.value",
        "layers.{i}.out_lin": f"{_ALBERT_LAYER}.attention.dense",
        "layers.{i}.sa_layer_norm": f"{_ALBERT_LAYER}.attention.LayerNorm",
        "layers.{i}.lin1": f"{_ALBERT_LAYER}.ffn",
        "layers.{i}.lin2": f"{_ALBERT_LAYER}.ffn_output",
        "layers.{i}.output_layer_norm": f"{_ALBERT_LAYER}.full_layer_layer_norm",
        "pooler": "pooler",
        "masked_lm.vocab_transform": "predictions.dense",
        "masked_lm.vocab_layer_norm": "predictions.LayerNorm",
        "masked_lm.vocab_projector": "predictions.decoder",
        "sequence_classification.dense": "pooler",
        "sequence_classification.output": "classifier",
        "multiple_choice.dense": "pooler",
        "multiple_choice.output": "classifier",
        **_ON_EVERY_TOKEN,
    },
    head_activations=BERT.head_activations,
    aliases={"masked_lm.vocab_projector.bias": ("predictions.decoder.bias", "predictions.bias")},
    heads=("predictions.", "sop_classifier.", "classifier.", "qa_outputs."),
)

ELECTRA = Family(
    model_type="electra",
    prefix="electra.",
    keys={
        **BERT.keys,
        "embedding_size": Key(("embedding_size",), int, 128),
        "summary_type": Key(("summary_type",), str, "first"),
        "summary_activation": Key(("summary_activation",), str, "gelu", null="linear"),
        "summary_product": Key(("summary_use_proj",), bool, True, null=False),
    },
    only=BERT.only,
    modules={
        **_BERT_ENCODER,
        "embeddings.projection": "embeddings_project",
        "masked_lm.vocab_transform": "generator_predictions.dense",
        "masked_lm.vocab_layer_norm": "generator_predictions.LayerNorm",
        "masked_lm.vocab_projector": "generator_lm_head",
        "discriminator.dense": "discriminator_predictions.dense",
        "discriminator.output": "discriminator_predictions.dense_prediction",
        "sequence_classification.dense": "classifier.dense",
        "sequence_classification.output": "classifier.out_proj",
        "multiple_choice.dense": "sequence_summary.summary",
        "multiple_choice.output": "classifier",
        **_ON_EVERY_TOKEN,
    },
    head_activations={
        "masked_lm": "gelu",
        "discriminator": CONFIGURED,
        "sequence_classification": "gelu",
        "multiple_choice": "summary_activation",
    },
    # Of the others, the last position and the mean over all depend on the padding, or are not there in transformers.
    head_only={"multiple_choice": {"summary_type": ("first",), "summary_activation": ("", *ACTIVATIONS)}},
    optional={"multiple_choice.dense": "summary_product"},
    heads=(
        "generator_predictions.",
        "generator_lm_head.",
        "discriminator_predictions.",
        "sequence_summary.",
        "classifier.",
        "qa_outputs.",
    ),
    projects_other_widths_only=True,
)

MOBILEBERT = Family(
    model_type="mobilebert",
    prefix="mobilebert.",
    keys={
        **BERT.keys,
        "embedding_size": Key(("embedding_size",), int, 128),
        "activation": Key(("hidden_act",), str, "relu"),
        "attention_size": Key(("intra_bottleneck_size",), int, 128),
        "feed_forwards": Key(("num_feedforward_networks",), int, 4, most=1 << 10),
        "trigrams": Key(("trigram_input",), bool, True),
        "bottleneck": Key(("use_bottleneck",), bool, True),
        "attends_to_input": Key(("use_bottleneck_attention",), bool, False),
        "attention_bottleneck": Key(("key_query_shared_bottleneck",), bool, True),
        "normalization": Key(("normalization_type",), str, "no_norm"),
        "classifier_activation": Key(("classifier_activation",), bool, True),
    },
    only={"normalization_type": ("no_norm", "layer_norm")},
    modules=_mobile_bert.tables({})["modules"],
    head_activations=BERT.head_activations,
    aliases=BERT.aliases,
    heads=BERT.heads,
    variant=_mobile_bert.tables,
)

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (DISTILBERT, BERT, ROBERTA, XLM_ROBERTA, CAMEMBERT, ALBERT, ELECTRA, MOBILEBERT)
}
"""Supported families by model_type."""

TIES = {"masked_lm.vocab_projector.weight": "embeddings.word_embeddings.weight"}
"""Tensors that are another one unless config.json says tie_word_embeddings = false, in every family."""
