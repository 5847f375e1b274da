"""Memory that does not grow, and processes that are started rather than forked."""

from __future__ import annotations

import dataclasses
import gc
import multiprocessing
import weakref
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import minidistil
from minidistil.backends.engine import Engine
from tests import build
from tests.bits import assert_same_bits
from tests.families import VARIATIONS
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
encoder.encode(texts)  # which every thread has a workspace for then
before = resident()
for start in range(0, 10_000, 1000):
    encoder.encode(texts[start : start + 1000])
print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc")
def test_ten_thousand_sentences_do_not_grow_memory(sentence_small: Path) -> None:
    assert float(python(_ENCODE, sentence_small, cwd=ROOT)) < 5, "megabytes more after ten thousand sentences"


@pytest.mark.parametrize("kind", ["albert untied", "mobilebert untied"])
def test_what_is_packed_is_let_go(kind: str) -> None:
    """All but the embeddings, whatever is asked for later."""
    values = VARIATIONS[kind]
    weights, batch = build.model_weights(values), build.batch([np.arange(9)])
    arrays = [weakref.ref(array) for array in arrays_of((weights.encoder.layers, weights.masked_lm))]
    engine = Engine(build.config(values), weights, threads=1)
    del weights
    gc.collect()
    assert len(arrays) > 20
    assert not [array().shape for array in arrays if array() is not None]
    encoded = engine.encode(batch, hidden_states=True, attentions=True)
    assert np.isfinite(engine.masked_lm(engine.encode(batch, rows=np.array([3])).last)).all()
    assert np.isfinite(encoded.last).all()


def arrays_of(part: object) -> Iterator[np.ndarray]:
    """Of weights, each once."""
    if isinstance(part, np.ndarray):
        yield part
    elif isinstance(part, tuple):
        for one in dict.fromkeys(map(id, part)):
            yield from arrays_of(next(x for x in part if id(x) == one))
    elif dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            yield from arrays_of(getattr(part, field.name))


def _embed(folder: str) -> np.ndarray:
    return minidistil.load(folder, threads=1).encode(["a text", "another one"])


@pytest.mark.skipif("spawn" not in multiprocessing.get_all_start_methods(), reason="no spawn here")
def test_spawned_processes_compute_the_same_bits(sentence_small: Path) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(_embed, [str(sentence_small)] * 2))
    for result in results:
        assert_same_bits(result, _embed(str(sentence_small)))
