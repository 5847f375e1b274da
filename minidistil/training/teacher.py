"""What a teacher says of a batch, by the ordinary engine: of the rows that are asked for, and no others."""

from __future__ import annotations

import numpy as np

from minidistil._float_mode import default_mode
from minidistil.backends.batch import PackedBatch
from minidistil.backends.choose import create_backend
from minidistil.backends.learning import Task
from minidistil.models.heads import sequence_classification, token_classification
from minidistil.models.inputs import pack_sentences
from minidistil.weights.config import Config
from minidistil.weights.model_weights import ModelWeights


class Teacher:
    """A model that says what a student should have said.

    Args:
        config: the teacher's.
        weights: the teacher's, with the head of the task.
        task: as `Settings.task`.
        threads: of the engine.
        backend: "engine" or "exact", which have the same bits.

    Raises:
        ValueError: it has no such head.
        RuntimeError: the engine cannot run here.
    """

    def __init__(
        self,
        config: Config,
        weights: ModelWeights,
        task: Task,
        *,
        threads: int | None = None,
        backend: str | None = None,
    ) -> None:
        self.config = config
        self._task = task
        self._head = getattr(weights, task)
        if self._head is None:
            raise ValueError(f"the teacher has no {task} head: train one first, or name another teacher")
        self._backend = create_backend(backend or "engine", config, weights, threads)

    @default_mode()
    def says(
        self, batch: PackedBatch, rows: np.ndarray, *, logits: bool = True, hidden: bool = False
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return what the teacher says, of one pass through its layers.

        Args:
            batch: the student's: B sentences, T tokens.
            rows: int64 [R], those that the head reads.
            logits: whether float32 [R, N] of these rows is wanted.
            hidden: whether the last hidden states float32 [T, D] of all tokens are wanted.
        """
        own = self._own(batch)
        last = self._backend.encode(own, rows=None if hidden else rows).last
        said = self._logits(last[rows] if hidden else last) if logits else None
        return said, last if hidden else None

    def logits(self, batch: PackedBatch, rows: np.ndarray) -> np.ndarray:
        """Return float32 [R, N], what the teacher says of these rows."""
        said, _ = self.says(batch, rows)
        assert said is not None
        return said

    def _logits(self, read: np.ndarray) -> np.ndarray:
        if self._task == "masked_lm":
            return self._backend.masked_lm(read)
        head = sequence_classification if self._task == "sequence_classification" else token_classification
        return head(self._backend, read, self._head)

    def _own(self, batch: PackedBatch) -> PackedBatch:
        """The same tokens, at the places where the teacher's family counts them."""
        assert batch.input_ids is not None
        return pack_sentences(self.config, np.split(batch.input_ids, batch.offsets[1:-1]))


def check_teacher(teacher: Config, student: Config, *, cosine: bool) -> None:
    """Refuse a teacher whose words or hidden states mean nothing to the student.

    Args:
        teacher: its configuration.
        student: the student's.
        cosine: whether hidden states are compared.

    Raises:
        ValueError: says what differs.
    """
    if teacher.vocab_size != student.vocab_size:
        raise ValueError(
            f"the teacher's vocabulary has {teacher.vocab_size} entries and the student's {student.vocab_size}: a "
            "student learns from a teacher that reads the same tokens"
        )
    if cosine and teacher.dim != student.dim:
        raise ValueError(
            f"the teacher's hidden states are {teacher.dim} wide and the student's {student.dim}, so that there is no "
            "cosine between them: pass cosine=0"
        )
