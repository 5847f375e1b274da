"""The steps of the recipe, each in a folder of its own, done once.

A step that has been done has `done.json` in its folder, with what it was made with and what came of it; one that was
interrupted goes on where it was, as every run of training does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks import machine
from benchmarks.own_model.card import card
from benchmarks.own_model.data import Data, Example
from benchmarks.own_model.settings import (
    CALIBRATING,
    LABELS,
    LARGEST,
    LAYERS,
    REVIEWS_OF_WORDS,
    SENTENCES_REPEATED,
    SETTINGS,
    TEACHER,
    VOCABULARY,
)
from minidistil import pipeline, quantize
from minidistil.training import distill, fine_tune, train_masked_lm
from minidistil.training.vocabulary import cut_vocabulary

PACKAGE = "sentiment"
"""The folder that is shipped."""


@dataclass(frozen=True)
class Recipe:
    """What the steps have in common.

    Attributes:
        data: the data sets.
        out: the folder that has a folder for each step.
        threads: to compute with; None for all.
        backend: "engine", or "exact" for a first try without it.
        pieces: of the vocabulary.
    """

    data: Data
    out: Path
    threads: int | None = None
    backend: str | None = None
    pieces: int = VOCABULARY

    def run(self, name: str) -> dict[str, Any]:
        """Do a step, unless it is done; returns what came of it.

        Raises:
            click.ClickException: it was done with other settings.
        """
        circumstances = json.loads(json.dumps(self._circumstances(name)))
        mark = self.out / name / "done.json"
        if mark.exists():
            told = json.loads(mark.read_text())
            if told["made_with"] != circumstances:
                raise click.ClickException(
                    f"{mark.parent}: was made with other settings: remove the folder, and those of the steps after it"
                )
            click.echo(f"{name}: done before, in {told['seconds'] / 60:.1f} minutes", err=True)
            return dict(told["figures"])
        click.echo(f"{name}", err=True)
        start = time.perf_counter()
        figures = STEPS[name](self, self.out / name)
        seconds = time.perf_counter() - start
        told = {
            "made_with": circumstances,
            "seconds": seconds,
            "machine": machine.describe()["cpu"],
            "figures": figures,
        }
        mark.parent.mkdir(parents=True, exist_ok=True)
        partial = mark.with_suffix(".partial")
        partial.write_text(json.dumps(told, indent=2))
        partial.replace(mark)
        click.echo(f"{name}: {seconds / 60:.1f} minutes; {_shown(figures)}", err=True)
        return figures

    def figures(self, name: str) -> dict[str, Any]:
        """What came of a step; {} where it is not done."""
        mark = self.out / name / "done.json"
        return dict(json.loads(mark.read_text())["figures"]) if mark.exists() else {}

    def training(self, name: str) -> dict[str, Any]:
        """The keywords of a run of training."""
        own = {"threads": self.threads, "backend": self.backend, "show_progress": True}
        return {**SETTINGS[name], **own, "out": self.out / name}

    def _circumstances(self, name: str) -> dict[str, Any]:
        return {
            "settings": SETTINGS.get(name, {}),
            "reviews": REVIEWS_OF_WORDS.get(name),
            "repeated": SENTENCES_REPEATED,
            "pieces": self.pieces,
            "part": self.data.part,
        }


def _vocabulary(recipe: Recipe, folder: Path) -> dict[str, Any]:
    report = cut_vocabulary(TEACHER, folder, recipe.data.texts(), recipe.pieces)
    click.echo(str(report), err=True)
    return {"pieces": report.pieces, "tokens": report.tokens, "unknown": report.unknown}


def _teacher_words(recipe: Recipe, folder: Path) -> dict[str, Any]:
    texts = recipe.data.unlabelled(REVIEWS_OF_WORDS["teacher-words"])
    return _told(train_masked_lm(texts, start=recipe.out / "vocabulary", **recipe.training("teacher-words")))


def _teacher(recipe: Recipe, folder: Path) -> dict[str, Any]:
    held_out = recipe.data.sentences("dev")
    keywords = recipe.training("teacher")
    start = recipe.out / "teacher-words"
    return _told(fine_tune(recipe.data.sentiment(), start=start, held_out=held_out, labels=LABELS, **keywords))


def _student_words(recipe: Recipe, folder: Path) -> dict[str, Any]:
    texts = recipe.data.unlabelled(REVIEWS_OF_WORDS["student-words"])
    keywords = recipe.training("student-words")
    return _told(distill(texts, teacher=recipe.out / "teacher-words", layers=LAYERS, **keywords))


def _student(recipe: Recipe, folder: Path) -> dict[str, Any]:
    held_out = recipe.data.sentences("dev")
    keywords = {**recipe.training("student"), "teacher": recipe.out / "teacher", "held_out": held_out}
    return _told(distill(recipe.data.sentiment(), layers=LAYERS, **keywords))


def _package(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The student in int8, with its tokenizer, and a card with the figures that are known so far."""
    place = folder / PACKAGE
    texts = [text for some in (recipe.data.reviews("train"), recipe.data.sentences("train")) for text in _evenly(some)]
    quantize(recipe.out / "student", place, texts=texts, measure=False, backend=recipe.backend)
    (place / "README.md").write_text(card(recipe.figures))
    size = sum(file.stat().st_size for file in place.iterdir())
    if size > LARGEST:
        raise click.ClickException(f"{place}: takes {size:,} bytes; {LARGEST:,} are the most that is shipped")
    return {"bytes": size}


