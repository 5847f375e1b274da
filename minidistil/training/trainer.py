"""The loop: batches in, an update of the weights out, again and again, whatever comes between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minidistil.backends.learning import Learner
from minidistil.training.examples import Examples
from minidistil.training.settings import Settings


class TrainingError(RuntimeError):
    """A run that cannot go on: the loss is no number, the disk is full; says where, and what is left."""


class Trainer:
    """A run of training, which goes on where an earlier process was interrupted.

    Args:
        learner: what learns.
        examples: what it learns from.
        settings: of the run.
        config: of the learner's model.
        tokenizer: the model's.
        folder: where checkpoints and the log lie.
        teacher: `Teacher`, where the loss asks for one.
        held_out: what it is judged by, or None.
        circumstances: what else the run depends on (digests of start and teacher), compared when it goes on.
        show_progress: show a bar on standard error.
        restart: begin anew, and remove what an earlier run left.

    Raises:
        ValueError: what an earlier run left was made otherwise; says what differs.
    """

    def __init__(
        self,
        learner: Learner,
        examples: Examples,
        settings: Settings,
        *,
        config: Any,
        tokenizer: Any,
        folder: Path,
        teacher: Any = None,
        held_out: Examples | None = None,
        circumstances: dict[str, Any] | None = None,
        show_progress: bool = False,
        restart: bool = False,
    ) -> None:
        raise NotImplementedError

    def run(self) -> dict[str, float]:
        """Train to the end; returns the figures of the last evaluation."""
        raise NotImplementedError
