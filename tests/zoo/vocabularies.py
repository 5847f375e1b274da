"""Small vocabularies of every kind, in the forms in which files hold them."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

Pieces = list[tuple[str, float]]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORDS = [
    "paris",
    "Paris",
    "is",
    "the",
    "The",
    "of",
    "france",
    "France",
    "cafe",
    "café",
    "new",
    "tok",
    "city",
    "don",
    "s",
]
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORD_PIECES = [
    *BERT_SPECIAL, "[unused0]", "[unused1]", *_LETTERS, *_LETTERS.upper(), *"0123456789.,'!?-[]<>_()", *"éÉ你好",
    *_WORDS, *(f"##{letter}" for letter in _LETTERS), "##é", "##好",
]  # fmt: skip

_BYTES = [*(chr(n) for n in (*range(33, 127), *range(161, 173), *range(174, 256))), *(chr(256 + n) for n in range(68))]
MERGES = [
    ("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("i", "s"), ("Ġ", "is"), ("Ġ", "o"), ("Ġo", "f"), ("P", "a"), ("r", "is"),
    ("Pa", "ris"), ("Ġ", "Paris"), ("a", "n"), ("F", "r"), ("Fr", "an"), ("c", "e"), ("Fran", "ce"), ("Ġ", "France"),
]  # fmt: skip
BYTE_PAIRS = {
    token: i
    for i, token in enumerate(
        ["<s>", "<pad>", "</s>", "<unk>", *_BYTES, *("".join(pair) for pair in MERGES), "<mask>", "[unused0]"]
    )
}

# Scores that are the same number in a file of text and in one of 32 bits.
_PLAIN: Pieces = [
    ("▁", -2.0), *((f"▁{word}", -4.0 - n / 8) for n, word in enumerate(_WORDS)), ("an", -5.5), ("ce", -5.75),
    *((letter, -8.0 - n / 64) for n, letter in enumerate(_LETTERS + _LETTERS.upper() + "0123456789.,'\"!?-éÉ你")),
]  # fmt: skip
# The first pieces of each family's SentencePiece model, with their types: 2 unknown, 3 control, 4 named by users.
SPM: dict[str, list[tuple[str, float, int]]] = {
    "xlm-roberta": [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)],
    "camembert": [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)],
    "albert": [
        ("<pad>", 0.0, 3), ("<unk>", 0.0, 2), ("[CLS]", 0.0, 3), ("[SEP]", 0.0, 3), ("[MASK]", 0.0, 4), ("(", 0.0, 4),
    ],
}  # fmt: skip
UNIGRAMS: dict[str, Pieces] = {
    "xlm-roberta": [(t, 0.0) for t in ("<s>", "<pad>", "</s>", "<unk>")] + _PLAIN + [("<mask>", 0.0)],
    "camembert": [
        ("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0),
        ("<s>", 0.0), ("</s>", 0.0), *_PLAIN, ("<mask>", 0.0),
    ],
    "albert": [(text, score) for text, score, _ in SPM["albert"]] + _PLAIN,
}  # fmt: skip
# Made by sentencepiece 0.2.3 of the rules Ａ to A, Ｂ to B, ｂ to b, ① to 1, ﬁ to fi, U+00A0 and a tab to a space,
# … to three dots, U+200B to nothing.
CHARSMAP = zlib.decompress(
    base64.b64decode(
        "eNot0wdsF1UcB/DXPzWmIYaERIUEsIgoUSgbBAUsiIooIHuPAoWispco0KKyQUUB2W0pu+xVRlFkKUFQUSh7hxFxQNkOPn/lcp/7"
        "vrvfvcslv/dCbAghPoS4R0KICSE1/SGXMpEwwb0jtcCDZw/L7BAJacVDKGScERdC5nvmGRdklPedqYVNepTP8iPhcfkYRSnC1rxI"
        "yI2PBJ8IxXiCEpT8/xdCKZ6kNE/xDE+zMDeEMvI5nqUcZSlPAhWpQGUqUZUqVKcaNXieF6hJLV6kDrVJ5CXqUZf6vMyrvEIDXqMh"
        "r/Mmb9CYRrxFE5rRlBY0pxUtaUNr2tGWDrSnEx3pQme6kkR3utGDZFLoydv04l3eoQ+96UdfBtCfQQxkCIPRpjCU9xnGcD5gJCNI"
        "izaaDxnFx3zEGEYzjrFMYDyTmMgnTI72mk/5nClM5QumM40ZfMksZjKH2cxjLhmkM59MFpDFomjvWcJilrGU5WSzkhWsZhVrWcN6"
        "1rGRDWwihy1sJje6FvmKbWzna3bwDbvYyR528x3fRmtZMWGv/J59HGA/P/IDB/mJX/iZwxziCHkc4ygnOM4pTnKG05zjLBc4z0V+"
        "j40Jl+WlaC0nJlyRV/k1WuM3/uQPrnONG+Rzi5vc4Tb3uMvf/MW//BP+23wJCQm2UaLlnxSSU8J9eMqSTA=="
    )
)


def sentencepiece_model(
    pieces: Iterable[tuple[str, float, int]], charsmap: bytes = CHARSMAP, model_type: int | None = 1
) -> bytes:
    """The bytes of a SentencePiece model: pieces (text, score, type), then the trainer's and the normalizer's part."""
    content = b""
    for text, score, kind in pieces:
        own = b"" if kind == 1 else b"\x18" + varint(kind)
        content += _message(1, _message(1, text.encode()) + b"\x15" + struct.pack("<f", score) + own)
    trainer = _message(1, b"words.txt") + (b"" if model_type is None else b"\x18" + varint(model_type))
    content += _message(2, trainer + b"\xc0\x02" + varint(0))  # and unk_id
    return content + _message(3, _message(1, b"rules") + (_message(2, charsmap) if charsmap else b""))


def spm(family: str, **options: Any) -> bytes:
    """A family's SentencePiece model."""
    return sentencepiece_model([*SPM[family], *((text, score, 1) for text, score in _PLAIN)], **options)


