"""The three ways to make a model, from data to a checkpoint folder: one call each, which goes on after a kill."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidistil._loading import loading
from minidistil._options import is_one_of
from minidistil.backends.choose import create_learner
from minidistil.backends.learning import Task
from minidistil.tokenization import Tokenizer, input_limit
from minidistil.training.card import model_card
from minidistil.training.data import Data, Survey
from minidistil.training.examples import Examples, examples_digest, make_examples
from minidistil.training.folder import RunFolder
from minidistil.training.settings import Settings
from minidistil.training.student import NewModel, make_student, new_head, refuse_another_vocabulary
from minidistil.training.teacher import Teacher, check_teacher
from minidistil.training.trainer import Trainer
from minidistil.training.writing import write_checkpoint
from minidistil.weights import CheckpointError, open_checkpoint, read_model
from minidistil.weights.checksum import checksum
from minidistil.weights.config import Config
from minidistil.weights.errors import listing
from minidistil.weights.model_weights import ModelWeights
from minidistil.weights.named import named
from minidistil.weights.precision import Precision, require_float32, stored_precision
from minidistil.weights.small_files import is_there

RUN_FOLDER = "training"
"""Below the folder of the result: the log and the settings; and, until it is finished, tokens and checkpoints."""


@dataclass(frozen=True)
class Trained:
    """What a run made.

    Attributes:
        folder: an ordinary checkpoint: weights, configuration, tokenizer, card.
        steps: of the run.
        resumed: how many of them an earlier, interrupted call had done.
        figures: of the last evaluation on held-out data, by name; {} without such data.
        log: the JSON lines of the run.
    """

    folder: Path
    steps: int
    resumed: int
    figures: Mapping[str, float]
    log: Path


def fine_tune(
    data: Any,
    *,
    start: str | os.PathLike[str],
    out: str | os.PathLike[str],
    held_out: Any = None,
    task: str = "sequence_classification",
    text: str = "text",
    label: str = "label",
    labels: Sequence[str] | None = None,
    threads: int | None = None,
    backend: str | None = None,
    show_progress: bool = False,
    restart: bool = False,
    license: str | None = None,
    **settings: Any,
) -> Trained:
    """Teach a checkpoint to classify texts, or their words.

    Interrupted, by whatever means, the same call goes on with its last checkpoint, and ends with the same bytes.

    Args:
        data: a path (.csv, .tsv, .jsonl, .arrow, .parquet), or an iterable of (text, label) or of dictionaries. For
            `task="token_classification"` a text is a list of words, and its label a list of theirs.
        start: the checkpoint to begin with, as `minidistil.load` takes it. A head that fits the labels is gone on with;
            else there is a new one.
        out: the folder of the result.
        held_out: data like `data`, to be judged by.
        task: "sequence_classification" or "token_classification".
        text, label: columns.
        labels: names in order; unset, those that occur, sorted.
        threads: to compute with.
        backend: "engine" or "exact", which has the same bits and is slow.
        show_progress: show a bar on standard error.
        restart: begin anew, whatever an earlier call has left in `out`.
        license: of the result, for its card, as the hub abbreviates it: "apache-2.0".
        **settings: `Settings`: epochs, learning_rate, batch_sentences, max_length, seed, ...

    Raises:
        TypeError, ValueError: all that is wrong with the data, or settings; or an earlier run in `out` was another.
        CheckpointError: what is wrong with `start`.
        TrainingError: it cannot go on; says where the last good checkpoint is.
    """
    if not is_one_of(task, ("sequence_classification", "token_classification")):
        raise ValueError(f'task must be "sequence_classification" or "token_classification", got {task!r}')
    common = _Common(out, held_out, text, label, labels, threads, backend, show_progress, restart, license)
    return _train(data, start, None, None, Settings.of(task, settings), common)  # type: ignore[arg-type]


def train_masked_lm(
    data: Any,
    *,
    start: str | os.PathLike[str],
    out: str | os.PathLike[str],
    held_out: Any = None,
    text: str = "text",
    threads: int | None = None,
    backend: str | None = None,
    show_progress: bool = False,
    restart: bool = False,
    license: str | None = None,
    **settings: Any,
) -> Trained:
    """Teach a checkpoint to guess masked words of texts; see `fine_tune`. A head is added where it has none.

    Args:
        data: a path (lines of text too), or an iterable of texts or of dictionaries.
        start, out, held_out, text, threads, backend, show_progress, restart, license, **settings: as for `fine_tune`.
    """
    common = _Common(out, held_out, text, "label", None, threads, backend, show_progress, restart, license)
    return _train(data, start, None, None, Settings.of("masked_lm", settings, _MASKED), common)


def distill(
    data: Any,
    *,
    teacher: str | os.PathLike[str],
    out: str | os.PathLike[str],
    start: str | os.PathLike[str] | None = None,
    layers: int | Sequence[int] | None = None,
    held_out: Any = None,
    task: str | None = None,
    text: str = "text",
    label: str = "label",
    labels: Sequence[str] | None = None,
    teacher_precision: Precision | None = None,
    threads: int | None = None,
    backend: str | None = None,
    show_progress: bool = False,
    restart: bool = False,
    license: str | None = None,
    **settings: Any,
) -> Trained:
    """Teach a small model what a large one says; see `fine_tune`.

    Unset, the weights of the loss are the paper's for masked words (5 soft, 2 hard, 1 cosine), and for classification
    0.5 soft, 0.5 hard and 1 cosine.

    Args:
        data: texts with labels or without: without, the teacher's word is all that there is.
        teacher: the checkpoint to learn from, with the task's head.
        out: the folder of the result.
        start: the student to begin with; unset, a DistilBERT of the teacher's embeddings and `layers`.
        layers: how many of the teacher's layers (every second one, for half of them), or which.
        held_out: as for `fine_tune`; agreement with the teacher is told too.
        task: unset, the one that the teacher has a head for.
        teacher_precision: of the teacher's weights where it answers, as for `minidistil.load`: int8 is the fastest. A
            student of its layers is made of what the checkpoint has.
        text, label, labels, threads, backend, show_progress, restart, license, **settings: as for `fine_tune`.

    Raises:
        ValueError: the teacher has another vocabulary; or, with a cosine, another width.
    """
    if start is not None and layers is not None:
        raise ValueError("a student is what start names, or made of the teacher's layers: leave one of them out")
    found = _read(teacher, teacher_precision)
    if task is None:
        task = next((head for head in _TASKS if getattr(found.weights, head) is not None), None)
        if task is None:
            raise ValueError(f"{teacher}: the teacher has no head of {listing(_TASKS)}: train one first")
    elif not is_one_of(task, _TASKS):
        raise ValueError(f"task must be one of {', '.join(_TASKS)}, got {task!r}")
    common = _Common(out, held_out, text, label, labels, threads, backend, show_progress, restart, license)
    defaults = _DISTILLED["masked_lm" if task == "masked_lm" else "labels"]
    chosen = Settings.of(task, settings, defaults)  # type: ignore[arg-type]
    return _train(data, start, found, layers, chosen, common, frozenset(settings))


_TASKS = ("sequence_classification", "token_classification", "masked_lm")
_MASKED: dict[str, Any] = {"epochs": 1, "pieces": True}
_DISTILLED: dict[str, dict[str, Any]] = {
    # The weights, the temperature and beta2 of transformers' research project (Sanh et al. 2019).
    "masked_lm": {**_MASKED, "soft": 5.0, "hard": 2.0, "cosine": 1.0, "beta2": 0.98, "learning_rate": 1e-4},
    "labels": {"soft": 0.5, "hard": 0.5, "cosine": 1.0, "epochs": 4, "learning_rate": 1e-4},
}


class _Common(NamedTuple):
    out: str | os.PathLike[str]
    held_out: Any
    text: str
    label: str
    labels: Sequence[str] | None
    threads: int | None
    backend: str | None
    show_progress: bool
    restart: bool
    license: str | None


class _Read(NamedTuple):
    """A checkpoint: its configuration, weights and tokenizer, what it is called, and the folder that they are of.

    `converted` is the precision of the weights, where the checkpoint has another.
    """

    config: Config
    weights: ModelWeights
    tokenizer: Tokenizer
    name: str
    folder: Path
    converted: Precision | None


def _train(
    data: Any,
    start: str | os.PathLike[str] | None,
    teacher: _Read | None,
    layers: int | Sequence[int] | None,
    settings: Settings,
    common: _Common,
    said: frozenset[str] = frozenset(),
) -> Trained:
    """Train from data to a folder; `said` names the settings that are not defaults."""
    out, task = Path(common.out), settings.task
    if start is None and teacher is not None:
        begun = teacher
        if teacher.converted is not None:
            begun = teacher._replace(weights=read_model(open_checkpoint(teacher.folder)))
    else:
        begun = _read(start or "", "float32")
    if begun.folder.resolve() == out.resolve():
        raise ValueError(f"{out}: is what training starts from: name another folder for the result")
    require_float32(begun.weights, begun.name, "a student made of its layers, where start names none,")
    model = NewModel(begun.config, begun.weights)
    if start is None:
        model = make_student(model, layers)
    source = Data(data, task, common.text, common.label, unlabelled=teacher is not None)
    survey = source.survey(_labels(task, teacher, common), usual=_labels_of(model, task))
    model = _with_head(model, task, survey.names, settings.seed)
    if teacher is not None:
        settings = _distilling(settings, said, teacher, begun.tokenizer, model.config, survey)
    if settings.needs_teacher and teacher is None:
        raise ValueError("soft and cosine losses compare with a teacher, and there is none")
    settings = settings.resolved(model.config)
    held_out = None if common.held_out is None else Data(common.held_out, task, common.text, common.label)
    judged = None if held_out is None else held_out.survey(survey.names or None, complete=False)
    limit = _limit(settings, begun.tokenizer, model.config, None if teacher is None else teacher.config)

    def tokens(of: Data, known: Survey, name: str) -> Examples:
        return make_examples(
            of, known, folder.path / name, tokenizer=begun.tokenizer, max_length=limit, pieces=settings.pieces,
            show_progress=common.show_progress,
        )  # fmt: skip

    def digest(of: Data, known: Survey) -> str:
        return examples_digest(of, known, begun.tokenizer, limit, settings.pieces)

    circumstances = {
        "format": _FORMAT,
        **settings.circumstances(),
        "labels": survey.names,
        "data": digest(source, survey),
        "held_out": None if held_out is None or judged is None else digest(held_out, judged),
        "start": _digest(model.config, model.weights),
        "teacher": None if teacher is None else _digest(teacher.config, teacher.weights),
    }
    if teacher is not None and teacher.converted is not None:
        circumstances["teacher_precision"] = teacher.converted
    _refuse_other_checkpoints(out)
    with RunFolder(out / RUN_FOLDER) as folder:
        agreed = folder.agree(circumstances, restart=common.restart)
        if (told := folder.finished) is not None:
            return Trained(out, told["steps"], told["steps"], told["figures"], folder.log)
        examples = tokens(source, survey, "train.tokens")
        others = None if held_out is None or judged is None else tokens(held_out, judged, "held_out.tokens")
        with loading():
            learner = create_learner(
                common.backend, model.config, model.weights, task, settings.chances, common.threads
            )
        says = None
        if teacher is not None:
            config, weights = teacher.config, teacher.weights
            says = Teacher(config, weights, task, threads=common.threads, backend=common.backend)
        trainer = Trainer(
            learner, examples, settings, config=model.config, folder=folder, circumstances=agreed,
            tokenizer=begun.tokenizer, teacher=says, held_out=others, show_progress=common.show_progress,
        )  # fmt: skip
        _tell(_about(examples, limit), _about_run(trainer))
        figures = trainer.run()
        told = {"learned from": f"{source.name}: {len(examples):,} examples, {len(examples.ids):,} tokens"}
        if others is not None and held_out is not None:
            told["held out"] = f"{held_out.name}: {len(others):,} examples"
        if survey.names:
            told["labels"] = ", ".join(survey.names)
        card = model_card(
            task, name=out.name, start=begun.name, teacher=None if teacher is None else teacher.name, data=told,
            settings=settings.to_dict(), figures=figures, license=common.license,
        )  # fmt: skip
        write_checkpoint(out, model.config, learner.parameters.weights(), begun.tokenizer, card)
        folder.finish({"steps": trainer.steps, "figures": figures})
    return Trained(out, trainer.steps, trainer.resumed, figures, folder.log)


_FORMAT = 1  # of all that a run leaves for a later process


def _read(name: str | os.PathLike[str], precision: Precision | None = None) -> _Read:
    checkpoint = open_checkpoint(name)
    config = Config.from_dict(checkpoint.config, where=checkpoint.folder, name_or_path=str(name))
    tokenizer = Tokenizer.from_pretrained(checkpoint.source)
    weights = read_model(checkpoint, precision=precision)
    converted = None if precision == stored_precision(checkpoint.config) else precision
    return _Read(config, weights, tokenizer, checkpoint.source.name, checkpoint.folder, converted)


def _labels(task: Task, teacher: _Read | None, common: _Common) -> Sequence[str] | None:
    """The labels that the data must keep to; None for any."""
    if task == "masked_lm" or teacher is None:
        return common.labels
    config, weights = teacher.config, teacher.weights
    if getattr(weights, task) is None:
        raise ValueError(f"{teacher.name}: the teacher has no {task} head: train one first, or name another teacher")
    names = list(config.id2label.values())
    if common.labels is not None and list(map(str, common.labels)) != names:
        raise ValueError(
            f"the teacher's labels are {listing(names)}, and labels are {listing(map(str, common.labels))}"
        )
    return names


def _labels_of(model: NewModel, task: Task) -> tuple[str, ...]:
    """The labels of a head that is there."""
    there = task != "masked_lm" and getattr(model.weights, task) is not None
    return tuple(model.config.id2label.values()) if there else ()


def _with_head(model: NewModel, task: Task, names: tuple[str, ...], seed: int) -> NewModel:
    """The model with the task's head: its own, where that has these labels, or a new one."""
    if task == "masked_lm" and model.weights.masked_lm is not None:
        return model
    if task != "masked_lm" and _labels_of(model, task) == names:
        return model
    return new_head(model.config, model.weights, task, names, seed)


