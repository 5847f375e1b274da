"""What holds for every test, holds: none finds the same bits twice in a BLAS, none leaves a process or a thread."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from minidistil.reference import blas
from minidistil.weights.model_weights import Linear
from tests.processes import HANGS, join, nobody_left, started

ROOT = Path(__file__).resolve().parents[2]

RNG = np.random.default_rng(3)


def test_no_product_of_blas_comes_twice() -> None:
    x, w, b = (RNG.standard_normal(shape).astype(np.float32) for shape in ((7, 128), (30, 128), 30))
    x[3] = x[2]  # equal rows of one call are as good as any two
    first, second = (blas.linear(x, Linear(w, b)) for _ in range(2))
    for one, other in ((first, second), (first[2], first[3])):
        assert (one != other).mean() > 0.5
    exact = x.astype(np.float64) @ w.T.astype(np.float64) + b
    assert 0 < np.abs(first - exact).max() < 2e-5
    q, k, v = (RNG.standard_normal((5, 2, 16)).astype(np.float32) for _ in range(3))
    for one, other in zip(blas.attention(q, k, v), blas.attention(q, k, v), strict=True):
        assert (one != other).mean() > 0.5
    unlike = np.array([[0, -0.0, np.inf, -np.inf, np.nan]], np.float32).T
    for _ in range(9):
        np.testing.assert_array_equal(blas.product(unlike, np.ones((3, 1), np.float32)), unlike.repeat(3, axis=1))


def test_a_process_ends_with_its_block_and_with_it_all_that_it_has_started() -> None:
    code = """
import subprocess, sys
with subprocess.Popen(["sleep", "99999"], pass_fds=[int(sys.argv[1])]):
    print("started", flush=True)
"""
    read, write = os.pipe()
    try:
        with started([sys.executable, "-c", code, str(write)], pass_fds=[write], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"started\n"
    finally:
        os.close(write)
    assert process.returncode == -signal.SIGKILL
    assert select.select([read], [], [], HANGS)[0], "the grandchild lives"  # it would hold the pipe open
    assert os.read(read, 1) == b""
    os.close(read)


def test_who_is_left_behind_is_found() -> None:
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="waits")
    with pytest.raises(AssertionError, match="left behind: thread waits"), nobody_left():
        thread.start()
    go.set()
    join([thread])
    if not any(Path("/proc/self/task").glob("*/children")):
        pytest.skip("this system does not tell which processes are ours")
    left = []
    for command in (["sleep", "99999"], ["true"]):
        with pytest.raises(AssertionError, match="left behind: process"), nobody_left():
            left.append(subprocess.Popen(command))
    with nobody_left():
        assert {process.wait() for process in left} == {0}  # gone: Python asks the system, and cannot tell how


def test_every_process_of_a_test_is_started_in_one_place() -> None:
    starts = re.compile(r"subprocess\.(?:run|Popen|call|check_\w+)\(|os\.(?:fork|system|posix_spawn)\w*\(|\bPool\(")
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("*.py")
        if starts.search(path.read_text(encoding="utf-8"))
    }
    others = found - {"tests/processes.py", "tests/forks.py", "tests/fuzz/server.py", "tests/project/test_tests.py"}
    assert not others, f"{others}: tests/processes.py starts processes, and sees to it that they end"
