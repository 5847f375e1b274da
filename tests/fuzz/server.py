"""Runs cases in forked children, so that what kills or holds a child is seen, counted, and costs one case.

A child takes many cases, one after another, and says of each how it ended; the case at which it falls silent is the
one to blame. It may hold MEMORY more than it started with, and a case may take HANG seconds: of the processor's time,
or asleep. On a machine that others use a child waits for a processor or for a disk without being to blame, and that
does not count.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from tests.fuzz.outcomes import ROOT, SHIPPED, Counts, Outcome, of_error

MEMORY = 2 << 30
HANG = 10.0
CASES_OF_A_CHILD = 400
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Target(Protocol):
    """A way into the project that takes what others wrote.

    Attributes:
        name: how the command line calls it.
        reads_files: whether an error must be a CheckpointError that names a file of the case's folder.
    """

    name: str
    reads_files: bool

    def prepare(self, folder: Path) -> None:
        """Make what all cases start from, once, before the first child; kernels are compiled here."""

    def run(self, rng: random.Random, folder: Path, told: list[str]) -> str:
        """Make a case and use it; append to `told` what was done. Returns "accepted" or "refused", or raises."""


@dataclass(frozen=True)
class Limits:
    """Of a case; see the module."""

    memory: int = MEMORY
    hang: float = HANG


def run(
    target: Target,
    seed: int,
    place: Path,
    *,
    first: int = 0,
    cases: int | None = None,
    seconds: float | None = None,
    limits: Limits = Limits(),
) -> Counts:
    """Try cases of a target, from `first` on, `cases` of them or for some seconds, in a folder of the target's own.

    Not to be called in a process that has other threads, as it forks.
    """
    counts = Counts(target.name, seed)
    with _inside(place):
        target.prepare(place / "base")
        gc.collect()
        gc.freeze()  # or every child's first collection would copy all pages
        start, case = time.monotonic(), first
        while (cases is None or case < first + cases) and (seconds is None or time.monotonic() - start < seconds):
            end = case + CASES_OF_A_CHILD if cases is None else min(case + CASES_OF_A_CHILD, first + cases)
            case = _child(target, seed, case, end, place, counts, limits, None if seconds is None else start + seconds)
        counts.seconds = time.monotonic() - start
        gc.unfreeze()
    return counts


def run_here(target: Target, seed: int, place: Path, case: int) -> None:
    """Try one case in this process, unguarded, and say what was done; its files are in the folder `case`."""
    with _inside(place):
        target.prepare(place / "base")
        folder = place / "case"
        folder.mkdir()
        told: list[str] = []
        try:
            outcome = Outcome(target.run(_rng(target, seed, case), folder, told))
        except Exception as error:
            outcome = of_error(error, folder if target.reads_files else None)
            print(f"{type(error).__name__}: {str(error)[:5000]}")
        finally:
            print(*told, sep="\n")
        print(outcome.kind, outcome.details, sep="\n")


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A new folder, in memory where there is one."""
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="minidistil-fuzz-", dir=base) as folder:
        yield Path(folder)


def _rng(target: Target, seed: int, case: int) -> random.Random:
    return random.Random(f"{target.name}/{seed}/{case}")


@contextlib.contextmanager
def _inside(place: Path) -> Iterator[None]:
    """Have the process in a folder of its own, as hostile files name relative paths."""
    here = Path.cwd()
    (place / "cwd").mkdir(parents=True)
    os.chdir(place / "cwd")
    try:
        yield
    finally:
        os.chdir(here)


def _child(
    target: Target, seed: int, case: int, end: int, place: Path, counts: Counts, limits: Limits, until: float | None
) -> int:
    """Have a child try the cases up to `end`; returns the first that it did not come to."""
    reader, writer = os.pipe()
    log = (place / "log").open("w+b")
    sys.stdout.flush()
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _die_with_parent(server)
            os.close(reader)
            _work(target, seed, case, end, place, writer, log, limits, until)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    try:
        with log, os.fdopen(reader, "rb", buffering=0) as answers:
            return _watch(pid, case, end, answers, log, counts, limits)
    finally:
        os.kill(pid, signal.SIGKILL)  # a child that has ended is still there until it is waited for
        os.waitpid(pid, 0)


