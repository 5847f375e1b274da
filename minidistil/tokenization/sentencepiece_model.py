"""spiece.model and sentencepiece.bpe.model without the sentencepiece library: the parts of them that a tokenizer needs.

The files are protocol buffers. Source of the fields: sentencepiece's src/sentencepiece_model.proto; of the encoding:
https://protobuf.dev/programming-guides/encoding. Nothing in them is trusted: each length is checked against what
contains it, and each message is passed over once.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidistil.weights import CheckpointError, limits
from minidistil.weights.small_files import read_bytes

CONTROL, USER_DEFINED = 3, 4  # SentencePiece.Type
_NORMAL, _BYTE = 1, 6
_UNIGRAM = 1  # TrainerSpec.ModelType
_KINDS = {1: "unigram", 2: "BPE", 3: "word", 4: "character"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


@dataclass(frozen=True)
class SentencePieces:
    """A SentencePiece model.

    Attributes:
        pieces: text and score of each.
        added: text of each piece that texts name as a whole, and whether it is a control symbol.
        charsmap: the compiled table by which characters are normalized, where there is one.
    """

    pieces: list[tuple[str, float]]
    added: list[tuple[str, bool]]
    charsmap: bytes | None


def read_sentence_pieces(path: Path) -> SentencePieces:
    """Read a SentencePiece model.

    Raises:
        CheckpointError: the file cannot be read, is none, is beyond a limit, or of another kind than Unigram.
    """
    content = memoryview(read_bytes(path, limits.VOCABULARY_BYTES))
    pieces: list[tuple[str, float]] = []
    added: list[tuple[str, bool]] = []
    charsmap, model_type = None, _UNIGRAM
    try:
        for number, wire, value in _fields(content):
            if number == 1:
                text, score, kind = _piece(_message(wire, value, "a piece"))
                pieces.append((text, score))
                if kind in (CONTROL, USER_DEFINED):
                    added.append((text, kind == CONTROL))
            elif number == 2:
                for inner, inner_wire, inner_value in _fields(_message(wire, value, "the trainer's part")):
                    if (inner, inner_wire) == (3, _VARINT):
                        model_type = int(inner_value)
            elif number == 3:
                for inner, inner_wire, inner_value in _fields(_message(wire, value, "the normalizer's part")):
                    if (inner, inner_wire) == (2, _BYTES):
                        charsmap = bytes(inner_value) or None
            if len(pieces) > limits.VOCABULARY:
                raise ValueError(f"more than {limits.VOCABULARY} pieces, which are the most accepted")
    except (ValueError, struct.error) as error:
        raise CheckpointError(path, f"is no SentencePiece model, or a damaged one: {error}") from None
    if not pieces:
        raise CheckpointError(path, "is no SentencePiece model: it has no pieces")
    if model_type != _UNIGRAM:
        found = _KINDS.get(model_type, f"number {model_type}")
        raise CheckpointError(path, f"is a SentencePiece model of the kind {found}; expected unigram")
    return SentencePieces(pieces, added, charsmap)


def _piece(message: memoryview) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, _NORMAL
    for number, wire, value in _fields(message):
        if (number, wire) == (1, _BYTES):
            text = str(value, "utf-8")  # a UnicodeDecodeError is a ValueError
        elif (number, wire) == (2, _FIXED32):
            (score,) = struct.unpack("<f", value)
        elif (number, wire) == (3, _VARINT):
            kind = int(value)
    if not text or not _NORMAL <= kind <= _BYTE or not math.isfinite(score):
        raise ValueError(f"the piece {text[:100]!r} of the kind {kind} with the score {score}")
    return text, score, kind


def _message(wire: int, value: Any, what: str) -> memoryview:
    if wire != _BYTES:
        raise ValueError(f"{what} is no message")
    return memoryview(value)


def _fields(message: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field: a whole number of a varint, else the bytes."""
    place, end = 0, len(message)
    while place < end:
        tag, place = _varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, place = _varint(message, place)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, place = _varint(message, place)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"a field of the wire type {wire}")
        if size > end - place:
            raise ValueError(f"a field of {size} bytes, where {end - place} follow")
        yield number, wire, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the place behind it."""
    value = shift = 0
    while place < len(message) and shift < 64:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("a number that does not end")
