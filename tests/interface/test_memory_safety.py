"""Numbers that a model has no rows for never reach compiled code, whoever packs them; nor arrays that do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil import CrossEncoder
from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine import Engine
from minidistil.backends.engine.operations import Operations
from minidistil.backends.reference import Reference, exact
from minidistil.models.inputs import prepare
from minidistil.weights.model_weights import Linear, Norm
from tests import build
from tests.cli.support import run
from tests.synthetic import BERT_SMALL, DISTILBERT_SMALL, write_checkpoint
from tests.synthetic_tokenizer import write_tokenizer

WORDS, TYPES, POSITIONS = BERT_SMALL["vocab_size"], 2, BERT_SMALL["max_position_embeddings"]

# Tokenizers of other models ------------------------------------------------------------------------------------------

_NLI = {"id2label": {"0": "contradiction", "1": "neutral", "2": "entailment"}}
_HEADS: dict[str, dict[str, Any]] = {
    "bare": {"architectures": ["BertModel"]},
    "words": {"architectures": ["BertForMaskedLM"]},
    "score": {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}},
    "labels": {"architectures": ["BertForSequenceClassification"], **_NLI},
    "entities": {"architectures": ["BertForTokenClassification"], **_NLI},
    "questions": {"architectures": ["BertForQuestionAnswering"]},
}
_QUESTION = {"question": "music?", "context": "the city of wine"}


def _pipeline(task: str, texts: Any, **options: Any) -> Callable[[Path], Any]:
    return lambda folder: minidistil.pipeline(task, model=folder, threads=2, **options)(texts)


# Who packs -> the head, what is done with a checkpoint's folder, and how the error calls the text.
_PACKERS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "encode": ("bare", lambda folder: minidistil.load(folder).encode(["music", "wine"]), "sentences[1]"),
    "predict": ("score", lambda folder: CrossEncoder(folder).predict([("a", "b"), ("music", "wine")]), "pair 1"),
    "rank": ("score", lambda folder: CrossEncoder(folder).rank("music", ["city", "wine"]), "pair 1"),
    "text-classification": ("labels", _pipeline("text-classification", ["music", "wine"]), "text 1"),
    "token-classification": ("entities", _pipeline("token-classification", ["music", "wine"]), "text 1"),
    "question-answering": ("questions", _pipeline("question-answering", [_QUESTION]), "text 0"),
    "zero-shot": ("labels", _pipeline("zero-shot-classification", ["wine"], candidate_labels=["city"]), "text 0"),
    "fill-mask": ("words", _pipeline("fill-mask", ["music [MASK]", "wine [MASK]"]), "text 1"),
    "feature-extraction": ("bare", _pipeline("feature-extraction", ["music", "wine"]), "text 1"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("heads")
    return {
        name: write_tokenizer(write_checkpoint(base / name, {**BERT_SMALL, **config}), WORDS, token_types=True)
        for name, config in _HEADS.items()
    }


@pytest.fixture
def edited(folders: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Copies a checkpoint, with another id for "wine", or other token types, in its tokenizer."""

    def edit(head: str, wine: int | None = None, token_type: int | None = None) -> Path:
        folder = shutil.copytree(folders[head], tmp_path / "model")
        saved = json.loads((folder / "tokenizer.json").read_text())
        if wine is not None:
            saved["model"]["vocab"]["wine"] = wine
        if token_type is not None:
            for template in ("single", "pair"):
                for part in saved["post_processor"][template][1:2]:
                    part["Sequence"]["type_id"] = token_type
            # Of no class whose own template would stand in its place.
            settings = {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
                "pad_token": "[PAD]",
                "mask_token": "[MASK]",
            }
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        (folder / "tokenizer.json").write_text(json.dumps(saved))
        return folder

    return edit


