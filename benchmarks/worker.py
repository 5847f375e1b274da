"""An engine in a process of its own, driven call by call: thread settings of one engine never reach another."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# Seconds of a call from which on it does not matter what the caches held before.
_LONG = 0.5


@dataclass(frozen=True)
class Turn:
    """What one engine measured in one turn.

    Attributes:
        seconds: wall time of each timed call.
        cpu_seconds: CPU time of each timed call, all threads of the process counted.
    """

    seconds: list[float]
    cpu_seconds: list[float]


class WorkerError(RuntimeError):
    """An engine failed in its process; the message holds its traceback."""


class Worker:
    """Handle on an engine's process.

    Args:
        name: a key of `PEERS`.
        models: the model files, as its `load` takes them.
        threads: threads that the engine is told to use.
        module: whose `PEERS` there are.
    """

    def __init__(self, name: str, models: Any, threads: int, module: str = "benchmarks.engines") -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, models, threads, module), daemon=True)
        self._process.start()
        theirs.close()
        self.versions: dict[str, str] = self._answer()

    def prepare(self, workload: Any) -> Any:
        """Hand over a workload; returns the engine's answers to it, before any timing."""
        return self._ask("prepare", workload)

    def turn(self, seconds: float) -> Turn:
        """Run once untimed (where that is short), then timed calls for about `seconds`, at least one."""
        return self._ask("turn", (seconds, True))

    def call(self) -> Turn:
        """One timed call."""
        return self._ask("turn", (0.0, False))

    def cpu_time(self) -> float | None:
        """CPU seconds of the process so far, all threads counted; None where the system does not tell (not Linux)."""
        return None if self._process.pid is None else cpu_time(self._process.pid)

    def peak_memory(self) -> float | None:
        """MB that the process has held at most so far; None where the system does not tell (not Linux)."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), None)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._pipe.send(("stop", None))
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def _ask(self, what: str, value: Any) -> Any:
        self._pipe.send((what, value))
        return self._answer()

    def _answer(self) -> Any:
        try:
            ok, value = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise WorkerError(f"{self.name}: its process ended with status {self._process.exitcode}") from None
        if not ok:
            raise WorkerError(f"{self.name}: {value}")
        return value


def _serve(pipe: Connection, name: str, models: Any, threads: int, module: str) -> None:
    try:
        peer = importlib.import_module(module).PEERS[name]()
        peer.start()
        peer.load(models, threads)
        pipe.send((True, peer.versions()))
    except Exception:
        pipe.send((False, traceback.format_exc()))
        return
    prepared = None
    while True:
        what, value = pipe.recv()
        if what == "stop":
            return
        try:
            if what == "prepare":
                prepared = peer.prepare(value)
                pipe.send((True, peer.answers(prepared, peer.run(prepared))))
            else:
                pipe.send((True, timed(peer.run, prepared, *value)))
        except Exception:
            pipe.send((False, traceback.format_exc()))


def cpu_time(process: int) -> float | None:
    """CPU seconds of a process by its number, exact also while its threads run; None where Linux is not the system."""
    if sys.platform != "linux":
        return None
    return time.clock_gettime((~process << 3) | 2)  # what the C library's clock_getcpuclockid makes of the number


def timed(call: Callable[[Any], Any], prepared: Any, seconds: float, warm: bool) -> Turn:
    """Call until `seconds` have passed. With `warm` the first call does not count, unless it was a long one."""
    turn = Turn([], [])
    start = time.perf_counter()
    while not turn.seconds or time.perf_counter() - start < seconds:
        cpu, before = time.process_time(), time.perf_counter()
        call(prepared)
        elapsed = time.perf_counter() - before
        if warm and elapsed < _LONG:
            warm, start = False, time.perf_counter()
            continue
        turn.seconds.append(elapsed)
        turn.cpu_seconds.append(time.process_time() - cpu)
    return turn
