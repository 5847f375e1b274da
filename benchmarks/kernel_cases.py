"""The engine's own kernels at DistilBERT-base's sizes, with the work that each call does."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

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


def _product(name: str, m: int, k: int, n: int, activation: str = "linear") -> Case:
    """As the engine calls it: rows a leading dimension apart, packed weights."""
    from minidistil.kernels.layout import ACTIVATIONS, leading_dimension, padded_columns
    from minidistil.kernels.steps.product import Product
    from minidistil.kernels.steps.table import Matrix, Packed
    from minidistil.weights.packing import aligned_zeros

    columns = padded_columns(n)
    ldx, ld_out = leading_dimension(padded_columns(k)), leading_dimension(columns)
    x, out, bias = _filled(m * ldx), aligned_zeros(m * ld_out), _filled(columns)
    weights = [_filled(columns * k) for _ in range(max(1, -(-_EVICTING // (k * columns * 4))))]
    step = Product(
        Matrix(_at(x), ldx), Packed(0, _at(bias), k, columns), Matrix(_at(out), ld_out), m, ACTIVATIONS[activation]
    )
    steps = [step._replace(w=step.w._replace(weight=_at(weight))) for weight in weights]
    return Case(name, m, _taking(*steps), 2 * m * k * n, 4 * (k * n + n + m * (k + n)), (x, bias, out, *weights))


def _attention(m: int) -> Case:
    """All heads of one sentence, q, k and v side by side as they come out of the product."""
    from minidistil.kernels.layout import attention_scratch, leading_dimension
    from minidistil.kernels.steps.attend import Attend
    from minidistil.kernels.steps.table import Matrix
    from minidistil.weights.packing import aligned_zeros

    d, ld, ld_out = D // H, leading_dimension(3 * D), leading_dimension(D)
    qkv, context, ends = _filled(m * ld), aligned_zeros(m * ld_out), np.array([0, m])
    q, k, v = (Matrix(_at(qkv) + i * D * 4, ld) for i in range(3))
    offsets, scale = _at(ends), 1 / np.sqrt(d)
    step = Attend(q, k, v, Matrix(_at(context), ld_out), H, d, scale, 1, offsets, offsets, 0, 1, 0, 0)
    run = _taking(step, scratch=attention_scratch(m, d))
    return Case("attention", m, run, 4 * m * m * D, 4 * 4 * m * D, (qkv, context, ends))


def _add_layer_norm(m: int) -> Case:
    from minidistil.kernels.layout import leading_dimension
    from minidistil.kernels.steps.sum_rows import LAYER_NORM, SumRows
    from minidistil.kernels.steps.table import Matrix, Rows

    ld = leading_dimension(D)
    x, y, gain, shift = _filled(m * ld), _filled(m * ld), _filled(D), _filled(D)
    terms = [Rows(_at(array), ld, 0) for array in (x, y)]
    step = SumRows(Matrix(_at(x), ld), *terms, Rows(0, 0, 0), m, D, LAYER_NORM, _at(gain), _at(shift), 1e-12)
    return Case("residual + layer_norm", m, _taking(step), 0, 4 * (3 * m * D + 2 * D), (x, y, gain, shift))


def _gelu(m: int) -> Case:
    from minidistil.kernels.layout import GELU
    from minidistil.kernels.steps.activate import Activate

    x = _filled(m * F)
    return Case("gelu", m, _taking(Activate(_at(x), x.size, GELU)), 0, 8 * m * F, (x,))


def _embeddings(m: int) -> Case:
    """The rows of two tables, summed; the LayerNorm behind them is measured by itself."""
    from minidistil.kernels.steps.sum_rows import SumRows
    from minidistil.kernels.steps.table import Matrix, Rows
    from minidistil.weights.packing import aligned_zeros

    words, positions = _filled(V * D), _filled(512 * D)
    ids = np.random.default_rng(1).integers(0, V, m).astype(np.int32)
    places, out = np.arange(m, dtype=np.int32), aligned_zeros(m * D)
    terms = Rows(_at(words), D, _at(ids)), Rows(_at(positions), D, _at(places)), Rows(0, 0, 0)
    step = SumRows(Matrix(_at(out), D), *terms, m, D)
    return Case("embeddings", m, _taking(step), 0, 4 * (3 * m * D + 2 * m), (words, ids, positions, places, out))


def _taking(*steps: NamedTuple, scratch: int = 0) -> Callable[[], None]:
    """A function that takes one of these steps on the caller's thread, at the next call the next one."""
    from minidistil.kernels import layout
    from minidistil.kernels.code import native
    from minidistil.kernels.steps.table import Steps

    memory = np.zeros(max(scratch, layout.ROW_BLOCK * layout.PANEL), np.float32)
    lists = itertools.cycle([Steps([(step, True)]) for step in steps])
    run = native.entry("run")

    def take() -> None:
        call = next(lists).call({"scratch": _at(memory), "scratch floats": memory.size, "clock": 0})
        run(_at(call), 0, 1)

    return take


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
    "lin1 + gelu": lambda m: _product("lin1 + gelu", m, D, F, activation="gelu"),
    "lin2": lambda m: _product("lin2", m, F, D),
    "vocab_projector": lambda m: _product("vocab_projector", m, D, V),
    "attention": _attention,
    "residual + layer_norm": _add_layer_norm,
    "gelu": _gelu,
    "embeddings": _embeddings,
}
