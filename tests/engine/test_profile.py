"""What the profile says of a pass: every kernel of every layer, in order, and times that add up."""

from __future__ import annotations

import time

import numpy as np
import pytest

from minidistil.backends.engine import Engine, profile
from tests import build, synthetic

CONFIG = {**synthetic.DISTILBERT_SMALL, "n_layers": 3}


@pytest.mark.parametrize("threads", [1, 2])
def test_every_kernel_is_named_once_a_layer(threads: int) -> None:
    engine = Engine(build.config(CONFIG), build.model_weights(CONFIG), threads=threads)
    batch = build.batch([np.arange(40), np.arange(7)])
    start = time.perf_counter()
    shares = profile.profile(engine, batch, passes=3)
    elapsed = time.perf_counter() - start
    kernels = ["q, k, v", "attention", "out_lin", "sa_layer_norm", "lin1 + activation", "lin2", "output_layer_norm"]
    expected = [("embeddings", None), *((name, i) for i in range(3) for name in kernels), ("result", None)]
    assert [(share.name, share.layer) for share in shares] == expected
    assert all(share.seconds >= 0 for share in shares)
    assert 0 < sum(share.seconds for share in shares) < elapsed
    operations = sum(share.operations for share in shares)
    assert operations == profile.pass_operations(engine, np.array([40, 7]))
    # 128 wide, 400 between: the weights of one layer, read once a pass.
    assert sum(share.weights for share in shares if share.layer == 0) == 4 * (4 * 128 * 128 + 2 * 128 * 400)


def test_clock_changes_no_bit() -> None:
    engine = Engine(build.config(CONFIG), build.model_weights(CONFIG), threads=1)
    batch = build.batch([np.arange(20)])
    before = engine.encode(batch).last
    assert np.count_nonzero(engine.clock(batch)) == 2 + 3 * 7
    assert (engine.encode(batch).last.view(np.uint32) == before.view(np.uint32)).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_roofs_are_measured(threads: int) -> None:
    roofs = profile.measure_roofs(threads)
    # No lower bound: another process may have the cores. Above, a loop that the compiler threw away would lie.
    assert 0 < roofs.operations < 1e13
    assert 0 < roofs.bytes < 1e13
