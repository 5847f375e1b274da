"""What came of it: teacher, student and the simplest rival side by side; and what each part of the recipe is worth."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks import machine
from benchmarks.own_model.settings import ABLATION, LABELS, LAYERS, SEEDS, TEACHER
from benchmarks.own_model.steps import PACKAGE, Recipe, judged
from benchmarks.report import table
from minidistil import pipeline
from minidistil.tokenization import Tokenizer
from minidistil.training import distill, fit_classifier
from minidistil.training.student import make_student, new_model
from minidistil.training.writing import write_checkpoint

_ROUNDS = 30
_TIMED = ("review", "sentence")


def comparison(recipe: Recipe) -> str:
    """The teacher, the student, the same in int8 as it ships, and a logistic regression on frozen embeddings."""
    frozen = recipe.out / "frozen"
    found = {
        "teacher, 6 layers": {**recipe.figures("evaluate-teacher"), "folder": recipe.out / "teacher"},
        "student, 3 layers, float32": {**recipe.figures("evaluate-student"), "folder": recipe.out / "student"},
        "student in int8, as shipped": {
            **recipe.figures("evaluate-package"), "folder": recipe.out / "package" / PACKAGE
        },
        "logistic regression on all-MiniLM-L6-v2": {**_frozen(recipe, frozen), "folder": frozen},
    }  # fmt: skip
    missing = [name for name, row in found.items() if "imdb_accuracy" not in row]
    if missing:
        raise click.ClickException(f"not evaluated yet: {', '.join(missing)}")
    best = found["teacher, 6 layers"]
    rows = []
    for name, row in found.items():
        shares = (row[f"{key}_accuracy"] / best[f"{key}_accuracy"] for key in ("imdb", "sst2"))
        times = _milliseconds(row["folder"], recipe)
        rows.append(
            [
                name,
                f"{row['imdb_accuracy']:.2%}",
                f"{row['sst2_accuracy']:.2%}",
                " / ".join(f"{share:.1%}" for share in shares),
                f"{row['parameters'] / 1e6:.1f} M",
                f"{_size(row['folder']) / 1e6:.1f} MB",
                *(" / ".join(f"{times[kind, threads]:.1f}" for threads in (1, 2)) for kind in _TIMED),
            ]
        )
    header = ["model", "IMDb test", "SST-2 dev", "of the teacher's", "parameters", "files"]
    header += [f"ms a {kind}, 1 / 2 threads" for kind in _TIMED]
    about = machine.describe()
    said = f"{about['cpu']}, {about['cores_usable']} cores; load {machine.load_average()}; median of {_ROUNDS} calls."
    text = f"{table(header, rows)}\n\n{said}\n"
    (recipe.out / "table.md").write_text(text)
    return text


def ablation(recipe: Recipe) -> str:
    """Small students of the sentences alone, each without one part of the recipe, and with two seeds."""
    folder, sentences, held_out = recipe.out / "ablation", recipe.data.sentences("train"), recipe.data.sentences("dev")
    recipe.run("student-words")
    _starts(recipe, folder)
    words, layers, nothing = recipe.out / "student-words", folder / "layers", folder / "nothing"
    variants: dict[str, tuple[Path, dict[str, float]]] = {
        "masked words first": (words, {}),
        "masked words first, without soft targets": (words, {"soft": 0.0}),
        "masked words first, without labels": (words, {"hard": 0.0}),
        "masked words first, without the cosine": (words, {"cosine": 0.0}),
        "of the teacher's layers, as what ships": (layers, {}),
        "of nothing": (nothing, {}),
    }
    rows = []
    for name, (start, terms) in variants.items():
        found = []
        for seed in SEEDS:
            trained = distill(
                sentences, teacher=recipe.out / "teacher", start=start, held_out=held_out, seed=seed,
                out=folder / f"{name.replace(' ', '-')}-{seed}", threads=recipe.threads, backend=recipe.backend,
                show_progress=True, **{**ABLATION, **terms},
            )  # fmt: skip
            found.append(trained.figures["accuracy"])
        rows.append([name, *(f"{accuracy:.2%}" for accuracy in found), f"{statistics.mean(found):.2%}"])
        click.echo(f"{name}: {found}", err=True)
    text = table(["student", *(f"seed {seed}" for seed in SEEDS), "mean"], rows)
    (recipe.out / "ablation.md").write_text(text + "\n")
    return text


def _starts(recipe: Recipe, folder: Path) -> None:
    """Students of the teacher's layers, and of random numbers."""
    tokenizer = Tokenizer.from_pretrained(recipe.out / "teacher")
    student = make_student(recipe.out / "teacher", LAYERS)
    for name, model in (
        ("layers", student),
        ("nothing", new_model(student.config, "sequence_classification", LABELS)),
    ):
        if not (folder / name / "config.json").exists():
            write_checkpoint(folder / name, *model, tokenizer)


def _frozen(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The rival: nothing of the encoder is trained."""
    mark = folder / "done.json"
    if not mark.exists():
        fit_classifier(
            recipe.data.sentiment(), start=TEACHER, out=folder, labels=LABELS, threads=recipe.threads,
            backend=recipe.backend, show_progress=True,
        )  # fmt: skip
        pipe = pipeline("text-classification", folder, truncation=True, threads=recipe.threads, backend=recipe.backend)
        encoder = pipe.model.model  # its classifier is 770 numbers more
        figures = {"parameters": encoder.num_parameters()}
        for name, examples in (("sst2", recipe.data.sentences("dev")), ("imdb", recipe.data.reviews("test"))):
            figures |= {f"{name}_{key}": value for key, value in judged(pipe, examples).items()}
        mark.write_text(json.dumps(figures))
    return dict(json.loads(mark.read_text()))


def _milliseconds(folder: Path, recipe: Recipe) -> dict[tuple[str, int], float]:
    """What one call takes, by what it is of and the number of threads."""
    texts = {"review": recipe.data.reviews("test")[0][0], "sentence": recipe.data.sentences("dev")[0][0]}
    found = {}
    for threads in (1, 2):
        pipe = pipeline("text-classification", folder, truncation=True, threads=threads, backend=recipe.backend)
        for kind, text in texts.items():
            found[kind, threads] = statistics.median(_times(pipe, text)) * 1e3
    return found


def _times(pipe: Any, text: str) -> Sequence[float]:
    pipe(text)
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        pipe(text)
        times.append(time.perf_counter() - start)
    return times


def _size(folder: Path) -> int:
    """Bytes of a checkpoint's own files; what a run left in its folder is none of them."""
    return sum(
        file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and "training" not in file.parts and file.name != "done.json"
    )
