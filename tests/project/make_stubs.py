"""Writes what type checkers see of names that are loaded lazily, and of classes that tables make.

    python -m tests.project.make_stubs

`test_types.py` compares the files with what this would write.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

from minidistil.models import classes

LAZY = ("minidistil", "minidistil.sentences", "minidistil.study", "minidistil.training")
_ORIGIN = "made by `python -m tests.project.make_stubs`"


def stubs() -> dict[Path, str]:
    """Return the text of every stub by its path."""
    made = {_beside(package).with_suffix(".pyi"): _lazy_package(package) for package in LAZY}
    made[_beside(classes.__name__).with_suffix(".pyi")] = _made_classes()
    return made


def _beside(module: str) -> Path:
    file = importlib.import_module(module).__file__
    assert file is not None
    return Path(file)


def _lazy_package(package: str) -> str:
    """Every public name as an import of it that is public itself (`X as X`), then the aliases."""
    names = importlib.import_module(package)._names
    imports, aliases = [], []
    for name, (home, own) in names.places.items():
        if own is None:
            imports.append(f"from {package} import {name} as {name}")
        elif own == name:
            imports.append(f"from {home} import {name} as {name}")
        else:
            aliases.append(f"{name} = {own}")
    lines = [*map(_wrapped, _sorted(imports)), *([""] if aliases else []), *sorted(aliases)]
    return _file(f"The public names of {package}, {_ORIGIN}.", lines)


def _made_classes() -> str:
    """The classes of models/classes.py, with their bases and docstrings."""
    bases = {base for made in classes.CLASSES.values() for base in made.__bases__}
    lines = ["from typing import Any", "", "from minidistil.models.base import Model"]
    lines += _import(next(iter(bases)).__module__, (base.__name__ for base in bases))
    lines += ["", "CLASSES: dict[str, type[Model[Any]]]"]
    for name, made in classes.CLASSES.items():
        lines += ["", f"class {name}({', '.join(base.__name__ for base in made.__bases__)}):"]
        lines += [f'    """{made.__doc__}"""']
    return _file(f"The classes that {classes.__name__} makes of its tables, {_ORIGIN}.", lines)


def _import(module: str, names: Iterable[str]) -> list[str]:
    return [f"from {module} import (", *(f"    {name}," for name in sorted(names)), ")"]


def _wrapped(line: str) -> str:
    """An import as ruff writes it, where it is too long for a line."""
    module, name = line.split(" import ")
    return line if len(line) <= 120 else f"{module} import (\n    {name},\n)"


def _sorted(imports: list[str]) -> list[str]:
    """In the order of ruff: by module, then classes before functions."""

    def order(line: str) -> tuple[str, bool, str]:
        _, module, _, name, *_ = line.split()
        return module, name[0].islower(), name

    return sorted(imports, key=order)


def _file(about: str, lines: Iterable[str]) -> str:
    return "\n".join([f'"""{about}"""', "", *lines, ""])


if __name__ == "__main__":
    for path, text in stubs().items():
        path.write_text(text, encoding="utf-8")
