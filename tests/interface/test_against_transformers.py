"""The interface beside transformers': the same calls, the same answers."""

from __future__ import annotations

import random
import shutil
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from tests.parity.conftest import torch_reference  # noqa: F401
from tests.synthetic import BERT_SMALL, DISTILBERT_SMALL, write_checkpoint

torch = pytest.importorskip("torch", reason="compares with PyTorch: install the extra `parity`")
transformers = pytest.importorskip("transformers", reason="compares with transformers: install the extra `parity`")

pytestmark = pytest.mark.parity

AWKWARD = [
    "",
    " ",
    "hello",
    "Paris is the [MASK] of France.",
    "a" * 300,
    "Été, café, naïve — Ångström",
    unicodedata.normalize("NFD", "Été, café, naïve — Ångström"),
    "你好, world! 日本語 한국어",
    "שלום עולם مرحبا بالعالم",
    "\x00\x01\t\r\nabc\u200b\u200d\ufeff\ufffd",
    "🙂🙃👨‍👩‍👧 family 🏳️‍🌈",
    "word " * 600,
    "[CLS] is [SEP] here [PAD][UNK]",
    "don't, won't. isn't! e.g. 3.14 $5 50% a_b c@d.e http://x.y/z?q=1",
    "ﬁ ﬂ ½ ① ｆｕｌｌ ＷＩＤＴＨ ß ẞ İ ı",
    "x" * 99 + " " + "y" * 100 + " " + "z" * 101,
]


@pytest.fixture(scope="module", autouse=True)
def _few_threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uncased_fill_mask(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    """A small DistilBertForMaskedLM with random weights and BERT-uncased's real vocabulary."""
    folder = tmp_path_factory.mktemp("fill-mask")
    write_checkpoint(folder, {**DISTILBERT_SMALL, "vocab_size": 30522}, seed=4)
    for name in ("tokenizer.json", "vocab.txt", "special_tokens_map.json", "tokenizer_config.json"):
        shutil.copy(minilm / name, folder)
    return folder


def test_tokenizer(minilm: Path) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(minilm)
    ours = minidistil.AutoTokenizer.from_pretrained(minilm)
    rng = random.Random(8)
    compared = 0
    for _ in range(300):
        first = rng.choice(AWKWARD) + rng.choice(["", " ", rng.choice(AWKWARD)])
        second = rng.choice([None, None, rng.choice(AWKWARD)])
        options: dict[str, Any] = {
            "truncation": rng.choice([None, True, False, "longest_first", "only_first", "only_second"]),
            "max_length": rng.choice([None, 3, 5, 8, 17, 64]),
            "padding": rng.choice([True, False, "max_length"]),
            "pad_to_multiple_of": rng.choice([None, None, 8]),
            "add_special_tokens": rng.choice([True, True, False]),
            "return_offsets_mapping": True,
            "return_special_tokens_mask": True,
        }
        try:
            got = dict(ours(first, second, **options))
        except ValueError:  # where minidistil refuses, transformers ignores the limit or refuses too
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = dict(theirs(first, second, **options))
        assert got == want, (first[:40], second and second[:40], options)
        compared += 1
    assert compared > 150


@pytest.mark.parametrize("side", ["right", "left"])
def test_windows_over_long_texts(minilm: Path, side: str) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(minilm, truncation_side=side)
    ours = minidistil.AutoTokenizer.from_pretrained(minilm)
    ours.truncation_side = side
    texts = [text for text in AWKWARD if len(text) < 1000]
    rng = random.Random(4)
    several = 0
    for _ in range(800):
        first, second = rng.choice(texts), rng.choice([None, *texts])
        options: dict[str, Any] = {
            "truncation": rng.choice([True, "only_first", "only_second"] if second else [True, "only_first"]),
            "max_length": rng.choice([24, 31, 40, 100]),
            "stride": rng.choice([0, 1, 5, 9]),
            "padding": rng.choice([True, False, "max_length"]),
            "add_special_tokens": rng.choice([True, True, False]),
            "return_overflowing_tokens": True,
            "return_offsets_mapping": True,
            "return_special_tokens_mask": True,
        }
        batch: tuple[Any, Any] = (first, second)
        if rng.random() < 0.3:
            batch = [first, "short"], None if second is None else [second, "too"]
        try:
            got = ours(*batch, **options)
        except ValueError:  # the part that stays is too long; transformers panics, or leaves the text too long
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = theirs(*batch, **options)
        assert dict(got) == dict(want), (batch, options)
        for row in range(len(want.encodings)):
            assert got.tokens(row) == want.tokens(row)
            assert got.word_ids(row) == want.word_ids(row)
            assert got.sequence_ids(row) == want.sequence_ids(row), (batch, options)
        for token in range(len(want["input_ids"][0])):
            assert got.token_to_chars(0, token) == want.token_to_chars(0, token)
            assert got.token_to_word(token) == want.token_to_word(token)
        several += len(want.encodings) > 2
    assert several > 50


def test_tokenizer_batches_and_back(minilm: Path) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(minilm)
    ours = minidistil.AutoTokenizer.from_pretrained(minilm)
    for options in ({"padding": True}, {"padding": True, "truncation": True, "max_length": 20}):
        got, want = ours(AWKWARD, return_tensors="np", **options), theirs(AWKWARD, return_tensors="np", **options)
        assert list(got) == list(want)
        for name in want:
            assert np.array_equal(got[name], want[name])
            assert got[name].dtype == want[name].dtype
    words = [text.split() for text in AWKWARD if text.split()]
    assert ours(words, is_split_into_words=True)["input_ids"] == theirs(words, is_split_into_words=True)["input_ids"]
    pairs = [("a b", "c"), ("d", "e f")]
    assert ours(pairs)["token_type_ids"] == theirs(pairs)["token_type_ids"]
    for text in AWKWARD:
        ids = theirs(text)["input_ids"]
        assert ours.tokenize(text) == theirs.tokenize(text)
        for skip in (True, False):
            assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)
            assert ours.convert_ids_to_tokens(ids, skip) == theirs.convert_ids_to_tokens(ids, skip)
    assert ours.get_vocab() == theirs.get_vocab()
    assert (len(ours), ours.vocab_size, ours.model_max_length) == (len(theirs), theirs.vocab_size, 512)


