"""Where the time of a step goes: the engine's own steps, each timed by itself, by what they compute."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.training.learners import Minidistil, Pool
from minidistil.backends.engine.learning import EngineLearner
from minidistil.kernels.layout import address
from minidistil.kernels.steps.table import ENTRIES, MEETS, OPERANDS, OPERATION, Run, Steps

KINDS = {
    "products, forward": ("product", "narrow_product"),
    "products, dX": (),  # the same operations, after the loss
    "products, dW": ("weight_gradient",),
    "attention, forward": ("attend_kept",),
    "attention, backward": ("attend_backward",),
    "LayerNorms, both ways": ("layer_norm", "layer_norm_backward", "norm_gradient"),
    "activation, both ways": ("activate", "activate_rows", "activation_backward"),
    "dropout": ("dropout",),
    "embeddings, residual sums, biases": ("sum_rows", "scatter_rows", "column_sums"),
    "loss": ("cross_entropy", "cosine"),
    "norm and AdamW": ("sum_squares", "adamw"),
    "packing": ("pack", "pack_columns"),
}
_KIND = {operation: kind for kind, operations in KINDS.items() for operation in operations}
_ROUNDS = 3


class Clocked(EngineLearner):
    """A learner whose threads meet after every step, and note the time.

    Attributes:
        seconds: by kind, of all calls so far.
        operations: float32 operations of products and attention, by kind.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.operations: dict[str, float] = defaultdict(float)

    def _run(self, steps: Steps, values: dict[str, int], keep: object) -> None:
        meeting, times = _Meeting(steps), np.zeros(len(steps), np.int64)
        start = time.monotonic_ns()
        super()._run(meeting, {**values, "clock": address(times)}, (keep, times))
        before_loss, is_update = True, "decaying" in values or not values
        for row, spent in zip(meeting.rows.tolist(), np.diff(times, prepend=start).tolist(), strict=True):
            name = ENTRIES["train"][row[OPERATION]].rpartition(".")[2]
            before_loss = before_loss and name not in KINDS["loss"]
            kind = _KIND[name]
            if name in KINDS["products, forward"] and not before_loss:
                kind = "products, dX"
            elif name == "sum_rows" and is_update:
                kind = "packing"  # of the biases
            self.seconds[kind] += spent / 1e9
            self.operations[kind] += _operations(name, row[OPERANDS:])


class _Meeting(Steps):
    """Steps of which each ends with a meeting; `rows` are those of the last call, int64 [steps, SLOTS]."""

    def __init__(self, steps: Steps) -> None:
        self.__dict__.update(steps.__dict__)

    def call(self, values: Mapping[str, int]) -> np.ndarray:
        numbers = super().call(values)
        rows = numbers[len(Run._fields) : self.team].reshape(len(self), -1)
        rows[:, MEETS] = 1
        self.rows = rows.copy()
        return numbers


def _operations(name: str, operands: list[int]) -> float:
    """Multiplications and additions of a product, by its operands as they lie in the slots of a step."""
    if name in ("product", "narrow_product"):
        return 2.0 * operands[4] * operands[5] * operands[8]  # w.k, w.n, rows
    if name == "weight_gradient":
        return 2.0 * operands[4] * operands[5] * operands[6]  # rows, n, k
    return 0.0


class Where(Minidistil):
    """The learner as a peer whose answer is where its time went."""

    def load(self, folders: Any, threads: int) -> None:
        from minidistil.backends.engine.profile import measure_roofs

        super().load(folders, threads)
        self._roofs = measure_roofs(threads)

    def learner(self, *arguments: Any) -> Any:
        return Clocked(*arguments)

    def answers(self, prepared: Pool, results: None) -> dict[str, Any]:
        """Of some runs, a pool each, the one of median length: seconds and operations by kind; and the roofs."""
        found: list[tuple[float, dict[str, float]]] = []
        for _ in range(_ROUNDS):
            self._learner.forget()
            start = time.perf_counter()
            self.run(prepared)
            found.append((time.perf_counter() - start, dict(self._learner.seconds)))
        wall, seconds = sorted(found, key=lambda one: one[0])[_ROUNDS // 2]
        lengths = np.array(prepared.work.lengths, np.float64)
        attended = float((lengths**2).sum()) * self._config.dim * self._config.n_layers
        operations = {
            **self._learner.operations,
            "attention, forward": 4 * attended,
            "attention, backward": 10 * attended,
        }
        return {
            "seconds": {kind: seconds.get(kind, 0.0) for kind in KINDS},
            "operations": {kind: operations.get(kind, 0.0) for kind in KINDS},
            "wall": wall,
            "parameters": self._learner.parameters.values.size,
            "steps": len(prepared.steps),
            "peak": self._roofs.operations,
            "memory": self._roofs.bytes,
        }
