"""`stand_in`: minidistil where a client library imports sentence_transformers."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from minidistil._loading import loading

_NAME = "sentence_transformers"
_MODULES = {_NAME: "sentence_transformers", f"{_NAME}.models": "sentence_transformers.models", f"{_NAME}.util": "util"}


class StandIn:
    """What `stand_in` did; as the context of a `with` block it is undone at its end."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self._modules = modules

    def end(self) -> None:
        """Let `import sentence_transformers` find what it found before. Who has imported minidistil's keeps it."""
        for name, module in self._modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()


def stand_in() -> StandIn:
    """Have `import sentence_transformers` find minidistil, in this process, until the returned object's `end()`.

    For client libraries that import it themselves; call it before they do. Nothing is installed or changed elsewhere.

    Returns:
        An object with `end()`, which may be the context of a `with` block.

    Raises:
        RuntimeError: sentence_transformers itself is imported already.
    """
    with loading():
        modules = {name: importlib.import_module(f"minidistil.{ours}") for name, ours in _MODULES.items()}
    present = [name for name in sys.modules if name.partition(".")[0] == _NAME]
    if any(sys.modules[name] is not modules.get(name) for name in present):
        raise RuntimeError(
            f"{_NAME} itself is imported already, and who has its classes keeps them: call minidistil.stand_in() "
            "before anything that imports it"
        )
    added = {name: module for name, module in modules.items() if name not in present}
    sys.modules.update(added)
    return StandIn(added)
