"""What a forward pass consists of: the entry that computes it, the numbers and addresses it takes, and its phases."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minidistil.config import Config
from minidistil.engine.workspace import Buffers
from minidistil.kernels import layout
from minidistil.weights.model_weights import (
    EmbeddingWeights,
    MobileEmbeddingWeights,
    MobileLayerWeights,
    ModelWeights,
    NoNorm,
    Norm,
)
from minidistil.weights.packing import PackedWeights, first_places


class Stage(NamedTuple):
    """What ends with a phase.

    Attributes:
        name: what is computed.
        layer: in which layer, or None.
        weights: how many of a layer's weights it reads; every token is multiplied with each of them.
        attends: whether it is the attention.
    """

    name: str
    layer: int | None = None
    weights: int = 0
    attends: bool = False


@dataclass(frozen=True)
class Plan:
    """How the engine runs a model.

    Attributes:
        entry: of native.NAMES.
        sizes: the first part of its call.
        tables: the second part.
        layers: int64 [L, addresses of a layer], which `tables` points into.
        stages: phase of the entry -> what ends with it; the other phases end with a later one.
        phases: how many counters a team needs.
        buffers: what a workspace consists of.
    """

    entry: str
    sizes: NamedTuple
    tables: layout.Tables
    layers: np.ndarray
    stages: dict[int, Stage]
    phases: int
    buffers: Buffers

    def token_operations(self) -> float:
        """Floating point operations of the layers' products on one token."""
        return 2.0 * sum(stage.weights for stage in self.stages.values())


def plan(config: Config, weights: ModelWeights, packed: PackedWeights) -> Plan:
    """Plan the passes of a model over its packed weights, whose memory must outlive the plan."""
    embeddings, layers = weights.encoder.embeddings, weights.encoder.layers
    if isinstance(embeddings, MobileEmbeddingWeights):
        return _mobile_bert(config, embeddings, [x for x in layers if isinstance(x, MobileLayerWeights)], packed)
    return _encoder(config, embeddings, first_places(layers), packed)


def _encoder(config: Config, embeddings: EmbeddingWeights, stored: list[int], packed: PackedWeights) -> Plan:
    D, F, L = config.dim, config.hidden_dim, config.n_layers
    sizes = layout.Sizes(
        D,
        config.embedding_size,
        config.n_heads,
        F,
        L,
        layout.ACTIVATIONS[config.activation],
        embeddings.layer_norm.eps,
        1 / math.sqrt(config.head_dim),
    )
    parts = ("qkv", "out_lin", "sa_layer_norm", "lin1", "lin2", "output_layer_norm")
    layers = np.array([[*_addresses(packed, [f"layer.{i}.{part}" for part in parts])] for i in stored], np.int64)
    in_layer = {
        3: Stage("q, k, v", 0, 3 * D * D),
        4: Stage("attention", 0, 0, True),
        5: Stage("out_lin", 0, D * D),
        6: Stage("sa_layer_norm", 0),
        7: Stage("lin1 + activation", 0, D * F),
        8: Stage("lin2", 0, D * F),
        9: Stage("output_layer_norm", 0),
    }
    each, end = layout.PHASES_PER_LAYER, 1 + L * layout.PHASES_PER_LAYER
    stages = {0: Stage("embeddings"), end: Stage("result"), end + 1: Stage("projection")}
    for i, (phase, stage) in itertools.product(range(L), in_layer.items()):
        stages[1 + i * each + phase] = stage._replace(layer=i)
    buffers = Buffers(
        layout.Workspace,
        {"x": "ld_x", "y": "ld_x", "qkv": "ld_qkv", "context": "ld_x", "hidden": "ld_hidden"},
        {"ld_x": (D,), "ld_qkv": (D,) * 3, "ld_hidden": (max(F, config.embedding_size),)},
        config.head_dim,
    )
    tables = _tables(layers, embeddings, packed)
    return Plan("encode", sizes, tables, layers, stages, layout.encoder_phases(L), buffers)


