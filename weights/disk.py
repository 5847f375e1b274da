"""Writing that is whole, and on the disk when it is said to be."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from minidistil._loading import loading


def write_at(file: Any, at: int, data: bytes) -> None:
    """Write all of `data` to an unbuffered file, which may take less than it is given."""
    file.seek(at)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def sync(file: Any) -> None:
    """Return when what was written to a file is on the disk; its name may need `sync_folder`."""
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the names of a folder are on the disk: of files that were made, renamed or removed there."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # it may be written but not read; or the system is Windows, which opens none
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EINVAL):  # systems that cannot, as PostgreSQL's fsync_fname has them
            raise
    finally:
        os.close(descriptor)


def lock(file: Any) -> bool:
    """Take a file for this process until it is closed; False where another has it. True where there are no locks."""
    try:
        with loading():
            import fcntl
    except ModuleNotFoundError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
