"""What is done once in a process, by one thread at a time and never across a fork: importing, compiling, opening.

A child has the parent's locks as they were when it was forked, and of the threads only the one that forked: what
another had locked stays locked for ever. Of our own locks each child gets new ones. Python's locks of modules, LLVM's,
and those inside the tokenizers' library are not ours to renew; so everything that takes them happens within `loading`,
and a fork waits for its end.

No module may take it while it is imported: two threads would wait for each other, one with the lock, the other with the
module.
"""

from __future__ import annotations

# Two of these register what is to be done at a fork. Imported only while one waits, they would give back
# locks that nobody took.
import concurrent.futures.thread  # noqa: F401
import contextlib
import logging  # noqa: F401
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar, overload

Value = TypeVar("Value")


class _Renewable(Protocol):
    def renew(self) -> None:
        """Make what a child of this process needs anew."""


_loading = threading.RLock()
_renewable: weakref.WeakSet[_Renewable] = weakref.WeakSet()


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """The context in which things are loaded: one thread's, no fork's, and in the default floating-point mode.

    A thread that is in it may enter it again.
    """
    with _loading:
        from minidistil._float_mode import default_mode  # here, as importing the package needs no ctypes

        with default_mode():  # constants are computed when a module is imported
            yield


def renew_in_children(thing: _Renewable) -> None:
    """Have `thing.renew()` called in every child that is forked while the thing lives."""
    _renewable.add(thing)


class Lock:
    """A lock, for `with`, that no child finds locked."""

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Be free, whoever had it."""
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()  # what is copied or pickled has a lock of its own

    def __enter__(self) -> None:
        lock = self._lock
        lock.acquire()
        self._held = lock  # a child that is forked within gives back what it took

    def __exit__(self, *exception: object) -> None:
        self._held.release()


class loaded_once(Generic[Value]):  # named as what it is used as, like functools.cached_property
    """An attribute that a method computes, within `loading`, when it is first asked for."""

    def __init__(self, make: Callable[[Any], Value]) -> None:
        self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> loaded_once[Value]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        with loading():
            if self._name not in instance.__dict__:
                instance.__dict__[self._name] = self._make(instance)
        return instance.__dict__[self._name]


def _renew_all() -> None:
    global _loading
    _loading = threading.RLock()
    for thing in list(_renewable):
        thing.renew()


def _release() -> None:
    with contextlib.suppress(RuntimeError):  # taken by nobody: this module was imported while the fork was under way
        _loading.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: _loading.acquire(), after_in_parent=_release, after_in_child=_renew_all)