@pytest.mark.parametrize("backend", ["engine", "blas"])
def test_fill_mask(uncased_fill_mask: Path, backend: str) -> None:
    model = transformers.DistilBertForMaskedLM.from_pretrained(uncased_fill_mask).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(uncased_fill_mask)
    theirs = transformers.pipeline("fill-mask", model=model, tokenizer=_without_token_types(tokenizer))
    ours = minidistil.pipeline("fill-mask", model=uncased_fill_mask, backend=backend, threads=2)
    texts = [
        "Paris is the [MASK] of France.",
        "The [MASK] of [MASK] is [MASK]!",
        "[MASK]",
        "Don't [MASK], it isn't 3.14 of café 🙂",
        "A longer sentence about nothing in particular, " * 12 + "with one [MASK] at its end.",
    ]
    for options in ({}, {"top_k": 20}, {"targets": ["paris", "capital", "wine"]}, {"targets": "capital", "top_k": 3}):
        for text in texts:
            _assert_same_rows(ours(text, **options), theirs(text, **options))
        for got, want in zip(ours(texts, **options), theirs(texts, **options), strict=True):
            _assert_same_rows(got, want)
    with pytest.warns(UserWarning, match="is not in the vocabulary"):
        got = ours(texts[0], targets=["Paris", "minidistilled"])
    _assert_same_rows(got, theirs(texts[0], targets=["Paris", "minidistilled"]))


def test_fill_mask_in_the_pinned_configuration(torch_reference: Any, distilbert_small: Path) -> None:  # noqa: F811
    """The reference's logits, bit for bit; scores within what PyTorch's float32 softmax itself is off."""
    fill = minidistil.pipeline("fill-mask", model=distilbert_small, threads=2)
    for text in ("paris is the [MASK] of france.", "[MASK] and [MASK] " * 9, "the night is [MASK] " + "and cold " * 90):
        ids = np.array(fill.tokenizer(text)["input_ids"])
        _, logits = torch_reference.alone("distilbert-small", ids, None, None, 1)
        at_masks = logits[ids == fill.tokenizer.mask_token_id]
        answer = fill(text, top_k=20)
        for rows, row in zip(answer if len(at_masks) > 1 else [answer], at_masks, strict=True):
            scores = torch.softmax(torch.from_numpy(row), -1)
            assert [r["token"] for r in rows] == torch.topk(scores, 20).indices.tolist()
            for r in rows:
                assert r["score"] == pytest.approx(float(scores[r["token"]]), rel=1e-6)


def _without_token_types(tokenizer: Any) -> Any:
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def _assert_same_rows(got: Any, want: Any) -> None:
    assert len(got) == len(want)
    for mine, other in zip(got, want, strict=True):
        if isinstance(other, list):
            _assert_same_rows(mine, other)
            continue
        assert mine["score"] == pytest.approx(other["score"], rel=1e-5)
        assert {k: v for k, v in mine.items() if k != "score"} == {k: v for k, v in other.items() if k != "score"}


