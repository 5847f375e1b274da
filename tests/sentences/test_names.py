"""Names that code for sentence-transformers touches: each an expression, evaluated with its objects and with ours."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil import util
from tests.sentences import folders

TEXTS = ["the city of light", "wine is great , people play music", "the city of light , wine"]
RNG = np.random.default_rng(3)
CLUSTERED = np.repeat(RNG.standard_normal((6, 8)), [9, 4, 12, 1, 3, 7], axis=0) + RNG.standard_normal((36, 8)) / 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("names")
    encoder = folders.write_encoder(root / "encoder")
    return folders.write_model(root / "model", encoder, folders.pooling("cls", "mean"), folders.dense(256, 24))


@pytest.fixture(scope="module")
def both(folder: Path, reranker_small: Path) -> list[tuple[Any, Any, Any]]:
    """Of sentence-transformers and of minidistil: an encoder, a reranker, the functions."""
    theirs = pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    made = []
    for library, functions in ((theirs, theirs.util), (minidistil, util)):
        encoder = library.SentenceTransformer(str(folder), device="cpu", truncate_dim=20)
        made.append((encoder, library.CrossEncoder(str(reranker_small), device="cpu"), functions))
    return made


Touch = Callable[[Any, Any, Any], Any]
TOUCHED: dict[str, Touch] = {
    "device": lambda e, r, u: [str(e.device), e.device.type, e.device.index, str(r.device)],
    "dtype": lambda e, r, u: [str(e.dtype).rpartition(".")[2], str(r[0].model.dtype).rpartition(".")[2]],
    "eval, to, cpu": lambda e, r, u: [e.eval() is e, e.to("cpu") is e, e.cpu() is e, r.eval() is r],
    "get_max_seq_length": lambda e, r, u: [e.get_max_seq_length(), e[0].max_seq_length, e.max_seq_length],
    "len": lambda e, r, u: [len(e), len(list(e)), len(r), bool(e)],
    "[0]": lambda e, r, u: [type(e[0].auto_model).__name__, e[0].get_embedding_dimension()],
    "[0] of a reranker": lambda e, r, u: [type(r[0].auto_model).__name__, type(r.model).__name__],
    "[0].tokenizer": lambda e, r, u: e[0].tokenizer("the city")["input_ids"],
    "[1]": lambda e, r, u: [list(e[1].pooling_mode), e[1].pooling_output_dimension, e[1].include_prompt],
    "[1], more": lambda e, r, u: [e[1].embedding_dimension, e[1].get_embedding_dimension()],
    "dimensions": lambda e, r, u: [e.get_embedding_dimension(), e.get_sentence_embedding_dimension()],
    "tokenize": lambda e, r, u: {k: np.asarray(e.tokenize(TEXTS)[k]) for k in ("input_ids", "attention_mask")},
    "preprocess": lambda e, r, u: np.asarray(e.preprocess([" ".join(TEXTS * 9)])["input_ids"]).shape,
    "truncate_dim": lambda e, r, u: e.encode(TEXTS[0]),
    "truncate_dim, None": lambda e, r, u: np.asarray(e.encode(TEXTS[0], output_value=None)["sentence_embedding"]),
    "truncate_dim, None, of a call": lambda e, r, u: [
        np.asarray(one["sentence_embedding"]) for one in e.encode(TEXTS, output_value=None, truncate_dim=5)
    ],
    "truncate_dim, tokens": lambda e, r, u: np.asarray(e.encode(TEXTS[0], output_value="token_embeddings")).shape,
    "precision": lambda e, r, u: e.encode(TEXTS, precision=None, batch_size=2, chunk_size=3, pool=None),
    "inputs": lambda e, r, u: [e.encode(inputs=TEXTS), e.encode_query(inputs=TEXTS), e.encode_document(inputs=TEXTS)],
    "predict": lambda e, r, u: r.predict(inputs=[(TEXTS[0], TEXTS[1])], device="cpu"),
    "rank": lambda e, r, u: [hit["corpus_id"] for hit in r.rank(TEXTS[0], TEXTS, batch_size=1, device=None)],
    "truncate_embeddings": lambda e, r, u: [u.truncate_embeddings(CLUSTERED[places], 3) for places in (0, slice(9))],
    "truncate_embeddings, None": lambda e, r, u: u.truncate_embeddings(CLUSTERED, None),
    "paraphrase_mining": lambda e, r, u: u.paraphrase_mining(e, TEXTS, batch_size=2, truncate_dim=7),
    "communities": lambda e, r, u: u.community_detection(CLUSTERED.astype(np.float32), 0.7, 3, batch_size=5),
    "communities, one": lambda e, r, u: u.community_detection(CLUSTERED.astype(np.float32), -1.0, 36),
    "communities, none": lambda e, r, u: [u.community_detection(CLUSTERED, 0.7, 37), u.community_detection([])],
    "SimilarityFunction": lambda e, r, u: [
        (one.name, one.value) for one in u.SimilarityFunction if "maxsim" not in one.value
    ],
    "to_similarity_fn": lambda e, r, u: [
        np.asarray(u.SimilarityFunction.to_similarity_fn(name)(CLUSTERED[:3], CLUSTERED[:2]))
        for name in ("cosine", u.SimilarityFunction.DOT, "euclidean", "manhattan")
    ],
    "to_similarity_pairwise_fn": lambda e, r, u: np.asarray(
        u.SimilarityFunction.to_similarity_pairwise_fn("dot")(CLUSTERED[:3], CLUSTERED[1:4])
    ),
}  # fmt: skip


def _assert_near(got: Any, want: Any) -> None:
    if isinstance(want, (np.ndarray, float)):
        assert np.shape(got) == np.shape(want)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    elif isinstance(want, dict):
        assert got.keys() == want.keys()
        for key in want:
            _assert_near(got[key], want[key])
    elif isinstance(want, (list, tuple)):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            _assert_near(one, other)
    else:
        assert got == want


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", TOUCHED)
def test_as_in_sentence_transformers(name: str, both: list[tuple[Any, Any, Any]]) -> None:
    want, got = (TOUCHED[name](*made) for made in both)
    _assert_near(got, want)


def test_similarity_by_a_member(folder: Path) -> None:
    model = minidistil.SentenceTransformer(folder, similarity_fn_name=minidistil.SimilarityFunction.MANHATTAN)
    assert model.similarity_fn_name == "manhattan"
    model.similarity_fn_name = util.SimilarityFunction.DOT
    assert model.similarity_fn_name == "dot"
    with pytest.raises(ValueError, match="similarity must be one of cosine, dot, euclidean, manhattan, got 'maxsim'"):
        model.similarity_fn_name = "maxsim"
    assert util.SimilarityFunction.to_similarity_fn("cosine") is util.cos_sim


def test_all_layers_by_a_keyword(tmp_path: Path, folder: Path) -> None:
    modules = [folders.weighted_layers(128, 2, 1), folders.pooling("mean")]
    own = folders.write_model(tmp_path / "layers", folder, *modules)
    asked = folders.write_model(tmp_path / "asked", folder, *modules, all_layers=True)
    want = minidistil.SentenceTransformer(asked).encode(TEXTS)
    got = minidistil.SentenceTransformer(own, config_kwargs={"output_hidden_states": True}).encode(TEXTS)
    assert np.array_equal(got, want)
    assert not np.array_equal(minidistil.SentenceTransformer(own).encode(TEXTS), want)


def test_copies_and_pickles_keep_what_keywords_said(folder: Path) -> None:
    options = {"processor_kwargs": {"model_max_length": 5}, "config_kwargs": {"output_hidden_states": True}}
    model = minidistil.SentenceTransformer(folder, similarity_fn_name="dot", backend="blas", **options)
    for other in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        assert (other.max_seq_length, other.similarity_fn_name, other.config.output_hidden_states) == (5, "dot", True)
        assert other.tokenize([" ".join(TEXTS)]).input_ids.shape == (1, 5)
        other[0].max_seq_length = 4
        assert (other.max_seq_length, model.max_seq_length) == (4, 5)


@pytest.mark.parametrize("chunks", [(1, 1), (5, 3), (100, 100)])
def test_pairs_whatever_the_chunks(chunks: tuple[int, int]) -> None:
    """Equal scores too: against all pairs, sorted."""
    vectors = np.random.default_rng(5).integers(-1, 2, (14, 3)).astype(np.float32)
    scores = vectors @ vectors.T
    pairs = [(float(scores[i, j]), i, j) for i in range(14) for j in range(i + 1, 14)]
    best = [list(pair) for pair in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:]))]
    options = {"query_chunk_size": chunks[0], "corpus_chunk_size": chunks[1], "score_function": util.dot_score}
    assert util.paraphrase_mining_embeddings(vectors, **options) == best
    assert util.paraphrase_mining_embeddings(vectors, max_pairs=11, **options) == best[:11]
    few = util.paraphrase_mining_embeddings(vectors, top_k=1, **options)
    assert len(few) < len(best)
    assert [pair for pair in best if pair in few] == few


@pytest.mark.parametrize("block", [1, 4, 50])
def test_communities_whatever_the_blocks(block: int) -> None:
    found = util.community_detection(CLUSTERED, threshold=0.8, min_community_size=3, batch_size=block)
    assert found == util.community_detection(CLUSTERED, threshold=0.8, min_community_size=3)
    members = [i for group in found for i in group]
    assert len(set(members)) == len(members)
    assert [len(group) for group in found] == sorted((len(group) for group in found), reverse=True)
    cosines = util.cos_sim(CLUSTERED, CLUSTERED)
    assert all((cosines[group[0], group] >= np.float32(0.8)).all() for group in found)
    assert len(found) >= 3


def test_numbers_that_are_none() -> None:
    for options in ({"min_community_size": 0}, {"batch_size": -1}):
        with pytest.raises(ValueError, match="must be positive"):
            util.community_detection(CLUSTERED, **options)
    with pytest.raises(ValueError, match="max_pairs must be positive"):
        util.paraphrase_mining_embeddings(CLUSTERED, max_pairs=0)
    with pytest.raises(ValueError, match="truncate_dim must be positive"):
        util.truncate_embeddings(CLUSTERED, -1)
