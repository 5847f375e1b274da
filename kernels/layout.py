"""What the planning side and the compiled side agree on: where numbers and arrays lie. Imports nothing compiled.

A compiled entry takes the address of one int64 array, a `call`: the fields of its NamedTuples one after another. A
float32 field lies in the low half of its slot. Addresses are bytes; 0 stands for an array that is not there.
"""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple, get_type_hints

import numpy as np

PANEL = 48
"""Columns of a panel of packed weights: a whole number of register tiles on every CPU (3 x 16 = 6 x 8 = 12 x 4)."""

ROW_BLOCK = 144
"""Rows that share a pass over the panels: with K = 768 they take 442 KB of a core's L2; a panel is read once."""

TILE_ROWS = 8
"""Most rows of a register tile on any CPU; scratch is laid out for so many."""

COUNTERS = 16
"""Where the counters begin in a team's memory, int64 [16 + counters]; before them are the barrier and the flag."""

ABORT = 9
"""Position in a team's memory of the flag that sends waiting threads home: for a member that will never come."""

# Addresses of one layer, in a table int64 [L, LAYER_ADDRESSES]. Weights are packed, biases padded to whole panels.
QKV_WEIGHT, QKV_BIAS, OUT_WEIGHT, OUT_BIAS, SA_GAIN, SA_SHIFT = range(6)
LIN1_WEIGHT, LIN1_BIAS, LIN2_WEIGHT, LIN2_BIAS, OUTPUT_GAIN, OUTPUT_SHIFT = range(6, 12)
LAYER_ADDRESSES = 12

# The same of one of MobileBERT's layers; 0 for a bottleneck that is not there. One group of NETWORK_ADDRESSES for each
# feed-forward follows.
INPUT_WEIGHT, INPUT_BIAS, INPUT_GAIN, INPUT_SHIFT = range(4)
SHARED_WEIGHT, SHARED_BIAS, SHARED_GAIN, SHARED_SHIFT = range(4, 8)
V_WEIGHT, V_BIAS, QK_WEIGHT, QK_BIAS, INNER_OUT_WEIGHT, INNER_OUT_BIAS, INNER_GAIN, INNER_SHIFT = range(8, 16)
WIDE_WEIGHT, WIDE_BIAS, WIDE_GAIN, WIDE_SHIFT = range(16, 20)
MOBILE_ADDRESSES = 20
NETWORK_ADDRESSES = 6

# Counters of the encoder: one for the embeddings, then for each layer the state that goes in and its nine phases, one
# for the end and one for the embeddings' projection.
PHASES_PER_LAYER = 10
HEAD_PHASES = 3

# MobileBERT's: for each layer thirteen, NETWORK_PHASES for each feed-forward, and two; three for the embeddings; one
# for the end.
MOBILE_EMBEDDING_PHASES = 3
MOBILE_PHASES = 15
NETWORK_PHASES = 3

LINEAR_ACTIVATION, GELU, GELU_10, RELU, RELU2, RELU6, SILU, SIGMOID, QUICK_GELU = range(9)
TANH, MISH, GELU_NEW, GELU_FAST, GELU_PYTORCH_TANH = range(9, 14)  # made of tanh

ACTIVATIONS = {
    "gelu": GELU,
    "gelu_new": GELU_NEW,
    "gelu_fast": GELU_FAST,
    "gelu_pytorch_tanh": GELU_PYTORCH_TANH,
    "gelu_accurate": GELU_NEW,
    "gelu_python_tanh": GELU_NEW,
    "quick_gelu": QUICK_GELU,
    "gelu_10": GELU_10,
    "relu": RELU,
    "relu2": RELU2,
    "relu6": RELU6,
    "silu": SILU,
    "swish": SILU,
    "tanh": TANH,
    "mish": MISH,
    "sigmoid": SIGMOID,
    "linear": LINEAR_ACTIVATION,
}
"""By the names of config.json; some are other names, or other ways of writing, of the same function."""


class Sizes(NamedTuple):
    """Numbers of one model: D, E, H, F, L, its activation's; the LayerNorms' epsilon, and 1 / sqrt(head_dim)."""

    dim: int
    embedding_size: int
    heads: int
    hidden_dim: int
    depth: int
    activation: int
    eps: float
    scale: float


