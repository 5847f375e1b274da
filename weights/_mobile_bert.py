"""MobileBERT's modules: which there are, and of which shapes, follows from its configuration.

Inside a layer, between its bottlenecks, everything is `attention_size` wide: intra_bottleneck_size, or hidden_size
where there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minidistil.weights.model_weights import AnyLinear, FeedForwardWeights, MobileLayerWeights, NoNorm, Norm, Normalized

# PyTorch's own: transformers hands layer_norm_eps to every LayerNorm but that of the embeddings, and that of a layer's
# last feed-forward.
_DEFAULT_EPS = 1e-5

_Modules = dict[str, tuple[str, dict[str, tuple[str, ...]]]]  # canonical module -> the checkpoint's, and its shapes


def tables(values: Mapping[str, Any]) -> dict[str, Any]:
    """The family's `modules` and `shapes` for these values of config.json; those that are not there: by default."""
    modules = {**_embeddings(values), **_layers(values), **_heads(values)}
    return {
        "modules": {module: stored for module, (stored, _) in modules.items()},
        "shapes": {module: shapes for module, (_, shapes) in modules.items()},
    }


def layer(
    values: Mapping[str, Any], i: int, linear: Callable[[str], AnyLinear], norm: Callable[[str], Norm | NoNorm]
) -> MobileLayerWeights:
    """Put layer i together of what `linear` and `norm` give for a canonical module."""
    at, bottleneck, to_input = f"layers.{i}", values["bottleneck"], values["attends_to_input"]

    def normalized(name: str, there: bool) -> Normalized | None:
        return Normalized(linear(f"{at}.{name}"), norm(f"{at}.{name}_norm")) if there else None

    return MobileLayerWeights(
        input_bottleneck=normalized("input_bottleneck", bottleneck),
        # Stored wherever queries and keys may share one, used only where they do.
        attention_bottleneck=normalized(
            "attention_bottleneck", bottleneck and values["attention_bottleneck"] and not to_input
        ),
        attends_to_input=bottleneck and to_input,
        q_lin=linear(f"{at}.q_lin"),
        k_lin=linear(f"{at}.k_lin"),
        v_lin=linear(f"{at}.v_lin"),
        out_lin=linear(f"{at}.out_lin"),
        sa_layer_norm=norm(f"{at}.sa_layer_norm"),
        feed_forwards=tuple(
            FeedForwardWeights(linear(f"{name}.lin1"), linear(f"{name}.lin2"), norm(f"{name}.norm"))
            for name in (f"{at}.feed_forwards.{n}" for n in range(values["feed_forwards"]))
        ),
        output_bottleneck=normalized("output_bottleneck", bottleneck),
    )


def epsilon(values: Mapping[str, Any], module: str) -> float:
    """What the LayerNorm of a canonical module adds to the variance."""
    last = f".feed_forwards.{values['feed_forwards'] - 1}.norm"
    return _DEFAULT_EPS if module == "embeddings.layer_norm" or module.endswith(last) else values["layer_norm_eps"]


def projects(values: Mapping[str, Any]) -> bool:
    """Whether the embeddings' product, which is always stored, is used."""
    return values["trigrams"] or values["embedding_size"] != values["dim"]


def _embeddings(values: Mapping[str, Any]) -> _Modules:
    words = "3 * embedding_size" if values.get("trigrams", True) else "embedding_size"
    return {
        "embeddings.word_embeddings": (
            "embeddings.word_embeddings", {"weight": ("vocab_size", "embedding_size")}
        ),
        "embeddings.position_embeddings": (
            "embeddings.position_embeddings", {"weight": ("max_position_embeddings", "dim")}
        ),
        "embeddings.token_type_embeddings": (
            "embeddings.token_type_embeddings", {"weight": ("type_vocab_size", "dim")}
        ),
        "embeddings.projection": ("embeddings.embedding_transformation", _linear("dim", words)),
        "embeddings.layer_norm": ("embeddings.LayerNorm", _norm("dim")),
    }  # fmt: skip


def _layers(values: Mapping[str, Any]) -> _Modules:
    stored, bottleneck = "encoder.layer.{i}", values.get("bottleneck", True)
    width = "attention_size" if bottleneck else "dim"
    modules: _Modules = {}

    def bottlenecked(name: str, module: str, out: str, into: str) -> None:
        modules[name] = f"{stored}.{module}.dense", _linear(out, into)
        modules[f"{name}_norm"] = f"{stored}.{module}.LayerNorm", _norm(out)

    if bottleneck:
        bottlenecked("input_bottleneck", "bottleneck.input", width, "dim")
        if values.get("attention_bottleneck", True):
            bottlenecked("attention_bottleneck", "bottleneck.attention", width, "dim")
    values_of = width if values.get("attends_to_input", False) else "dim"
    modules["q_lin"] = f"{stored}.attention.self.query", _linear(width, width)
    modules["k_lin"] = f"{stored}.attention.self.key", _linear(width, width)
    modules["v_lin"] = f"{stored}.attention.self.value", _linear(width, values_of)
    modules["out_lin"] = f"{stored}.attention.output.dense", _linear(width, width)
    modules["sa_layer_norm"] = f"{stored}.attention.output.LayerNorm", _norm(width)
    count = values.get("feed_forwards", 4)
    for n in range(count):
        module = stored if n == count - 1 else f"{stored}.ffn.{n}"
        modules[f"feed_forwards.{n}.lin1"] = f"{module}.intermediate.dense", _linear("hidden_dim", width)
        modules[f"feed_forwards.{n}.lin2"] = f"{module}.output.dense", _linear(width, "hidden_dim")
        modules[f"feed_forwards.{n}.norm"] = f"{module}.output.LayerNorm", _norm(width)
    if bottleneck:
        bottlenecked("output_bottleneck", "output.bottleneck", "dim", width)
    return {f"layers.{{i}}.{name}": module for name, module in modules.items()}


def _heads(values: Mapping[str, Any]) -> _Modules:
    modules: _Modules = {
        "masked_lm.vocab_transform": ("cls.predictions.transform.dense", _linear("dim", "dim")),
        "masked_lm.vocab_layer_norm": ("cls.predictions.transform.LayerNorm", _norm("dim")),
        "masked_lm.vocab_projector": ("cls.predictions.decoder", _linear("vocab_size", "embedding_size")),
        "masked_lm.extension": ("cls.predictions.dense", {"weight": ("dim - embedding_size", "vocab_size")}),
        "sequence_classification.output": ("classifier", _linear("num_labels", "dim")),
        "multiple_choice.output": ("classifier", _linear("1", "dim")),
        "token_classification.output": ("classifier", _linear("num_labels", "dim")),
        "question_answering.output": ("qa_outputs", _linear("2", "dim")),
    }
    if values.get("classifier_activation", True):
        pooler = "pooler.dense", _linear("dim", "dim")
        modules |= dict.fromkeys(("pooler", "sequence_classification.dense", "multiple_choice.dense"), pooler)
    return modules


def _linear(out: str, into: str) -> dict[str, tuple[str, ...]]:
    return {"weight": (out, into), "bias": (out,)}


def _norm(width: str) -> dict[str, tuple[str, ...]]:
    return {"weight": (width,), "bias": (width,)}
