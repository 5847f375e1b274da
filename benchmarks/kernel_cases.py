"""The engine's own kernels at DistilBERT-base's sizes, with the work that each call does."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

D, H, F, V = 768, 12, 3072, 30522
ROWS = (8, 32, 128, 512)
_FEW = 32
_EVICTING = (
    64 * 2**20
)  # bytes of weights that a product walks through, so that each call meets them in memory as a pass does


@dataclass(frozen=True)
class Case:
    """A kernel on inputs of one size.

    Attributes:
        kernel, tokens: what and for how many tokens.
        run: one call, on one core.
        flops: multiplications and additions of its products; 0 where it has none, so that memory is its measure.
        bytes: what it has to read and write once at least: weights, inputs, outputs.
        arrays: what the addresses in `run` point into.
    """

    kernel: str
    tokens: int
    run: Callable[[], Any]
    flops: int
    bytes: int
    arrays: tuple[np.ndarray, ...]

    @property
    def name(self) -> str:
        """For tables: "lin1 + gelu, 128 tokens"."""
        return f"{self.kernel}, {self.tokens} tokens"


def listing(tokens: int) -> list[str]:
    """Names of the kernels measured at so many tokens."""
    return [name for name in _MAKERS if tokens <= _FEW or name != "vocab_projector"]  # rows of masks are few


def make(kernel: str, tokens: int) -> Case:
    """Allocate the inputs of a case; `kernel` is a name from `listing`."""
    return _MAKERS[kernel](tokens)


def measure_cases(seconds: float) -> list[dict[str, Any]]:
    """Run every case for about `seconds`; kernel, tokens, flops, bytes and the median CPU seconds of a call.

    CPU time of the calling thread, which is the one that computes: what else the machine does does not count.
    """
    found = []
    for case in (make(kernel, tokens) for tokens in ROWS for kernel in listing(tokens)):
        case.run()
        times: list[float] = []
        start = time.perf_counter()
        while len(times) < 5 or time.perf_counter() - start < seconds:
            before = time.thread_time()
            case.run()
            times.append(time.thread_time() - before)
        median = float(np.median(times))
        found.append(
            {"kernel": case.kernel, "tokens": case.tokens, "flops": case.flops, "bytes": case.bytes, "median": median}
        )
    return found


def _product(name: str, m: int, k: int, n: int, gelu: bool = False) -> Case:
    """As the engine calls it: rows a leading dimension apart, packed weights, one thread that draws all tasks."""
    from minidistil.kernels.layout import (
        GELU,
        LINEAR_ACTIVATION,
        PANEL,
        leading_dimension,
        padded_columns,
        panels,
        team_memory,
    )
    from minidistil.kernels.product import product
    from minidistil.weights.packing import aligned_zeros

    count, columns = panels(n), padded_columns(n)
    ldx, ld_out = leading_dimension(padded_columns(k)), leading_dimension(columns)
    x, out = _filled(m * ldx), aligned_zeros(m * ld_out)
    copies = max(1, -(-_EVICTING // (k * columns * 4)))
    weights = [_filled(count * k * PANEL) for _ in range(copies)]
    bias, team = _filled(columns), team_memory(1)
    weight_at = itertools.cycle([_at(weight) for weight in weights])
    x_at, bias_at, out_at, team_at = _at(x), _at(bias), _at(out), _at(team)
    activation = GELU if gelu else LINEAR_ACTIVATION

    def run() -> None:
        team[:] = 0
        product(
            x_at, ldx, m, next(weight_at), bias_at, k, 0, count, out_at, ld_out, activation, team_at, 0
        )  # fmt: skip

    return Case(name, m, run, 2 * m * k * n, 4 * (k * n + n + m * (k + n)), (x, bias, out, *weights))


def _attention(m: int) -> Case:
    """All heads of one sentence, q, k and v side by side as they come out of the product."""
    from minidistil.kernels.attention import attend
    from minidistil.kernels.layout import attention_scratch, leading_dimension
    from minidistil.weights.packing import aligned_zeros

    d, ld, ld_out = D // H, leading_dimension(3 * D), leading_dimension(D)
    qkv, context = _filled(m * ld), aligned_zeros(m * ld_out)
    scratch = aligned_zeros(attention_scratch(m, d))
    scale = np.float32(1 / np.sqrt(d))
    qkv_at, context_at, scratch_at = _at(qkv), _at(context), _at(scratch)

    def run() -> None:
        for head in range(H):
            q, target = qkv_at + head * d * 4, context_at + head * d * 4
            attend(q, m, q + D * 4, q + 2 * D * 4, ld, m, d, scale, 0, m, target, ld_out, 0, scratch_at)

    return Case("attention", m, run, 4 * m * m * D, 4 * 4 * m * D, (qkv, context, scratch))


def _add_layer_norm(m: int) -> Case:
    from minidistil.kernels.layer_norm import SCRATCH, add_normalize_rows
    from minidistil.kernels.layout import leading_dimension
    from minidistil.weights.packing import aligned_zeros

    ld = leading_dimension(D)
    x, y, gain, shift = _filled(m * ld), _filled(m * ld), _filled(D), _filled(D)
    scratch, eps = aligned_zeros(SCRATCH), np.float32(1e-12)
    x_at, y_at, gain_at, shift_at, scratch_at = (_at(a) for a in (x, y, gain, shift, scratch))

    def run() -> None:
        add_normalize_rows(x_at, ld, y_at, ld, m, D, gain_at, shift_at, eps, scratch_at)

    return Case("residual + layer_norm", m, run, 0, 4 * (3 * m * D + 2 * D), (x, y, gain, shift, scratch))


def _gelu(m: int) -> Case:
    from minidistil.kernels.gelu import gelu

    x, out = _filled(m * F), np.empty(m * F, np.float32)
    return Case("gelu", m, lambda: gelu(x, out), 0, 8 * m * F, (x, out))


def _embeddings(m: int) -> Case:
    from minidistil.kernels.embeddings import embed_rows
    from minidistil.weights.packing import aligned_zeros

    words, positions = _filled(V * D), _filled(512 * D)
    ids = np.random.default_rng(1).integers(0, V, m).astype(np.int32)
    places, out = np.arange(m, dtype=np.int32), aligned_zeros(m * D)

    words_at, ids_at, positions_at, places_at, out_at = (_at(a) for a in (words, ids, positions, places, out))

    def run() -> None:
        embed_rows(0, m, words_at, ids_at, 0, 0, positions_at, places_at, D, out_at, D)

    arrays = (words, ids, positions, places, out)
    return Case("embeddings", m, run, 0, 4 * (3 * m * D + 2 * m), arrays)


def _at(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _filled(size: int) -> np.ndarray:
    """float32 [size] on a cache line, values as of activations; few drawn and repeated, which is quicker."""
    from minidistil.weights.packing import aligned_zeros

    values = np.random.default_rng(0).standard_normal(4099, dtype=np.float32)
    out = aligned_zeros(size)
    out[:] = np.resize(values, size)
    return out


_MAKERS: dict[str, Callable[[int], Case]] = {
    "q, k, v": lambda m: _product("q, k, v", m, D, 3 * D),
    "out_lin": lambda m: _product("out_lin", m, D, D),
    "lin1 + gelu": lambda m: _product("lin1 + gelu", m, D, F, gelu=True),
    "lin2": lambda m: _product("lin2", m, F, D),
    "vocab_projector": lambda m: _product("vocab_projector", m, D, V),
    "attention": _attention,
    "residual + layer_norm": _add_layer_norm,
    "gelu": _gelu,
    "embeddings": _embeddings,
}
