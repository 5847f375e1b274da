"""Memory that does not grow, and processes that are started rather than forked."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import minidistil
from tests.bits import assert_same_bits
from tests.processes import python

ROOT = Path(__file__).parents[2]

_ENCODE = """
import sys
import numpy as np
import minidistil

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

encoder = minidistil.load(sys.argv[1], threads=2)
rng = np.random.default_rng(0)
words = [f"word{i}" for i in range(500)]
texts = [" ".join(rng.choice(words, rng.integers(1, 40))) for _ in range(10_000)]
encoder.encode(texts[:2000])
before = resident()
for start in range(0, 10_000, 1000):
    encoder.encode(texts[start : start + 1000])
print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc")
def test_ten_thousand_sentences_do_not_grow_memory(sentence_small: Path) -> None:
    assert float(python(_ENCODE, sentence_small, cwd=ROOT)) < 5, "megabytes more after ten thousand sentences"


def _embed(folder: str) -> np.ndarray:
    return minidistil.load(folder, threads=1).encode(["a text", "another one"])


@pytest.mark.skipif("spawn" not in multiprocessing.get_all_start_methods(), reason="no spawn here")
def test_spawned_processes_compute_the_same_bits(sentence_small: Path) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(_embed, [str(sentence_small)] * 2))
    for result in results:
        assert_same_bits(result, _embed(str(sentence_small)))