class MobileSizes(NamedTuple):
    """Numbers of one MobileBERT: D, E, I, H, F, L, its feed-forwards a layer, its activation's.

    trigrams: whether three embeddings make a word's; no_norm: whether norms are gains and shifts only;
    attends_to_input: see `MobileLayerWeights`; eps: of the LayerNorms; outer_eps: of those of the embeddings and of the
    last feed-forwards; scale: 1 / sqrt(head_dim).
    """

    dim: int
    embedding_size: int
    attention_size: int
    heads: int
    hidden_dim: int
    depth: int
    feed_forwards: int
    activation: int
    trigrams: int
    no_norm: int
    attends_to_input: int
    eps: float
    outer_eps: float
    scale: float


class Tables(NamedTuple):
    """Addresses of the weights.

    layers: int64 [L, LAYER_ADDRESSES]; words: float32 [V, E] (or [T, E], embeddings given); types: [Y, E]; positions:
    [P, E]; gain and shift: of the embeddings' LayerNorm; projection: [D, E], packed, with its bias, where there is one.
    """

    layers: int
    words: int
    types: int
    positions: int
    gain: int
    shift: int
    projection_weight: int
    projection_bias: int


class Tokens(NamedTuple):
    """One batch.

    word_ids, type_ids, position_ids: int32 [T]; offsets: int64 [B + 1]; rows: int64 [R], the tokens wanted of the last
    layer; row_offsets: int64 [B + 1], where each sentence's rows begin among the R; bias: float32 [B, bias_heads, S,
    S].
    """

    word_ids: int
    type_ids: int
    position_ids: int
    offsets: int
    sentences: int
    tokens: int
    rows: int
    row_offsets: int
    wanted: int
    bias: int
    bias_heads: int


class Workspace(NamedTuple):
    """The activations, each float32 [T, its leading dimension], and one scratch a thread.

    x: the residual stream; y: what a half-layer adds to it; qkv: queries, keys, values, side by side in whole panels.
    """

    x: int
    y: int
    qkv: int
    context: int
    hidden: int
    ld_x: int  # of x, y and context
    ld_qkv: int
    ld_hidden: int
    scratch: int
    scratch_floats: int  # a thread


class MobileWorkspace(NamedTuple):
    """MobileBERT's activations, each float32 [T, its leading dimension], and one scratch a thread.

    x: the residual stream; y: what is added to it. Between the bottlenecks h: the stream; a: what queries and keys are
    made of; s: what is added to h. qkv as in `Workspace`; hidden: also the embeddings before their product.
    """

    x: int
    y: int
    h: int
    a: int
    s: int
    context: int
    qkv: int
    hidden: int
    ld_x: int  # of x and y
    ld_h: int  # of h, a, s and context
    ld_qkv: int
    ld_hidden: int
    scratch: int
    scratch_floats: int  # a thread


class Outputs(NamedTuple):
    """What the caller wants.

    last: float32 [R, D] ([T, D] where no rows were asked for); hidden_states: float32 [L, T, D], what goes into each
    layer; attentions: float32, for each layer and sentence of n tokens [H, n, n], one after another; attention_offsets:
    int64 [B + 1], where a sentence's begin within a layer; clock: int64 [encoder_phases(L)], when each phase ended,
    nanoseconds.
    """

    last: int
    hidden_states: int
    attentions: int
    attention_offsets: int
    clock: int


class Head(NamedTuple):
    """The masked-language-model head: transform [E, D] and projector [V, E] packed, with their padded biases.

    bias_last: whether the projector's bias is added to the finished product, or each sum starts from it.
    """

    transform_weight: int
    transform_bias: int
    gain: int
    shift: int
    projector_weight: int
    projector_bias: int
    dim: int
    width: int  # E
    vocabulary: int
    activation: int
    bias_last: int
    eps: float


class Team(NamedTuple):
    """Address of the team's memory."""

    memory: int


class HeadCall(NamedTuple):
    """Hidden states float32 [rows, D] in, logits float32 [rows, V] out; `transformed` [rows, ld] is workspace."""

    hidden: int
    rows: int
    transformed: int
    ld: int
    logits: int
    scratch: int
    scratch_floats: int


class LinearCall(NamedTuple):
    """out = x W^T + bias: x float32 [rows, k], W and bias packed, out float32 [rows, n], all contiguous."""

    x: int
    rows: int
    weight: int
    bias: int
    k: int
    n: int
    out: int
    scratch: int  # float32 [ROW_BLOCK * PANEL]


