"""Every checkpoint of the zoo: hidden states as transformers', or refused in the words that the row has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import minidistil
from minidistil.weights import CheckpointError
from tests.zoo.checkpoints import IDS, ROWS, answer, write

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))["checkpoints"]


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.error is None])
def test_hidden_states(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    folder = write(tmp_path, row)
    model = minidistil.AutoModel.from_pretrained(folder, backend="blas", threads=1, **row.options)
    got, want = answer(model(IDS).last_hidden_state), RECORDED[row.like or name]
    assert got == pytest.approx(want, abs=2e-5, rel=1e-4)
    assert got[-1] > 0.1


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.error is not None])
def test_refusals(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    with pytest.raises(CheckpointError, match=row.error):
        minidistil.AutoModel.from_pretrained(write(tmp_path, row), backend="blas", **row.options)


def test_the_recording_covers_what_it_should() -> None:
    assert RECORDED.keys() == {name for name, row in ROWS.items() if row.error is None and row.like is None}
    assert len(ROWS) > 70
    assert len({tuple(values) for values in RECORDED.values()}) > 15
