"""What sentence-transformers computes, from its records: modules, options, quantization, similarities, rerankers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import minidistil
from minidistil import CrossEncoder, SentenceTransformer
from minidistil.sentences import quantize_embeddings, similarity, similarity_pairwise
from tests.bits import assert_same_bits
from tests.interface.backends import QUICK
from tests.sentences.folders import (
    HANDS_ON_ALL_LAYERS,
    MODELS,
    RERANKERS,
    write_encoder,
    write_model,
    write_reranker,
)
from tests.sentences.goldens import DOCUMENTS, PROMPTS, QUERY, TEXTS, assert_near, recorded, unpack

pytestmark = pytest.mark.filterwarnings("ignore::minidistil.TruncationWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    encoder = write_encoder(place / "encoder")
    return {
        name: write_model(place / str(i), encoder, *modules, all_layers=name in HANDS_ON_ALL_LAYERS)
        for i, (name, modules) in enumerate(MODELS.items())
    }


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("name", MODELS)
def test_modules(folders: dict[str, Path], name: str, backend: str) -> None:
    model = SentenceTransformer(folders[name], backend=backend, threads=2)
    want = unpack(recorded()["models"][name])
    assert_near(model.encode(TEXTS), want)
    assert model.get_embedding_dimension() == want.shape[1]


def test_engine_and_exact_have_the_same_bits(folders: dict[str, Path]) -> None:
    for name in ("all modes", "dense twice", "residuals", "layer norm", "layers", "dense over tokens"):
        rows = [SentenceTransformer(folders[name], backend=b).encode(TEXTS[:3]) for b in ("engine", "exact")]
        assert_same_bits(*rows)


def test_options(folders: dict[str, Path]) -> None:
    model = SentenceTransformer(folders["mean"], backend="blas")
    for got, want in zip(
        model.encode(TEXTS[:3], output_value="token_embeddings"), recorded()["token_embeddings"], strict=True
    ):
        assert_near(got, unpack(want))
    everything = model.encode(TEXTS[:3], output_value=None)
    assert [list(one) for one in everything] == [
        ["input_ids", "attention_mask", "token_embeddings", "sentence_embedding"]
    ] * 3
    for one, want in zip(everything, unpack(recorded()["models"]["mean"]), strict=False):
        assert_near(one["sentence_embedding"], want)
        assert len(one["input_ids"]) == len(one["attention_mask"]) == len(one["token_embeddings"])
    cut = model.encode(TEXTS, truncate_dim=10, normalize_embeddings=True)
    assert_near(cut, unpack(recorded()["cut, then normalized"]))
    with model.truncate_embeddings(10):
        assert_near(model.encode(TEXTS, normalize_embeddings=True), cut)
    assert model.get_sentence_embedding_dimension() == 128


def test_quantization_of_the_same_embeddings() -> None:
    """From the recorded embeddings, so that every byte is asked for."""
    whole = unpack(recorded()["models"]["mean"])
    ranges = minidistil.calibration_ranges(whole[:4])
    for precision, held in recorded()["precisions"].items():
        want = unpack(held)
        for got in (
            quantize_embeddings(whole, precision, ranges),
            quantize_embeddings(whole, precision, None, whole[:4]),
        ):
            assert got.dtype == want.dtype
            assert got.tolist() == want.tolist()
        assert quantize_embeddings(whole[2], precision, ranges).tolist() == want[2].tolist()


def test_prompts(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", folders["mean"], *MODELS["mean"])
    (folder / "config_sentence_transformers.json").write_text(json.dumps(PROMPTS))
    model = SentenceTransformer(folder, backend="blas")
    want = {name: unpack(held) for name, held in recorded()["prompts"].items()}
    assert_near(model.encode(TEXTS), want["encode"])
    assert_near(model.encode_query(TEXTS), want["encode_query"])
    assert_near(model.encode_document(TEXTS), want["encode_document"])
    assert_near(model.encode(TEXTS, prompt_name="night"), want["prompt_name"])
    pooling = {"word_embedding_dimension": 128, "pooling_mode": ["mean"], "include_prompt": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    assert_near(SentenceTransformer(folder, backend="blas").encode(TEXTS, prompt_name="night"), want["not pooled"])


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarities(name: str) -> None:
    whole = unpack(recorded()["models"]["mean"])
    scaled = whole * np.arange(1, len(whole) + 1, dtype=np.float32)[:, None]
    want = {which: unpack(held) for which, held in recorded()["similarity"][name].items()}
    # PyTorch takes long distances by a product of matrices, which has the zeros on the diagonal at about 1e-3.
    np.testing.assert_allclose(similarity(scaled[:3], scaled, name), want["all"], rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(similarity_pairwise(scaled[:3], scaled[3:6], name), want["pairwise"], rtol=1e-5)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("name", RERANKERS)
def test_rerankers(tmp_path: Path, name: str, backend: str) -> None:
    reader = CrossEncoder(write_reranker(tmp_path / "reranker", name), backend=backend, threads=2)
    pairs, want = [(QUERY, document) for document in DOCUMENTS], recorded()["rerankers"][name]
    near = 2e-6 if backend == "engine" else 1e-5
    np.testing.assert_allclose(reader.predict(pairs), unpack(want["predict"]), rtol=near, atol=near)
    np.testing.assert_allclose(reader.predict(pairs, apply_softmax=True), unpack(want["softmax"]), rtol=near, atol=near)
    if "rank" in want:
        assert [row["corpus_id"] for row in reader.rank(QUERY, DOCUMENTS)] == want["rank"]
