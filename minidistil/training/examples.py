"""Texts as token ids, made once and kept on the disk in a form that is mapped into memory.

The file: tokens' ids int32 [T]; labels int32 [B] or [T], where there are any; offsets int64 [B + 1]; a line of JSON on
all of it; and the length of that line and a digest of it. It gets its name when it is whole and on the disk.

Legend: `B` examples, `T` their tokens, one after another.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import mmap
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil.sentences.growing import partial_path
from minidistil.sentences.progress import progress
from minidistil.tokenization.saving import described
from minidistil.training.data import Data, Survey
from minidistil.weights.checksum import checksum
from minidistil.weights.disk import sync, sync_folder
from minidistil.weights.small_files import parse_json

if TYPE_CHECKING:
    from minidistil.tokenization import Tokenizer

_CHUNK = 256  # texts that are tokenized at once
_END = struct.Struct("<Q16s8s")
_MAGIC = b"mdtokens"
_FORMAT = 1


class Examples:
    """Examples of a task, tokenized; `Examples.open` maps those of a file.

    Attributes:
        ids: int32 [T], special tokens included, read-only.
        offsets: int64 [B + 1]; example i is ids[offsets[i] : offsets[i + 1]].
        labels: int32 [B] for sequence classification; int32 [T] for token classification, -1 where there is none; None
            for masked words.
        label_names: the labels' names, by number; none for masked words.
        digest: of what they were made of: texts, labels, tokenizer and length.
        truncated: texts that were too long and were cut.
        empty: texts that were left out, as there is nothing in them to learn from.
    """

    def __init__(
        self,
        ids: np.ndarray,
        offsets: np.ndarray,
        labels: np.ndarray | None,
        label_names: Sequence[str] = (),
        digest: str = "",
        truncated: int = 0,
        empty: int = 0,
    ) -> None:
        self.ids, self.offsets, self.labels = ids, offsets, labels
        self.label_names = tuple(label_names)
        self.digest = digest
        self.truncated, self.empty = truncated, empty

    @classmethod
    def open(cls, path: Path) -> Examples:
        """Map a finished file.

        Raises:
            ValueError: it is damaged, or another file.
            OSError: it cannot be read.
        """
        size = path.stat().st_size
        with path.open("rb") as file:
            if size < _END.size:
                raise ValueError(f"{path}: is no file of tokens")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        length, check, magic = _END.unpack(data[-_END.size :])
        if magic != _MAGIC or length > size - _END.size:
            raise ValueError(f"{path}: is no file of tokens")
        body = size - _END.size - length
        try:
            line = data[body : body + length]
            if _check(line) != check:
                raise ValueError
            head = parse_json(line)
            T, n, B = head["tokens"], head["labels"], head["examples"]
            whole = head["format"] == _FORMAT and body == 4 * T + 4 * n + (-4 * (T + n) % 8) + 8 * (B + 1)
            whole = whole and head["checksum"] == checksum(memoryview(data)[:body])
            names, digest = tuple(map(str, head["label_names"])), str(head["digest"])
            truncated, empty = int(head["truncated"]), int(head["empty"])
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise ValueError(f"{path}: is damaged; remove it, and it is made anew")
        ids = np.frombuffer(data, "<i4", T)
        labels = np.frombuffer(data, "<i4", n, 4 * T) if n else None
        offsets = np.frombuffer(data, "<i8", B + 1, body - 8 * (B + 1))
        return cls(ids, offsets, labels, names, digest, truncated, empty)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """int64 [B], in tokens."""
        return np.diff(self.offsets)

    def sentence(self, i: int) -> np.ndarray:
        """int32 [n], the tokens of example i."""
        return self.ids[self.offsets[i] : self.offsets[i + 1]]


def make_examples(
    data: Data,
    survey: Survey,
    path: Path,
    *,
    tokenizer: Tokenizer,
    max_length: int,
    pieces: bool = False,
    show_progress: bool = False,
) -> Examples:
    """Tokenize data into a file, unless it is there already.

    Args:
        data: examples.
        survey: what is known of them.
        path: where the file lies or is to lie.
        tokenizer: the model's.
        max_length: in tokens, special ones included; the rest of a longer text is cut off.
        pieces: whether what is cut off becomes examples of its own.
        show_progress: show a bar on standard error.

    Raises:
        ValueError: there is nothing to learn from in the texts.
        OSError: the file cannot be written.
    """
    digest = examples_digest(data, survey, tokenizer, max_length, pieces)
    if path.exists():
        try:
            found = Examples.open(path)
        except ValueError:
            found = None
        if found is not None and found.digest == digest:
            return found
    partial = partial_path(path)
    try:
        with (
            partial.open("w+b") as file,
            progress(survey.examples, show_progress, unit="texts", verb="Tokenizing") as bar,
        ):
            _write(file, data, survey, digest, tokenizer, max_length, pieces, bar)
            file.flush()
            sync(file)
        partial.replace(path)
        sync_folder(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return Examples.open(path)


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Return a digest of how a tokenizer makes tokens of texts."""
    compiled, settings = described(tokenizer)
    return hashlib.blake2b(json.dumps([compiled, settings], sort_keys=True).encode(), digest_size=16).hexdigest()


