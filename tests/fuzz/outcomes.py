"""What can become of a case, and how many did."""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.weights import CheckpointError
from tests.bits import differ, first_difference

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("minidistil", "weights", "kernels")
GOOD = ("accepted", "refused")
BAD = ("crash", "hang", "memory", "wrong error", "wrong bits", "executed")
_SHIPPED_FILES = tuple(f"{ROOT}/{top}/" for top in SHIPPED)
_OTHERS_WORDS = ("unexpected keyword argument", "truth value of an array")
_LONGEST_MESSAGE = 1 << 20  # characters: a thousand faults of a thousand


class WrongBits(AssertionError):
    """The engine's result is not that of `exact`."""


class Executed(AssertionError):
    """Something out of a file has been run."""


@dataclass(frozen=True)
class Outcome:
    """Of one case.

    Attributes:
        kind: of GOOD or BAD.
        where: for a bad one, what findings of one cause have in common.
        details: the same for people: an error with its traceback, a signal.
    """

    kind: str
    where: str = ""
    details: str = ""


@dataclass
class Finding:
    """All cases of a run that went wrong in one way; `case` is the first of them."""

    kind: str
    where: str
    case: int
    details: str
    count: int = 1


@dataclass
class Counts:
    """Of one run over one target.

    Attributes:
        target: its name.
        seed: of the run; with the number of a case it makes the case.
        cases: how many were tried.
        kinds: how many of them ended how.
        findings: those that went wrong, by what they have in common.
        seconds: the run took.
        slowest: seconds and number of the case that took longest.
        memory: MiB that a child grew by at most.
    """

    target: str
    seed: int
    cases: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, -1)
    memory: int = 0

    def add(self, case: int, outcome: Outcome, seconds: float = 0.0, memory: int = 0) -> None:
        self.cases += 1
        self.kinds[outcome.kind] += 1
        self.slowest = max(self.slowest, (seconds, case))
        self.memory = max(self.memory, memory)
        if outcome.kind in BAD:
            key = outcome.kind, outcome.where
            if key in self.findings:
                self.findings[key].count += 1
            else:
                self.findings[key] = Finding(outcome.kind, outcome.where, case, outcome.details)

    def to_json(self) -> str:
        """The counts as a line that `from_json` reads."""
        values = {**vars(self), "findings": [vars(finding) for finding in self.findings.values()]}
        return json.dumps(values)

    @classmethod
    def from_json(cls, line: str) -> Counts:
        """What `to_json` wrote."""
        values = json.loads(line)
        findings = [Finding(**finding) for finding in values.pop("findings")]
        values |= {"kinds": Counter(values["kinds"]), "slowest": tuple(values["slowest"])}
        return cls(**values, findings={(finding.kind, finding.where): finding for finding in findings})

    def line(self) -> str:
        """The counts in a line below HEAD."""
        rate = self.cases / self.seconds if self.seconds else 0
        numbers = [self.kinds[kind] for kind in (*GOOD, *BAD)]
        columns = [self.target, self.cases, *numbers, f"{rate:.0f}", f"{self.slowest[0]:.1f}", self.memory, self.seed]
        return "".join(f"{column!s:>{width}}" for column, width in zip(columns, _WIDTHS, strict=True))

    def report(self) -> str:
        """The slowest case, and every finding with the line that reproduces its first case."""
        return f"the slowest was case {self.slowest[1]}\n" + "\n".join(
            f"{self.target}: {finding.kind}, {finding.count} of {self.cases} cases; case {finding.case}:\n"
            f"  python -m tests.fuzz {self.target} --seed {self.seed} --case {finding.case}\n"
            f"{_indented(finding.details or finding.where)}"
            for finding in sorted(self.findings.values(), key=lambda finding: -finding.count)
        )


