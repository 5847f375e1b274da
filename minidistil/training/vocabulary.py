"""A smaller vocabulary for a model: the pieces that some texts use, and every single character.

WordPiece cuts each word for itself, into the longest pieces that it knows. Without a piece the words that had it are
cut into smaller ones, down to characters, so that no word becomes unknown: it takes more tokens.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil.training.writing import WRITTEN, write_checkpoint
from minidistil.weights import CheckpointError, EmbeddingWeights, Linear, ModelWeights, open_checkpoint, read_model
from minidistil.weights.config import Config
from minidistil.weights.precision import require_float32
from minidistil.weights.saving import Content, as_json
from minidistil.weights.small_files import parse_json

if TYPE_CHECKING:
    from minidistil.tokenization import Tokenizer

_MODEL = "WordPiece"
# What of tokenizer_config.json numbers tokens, or says where they were read.
_NUMBERED = ("added_tokens_decoder", "name_or_path", "special_tokens_map_file", "tokenizer_file", "vocab_file")


@dataclass(frozen=True)
class CutReport:
    """What became of a vocabulary, told of the texts that it was cut to.

    Attributes:
        pieces: before and after.
        words: of the texts, punctuation among them.
        tokens: that they take, before and after, special ones not counted.
        unknown: tokens among them that stand for an unknown word, before and after.
    """

    pieces: tuple[int, int]
    words: int
    tokens: tuple[int, int]
    unknown: tuple[int, int]

    def __str__(self) -> str:
        more = self.tokens[1] / max(self.tokens[0], 1) - 1
        return (
            f"{self.pieces[1]:,} of {self.pieces[0]:,} pieces; the texts' {self.words:,} words take "
            f"{self.tokens[1]:,} tokens in the place of {self.tokens[0]:,} ({more:+.1%}), of which "
            f"{self.unknown[1]:,} are unknown words ({self.unknown[0]:,} before)"
        )


def cut_vocabulary(
    source: str | os.PathLike[str], folder: str | os.PathLike[str], texts: Iterable[str], size: int
) -> CutReport:
    """Write a checkpoint with a smaller vocabulary: its embeddings, its head for masked words, its tokenizer.

    Kept are special tokens, all single characters, at the beginning and within words, and of the other pieces those
    that the texts use most. They stay in their order. Of a checkpoint of sentence-transformers the model is written.

    Args:
        source: a checkpoint as `minidistil.load` takes it, with a WordPiece tokenizer.
        folder: of the result.
        texts: as the model is to read; they are read once.
        size: pieces of the new vocabulary.

    Raises:
        CheckpointError: there is no such checkpoint, it is faulty, or the folder cannot be written.
        ValueError: another family or kind of tokenizer, weights that are not float32, or a size that is too small.
    """
    from minidistil.tokenization import Tokenizer

    opened = open_checkpoint(source)
    config = Config.from_dict(opened.config, where=opened.folder)
    if config.model_type not in WRITTEN:
        raise ValueError(f"checkpoints are written of {', '.join(WRITTEN)}; this one is of {config.model_type}")
    tokenizer = Tokenizer.from_pretrained(opened.source)
    if len(tokenizer) > config.vocab_size:
        fault = f"its tokenizer has {len(tokenizer)} tokens, and its embeddings {config.vocab_size}"
        raise CheckpointError(opened.folder, fault)
    weights = read_model(opened)
    require_float32(weights, opened.source.name, "a smaller vocabulary")
    words = count_words(tokenizer, texts)
    kept = choose_pieces(tokenizer, words, size)
    write_checkpoint(
        folder, cut_config(opened.config, kept), cut_weights(weights, kept), cut_tokenizer(tokenizer, kept)
    )
    return report(tokenizer, Tokenizer.from_pretrained(os.fspath(folder)), words)


def count_words(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """Count the words of texts as a tokenizer sees them: normalized, and apart from punctuation.

    Raises:
        ValueError: it is no WordPiece tokenizer.
    """
    backend = _backend(tokenizer)
    normalizer, splitter = backend.normalizer, backend.pre_tokenizer
    counts: Counter[str] = Counter()
    for text in texts:
        normalized = text if normalizer is None else normalizer.normalize_str(text)
        counts.update([word for word, _ in splitter.pre_tokenize_str(normalized)])
    return counts


def count_pieces(tokenizer: Tokenizer, words: Mapping[str, int]) -> np.ndarray:
    """Count the pieces that words are cut into.

    Args:
        tokenizer: a WordPiece tokenizer.
        words: how often each occurs, from `count_words`.

    Returns:
        int64 [V], how often each piece occurs.
    """
    cut = _backend(tokenizer).model.tokenize
    counts = [0] * len(tokenizer)
    for word, often in words.items():
        for token in cut(word):
            counts[token.id] += often
    return np.array(counts, np.int64)


def choose_pieces(tokenizer: Tokenizer, words: Mapping[str, int], size: int) -> np.ndarray:
    """Choose the pieces of a smaller vocabulary.

    Args:
        tokenizer: a WordPiece tokenizer.
        words: how often each occurs, from `count_words`.
        size: pieces to keep; of equally frequent ones those with lower numbers, BERT's [unused0] and so on last.

    Returns:
        int64 [size], numbers in increasing order; all where there are not so many.

    Raises:
        ValueError: special tokens and single characters are more than that.
    """
    counts = count_pieces(tokenizer, words)
    numbers = _backend(tokenizer).get_vocab(with_added_tokens=False)
    always = {i for piece, i in numbers.items() if len(piece.removeprefix(_prefix(tokenizer))) == 1}
    always |= set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids)
    spares = {i for piece, i in numbers.items() if piece.startswith("[unused")}
    if len(always) > size:
        raise ValueError(
            f"a vocabulary of {size} pieces is too small: special tokens and single characters are {len(always)}"
        )
    spare = np.array([i in spares for i in range(len(counts))])
    others = [i for i in np.lexsort((spare, -counts)).tolist() if i not in always]
    return np.sort(np.array([*always, *others[: size - len(always)]], np.int64))


def cut_weights(weights: ModelWeights, kept: np.ndarray) -> ModelWeights:
    """Return a model's weights with the rows `kept` (int64 [V]) of its word embeddings, and of what predicts words."""
    embeddings = weights.encoder.embeddings
    assert isinstance(embeddings, EmbeddingWeights)
    words = embeddings.word_embeddings[kept]
    encoder = replace(weights.encoder, embeddings=replace(embeddings, word_embeddings=words))
    head = weights.masked_lm
    if head is not None:
        own = head.vocab_projector
        tied = own.weight is embeddings.word_embeddings
        projector = Linear(words if tied else own.weight[kept], own.bias[kept])
        head = replace(head, vocab_projector=projector)
    return replace(weights, encoder=encoder, masked_lm=head)


