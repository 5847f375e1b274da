"""The loop: batches in, an update of the weights out, again and again, whatever comes between."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil.backends.learning import Learner, Losses, LossWeights, Targets, Update
from minidistil.sentences.growing import add_note
from minidistil.sentences.progress import progress
from minidistil.tokenization import Tokenizer
from minidistil.training.batches import Batches, MicroBatch
from minidistil.training.checkpoints import Checkpoints, finite
from minidistil.training.examples import Examples
from minidistil.training.folder import RunFolder
from minidistil.training.journal import Log
from minidistil.training.masking import Vocabulary
from minidistil.training.schedule import rate
from minidistil.training.settings import Settings
from minidistil.training.teacher import Teacher
from minidistil.weights.config import Config

_SMOOTH = 0.02  # of each step's loss in the one that the bar shows


class TrainingError(RuntimeError):
    """A run that cannot go on: the loss is no number, the disk is full; says where, and what is left.

    Attributes:
        step: that was not done.
        checkpoint: the step of the last good checkpoint; 0 for none.
    """

    def __init__(self, message: str, step: int = 0, checkpoint: int = 0) -> None:
        super().__init__(message)
        self.step, self.checkpoint = step, checkpoint


class Trainer:
    """A run of training, which goes on where an earlier process was interrupted.

    Args:
        learner: what learns.
        examples: what it learns from.
        settings: of the run.
        config: of the learner's model.
        tokenizer: the model's; for masked words.
        folder: where checkpoints and the log lie.
        circumstances: a digest of all that the run depends on, from `folder.agree`.
        teacher: where the loss asks for one.
        held_out: what it is judged by, or None.
        show_progress: show a bar on standard error.

    Attributes:
        steps: of the whole run.
        resumed: how many of them earlier processes have done.

    Raises:
        ValueError: there is no tokenizer to mask words with, or checkpoints are damaged.
    """

    def __init__(
        self,
        learner: Learner,
        examples: Examples,
        settings: Settings,
        *,
        config: Config,
        folder: RunFolder,
        circumstances: str,
        tokenizer: Tokenizer | None = None,
        teacher: Teacher | None = None,
        held_out: Examples | None = None,
        show_progress: bool = False,
    ) -> None:
        self.learner, self.settings = learner, settings
        self._teacher, self._show = teacher, show_progress
        vocabulary = None
        if settings.task == "masked_lm":
            if tokenizer is None:
                raise ValueError("to mask words takes the tokenizer")
            vocabulary = Vocabulary.of(tokenizer, config.vocab_size)
        self._batches = Batches(examples, settings, config, vocabulary)
        self._held_out = None if held_out is None else Batches(held_out, settings, config, vocabulary)
        self._folder = folder
        self._checkpoints = Checkpoints(folder.path, circumstances)
        self._done = self._checkpoints.read(learner)
        self.resumed = self._done.step
        self._epochs = [len(self._batches.steps(epoch)) for epoch in range(1, settings.epochs + 1)]
        self.steps = sum(self._epochs)
        self._order: tuple[int, list[np.ndarray]] = (0, [])

    @property
    def needs(self) -> dict[str, int]:
        """Bytes that training takes, by what for."""
        tokens, sentences, longest = self._batches.largest()
        rows = sentences if self.settings.task == "sequence_classification" else tokens
        return self.learner.needs(tokens, sentences, longest, rows)

    @default_mode()
    def run(self) -> dict[str, float]:
        """Train to the end.

        Ctrl-C leaves a checkpoint of the last step that was done, as far as the disk allows.

        Returns:
            The figures of the last evaluation; {} without held-out data.

        Raises:
            TrainingError: it cannot go on.
        """
        self.learner.parameters.gradients[...] = 0
        self.learner.changed()  # an interrupted call may have left it in the middle of a step
        self._log = Log(self._folder.log, self._done.log)
        self._begun, self._saved = time.monotonic() - self._done.seconds, time.monotonic()
        self._shown: float | None = None
        self._updating = False
        try:
            if not self._log.end:
                self._log.write({"step": 0, "steps": self.steps, "bytes": self.needs})
                self._done = replace(self._done, log=self._log.end)
            with progress(self.steps, self._show, unit="steps", done=self._done.step, verb="Training") as bar:
                self._evaluate_if_due()
                for step in range(self._done.step + 1, self.steps + 1):
                    self._step(step, bar)
                    self._evaluate_if_due()
                    if step == self.steps or time.monotonic() - self._saved >= self.settings.checkpoint_seconds:
                        self._save()
        except KeyboardInterrupt as interrupt:
            note = self._what_is_left()
            if self._done.step > self._checkpoints.last and not self._updating:
                try:
                    self._save()
                    note = self._what_is_left()
                except TrainingError as failure:
                    note = str(failure)
            add_note(interrupt, note)
            raise
        except OSError as error:
            raise self._error(f"{error.strerror or error}", self._done.step + 1) from error
        finally:
            self._log.close()
        return self._done.figures or {}

    def _step(self, step: int, bar: Any) -> None:
        epoch, numbers = self._examples_of(step)
        parts = list(self._batches.micro_batches(numbers, epoch))
        s = self.settings
        labelled = sum(int((part.labels >= 0).sum()) for part in parts)
        rows, tokens = sum(len(part.rows) for part in parts), sum(part.batch.tokens for part in parts)
        weights = LossWeights(s.hard / max(labelled, 1), s.soft / rows, s.temperature, s.cosine / tokens)
        losses, first_row, right = [], 0, 0
        for part in parts:
            found = self._accumulate(part, weights, step, first_row)
            first_row += part.batch.tokens
            right += int(((found.predicted == part.labels) & (part.labels >= 0)).sum())
            losses.append(found)
        line: dict[str, Any] = {"step": step, "epoch": epoch, **self._means(losses, labelled, rows, tokens, step)}
        line |= {"right": right / labelled} if labelled else {}
        line |= {"rate": rate(step, self.steps, s.learning_rate, s.warmup)}
        uninterrupted(lambda: self._update(step, line, tokens))
        self._tell(bar, line)

    def _accumulate(self, part: MicroBatch, weights: LossWeights, step: int, first_row: int) -> Losses:
        logits = hidden = None
        if self._teacher is not None and self.settings.needs_teacher:
            soft, cosine = bool(self.settings.soft), bool(self.settings.cosine)
            logits, hidden = self._teacher.says(part.batch, part.rows, logits=soft, hidden=cosine)
        targets = Targets(part.rows, part.labels, logits, hidden, weights)
        return self.learner.accumulate(part.batch, targets, step, first_row)

    def _means(self, losses: list[Losses], labelled: int, rows: int, tokens: int, step: int) -> dict[str, float]:
        """The loss and its terms, each a mean; they must be numbers."""
        s = self.settings
        terms = {
            "hard": (s.hard, sum(one.hard for one in losses) / max(labelled, 1)),
            "soft": (s.soft, s.temperature**2 * sum(one.soft for one in losses) / rows),
            "cosine": (s.cosine, sum(one.cosine for one in losses) / tokens),
        }
        means = {name: mean for name, (weight, mean) in terms.items() if weight}
        bad = [name for name, mean in means.items() if not math.isfinite(mean)]
        if bad:
            told = " and ".join(f"{name} is {means[name]}" for name in bad)
            raise self._error(f"the loss is no number ({told}); a lower learning_rate may help", step)
        return {"loss": sum(weight * mean for weight, mean in terms.values() if weight), **means}

    def _update(self, step: int, line: dict[str, Any], tokens: int) -> None:
        s, self._updating = self.settings, True
        norm = self.learner.update(Update(step, line["rate"], s.decay, s.beta1, s.beta2, s.eps, s.largest_norm))
        if not math.isfinite(norm):
            raise self._error(f"the gradient's norm is {norm}; a lower learning_rate may help", step)
        seconds = time.monotonic() - self._begun
        self._log.write({**line, "norm": norm, "tokens": tokens, "seconds": round(seconds, 3)})
        self._done = replace(
            self._done, step=step, log=self._log.end, tokens=self._done.tokens + tokens, seconds=seconds
        )
        self._updating = False

    def _evaluate_if_due(self) -> None:
        """Read the held-out data, where the last step that was done asks for it and it was not done yet."""
        step = self._done.step
        if self._held_out is None or step == self._done.evaluated or not self._is_judged(step):
            return
        from minidistil.training.evaluation import evaluate

        told = None if self._teacher is None else self._teacher.logits
        found = evaluate(self.learner.predict, self._held_out.in_order(), self.settings.task, told)
        figures = {name: value for name, value in found.items() if math.isfinite(value)}
        uninterrupted(lambda: self._note(step, figures))

    def _note(self, step: int, figures: dict[str, float]) -> None:
        self._log.write({"step": step, "epoch": self._examples_of(step)[0], "held_out": figures})
        self._done = replace(self._done, evaluated=step, figures=figures, log=self._log.end)

    def _is_judged(self, step: int) -> bool:
        every = self.settings.evaluate_every
        if step == self.steps or every is not None:
            return step == self.steps or (step > 0 and step % (every or 1) == 0)
        return step in np.cumsum(self._epochs)

    def _save(self) -> None:
        if not finite(self.learner):
            raise self._error("parameters are no numbers any more; a lower learning_rate may help", self._done.step)
        try:
            self._log.sync()
            self._checkpoints.write(self.learner, self._done)
        except OSError as error:
            what = f"a checkpoint cannot be written: {error.strerror or error}"
            raise self._error(what, self._done.step) from error
        self._saved = time.monotonic()

    def _examples_of(self, step: int) -> tuple[int, np.ndarray]:
        """The epoch of a step, counted from 1, and the numbers of its examples."""
        epoch, before = 1, 0
        while step - before > self._epochs[epoch - 1]:
            before += self._epochs[epoch - 1]
            epoch += 1
        if self._order[0] != epoch:
            self._order = epoch, self._batches.steps(epoch)
        return epoch, self._order[1][step - before - 1]

    def _tell(self, bar: Any, line: dict[str, Any]) -> None:
        loss = line["loss"]
        self._shown = loss if self._shown is None else self._shown + _SMOOTH * (loss - self._shown)
        speed = self._done.tokens / max(self._done.seconds, 1e-9)
        bar.set_postfix_str(f"loss {self._shown:.4f}, rate {line['rate']:.2e}, {speed:,.0f} tokens/s", refresh=False)
        bar.update(1)

    def _error(self, what: str, step: int) -> TrainingError:
        return TrainingError(
            f"step {step} of {self.steps}: {what}; {self._what_is_left()}", step, self._checkpoints.last
        )

    def _what_is_left(self) -> str:
        path, last = self._folder.path, self._checkpoints.last
        if not last:
            return f"there is no checkpoint in {path} yet"
        return f"the last good checkpoint, of step {last:,}, is in {path}, and the same call goes on from there"


def uninterrupted(work: Callable[[], None]) -> None:
    """Do something to its end, whatever Ctrl-C says meanwhile; then KeyboardInterrupt is raised.

    Python interrupts the main thread alone, so another one does it.
    """
    failed: list[BaseException] = []
    gate, state = threading.Lock(), {"begun": False, "cancelled": False}

    def run() -> None:
        with gate:
            if state["cancelled"]:
                return
            state["begun"] = True
        try:
            with default_mode():
                work()
        except BaseException as error:
            failed.append(error)
        finally:
            ended.set()

    ended = threading.Event()  # Thread.join, interrupted, may take a running thread for one that has ended (bpo-45274)
    thread = threading.Thread(target=run, name="minidistil-update")
    interrupted: KeyboardInterrupt | None = None
    try:
        thread.start()
    except KeyboardInterrupt as error:
        with gate:
            if not state["begun"]:
                state["cancelled"] = True
                raise
        interrupted = error
    while not ended.is_set():
        try:
            ended.wait()
        except KeyboardInterrupt as error:
            interrupted = error
    thread.join()
    if failed:
        raise failed[0]
    if interrupted is not None:
        raise interrupted
