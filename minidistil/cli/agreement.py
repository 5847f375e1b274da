"""How well the labels that a model finds agree with those that somebody has given: accuracy, precision, recall, F1."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click
import numpy as np

from minidistil.records.record import hashable

_MOST_TOLD = 5  # values that are no labels, in an error


@dataclass(frozen=True)
class LabelScores:
    """Of one label: a share of the texts found to have it, a share of those that have it, their harmonic mean."""

    label: str
    precision: float
    recall: float
    f1: float
    texts: int


@dataclass(frozen=True)
class Report:
    """How well labels agree.

    Attributes:
        texts: that have a label of both kinds.
        unlabelled: that lack one, and count for nothing.
        accuracy: the share of the texts with the same label twice.
        macro_f1: the mean of the labels' F1.
        labels: of each label that was given or found.
    """

    texts: int
    unlabelled: int
    accuracy: float
    macro_f1: float
    labels: list[LabelScores]


class Agreement:
    """Counts the labels of one column against those of a model.

    Args:
        column: where the given labels are: names, whatever their case, or numbers of `id2label`.
        id2label: the model's labels.
    """

    def __init__(self, column: str, id2label: Mapping[int, str]) -> None:
        self.column = column
        self._id2label = id2label
        self._counts: Counter[tuple[Any, str]] = Counter()
        self._unlabelled = 0

    def check(self, given: Mapping[Any, str]) -> None:
        """Refuse values that are no labels; `given` has the place of each (click.ClickException)."""
        self._meanings(given, given)

    def add(self, given: Any, found: str | None) -> None:
        """Count a text: its value of the column, and the label that was found, None for a text that is not there."""
        if found is None or _is_missing(given):
            self._unlabelled += 1
        else:
            self._counts[hashable(given), found] += 1

    def report(self) -> Report:
        """Return what the texts so far come to.

        Raises:
            click.ClickException: a value is no label, or no text has one.
        """
        meaning = self._meanings({given for given, _ in self._counts}, {})
        pairs: Counter[tuple[str, str]] = Counter()
        for (given, found), count in self._counts.items():
            pairs[meaning[given], found] += count
        if not pairs:
            raise click.ClickException(f"no text has a label in the column {self.column}")
        return scores(pairs, self._id2label.values(), self._unlabelled)

    def _meanings(self, given: Collection[Any], places: Mapping[Any, str]) -> dict[Any, str]:
        """The label that each value means: all are names, or all are numbers."""
        values = [value for value in given if not _is_missing(value)]
        names = {name: name for name in self._id2label.values()}
        folded = {name.casefold(): name for name in names}
        if len(folded) < len(names):  # labels that differ by case alone
            folded = names
        ways = [
            {v: names.get(str(v)) or folded.get(str(v).casefold()) for v in values},
            {v: self._id2label.get(_number(v)) for v in values},  # type: ignore[arg-type]
        ]
        for way in ways:
            if all(label is not None for label in way.values()):
                return {value: str(label) for value, label in way.items()}
        best = max(ways, key=lambda way: sum(label is not None for label in way.values()))
        wrong = [value for value, label in best.items() if label is None]
        told = "\n".join(
            f"{places[value]}: {self.column} is {value!r}" if value in places else f"{self.column} is {value!r}"
            for value in wrong[:_MOST_TOLD]
        )
        more = f"\nand {len(wrong) - _MOST_TOLD:,} more" if len(wrong) > _MOST_TOLD else ""
        labels = ", ".join(f"{number} {name}" for number, name in self._id2label.items())
        raise click.ClickException(f"{told}{more}\nthe model's labels are {labels}")


def scores(pairs: Mapping[tuple[str, str], int], labels: Iterable[str], unlabelled: int = 0) -> Report:
    """Return the scores of counted pairs of labels.

    Args:
        pairs: how often a label was given and another found.
        labels: in the order of the report; those that never occur are left out, of the mean too.
        unlabelled: texts to tell of.
    """
    occurring = {label for pair in pairs for label in pair}
    names = [label for label in dict.fromkeys([*labels, *sorted(occurring)]) if label in occurring]
    at = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(names), len(names)), np.int64)  # [given, found]
    for (given, found), count in pairs.items():
        table[at[given], at[found]] += count
    right, given, found = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    precision, recall = right / np.maximum(found, 1), right / np.maximum(given, 1)
    f1 = 2 * right / (given + found)  # of a label that occurs, this is no division by 0
    per_label = [
        LabelScores(name, float(precision[i]), float(recall[i]), float(f1[i]), int(given[i]))
        for i, name in enumerate(names)
    ]
    texts = int(table.sum())
    return Report(texts, unlabelled, float(right.sum() / texts), float(f1.mean()), per_label)


def print_report(report: Report, as_json: bool) -> None:
    """Print it, for a program or for people."""
    if as_json:
        click.echo(json.dumps(asdict(report), ensure_ascii=False, indent=2))
        return
    unlabelled = f" ({report.unlabelled:,} more without a label)" if report.unlabelled else ""
    for name, value in {
        "texts": f"{report.texts:,}{unlabelled}",
        "accuracy": f"{report.accuracy:.4f}",
        "macro F1": f"{report.macro_f1:.4f}",
    }.items():
        click.echo(f"{click.style(f'{name:10}', bold=True)}{value}")
    width = max(5, *(len(row.label) for row in report.labels))
    click.echo(f"\n{'label':{width}}  precision  recall      F1   texts")
    for row in report.labels:
        click.echo(f"{row.label:{width}}  {row.precision:9.4f}  {row.recall:6.4f}  {row.f1:6.4f}  {row.texts:6,}")


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value


def _number(value: Any) -> int | None:
    """A label's number, as a whole number of any type or as text (CSV's)."""
    if isinstance(value, str):
        return int(value.partition(".")[0]) if re.fullmatch(r"\s*\d{1,9}(\.0+)?\s*", value) else None
    return int(value) if isinstance(value, (bool, int, float)) and value == int(value) else None
