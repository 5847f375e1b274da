"""SentencePiece models that nobody should trust: what is in them is checked on the way."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from minidistil.tokenization import AutoTokenizer
from minidistil.tokenization.sentencepiece_model import read_sentence_pieces
from minidistil.weights import CheckpointError, limits
from tests.zoo.vocabularies import CHARSMAP, sentencepiece_model, spm, varint

PIECES = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("named", 0.0, 4), ("▁a", -1.5, 1), ("ä", -(2.0**-100), 1)]


def field(number: int, wire: int, content: bytes = b"") -> bytes:
    return varint(number << 3 | wire) + content


def test_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "spiece.model"
    unknown = (
        field(200, 1, bytes(8)) + field(201, 5, bytes(4)) + field(202, 0, varint(1 << 63)) + field(203, 2, b"\x01x")
    )
    path.write_bytes(unknown + sentencepiece_model(PIECES) + unknown)
    found = read_sentence_pieces(path)
    assert found.pieces == [(text, score) for text, score, _ in PIECES]
    assert found.added == [("<s>", True), ("named", False)]
    assert found.charsmap == CHARSMAP
    path.write_bytes(sentencepiece_model(PIECES, b"", None))  # of the kind that is the default
    assert read_sentence_pieces(path).charsmap is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "it has no pieces"),
        (b"\x0a", "a number that does not end"),
        (b"\x0a\x05abc", "a field of 5 bytes, where 3 follow"),
        (b"\x0a" + varint((1 << 64) - 1), f"a field of {(1 << 64) - 1} bytes, where 0 follow"),
        (b"\xff" * 11, "a number that does not end"),
        (field(1, 0, b"\x01"), "a piece is no message"),
        (field(2, 5, bytes(4)), "the trainer's part is no message"),
        (field(7, 3), "a field of the wire type 3"),
        (sentencepiece_model([("a", math.nan, 1)]), "the piece 'a' of the kind 1 with the score nan"),
        (sentencepiece_model([("a", -math.inf, 1)]), "with the score -inf"),
        (sentencepiece_model([("", 0.0, 1)]), "the piece '' of the kind 1"),
        (sentencepiece_model([("a", 0.0, 7)]), "of the kind 7"),
        (sentencepiece_model([("a", 0.0, 1)]).replace(b"a", b"\xff", 1), "invalid start byte"),
        (sentencepiece_model(PIECES, model_type=4), "of the kind character; expected unigram"),
        (sentencepiece_model(PIECES, model_type=9), "of the kind number 9; expected unigram"),
    ],
)
def test_what_is_refused(content: bytes, fault: str, tmp_path: Path, awake: None) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_sentence_pieces(path)
    assert error.value.where == str(path)
    assert fault in str(error.value)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "spiece.model"
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')

    def fault(content: bytes) -> str:
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as error:
            AutoTokenizer.from_pretrained(tmp_path)
        return str(error.value)

    long = struct.pack("<I", 4) + bytes(4) + b"a" * (limits.EXPANSION + 1) + b"\0"
    assert "may make a text 4097 times as long; 4096 times is the most accepted" in fault(spm("albert", charsmap=long))
    assert "a token of 1025 bytes" in fault(sentencepiece_model([("a" * 1025, 0.0, 1), ("<unk>", 0.0, 2)]))
    monkeypatch.setattr(limits, "VOCABULARY", 3)
    assert "more than 3 pieces, which are the most accepted" in fault(spm("albert"))
    path.write_bytes(b"")
    with path.open("wb") as file:
        file.truncate(limits.VOCABULARY_BYTES + 1)
    assert f"{limits.VOCABULARY_BYTES} are the most accepted" in fault(path.read_bytes())