def _work(
    target: Target, seed: int, case: int, end: int, place: Path, writer: int, log: IO[bytes], limits: Limits,
    until: float | None,
) -> None:  # fmt: skip
    """A child's life: each case's end is written to the pipe as a line."""
    os.dup2(log.fileno(), 2)  # panics of Rust and faulthandler's tracebacks
    faulthandler.enable(log.fileno(), all_threads=True)
    faulthandler.register(signal.SIGUSR1, log.fileno(), all_threads=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + limits.memory, held + limits.memory))
    resident = _most_memory()
    folder = place / "case"
    while case < end and (until is None or time.monotonic() < until):
        folder.mkdir(exist_ok=True)
        start = time.perf_counter()
        told: list[str] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                outcome = Outcome(target.run(_rng(target, seed, case), folder, told))
            except BaseException as error:  # PanicException of tokenizers is no Exception
                outcome = of_error(error, folder if target.reads_files else None)
        memory = (_most_memory() - resident) >> 20
        if memory << 20 > limits.memory:
            outcome = Outcome("memory", "measured", f"{memory} MiB")
        details = "\n".join([*told, outcome.details]) if outcome.details else ""
        line = [case, outcome.kind, outcome.where, details, time.perf_counter() - start, memory]
        os.write(writer, json.dumps(line).encode() + b"\n")
        case += 1
        if outcome.kind == "memory":  # what is left of it is not the next case's
            return


def _most_memory() -> int:
    """Bytes that this process has held since this was last asked."""
    status = Path("/proc/self/status").read_text()
    most = int(status.partition("VmHWM:")[2].split()[0]) << 10
    Path("/proc/self/clear_refs").write_text("5")
    return most


def _die_with_parent(parent: int) -> None:
    """Have the system end this process when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _watch(
    pid: int, case: int, end: int, answers: IO[bytes], log: IO[bytes], counts: Counts, limits: Limits,
) -> int:  # fmt: skip
    """Take a child's answers until it ends or has to be ended; returns the first case that it did not come to."""
    buffer = b""
    computed, asleep = _processor_time(pid), 0.0
    while True:
        looked = time.monotonic()
        ready, _, _ = select.select([answers], [], [], 0.2)
        if ready:
            data = answers.read(1 << 20)
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                number, kind, where, details, seconds, memory = json.loads(line)
                counts.add(number, Outcome(kind, where, details), seconds, memory)
                case = number + 1
            if not data:
                return _ended(pid, case, log, counts)
            computed, asleep = _processor_time(pid), 0.0
            continue
        asleep = asleep + time.monotonic() - looked if _sleeps(pid) else 0.0
        if max(_processor_time(pid) - computed, asleep) > limits.hang:
            os.kill(pid, signal.SIGUSR1)  # where it is, into the log
            time.sleep(0.2)
            told = _last_words(log)
            counts.add(case, Outcome("hang", _first_own_line(told), told), limits.hang)
            return case + 1


def _ended(pid: int, case: int, log: IO[bytes], counts: Counts) -> int:
    left = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert left is not None
    if left.si_code == os.CLD_EXITED and left.si_status == 0:
        return case
    told = _last_words(log)
    by_signal = left.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
    name = signal.Signals(left.si_status).name if by_signal else f"exit status {left.si_status}"
    kind = "memory" if "memory allocation" in told else "crash"
    counts.add(case, Outcome(kind, f"{name} {_first_own_line(told)}", f"{name}\n{told}"))
    return case + 1


def _processor_time(pid: int) -> float:
    """Seconds that a process has computed so far, all its threads together; 0 of one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sleeps(pid: int) -> bool:
    """Whether every thread of a process waits for something other than a processor or a disk."""
    try:
        threads = [path.read_text().rpartition(")")[2].split() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # one of them has just ended
        return False
    return all(fields[0] == "S" for fields in threads)


def _last_words(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read()[-6000:].decode(errors="replace")


def _first_own_line(told: str) -> str:
    """The innermost line of a traceback that names a file of the project, or any file; the first line else."""
    lines = [line.strip() for line in told.splitlines()]
    own = (line for line in lines if line.startswith(tuple(f'File "{ROOT}/{top}/' for top in SHIPPED)))
    any_file = (line for line in lines if line.startswith("File"))
    return next(own, next(any_file, next(filter(None, lines), "")))
