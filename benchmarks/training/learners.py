"""The engines that learn, one adapter each (peers.py): `run` learns a pool of texts once, step after step.

A step is the whole of it: forward, backward, clipping, AdamW with decay groups, and what the engine makes of the new
weights. Dropout is what the model's configuration says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers import versions_of
from benchmarks.training.work import Example, Work

LEARNING_RATE, DECAY, EPS, CLIP = 5e-5, 0.01, 1e-6, 1.0


class Pool(NamedTuple):
    """A pool as an engine has prepared it: its steps, and the model's mean loss before it has learned anything."""

    work: Work
    steps: list[Any]
    loss: float


class Minidistil:
    """This project's learner. Texts are packed in a step's time, as they come."""

    def versions(self) -> dict[str, str]:
        return versions_of(("minidistil", "numba", "numpy"))

    def start(self) -> None:
        import minidistil.backends.engine.learning  # noqa: F401

    def load(self, folders: Mapping[str, Path], threads: int) -> None:
        self._folders, self._threads = folders, threads

    def prepare(self, work: Work) -> Pool:
        from minidistil.training.settings import Settings
        from minidistil.weights import open_checkpoint, read_model
        from minidistil.weights.config import Config

        checkpoint = open_checkpoint(self._folders[work.task])
        self._config = Config.from_dict(checkpoint.config)
        chances = Settings(work.task).resolved(self._config).chances
        self._learner: Any = None  # the last one's memory is let go first
        self._learner = self.learner(self._config, read_model(checkpoint), work.task, chances, self._threads)
        self._step = 0
        return Pool(work, work.steps(), self._loss(work))

    def learner(self, *arguments: Any) -> Any:
        """What learns."""
        from minidistil.backends.engine.learning import EngineLearner

        return EngineLearner(*arguments)

    def run(self, prepared: Pool) -> None:
        from minidistil.backends.learning import LossWeights, Targets, Update

        for examples in prepared.steps:
            self._step += 1
            batch, rows, labels = self._packed(examples)
            weights = LossWeights(hard=1 / len(rows))
            self._learner.accumulate(batch, Targets(rows, labels, None, None, weights), self._step, 0)
            self._learner.update(Update(self._step, LEARNING_RATE, DECAY, eps=EPS, largest_norm=CLIP))

    def answers(self, prepared: Pool, results: None) -> np.ndarray:
        return np.array([prepared.loss, self._loss(prepared.work)])

    def _packed(self, examples: list[Example]) -> tuple[Any, np.ndarray, np.ndarray]:
        from minidistil.models.inputs import pack_sentences

        batch = pack_sentences(self._config, [example.ids for example in examples])
        firsts = batch.offsets[:-1].tolist()
        rows = np.concatenate([first + example.rows for first, example in zip(firsts, examples, strict=True)])
        return batch, rows, np.concatenate([example.labels for example in examples])

    def _loss(self, work: Work) -> float:
        total, count = 0.0, 0
        for examples in work.steps():
            batch, rows, labels = self._packed(examples)
            total += cross_entropy(self._learner.predict(batch, rows), labels)
            count += len(rows)
        return total / count


class PyTorch:
    """transformers' model (sdpa) and PyTorch's fused AdamW; texts sorted by length in the pool, and padded before."""

    compiled = False

    def versions(self) -> dict[str, str]:
        return versions_of(("torch", "transformers"))

    def start(self) -> None:
        import torch
        import transformers  # noqa: F401

        if not torch.backends.mkldnn.is_available():
            raise RuntimeError("this PyTorch was built without oneDNN: it would not be PyTorch at its fastest")

    def load(self, folders: Mapping[str, Path], threads: int) -> None:
        import torch
        from transformers import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(threads)
        self._folders = folders

    def prepare(self, work: Work) -> Pool:
        import torch
        import transformers

        kind = {"masked_lm": "MaskedLM", "sequence_classification": "SequenceClassification"}[work.task]
        self._model = self._optimizer = self._forward = None
        torch.manual_seed(0)
        model = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(
            self._folders[work.task], dtype=torch.float32
        )
        named = list(model.named_parameters())
        lasting = [p for name, p in named if name.endswith("bias") or "layernorm" in name.lower().replace("_", "")]
        ids = {id(p) for p in lasting}
        groups = [
            {"params": [p for _, p in named if id(p) not in ids], "weight_decay": DECAY},
            {"params": lasting, "weight_decay": 0.0},
        ]
        self._optimizer: Any = torch.optim.AdamW(groups, lr=LEARNING_RATE, eps=EPS, fused=True)
        self._model: Any = model
        self._forward: Any = torch.compile(model, dynamic=True) if self.compiled else model
        order = np.argsort(work.lengths, kind="stable")
        steps = [_padded(examples, work.task) for examples in work.steps(order)]
        return Pool(work, steps, self._loss(steps))

    def run(self, prepared: Pool) -> None:
        import torch

        self._model.train()
        for inputs in prepared.steps:
            self._forward(**inputs).loss.backward()
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), CLIP)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)

    def answers(self, prepared: Pool, results: None) -> np.ndarray:
        return np.array([prepared.loss, self._loss(prepared.steps)])

    def _loss(self, steps: list[dict[str, Any]]) -> float:
        import torch

        self._model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for inputs in steps:
                labels = inputs["labels"].numpy()
                logits = self._model(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits.numpy()
                wanted = labels >= 0
                total += cross_entropy(logits[wanted], labels[wanted])
                count += int(wanted.sum())
        return total / count


class PyTorchCompiled(PyTorch):
    """The same through torch.compile, which takes a C++ compiler and its time, before anything is measured."""

    compiled = True


LEARNERS: dict[str, type[Any]] = {"minidistil": Minidistil, "pytorch": PyTorch, "pytorch-compiled": PyTorchCompiled}


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Of rows with their labels, in nats, summed: float32 [R, N], int [R]."""
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        z = row.astype(np.float64)
        total += math.log(np.exp(z - z.max()).sum()) + float(z.max() - z[label])
    return total


def _padded(examples: list[Example], task: str) -> dict[str, Any]:
    """Tensors as transformers takes them, int64 [B, S]; -100 where there is nothing to say."""
    import torch

    longest = max(len(example.ids) for example in examples)
    ids, mask = (np.zeros((len(examples), longest), np.int64) for _ in range(2))
    labels = np.full((len(examples), longest), -100, np.int64)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = example.ids
        mask[row, : len(example.ids)] = 1
        labels[row, example.rows] = example.labels
    if task == "sequence_classification":
        labels = np.ascontiguousarray(labels[:, 0])
    return {name: torch.from_numpy(a) for name, a in (("input_ids", ids), ("attention_mask", mask), ("labels", labels))}