def _evenly(examples: list[Example]) -> list[str]:
    """Some of the texts."""
    wanted = min(CALIBRATING, len(examples))
    return [examples[i * len(examples) // wanted][0] for i in range(wanted)]


def _evaluation(of: Callable[[Recipe], Path]) -> Callable[[Recipe, Path], dict[str, Any]]:
    """Accuracy on IMDb's test reviews, to their 512th token, and on SST-2's dev sentences: as users get it."""

    def step(recipe: Recipe, folder: Path) -> dict[str, Any]:
        pipe = pipeline(
            "text-classification", of(recipe), truncation=True, threads=recipe.threads, backend=recipe.backend
        )
        sets = {"sst2": recipe.data.sentences("dev"), "imdb": recipe.data.reviews("test")}
        figures: dict[str, Any] = {f"{name}_{key}": x for name, e in sets.items() for key, x in judged(pipe, e).items()}
        return {**figures, "parameters": pipe.model.num_parameters()}

    return step


def _finish(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The card again, with every figure."""
    place = recipe.out / "package" / PACKAGE / "README.md"
    partial = place.with_name(".README.md.partial")
    partial.write_text(card(recipe.figures))
    partial.replace(place)
    return {}


def judged(pipe: Any, examples: list[Example]) -> dict[str, Any]:
    """Accuracy of a pipeline, and over how many examples."""
    answers = pipe([text for text, _ in examples])
    right = sum(answer["label"] == label for answer, (_, label) in zip(answers, examples, strict=True))
    return {"accuracy": right / len(examples), "examples": len(examples)}


def _told(trained: Any) -> dict[str, Any]:
    return {"steps": trained.steps, **trained.figures}


def _shown(figures: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in figures.items()
    )


STEPS: dict[str, Callable[[Recipe, Path], dict[str, Any]]] = {
    "vocabulary": _vocabulary,
    "teacher-words": _teacher_words,
    "teacher": _teacher,
    "student": _student,
    "package": _package,
    "evaluate-package": _evaluation(lambda recipe: recipe.out / "package" / PACKAGE),
    "evaluate-student": _evaluation(lambda recipe: recipe.out / "student"),
    "evaluate-teacher": _evaluation(lambda recipe: recipe.out / "teacher"),
    "card": _finish,
    "student-words": _student_words,
}
"""In their order."""
