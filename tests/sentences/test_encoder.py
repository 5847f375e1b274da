"""Sentence embeddings: pooling, normalization, prompts, truncation, order, and independence of the batch."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidistil
from minidistil import SentenceEncoder, TruncationWarning
from minidistil.sentences import comparison, normalize, pool, similarity
from minidistil.sentences.pooling import _sum_rows
from minidistil.weights.precision import PRECISIONS, Precision
from tests.bits import assert_same_bits
from tests.interface.backends import INVARIANT
from tests.synthetic_tokenizer import _WORDS

SENTENCES = ["the city of light", "wine", "a cold night in berlin with rain and music", "", "bread and wine ?"]
RNG = np.random.default_rng(11)
Change = Callable[..., Path]


@pytest.fixture(scope="module", params=[pytest.param("blas"), pytest.param("engine")])
def encoder(request: pytest.FixtureRequest, sentence_small: Path) -> SentenceEncoder:
    return minidistil.load(sentence_small, backend=request.param, threads=2)


@pytest.fixture
def changed(sentence_small: Path, tmp_path: Path) -> Change:
    """Copies the sentence model with files replaced: path (with / as __) -> content, or None to delete."""

    def change(**files: object) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(sentence_small, folder)
        for name, content in files.items():
            path = folder / f"{name.replace('__', '/')}.json"
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_text(content if isinstance(content, str) else json.dumps(content))
        return folder

    return change


def test_shapes_and_order(encoder: SentenceEncoder) -> None:
    all_of_them = encoder.encode(SENTENCES)
    assert all_of_them.shape == (5, 128)
    assert all_of_them.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(all_of_them, axis=1), 1, atol=1e-6)
    one = encoder.encode(SENTENCES[2])
    assert one.shape == (128,)
    np.testing.assert_allclose(one, all_of_them[2], atol=1e-6)
    np.testing.assert_allclose(encoder.encode(reversed(SENTENCES)), all_of_them[::-1], atol=1e-6)
    np.testing.assert_allclose(encoder.encode(np.array(SENTENCES)), all_of_them, atol=1e-6)
    assert encoder.encode([]).shape == (0, 128)
    assert encoder.get_sentence_embedding_dimension() == 128


def test_embeddings_are_the_normalized_means_of_the_models_rows(encoder: SentenceEncoder) -> None:
    inputs = encoder.tokenizer(SENTENCES, padding=True, return_tensors="np")
    hidden = encoder(**inputs).last_hidden_state.astype(np.float64)
    mask = inputs["attention_mask"][..., None]
    means = (hidden * mask).sum(1) / mask.sum(1)
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(SENTENCES), expected, atol=2e-6)


@pytest.mark.parametrize("backend", INVARIANT)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_sentence_has_the_same_bits_in_any_company(backend: str, precision: Precision, sentence_small: Path) -> None:
    encoder = minidistil.load(sentence_small, backend=backend, threads=2, precision=precision)

    @given(st.lists(st.lists(st.sampled_from(_WORDS), max_size=14), min_size=2, max_size=9), st.integers(1, 4))
    @settings(max_examples=12 if backend == "engine" else 3, deadline=None)
    def check(drawn: list[list[str]], batch_size: int) -> None:
        texts = [" ".join(words) for words in drawn]
        together = encoder.encode(texts)
        assert_same_bits(encoder.encode(texts, batch_size=batch_size), together)
        assert_same_bits(encoder.encode(texts[::-1])[::-1], together)
        for text, row in zip(texts, together, strict=True):
            assert_same_bits(encoder.encode(text), row)

    check()


def test_rows_are_summed_one_after_another() -> None:
    for n, D in [(1, 8), (2, 1), (9, 1), (200, 1), (9, 3), (130, 128), (300, 7)]:
        x = RNG.standard_normal((n, D), dtype=np.float32)
        total = x[0].copy()
        for row in x[1:]:
            total += row
        assert_same_bits(_sum_rows(x), total, f"{n} x {D}")


NAIVE = {
    "mean": lambda x, s: x[s:].mean(0),
    "cls": lambda x, s: x[s],
    "max": lambda x, s: x[s:].max(0),
    "mean_sqrt_len_tokens": lambda x, s: x[s:].sum(0) / np.sqrt(len(x) - s),
    "weightedmean": lambda x, s: np.average(x[s:], axis=0, weights=np.arange(s + 1, len(x) + 1)),
    "lasttoken": lambda x, s: x[-1],
}


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("mode", NAIVE)
def test_pooling_modes(mode: str, skip: int) -> None:
    lengths = [3, 1 + skip, 17, 40]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    hidden = RNG.standard_normal((offsets[-1], 12), dtype=np.float32)
    rows = [hidden[a:b].astype(np.float64) for a, b in pairwise(offsets)]
    expected = np.stack([NAIVE[mode](x, skip) for x in rows])
    got = pool(hidden, offsets, (mode,), skip)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    both = pool(hidden, offsets, (mode, "max"), skip)
    assert both.shape == (4, 24)
    assert_same_bits(np.ascontiguousarray(both[:, :12]), got)


def test_normalizing_keeps_zeros_and_does_not_look_at_other_rows() -> None:
    x = RNG.standard_normal((5, 37), dtype=np.float32)
    x[2] = 0
    whole = normalize(x)
    assert not whole[2].any()
    for i in range(5):
        assert_same_bits(normalize(x[i : i + 1])[0], whole[i])


@pytest.mark.parametrize(
    "pooling", [{"pooling_mode": "cls"}, {"pooling_mode_cls_token": True}, {"pooling_mode": ["cls"]}]
)
def test_cls_pooling_computes_only_the_first_row(changed: Change, pooling: dict) -> None:
    encoder = minidistil.load(changed(**{"1_Pooling__config": pooling}), backend="engine", threads=2)
    rows = encoder.encode(SENTENCES, output_value="token_embeddings")
    assert [len(x) for x in rows] == [len(encoder.tokenizer.encode(s)) for s in SENTENCES]
    assert_same_bits(encoder.encode(SENTENCES), normalize(np.stack([x[0] for x in rows])))


def test_several_pooling_modes_stand_one_after_another(changed: Change) -> None:
    legacy = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True, "pooling_mode_lasttoken": True}
    modules = [
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"},
        {"idx": 0, "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
    ]
    encoder = minidistil.load(changed(modules=modules, **{"1_Pooling__config": legacy}), backend="blas")
    rows = encoder.encode(SENTENCES, output_value="token_embeddings")
    expected = np.stack([np.concatenate([x[0], x.mean(0), x[-1]]) for x in rows])
    np.testing.assert_allclose(encoder.encode(SENTENCES), expected, atol=1e-5)
    assert encoder.get_sentence_embedding_dimension() == 384


def test_a_folder_without_modules_is_pooled_by_mean(bert_small: Path) -> None:
    model = minidistil.load(bert_small, backend="blas")
    inputs = model.tokenizer(SENTENCES[0], return_tensors="np")
    expected = model(**inputs).last_hidden_state[0].mean(0)
    np.testing.assert_allclose(model.encode(SENTENCES[0]), expected, atol=1e-5)
    unit = model.encode(SENTENCES[0], normalize_embeddings=True)
    np.testing.assert_allclose(unit, expected / np.linalg.norm(expected), atol=1e-6)


def test_a_masked_language_model_embeds_too(distilbert_small: Path) -> None:
    model = minidistil.load(distilbert_small, backend="blas")
    states = model(**model.tokenizer("the city", return_tensors="np"), output_hidden_states=True).hidden_states
    np.testing.assert_allclose(model.encode("the city"), states[-1][0].mean(0), atol=1e-5)


def test_cutting_dimensions_comes_before_normalizing(encoder: SentenceEncoder, changed: Change) -> None:
    short = encoder.encode(SENTENCES, truncate_dim=16)
    np.testing.assert_allclose(short, encoder.encode(SENTENCES)[:, :16], atol=1e-6)
    np.testing.assert_allclose(
        np.linalg.norm(encoder.encode(SENTENCES, truncate_dim=16, normalize_embeddings=True), axis=1), 1, atol=1e-6
    )
    own = minidistil.load(changed(config_sentence_transformers={"truncate_dim": 8}), backend="blas")
    assert own.encode(SENTENCES).shape == (5, 8)
    assert own.get_sentence_embedding_dimension() == 8


PROMPTS = {"prompts": {"query": "the query ", "document": None, "night": "night "}, "default_prompt_name": "night"}


def test_prompts(changed: Change) -> None:
    encoder = minidistil.load(changed(config_sentence_transformers=PROMPTS), backend="blas")
    plain = encoder.encode(["the query wine", "night wine", "wine"], prompt="")
    np.testing.assert_allclose(encoder.encode("wine", prompt_name="query"), plain[0], atol=1e-6)
    np.testing.assert_allclose(encoder.encode_query("wine"), plain[0], atol=1e-6)
    np.testing.assert_allclose(encoder.encode("wine"), plain[1], atol=1e-6)
    np.testing.assert_allclose(encoder.encode_document("wine"), plain[2], atol=1e-6)  # null is an empty prompt
    np.testing.assert_allclose(encoder.encode("wine", prompt="night ", prompt_name="query"), plain[1], atol=1e-6)
    with pytest.raises(
        ValueError, match=re.escape("no prompt is named 'answer'; there are ['document', 'night', 'query']")
    ):
        encoder.encode("wine", prompt_name="answer")


def test_prompts_can_be_left_out_of_the_pooling(changed: Change) -> None:
    folder = changed(
        **{"1_Pooling__config": {"pooling_mode": "mean", "include_prompt": False}},
        modules=[{"idx": 0, "path": "", "type": "Transformer"}, {"idx": 1, "path": "1_Pooling", "type": "Pooling"}],
    )
    encoder = minidistil.load(folder, backend="blas")
    rows = encoder.encode("night wine", output_value="token_embeddings")
    assert len(rows) == 4
    np.testing.assert_allclose(encoder.encode("wine", prompt="night "), rows[2:].mean(0), atol=1e-5)


def test_truncation_is_counted_and_said(sentence_small: Path) -> None:
    encoder = minidistil.load(sentence_small, backend="blas")
    assert encoder.max_seq_length == 64
    long, short = "the " * 100, "the " * 62
    with pytest.warns(TruncationWarning, match="2 of 3 texts are longer than 64 tokens") as caught:
        vectors = encoder.encode([long, short, long])
    assert caught[0].message.count == 2
    assert caught[0].filename == __file__
    assert len(caught) == 1
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert encoder.truncated == 2
    encoder.encode([long], truncation=True)
    assert encoder.truncated == 3
    for refuse in ("error", False):
        with pytest.raises(ValueError, match=re.escape("1 of the texts (index 1) are longer than 64 tokens")):
            encoder.encode([short, long], truncation=refuse)
    assert encoder.truncated == 3
    encoder.max_seq_length = 200
    encoder.encode([long])
    encoder.max_seq_length = 10_000
    assert encoder.max_seq_length == 512
    with pytest.raises(ValueError, match="must be positive"):
        encoder.max_seq_length = 0


def test_lower_case_is_put_before_the_tokenizer(changed: Change) -> None:
    folder = changed(sentence_bert_config={"max_seq_length": 64, "do_lower_case": True})
    saved = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**saved, "do_lower_case": False}))
    encoder = minidistil.load(folder, backend="blas")
    assert encoder.tokenizer.tokenize("The City") == ["the", "city"]
    assert encoder.model.tokenizer.tokenize("The City") != ["the", "city"]


REFUSED = [
    (["a", None], {}, TypeError, "sentences[1] must be a str, got NoneType"),
    ([b"a"], {}, TypeError, "sentences[0] must be a str, got bytes"),
    (None, {}, TypeError, "sentences must be a str or an iterable of str, got NoneType"),
    ({"a": "b"}, {}, TypeError, "sentences must be a str or an iterable of str, got dict"),
    (["the", "\ud83d"], {}, UnicodeError, "half of a surrogate pair"),
    ("a", {"batch_size": 0}, ValueError, "batch_size must be positive, got 0"),
    ("a", {"precision": "int4"}, ValueError, "precision must be one of float32, float16, int8, uint8, binary, ubinary"),
    ("a", {"precision": "int8"}, ValueError, 'precision="int8" needs ranges'),
    ("a", {"precision": "uint8", "ranges": np.zeros((2, 5))}, ValueError, "ranges must be [2, 128]"),
    ("a", {"precision": "uint8", "ranges": np.ones((2, 8)), "truncate_dim": 9}, ValueError, "ranges must be [2, 9]"),
    ("a", {"precision": "binary", "output_value": None}, ValueError, "is for sentence embeddings"),
    ("a", {"truncate_dim": 0}, ValueError, "truncate_dim must be positive, got 0"),
    ("a", {"device": "cuda"}, ValueError, "computes on the CPU only, got device 'cuda'"),
    ("a", {"convert_to_tensor": True}, ValueError, "embeddings are NumPy arrays"),
    ("a", {"output_value": "logits"}, ValueError, "output_value must be"),
    ("a", {"truncation": "maybe"}, ValueError, 'truncation must be "error", "warn", True or False'),
    ("a", {"convert_to_numpy": False}, ValueError, "embeddings are NumPy arrays"),
]


@pytest.mark.parametrize(
    ("texts", "options", "kind", "message"), REFUSED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_refused(sentence_small: Path, texts: object, options: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        minidistil.load(sentence_small, backend="blas").encode(texts, **options)


TRANSFORMER, POOLING = (
    {"idx": 0, "path": "", "type": "a.Transformer"},
    {"idx": 1, "path": "1_Pooling", "type": "Pooling"},
)
REFUSED_FILES = [
    ({"modules": [TRANSFORMER, POOLING, {"idx": 2, "path": "2", "type": "a.b.LSTM"}]}, "does not have: LSTM; it has"),
    (
        {"modules": [TRANSFORMER, POOLING, {"idx": 2, "path": "2", "type": "WeightedLayerPooling"}]},
        "found Transformer, Pooling, WeightedLayerPooling",
    ),
    (
        {"modules": [TRANSFORMER, {"idx": 1, "path": "2", "type": "LayerNorm"}, {**POOLING, "idx": 2}]},
        "found Transformer, LayerNorm, Pooling",
    ),
    ({"modules": [TRANSFORMER]}, "found Transformer; a cross-encoder is loaded by CrossEncoder"),
    ({"modules": [TRANSFORMER, POOLING, POOLING]}, "found Transformer, Pooling, Pooling"),
    ({"modules": {"a": 1}}, "must be a list of objects with type and path"),
    ({"modules": "{"}, "modules.json: is not valid JSON"),
    ({"1_Pooling__config": {"pooling_mode": "median"}}, "unknown pooling modes ['median']; known are cls, max"),
    (
        {"config_sentence_transformers": {"similarity_fn_name": "angle"}},
        "similarity_fn_name = 'angle', expected one of",
    ),
    ({"config_sentence_transformers": {"default_prompt_name": "x"}}, "default_prompt_name is 'x', and the prompts are"),
]


@pytest.mark.parametrize(("files", "message"), REFUSED_FILES, ids=lambda v: v if isinstance(v, str) else "")
def test_refused_files(changed: Change, files: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        minidistil.load(changed(**files), backend="blas")


def test_the_transformer_may_lie_in_a_folder_of_its_own(sentence_small: Path, tmp_path: Path) -> None:
    shutil.copytree(sentence_small, tmp_path / "model" / "0_Transformer")
    modules = [{"idx": 0, "path": "0_Transformer", "type": "Transformer"}, {"idx": 1, "path": "1", "type": "Pooling"}]
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules))
    encoder = minidistil.load(tmp_path / "model", backend="blas")
    assert encoder.max_seq_length == 64
    assert np.linalg.norm(encoder.encode("wine")) > 2


def test_similarities(encoder: SentenceEncoder) -> None:
    a, b = RNG.standard_normal((3, 10)), RNG.standard_normal((4, 10))
    difference = a[:, None] - b[None]
    expected = {
        "dot": a @ b.T,
        "cosine": (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)),
        "euclidean": -np.sqrt((difference**2).sum(-1)),
        "manhattan": -np.abs(difference).sum(-1),
    }
    for name, want in expected.items():
        np.testing.assert_allclose(similarity(a, b, name), want, rtol=1e-5, atol=1e-6)
        assert similarity(a[0], b, name).shape == (1, 4)
    vectors = encoder.encode(SENTENCES)
    np.testing.assert_allclose(np.diag(encoder.similarity(vectors, vectors)), 1, atol=1e-5)
    with pytest.raises(ValueError, match="of the same width"):
        similarity(a, b[:, :5])
    with pytest.raises(ValueError, match="similarity must be one of cosine"):
        similarity(a, b, "angle")


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_a_pair_is_as_similar_in_any_company(sentence_small: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit: whatever else is compared, on any number of threads, by the engine and by `exact`."""
    monkeypatch.setattr(comparison, "_BLOCK", 13)
    model, exact = (SentenceEncoder.from_folder(sentence_small, threads=2, backend=b) for b in ("engine", "exact"))
    model.similarity_fn_name = exact.similarity_fn_name = name
    a, b = RNG.standard_normal((5, 128), np.float32), RNG.standard_normal((30, 128), np.float32)
    for compare in (model.similarity, lambda x, y: similarity(x, y, name)):
        whole = compare(a, b)
        assert_same_bits(compare(b, a), np.ascontiguousarray(whole.T))
        for n, m in ((1, 1), (1, 30), (5, 2), (2, 11), (3, 12)):
            assert_same_bits(compare(a[-n:], b[-m:]), np.ascontiguousarray(whole[-n:, -m:]))
    assert_same_bits(model.similarity(a, b), exact.similarity(a, b))
    pairs = model.similarity_pairwise(a, b[:5])
    for i in range(5):
        assert_same_bits(model.similarity_pairwise(a[i], b[i])[0], pairs[i])
    assert model.similarity(a[:0], b).shape == (0, 30)
    assert model.similarity(a, b[:0]).shape == (5, 0)