def cut_config(config: Mapping[str, Any], kept: np.ndarray) -> dict[str, Any]:
    """Return a config.json whose tokens have the numbers that `kept` (int64 [V]) gives them."""
    new = {old: i for i, old in enumerate(kept.tolist())}
    numbered = {
        name: new.get(value, 0)
        for name, value in config.items()
        if name.endswith("_token_id") and type(value) is int and value >= 0
    }
    return {**config, **numbered, "vocab_size": len(kept)}


def cut_tokenizer(tokenizer: Tokenizer, kept: np.ndarray) -> dict[str, Content]:
    """Return the files of a tokenizer that has the pieces `kept` (int64 [V]) of another, numbered anew.

    Raises:
        ValueError: it is no WordPiece tokenizer, or puts special tokens around texts in a way that is not known.
    """
    new = {old: i for i, old in enumerate(kept.tolist())}
    description = json.loads(_backend(tokenizer).to_str())
    pieces = sorted(description["model"]["vocab"].items(), key=lambda entry: entry[1])
    vocabulary = {piece: new[i] for piece, i in pieces if i in new}
    description["model"]["vocab"] = vocabulary
    for token in description["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber(description["post_processor"], new)
    files = {name: content for name, content in tokenizer.files_to_save().items() if name != "added_tokens.json"}
    settings: dict[str, Any] = {}
    if "tokenizer_config.json" in files:
        settings = parse_json(_content(files["tokenizer_config.json"]))
    files["tokenizer_config.json"] = as_json({k: v for k, v in settings.items() if k not in _NUMBERED})
    files["tokenizer.json"] = json.dumps(description, ensure_ascii=False, indent=1).encode()
    if list(vocabulary.values()) == list(range(len(vocabulary))):  # tokens may have been added behind it
        files["vocab.txt"] = "".join(f"{piece}\n" for piece in vocabulary).encode()
    return files


def report(before: Tokenizer, after: Tokenizer, words: Mapping[str, int]) -> CutReport:
    """Compare how two tokenizers cut words (how often each occurs, from `count_words`)."""
    counts = [count_pieces(tokenizer, words) for tokenizer in (before, after)]
    unknown = [int(x[t.unk_token_id]) for x, t in zip(counts, (before, after), strict=True)]
    tokens = [int(x.sum()) for x in counts]
    return CutReport((len(before), len(after)), sum(words.values()), (tokens[0], tokens[1]), (unknown[0], unknown[1]))


def _backend(tokenizer: Tokenizer) -> Any:
    backend: Any = tokenizer.backend_tokenizer
    kind = type(backend.model).__name__
    if kind != _MODEL or backend.pre_tokenizer is None or tokenizer.unk_token_id is None:
        raise ValueError(
            f"a vocabulary is cut of {_MODEL} tokenizers, whose pieces stand each for itself; this is {kind}"
        )
    return backend


def _prefix(tokenizer: Tokenizer) -> str:
    """What pieces within a word begin with."""
    prefix: str = tokenizer.backend_tokenizer.model.continuing_subword_prefix
    return prefix


def _renumber(processor: Any, new: Mapping[int, int]) -> None:
    """Give the special tokens that are put around texts their new numbers."""
    kind = None if processor is None else processor["type"]
    if kind == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new[i] for i in token["ids"]]
    elif kind == "BertProcessing":
        for role in ("sep", "cls"):
            processor[role][1] = new[processor[role][1]]
    elif kind is not None:
        raise ValueError(f"the tokenizer puts special tokens around texts by {kind}, which cannot be numbered anew")


def _content(content: Content) -> bytes:
    assert isinstance(content, (bytes, Path))
    return content.read_bytes() if isinstance(content, Path) else content
