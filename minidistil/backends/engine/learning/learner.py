"""EngineLearner: a model that learns on compiled kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._loading import Lock
from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine.engine import check_tables
from minidistil.backends.engine.learning.copies import Copies
from minidistil.backends.engine.learning.memory import Memory, Size
from minidistil.backends.engine.learning.plan import Kind, Plan, Written
from minidistil.backends.engine.learning.planner import Grouped
from minidistil.backends.engine.threads import Team, default_threads
from minidistil.backends.learning import (
    Chances,
    Losses,
    Parameters,
    Targets,
    Task,
    Update,
    check_chances,
    check_trainable,
)
from minidistil.kernels.code import native
from minidistil.kernels.layout import address
from minidistil.kernels.steps.table import Steps
from minidistil.kernels.steps.training.adamw import clip_factor, numbers_of
from minidistil.kernels.steps.training.cross_entropy import STATISTICS, losses_of
from minidistil.kernels.steps.training.scatter_rows import grouped
from minidistil.kernels.steps.training.sum_squares import chunks, norm
from minidistil.weights.config import Config
from minidistil.weights.model_weights import EmbeddingWeights, ModelWeights


class EngineLearner:
    """A model that learns; see `minidistil.backends.learning.Learner`. It has the bits of the reference's.

    Callers take turns. Where one is taken out of a call early (by Ctrl-C), the parameters are neither as they were nor
    as they should be, and other threads may be writing to them still: every later call is refused.
    """

    @default_mode()
    def __init__(
        self, config: Config, weights: ModelWeights, task: Task, chances: Chances, threads: int | None = None
    ) -> None:
        """Prepare a model.

        Args:
            config: the model's numbers.
            weights: to begin with; they are copied.
            task: the head that is trained.
            chances: of dropout.
            threads: threads of a team; None for what `default_threads` says.

        Raises:
            EngineUnavailable: the CPU (as Numba compiles for it) has no fused multiply-add.
            ValueError: a model without a backward pass, or chances that are none.
        """
        check_trainable(config, weights, task)
        check_chances(chances)
        check_tables(config, weights.encoder.embeddings)
        self.config, self.chances = config, chances
        self.threads = default_threads() if threads is None else threads
        self.parameters = Parameters(weights, task)
        self._copies = Copies(self.parameters)
        self._plan = Plan(config, self.parameters, self._copies, chances)
        self._norm, self._update, self._pack = self._plan.norm(), self._plan.update(), self._plan.pack()
        native.entry("train")  # compiled now where it never was, or found impossible here
        self._team = Team(self.threads)
        self._memory = Memory(config.head_dim, self.threads)
        self._turn = Lock()
        self._packed, self._whole = False, True

    @default_mode()
    def accumulate(self, batch: PackedBatch, targets: Targets, step: int, first_row: int) -> Losses:
        """Add the gradients of one micro-batch; see `Learner`."""
        targets = targets.checked(batch, self.config, self.parameters.outputs, step, first_row)
        rows, labels, logits, hidden, weights = (
            *(targets.rows, targets.labels, targets.teacher_logits),
            *(targets.teacher_hidden, targets.weights),
        )
        kind = Kind(len(rows) > 0, hidden is not None and batch.tokens > 0)
        statistics = np.empty((len(rows), STATISTICS), np.float32)
        cosines = np.empty(batch.tokens if kind.cosine else 0, np.float32)
        if any(kind):
            factors = np.array([weights.hard, weights.soft, weights.temperature, weights.cosine], np.float32)
            read_as = np.full(batch.tokens, -1, np.int32)
            read_as[rows] = np.arange(len(rows), dtype=np.int32)
            groups = _groups(batch, self._types(batch))
            values = {
                "step": step,
                "first_row": first_row,
                "read_as": address(read_as),
                "labels": address(labels),
                "teacher_logits": address(logits),
                "teacher_hidden": address(hidden),
                "loss_weights": address(factors),
                "cosine_weight": address(factors[3:]),
                "statistics": address(statistics),
                "cosines": address(cosines),
            }
            for table, (order, starts, ids) in groups.items():
                values |= dict(
                    zip((v.name for v in Grouped.of(table)[:3]), map(address, (order, starts, ids)), strict=True)
                )
                values[Grouped.of(table).distinct.name] = len(ids)
            keep = (labels, logits, hidden, factors, read_as, groups, statistics, cosines)
            self._pass(self._plan.learn(kind), batch, rows, values, keep)
        hard, soft, predicted = losses_of(statistics, labels)
        distance = 0.0
        for cosine in cosines.tolist():
            distance += 1 - cosine
        return Losses(hard, soft, distance, int((labels >= 0).sum()), len(rows), batch.tokens, predicted)

    @default_mode()
    def update(self, update: Update) -> float:
        """Clip, take a step of AdamW, and set the gradients to zero; see `Learner`."""
        p, u = self.parameters, update
        with self._working():
            sums = np.empty(chunks(p.gradients.size), np.float32)
            self._run(self._norm, {"sums": address(sums)}, sums)
            length = norm(sums)
            if not math.isfinite(length):
                p.gradients[:] = 0
                return length
            clip = clip_factor(length, u.largest_norm)
            decaying, lasting = (
                numbers_of(u.step, u.learning_rate, decay, u.beta1, u.beta2, u.eps, clip) for decay in (u.decay, 0.0)
            )
            values = {"decaying": address(decaying), "lasting": address(lasting)}
            self._run(self._update, values, (decaying, lasting))
            self._packed = True
        return length

    @default_mode()
    def predict(self, batch: PackedBatch, rows: np.ndarray) -> np.ndarray:
        """Logits float32 [R, N] of the model as it is now; see `Learner`."""
        batch.check(self.config)
        if batch.input_ids is None or batch.attention_bias is not None:
            raise ValueError("a model learns from input_ids, without inputs_embeds and without an attention bias")
        wanted = batch.rows(rows)
        logits = np.empty((len(wanted), self.parameters.outputs), np.float32)
        if len(wanted):
            self._pass(self._plan.predict(), batch, wanted, {"logits": address(logits)}, logits)
        return logits

    def changed(self) -> None:
        """Take note that somebody else has written to `parameters.values`."""
        with self._turn:
            self._packed = False

    def needs(self, tokens: int, sentences: int, longest: int, rows: int) -> dict[str, int]:
        """Bytes for a micro-batch of at most so many; see `Learner`."""
        block = self.parameters.values.nbytes
        size, kinds = Size(tokens, rows, longest), (Kind(True, False), Kind(True, True))
        floats = max(self._memory.floats(self._plan.learn(kind).buffers, size) for kind in kinds)
        return {
            "weights": block,
            "optimizer": 3 * block,
            "activations": 4 * floats + 4 * rows * STATISTICS,
            "packed": self._copies.bytes,
        }

    def _pass(
        self, written: Written, batch: PackedBatch, rows: np.ndarray, values: dict[str, int], keep: object
    ) -> None:
        """Run what is planned over a batch; `values` are its variables but those of the batch and the memory."""
        types, wanted = self._types(batch), rows.astype(np.int32)
        lengths = np.diff(batch.offsets)
        size = Size(batch.tokens, len(rows), int(lengths.max()))
        with self._working():
            if not self._packed:
                self._run(self._pack, {}, None)
                self._packed = True
            block, places = self._memory.place(written.buffers, size)
            values = {
                **values,
                **places,
                "sentences": batch.sentences,
                "offsets": address(batch.offsets),
                "word_ids": address(batch.input_ids),
                "type_ids": address(types),
                "position_ids": address(batch.position_ids),
                "wanted_rows": address(wanted),
            }
            self._run(written.steps, values, (batch, types, wanted, block, keep))

    def _run(self, steps: Steps, values: dict[str, int], keep: object) -> None:
        """Take steps; a list that does not come to its end leaves memory to which a thread may still be writing."""
        self._whole = False
        with self._team.turn():
            self._team.run(steps, {"clock": 0, "scratch": 0, "scratch floats": 0, **values}, (self, keep))
        self._whole = True

    @contextmanager
    def _working(self) -> Iterator[None]:
        """The learner to oneself, and whole."""
        with self._turn:
            if not self._whole:
                raise RuntimeError(
                    "an earlier call was interrupted in the middle, and this model is neither as it was nor as it "
                    "should be: go on with a new learner, from the last checkpoint of the run"
                )
            yield

    def _types(self, batch: PackedBatch) -> np.ndarray | None:
        embeddings = self.parameters.weights().encoder.embeddings
        assert isinstance(embeddings, EmbeddingWeights)
        if batch.token_type_ids is None and embeddings.token_type_embeddings is not None:
            return np.zeros(batch.tokens, np.int32)
        return batch.token_type_ids


def _groups(batch: PackedBatch, types: np.ndarray | None) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Tokens by the rows of the embedding tables that they took (scatter_rows.py)."""
    ids = {
        "word_embeddings": batch.input_ids,
        "position_embeddings": batch.position_ids,
        "token_type_embeddings": types,
    }
    return {table: grouped(some) for table, some in ids.items() if some is not None}