def _distilling(
    settings: Settings, said: frozenset[str], teacher: _Read, tokenizer: Tokenizer, student: Config, survey: Survey
) -> Settings:
    """The settings, without terms of the loss that nobody asked for and that the data or the models cannot have."""
    without = {}
    if "hard" not in said and settings.task != "masked_lm" and not survey.counts:
        without["hard"] = 0.0
    if "hard" in said and settings.hard and settings.task != "masked_lm" and not survey.counts:
        raise ValueError("a hard loss compares with labels, and the data have none: pass hard=0, or leave it out")
    if "cosine" not in said and teacher.config.dim != student.dim:
        without["cosine"] = 0.0
    settings = Settings(**{**settings.to_dict(), **without})
    refuse_another_vocabulary(teacher.tokenizer, tokenizer)
    check_teacher(teacher.config, student, cosine=bool(settings.cosine))
    return settings


def _limit(settings: Settings, tokenizer: Tokenizer, student: Config, teacher: Config | None) -> int:
    """The longest example in tokens."""
    limits = [input_limit(tokenizer, config.longest_sentence) for config in (student, teacher) if config is not None]
    most = min(limits)
    if settings.max_length is not None and settings.max_length > most:
        raise ValueError(f"max_length is {settings.max_length}, and the model takes {most} tokens")
    return settings.max_length or most


