"""Teams of threads: sharing, forking, interrupting, ending; and how many threads a process may use."""

from __future__ import annotations

import gc
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minidistil.backends.engine import Engine, threads
from minidistil.backends.engine.passes import cut_in_passes
from minidistil.weights.packing import pack_model
from tests import build, forks, synthetic
from tests.bits import assert_same_bits
from tests.processes import forked, join, python

ROOT = Path(__file__).parents[2]
CONFIG = {**synthetic.DISTILBERT_SMALL, "n_layers": 2}


@pytest.fixture(scope="module")
def parts() -> tuple:
    return build.config(CONFIG), build.model_weights(CONFIG)


def batch(seed: int = 0) -> object:
    rng = np.random.default_rng(seed)
    return build.batch([rng.integers(0, 1200, n) for n in (3, 50, 17)])


def many(seed: int = 0) -> object:
    """A batch of which every thread of up to four takes passes by itself."""
    rng = np.random.default_rng(seed)
    return build.batch([rng.integers(0, 1200, n) for n in rng.integers(15, 20, 40)])


BATCHES = pytest.mark.parametrize("batch", [batch, many])


@BATCHES
@pytest.mark.parametrize("count", [1, 2, 4])
def test_eight_callers_at_once(parts: tuple, count: int, batch: Callable) -> None:
    engine = Engine(*parts, threads=count)
    want = [Engine(*parts, threads=1).encode(batch(i)).last for i in range(8)]
    wrong: list[BaseException] = []

    def call(i: int) -> None:
        try:
            for _ in range(20):
                assert_same_bits(engine.encode(batch(i)).last, want[i])
        except BaseException as error:
            wrong.append(error)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    join(callers)
    assert not wrong, wrong


@pytest.mark.parametrize("count", [5, 64])
@pytest.mark.parametrize("lengths", [(1,), (3, 50, 17), (150, 2)])
def test_more_threads_than_cores_and_tasks(parts: tuple, count: int, lengths: tuple[int, ...]) -> None:
    """Rows and queries are shared out in smaller blocks then; every result there is has the bits of one thread."""
    rng = np.random.default_rng(len(lengths))
    alone, many = Engine(*parts, threads=1), Engine(*parts, threads=count)
    some = build.batch([rng.integers(0, 1200, n) for n in lengths])
    want, got = (engine.encode(some, hidden_states=True, attentions=True) for engine in (alone, many))
    assert_same_bits(np.stack(got.hidden_states), np.stack(want.hidden_states))
    for ours, others in zip(got.attentions, want.attentions, strict=True):
        for a, b in zip(ours, others, strict=True):
            assert_same_bits(a, b, "attentions")
    rows = np.array([0, some.tokens - 1])  # of the sentences between, none
    assert_same_bits(many.encode(some, rows=rows).last, want.last[rows])
    square = [rng.integers(0, 1200, max(lengths))] * 2
    bias = rng.standard_normal((2, 4, max(lengths), max(lengths)), np.float32)
    biased = build.batch(square, attention_bias=bias)
    assert_same_bits(many.encode(biased).last, alone.encode(biased).last)


