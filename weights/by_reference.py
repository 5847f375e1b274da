"""Pickles that say where something was loaded from, not what it holds: a few hundred bytes, whatever the model.

Whoever unpickles one loads it from there: the same name must lead to the same files, which a digest of their content
proves. A process loads each only once, however many pickles of it arrive; copies share what was loaded, which nothing
changes, and have everything else for themselves.
"""

from __future__ import annotations

import copy
import pickle
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from minidistil._loading import Lock
from minidistil.weights.errors import CheckpointError
from minidistil.weights.locate import find, locate
from minidistil.weights.source import Source

Copied = TypeVar("Copied", bound="ByReference")
# Of what was unpickled last: the tasks of a cluster's worker come one after another, and let go in between.
_KEPT_UNUSED = 4


class Loaded:
    """What copies and unpickled objects share.

    Attributes:
        values: by the names of attributes.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values


_alive: weakref.WeakValueDictionary[tuple[Any, ...], Loaded] = weakref.WeakValueDictionary()
_recent: deque[Loaded] = deque(maxlen=_KEPT_UNUSED)
_lock = Lock()


class ByReference:
    """What is pickled as where it was loaded from, and copied without what was loaded.

    Attributes:
        source: where that was, or None for what was made in memory.
    """

    source: Source | None
    _shared: ClassVar[tuple[str, ...]] = ()  # attributes that were loaded, which nothing changes
    _reads_weights: ClassVar[bool] = True
    _loaded: Loaded | None = None

    @classmethod
    def _load_again(cls, source: Source, **options: Any) -> Mapping[str, Any]:
        """Load the shared attributes from files that have been compared."""
        raise NotImplementedError

    @classmethod
    def _restored(cls: type[Copied], loaded: Loaded) -> Copied:
        """An object with what was loaded, and nothing of its own."""
        made = cls.__new__(cls)
        made.__dict__.update(loaded.values, _loaded=loaded)
        return made

    def _load_options(self) -> dict[str, Any]:
        """What `_load_again` takes."""
        return {}

    def _what_is_shared(self) -> Loaded:
        """What every object has that a pickle of this one becomes."""
        if self._loaded is None:
            self._loaded = Loaded({name: self.__dict__[name] for name in self._shared})
        return self._loaded

    def _own(self) -> dict[str, Any]:
        """The attributes that are not shared."""
        return {name: value for name, value in self.__dict__.items() if name not in (*self._shared, "_loaded")}

    def _bare(self: Copied) -> Copied:
        """A copy without attributes of its own."""
        made = type(self).__new__(type(self))
        own = self._own()
        made.__dict__.update({name: value for name, value in self.__dict__.items() if name not in own})
        return made

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if self.source is None:
            raise pickle.PicklingError(
                f"this {type(self).__name__} was made in memory, and a pickle says only where to load from: save its "
                "checkpoint in a folder and load it from there"
            )
        identity, options = self.source.identity(weights=self._reads_weights), self._load_options()
        where = (self.source.name, dict(self.source.hub), self.source.inside)
        with _lock:  # a forked child, or this process itself, need not load what is here
            _alive.setdefault(_key(type(self), where, options, identity), self._what_is_shared())
        return restored, (type(self), where, options, identity), self._own()

    def __copy__(self: Copied) -> Copied:
        made = self._bare()
        made.__dict__.update(self._own())
        return made

    def __deepcopy__(self: Copied, memo: dict[int, Any]) -> Copied:
        made = memo[id(self)] = self._bare()
        made.__dict__.update(copy.deepcopy(self._own(), memo))
        return made


def restored(
    kind: type[Copied], where: tuple[str, Mapping[str, Any], str], options: Mapping[str, Any], identity: str
) -> Copied:
    """Load what a pickle stands for, unless this process has it.

    Args:
        kind: its class.
        where: the name, hub options and inner folder of its source.
        options: those that it was loaded with.
        identity: of the files that it was loaded from.

    Raises:
        CheckpointError: nothing is there, or other files than those.
        TypeError: a class that is not pickled so.
    """
    if not (isinstance(kind, type) and issubclass(kind, ByReference)):
        raise TypeError(f"{kind!r} is not pickled as where it was loaded from")
    key = _key(kind, where, options, identity)
    with _lock:
        loaded = _alive.get(key)
        if loaded is None:
            source = _found(kind, where)
            if source.identity(weights=kind._reads_weights) != identity:
                fault = (
                    "holds other files than those that were loaded where this was pickled: give every machine the "
                    "same, or load them there anew"
                )
                raise CheckpointError(source.folder, fault)
            loaded = _alive[key] = Loaded(kind._load_again(source, **options))
            source.check()
        if loaded not in _recent:
            _recent.append(loaded)
    return kind._restored(loaded)


def _found(kind: type[ByReference], where: tuple[str, Mapping[str, Any], str]) -> Source:
    name, hub, inside = where
    source = find(name, config_only=not kind._reads_weights, **hub)
    return source.at(locate(source.folder / inside)) if inside else source


def _key(
    kind: type[ByReference], where: tuple[str, Mapping[str, Any], str], options: Mapping[str, Any], identity: str
) -> tuple[Any, ...]:
    name, hub, inside = where
    return kind, name, repr(sorted(hub.items())), inside, repr(sorted(options.items())), identity
