"""Models and a table that several test modules of the commands share."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.checkpoints import write_small


@pytest.fixture(scope="session")
def tasks(tmp_path_factory: pytest.TempPathFactory, reranker_small: Path, sentence_small: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    own = {name: write_small(folder, name) for name in ("sentiment", "entities", "questions", "entailment")}
    return {**own, "reranker": reranker_small, "sentences": sentence_small}


@pytest.fixture(scope="session")
def rich() -> Any:
    """Texts, two of them null, and columns of many types with nulls."""
    from tests.cli.tables import TEXTS, pa

    n = len(TEXTS)
    texts = [None if i in (3, 64) else text for i, text in enumerate(TEXTS)]
    return pa.table(
        {
            "id": pa.array([None if i % 7 == 0 else i for i in range(n)], pa.int16()),
            "text": pa.array(texts, pa.large_string()),
            "nested": [None if i % 5 == 0 else {"a": [i, None], "b": {"c": str(i)}} for i in range(n)],
            "kind": pa.array([["red", None, "blue"][i % 3] for i in range(n)]).dictionary_encode(),
            "at": pa.array([i * 1_000_000_007 for i in range(n)], pa.timestamp("ns")),
            "vector": pa.array([[float(i), 0.5] for i in range(n)], pa.list_(pa.float32(), 2)),
            "money": pa.array([Decimal(i) / 4 for i in range(n)], pa.decimal128(9, 2)),
        }
    ).replace_schema_metadata({"from": "somewhere"})
