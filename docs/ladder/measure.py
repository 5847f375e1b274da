"""Measures the ladder: each step's product and attention, in GFLOP/s and as a share of what the core can do at most.

`python docs/ladder/measure.py` checks every step against the oracle first, then prints the table of README.md, and with
`--write` puts it there; it takes less than two minutes. One thread; seconds are CPU time of that thread. A step's own
file, `python docs/ladder/step3_rule.py`, tells of that one.
"""

from __future__ import annotations

import importlib
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from minidistil.backends.reference import exact
from minidistil.kernels.products.roofs import multiply_adds
from minidistil.kernels.products.tile import LANES, ROWS, VECTORS
from minidistil.weights.model_weights import Linear

HERE = Path(__file__).resolve().parent
STEPS = sorted(path.stem for path in HERE.glob("step*.py"))
ASIDES = sorted(path.stem for path in HERE.glob("aside_*.py"))
M, K, N = 128, 768, 768  # a sentence of 128 tokens, DistilBERT's width
TOKENS, HEADS, WIDTH = 128, 12, 64
COPIES = 16  # of the weights, multiplied by in turn: 38 MB, so that they come from memory as in a pass
EPS = np.finfo(np.float32).eps
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")  # of BLAS, in step 1
BEGIN, END = "<!-- table: what measure.py printed -->\n", "<!-- end of the table -->"  # in README.md
f32 = np.float32

# Remainders of every kind: of rows, columns, and blocks of k (one; halves and a single term; 192s and what is left).
PRODUCTS = [(4, 64, 48), (21, 301, 50), (37, 400, 100), (M, K, N)]
ATTENTIONS = [(1, 2, 64), (21, 2, 32), (200, 2, 26), (TOKENS, HEADS, WIDTH)]


def check(step: ModuleType) -> None:
    """Hold a step against the oracle: bits where its sums are the rule's, and a bound of the rounding errors elsewhere.

    Raises:
        AssertionError: something differs.
    """
    for m, k, n in PRODUCTS:
        x, w = operands(m, k, n)
        got, want = step.product(x, step.prepare(w))[:, :n], exact.linear(x, w)
        _compare(step, got, want, product_bound(x, w), f"product, M={m} K={k} N={n}")
    for n, heads, width in ATTENTIONS if hasattr(step, "attention") else []:
        q, k, v = vectors(n, heads, width)
        want, p = exact.attention(q, k, v)
        _compare(step, step.attention(q, k, v), want, attention_bound(q, k, v, p), f"attention, n={n} d={width}")


def operands(m: int, k: int, n: int, seed: int = 0) -> tuple[np.ndarray, Linear]:
    """x float32 [M, K] and W float32 [N, K] with its bias, as large as a model's."""
    rng = np.random.default_rng(seed)
    x, w, b = (rng.standard_normal(shape, f32) for shape in ((m, k), (n, k), (n,)))
    return x, Linear(w * f32(0.05), b)


def vectors(n: int, heads: int, width: int) -> list[np.ndarray]:
    """q, k, v float32 [n, H, d]."""
    rng = np.random.default_rng(1)
    return [rng.standard_normal((n, heads, width), f32) for _ in range(3)]


def product_bound(x: np.ndarray, w: Linear) -> np.ndarray:
    """How far two orders of one sum may lie apart: float64 [M, N].

    In any order, K terms and a bias are at most (K + 1) eps / 2 sum |x w| from the true sum, so two are twice that
    apart (N. Higham, "Accuracy and Stability of Numerical Algorithms", 3.1). Zeros are far outside, and NaN is.
    """
    terms = np.abs(x).astype(float) @ np.abs(w.weight).T.astype(float) + np.abs(w.bias)
    return (x.shape[1] + 2) * EPS * terms


