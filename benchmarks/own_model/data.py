"""The data sets of the recipe, read from a folder that has them; nothing of them is written anywhere.

DIR/imdb/{train,test,unsup}.jsonl.xz   {"label": 1 positive, 0 negative or null, "text": ...} a line
DIR/sst2/{train,dev}.tsv               sentence<TAB>label
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.own_model.settings import LABELS, SENTENCES_REPEATED

Example = tuple[str, str]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Data:
    """A folder of data; `part` takes a share of everything, evenly, for a first try."""

    folder: Path
    part: float = 1.0

    def reviews(self, name: str) -> list[Example]:
        """IMDb's reviews ("train", "test") with their labels."""
        return self._share([(text, LABELS[label]) for text, label in self._imdb(name)])

    def sentences(self, name: str) -> list[Example]:
        """SST-2's sentences ("train", "dev") with their labels."""
        lines = (self.folder / "sst2" / f"{name}.tsv").read_text().splitlines()
        pairs = (line.rpartition("\t") for line in lines)
        return self._share([(text, LABELS[int(label)]) for text, _, label in pairs if label.isdigit()])

    def sentiment(self) -> list[Example]:
        """What sentiment is learned from: reviews, and sentences as often as settings say."""
        return [*self.reviews("train"), *(self.sentences("train") * SENTENCES_REPEATED)]

    def texts(self) -> list[str]:
        """All reviews that are no test, and the sentences: what the vocabulary is cut to."""
        return [*self.unlabelled(), *(text for text, _ in self.sentences("train"))]

    def unlabelled(self, most: int | None = None) -> list[str]:
        """The texts of reviews that are no test, `most` of them evenly taken."""
        found = [text for name in ("train", "unsup") for text, _ in self._imdb(name)]
        return self._share(found, most)

    def _imdb(self, name: str) -> Iterator[tuple[str, int]]:
        with lzma.open(self.folder / "imdb" / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                yield row["text"], row["label"]

    def _share(self, items: Sequence[Item], most: int | None = None) -> list[Item]:
        wanted = max(2, int(min(most or len(items), len(items)) * self.part))
        return [items[i * len(items) // wanted] for i in range(wanted)]
