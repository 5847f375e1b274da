"""The loop goes on after whatever comes between, with the same bytes; where it cannot, it says so and loses nothing."""

from __future__ import annotations

import errno
import math
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil.training import trainer as module
from minidistil.training.folder import RunFolder
from minidistil.training.journal import Log, read_log
from minidistil.training.trainer import Trainer, TrainingError, uninterrupted
from minidistil.weights.config import Config
from tests import processes
from tests.training.killing import Moments
from tests.training.learner import TableLearner
from tests.training.loops import examples_of, lines, settings, state, train

STEPS = 15


@pytest.fixture(scope="module")
def whole(start: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[dict[str, Any]]]:
    """State and log of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return state(train(start, folder)), lines(folder)


def test_learns_and_says_so(whole: tuple[bytes, list[dict[str, Any]]]) -> None:
    _, log = whole
    steps = [line for line in log if line.get("step") and "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert [line["epoch"] for line in steps] == [1] * 5 + [2] * 5 + [3] * 5
    assert steps[0]["loss"] == pytest.approx(math.log(2), rel=1e-6)
    assert sum(line["loss"] for line in steps[-5:]) < 0.5 * sum(line["loss"] for line in steps[:5])
    assert [line["step"] for line in log if "held_out" in line] == [5, 10, 15]
    assert log[-1]["held_out"]["accuracy"] == 1.0
    assert log[0]["steps"] == STEPS
    assert log[0]["bytes"]["weights"] == 4 * 800


class Killed(TableLearner):
    """Whose process may end within a step, too."""

    def __init__(self, moments: Moments) -> None:
        super().__init__(400, 2)
        self._tick = moments.tick

    def accumulate(self, *args: Any) -> Any:
        self._tick()
        return super().accumulate(*args)

    def update(self, *args: Any) -> float:
        self._tick()
        found = super().update(*args)
        self._tick()
        return found


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[bytes, list[dict[str, Any]]], seed: int
) -> None:
    draw, folder, moments = random.Random(seed), tmp_path / "run", Moments(monkeypatch)

    def work() -> None:
        (tmp_path / "state").write_bytes(state(train(start, folder, Killed(moments))))

    kills = 0
    while True:
        moments.left = draw.randrange(1, 60)
        if processes.forked_until_killed(work):
            break
        kills += 1
        assert kills < 200, "nothing is ever finished"
    moments.left = math.inf
    assert kills > 3
    assert (tmp_path / "state").read_bytes() == whole[0]
    assert lines(folder) == whole[1], "the log has gaps or doubles"


def test_goes_on_where_no_checkpoint_was_written(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Any
) -> None:
    """Killed before the first one: what the log has of those steps is written again, not twice."""
    moments = Moments(monkeypatch)
    moments.left = 30

    def work() -> None:
        train(start, tmp_path / "run", Killed(moments), checkpoint_seconds=1e9)

    assert not processes.forked_until_killed(work)
    moments.left = math.inf
    assert len(lines(tmp_path / "run")) > 2
    assert state(train(start, tmp_path / "run")) == whole[0]
    assert lines(tmp_path / "run") == whole[1]


class Interrupted(TableLearner):
    """Is interrupted by Ctrl-C within a step or an update."""

    def __init__(self, step: int, within: str) -> None:
        super().__init__(400, 2)
        self.step, self.within = step, within

    def accumulate(self, batch: Any, targets: Any, step: int, first_row: int) -> Any:
        found = super().accumulate(batch, targets, step, first_row)
        if step == self.step and self.within == "accumulate":
            signal.raise_signal(signal.SIGINT)
        return found

    def update(self, update: Any) -> float:
        if update.step == self.step and self.within == "update":
            os.kill(os.getpid(), signal.SIGINT)
        return super().update(update)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as Python has it, also where whoever started the tests ignores it (`nohup`, a shell's background)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("within", "last"), [("accumulate", 6), ("update", 7)])
def test_interrupt_leaves_a_checkpoint(start: Path, tmp_path: Path, whole: Any, within: str, last: int) -> None:
    learner = Interrupted(7, within)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(start, tmp_path / "run", learner, checkpoint_seconds=1e9)
    note = "".join(caught.value.__notes__)
    assert f"the last good checkpoint, of step {last}, is in {tmp_path / 'run'}" in note
    assert lines(tmp_path / "run")[-1]["step"] == last
    learner.step = 0  # the same one, with what was added up in the step that was cut short
    assert state(train(start, tmp_path / "run", learner)) == whole[0]
    assert lines(tmp_path / "run") == whole[1]


class Noting(TableLearner):
    """Notes what it is told with every micro-batch."""

    def __init__(self) -> None:
        super().__init__(400, 2)
        self.told: dict[int, list[tuple[Any, int, int]]] = {}

    def accumulate(self, batch: Any, targets: Any, step: int, first_row: int) -> Any:
        self.told.setdefault(step, []).append((targets, first_row, batch.tokens))
        return super().accumulate(batch, targets, step, first_row)


class Silent:
    """A teacher whose word is zeros."""

    def says(self, batch: Any, rows: np.ndarray, *, logits: bool, hidden: bool) -> tuple[np.ndarray, np.ndarray]:
        assert logits
        assert hidden
        return np.zeros((len(rows), 2), np.float32), np.zeros((batch.tokens, 3), np.float32)

    def logits(self, batch: Any, rows: np.ndarray) -> np.ndarray:
        return np.zeros((len(rows), 2), np.float32)


def test_losses_are_means_over_the_whole_step(start: Path, tmp_path: Path) -> None:
    """However a step is cut: each micro-batch gets the weights of all, and the place where it begins."""
    learner = Noting()
    with RunFolder(tmp_path / "run") as run:
        trainer = Trainer(
            learner, examples_of(start, run.path), settings(micro_tokens=1, hard=2.0, soft=3.0, cosine=5.0, epochs=1),
            config=Config.from_pretrained(start), folder=run, circumstances="a", teacher=Silent(),  # type: ignore[arg-type]
        )  # fmt: skip
        trainer.run()
    assert [len(parts) for parts in learner.told.values()] == [2] * 5
    for parts in learner.told.values():
        tokens = sum(count for _, _, count in parts)
        assert [first for _, first, _ in parts] == [0, parts[0][2]]
        for targets, _, _ in parts:
            assert targets.weights == (2.0 / 2, 3.0 / 2, 2.0, 5.0 / tokens)
            assert targets.teacher_logits.shape == (1, 2)


def test_a_log_is_cut_to_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"st')
    log = Log(path, 12)
    assert path.read_bytes() == b'{"step": 1}\n'
    log.write({"step": 2, "loss": 0.5})
    log.close()
    assert list(read_log(path)) == [{"step": 1}, {"step": 2, "loss": 0.5}]
    with path.open("a") as file:
        file.write('{"step": 3')
    assert len(list(read_log(path))) == 2


@pytest.mark.usefixtures("interruptible")
def test_uninterrupted_work_is_done_to_its_end() -> None:
    begun, go, main = threading.Event(), threading.Event(), threading.get_ident()
    done = []

    def interrupt() -> None:
        begun.wait()
        time.sleep(0.2)  # for the main thread to be through with starting the other, and wait
        signal.pthread_kill(main, signal.SIGINT)  # the thread that waits, lest the system choose another
        time.sleep(0.2)  # who does not wait for the work is through before it ends
        go.set()

    def work() -> None:
        begun.set()
        go.wait()
        done.append(1)

    other = threading.Thread(target=interrupt)
    other.start()
    seen = []
    try:
        uninterrupted(work)
    except KeyboardInterrupt:
        seen = [*done, "interrupted"]
    processes.join([other])
    assert seen == [1, "interrupted"]
    with pytest.raises(ZeroDivisionError):
        uninterrupted(lambda: 1 / 0)  # type: ignore[arg-type,return-value]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(start: Path, tmp_path: Path, whole: Any) -> None:
    learner = TableLearner(400, 2)
    learner.poison = 9
    with pytest.raises(TrainingError) as caught:
        train(start, tmp_path / "run", learner)
    message = str(caught.value)
    assert message.startswith("step 9 of 15: the loss is no number (hard is nan); a lower learning_rate may help")
    assert "the last good checkpoint, of step 8" in message
    assert (caught.value.step, caught.value.checkpoint) == (9, 8)
    assert state(train(start, tmp_path / "run")) == whole[0]


class Exploding(TableLearner):
    def update(self, update: Any) -> float:
        return math.inf if update.step == 4 else super().update(update)


def test_a_norm_that_is_no_number_stops(start: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 4 of 15: the gradient's norm is inf; .* of step 3, is in"):
        train(start, tmp_path / "run", Exploding(400, 2))


class Overflowing(TableLearner):
    def update(self, update: Any) -> float:
        norm = super().update(update)
        if update.step == 4:
            self.parameters.values[7] = math.inf
        return norm


def test_parameters_that_are_no_numbers_are_never_written(start: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 4 .* parameters are no numbers any more; .* of step 3, is in"):
        train(start, tmp_path / "run", Overflowing(400, 2))


def test_a_full_disk_is_one_error_and_loses_nothing(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Any
) -> None:
    fsync, count = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TrainingError, match="No space left on device; the last good checkpoint, of step") as caught:
            train(start, tmp_path / "run")
    assert 3 < caught.value.checkpoint < STEPS
    assert not list((tmp_path / "run").glob("*.partial"))
    assert state(train(start, tmp_path / "run")) == whole[0]
    assert lines(tmp_path / "run") == whole[1]


def test_a_full_disk_at_the_log(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Any) -> None:
    write = module.Log.write

    def full(log: Any, line: dict[str, Any]) -> None:
        if line["step"] == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(log, line)

    with monkeypatch.context() as patch:
        patch.setattr(module.Log, "write", full)
        with pytest.raises(TrainingError, match=r"step 6 of 15: No space left on device; .* of step 5, is in"):
            train(start, tmp_path / "run")
    assert state(train(start, tmp_path / "run")) == whole[0]
    assert lines(tmp_path / "run") == whole[1]


def test_a_log_that_was_cut_is_told(start: Path, tmp_path: Path, whole: Any) -> None:
    learner = TableLearner(400, 2)
    learner.poison = 9
    with pytest.raises(TrainingError):
        train(start, tmp_path / "run", learner)
    (tmp_path / "run" / "log.jsonl").write_text("")
    with pytest.warns(RuntimeWarning, match=r"log\.jsonl has lost its end"):
        assert state(train(start, tmp_path / "run")) == whole[0]


def test_checkpoints_and_evaluations_change_no_bit(start: Path, tmp_path: Path, whole: Any) -> None:
    assert state(train(start, tmp_path / "a", checkpoint_seconds=1e9)) == whole[0]
    assert lines(tmp_path / "a") == whole[1]
    assert state(train(start, tmp_path / "b", evaluate_every=4)) == whole[0]
    assert [line["step"] for line in lines(tmp_path / "b") if "held_out" in line] == [4, 8, 12, 15]


def test_another_seed_is_another_run(start: Path, tmp_path: Path, whole: Any) -> None:
    assert state(train(start, tmp_path / "run", seed=1)) != whole[0]
