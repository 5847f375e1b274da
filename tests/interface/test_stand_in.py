"""`import sentence_transformers` finds minidistil where, and as long as, somebody says so."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

import minidistil
from tests.bits import assert_same_bits
from tests.processes import python

# A sentence_transformers that is installed, of which nothing may be imported.
_INSTALLED = "raise SystemExit('the original was imported')"
_USE = """
import sys
import minidistil
with minidistil.stand_in():
    from sentence_transformers import CrossEncoder, SentenceTransformer, util
    import sentence_transformers.models
    from sentence_transformers.models import StaticEmbedding
    try:
        import sentence_transformers.losses
    except ModuleNotFoundError as error:
        print(error)
    try:
        StaticEmbedding("model")
    except ValueError as error:
        print(error)
assert not [name for name in sys.modules if name.startswith("sentence_transformers")]
model = SentenceTransformer(sys.argv[1], threads=1)
assert isinstance(model, minidistil.SentenceTransformer)
assert "sentence_transformers" in str(type(model)) and util is minidistil.util
assert issubclass(CrossEncoder, minidistil.CrossEncoder)
import pickle
open(sys.argv[2], "wb").write(pickle.dumps(model))
standing = minidistil.stand_in()
minidistil.stand_in().end()  # the second one added nothing, and takes nothing away
import sentence_transformers
assert sentence_transformers.SentenceTransformer is SentenceTransformer
standing.end()
try:
    import sentence_transformers
except SystemExit as error:
    print(error)
"""


def test_it_stands_in_and_goes(sentence_small: Path, tmp_path: Path) -> None:
    (tmp_path / "sentence_transformers.py").write_text(_INSTALLED)
    printed = python(_USE, sentence_small, tmp_path / "pickled", env={"PYTHONPATH": str(tmp_path)}).splitlines()
    assert printed[0] == "No module named 'sentence_transformers.losses'"
    assert "has no StaticEmbedding" in printed[1]
    assert printed[2] == "the original was imported"
    again = pickle.loads((tmp_path / "pickled").read_bytes())  # where nothing stands in
    assert_same_bits(again.encode("wine"), minidistil.load(sentence_small, threads=1).encode("wine"))


def test_the_original_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    original = type(sys)("sentence_transformers")
    monkeypatch.setitem(sys.modules, "sentence_transformers", original)
    with pytest.raises(RuntimeError, match="imported already"):
        minidistil.stand_in()
    assert sys.modules["sentence_transformers"] is original
    assert "sentence_transformers.models" not in sys.modules
