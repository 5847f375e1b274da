"""What the planning side and the compiled side agree on: where numbers and arrays lie. Imports nothing compiled.

A compiled entry takes the address of one int64 array, a `call`: the fields of its NamedTuples one after another. A
float32 field lies in the low half of its slot. Addresses are bytes; 0 stands for an array that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

PANEL = 48
"""Columns of a panel of packed weights: whole slivers on every CPU (48, 2 of 24, 4 of 12; code/target.py)."""

ROW_BLOCK = 144
"""Rows that share a pass over the panels: with K = 768 they take 442 KB of a core's L2; a panel is read once."""

ATTENTION_ROWS = 48
"""Queries that share a pass over the keys and values of a head; for 512 tokens those are 256 KB, in the L2."""

CHAIN = 192
"""The longest chain of a sum (`chain_length`)."""

GRADIENT_ROWS = 576
"""Rows of a weight's gradient that share a pass over the panels: so many by CHAIN tokens take 442 KB, in the L2."""

GRADIENT_SCRATCH = GRADIENT_ROWS * CHAIN + CHAIN * PANEL + GRADIENT_ROWS * PANEL
"""Floats of scratch that a thread needs for a weight's gradient: both factors, and rows of a partial panel."""

KEYS = 64
"""Keys that share a pass over the queries of a head in the backward pass: dropout draws for so many at a time."""

READ_STEP = 64
"""Floats that are read at a time where nothing but reading is measured."""

COUNTERS = 16
"""Where the counters begin in a team's memory, int64 [16 + counters]; before them are the barrier and the flag."""

ABORT = 9
"""Position in a team's memory of the flag that sends waiting threads home: for a member that will never come."""

LEVELS = 255
"""Steps of a code: rows in whole numbers have codes of 0 to 255."""

SMALLEST_RANGE = 2.0**-100
"""A row of which greatest and least are closer is one of zeros: its scale's reciprocal would not be a float32."""

CODES = 64
"""Where the codes of a coded row begin, in bytes: before them are its scale (float32) and its zero point (int32)."""

DOT_EXACT, DOT_PAIRS, DOT_NATIVE = range(3)
"""How four products of a code and a weight become one sum, the same number each time: by instructions that every CPU
has; by those that add pairs in sixteen bits, in panels whose pairs are limited; by the CPU's own for whole numbers."""

PAIR = 128
"""Where of each two weights that stand at k and k + 1, k even, those above zero add up to at most this and those below
zero to at least its negative, 255 times as much fits sixteen bits: such a panel's pairs are limited."""

LINEAR_ACTIVATION, GELU, GELU_10, RELU, RELU2, RELU6, LEAKY_RELU, HARDSWISH, SILU, SIGMOID, QUICK_GELU = range(11)
TANH, MISH, GELU_NEW, GELU_FAST, GELU_PYTORCH_TANH = range(11, 16)  # made of tanh

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
    "leaky_relu": LEAKY_RELU,
    "hardswish": HARDSWISH,
    "silu": SILU,
    "swish": SILU,
    "tanh": TANH,
    "mish": MISH,
    "sigmoid": SIGMOID,
    "linear": LINEAR_ACTIVATION,
}
"""By the names of config.json; some are other names, or other ways of writing, of the same function."""


DIFFERENTIATED = (LINEAR_ACTIVATION, GELU, RELU, GELU_NEW, SILU, TANH)
"""Those that have a backward pass (simd/derivatives.py)."""


def address(array: np.ndarray | None) -> int:
    """Where an array's data begin; 0 for None."""
    return 0 if array is None else array.__array_interface__["data"][0]


def team_memory(counters: int) -> np.ndarray:
    """Zeroed memory for a team: the barrier's, then one counter a step."""
    return np.zeros(COUNTERS + counters, np.int64)


