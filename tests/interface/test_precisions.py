"""The precisions of weights, wherever a model is loaded: what it says of itself, what is kept, what is refused."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import minidistil
from minidistil.weights import by_reference
from minidistil.weights.precision import PRECISIONS, Precision
from tests.bits import assert_same_bits
from tests.processes import forked, python
from tests.sentences.folders import NORMALIZE, dense, pooling, write_encoder, write_model

IDS = [[2, 17, 33, 3], [2, 900, 3, 0]]
TEXTS = ["the city of light", "wine is great , people play music"]

# What loads a model, by the fixture of its checkpoint; each takes `precision` and `backend`.
LOADERS: dict[str, tuple[str, Callable[..., Any]]] = {
    "load": ("bert_small", minidistil.load),
    "from_pretrained": ("bert_small", minidistil.BertModel.from_pretrained),
    "AutoModel": ("distilbert_small", minidistil.AutoModel.from_pretrained),
    "AutoModelForMaskedLM": ("distilbert_small", minidistil.AutoModelForMaskedLM.from_pretrained),
    "load, of sentences": ("sentence_small", minidistil.load),
    "SentenceTransformer": ("sentence_small", minidistil.SentenceTransformer),
    "SentenceEncoder": ("sentence_small", minidistil.SentenceEncoder.from_folder),
    "CrossEncoder": ("reranker_small", minidistil.CrossEncoder),
    "pipeline": ("distilbert_small", lambda at, **options: minidistil.pipeline("fill-mask", at, **options).model),
    "model_kwargs": ("sentence_small", lambda at, **options: minidistil.SentenceTransformer(at, model_kwargs=options)),
}
each_loader = pytest.mark.parametrize("name", LOADERS)
each_precision = pytest.mark.parametrize("precision", PRECISIONS)


def _model(loaded: Any) -> Any:
    return getattr(loaded, "model", loaded)


@each_loader
@each_precision
def test_a_model_has_the_precision_that_was_asked_for(
    name: str, precision: Precision, request: pytest.FixtureRequest
) -> None:
    fixture, load = LOADERS[name]
    usual = load(request.getfixturevalue(fixture), backend="exact")
    loaded = load(request.getfixturevalue(fixture), backend="exact", precision=precision)
    assert (usual.precision, loaded.precision, _model(loaded).precision) == ("float32", precision, precision)
    assert f" {precision}" in repr(loaded)
    assert loaded.dtype == np.float32
    for without in (False, True):
        count = _model(loaded).num_parameters(exclude_embeddings=without)
        assert count == _model(usual).num_parameters(exclude_embeddings=without) > 0
    words, others = (_model(one).get_input_embeddings() for one in (usual, loaded))
    assert (others.num_embeddings, others.embedding_dim) == words.weight.shape == others.weight.shape
    assert_same_bits(others([3, 1]), others.weight[[3, 1]])
    error = np.abs(others.weight - words.weight).max() / np.abs(words.weight).max()
    assert (error == 0) == (precision == "float32")
    assert error < 0.02
    output = _model(loaded)(IDS, [[1, 1, 1, 1], [1, 1, 1, 0]])
    assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in output.to_tuple())


@each_loader
def test_a_precision_that_there_is_not(name: str, request: pytest.FixtureRequest) -> None:
    fixture, load = LOADERS[name]
    for wrong in ("int4", "float16", "INT8", "", 8, ["int8"], np.int8, np.array("int8")):
        with pytest.raises(ValueError, match=r"^precision must be one of float32, bfloat16, int8, got "):
            load(request.getfixturevalue(fixture), backend="exact", precision=wrong)


def test_two_words_for_one_precision(bert_small: Path) -> None:
    model = minidistil.load(bert_small, backend="exact", dtype="bfloat16", precision="bfloat16")
    assert model.precision == "bfloat16"
    with pytest.raises(TypeError, match=r"load\(\) got torch_dtype and precision, two names of one option"):
        minidistil.load(bert_small, torch_dtype="bfloat16", precision="int8")


def test_the_precisions_are_those_of_the_type() -> None:
    assert get_args(Precision) == PRECISIONS == ("float32", "bfloat16", "int8")


KEPT: dict[str, tuple[str, Callable[..., Any], Callable[[Any], Any]]] = {  # fixture, how it is loaded, how it is used
    "model": ("bert_small", minidistil.load, lambda model: model(IDS).last_hidden_state),
    "sentences": ("sentence_small", minidistil.load, lambda model: model.encode(TEXTS)),
    "reranker": ("reranker_small", minidistil.CrossEncoder, lambda model: model.predict([TEXTS])),
    "pipeline": (
        "sentence_small",
        lambda at, **options: minidistil.pipeline("feature-extraction", at, return_tensors=True, **options),
        lambda pipe: pipe(TEXTS[0]),
    ),
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_copies_and_pickles_keep_it(
    name: str, precision: Precision, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    fixture, load, use = KEPT[name]
    folder = request.getfixturevalue(fixture)
    thing, usual = (load(folder, backend="exact", precision=one) for one in (precision, None))
    want = use(thing)
    assert np.any(want != use(usual))
    pickled = pickle.dumps(thing)
    for again in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickled)):
        assert _model(again).precision == precision
        assert_same_bits(use(again), want)
    assert pickle.loads(pickle.dumps(usual)).__dict__.keys() == usual.__dict__.keys()
    assert_same_bits(use(pickle.loads(pickle.dumps(usual))), use(usual))
    (tmp_path / "pickled").write_bytes(pickled)
    code = (
        "import pickle, sys; m = pickle.load(open(sys.argv[1], 'rb')); m = getattr(m, 'model', m); print(m.precision)"
    )
    assert python(code, tmp_path / "pickled").strip() == precision


def test_a_process_keeps_one_of_each_precision(bert_small: Path) -> None:
    models = {p: minidistil.load(bert_small, backend="exact", precision=p) for p in PRECISIONS}
    pickled = {p: pickle.dumps(model) for p, model in models.items()}
    by_reference._recent.clear()
    for p, model in models.items():
        assert pickle.loads(pickled[p])._backend is model._backend
    assert len(set(pickled.values())) == 3


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_share_a_model(sentence_small: Path, precision: Precision, threads: int) -> None:
    model = minidistil.load(sentence_small, threads=threads, precision=precision)
    texts = [" ".join(TEXTS[:1] * n) for n in range(1, 9)]
    want = model.encode(texts)
    assert_same_bits(want, minidistil.load(sentence_small, backend="exact", precision=precision).encode(texts))
    with ThreadPoolExecutor(4) as executor:
        for text, row in zip(texts * 3, executor.map(model.encode, texts * 3), strict=True):
            assert_same_bits(row, want[texts.index(text)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_children_compute_with_what_was_forked(sentence_small: Path, precision: Precision) -> None:
    model = minidistil.load(sentence_small, threads=2, precision=precision)
    want = model.encode(TEXTS)
    assert forked(lambda: model.encode(TEXTS).tobytes()) == want.tobytes()


def test_modules_behind_the_pooling_stay_float32(tmp_path: Path) -> None:
    folder = write_model(
        tmp_path / "model", write_encoder(tmp_path / "encoder"), pooling("mean"), NORMALIZE, dense(128, 16)
    )
    model = minidistil.load(folder, backend="exact", precision="int8")
    exact = minidistil.load(folder, backend="exact")
    assert_same_bits(model._modules.sentences[-1].linear.weight, exact._modules.sentences[-1].linear.weight)
    cosine = np.add.reduce(model.encode(TEXTS) * exact.encode(TEXTS), axis=1)
    assert ((cosine > 0.99 * np.linalg.norm(exact.encode(TEXTS), axis=1) ** 2) & (cosine != 1)).all()


def test_embeddings_have_a_precision_of_their_own(sentence_small: Path) -> None:
    model = minidistil.load(sentence_small, backend="exact", precision="int8")
    wide = model.encode(TEXTS)
    assert np.array_equal(model.encode(TEXTS, precision="float16"), wide.astype(np.float16))
    assert np.array_equal(model.encode(TEXTS, precision="binary"), minidistil.quantize_embeddings(wide, "binary"))
    with pytest.raises(ValueError, match="precision must be one of"):
        model.encode(TEXTS, precision="bfloat16")


def test_an_unfinished_file_is_not_gone_on_with_in_another_precision(sentence_small: Path, tmp_path: Path) -> None:
    def some() -> Any:
        yield from ["wine"] * 300
        raise RuntimeError("stopped")

    path = tmp_path / "out.npy"
    narrow = minidistil.load(sentence_small, backend="exact", precision="bfloat16")
    with pytest.raises(RuntimeError, match="stopped"):
        minidistil.encode_to_file(narrow, some(), path)
    usual = minidistil.load(sentence_small, backend="exact")
    with pytest.raises(ValueError, match="model_precision was 'bfloat16' and is 'float32'"):
        minidistil.encode_to_file(usual, ["wine"] * 301, path)
    done = minidistil.encode_to_file(narrow, ["wine"] * 301, path)
    assert (done.rows, done.resumed) == (301, 256)