@pytest.mark.parametrize("wine", [WORDS, 10**6, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("packer", _PACKERS)
def test_an_id_beyond_the_vocabulary(packer: str, wine: int, edited: Callable[..., Path]) -> None:
    head, act, name = _PACKERS[packer]
    with pytest.raises(ValueError, match=r"input_ids of .* is \d+.*the vocabulary has 1200 entries") as error:
        act(edited(head, wine=wine))
    assert f"of {name}, token " in str(error.value)
    assert f"is {wine}, out of range" in str(error.value)
    assert "is it this model's tokenizer?" in str(error.value)


@pytest.mark.parametrize("token_type", [TYPES, 10**7, 2**32 - 1])
@pytest.mark.parametrize("packer", set(_PACKERS) - {"encode"})  # which takes no token types
def test_a_token_type_that_the_model_lacks(packer: str, token_type: int, edited: Callable[..., Path]) -> None:
    head, act, _ = _PACKERS[packer]
    with pytest.raises(ValueError, match=rf"token_type_ids of .* is {token_type}\b.*this model has 2 token types"):
        act(edited(head, token_type=token_type))


@pytest.mark.parametrize("fault", [{"wine": WORDS}, {"token_type": 10**7}], ids=str)
def test_rerank(fault: dict, edited: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text("music\nwine\n")
    status, out, err = run(capsys, "rerank", "city", tmp_path / "texts.txt", "-m", edited("score", **fault))
    assert status != 0
    assert not out
    assert "out of range" in err


# Arrays of callers ---------------------------------------------------------------------------------------------------

BERT, DISTILBERT = build.config(BERT_SMALL), build.config(DISTILBERT_SMALL)
_OUTSIDE = [(-1, np.int64), (-1, np.int32), (-1, np.int8), (2**31, np.int64), (2**31, np.uint64), (10**6, np.int32)]
_OUTSIDE += [
    (2**32 - 1, np.uint32),
    (2**32, np.int64),
    (2**32 + 5, np.uint64),
    (2**63, np.uint64),
    (-(2**63), np.int64),
]


@pytest.mark.parametrize("size", ["input_ids", "token_type_ids", "position_ids"])
@pytest.mark.parametrize(("number", "dtype"), [*_OUTSIDE, (None, np.int32), (None, np.uint16)])
def test_numbers_outside_a_table(size: str, number: int | None, dtype: type) -> None:
    if number is None:  # the first that is outside
        number = {"input_ids": WORDS, "token_type_ids": TYPES, "position_ids": POSITIONS}[size]
    arrays = {name: np.zeros((2, 3), np.int64) for name in ("input_ids", "token_type_ids", "position_ids")}
    arrays[size] = arrays[size].astype(dtype)
    arrays[size][1, 1] = number
    with pytest.raises(ValueError, match=rf"{size}\[1, 1\] is {number}, out of range"):
        prepare(BERT, **arrays)
    mask = np.array([[0, 1, 1], [1, 1, 1]])
    with pytest.raises(ValueError, match=rf"{size}\[1, 1\] is {number}, out of range"):
        prepare(BERT, **arrays, attention_mask=mask)
    batch = PackedBatch(
        **{name: array.reshape(-1) for name, array in arrays.items()},
        inputs_embeds=None,
        offsets=np.array([0, 3, 6]),
    )
    for backend in backends(BERT_SMALL):
        with pytest.raises(ValueError, match=rf"{size} of sentence 1, token 1 is {number}, out of range"):
            backend.encode(batch)


def test_types_for_a_model_without() -> None:
    batch = PackedBatch(np.zeros(2, int), np.zeros(2, int), np.array([0, 1]), None, np.array([0, 2]))
    with pytest.raises(ValueError, match="distilbert has no token types \\(leave them out\\)"):
        batch.check(DISTILBERT)
    PackedBatch(np.zeros(2, int), np.zeros(2, int), np.zeros(2, int), None, np.array([0, 2])).check(DISTILBERT)


def backends(values: dict) -> tuple[Engine, Reference]:
    config, weights = build.config(values), build.model_weights(values)
    return Engine(config, weights, threads=1), Reference(config, weights, exact)


# What is changed in a batch of two sentences of two tokens -> what the message must say.
_IDS = np.zeros(4, np.int32)
_FAULTS: list[tuple[dict, str]] = [
    ({"input_ids": _IDS[:3]}, "input_ids must be [4] for these sentences, got [3]"),
    ({"input_ids": np.zeros(5, np.int64)}, "input_ids must be [4] for these sentences, got [5]"),
    ({"input_ids": _IDS[None]}, "input_ids must be 1-D"),
    ({"input_ids": None}, "input_ids or inputs_embeds, one of them"),
    ({"inputs_embeds": np.zeros((4, 128), np.float32)}, "input_ids or inputs_embeds, one of them"),
    ({"input_ids": None, "inputs_embeds": np.zeros((3, 128))}, "inputs_embeds must be [4, 128]"),
    ({"input_ids": None, "inputs_embeds": np.zeros((4, 127))}, "inputs_embeds must be [4, 128]"),
    ({"input_ids": None, "inputs_embeds": np.zeros((4, 2, 64))}, "inputs_embeds must be [4, 64]"),
    ({"position_ids": _IDS[:1]}, "position_ids must be [4]"),
    ({"token_type_ids": _IDS[:1]}, "token_type_ids must be [4]"),
    ({"offsets": np.array([0, 2, 5])}, "input_ids must be [5]"),
    ({"offsets": np.array([0, 3, 2, 4])}, "offsets must begin with 0 and grow"),
    ({"offsets": np.array([0, 2, 2, 4])}, "offsets must begin with 0 and grow"),
    ({"offsets": np.array([-2, 2, 4])}, "offsets must begin with 0 and grow"),
    ({"offsets": np.array([0, 2**63, 4], np.uint64)}, "offsets must begin with 0 and grow"),
    ({"offsets": np.array([], int)}, "offsets must begin with 0 and grow"),
    ({"attention_bias": np.zeros((2, 1, 2, 3))}, "attention_bias must be [2, 1, 2, 2]"),
    ({"attention_bias": np.zeros((1, 4, 2, 2))}, "attention_bias must be [2, 4, 2, 2]"),
    ({"attention_bias": np.zeros((2, 3, 2, 2))}, "attention_bias is for 3 heads, this model has 4"),
    ({"attention_bias": np.zeros((2, 2))}, "attention_bias must be [2, 1, 2, 2]"),
    ({"attention_bias": np.zeros((2, 1, 2, 2)), "offsets": np.array([0, 1, 4])}, "for sentences of one length"),
]


@pytest.mark.parametrize(("changed", "message"), _FAULTS, ids=[message for _, message in _FAULTS])
def test_arrays_that_do_not_fit(changed: dict, message: str) -> None:
    whole = {"input_ids": _IDS, "position_ids": _IDS, "token_type_ids": None, "inputs_embeds": None}
    with pytest.raises(ValueError) as error:
        PackedBatch(**{**whole, "offsets": np.array([0, 2, 4]), **changed}).check(BERT)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("position_ids", None, "position_ids must be integers [T], got None"),
        ("position_ids", _IDS.astype(float), "position_ids must be integers, got float64"),
        ("inputs_embeds", [["a"]], "inputs_embeds must be an array of floats"),
        ("inputs_embeds", [[1.0], [1.0, 2.0]], "inputs_embeds must be an array of floats"),
        ("attention_bias", {1}, "attention_bias must be an array of floats"),
    ],
)
def test_values_that_are_no_numbers(name: str, value: object, message: str) -> None:
    """Compiled code would take None for an address, and read there."""
    whole = {"input_ids": _IDS, "position_ids": _IDS, "token_type_ids": None, "inputs_embeds": None}
    changed = {name: value, **({"input_ids": None} if name == "inputs_embeds" else {})}
    with pytest.raises(TypeError) as error:
        PackedBatch(**{**whole, "offsets": np.array([0, 2, 4]), **changed})
    assert message in str(error.value)
    with pytest.raises(ValueError, match="input_ids must be 1-D, got lists of different lengths"):
        PackedBatch(**{**whole, "offsets": np.array([0, 2, 4]), "input_ids": [[1, 2], [1]]})


@pytest.mark.parametrize(("rows", "message"), [([0, 4], "rows[1] is 4"), ([-1], "rows[0] is -1"), ([2**40], "rows[0]")])
def test_rows_outside_a_batch(rows: list[int], message: str) -> None:
    for backend in backends(DISTILBERT_SMALL):
        with pytest.raises(ValueError) as error:
            backend.encode(build.batch([_IDS[:2], _IDS[2:]]), rows=np.array(rows))
        assert f"{message}" in str(error.value)
        assert "the batch has 4 tokens" in str(error.value)
        with pytest.raises(TypeError, match="rows must be integers, got float64"):
            backend.encode(build.batch([_IDS]), rows=np.array([0.0]))


def test_a_batch_is_not_the_callers_memory() -> None:
    """What was checked is what is read, whatever other threads write."""
    given = {name: np.zeros((1, 5), np.int32) for name in ("input_ids", "token_type_ids", "position_ids")}
    packed = {name: array[0] for name, array in given.items()} | {"offsets": np.array([0, 5]), "inputs_embeds": None}
    for batch in (prepare(BERT, **given).batch, PackedBatch(**packed)):
        for name in ("input_ids", "token_type_ids", "position_ids", "offsets"):
            own, others = getattr(batch, name), [*given.values(), packed["offsets"]]
            assert not any(np.shares_memory(own, other) for other in others), name
            assert not own.flags.writeable, name
    rows = np.array([0, 3])
    assert not np.shares_memory(batch.rows(rows), rows)


def test_rows_of_another_width() -> None:
    (engine, _), operations = backends(DISTILBERT_SMALL), Operations()
    x = np.zeros((2, 64), np.float32)
    for act in (
        lambda: engine.masked_lm(x),
        lambda: engine.masked_lm(np.zeros(128, np.float32)),
        lambda: operations.linear(x, Linear(np.zeros((3, 128), np.float32), np.zeros(3, np.float32))),
        lambda: operations.products(x, np.zeros((3, 128), np.float32)),
        lambda: operations.layer_norm(x, Norm(np.ones(128, np.float32), np.zeros(128, np.float32), 1e-12)),
        lambda: operations.layer_norm(x, Norm(np.ones(64, np.float32), np.zeros(32, np.float32), 1e-12)),
    ):
        with pytest.raises(ValueError, match=r"expected rows of \d+ floats"):
            act()
    with pytest.raises(ValueError, match="a product of 3 columns has a bias of shape"):
        operations.linear(x, Linear(np.zeros((3, 64), np.float32), np.zeros(2, np.float32)))


@pytest.mark.parametrize("name", ["word_embeddings", "token_type_embeddings", "position_embeddings"])
@pytest.mark.parametrize(
    "change", [lambda x: x[:-1], lambda x: x.astype(np.float16), lambda x: np.repeat(x, 2, 1)[:, ::2]]
)
def test_tables_that_are_not_as_the_config_says(name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    weights = build.model_weights(BERT_SMALL)
    embeddings = weights.encoder.embeddings
    changed = replace(embeddings, **{name: change(getattr(embeddings, name))})
    with pytest.raises(ValueError, match=f"{name} must be float32 of at least"):
        Engine(BERT, replace(weights, encoder=replace(weights.encoder, embeddings=changed)), threads=1)
