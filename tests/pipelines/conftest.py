from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipelines.checkpoints import write


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
