"""Processes and threads of the tests: each is waited for, whatever happens, and its time decides nothing."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

HANGS = 3600  # seconds, after which a process is taken for one that never ends; no test takes minutes
_TASKS = Path("/proc/self/task")


@contextmanager
def started(
    command: Sequence[str | Path], *, env: Mapping[str, str | None] | None = None, **options: Any
) -> Iterator[Any]:
    """A process that runs while the block does. `env` is what its environment has beside this one's, None for what not.

    At the end of the block it is killed, where it still runs, with all that it has started itself.
    """
    environment = {name: value for name, value in {**os.environ, **(env or {})}.items() if value is not None}
    process = subprocess.Popen(list(map(str, command)), env=environment, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        process.wait()


def run(
    command: Sequence[str | Path], *, input: str | bytes | None = None, text: bool = True, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run a command to its end, and keep what it prints."""
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
    with started(command, stdin=stdin, text=text, **pipes, **options) as process:
        output, errors = process.communicate(input, timeout=HANGS)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def python(code: str, *arguments: str | Path, **options: Any) -> str:
    """What a Python process prints that runs `code`; it must succeed."""
    done = run([sys.executable, "-c", code, *arguments], **options)
    assert done.returncode == 0, done.stderr
    return str(done.stdout).strip()


def forked(work: Callable[[], bytes]) -> bytes:
    """What `work` returns in a forked child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read)
            rest = memoryview(work())
            while rest:
                rest = rest[os.write(write, rest) :]
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    chunks = []
    try:
        while select.select([read], [], [], HANGS)[0] and (chunk := os.read(read, 65536)):
            chunks.append(chunk)
    finally:
        os.close(read)
        os.kill(child, signal.SIGKILL)  # changes nothing where it has come to its end
        _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with status {status}"
    return b"".join(chunks)


def forked_until_killed(work: Callable[[], None]) -> bool:
    """Do `work` in a forked child, which may kill itself; whether it came to its end."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WIFSIGNALED(status), f"the child ended with status {status}"
    return status == 0


@contextmanager
def pool(workers: int, start: str) -> Iterator[Executor]:
    """Processes that do what is submitted, made by "spawn" or "fork"; ended with the block, whatever happens."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context(start)) as executor:
        try:
            yield executor
        except BaseException:
            for process in (executor._processes or {}).values():
                process.kill()
            raise


def join(threads: Iterable[threading.Thread]) -> None:
    """Wait for threads that must end."""
    for thread in threads:
        thread.join(HANGS)
        assert not thread.is_alive(), f"{thread.name} hangs"


@contextmanager
def nobody_left() -> Iterator[None]:
    """Fail where the block leaves a process or a thread that was not there before; processes are ended then.

    The workers of an engine may stay: they end with it (tests/engine/test_threads.py), and fixtures keep engines.
    """
    processes, threads, begin = _children(), set(threading.enumerate()), _ticks()
    yield
    left = [f"process {pid}: {_end(pid)}" for pid in sorted(_children() - processes) if not _is_older(pid, begin)]
    left += [f"thread {t.name}" for t in threading.enumerate() if t not in threads and not _may_stay(t)]
    assert not left, f"left behind: {'; '.join(left)}"


def _children() -> set[int]:
    """Processes that this one has started and not waited for; empty where the system does not tell."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # the cheap question: has it any?
        found = {int(pid) for task in _TASKS.iterdir() for pid in (task / "children").read_text().split()}
    except (AttributeError, OSError):
        return set()
    return found - {getattr(resource_tracker._resource_tracker, "_pid", None)}  # multiprocessing's, while Python runs


def _ticks() -> int:
    """Now, as /proc/PID/stat tells times."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return int(time.clock_gettime(clock) * os.sysconf("SC_CLK_TCK"))


def _is_older(pid: int, moment: int) -> bool:
    """Whether a process began before a moment: now and then the list of children lacks one that runs (proc(5))."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) < moment
    except OSError:
        return False


def _end(pid: int) -> str:
    """End a process; its command line, for a person to see."""
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return command[:200] or "it has ended, and nobody has waited for it"
    return "gone"


def _may_stay(thread: threading.Thread) -> bool:
    return thread.name.startswith("minidistil-") or type(thread).__name__ == "TMonitor"  # tqdm's, while Python runs
