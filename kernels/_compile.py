"""How kernels are compiled and cached: the one place that decides.

Kernels compile lazily, without the GIL, and are kept on disk. Numba's own cache has two traps that this module closes:

- it looks only at the file a function stands in, so an edit in another file that is inlined into it goes unnoticed. Here
  the stamp of every cached kernel is a digest of all files in this folder;
- it raises at decoration, so at import, where no directory can be written (numba issues 4032, 5566, 7248). Here such a
  process compiles for itself and keeps nothing.

Nothing global is changed: no environment variable, no `numba.config`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config
from numba.core.caching import Cache, CompileResultCacheImpl, NullCache, _CacheLocator

_FOLDER = Path(__file__).resolve().parent


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a kernel of a Python function: nopython, nogil, strict IEEE arithmetic, compiled at the first call.

    Division by zero follows IEEE (no Python exception inside a kernel); `fastmath` is never on, because it would let the
    compiler change the order of sums, and the bits with it.
    """
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    # What `cache=True` does, with this module's cache in place of numba's.
    dispatcher._cache = NullCache() if cache_directory() is None else _KernelCache(function)
    return dispatcher


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a part of one kernel, to be read by itself: it is compiled into its caller only, which halves the compiling."""
    return numba.njit(nogil=True, error_model="numpy", inline="always")(function)


def is_cached(dispatcher: Any) -> bool:
    """Whether some version of this kernel, of these sources, is on disk (or compiled in this process)."""
    if dispatcher.signatures:
        return True
    cache = dispatcher._cache
    return isinstance(cache, _KernelCache) and bool(cache.entries())


@functools.lru_cache(maxsize=1)
def cache_directory() -> Path | None:
    """The folder that keeps compiled kernels: NUMBA_CACHE_DIR, else beside the sources, else the user's cache; or None."""
    if config.CACHE_DIR:
        candidates = [Path(config.CACHE_DIR) / "minidistil"]
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        # Installations do not share a folder: their stamps would throw each other's kernels out.
        installation = hashlib.blake2b(str(_FOLDER).encode(), digest_size=6).hexdigest()
        candidates = [_FOLDER / "__pycache__", Path(base) / "minidistil" / f"kernels-{installation}"]
    for folder in candidates:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return folder
    return None


@functools.lru_cache(maxsize=1)
def _sources_digest() -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(_FOLDER.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _Locator(_CacheLocator):
    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file  # numba's messages name it
        self._lineno = py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        folder = cache_directory()
        if folder is None:
            raise OSError("no directory can be written for compiled kernels")
        return str(folder)

    def get_source_stamp(self) -> str:
        return _sources_digest()

    def get_disambiguator(self) -> str:
        return str(self._lineno)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)


class _KernelCacheImpl(CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _KernelCache(Cache):
    """Numba's cache of one function; a file that cannot be read or written means compiling, never an error."""

    _impl_class = _KernelCacheImpl

    def entries(self) -> dict:
        try:
            return self._cache_file._load_index()
        except Exception:
            return {}

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a torn or foreign file: unpickling raises nearly anything
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            self.disable()  # a full or vanished disk: this process goes on with what it compiled
        except Exception:  # the index is torn: start another
            try:
                self.flush()
                super().save_overload(sig, data)
            except Exception:
                self.disable()
