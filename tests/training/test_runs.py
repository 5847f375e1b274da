"""From data to a checkpoint folder, by the learner that the engine's is held against."""

from __future__ import annotations

import errno
import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.training import TrainingError, distill, fine_tune, train_masked_lm
from minidistil.training.journal import read_log
from minidistil.weights import CheckpointError
from tests import processes
from tests.synthetic import write_checkpoint
from tests.synthetic_tokenizer import write_tokenizer
from tests.training.conftest import BAD, GOOD, LABELLED, TEACHER, TINY, written
from tests.training.killing import Moments

QUICK: dict[str, Any] = {"backend": "exact", "batch_sentences": 5, "max_length": 12}
TUNED: dict[str, Any] = {**QUICK, "epochs": 15, "learning_rate": 2e-2}
STUDENT: dict[str, Any] = {**QUICK, "epochs": 20, "learning_rate": 1e-2, "hidden_dropout": 0.0, "soft": 2.0}
WORDS = [(text.split(), ["W" if word in ("love", "hate") else "O" for word in text.split()]) for text in GOOD + BAD]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def tuned(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "out"
    found = fine_tune(LABELLED, start=start, out=out, held_out=LABELLED, **TUNED)
    assert (found.steps, found.resumed, found.folder) == (30, 0, out)
    assert found.figures["accuracy"] == 1.0
    return out


def test_what_is_made_is_an_ordinary_checkpoint(tuned: Path, start: Path) -> None:
    assert {p.name for p in tuned.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json", "training"}
    assert {p.name for p in (tuned / "training").iterdir()} == {"lock", "run.json", "log.jsonl", "finished.json"}
    classify = minidistil.pipeline("text-classification", str(tuned))
    assert [one["label"] for one in classify([text for text, _ in LABELLED])] == [label for _, label in LABELLED]
    told = json.loads((tuned / "training" / "run.json").read_text())
    assert (told["labels"], told["epochs"], told["hidden_dropout"]) == (["bad", "good"], 15, 0.1)
    losses = [line["loss"] for line in read_log(tuned / "training" / "log.jsonl") if "loss" in line]
    assert losses[-1] < 0.5 * losses[0]


def test_a_finished_run_is_not_done_again_and_another_is_refused(tuned: Path, start: Path, tmp_path: Path) -> None:
    before, call = weights(tuned), {"start": start, "out": tuned, "held_out": LABELLED, **TUNED}
    found = fine_tune(LABELLED, **call)
    assert (found.steps, found.resumed, found.figures["accuracy"]) == (30, 30, 1.0)
    for changed, message in (
        ({"epochs": 7}, "epochs was 15 and is 7"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"held_out": LABELLED[::-1]}, "held_out was"),
        ({"labels": ["good", "bad"]}, 'labels was ["bad", "good"] and is ["good", "bad"]; data was'),
    ):
        with pytest.raises(ValueError) as caught:
            fine_tune(LABELLED, **{**call, **changed})
        assert message in str(caught.value)
        assert "restart=True" in str(caught.value)
    other = written(tmp_path / "other", {**TINY, "attention_dropout": 0.1})
    with pytest.raises(ValueError, match="earlier run here was another: start was"):
        fine_tune(LABELLED, **{**call, "start": other})
    with pytest.raises(ValueError, match="data was"):
        fine_tune([*LABELLED[1:], ("another", "good")], **call)
    assert weights(tuned) == before


def test_begun_anew_where_it_is_asked_for(tuned: Path, start: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(tuned, out)
    found = fine_tune(LABELLED, start=start, out=out, **QUICK, epochs=1, restart=True)
    assert (found.steps, found.resumed, found.figures) == (2, 0, {})
    assert weights(out) != weights(tuned)


def test_a_head_with_these_labels_is_gone_on_with(tuned: Path, tmp_path: Path) -> None:
    found = fine_tune(LABELLED, start=tuned, out=tmp_path / "out", held_out=LABELLED, **QUICK, epochs=1)
    assert found.figures["accuracy"] == 1.0
    first = next(line for line in read_log(found.log) if line["step"] == 1)
    assert first["loss"] < 0.3
    numbered = [(text, int(label == "good")) for text, label in LABELLED]
    found = fine_tune(numbered, start=tuned, out=tmp_path / "numbers", **QUICK, epochs=1)
    assert json.loads((found.folder / "config.json").read_text())["id2label"] == {"0": "bad", "1": "good"}


def test_words_are_labelled(start: Path, tmp_path: Path) -> None:
    found = fine_tune(
        WORDS, start=start, out=tmp_path / "out", task="token_classification", held_out=WORDS, **QUICK, epochs=12,
        learning_rate=1e-2,
    )  # fmt: skip
    assert found.figures["accuracy"] > 0.9
    entities = minidistil.pipeline("token-classification", str(found.folder))
    assert any(one["entity"] == "W" and one["word"] == "love" for one in entities("we love this city"))


def test_masked_words_and_their_pieces(start: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("".join(f"{text} and {text}\n" for text in GOOD + BAD))
    found = train_masked_lm(
        tmp_path / "texts.txt", start=start, out=tmp_path / "out", held_out=GOOD, backend="exact", max_length=6,
        batch_tokens=60, micro_tokens=25, epochs=3, learning_rate=1e-2,
    )  # fmt: skip
    assert set(found.figures) == {"accuracy", "loss", "perplexity"}
    steps = [line for line in read_log(found.log) if "loss" in line]
    assert steps[-1]["loss"] < steps[0]["loss"] - 0.3
    assert all(line["tokens"] <= 60 for line in steps)
    assert len(minidistil.pipeline("fill-mask", str(found.folder))("a [MASK] life")) == 5


def test_a_student_is_made_of_its_teacher(teacher: Path, tmp_path: Path) -> None:
    found = distill(
        GOOD + BAD, teacher=teacher, layers=[0], out=tmp_path / "out", held_out=GOOD, **QUICK, epochs=2,
    )  # fmt: skip
    config = json.loads((found.folder / "config.json").read_text())
    assert (config["model_type"], config["n_layers"], config["architectures"]) == (
        "distilbert", 1, ["DistilBertForMaskedLM"],
    )  # fmt: skip
    assert set(found.figures) == {"accuracy", "loss", "perplexity", "agreement"}
    steps = [line for line in read_log(found.log) if "loss" in line]
    assert set(steps[0]) >= {"hard", "soft", "cosine"}
    for step in steps:
        assert step["loss"] == pytest.approx(5 * step["soft"] + 2 * step["hard"] + step["cosine"])


def test_another_model_becomes_like_its_teacher(teacher: Path, start: Path, tmp_path: Path) -> None:
    found = distill(
        GOOD + BAD, teacher=teacher, start=start, out=tmp_path / "out", **QUICK, epochs=10, hard=0.0, learning_rate=1e-2
    )
    steps = [line for line in read_log(found.log) if "loss" in line]
    for term in ("soft", "cosine"):
        assert steps[-1][term] < 0.8 * steps[0][term]


def test_a_classifier_learns_from_its_teacher_with_and_without_labels(tuned: Path, start: Path, tmp_path: Path) -> None:
    for name, data in (("texts", GOOD + BAD), ("labelled", LABELLED)):
        found = distill(
            data, teacher=tuned, start=start, out=tmp_path / name, held_out=LABELLED, **STUDENT,
        )  # fmt: skip
        assert found.figures["agreement"] == 1.0
        steps = [line for line in read_log(found.log) if "loss" in line]
        assert ("hard" in steps[0]) == (name == "labelled")
        assert json.loads((found.folder / "config.json").read_text())["id2label"] == {"0": "bad", "1": "good"}


def test_soft_targets_that_are_the_teachers_own_have_no_loss(start: Path, tmp_path: Path) -> None:
    """The student is the teacher, and nothing is dropped."""
    still = dict.fromkeys(("hidden_dropout", "attention_dropout", "head_dropout"), 0.0)
    found = distill(
        GOOD, teacher=start, start=start, out=tmp_path / "out", hard=0.0, learning_rate=0.0, **still, **QUICK, epochs=1
    )
    first = next(line for line in read_log(found.log) if line["step"] == 1)
    assert first["soft"] == pytest.approx(0, abs=1e-5)
    assert first["cosine"] == pytest.approx(0, abs=1e-5)


def test_the_same_bytes_however_it_is_cut(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole call, killed at any moment from its beginning on, as often as it takes."""
    call = {"start": start, "held_out": GOOD, "epochs": 2, "checkpoint_seconds": 0.0, **QUICK}
    whole = train_masked_lm(GOOD + BAD, out=tmp_path / "whole", **call)
    draw, moments, kills = random.Random(4), Moments(monkeypatch), 0
    while True:
        moments.left = draw.randrange(1, 80)
        if processes.forked_until_killed(lambda: train_masked_lm(GOOD + BAD, out=tmp_path / "cut", **call) and None):
            break
        kills += 1
        assert kills < 100, "nothing is ever finished"
    assert kills > 2
    moments.left = math.inf
    assert weights(tmp_path / "cut") == weights(whole.folder)

    def lines(folder: Path) -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(folder / "training/log.jsonl")]

    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_a_teacher_of_another_vocabulary_width_or_head(start: Path, teacher: Path, tuned: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_checkpoint(other, {**TEACHER, "vocab_size": 380})
    write_tokenizer(other, 380, True)
    wide = written(tmp_path / "wide", {**TEACHER, "hidden_size": 32}, token_types=True)
    call = {"start": start, "out": tmp_path / "out", **QUICK}
    with pytest.raises(ValueError, match="teacher and student read other tokens: 380 and 400 of them"):
        distill(GOOD, teacher=other, **call)
    with pytest.raises(ValueError, match=r"hidden states are 32 wide and the student's 16, .*: pass cosine=0"):
        distill(GOOD, teacher=wide, cosine=1.0, **call)
    assert "cosine" not in next(
        line for line in read_log(distill(GOOD, teacher=wide, epochs=1, **call).log) if line["step"] == 1
    )
    with pytest.raises(ValueError, match="the teacher has no sequence_classification head: train one first"):
        distill(LABELLED, teacher=teacher, task="sequence_classification", **call)
    with pytest.raises(ValueError, match="the teacher has layers 0 to 1; asked for 2, 4"):
        distill(GOOD, teacher=teacher, layers=[0, 2, 4], out=tmp_path / "no", **QUICK)
    with pytest.raises(ValueError, match="a hard loss compares with labels, and the data have none"):
        distill(GOOD, teacher=tuned, out=tmp_path / "no", hard=0.5, **QUICK)
    with pytest.raises(ValueError, match="the teacher's labels are bad, good, and labels are good, bad"):
        distill(LABELLED, teacher=tuned, out=tmp_path / "no", labels=["good", "bad"], **QUICK)
    with pytest.raises(ValueError, match="leave one of them out"):
        distill(GOOD, teacher=teacher, start=start, layers=[0], out=tmp_path / "no", **QUICK)


def test_a_disk_that_is_full_at_the_end_costs_no_step(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = {"start": start, "out": tmp_path / "out", "epochs": 2, **QUICK}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("minidistil.weights.saving._write", full)
        with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
            train_masked_lm(GOOD, **call)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["training"]
    found = train_masked_lm(GOOD, **call)
    assert (found.steps, found.resumed) == (2, 2)
    assert weights(found.folder) == weights(train_masked_lm(GOOD, **{**call, "out": tmp_path / "whole"}).folder)


def test_a_few_sentences_are_learned_by_heart(start: Path, tmp_path: Path) -> None:
    still = dict.fromkeys(("hidden_dropout", "attention_dropout", "head_dropout"), 0.0)
    found = fine_tune(
        LABELLED[3:7], start=start, out=tmp_path / "out", held_out=LABELLED[3:7], **QUICK, **still, epochs=60,
        learning_rate=2e-2, decay=0.0,
    )  # fmt: skip
    assert found.figures["loss"] < 0.01


def test_what_would_lose_something_is_refused(start: Path, tmp_path: Path) -> None:
    mine = written(tmp_path / "mine", TINY)
    before = weights(mine)
    with pytest.raises(ValueError, match="is what training starts from: name another folder"):
        fine_tune(LABELLED, start=mine, out=mine, **QUICK)
    with pytest.raises(CheckpointError, match="has a checkpoint in it that no run here has made"):
        fine_tune(LABELLED, start=start, out=mine, **QUICK)
    assert weights(mine) == before
    assert not (mine / "training").exists()


def test_nothing_is_written_for_bad_data_or_settings(start: Path, tmp_path: Path) -> None:
    call = {"start": start, "out": tmp_path / "out", **QUICK}
    with pytest.raises(ValueError, match="one label only"):
        fine_tune([("a", 1)], **call)
    with pytest.raises(ValueError, match="data: there are no examples"):
        train_masked_lm([], **call)
    with pytest.raises(ValueError, match="max_length is 100, and the model takes 64 tokens"):
        train_masked_lm(GOOD, **{**call, "max_length": 100})
    with pytest.raises(TypeError, match="there is no setting 'speed'"):
        train_masked_lm(GOOD, **call, speed=3)
    with pytest.raises(ValueError, match="soft and cosine losses compare with a teacher, and there is none"):
        train_masked_lm(GOOD, **call, soft=1.0)
    with pytest.raises(TypeError, match="labels must be a list of names, got one str"):
        fine_tune(LABELLED, **call, labels="good")
    with pytest.raises(ValueError, match="task must be"):
        fine_tune(LABELLED, **call, task="masked_lm")
    assert not (tmp_path / "out").exists()


def test_a_rate_that_is_too_high_stops_with_a_word(start: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(TrainingError, match=r"step \d+ of 60: .*a lower learning_rate may help"),
        np.errstate(all="ignore"),
    ):
        train_masked_lm(GOOD, start=start, out=tmp_path / "out", learning_rate=1e30, warmup=0.0, epochs=60, **QUICK)
