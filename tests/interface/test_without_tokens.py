"""A text of which the tokenizer makes no tokens has no result, and every way to a model says so and where it stands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.models.inputs import pack_sentences
from tests.cli.support import run
from tests.pipelines.checkpoints import write_small

TEXTS = ["wine", "", "rain", " "]
NOTHING = r"2 of the texts \(index 1, 3\) have no tokens: .* adds no special ones, .*; leave them out"


def without_special_tokens(folder: Path) -> Path:
    file = folder / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "post_processor": None}))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}  # no class that adds them
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory, sentence_small: Path, reranker_small: Path) -> Callable[[str], Path]:
    """Folder of a checkpoint by its name, whose tokenizer adds no special tokens."""
    root, made = tmp_path_factory.mktemp("without"), {"sentences": sentence_small, "reranker": reranker_small}

    def find(name: str) -> Path:
        folder = root / name
        if not folder.exists():
            if name in made:
                shutil.copytree(made[name], folder)
            else:
                shutil.move(write_small(root / "made", name), folder)
            without_special_tokens(folder)
        return folder

    return find


WAYS: dict[str, Callable[[Any, Path], Any]] = {
    "encode": lambda model, _: model.encode(TEXTS),
    "token_embeddings": lambda model, _: model.encode(TEXTS, output_value="token_embeddings"),
    "everything": lambda model, _: model.encode(TEXTS, output_value=None),
    "encode_query": lambda model, _: model.encode_query(TEXTS),
    "encode_chunks": lambda model, _: list(minidistil.encode_chunks(model, TEXTS)),
    "encode_to_file": lambda model, folder: minidistil.encode_to_file(model, TEXTS, folder / "out.npy"),
}


@pytest.mark.parametrize("backend", ["engine", "exact", "blas"])
@pytest.mark.parametrize("way", WAYS)
def test_sentences(at: Callable[[str], Path], tmp_path: Path, way: str, backend: str) -> None:
    model = minidistil.load(at("sentences"), backend=backend)
    with pytest.raises(ValueError, match=NOTHING):
        WAYS[way](model, tmp_path)
    with pytest.raises(ValueError, match=r"1 of the texts \(index 0\) have no tokens"):
        model.encode("")
    assert list(tmp_path.iterdir()) == []
    assert np.abs(model.encode(["", "wine"], prompt="night ")).max() > 0  # the prompt is something to read


def test_sentences_that_come_later_and_are_many(at: Callable[[str], Path], tmp_path: Path) -> None:
    model = minidistil.load(at("sentences"), threads=1)
    with pytest.raises(ValueError, match=r"1 of the texts \(index 5\) have no tokens") as caught:
        minidistil.encode_to_file(model, [*["wine"] * 5, ""], tmp_path / "out.npy", chunk_size=2)
    assert caught.value.__notes__ == [f"the first 4 embeddings are in {tmp_path / 'out.npy.partial'}"]
    with pytest.raises(ValueError, match=r"12 of the texts \(index 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.\)"):
        model.encode([""] * 12)


@pytest.mark.parametrize("backend", ["engine", "exact", "blas"])
def test_pairs(at: Callable[[str], Path], backend: str) -> None:
    reader = minidistil.CrossEncoder(at("reranker"), backend=backend)
    with pytest.raises(ValueError, match=NOTHING):
        reader.predict([("", text) for text in TEXTS])
    with pytest.raises(ValueError, match=r"1 of the texts \(index 0\) have no tokens"):
        reader.predict(("", ""))
    with pytest.raises(ValueError, match=NOTHING):
        reader.rank("", TEXTS)
    assert len(reader.rank("night", TEXTS)) == 4  # the query is something to read
    assert 0 < reader.predict(("wine", "")) < 1


@pytest.mark.parametrize(
    ("task", "name", "options"),
    [
        ("text-classification", "sentiment", {}),
        ("text-classification", "sentiment", {"pool_windows": "mean"}),
        ("token-classification", "entities", {}),
        ("feature-extraction", "encoder", {}),
    ],
)
def test_pipelines(at: Callable[[str], Path], task: str, name: str, options: dict[str, Any]) -> None:
    pipe = minidistil.pipeline(task, model=at(name), threads=1, **options)
    with pytest.raises(ValueError, match=NOTHING):
        pipe(TEXTS)
    with pytest.raises(ValueError, match=r"1 of the texts \(index 1\) have no tokens"):
        list(pipe(iter(TEXTS)))
    with pytest.raises(ValueError, match=r"1 of the texts \(index 0\) have no tokens"):
        pipe("")


def test_pipelines_of_pairs(at: Callable[[str], Path]) -> None:
    labels = minidistil.pipeline("zero-shot-classification", model=at("entailment"), threads=1)
    with pytest.raises(ValueError, match=NOTHING):
        labels(TEXTS, ["", " "], hypothesis_template="{}")
    assert len(labels(TEXTS, ["wine", "city"])) == 4
    ask = minidistil.pipeline("question-answering", model=at("questions"), threads=1)
    for question, context, empty in (("who", "", "context"), ("", "wine", "question")):
        with pytest.raises(ValueError, match=f"the {empty} of text 0 is empty"):
            ask(question=question, context=context)


def test_the_models_own_call(at: Callable[[str], Path]) -> None:
    model = minidistil.AutoModel.from_pretrained(at("sentences"), threads=1)
    with pytest.raises(ValueError, match=r"sentences without tokens have no result: the input is \[B, 0\]"):
        model(**model.tokenizer([""], return_tensors="np"))
    with pytest.raises(ValueError, match="attends no token of sentence 1; such a sentence has no result: leave it out"):
        model(**model.tokenizer(["wine", ""], padding=True, return_tensors="np"))


def test_what_packs_sentences_for_the_kernels(at: Callable[[str], Path]) -> None:
    config = minidistil.AutoConfig.from_pretrained(at("sentences"))
    ids = [np.array(own, np.int32) for own in ([3, 4], [], [5])]
    with pytest.raises(ValueError, match="sentence 1 has no tokens, so that it has no result"):
        pack_sentences(config, ids)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["embed", "{file}"], "sentences"),
        (["embed", "{file}", "-o", "{out}"], "sentences"),
        (["search", "wine", "{file}"], "sentences"),
        (["rerank", "\u200b", "{file}"], "reranker"),
        (["classify", "{file}"], "sentiment"),
        (["ner", "{file}"], "entities"),
    ],
)
def test_the_command_line(
    capsys: pytest.CaptureFixture[str], at: Callable[[str], Path], tmp_path: Path, command: list[str], name: str
) -> None:
    """A line that is not blank, and still nothing to the tokenizer."""
    (tmp_path / "in.txt").write_text("wine\n\u200b\n", encoding="utf-8")
    arguments = [part.format(file=tmp_path / "in.txt", out=tmp_path / "out.npy") for part in command]
    result = run(capsys, *arguments, "--model", at(name), "--threads", "1")
    assert result.status == 2
    assert "1 of the texts (index 1) have no tokens" in result.err
    assert result.err.count("\n") == 1
    assert result.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]
