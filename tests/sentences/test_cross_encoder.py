"""Rerankers: company does not matter, order is restored, truncation is said, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidistil
from minidistil import CrossEncoder, TruncationWarning
from minidistil.weights.precision import PRECISIONS, Precision
from tests.bits import assert_same_bits
from tests.interface.backends import INVARIANT
from tests.sentences.folders import write_reranker
from tests.synthetic_tokenizer import _WORDS

PAIRS = [("the city", "of light and music"), ("wine", ""), ("", ""), ("cold night", "rain in berlin " * 20)]


@pytest.fixture(scope="module")
def reader(reranker_small: Path) -> CrossEncoder:
    return CrossEncoder(reranker_small, threads=1)


@pytest.fixture(scope="module")
def three_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reranker(tmp_path_factory.mktemp("reranker") / "three", "three labels")


def test_scores_are_the_models_logits_through_a_sigmoid(reader: CrossEncoder) -> None:
    model, tokenizer = reader.model, reader.tokenizer
    firsts, seconds = (list(texts) for texts in zip(*PAIRS, strict=True))
    logits = model(**tokenizer(firsts, seconds, padding=True, return_tensors="np")).logits[:, 0].astype(np.float64)
    scores = reader.predict(PAIRS)
    assert scores.shape == (4,)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), rtol=2e-6)
    one = reader.predict(PAIRS[0])
    assert one.shape == ()
    np.testing.assert_allclose(one, scores[0], rtol=2e-6)
    np.testing.assert_allclose(reader.predict(np.array(PAIRS)), scores, rtol=2e-6)
    np.testing.assert_allclose(reader.predict([list(pair) for pair in PAIRS[::-1]])[::-1], scores, rtol=2e-6)
    np.testing.assert_allclose(reader.predict(PAIRS, activation_fn="linear"), logits, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(reader.predict(PAIRS, activation_fn=lambda x: 2 * x), 2 * logits, rtol=2e-6, atol=2e-6)
    assert reader.predict([]).shape == (0,)


@pytest.mark.parametrize("backend", INVARIANT)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_pair_has_the_same_bits_in_any_company(reranker_small: Path, backend: str, precision: Precision) -> None:
    reader = CrossEncoder(reranker_small, backend=backend, threads=2, precision=precision)
    text = st.lists(st.sampled_from(_WORDS), max_size=9).map(" ".join)

    @given(st.lists(st.tuples(text, text), min_size=2, max_size=8), st.integers(1, 3))
    @settings(max_examples=10 if backend == "engine" else 2, deadline=None)
    def check(pairs: list[tuple[str, str]], batch_size: int) -> None:
        together = reader.predict(pairs)
        assert_same_bits(reader.predict(pairs, batch_size=batch_size), together)
        assert_same_bits(reader.predict(pairs[::-1])[::-1].copy(), together)
        for pair, score in zip(pairs, together, strict=True):
            assert_same_bits(np.array(reader.predict(pair)), np.array(score))

    check()


def test_several_labels(three_labels: Path) -> None:
    reader = CrossEncoder(three_labels, threads=1)
    logits, shares = reader.predict(PAIRS), reader.predict(PAIRS, apply_softmax=True)
    assert logits.shape == shares.shape == (4, 3)
    expected = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(shares, expected / expected.sum(1, keepdims=True), rtol=1e-6)
    assert reader.predict(PAIRS[0]).shape == (3,)
    assert reader.predict([]).shape == (0, 3)
    with pytest.raises(ValueError, match="only models with one label rank, this one has 3"):
        reader.rank("a", ["b"])


def test_rank(reader: CrossEncoder) -> None:
    documents = ["rain", "wine and bread", "rain", "the city of light"]
    scores = reader.predict([("night", text) for text in documents])
    rows = reader.rank("night", documents, return_documents=True)
    assert [row["score"] for row in rows] == sorted(scores.tolist(), reverse=True)
    assert all(row["text"] == documents[row["corpus_id"]] for row in rows)
    places = [row["corpus_id"] for row in rows]
    assert places.index(0) + 1 == places.index(2)  # equal scores in the documents' order
    assert reader.rank("night", documents, top_k=2) == [
        {"corpus_id": row["corpus_id"], "score": row["score"]} for row in rows[:2]
    ]
    assert reader.rank("night", []) == []


def test_prompts_and_lengths_of_a_folder_with_modules(reranker_small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(reranker_small, folder / "0_Transformer")
    modules = [{"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.base.Transformer"}]
    general = {
        "activation_fn": "torch.nn.modules.linear.Identity",
        "prompts": {"night": "cold night "},
        "default_prompt_name": "night",
    }
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(general))
    reader, plain = CrossEncoder(folder, threads=1), CrossEncoder(reranker_small, threads=1)
    want = plain.predict([("cold night wine", "rain")], activation_fn="linear")
    np.testing.assert_allclose(reader.predict([("wine", "rain")]), want, rtol=2e-6)
    np.testing.assert_allclose(reader.predict([("cold night wine", "rain")], prompt=""), want, rtol=2e-6)
    with pytest.raises(ValueError, match=re.escape("no prompt is named 'x'; there are ['night']")):
        reader.predict([("a", "b")], prompt_name="x")
    (folder / "modules.json").write_text(json.dumps([*modules, {"idx": 1, "path": "1", "type": "a.LogitScore"}]))
    with pytest.raises(ValueError, match="a cross-encoder is one Transformer; found Transformer, LogitScore"):
        CrossEncoder(folder, backend="blas")


def test_load_makes_what_was_saved(reranker_small: Path, tmp_path: Path) -> None:
    """By the files of sentence-transformers from 5 on, from 4 on, and of those before; a plain classifier is none."""
    assert type(minidistil.load(reranker_small, backend="blas")) is minidistil.BertForSequenceClassification
    want = CrossEncoder(reranker_small, threads=1).predict([("wine", "rain")])
    config = json.loads((reranker_small / "config.json").read_text())
    sigmoid = "torch.nn.modules.activation.Sigmoid"
    for i, (file, content) in enumerate(
        (
            ("config_sentence_transformers.json", {"model_type": "CrossEncoder", "activation_fn": sigmoid}),
            ("config.json", {**config, "sentence_transformers": {"activation_fn": sigmoid, "version": "4.1.0"}}),
            ("config.json", {**config, "sbert_ce_default_activation_function": sigmoid}),
        )
    ):
        folder = shutil.copytree(reranker_small, tmp_path / str(i))
        (folder / file).write_text(json.dumps(content))
        reader = minidistil.load(folder, threads=1)
        assert type(reader) is CrossEncoder
        assert reader.predict([("wine", "rain")]) == want


def test_truncation_is_counted_and_said(reranker_small: Path) -> None:
    reader = CrossEncoder(reranker_small, threads=1, max_length=12)
    long = ("the city", "of light " * 20)
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than 12 tokens") as caught:
        scores = reader.predict([long, ("a", "b")])
    assert caught[0].filename == __file__
    np.testing.assert_allclose(scores[0], reader.predict(("the city", "of light of light of light of")), rtol=2e-6)
    assert reader.truncated == 1
    with pytest.raises(ValueError, match=re.escape("1 of the texts (index 1) are longer than 12 tokens")):
        reader.predict([("a", "b"), long], truncation="error")
    reader.max_length = None
    assert reader.max_length == 512


def test_an_activation_of_ones_own_code_is_not_run(reranker_small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(reranker_small, folder)
    config = json.loads((folder / "config.json").read_text())
    for name, message in [("my_module.Steal", "is none of torch.nn; using torch.nn.Sigmoid"), ("torch.nn.Tan", "")]:
        config["sentence_transformers"] = {"activation_fn": name}
        (folder / "config.json").write_text(json.dumps(config))
        if message:
            with pytest.warns(UserWarning, match=message):
                CrossEncoder(folder, backend="blas")
        else:
            with pytest.raises(ValueError, match=r"function 'torch\.nn\.Tan'; minidistil has Identity"):
                CrossEncoder(folder, backend="blas")


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "one text": ("wine", {}, TypeError, "predict takes a pair of texts or a list of pairs, got str"),
    "a dictionary": ({"a": 1, "b": 2}, {}, TypeError, "predict takes a pair of texts or a list of pairs, got dict"),
    "half a character": ([("a", "\ud83d")], {}, UnicodeError, "half of a surrogate pair"),
    "a number": (3, {}, TypeError, "predict takes a pair of texts or a list of pairs, got int"),
    "three texts": (("a", "b", "c"), {}, TypeError, "the pair must be two texts, got str, str, str"),
    "a list of texts": ([("a", "b"), "c"], {}, TypeError, "pair 1 must be two texts, got str"),
    "a pair of numbers": ([("a", 3)], {}, TypeError, "pair 0 must be two texts, got str, int"),
    "an empty pair": ([("a", "b"), ()], {}, TypeError, "pair 1 must be two texts, got none"),
    "batch_size": ([("a", "b")], {"batch_size": 0}, ValueError, "batch_size must be positive, got 0"),
    "tensors": ([("a", "b")], {"convert_to_tensor": True}, ValueError, "scores are NumPy arrays"),
    "truncation": ([("a", "b")], {"truncation": "maybe"}, ValueError, 'truncation must be "error", "warn", True or'),
    "activation": ([("a", "b")], {"activation_fn": "torch.nn.Tan"}, ValueError, "the activation function 'torch.nn.T"),
    "a name": ([("a", "b")], {"activation_fn": "sinus"}, ValueError, "sinus"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(reader: CrossEncoder, case: str) -> None:
    pairs, options, kind, message = REFUSED[case]
    with pytest.raises(kind, match=re.escape(message)):
        reader.predict(pairs, **options)


def test_refused_rankings(reader: CrossEncoder) -> None:
    for arguments, kind, message in [
        ((3, ["a"]), TypeError, "query must be a str, got int"),
        (("a", "b"), TypeError, "documents must be a list of str, got one str"),
        (("a", ["b", None]), TypeError, "documents[1] must be a str, got NoneType"),
        (("a", ["b"], 0), ValueError, "top_k must be positive, got 0"),
    ]:
        with pytest.raises(kind, match=re.escape(message)):
            reader.rank(*arguments)


def test_refused_models(reranker_small: Path, bert_small: Path) -> None:
    with pytest.raises(
        minidistil.CheckpointError, match=r"no model for CrossEncoder\(\.\.\.\); it is one for sentence"
    ):
        CrossEncoder(bert_small, backend="blas")
    with pytest.raises(ValueError, match="computes on the CPU only, got device 'cuda'"):
        CrossEncoder(reranker_small, device="cuda")
    with pytest.raises(ValueError, match="max_length must be positive, got 0"):
        CrossEncoder(reranker_small, max_length=0, backend="blas")