class NormCall(NamedTuple):
    """LayerNorm in place on x float32 [rows, n]; gain and shift float32 [n]."""

    x: int
    rows: int
    n: int
    gain: int
    shift: int
    eps: float
    scratch: int  # float32 [ROW_BLOCK * PANEL]


class ActivationCall(NamedTuple):
    """An activation by its number on x float32 [n], in place."""

    kind: int
    x: int
    n: int


class PackCall(NamedTuple):
    """W float32 [n, k], contiguous, into panels `out` float32 [panels(n), k, PANEL]; see `pack`."""

    weight: int
    n: int
    k: int
    out: int


class RoofCall(NamedTuple):
    """Multiply-adds where x is 0, `rounds` of the register tile's a thread; else reading x float32 [n], shared out.

    out: float32 [threads].
    """

    x: int
    n: int
    rounds: int
    out: int


ENCODE = (Sizes, Tables, Tokens, Workspace, Outputs, Team)
ENCODE_MOBILE_BERT = (MobileSizes, Tables, Tokens, MobileWorkspace, Outputs, Team)
MASKED_LM = (Head, HeadCall, Team)
LINEAR = (LinearCall, Team)
LAYER_NORM = (NormCall,)
ACTIVATE = (ActivationCall,)
PACK = (PackCall,)
ROOF = (RoofCall, Team)
"""The parts of an entry's call, in their order."""


def call(*parts: NamedTuple) -> np.ndarray:
    """The int64 array that an entry takes."""
    return np.frombuffer(b"".join([_slots(type(part)).pack(*part) for part in parts]), np.int64)


def team_memory(counters: int) -> np.ndarray:
    """Zeroed memory for a team: the barrier's, then one counter a phase."""
    return np.zeros(COUNTERS + counters, np.int64)


def encoder_phases(layers: int) -> int:
    """Counters that the encoder needs."""
    return 3 + layers * PHASES_PER_LAYER


def mobile_layer_phases(feed_forwards: int) -> int:
    """Counters that a layer of MobileBERT needs."""
    return MOBILE_PHASES + NETWORK_PHASES * feed_forwards


def mobile_encoder_phases(layers: int, feed_forwards: int) -> int:
    """Counters that MobileBERT needs."""
    return MOBILE_EMBEDDING_PHASES + layers * mobile_layer_phases(feed_forwards) + 1


def panels(n: int) -> int:
    """Panels that N columns take."""
    return -(-n // PANEL)


def padded_columns(n: int) -> int:
    """Columns in whole panels."""
    return panels(n) * PANEL


@functools.cache
def _slots(part: type[NamedTuple]) -> struct.Struct:
    """How the fields of a part lie in its slots."""
    return struct.Struct("<" + "".join("f4x" if kind is float else "q" for kind in get_type_hints(part).values()))


def leading_dimension(columns: int) -> int:
    """Elements between rows: whole cache lines, an odd number of them, so that rows spread over all cache sets."""
    lines = -(-columns // 16)
    return (lines + 1 - lines % 2) * 16


def attention_scratch(n: int, head_dim: int) -> int:
    """Floats that one head needs for n keys: k in panels, v in rows, and a tile's rows of scores and of results."""
    padded, width = padded_columns(n), -(-head_dim // 16) * 16
    return padded * head_dim + padded * width + TILE_ROWS * (padded + 16) + TILE_ROWS * width


def scratch_floats(longest: int, head_dim: int) -> int:
    """Floats of scratch a thread, in whole cache lines, for sentences of at most so many tokens."""
    return -(-max(attention_scratch(longest, head_dim), ROW_BLOCK * PANEL) // 16) * 16


def pack(weight: np.ndarray, out: np.ndarray) -> None:
    """Pack W float32 [N, K] into `out` float32 [panels(N), K, PANEL]; what kernels/pack.py does faster.

    Panel p is a contiguous [K, PANEL] whose column j is row p * PANEL + j of W, zero beyond N.
    """
    n, _ = weight.shape
    whole = n // PANEL
    for p in range(whole):
        out[p] = weight[p * PANEL : (p + 1) * PANEL].T
    if whole < len(out):
        out[whole] = 0
        out[whole, :, : n - whole * PANEL] = weight[whole * PANEL :].T