def _about(examples: Examples, limit: int) -> str:
    """What was made of the data, in words."""
    parts = [f"{len(examples):,} examples, {len(examples.ids):,} tokens"]
    if examples.truncated:
        parts.append(f"{examples.truncated:,} texts were cut to {limit} tokens")
    if examples.empty:
        parts.append(f"{examples.empty:,} have no words and are left out")
    return "; ".join(parts)


def _about_run(trainer: Trainer) -> str:
    """How long the run is, and what memory it takes."""
    needs = trainer.needs
    parts = ", ".join(f"{name} {_megabytes(size)}" for name, size in needs.items() if size)
    begun = f", of which {trainer.resumed:,} are done" if trainer.resumed else ""
    return f"{trainer.steps:,} steps{begun}; memory {_megabytes(sum(needs.values()))} ({parts})"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _tell(*lines: str) -> None:
    """Log what whoever started the run likes to read before its first step; the command line shows it."""
    for line in lines:
        logging.getLogger("minidistil.training").info(line, extra={"told": True})


def _digest(config: Config, weights: ModelWeights) -> str:
    """Of what a model says."""
    digest = hashlib.blake2b(json.dumps(dict(config.raw), sort_keys=True).encode(), digest_size=16)
    for name, array in named(weights).items():
        digest.update(f"{name} {array.shape} {checksum(np.ascontiguousarray(array).data.cast('B'))}\n".encode())
    return digest.hexdigest()


def _refuse_other_checkpoints(out: Path) -> None:
    if is_there(out / "config.json") and not is_there(out / RUN_FOLDER / "run.json"):
        raise CheckpointError(out, "has a checkpoint in it that no run here has made: name another folder")
