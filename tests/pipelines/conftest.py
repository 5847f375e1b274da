from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import minidistil
from tests.pipelines.checkpoints import write, write_small


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Callable[[str], Path]:
    """Folder of a checkpoint of checkpoints.CONFIGS, written when first asked for. Do not write there."""
    folder = tmp_path_factory.mktemp("pipelines")
    made: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in made:
            made[name] = write(folder, name, minilm)
        return made[name]

    return find


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Model of a checkpoint of checkpoints.CONFIGS with a small vocabulary, loaded when first asked for."""
    folder = tmp_path_factory.mktemp("small")
    made: dict[str, Any] = {}

    def find(name: str) -> Any:
        if name not in made:
            made[name] = minidistil.load(write_small(folder, name), threads=1)
        return made[name]

    return find