def panels(n: int) -> int:
    """Panels that N columns take."""
    return -(-n // PANEL)


def padded_columns(n: int) -> int:
    """Columns in whole panels."""
    return panels(n) * PANEL


def leading_dimension(columns: int) -> int:
    """Elements between rows: whole cache lines, an odd number of them, so that rows spread over all cache sets."""
    lines = -(-columns // 16)
    return (lines + 1 - lines % 2) * 16


def chain_length(k: int) -> int:
    """Length of one chain of fused multiply-adds in a sum of length k: k up to 192, half of it below 384, then 192.

    What the chains leave over (the last of an odd k between, the remainder after 192s) is one more, shorter, chain.
    """
    if k <= CHAIN:
        return k
    if k < 2 * CHAIN:
        return k // 2
    return CHAIN


def attention_scratch(n: int, head_dim: int) -> int:
    """Floats that one head needs for n keys: k and v packed; of some queries scores, results and two numbers each."""
    padded, width = -(-n // 16) * 16, -(-head_dim // 16) * 16
    return padded * head_dim + n * width + ATTENTION_ROWS * (leading_dimension(padded) + width + 2)


def scratch_floats(longest: int, head_dim: int) -> int:
    """Floats of scratch a thread, in whole cache lines, for sentences of at most so many tokens."""
    return -(-max(attention_scratch(longest, head_dim), ROW_BLOCK * PANEL) // 16) * 16


def backward_scratch(longest: int, head_dim: int) -> int:
    """Floats of scratch a thread for the backward pass of attention, in whole cache lines (and enough for all others).

    For sentences of at most so many tokens: queries and gradients of the context packed both ways, keys and gradients
    of queries transposed, scores and their gradients for some keys, and the latter packed for a chain of keys.
    """
    padded, width = -(-longest // 16) * 16, -(-head_dim // 16) * 16
    ld, block = leading_dimension(padded), min(padded, 192)  # chain_length(n) is no more for any n up to the longest
    rows = 2 * longest * width + 2 * padded * head_dim + 3 * padded
    blocks = 2 * width * ld + 2 * KEYS * ld + KEYS * width + max(block * padded, padded * width)
    return max(-(-(rows + blocks) // 16) * 16, scratch_floats(longest, head_dim))


def coded_row(k: int, kept: int = 0) -> int:
    """Elements of four bytes between coded rows of K codes: whole cache lines, an odd number of them.

    What float32 a row has beside them, of columns that are `kept`, stands at `beyond_codes(k)`.
    """
    return leading_dimension(beyond_codes(k) + kept)


def beyond_codes(k: int) -> int:
    """Where K codes of a coded row end, in elements of four bytes from its start."""
    return CODES // 4 + -(-k // 4)


def pack_int8(weight: np.ndarray, out: np.ndarray) -> None:
    """Pack W int8 [N, K] into `out` int8 [panels(N), ceil(K / 4), PANEL, 4], the same on every CPU.

    Element [p, i, j, t] is W[p * PANEL + j, 4 i + t], zero beyond N and K: four of a sum's weights lie side by side, as
    the instructions take them that multiply whole numbers.
    """
    n, k = weight.shape
    if n % PANEL or k % 4 or not weight.flags.c_contiguous:
        padded = np.zeros((len(out) * PANEL, out.shape[1] * 4), np.int8)
        padded[:n, :k] = weight
        weight = padded
    # Four at once, as one number.
    out.view(np.uint32)[..., 0] = weight.view(np.uint32).reshape(len(out), PANEL, -1).transpose(0, 2, 1)


def pack_kept(kept: np.ndarray, out: np.ndarray) -> None:
    """Pack columns of W, float32 [N, C], into `out` float32 [panels(N), C, PANEL]; what lies beyond N stays there."""
    for p, panel in enumerate(out):
        rows = kept[p * PANEL : (p + 1) * PANEL]
        panel[:, : len(rows)] = rows.T


def unpack_kept(packed: np.ndarray, n: int) -> np.ndarray:
    """Columns float32 [N, C] of what `pack_kept` made of them."""
    return np.ascontiguousarray(packed.transpose(0, 2, 1).reshape(len(packed) * PANEL, -1)[:n])


def unpack_int8(packed: np.ndarray, n: int, k: int) -> np.ndarray:
    """W int8 [N, K] of what `pack_int8` made of it."""
    return np.ascontiguousarray(packed.transpose(0, 2, 1, 3).reshape(len(packed) * PANEL, -1)[:n, :k])


def limited(weight: np.ndarray) -> np.ndarray:
    """Which panels of W int8 [N, K] have limited pairs (see PAIR): int32 [panels(N)], 1 or 0."""
    n, k = weight.shape
    if k % 2 or not weight.flags.c_contiguous:
        weight, unpadded = np.zeros((n, k + k % 2), np.int8), weight
        weight[:, :k] = unpadded
    most = np.zeros(padded_columns(n), np.uint16)
    for signed in (np.maximum(weight, 0), np.negative(np.minimum(weight, 0))):  # of -128 it is -128: as uint8, 128
        pairs = signed.view(np.uint16)  # both of a pair in one number
        np.maximum(most[:n], ((pairs >> 8) + (pairs & 255)).max(axis=1), out=most[:n])
    return (most.reshape(-1, PANEL).max(axis=1) <= PAIR).astype(np.int32)


def pack(weight: np.ndarray, out: np.ndarray, sliver: int) -> None:
    """Pack W float32 [N, K] into `out` float32 [panels(N), K, PANEL]; what products/packing.py does faster.

    Bits of bfloat16, uint16 [N, K], go into uint16 of the same shape. They are cut in the same way, but the k of a
    sliver lie in pairs (`in_pairs`): the two numbers that a column has for k and k + 1, k even, are side by side, the
    halves of one word, from which either becomes a float32 by one instruction.

    Panel p is a matrix B [K, PANEL] whose column j is row p * PANEL + j of W, zero beyond N. In memory it is cut as the
    products read it: into blocks of k of `chain_length(K)`, the last one shorter where K is no multiple; a block into
    slivers as wide as the CPU's register tile (code/target.py); and a sliver [k of the block, sliver] is contiguous. So
    element (k, j) of B, in the block of `length` k that begins with `first`, lies at

        first * PANEL + j // sliver * sliver * length + (k - first) * sliver + j % sliver

    Why: a tile then reads nothing but what it needs, in one stream, and a sliver stays in the first-level cache while
    all rows use it (docs/cpus.md). Where the tile is as wide as the panel, the panel is simply [K, PANEL].
    """
    n, k = weight.shape
    for p, panel in enumerate(out):
        b = np.zeros((k, PANEL), weight.dtype)
        b[:, : n - p * PANEL] = weight[p * PANEL : (p + 1) * PANEL].T
        blocks: Iterable[np.ndarray] = (b[first : first + chain_length(k)] for first in range(0, k, chain_length(k)))
        if weight.dtype == np.uint16:
            blocks = (block.reshape(-1, 2, PANEL).transpose(0, 2, 1) for block in blocks)
        slivers = [block[:, j : j + sliver].ravel() for block in blocks for j in range(0, PANEL, sliver)]
        panel[:] = np.concatenate(slivers).reshape(k, PANEL)


def in_pairs(k: int) -> bool:
    """Whether every block of a sum of length k (`chain_length`) is even, as it must be for packed bfloat16."""
    return k % 2 == 0 and chain_length(k) % 2 == 0
