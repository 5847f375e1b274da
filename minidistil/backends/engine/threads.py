"""The threads that run a compiled function together."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidistil._loading import renew_in_children
from minidistil.kernels import layout
from minidistil.kernels.code import native
from minidistil.kernels.steps.table import Steps

_MOST = 1 << 15  # of OMP_NUM_THREADS; more is no number of threads


def default_threads() -> int:
    """How many threads this process may use, at least one.

    What OMP_NUM_THREADS says, where it is set: those who start several workers side by side (Spark, Ray, Dask, joblib)
    share the machine out so. Else its CPU affinity, capped by the control group's quota.
    """
    # The first of a list is the outermost team's. What is no number of threads is ignored, as libgomp does.
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if said.isascii() and said.isdigit() and 0 < int(said) <= _MOST:
        return int(said)
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
    else:
        cpus = os.cpu_count() or 1
    return max(1, int(min(cpus, _quota())))


def _quota(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> float:
    """CPUs that the control groups of this process grant, infinity where none limits them (versions 2 and 1)."""
    quota = math.inf
    for line in _read(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        files: tuple[str, ...]
        if controllers == "":
            base, files = root, ("cpu.max",)
        elif "cpu" in controllers.split(","):
            base, files = root / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        else:
            continue
        # Any group above may be the one that limits. In a container the own group is mounted as the root.
        folder = base / path.strip("/")
        for group in (folder, *(p for p in folder.parents if p.is_relative_to(base))):
            numbers = " ".join(_read(group / name) for name in files).split()
            if len(numbers) == 2 and numbers[0].isdigit() and numbers[1].isdigit() and int(numbers[1]):
                quota = min(quota, int(numbers[0]) / int(numbers[1]))
    return quota


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


class Team:
    """The caller's thread and `threads - 1` workers, which enter one compiled function together.

    Callers from several threads take turns. Workers start with the first job, sleep between jobs and end with the team;
    a forked child starts its own.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin anew, as in a forked child: locks and threads of the parent mean nothing there."""
        self._turn = threading.Lock()
        self._crew: _Crew | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """What `run` needs: the team to oneself. A single thread is the caller's own, and nobody waits for it."""
        if self.threads == 1:
            yield
            return
        with self._turn:
            yield

    def run(self, steps: Steps, values: Mapping[str, int], keep: Any) -> None:
        """Take steps on all threads, within a `turn`.

        Args:
            steps: a list.
            values: of its variables.
            keep: what the addresses among them point into; it lives until the last thread has taken the last step, even
                where an exception (Ctrl-C) takes the caller out early.
        """
        entry, call = native.entry(steps.entry), steps.call(values)
        address = layout.address(call)
        if self.threads == 1:
            entry(address, 0, 1)
            return
        if self._crew is None:
            self._crew = _Crew(self, self.threads - 1)
        crew = self._crew
        memory, errors = call[steps.team :], list[BaseException]()
        try:
            crew.start(_Job(entry, address, self.threads, memory, errors, (call, keep)))
            if not entry(address, 0, self.threads):
                raise errors[0]
        except BaseException:
            # Whoever waits for this thread goes home, and nobody reuses threads in an unknown state.
            memory[layout.ABORT] = 1
            crew.dismiss()
            self._crew = None
            raise


class _Job(NamedTuple):
    entry: native.Entry
    address: int
    threads: int
    memory: np.ndarray
    errors: list[BaseException]
    keep: Any


class _Crew:
    """Worker threads, each woken by a lock of its own.

    Nobody waits for them after a job: a list's last act is a meeting of all threads, so when the caller's thread has
    left it, all work is done. A worker that is slow to come home finds the next job waiting.
    """

    def __init__(self, team: Team, workers: int) -> None:
        self._members = [_Member(i + 1) for i in range(workers)]
        # Members hold no reference to the team, so that it can be collected, and they with it.
        weakref.finalize(team, _dismiss, self._members)
        for member in self._members:
            threading.Thread(target=member.work, name=f"minidistil-{member.number}", daemon=True).start()

    def start(self, job: _Job) -> None:
        for member in self._members:
            member.job = job
            member.go.release()

    def dismiss(self) -> None:
        _dismiss(self._members)


class _Member:
    def __init__(self, number: int) -> None:
        self.number = number
        self.job: _Job | None = None
        self.leave = False
        self.go = threading.Lock()
        self.go.acquire()

    def work(self) -> None:
        while True:
            self.go.acquire()
            if self.leave:
                return
            job, self.job = self.job, None
            if job is not None:
                try:
                    job.entry(job.address, self.number, job.threads)
                except BaseException as error:
                    job.errors.append(error)
                    job.memory[layout.ABORT] = 1
            del job  # between jobs a worker keeps nothing alive


def _dismiss(members: list[_Member]) -> None:
    for member in members:
        member.leave = True
        if member.go.locked():
            member.go.release()
