"""What arguments and options are: names of models and of text files, with what a shell can complete of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from minidistil.records.lines import examples

MODELS = {
    "embed": "sentence-transformers/all-MiniLM-L6-v2",
    "fill-mask": "distilbert/distilbert-base-uncased",
    "ner": "dslim/distilbert-NER",
    "qa": "distilbert/distilbert-base-cased-distilled-squad",
    "rerank": "cross-encoder/ms-marco-MiniLM-L6-v2",
    "sentiment": "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
    "zero-shot": "typeform/distilbert-base-uncased-mnli",
}
"""A word for a task -> the well-known model of the hub that it stands for (docs/commands.md has the table)."""


class _ModelName(click.ParamType):
    """A folder, a hub id or package:NAME; a word of MODELS becomes the hub id that it stands for."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if value in MODELS and not (Path(value) / "config.json").exists():  # a checkpoint of that name goes before
            return MODELS[value]
        return value

    def shell_complete(self, context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _completed({word: model for word, model in MODELS.items() if word.startswith(incomplete)}, incomplete)


class _TextFile(click.ParamType):
    """A text file, `-` for standard input, or example:NAME."""

    name = "text"

    def shell_complete(self, context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _completed(
            dict.fromkeys((name for name in examples() if name.startswith(incomplete)), "a text of the package"),
            incomplete,
        )


def _completed(words: dict[str, str], incomplete: str) -> list[CompletionItem]:
    # Files first: bash's part of click forgets what stands before them.
    items = [CompletionItem(word, help=about) for word, about in words.items()]
    return [CompletionItem(incomplete, type="file"), *items]


MODEL = _ModelName()
TEXT_FILE = _TextFile()
