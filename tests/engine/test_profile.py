"""What the profile says of a pass: every kernel of every layer, in order, and times that add up."""

from __future__ import annotations

import time

import numpy as np
import pytest

from minidistil.backends.engine import Engine, profile
from tests import build, synthetic
from tests.families import VARIATIONS

CONFIG = {**synthetic.DISTILBERT_SMALL, "n_layers": 3}


@pytest.mark.parametrize("threads", [1, 2])
def test_every_kernel_is_named_once_a_layer(threads: int) -> None:
    engine = Engine(build.config(CONFIG), build.model_weights(CONFIG), threads=threads)
    batch = build.batch([np.arange(40), np.arange(7)])
    start = time.perf_counter()
    found = profile.profile(engine, batch, passes=3)
    elapsed = time.perf_counter() - start
    shares = found.shares
    assert found.passes.shape == (3,)
    assert 0 < found.passes.sum() < elapsed
    assert 0 < found.had <= 1
    kernels = ["q, k, v", "attention", "out_lin", "sa_layer_norm", "lin1 + activation", "lin2", "output_layer_norm"]
    expected = [("embeddings", None), *((name, i) for i in range(3) for name in kernels), ("result", None)]
    assert [(share.name, share.layer) for share in shares] == expected
    assert all(share.seconds >= 0 for share in shares)
    assert 0 < sum(share.seconds for share in shares) < elapsed
    operations = sum(share.operations for share in shares)
    assert operations == profile.pass_operations(engine, np.array([40, 7]))
    # 128 wide, 400 between: the weights of one layer, read once a pass.
    assert sum(share.weights for share in shares if share.layer == 0) == 4 * (4 * 128 * 128 + 2 * 128 * 400)


def test_passes_go_on_for_as_long_as_asked() -> None:
    engine = Engine(build.config(CONFIG), build.model_weights(CONFIG), threads=1)
    found = profile.profile(engine, build.batch([np.arange(9)]), passes=2, seconds=0.05)
    assert len(found.passes) > 2
    assert found.passes.sum() < 10


def test_weights_that_layers_share_are_read_once() -> None:
    values = VARIATIONS["albert of two groups"]
    albert = Engine(build.config(values), build.model_weights(values), threads=1)
    shares = profile.profile(albert, build.batch([np.arange(9)]), passes=1).shares
    assert 0 < albert.plan.weight_bytes() < sum(share.weights for share in shares)
    engine = Engine(build.config(CONFIG), build.model_weights(CONFIG), threads=1)
    assert engine.plan.weight_bytes() == 3 * 4 * (4 * 128 * 128 + 2 * 128 * 400)


def test_clock_changes_no_bit() -> None:
    engine = Engine(build.config(CONFIG), build.model_weights(CONFIG), threads=1)
    batch = build.batch([np.arange(20)])
    before = engine.encode(batch).last
    assert np.count_nonzero(engine.clock(batch)) == 2 + 3 * 7
    assert (engine.encode(batch).last.view(np.uint32) == before.view(np.uint32)).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_roofs_are_measured(threads: int) -> None:
    roofs = profile.measure_roofs(threads, buffer=1 << 20)
    # No lower bound: another process may have the cores. Above, a loop that the compiler threw away would lie.
    assert 0 < roofs.operations < 1e13
    assert 0 < roofs.least <= roofs.bytes <= roofs.most < 1e13
    assert roofs.buffer == 1 << 20
    assert roofs.had > 0


def test_samples_of_threads_that_shared_a_core_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each took twice as long, as the threads of a team do that both start on one core."""
    had = iter([0.5, 1.0] * 50)
    runs = []

    def run(team: object, steps: list, keep: object) -> profile._Sample:
        share = next(had)
        runs.append(share)
        return profile._Sample(0.03 / share, share)

    monkeypatch.setattr(profile, "_run", run)
    roofs = profile.measure_roofs(2, buffer=1 << 20)
    assert roofs.had == 1.0
    assert roofs.least == roofs.most == roofs.bytes == pytest.approx((1 << 20) / 0.03, rel=0.01)
    assert runs.count(1.0) == pytest.approx(18, abs=1)


def test_where_all_samples_are_disturbed_the_roofs_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_LIMIT", 0.0)
    monkeypatch.setattr(profile, "_run", lambda *_: profile._Sample(0.05, 0.6))
    assert profile.measure_roofs(2, buffer=1 << 20).had == 0.6 < profile.UNDISTURBED
