"""Checkpoints in int8 and bfloat16: what is written is read, and nothing that contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.precision import precision_of
from tests import families, synthetic
from tests.weights import quantized

# Of which weights hold nothing that is not used; the others are refused by name.
_UNUSED = ("mobilebert that attends in the bottleneck", "mobilebert without trigrams or a projection")
_ALL = {name: c for name, c in families.VARIATIONS.items() if not name.startswith("activation") and name not in _UNUSED}
WRITTEN = {"distilbert": {**synthetic.DISTILBERT_SMALL, "vocab_size": 300}, **_ALL}


@pytest.mark.parametrize("name", WRITTEN)
def test_written_and_read(tmp_path: Path, name: str) -> None:
    """Every bit of every family, the words' table and its projection one."""
    synthetic.write_checkpoint(tmp_path / "source", WRITTEN[name])
    made = quantized.in_int8(read_model(open_checkpoint(tmp_path / "source")))
    found = read_model(open_checkpoint(quantized.write(tmp_path, WRITTEN[name], made)))
    assert precision_of(found) == "int8"
    one, other = (
        {key: (x.dtype, x.shape, x.tobytes()) for key, x in quantized.arrays(w).items()} for w in (made, found)
    )
    assert one == other