def test_many_sentences_show_progress_only_when_asked(
    encoder: SentenceEncoder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minidistil.sentences.encoder._WINDOW", 7)
    monkeypatch.setattr("minidistil.sentences.encoder._TOKENS", 40)
    texts = [" ".join(RNG.choice(_WORDS, RNG.integers(0, 30))) for _ in range(50)]
    in_parts = encoder.encode(texts)
    assert capsys.readouterr() == ("", "")
    np.testing.assert_allclose(encoder.encode(texts, show_progress_bar=True), in_parts, atol=1e-6)
    assert "50/50" in capsys.readouterr().err
    monkeypatch.undo()
    np.testing.assert_allclose(encoder.encode(texts), in_parts, atol=1e-6)


def test_many_threads_share_one_encoder(encoder: SentenceEncoder) -> None:
    texts = [[" ".join(RNG.choice(_WORDS, 1 + i)), "wine"] for i in range(16)]
    expected = [encoder.encode(some) for some in texts]
    with ThreadPoolExecutor(8) as workers:
        for got, want in zip(workers.map(encoder.encode, texts * 2), expected * 2, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-6)


def test_a_tokenizer_of_another_model_is_noticed(changed: Change) -> None:
    folder = changed()
    saved = json.loads((folder / "tokenizer.json").read_text())
    saved["model"]["vocab"]["wine"] = 5000
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=r"of sentences\[0\], token 1, is 5000, out of range: the vocabulary has 1200"):
        minidistil.load(folder, backend="blas").encode("wine")
