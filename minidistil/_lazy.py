"""Public names of a package that are loaded when they are first used; light itself, as `import minidistil` reads it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from minidistil._loading import loading


class LazyNames:
    """The public names of a package and where each is at home; a package takes its `__getattr__` and the like from it.

    Type checkers read the package's stub, which tests/project/make_stubs.py writes out of this table.

    Args:
        package: its name.
        homes: module below the package -> names that are public.
        aliases: further names -> the public one that each stands for.
        modules: modules below the package that are public themselves.

    Attributes:
        places: name -> the module that has it, and its name there, None for the module itself.
        all: the public names, sorted.
    """

    def __init__(
        self,
        package: str,
        homes: Mapping[str, Iterable[str]],
        *,
        aliases: Mapping[str, str] | None = None,
        modules: Iterable[str] = (),
    ) -> None:
        self.package = package
        self.places: dict[str, tuple[str, str | None]] = {
            name: (f"{package}.{home}", name) for home, names in homes.items() for name in names
        }
        self.places |= {name: self.places[meant] for name, meant in (aliases or {}).items()}
        self.places |= {name: (f"{package}.{name}", None) for name in modules}
        self.all = sorted(self.places)

    def load(self, name: str) -> Any:
        """Load a name and leave it in the package: its `__getattr__`, which is asked only once for each."""
        if name not in self.places:
            raise AttributeError(f"module {self.package!r} has no attribute {name!r}")
        home, own = self.places[name]
        with loading():
            module = importlib.import_module(home)
            value = module if own is None else getattr(module, own)
        setattr(sys.modules[self.package], name, value)
        return value

    def dir(self) -> list[str]:
        """Return what is loaded and what could be: the package's `__dir__`."""
        return sorted({*vars(sys.modules[self.package]), *self.all})
