"""Machine code on disk: where it lies, in what form, and whose of it is trusted.

What is kept is executed, so it is read only where nobody but this user and root can have put it. The file, its folder
and every folder above must belong to one of the two and be closed to others' writing. Two things that look open are
not: a sticky folder further up (/tmp: what others put there stays theirs, and is refused), and a group that has this
user as its only member (Debian's and Fedora's for each user, with umask 002). Each step of the path is opened from the
one before, without following links, and what is judged is the open descriptor: nothing can be exchanged in between.

A file `{entry}-{key}.o` is a line that names the format; a line with the BLAKE2b of all that follows, in hexadecimal
digits; a line of JSON: entry, key, symbol, size of the code; the object code. Where any bit of it is another, or where
it is refused, it is as good as absent: the entry is compiled anew.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("minidistil")

_BESIDE = Path(__file__).resolve().parent / "__pycache__"
_FORMAT = b"minidistil machine code 2"
_ROOT = 0
# O_PATH asks for no permission to list a folder, which one may not have further up.
_FOLDER_FLAGS = (
    getattr(os, "O_PATH", os.O_RDONLY)
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
# Without waiting for somebody to write, should it be a named pipe.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Refused(Exception):
    """A file or folder is not to be trusted, or damaged; the message says which and why."""


def read(entry: str, key: str) -> tuple[str, bytes] | None:
    """Symbol and object code of a kept entry; None where there is none that may be executed.

    Whether the folder can be written does not matter: images that are made once, by root, are run read-only by others.

    Args:
        entry: its name.
        key: a digest of all that the code follows from.
    """
    found, reasons = None, []
    for folder in folders():
        try:
            with _opened(folder) as descriptor:
                path = folder / _file(entry, key)
                found = _parse(_content(descriptor, path), path, entry, key)
                break
        except FileNotFoundError:
            continue
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror}")
        except Refused as error:
            reasons.append(str(error))
    for reason in reasons:
        _tell(reason, logging.INFO if found else logging.WARNING)
    return found


def write(entry: str, key: str, symbol: str, code: bytes) -> None:
    """Keep an entry where `directory` says, whole or not at all; where that is impossible the log says why."""
    folder = directory()
    if folder is None:
        return
    head = json.dumps({"entry": entry, "key": key, "symbol": symbol, "size": len(code)}).encode()
    body = head + b"\n" + code
    content = b"\n".join((_FORMAT, _digest(body), body))
    part = f".{entry}-{os.urandom(8).hex()}"
    try:
        with _opened(folder) as descriptor:
            try:
                with open(os.open(part, _WRITE_FLAGS, 0o644, dir_fd=descriptor), "wb") as file:  # noqa: PTH123
                    file.write(content)
                # Two processes that compile at once both leave a whole file.
                os.replace(part, _file(entry, key), src_dir_fd=descriptor, dst_dir_fd=descriptor)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=descriptor)
                raise
    except (OSError, Refused) as error:
        logger.info("compiled kernels cannot be kept: %s", error)


def folders() -> list[Path]:
    """Where machine code may lie: NUMBA_CACHE_DIR, or else beside the sources and in the user's cache."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(chosen) / "minidistil"]
    places = [_BESIDE]
    if base := os.environ.get("XDG_CACHE_HOME"):
        places.append(Path(base, "minidistil"))
    else:
        with contextlib.suppress(RuntimeError):  # a user without a home
            places.append(Path.home() / ".cache" / "minidistil")
    return places


@functools.lru_cache(maxsize=1)
def directory() -> Path | None:
    """The folder that machine code is kept in from now on, the first that is trusted and can be written; or None."""
    for folder in folders():
        try:
            with _opened(folder, make=True) as descriptor:
                if os.access(".", os.W_OK | os.X_OK, dir_fd=descriptor, effective_ids=True):
                    return folder
        except Refused as error:
            _tell(str(error), logging.WARNING)
        except OSError:
            continue
    return None