def varint(value: int) -> bytes:
    """A number as protocol buffers have it."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def word_piece_json(lower: bool = True, **changes: Any) -> dict[str, Any]:
    """BERT's tokenizer.json, as its authors' files have it."""
    ids = {token: i for i, token in enumerate(WORD_PIECES)}
    return {
        **_json("WordPiece", ids, BERT_SPECIAL),
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": lower,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template("[CLS]", "[SEP]", ids, "[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1"),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids,
        },
        **changes,
    }  # fmt: skip


def byte_pairs_json(add_prefix_space: bool = False, **changes: Any) -> dict[str, Any]:
    """RoBERTa's tokenizer.json."""
    spaces = {"add_prefix_space": add_prefix_space, "trim_offsets": True}
    sep, cls = ["</s>", BYTE_PAIRS["</s>"]], ["<s>", BYTE_PAIRS["<s>"]]
    return {
        **_json("BPE", BYTE_PAIRS, ("<s>", "<pad>", "</s>", "<unk>", "<mask>")),
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", **spaces, "use_regex": True},
        "post_processor": {"type": "RobertaProcessing", "sep": sep, "cls": cls, **spaces},
        "decoder": {"type": "ByteLevel", **spaces, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "vocab": BYTE_PAIRS,
            "merges": [" ".join(pair) for pair in MERGES],
        },
        **changes,
    }  # fmt: skip


def unigram_json(family: str, **changes: Any) -> dict[str, Any]:
    """The tokenizer.json of a family with a SentencePiece model."""
    pieces = UNIGRAMS[family]
    ids = {text: i for i, (text, _) in enumerate(pieces)}
    charsmap = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(CHARSMAP).decode()}
    steps: list[dict[str, Any]] = [charsmap]
    if family == "albert":
        quotes = [{"type": "Replace", "pattern": {"String": q}, "content": '"'} for q in ("``", "''")]
        steps = [*quotes, {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, charsmap]
        special = BERT_SPECIAL[2:]
        template_ = template("[CLS]", "[SEP]", ids, "[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1")
    else:
        special = ("<s>", "</s>", "<mask>")
        template_ = template("<s>", "</s>", ids, "<s>:0 A:0 </s>:0 </s>:0 B:0 </s>:0")
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        **_json("Unigram", ids, ("<pad>", "<unk>", *special)),
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": template_,
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": ids["<unk>"],
            "vocab": [list(p) for p in pieces],
            "byte_fallback": False,
        },
        **changes,
    }


def added(content: str, index: int | None = None, **flags: Any) -> dict[str, Any]:
    """A token as tokenizer.json (with its id) and tokenizer_config.json write it."""
    numbered = {} if index is None else {"id": index}
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    return {**numbered, "content": content, **plain, **flags}


def _json(kind: str, ids: dict[str, int], special: Sequence[str]) -> dict[str, Any]:
    tokens = sorted((ids[token], token) for token in special)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added(text, i, lstrip=text == "<mask>" or (text, kind) == ("[MASK]", "Unigram")) for i, text in tokens
        ],
    }


def template(first: str, last: str, ids: dict[str, int], pair: str) -> dict[str, Any]:
    """What puts `first` and `last` around a text; `pair` says it as "[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1" does."""

    def piece(text: str) -> dict[str, Any]:
        name, _, type_id = text.rpartition(":")
        kind = "Sequence" if name in ("A", "B") else "SpecialToken"
        return {kind: {"id": name, "type_id": int(type_id)}}

    return {
        "type": "TemplateProcessing",
        "single": [piece(f"{first}:0"), piece("A:0"), piece(f"{last}:0")],
        "pair": [piece(text) for text in pair.split()],
        "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in (first, last)},
    }


def lines(tokens: Iterable[str], end: str = "\n") -> str:
    """A vocab.txt."""
    return "".join(token + end for token in tokens)


MERGES_TXT = "#version: 0.2\n" + lines(" ".join(pair) for pair in MERGES)
BYTE_PAIR_FILES = {"vocab.json": json.dumps(BYTE_PAIRS, ensure_ascii=False), "merges.txt": MERGES_TXT}
