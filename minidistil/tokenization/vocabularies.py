"""Vocabularies as they lay in folders before tokenizer.json: vocab.txt, vocab.json with merges.txt, SentencePiece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidistil.tokenization.classes import TokenizerClass
from minidistil.tokenization.declared import Token
from minidistil.tokenization.sentencepiece_model import read_sentence_pieces
from minidistil.tokenization.tokenizer_json import charsmap_faults, library, vocabulary_faults
from minidistil.weights import CheckpointError, limits
from minidistil.weights.errors import listing
from minidistil.weights.small_files import is_there, read_json, read_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend


@dataclass(frozen=True)
class Vocabulary:
    """A backend with a model and nothing else, and what SentencePiece's file says besides.

    Attributes:
        backend: the model.
        charsmap: the compiled table by which characters are normalized, where there is one.
        added: the pieces that texts name as a whole; None where no file says so.
    """

    backend: Backend
    charsmap: bytes | None = None
    added: list[Token] | None = None


def vocabulary_files(folder: Path, rules: TokenizerClass) -> bool:
    """Whether the files are there that a class's vocabulary consists of."""
    return bool(rules.files) and all(is_there(folder / name) for name in rules.files)


def read_vocabulary(folder: Path, rules: TokenizerClass, roles: Mapping[str, str]) -> Vocabulary:
    """Read the vocabulary of a class from the files of `rules.files`.

    Raises:
        CheckpointError: a file cannot be read, is beyond a limit, or lacks a token that every text needs.
    """
    from tokenizers import Tokenizer as Backend

    path = folder / rules.files[0]
    if rules.model == "Unigram":
        return _sentence_pieces(path, rules, roles)
    if rules.model == "BPE":
        return Vocabulary(Backend(_byte_pairs(path, folder / rules.files[1], roles)))
    return Vocabulary(Backend(_word_pieces(path, roles)))


def _word_pieces(path: Path, roles: Mapping[str, str]) -> Any:
    from tokenizers import models

    vocabulary: dict[str, int] = {}
    lines = read_text(path, limits.VOCABULARY_BYTES).split("\n")
    if not lines[-1]:
        lines.pop()
    for index, line in enumerate(lines):
        vocabulary[line.rstrip()] = index
    faults = vocabulary_faults({"vocab": vocabulary})
    missing = [roles[role] for role in ("unk_token", "cls_token", "sep_token") if roles[role] not in vocabulary]
    if missing:
        faults.append(f"lacks the special tokens {missing}; found {len(vocabulary)} others")
    if faults:
        raise CheckpointError(path, faults)
    with library(path, "cannot be read as a vocabulary"):
        return models.WordPiece(vocabulary, unk_token=roles["unk_token"], max_input_chars_per_word=100)


def _byte_pairs(path: Path, merges_path: Path, roles: Mapping[str, str]) -> Any:
    from tokenizers import models

    vocabulary = read_json(path, limits.VOCABULARY_BYTES)
    if not isinstance(vocabulary, dict) or not all(type(n) is int and 0 <= n < 1 << 32 for n in vocabulary.values()):
        raise CheckpointError(path, "is no table from tokens to ids")
    if faults := vocabulary_faults({"vocab": vocabulary}):
        raise CheckpointError(path, faults)
    lines = read_text(merges_path, limits.VOCABULARY_BYTES).split("\n")
    pairs = [line.rstrip("\r").split(" ") for line in lines if line and not line.startswith("#version")]
    wrong = [" ".join(pair) for pair in pairs if len(pair) != 2 or not ({*pair, "".join(pair)} <= vocabulary.keys())]
    if wrong:
        fault = f"{len(wrong)} lines are no two tokens of {path.name} that make up a third: {listing(wrong[:10])}"
        raise CheckpointError(merges_path, fault)
    with library(path, "cannot be read as a vocabulary"):
        return models.BPE(vocab=vocabulary, merges=[(first, second) for first, second in pairs])


def _sentence_pieces(path: Path, rules: TokenizerClass, roles: Mapping[str, str]) -> Vocabulary:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models

    model = read_sentence_pieces(path)
    assert rules.pieces is not None
    pieces = rules.pieces(model.pieces, roles)
    faults = vocabulary_faults({"vocab": [[text] for text, _ in pieces]}) + charsmap_faults(model.charsmap)
    unknown = next((i for i, (text, _) in enumerate(pieces) if text == roles["unk_token"]), None)
    if unknown is None:
        faults.append(f"lacks the unknown token {roles['unk_token']!r} among {len(pieces)} pieces")
    if faults:
        raise CheckpointError(path, faults)
    with library(path, "cannot be read as a vocabulary"):
        backend = Backend(models.Unigram(pieces, unk_id=unknown, byte_fallback=False))
    added = [{"content": text, "normalized": False, "special": control} for text, control in model.added]
    return Vocabulary(backend, model.charsmap, added)
