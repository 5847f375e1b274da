"""What is measured: workloads of token ids, from seeds or from the user's own text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

CLS, SEP, FIRST_WORD, LAST_WORD = 101, 102, 1996, 30000  # of BERT's uncased vocabulary

_SENTENCES = (
    "the old bridge over the river was closed for most of the winter",
    "she opened the letter slowly and read every word of it twice",
    "nobody in the small town remembered when the clock had last been right",
    "after the rain had stopped the children ran out into the street to look for the dog",
    "prices rose again last month, although fewer people than expected were out of work",
    "the committee will meet on monday to decide whether the new law can be changed",
    "it is a slow and careful film that trusts its actors more than its story",
    "they had walked for hours before the first lights of the city came into view",
)

LATENCY = ((1, 8), (1, 32), (1, 128), (1, 512))
THROUGHPUT = ((8, 128), (32, 128))


@dataclass(frozen=True)
class Workload:
    """Sentences to encode, and how many an engine gets at a time.

    Attributes:
        name: for tables, such as "1 x 128".
        sentences: int64 [n_b] token ids of each sentence, special tokens included.
        batch_size: most sentences in one call.
        fixed: all batches have one shape, so that an engine which specialises on shapes may do so.
        at_hand: all sentences are there from the start, so that an engine which pads may sort them by length first;
            otherwise batches come one after another, as callers send them.
    """

    name: str
    sentences: tuple[np.ndarray, ...]
    batch_size: int
    fixed: bool
    at_hand: bool = True

    @property
    def tokens(self) -> int:
        """Tokens of all sentences, without padding."""
        return sum(len(s) for s in self.sentences)


@dataclass(frozen=True)
class TextWorkload:
    """Texts with one [MASK] each, for a whole pipeline."""

    name: str
    texts: tuple[str, ...]


def shape_name(batch: int, length: int) -> str:
    """The name of a shape in tables and files: "8x128"."""
    return f"{batch}x{length}"


def both_ways(workload: Workload) -> list[Workload]:
    """Sentences of many lengths, as they come and all at hand."""
    return [
        replace(workload, name=f"{workload.name}, {how}", at_hand=at_hand)
        for how, at_hand in (("as they come", False), ("all at hand", True))
    ]


def parse_shapes(text: str) -> tuple[tuple[int, int], ...]:
    """Read "1x8,8x128" as ((1, 8), (8, 128)); raises ValueError for anything else."""
    shapes = []
    for part in text.split(","):
        batch, cross, length = part.strip().partition("x")
        if not (cross and batch.isdigit() and length.isdigit() and int(batch) and 2 <= int(length) <= 512):
            raise ValueError(f"shape {part!r}: expected BATCHxLENGTH with a length from 2 to 512, such as 8x128")
        shapes.append((int(batch), int(length)))
    return tuple(shapes)


def fixed_shape(batch: int, length: int, seed: int = 0) -> Workload:
    """A batch of sentences of one length, words drawn uniformly from the vocabulary."""
    rng = np.random.default_rng([seed, batch, length])
    sentences = tuple(_sentence(rng, length) for _ in range(batch))
    return Workload(shape_name(batch, length), sentences, batch, fixed=True)


def seeded_mixture(count: int = 256, batch_size: int = 32, seed: int = 0) -> Workload:
    """Sentences with the lengths of short English text, reviews or questions: log-normal, median 22, from 4 to 128.

    It stands in for real text (benchmarks/README.md says where that is), so that everybody can run the comparison.
    """
    rng = np.random.default_rng([seed, count])
    lengths = np.clip(np.rint(rng.lognormal(np.log(22), 0.6, count)), 4, 128).astype(int)
    return Workload(f"{count} seeded sentences", tuple(_sentence(rng, n) for n in lengths), batch_size, fixed=False)


def text_mixture(file: Path, tokenizer: Path, count: int = 256, batch_size: int = 32, limit: int = 512) -> Workload:
    """The first texts of a file, tokenized; a text longer than `limit` tokens is cut there, for every engine alike."""
    from tokenizers import Tokenizer

    tok = Tokenizer.from_file(str(tokenizer))
    tok.no_padding()
    tok.enable_truncation(limit)
    texts = read_texts(file)[:count]
    sentences = tuple(np.asarray(e.ids, np.int64) for e in tok.encode_batch(texts))
    return Workload(f"{file.name}, {len(sentences)} texts", sentences, batch_size, fixed=False)


def masked_texts(count: int, file: Path | None = None) -> TextWorkload:
    """Texts with the middle word masked: the first of a file with 4 to 60 words, or of a few built in, repeated."""
    texts = read_texts(file) if file else list(_SENTENCES)
    chosen = [words for words in (text.split() for text in texts) if 4 <= len(words) <= 60]
    if not chosen:
        raise ValueError(f"{file} has no text of 4 to 60 words")
    made = []
    for i in range(count):
        words = list(chosen[i % len(chosen)])
        words[len(words) // 2] = "[MASK]"
        made.append(" ".join(words))
    return TextWorkload(f"{count} text" + "s" * (count > 1), tuple(made))


def read_texts(file: Path) -> list[str]:
    """Texts of a file: the first column of a .tsv, the "text" of JSON lines (also .xz), else one text per line."""
    suffixes = file.suffixes
    if suffixes[-1:] == [".xz"]:
        import lzma

        data = lzma.decompress(file.read_bytes()).decode("utf-8")
        suffixes = suffixes[:-1]
    else:
        data = file.read_text(encoding="utf-8")
    lines = [line for line in data.split("\n") if line.strip()]
    if suffixes[-1:] == [".jsonl"]:
        lines = [json.loads(line)["text"] for line in lines]
    elif suffixes[-1:] == [".tsv"]:
        lines = [line.split("\t")[0] for line in lines]
        lines = lines[lines[0] == "sentence" :]  # what GLUE's files begin with
    if not lines:
        raise ValueError(f"{file} holds no text")
    return lines


def padded(sentences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask, int64 [B, S], of sentences padded with 0 to the longest."""
    longest = max(len(s) for s in sentences)
    ids = np.zeros((len(sentences), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, sentence in enumerate(sentences):
        ids[row, : len(sentence)] = sentence
        mask[row, : len(sentence)] = 1
    return ids, mask


def _sentence(rng: np.random.Generator, length: int) -> np.ndarray:
    ids = rng.integers(FIRST_WORD, LAST_WORD, length)
    ids[0], ids[-1] = CLS, SEP
    return ids