def _file(entry: str, key: str) -> str:
    return f"{entry}-{key}.o"


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=32).hexdigest().encode()


def _parse(content: bytes, path: Path, entry: str, key: str) -> tuple[str, bytes]:
    form, _, rest = content.partition(b"\n")
    digest, _, body = rest.partition(b"\n")
    if form == _FORMAT and digest == _digest(body):
        head, _, code = body.partition(b"\n")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            facts = json.loads(head)
            if (facts["entry"], facts["key"], facts["size"]) == (entry, key, len(code)):
                return str(facts["symbol"]), code
    raise Refused(f"{path} is damaged")


def _content(folder: int, path: Path) -> bytes:
    """All bytes of a file of an open folder."""
    try:
        descriptor = os.open(path.name, _READ_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:  # a link among them
        raise Refused(f"{path} cannot be opened: {error.strerror}") from None
    with open(descriptor, "rb") as file:  # noqa: PTH123
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise Refused(f"{path} is no regular file")
        _judge(facts, path)
        return file.read()


@contextlib.contextmanager
def _opened(folder: Path, make: bool = False) -> Iterator[int]:
    """A descriptor of a folder that this user and root alone can have changed, all the way down to it.

    Args:
        folder: which one; links in its path are resolved first, the folders that they lead through are what counts.
        make: whether to make what is missing of it.

    Raises:
        Refused: somebody else could have written there.
        OSError: it is missing, or closed to this user.
    """
    if not hasattr(os, "geteuid") or os.open not in os.supports_dir_fd:
        raise Refused(f"{folder}: this system does not tell who can write there")
    try:
        path = folder.resolve()
    except RuntimeError as error:  # links in a circle, before Python 3.13
        raise Refused(str(error)) from None
    here = Path(path.anchor)
    descriptor = os.open(here, _FOLDER_FLAGS)
    try:
        _judge(os.fstat(descriptor), here, above=here != path)
        for part in path.parts[1:]:
            try:
                deeper = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
            except FileNotFoundError:
                if not make:
                    raise
                with contextlib.suppress(FileExistsError):  # another process was faster
                    os.mkdir(part, _mode(folder), dir_fd=descriptor)
                deeper = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor, here = deeper, here / part
            _judge(os.fstat(descriptor), here, above=here != path)
        yield descriptor
    finally:
        os.close(descriptor)


def _mode(folder: Path) -> int:
    """Of new folders: the user's cache is the user's alone; the others may be made by root and read by all."""
    return 0o755 if folder == _BESIDE or os.environ.get("NUMBA_CACHE_DIR") else 0o700


def _judge(facts: os.stat_result, path: Path, above: bool = False) -> None:
    """Refuse what others than this user and root could have written; for a folder `above`, sticky will do."""
    user = os.geteuid()
    if facts.st_uid not in (_ROOT, user):
        raise Refused(f"{path} belongs to user {facts.st_uid}, neither to user {user}, who runs this, nor to root")
    if above and facts.st_mode & stat.S_ISVTX:
        return
    shared = facts.st_mode & stat.S_IWGRP and not _is_own_group(facts.st_gid, user)
    if shared or facts.st_mode & stat.S_IWOTH:
        mode = stat.S_IMODE(facts.st_mode)
        raise Refused(f"{path} can be written by others (mode {mode:04o}): `chmod go-w` it")


@functools.cache
def _is_own_group(group: int, user: int) -> bool:
    """Whether a user is the only member of a group, as OpenSSH asks on Debian.

    Never of group 0: containers under a random user put that one into it.
    """
    import grp
    import pwd

    try:
        name, members = pwd.getpwuid(user).pw_name, grp.getgrgid(group).gr_mem
    except KeyError:  # a user or group without a name
        return False
    primary = {entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == group}
    return group != 0 and set(members) <= {name} and primary <= {user} and bool(members or primary)


@functools.cache  # once a process, whatever the number of entries
def _tell(reason: str, level: int) -> None:
    logger.log(level, "kept machine code is not used: %s", reason)