def _mobile_bert(
    config: Config, embeddings: MobileEmbeddingWeights, stored: list[MobileLayerWeights], packed: PackedWeights
) -> Plan:
    D, E, F, L, inner = config.dim, config.embedding_size, config.hidden_dim, config.n_layers, config.attention_size
    networks = len(stored[0].feed_forwards)
    norm, outer = stored[0].sa_layer_norm, embeddings.layer_norm
    sizes = layout.MobileSizes(
        D,
        E,
        inner,
        config.n_heads,
        F,
        L,
        networks,
        layout.ACTIVATIONS[config.activation],
        int(embeddings.trigrams),
        int(isinstance(norm, NoNorm)),
        int(stored[0].attends_to_input),
        norm.eps if isinstance(norm, Norm) else 0.0,
        outer.eps if isinstance(outer, Norm) else 0.0,
        1 / math.sqrt(config.head_dim),
    )
    parts = ["input_bottleneck", "input_bottleneck_norm", "attention_bottleneck", "attention_bottleneck_norm"]
    parts += ["v_lin", "qk", "out_lin", "sa_layer_norm", "output_bottleneck", "output_bottleneck_norm"]
    parts += [f"feed_forwards.{n}.{part}" for n in range(networks) for part in ("lin1", "lin2", "norm")]
    layers = np.array([[*_addresses(packed, [f"layer.{i}.{part}" for part in parts])] for i in range(L)], np.int64)
    each, stages = layout.mobile_layer_phases(networks), dict[int, Stage]()
    for i, layer in enumerate(stored):
        stages |= {i * each + phase: stage._replace(layer=i) for phase, stage in _mobile_stages(layer)}
    for phase, name in enumerate(("embeddings", "projection", "embedding norm", "result")):
        stages[L * each + phase] = Stage(name)
    buffers = Buffers(
        layout.MobileWorkspace,
        {
            **dict.fromkeys(("x", "y"), "ld_x"),
            **dict.fromkeys(("h", "a", "s", "context"), "ld_h"),
            "qkv": "ld_qkv",
            "hidden": "ld_hidden",
        },
        {
            "ld_x": (D,),
            "ld_h": (inner,),
            "ld_qkv": (inner,) * 3,
            "ld_hidden": (max(F, 3 * E, D),),  # D: of the vocabulary head
        },
        config.head_dim,
    )
    tables = _tables(layers, embeddings, packed)
    phases = layout.mobile_encoder_phases(L, networks)
    return Plan("encode_mobile_bert", sizes, tables, layers, stages, phases, buffers)


def _mobile_stages(layer: MobileLayerWeights) -> Iterator[tuple[int, Stage]]:
    narrow = sum(x.linear.weight.size for x in (layer.input_bottleneck, layer.attention_bottleneck) if x is not None)
    qkv = layer.q_lin.weight.size + layer.k_lin.weight.size + layer.v_lin.weight.size
    yield 2, Stage("bottlenecks", 0, narrow)
    yield 4, Stage("bottleneck norms")
    yield 6, Stage("q, k, v", 0, qkv)
    yield 7, Stage("attention", 0, 0, True)
    yield 11, Stage("out_lin", 0, layer.out_lin.weight.size)
    yield 12, Stage("sa_layer_norm")
    phase = 13
    for network in layer.feed_forwards:
        yield phase, Stage("lin1 + activation", 0, network.lin1.weight.size)
        yield phase + 1, Stage("lin2", 0, network.lin2.weight.size)
        yield phase + 2, Stage("feed-forward norm")
        phase += layout.NETWORK_PHASES
    if layer.output_bottleneck is not None:
        yield phase, Stage("output bottleneck", 0, layer.output_bottleneck.linear.weight.size)
        yield phase + 1, Stage("output norm")


def _addresses(packed: PackedWeights, parts: list[str]) -> Iterator[int]:
    """Of the weight and the bias of each part; 0 for one that is not there."""
    for part in parts:
        for kind in ("weight", "bias"):
            yield packed.address(f"{part}.{kind}") if f"{part}.{kind}" in packed else 0


def _tables(
    layers: np.ndarray, embeddings: EmbeddingWeights | MobileEmbeddingWeights, packed: PackedWeights
) -> layout.Tables:
    return layout.Tables(
        address(layers),
        address(embeddings.word_embeddings),
        address(embeddings.token_type_embeddings),
        address(embeddings.position_embeddings),
        *_addresses(packed, ["embeddings.layer_norm", "embeddings.projection"]),
    )


def address(array: np.ndarray | None) -> int:
    """Where an array's data begin; 0 for None."""
    if array is None:
        return 0
    return array.__array_interface__["data"][0]