def examples_digest(data: Data, survey: Survey, tokenizer: Tokenizer, max_length: int, pieces: bool) -> str:
    """Return a digest of everything that the tokens follow from."""
    everything = [_FORMAT, survey.digest, survey.names, data.task, tokenizer_digest(tokenizer), max_length, pieces]
    return hashlib.blake2b(json.dumps(everything).encode(), digest_size=16).hexdigest()


def _write(
    file: Any, data: Data, survey: Survey, digest: str, tokenizer: Tokenizer, max_length: int, pieces: bool, bar: Any
) -> None:
    number = data.numbers(survey.names) if survey.names else None
    special = set(tokenizer.all_special_ids)
    lengths: list[int] = []
    labels: list[np.ndarray] = []
    truncated = empty = 0
    examples = iter(data)
    while chunk := list(itertools.islice(examples, _CHUNK)):
        for i, ids, words, cut in _tokenized(data.task, tokenizer, [e.text for e in chunk], max_length, pieces):
            truncated += cut
            if not ids or (data.task == "masked_lm" and special.issuperset(ids)):
                empty += 1
                continue
            lengths.append(len(ids))
            file.write(np.array(ids, "<i4").tobytes())
            if number is not None:
                labels.append(_labels(number(chunk[i]), words))
        bar.update(len(chunk))
    if not lengths:
        raise ValueError(f"{data.name}: the tokenizer finds no words in it")
    T, all_labels = sum(lengths), np.concatenate(labels) if labels else np.zeros(0, "<i4")
    file.write(all_labels.tobytes())
    file.write(bytes(-4 * (T + len(all_labels)) % 8))
    file.write(np.concatenate([[0], np.cumsum(lengths)]).astype("<i8").tobytes())
    file.flush()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        check = checksum(body)
    head = {
        "format": _FORMAT, "tokens": T, "labels": len(all_labels), "examples": len(lengths),
        "label_names": survey.names, "digest": digest, "truncated": truncated, "empty": empty, "checksum": check,
    }  # fmt: skip
    line = json.dumps(head).encode()
    file.write(line + _END.pack(len(line), _check(line), _MAGIC))


def _check(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()


def _tokenized(
    task: str, tokenizer: Tokenizer, texts: list[Any], max_length: int, pieces: bool
) -> Iterator[tuple[int, list[int], list[int | None] | None, bool]]:
    """Of each text, or piece of one: its number, ids, the words of tokens where texts are words, whether it was cut."""
    split = task == "token_classification"
    encoded = tokenizer(
        texts, truncation=True, max_length=max_length, is_split_into_words=split, return_overflowing_tokens=True
    )
    before = -1
    for row, i in enumerate(encoded["overflow_to_sample_mapping"]):
        if i != before or pieces:
            more = row + 1 < len(encoded["input_ids"]) and encoded["overflow_to_sample_mapping"][row + 1] == i
            words = encoded.word_ids(row) if split else None
            yield i, encoded["input_ids"][row], words, i != before and more and not pieces
        before = i


def _labels(numbers: Any, words: list[int | None] | None) -> np.ndarray:
    """The label of a text; or of each token, where its word begins: int32 [1] or [n]."""
    if words is None:
        return np.array([numbers], "<i4")
    before = [None, *words[:-1]]
    found = [-1 if word is None or word == last else numbers[word] for last, word in zip(before, words, strict=True)]
    return np.array(found, "<i4")