def attention_bound(q: np.ndarray, k: np.ndarray, v: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The same of attention: float64 [n, H, d].

    Scores differ by the product's bound, and rounding e's argument; e^s by as much relatively, besides 20 units in the
    last place of exp_u20; all this in numerator and denominator; then a sum of n terms, and the product with v of n.
    """
    n, _, d = q.shape
    scores = np.einsum("ihd,jhd->hij", np.abs(q), np.abs(k)).max() / np.sqrt(d)
    relative = 2 * ((d + 4) * EPS * scores + 21 * EPS) + 2 * (n + 2) * EPS
    return relative * np.einsum("hij,jhd->ihd", p.astype(float), np.abs(v).astype(float))


def _compare(step: ModuleType, got: np.ndarray, want: np.ndarray, bound: np.ndarray, what: str) -> None:
    what = f"{step.__name__}: {what}"
    assert got.dtype == want.dtype == f32, what
    assert got.shape == want.shape, what
    if step.ORDER == "the rule":
        wrong = np.ascontiguousarray(got).view(np.uint32) != want.view(np.uint32)
    else:
        wrong = ~(np.abs(got - want.astype(float)) <= bound)  # NaN is wrong
        for axis in range(want.ndim):  # a bound that a row or a column of zeros would pass is none
            assert (np.abs(want) > bound).any(axis=axis).all(), f"{what}: the bound says nothing"
    assert not wrong.any(), f"{what}: {wrong.sum()} of {wrong.size} values are wrong"


def measure(step: ModuleType, seconds: float) -> tuple[float, float | None, float]:
    """GFLOP/s of the product and, if it has one, of the attention (medians); and of the peak, before and after."""
    peak = peak_gflops()
    weights = [step.prepare(operands(M, K, N, seed)[1]) for seed in range(COPIES)]
    x, qkv = operands(M, K, N)[0], vectors(TOKENS, HEADS, WIDTH)
    products = _rate(lambda i: step.product(x, weights[i % COPIES]), 2 * M * K * N, seconds)
    attention = None
    if hasattr(step, "attention"):
        attention = _rate(lambda i: step.attention(*qkv), 4 * TOKENS * TOKENS * HEADS * WIDTH, seconds)
    return products, attention, max(peak, peak_gflops())


def _rate(call: Callable[[int], object], operations: int, seconds: float) -> float:
    """GFLOP/s, the median of calls for so many seconds; multiply-adds count twice, exponentials not at all."""
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        before = time.thread_time_ns()
        call(len(times))
        times.append(time.thread_time_ns() - before)
    return operations / statistics.median(times)


def peak_gflops() -> float:
    """What the core can do at most: multiply-adds that never leave the registers, the best of ten times 10 ms."""
    multiply_adds(1000, f32(0.5))
    rounds, best = 100_000, 0.0
    for _ in range(10):
        before = time.thread_time_ns()
        multiply_adds(rounds, f32(0.5))
        best = max(best, rounds * ROWS * VECTORS * LANES * 2 / (time.thread_time_ns() - before))
    return best


def on_one_thread() -> None:
    """Begin again with a BLAS of one thread, if this process has not begun so: BLAS reads that when it is loaded."""
    if not ONE_THREAD.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)


def load(name: str) -> ModuleType:
    """A step by the name of its file."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    return importlib.import_module(name)


def title(step: ModuleType) -> str:
    """Its first line, without the full stop."""
    return (step.__doc__ or "").splitlines()[0].partition(": ")[2].rstrip(".")


def tell(file: str) -> None:
    """Check a step and print its figures: what running its file does."""
    on_one_thread()
    step = load(Path(file).stem)
    check(step)
    products, attention, peak = measure(step, 1.0)
    held = "has every bit of the oracle" if step.ORDER == "the rule" else "is within the bound of rounding errors"
    print(f"{step.__name__}: {title(step)}\n  {held}; the core's peak is {peak:.0f} GFLOP/s")
    print(f"  product    {products:8.2f} GFLOP/s, {products / peak:.1%} of the peak")
    if attention is not None:
        print(f"  attention  {attention:8.2f} GFLOP/s, {attention / peak:.1%} of the peak")


def machine() -> str:
    """CPU, family, lanes, system and versions, as the table names them."""
    info = Path("/proc/cpuinfo").read_text().split("\n\n")[0] if Path("/proc/cpuinfo").exists() else ""
    facts = dict(line.split("\t", 1) for line in info.splitlines() if "\t" in line)
    facts = {key.strip(): value.strip("\t: ") for key, value in facts.items()}
    cpu = f"{facts.get('model name', platform.machine())}, family {facts.get('cpu family', '?')}"
    versions = ", ".join(f"{name} {importlib.import_module(name).__version__}" for name in ("numpy", "numba"))
    return f"{cpu}, vectors of {LANES} float32; {platform.system()}, Python {platform.python_version()}, {versions}"


def table() -> str:
    """Check all steps, then measure them."""
    steps = [load(name) for name in (*STEPS, *ASIDES)]
    for step in steps:
        check(step)
    found = [measure(step, 0.5) for step in steps]
    peak = max(figures[2] for figures in found)
    load_average = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"
    lines = [
        f"{machine()}; load {load_average}; {time.strftime('%Y-%m-%d')}. Peak of one core: {peak:.0f} GFLOP/s.",
        "",
        "| file | what | product GFLOP/s | of peak | attention GFLOP/s | of peak | bits |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for step, (products, attention, _) in zip(steps, found, strict=True):
        attended = "| | " if attention is None else f"| {attention:.2f} | {attention / peak:.1%} "
        bits = "all" if step.ORDER == "the rule" else "other order"
        name = step.__name__
        cells = f"[{name}]({name}.py) | {title(step)} | {products:.2f} | {products / peak:.1%}"
        lines.append(f"| {cells} {attended}| {bits} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table; with `--write`, put it into README.md."""
    on_one_thread()
    made = table()
    print(made)
    if "--write" in sys.argv[1:]:
        readme = HERE / "README.md"
        before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        readme.write_text(f"{before}{begin}{made}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
