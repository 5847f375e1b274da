"""Every public way to a number gives the same bits, in whatever floating-point mode its caller is, and leaves it so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import minidistil
from minidistil import util
from minidistil.sentences import calibration_ranges, encode_chunks
from tests import float_modes, forks
from tests.bits import digest
from tests.interface.backends import INVARIANT
from tests.sentences.folders import write_reranker
from tests.synthetic import BERT_SMALL, tensors, write_tensors
from tests.synthetic_tokenizer import write_tokenizer

TEXTS = ["the city of light", "wine and bread", "rain", "music in the cold night of paris"]
VECTORS = np.random.default_rng(0).standard_normal((40, 128)) * 10.0 ** np.arange(-40, 0)[:, None]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, sentence_small: Path, distilbert_small: Path) -> dict[str, Path]:
    """Also a checkpoint of float64, which is rounded when it is read."""
    base = tmp_path_factory.mktemp("modes")
    wide = {name: array.astype(np.float64) * (1 + 2.0**-30) for name, array in tensors(BERT_SMALL).items()}
    double = write_tensors(base / "double", BERT_SMALL, wide)
    return {
        "sentence": sentence_small,
        "words": distilbert_small,
        "double": write_tokenizer(double, BERT_SMALL["vocab_size"], token_types=True),
        "reranker": write_reranker(base / "reranker", "three labels"),
    }


def everything(folders: dict[str, Path], backend: str, threads: int) -> dict[str, list]:
    """Numbers by what gives them, from loading on."""
    options = {"backend": backend, "threads": threads}
    encoder = minidistil.load(folders["sentence"], **options)
    double = minidistil.load(folders["double"], **options)
    reader = minidistil.CrossEncoder(folders["reranker"], **options)
    fill = minidistil.pipeline("fill-mask", model=folders["words"], **options)
    labels = minidistil.pipeline("text-classification", reader.model, reader.tokenizer, top_k=None)
    output = double(**double.tokenizer(TEXTS, padding=True, return_tensors="np"), output_hidden_states=True)
    vectors = encoder.encode(TEXTS)
    return {
        "model": [*output.hidden_states, output.pooler_output],
        "mask": [double([[1, 2, 3]], np.full((1, 1, 3, 3), -0.1), output_attentions=True).attentions[0]],
        "encode": [vectors, double.encode(TEXTS), encoder.encode(TEXTS[0], normalize_embeddings=True)],
        "lazily": [chunk for _, chunk in encode_chunks(encoder, iter(TEXTS), chunk_size=2)],
        "int8": [encoder.encode(TEXTS, precision="int8", ranges=calibration_ranges(vectors))],
        "similarity": [encoder.similarity(VECTORS, vectors), encoder.similarity_pairwise(VECTORS, VECTORS[::-1])],
        "util": [compare(VECTORS, VECTORS) for compare in (util.cos_sim, util.euclidean_sim, util.dot_score)],
        "search": [np.array([hit["score"] for hits in util.semantic_search(VECTORS, VECTORS) for hit in hits])],
        "normalize": [util.normalize_embeddings(VECTORS)],
        "predict": [reader.predict([(text, "music") for text in TEXTS], apply_softmax=True)],
        "fill-mask": [np.array([found["score"] for found in fill("the [MASK] of light")])],
        "labels": [np.array([x["score"] for answer in labels(TEXTS) for x in answer])],
        "answers": [np.array([x["score"] for x in answer]) for answer in labels(iter(TEXTS))],
    }


@pytest.fixture(scope="module", params=INVARIANT)
def wanted(request: pytest.FixtureRequest, folders: dict[str, Path]) -> tuple[str, dict[str, list]]:
    return request.param, everything(folders, request.param, 1)


@float_modes.MODES
@pytest.mark.parametrize("threads", [1, 2])
def test_everything(folders: dict[str, Path], wanted: tuple[str, dict], threads: int, mode: int) -> None:
    backend, want = wanted
    if backend != "engine" and threads > 1:
        pytest.skip("one thread is all that it has")
    with float_modes.entered(mode):
        got = everything(folders, backend, threads)
    assert {name: digest(*arrays) for name, arrays in got.items()} == {
        name: digest(*arrays) for name, arrays in want.items()
    }


@float_modes.MODES
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_in_a_forked_child(folders: dict[str, Path], mode: int) -> None:
    encoder = minidistil.load(folders["sentence"], threads=2)
    want = digest(encoder.encode(TEXTS))

    def act() -> None:
        assert digest(encoder.encode(TEXTS)) == want
        assert float_modes.current() == mode

    with float_modes.entered(mode):
        child = forks.child(act)
    assert forks.ended(child) == [0]


@float_modes.MODES
def test_the_callers_mode_between_answers_and_after_errors(folders: dict[str, Path], mode: int) -> None:
    encoder = minidistil.load(folders["sentence"])
    fill = minidistil.pipeline("fill-mask", model=folders["words"])
    calls: list[Callable[[], object]] = [
        lambda: encoder(np.array([[10**6]])),
        lambda: encoder.encode([1]),
        lambda: fill("no mask"),
        lambda: minidistil.load(folders["sentence"], backend="none"),
        lambda: encoder.similarity(VECTORS, np.zeros((2, 3))),
    ]

    def texts() -> Iterator[str]:
        yield from ("the [MASK] of light", "wine and [MASK]")

    with float_modes.entered(mode):
        for call in calls:
            with pytest.raises((TypeError, ValueError)):
                call()
            assert float_modes.current() == mode
        for _ in fill(texts()):
            assert float_modes.current() == mode
        for _ in encode_chunks(encoder, iter(TEXTS), chunk_size=2):
            assert float_modes.current() == mode
