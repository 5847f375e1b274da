"""The threads that run a compiled function together."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
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
        memory, errors = call[steps.team :], list[BaseException]()
        try:
            self._wake(_Together(entry, address, self.threads, memory, errors, (call, keep)))
            if not entry(address, 0, self.threads):
                raise errors[0]
        except BaseException:
            memory[layout.ABORT] = 1  # whoever waits for this thread goes home
            self._leave()
            raise

    def run_apart(self, jobs: Sequence[Callable[[], None]]) -> None:
        """Call jobs, each on one thread, in order, as threads come free; within a `turn`.

        The threads do not meet: this pays where there are many jobs of one size, each of them long.

        Raises:
            Exception: what a job raised; none is begun after that.
        """
        if self.threads == 1:
            for job in jobs:
                job()
            return
        apart = _Apart(jobs)
        try:
            self._wake(apart)
            apart.take(0)
            apart.wait()
        except BaseException:
            apart.stop()
            self._leave()
            raise

    def _wake(self, job: _Together | _Apart) -> None:
        """Set the workers to a job."""
        if self._crew is None:
            self._crew = _Crew(self, self.threads - 1)
        self._crew.start(job)

    def _leave(self) -> None:
        """Reuse no threads in an unknown state."""
        if self._crew is not None:
            self._crew.dismiss()
        self._crew = None


class _Together(NamedTuple):
    """A call of one function that all threads enter and leave together."""

    entry: native.Entry
    address: int
    threads: int
    memory: np.ndarray
    errors: list[BaseException]
    keep: Any

    def take(self, number: int) -> None:
        """A thread's part."""
        try:
            self.entry(self.address, number, self.threads)
        except BaseException as error:
            self.errors.append(error)
            self.memory[layout.ABORT] = 1


class _Apart:
    """Jobs of which each thread takes one after another, until none is left."""

    def __init__(self, jobs: Sequence[Callable[[], None]]) -> None:
        self._left = deque(jobs)
        self._running = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def take(self, number: int) -> None:
        """A thread's part."""
        while True:
            with self._changed:
                if not self._left:
                    return
                job = self._left.popleft()
                self._running += 1
            try:
                job()
            except BaseException as error:
                self._error = error
                self.stop()
                if number == 0:
                    raise
            finally:
                del job
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def wait(self) -> None:
        """Until all jobs are done; raises what one raised."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running and not self._left)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Begin no more."""
        with self._changed:
            self._left.clear()


class _Crew:
    """Worker threads, each with jobs of its own waiting for it.

    Nobody waits for them after a job. What all enter together ends with a meeting of all threads: when the caller's has
    left it, all work is done. A worker that is slow to come home finds the next job waiting.
    """

    def __init__(self, team: Team, workers: int) -> None:
        self._jobs: list[SimpleQueue[_Together | _Apart | None]] = [SimpleQueue() for _ in range(workers)]
        # Workers hold no reference to the team, so that it can be collected, and they with it.
        weakref.finalize(team, _dismiss, self._jobs)
        for number, jobs in enumerate(self._jobs, 1):
            threading.Thread(target=_work, args=(number, jobs), name=f"minidistil-{number}", daemon=True).start()

    def start(self, job: _Together | _Apart) -> None:
        for jobs in self._jobs:
            jobs.put(job)

    def dismiss(self) -> None:
        _dismiss(self._jobs)


def _work(number: int, jobs: SimpleQueue[_Together | _Apart | None]) -> None:
    while (job := jobs.get()) is not None:
        job.take(number)
        del job  # between jobs a worker keeps nothing alive


def _dismiss(queues: list[SimpleQueue[_Together | _Apart | None]]) -> None:
    for jobs in queues:
        jobs.put(None)