def first_calls(parts: tuple, engines: int) -> None:
    """Of fresh engines, each by four threads at the same moment."""
    packed = pack_model(parts[1])
    want = Engine(*parts, threads=1, packed=packed).encode(batch()).last
    for _ in range(engines):
        engine, together, wrong = Engine(*parts, threads=2, packed=packed), threading.Barrier(4), list[Exception]()

        def call(engine: Engine = engine, together: threading.Barrier = together, wrong: list = wrong) -> None:
            try:
                together.wait(60)
                assert_same_bits(engine.encode(batch()).last, want)
            except Exception as error:
                wrong.append(error)

        callers = [threading.Thread(target=call, daemon=True) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
        assert not any(caller.is_alive() for caller in callers), "callers hang"
        assert not wrong, wrong


def test_the_first_call_comes_from_several_threads(parts: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a lock is made, all threads get so far before it is there."""

    def lock() -> threading.Lock:
        time.sleep(0.001)
        return threading.Lock()

    monkeypatch.setattr(threads, "threading", SimpleNamespace(Lock=lock, Thread=threading.Thread))
    first_calls(parts, 200)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_first_call_of_a_forked_child_comes_from_several_threads(parts: tuple) -> None:
    engine = Engine(*parts, threads=2)
    engine.encode(batch())
    with engine._team.turn():  # as while another thread computes
        assert forks.ended(forks.child(lambda: [first_calls(parts, 20), engine.encode(batch())])) == [0]


def test_a_worker_that_fails_sends_all_home(parts: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(*parts, threads=3)
    want = engine.encode(batch()).last
    real = threads.native.entry

    def entry(name: str) -> threads.native.Entry:
        def call(address: int, thread: int, count: int) -> bool:
            if thread == 2:
                raise RuntimeError("broken")
            return real(name)(address, thread, count)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(threads.native, "entry", entry)
        with pytest.raises(RuntimeError, match="broken"):
            engine.encode(batch())
    assert_same_bits(engine.encode(batch()).last, want)


def takes(engine: Engine, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None] = lambda: None) -> list[str]:
    """Names of the threads that take passes alone, as they begin one; `act` is called by each then."""
    names, run = [], engine._run

    def watched(*args: object, alone: bool = False, **options: object) -> object:
        if alone:
            names.append(threading.current_thread().name)
            act()
        return run(*args, alone=alone, **options)

    monkeypatch.setattr(engine, "_run", watched)
    return names


def test_each_thread_takes_passes_by_itself(parts: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, both = Engine(*parts, threads=2), threading.Barrier(2)
    engine.limits = build.limits(2, 100, True)
    want = Engine(*parts, threads=1).encode(many(), hidden_states=True, attentions=True)
    names = takes(engine, monkeypatch, lambda: both.wait(60))  # nobody takes one before the other has one too
    got = engine.encode(many(), hidden_states=True, attentions=True)
    assert set(names) == {threading.current_thread().name, "minidistil-1"}
    assert len(names) == len(cut_in_passes(many(), None, engine.limits).passes) > 2
    assert_same_bits(np.stack(got.hidden_states), np.stack(want.hidden_states))
    for ours, others in zip(got.attentions, want.attentions, strict=True):
        for a, b in zip(ours, others, strict=True):
            assert_same_bits(a, b, "attentions")


@pytest.mark.parametrize("where", ["caller", "worker"])
def test_a_pass_that_fails_is_the_last(parts: tuple, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    engine, both, met = Engine(*parts, threads=2), threading.Barrier(2), threading.Event()
    engine.limits = build.limits(2, 20, True)
    want = engine.encode(many()).last

    def fail() -> None:
        if (threading.current_thread().name == "minidistil-1") == (where == "worker"):
            both.wait(60)
            raise RuntimeError("broken")
        if not met.is_set():
            met.set()
            both.wait(60)
        time.sleep(0.02)

    with monkeypatch.context() as patch:
        names = takes(engine, patch, fail)
        with pytest.raises(RuntimeError, match="broken"):
            engine.encode(many())
        assert len(names) < len(cut_in_passes(many(), None, engine.limits).passes) // 2
    assert_same_bits(engine.encode(many()).last, want)
    assert_same_bits(engine.encode(batch()).last, Engine(*parts, threads=1).encode(batch()).last)


def test_nobody_waits_for_a_worker_that_is_late(parts: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller takes all passes then; the worker finds nothing to do, and after it the next call."""
    engine, take, late = Engine(*parts, threads=2), threads._Apart.take, threading.Event()

    def slow(apart: object, number: int) -> None:
        if number:
            assert late.wait(60)
        take(apart, number)

    monkeypatch.setattr(threads._Apart, "take", slow)
    names = takes(engine, monkeypatch)
    want = [Engine(*parts, threads=1).encode(some()).last for some in (many, batch)]
    for _ in range(3):
        assert_same_bits(engine.encode(many()).last, want[0])
    assert set(names) == {threading.current_thread().name}
    late.set()
    assert_same_bits(engine.encode(batch()).last, want[1])  # which both have to take


def started_since(before: set[threading.Thread]) -> set[threading.Thread]:
    return set(threading.enumerate()) - before


def test_threads_end_with_the_engine(parts: tuple) -> None:
    before = set(threading.enumerate())
    engine = Engine(*parts, threads=3)
    assert not started_since(before), "workers start with the first job"
    engine.encode(batch())
    workers = started_since(before)
    assert len(workers) == 2
    del engine
    gc.collect()
    join(workers)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@BATCHES
@pytest.mark.parametrize("count", [1, 2])
def test_forked_child_computes(parts: tuple, count: int, batch: Callable) -> None:
    engine = Engine(*parts, threads=count)
    want = engine.encode(batch()).last  # the parent's team is awake
    assert forked(lambda: engine.encode(batch()).last.tobytes()) == want.tobytes()
    assert_same_bits(engine.encode(batch()).last, want)


@BATCHES
def test_an_interrupted_call_leaves_the_engine_usable(
    parts: tuple, monkeypatch: pytest.MonkeyPatch, batch: Callable
) -> None:
    """Ctrl-C at the worst moment: the workers have started and wait for the caller, who never comes."""
    engine = Engine(*parts, threads=3)
    want = engine.encode(batch()).last
    start = threads._Crew.start

    def start_and_interrupt(crew: object, job: tuple) -> None:
        start(crew, job)
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    monkeypatch.setattr(threads._Crew, "start", start_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        Engine(*parts, threads=3).encode(batch())
    join(started_since(before))  # the interrupted call's workers do not wait for ever
    with pytest.raises(KeyboardInterrupt):
        engine.encode(batch())
    monkeypatch.undo()
    assert_same_bits(engine.encode(batch()).last, want)


_LONG = """
import numpy as np, os, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell starts with it ignored
from minidistil.backends.engine import Engine, threads
from tests import build, forks, synthetic
config = {**synthetic.DISTILBERT_BASE, "n_layers": 1, "vocab_size": 100, "architectures": ["DistilBertModel"]}
engine = Engine(build.config(config), build.model_weights(config), threads=2)
engine.limits = build.limits(2, 2048, {apart})
sentences = build.batch([np.zeros(512, np.int64)] * 600)
want = engine.encode(build.batch([np.arange(9)])).last
passes, begun, run = 0, threading.Event(), engine._run

def interrupt():  # while compiled code runs: of the first pass, or of a later one where this thread has to wait
    begun.wait()
    os.kill(os.getpid(), signal.SIGINT)

def counted(*args, **options):
    global passes
    passes += 1
    begun.set()
    return run(*args, **options)

threading.Thread(target=interrupt).start()
engine._run = counted
try:
    engine.encode(sentences)
    print("finished")
except KeyboardInterrupt:
    assert 1 <= passes < 600 * 512 // 2048 // 2, passes
    assert (engine.encode(build.batch([np.arange(9)])).last == want).all()
    print("usable")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("apart", [False, True])
def test_ctrl_c_during_a_long_encode(apart: bool) -> None:
    assert python(_LONG.replace("{apart}", str(apart)), cwd=ROOT) == "usable"


@pytest.mark.parametrize(
    ("group", "files", "cpus"),
    [
        ("0::/", {}, math.inf),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        ("0::/not/mounted", {"cpu.max": "200000 100000"}, 2),
        ("4:cpu,cpuacct:/x", {"cpu/x/cpu.cfs_quota_us": "300000", "cpu/x/cpu.cfs_period_us": "100000"}, 3),
        ("4:cpu:/x", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_quota_of_control_groups(tmp_path: Path, group: str, files: dict, cpus: float) -> None:
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text + "\n")
    (tmp_path / "self").write_text(group + "\n" if group else "")
    assert threads._quota(tmp_path / "cgroup", tmp_path / "self") == cpus


@pytest.mark.parametrize(("quota", "count"), [(math.inf, 4), (0.5, 1), (1.9, 1), (3, 3), (16, 4)])
def test_default_threads(monkeypatch: pytest.MonkeyPatch, quota: float, count: int) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(threads, "_quota", lambda: quota)
    assert threads.default_threads() == count


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("1", 1), ("3", 3), (" 12 ", 12), ("2,4", 2), ("32768", 32768),
        ("", 4), ("0", 4), ("-1", 4), ("2.5", 4), ("many", 4), (",2", 4), ("32769", 4), ("9" * 40, 4), ("\u0662", 4),
    ],
)  # fmt: skip
def test_default_threads_as_the_environment_says(monkeypatch: pytest.MonkeyPatch, said: str, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(threads, "_quota", lambda: math.inf)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads.default_threads() == count


def test_an_argument_wins_over_the_environment(parts: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert Engine(*parts).threads == 3
    assert Engine(*parts, threads=2).threads == 2


def test_callers_that_take_turns_share_one_workspace(parts: tuple) -> None:
    engine = Engine(*parts, threads=2)
    callers = [threading.Thread(target=engine.encode, args=(batch(i),)) for i in range(8)]
    for caller in callers:
        caller.start()
    join(callers)
    assert len(engine._workspaces._free) == 1