_COLUMNS = ("target", "tried", *GOOD, *BAD, "a second", "slowest", "MiB", "seed")
_WIDTHS = (13, 9, *(max(9, len(kind) + 2) for kind in (*GOOD, *BAD)), 10, 9, 6, 12)
HEAD = "".join(f"{name:>{width}}" for name, width in zip(_COLUMNS, _WIDTHS, strict=True))


def _indented(text: str) -> str:
    shown = text if len(text) <= 4000 else f"{text[:1500]}\n[...]\n{text[-2500:]}"
    return "\n".join(f"    {line}" for line in shown.splitlines())


def of_error(error: BaseException, folder: Path | None) -> Outcome:
    """What an error that reached the caller means: for files in `folder` one CheckpointError that names them."""
    if isinstance(error, WrongBits):
        return Outcome("wrong bits", _place(error), _told(error))
    if isinstance(error, Executed):
        return Outcome("executed", str(error), _told(error))
    if isinstance(error, MemoryError):
        return Outcome("memory", _place(error), _told(error))
    if folder is not None and isinstance(error, CheckpointError):
        text = str(error)
        if str(folder) in text and len(text) < _LONGEST_MESSAGE:
            return Outcome("refused")
        what = f"a message of {len(text)} characters" if str(folder) in text else "without the file's name"
        return Outcome("wrong error", f"CheckpointError {what} {_place(error)}", _told(error))
    first = error.__cause__ or error
    return Outcome("wrong error", f"{type(first).__name__} {_place(first)}", _told(error))


def check_sentence(error: Exception) -> None:
    """Raise unless an error says in words of the project's own what is wrong.

    What Python says of unknown keywords is good enough, and what NumPy says of arrays in the place of flags.
    """
    last = traceback.extract_tb(error.__traceback__)[-1]
    own = last.filename.startswith(_SHIPPED_FILES) and (last.line or "").startswith("raise ")
    if not own and not any(words in str(error) for words in _OTHERS_WORDS):
        raise RuntimeError(f"no sentence: {type(error).__name__}: {error}") from error


def _told(error: BaseException) -> str:
    lines = traceback.format_exception(error, limit=-12)
    return "".join(line if len(line) < 800 else f"{line[:400]} ... {line[-400:]}" for line in lines)


def _place(error: BaseException) -> str:
    """The innermost line of the project that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename.startswith(_SHIPPED_FILES)]
    last = (own or frames or [None])[-1]
    return "nowhere" if last is None else f"at {Path(last.filename).name}:{last.lineno} in {last.name}"


def arrays(value: Any) -> Iterator[np.ndarray]:
    """Every array in a result, in order."""
    if isinstance(value, np.ndarray | np.generic):
        yield np.asarray(value)
    elif isinstance(value, float):
        yield np.asarray(value, np.float64)
    elif isinstance(value, dict):
        for key in value:
            yield from arrays(value[key])
    elif isinstance(value, list | tuple):
        for element in value:
            yield from arrays(element)
    elif hasattr(value, "to_tuple"):
        yield from arrays(value.to_tuple())


def compare(got: Any, want: Any, what: str) -> None:
    """Raise WrongBits unless two results have the same arrays, bit for bit."""
    mine, theirs = list(arrays(got)), list(arrays(want))
    if len(mine) != len(theirs):
        raise WrongBits(f"{what}: {len(mine)} arrays, exact has {len(theirs)}")
    for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise WrongBits(f"{what}, array {i}: {a.dtype} {a.shape}, exact has {b.dtype} {b.shape}")
        if a.dtype == np.float32:
            if differ(a, b).any():
                raise WrongBits(f"{what}, array {i}: {first_difference(a, b)}")
        elif not _same(a, b):
            raise WrongBits(f"{what}, array {i}: {a.ravel()[:4]}, exact has {b.ravel()[:4]}")


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of one type and shape have the same bits; a NaN is as good as another."""
    if a.dtype.kind == "f":
        neither = np.isnan(a) & np.isnan(b)
        a, b = np.where(neither, 0, a), np.where(neither, 0, b)
    return a.tobytes() == b.tobytes()