def _calls(token_types: bool) -> list[dict[str, Any]]:
    rng = np.random.default_rng(2)
    ids = rng.integers(0, 1200, (3, 11))
    right = (np.arange(11) < np.array([[11], [4], [7]])).astype(np.int64)
    calls: list[dict[str, Any]] = [
        {"input_ids": ids},
        {"input_ids": ids, "attention_mask": right},
        {"input_ids": ids, "attention_mask": right[:, ::-1].copy()},
        {"input_ids": ids, "attention_mask": right, "position_ids": np.tile(np.arange(11)[::-1], (3, 1)).copy()},
        {"input_ids": ids, "attention_mask": np.tril(np.ones((3, 1, 11, 11), bool))},
        {"input_ids": ids, "attention_mask": rng.standard_normal((3, 4, 11, 11)).astype(np.float32)},
        {"inputs_embeds": rng.standard_normal((3, 11, 128)).astype(np.float32) / 20, "attention_mask": right},
    ]
    if token_types:
        calls.append({"input_ids": ids, "attention_mask": right, "token_type_ids": rng.integers(0, 2, ids.shape)})
    return calls


@pytest.mark.parametrize("backend", ["engine", "blas"])
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("DistilBertModel", {**DISTILBERT_SMALL, "architectures": ["DistilBertModel"]}),
        ("DistilBertForMaskedLM", DISTILBERT_SMALL),
        ("BertModel", BERT_SMALL),
        ("BertForMaskedLM", {**BERT_SMALL, "architectures": ["BertForMaskedLM"]}),
    ],
)
def test_models(name: str, config: dict, backend: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, config, seed=6)
    theirs = getattr(transformers, name).from_pretrained(folder, attn_implementation="eager").eval()
    ours = getattr(minidistil, name).from_pretrained(folder, backend=backend, threads=2)
    for call in _calls(token_types=name.startswith("Bert")):
        tensors = {k: torch.from_numpy(v) for k, v in call.items()}
        if "attention_mask" in call and call["attention_mask"].dtype == bool:  # their eager attention adds any mask
            tensors["attention_mask"] = torch.where(tensors["attention_mask"], 0.0, torch.finfo(torch.float32).min)
        with torch.no_grad():
            want = theirs(**tensors, output_hidden_states=True, output_attentions=True)
        got = ours(**call, output_hidden_states=True, output_attentions=True)
        also = ours(**tensors)  # tensors are arrays too
        assert list(got) == [k for k in want if k != "cross_attentions"]
        mask = call.get("attention_mask")
        on = np.ones((3, 11), bool) if mask is None or mask.ndim == 4 else mask.astype(bool)
        _close(got[0][on], want[0].numpy()[on])
        _close(also[0][on], want[0].numpy()[on])
        for a, b in zip(got.hidden_states, want.hidden_states, strict=True):
            _close(a[on], b.numpy()[on])
        for a, b in zip(got.attentions, want.attentions, strict=True):
            rows = np.broadcast_to(on[:, None, :], a.shape[:3])
            _close(a[rows], b.numpy()[rows])
        if "pooler_output" in got:
            first = on[:, 0]  # transformers pools a padding token where there is padding on the left
            _close(got.pooler_output[first], want.pooler_output.numpy()[first])
        for a, b in zip(ours(**call, return_dict=False), theirs(**tensors, return_dict=False), strict=True):
            assert a.shape == tuple(b.shape)


def _close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=5e-5)


SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "",
    "🙂 naïve café",
    "A long text about the weather in the mountains. " * 60,
]


@pytest.mark.parametrize("backend", ["engine", "blas"])
def test_sentence_embeddings_of_minilm(minilm: Path, backend: str) -> None:
    """As sentence-transformers computes them: cut to 256 tokens, mean over the mask, normalized."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    model = transformers.AutoModel.from_pretrained(minilm).eval()
    inputs = tokenizer(SENTENCES, padding=True, truncation="longest_first", max_length=256, return_tensors="pt")
    assert inputs["input_ids"].shape[1] == 256
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1).expand_as(hidden).to(hidden.dtype)
    means = (hidden * mask).sum(dim=1) / torch.clamp(mask.sum(dim=1), min=1e-9)
    want = torch.nn.functional.normalize(means, p=2, dim=1).numpy()
    encoder = minidistil.load(minilm, backend=backend, threads=2)
    with pytest.warns(minidistil.TruncationWarning, match="1 of 6 texts are longer than 256 tokens"):
        got = encoder.encode(SENTENCES)
    np.testing.assert_allclose(got, want, atol=2e-6)
    scores = encoder.similarity(got[:1], got[1:3])[0]
    assert scores[0] > 0.7 > 0.1 > scores[1]
