"""Children by os.fork: what they do, and how they end; none is left behind."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
import traceback
from collections.abc import Callable

_LIMIT = 120  # seconds, generous; then a child hangs, and is killed


def child(act: Callable[[], object]) -> int:
    """Fork a child that does something and ends, with status 0 where all went well; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        faulthandler.dump_traceback_later(_LIMIT - 10)  # where it hangs
        act()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(*children: int) -> list[int]:
    """Wait for children; returns their exit statuses, -9 for one that had to be killed."""
    statuses, deadline = [], time.monotonic() + _LIMIT
    for pid in children:
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                statuses.append(os.waitstatus_to_exitcode(status))
                break
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
    return statuses
