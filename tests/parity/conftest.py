"""The live reference, or the reason why there is none."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil.backends.reference import exact
from minidistil.weights.model_weights import Linear
from tests.bits import differ
from tests.processes import HANGS, started

_ROOT = Path(__file__).parents[2]


class Live:
    """PyTorch in another process; `Live.linear(x, w, b)` calls that function of worker.py there."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self._ask(name, arguments)

    def _ask(self, name: str, arguments: tuple) -> Any:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        try:
            pickle.dump((name, arguments), requests)
            requests.flush()
            succeeded, answer = pickle.load(answers)
        except (EOFError, BrokenPipeError):
            status = self._process.wait(HANGS)
            raise RuntimeError(f"the reference process ended with status {status}; its last words are above") from None
        if not succeeded:
            raise RuntimeError(f"in the reference process:\n{answer}")
        return answer


@pytest.fixture(scope="session")
def torch_reference() -> Iterator[Live]:
    """PyTorch and transformers in the pinned configuration; skips where they, or this host's MKL, are others."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: pip install 'minidistil[parity]'")
    pinned = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"}
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with started([sys.executable, "-m", "tests.parity.worker"], cwd=_ROOT, env=pinned, **pipes) as process:
        live = Live(process)
        live.versions()
        other = _other_order(live)
        if other:
            pytest.skip(other)
        yield live


@pytest.fixture(scope="session")
def torch_heads(torch_reference: Live) -> Live:
    """The same, for what rests on MKL's kernels for few columns too; skips where they are others."""
    for columns in (1, 11):
        other = _other_order(torch_reference, columns)
        if other:
            pytest.skip(other)
    return torch_reference


@pytest.fixture(scope="session")
def torch_tanh(torch_reference: Live) -> Live:
    """The same, for what rests on MKL's tanh; skips where this host's is another."""
    x = np.linspace(0.5, 9.5, 2**20, dtype=np.float32)
    share = differ(exact.activation("tanh", x), torch_reference.activation("tanh", x)).mean()
    if share:
        pytest.skip(f"torch.tanh is another function on this host: {share:.3%} of its values from 0.5 to 9.5 differ")
    return torch_reference


def _other_order(live: Live, columns: int = 48) -> str:
    """Why this host's matrix product is not the reference's; empty where it is."""
    generator = np.random.default_rng(0)
    x, w, b = (generator.standard_normal(shape, dtype=np.float32) for shape in ((16, 768), (columns, 768), columns))
    product = exact.narrow if columns < 12 else exact.linear
    share = differ(product(x, Linear(w, b)), live.linear(x, w, b)).mean()
    if share == 0:
        return ""
    return (
        f"PyTorch's matrix product sums in another order on this host: {share:.0%} of a product of 768 terms differ, "
        f"with {columns} columns. The rules of docs/arithmetic.md are those of MKL's kernels where they were measured"
    )
