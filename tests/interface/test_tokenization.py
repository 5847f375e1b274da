"""The tokenizer: files, options, errors, and many threads."""

from __future__ import annotations

import json
import os
import pickle
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidistil
from minidistil.tokenization import AutoTokenizer, Tokenizer
from minidistil.tokenization.windows import truncated_lengths
from minidistil.weights import CheckpointError

TEXT = "Paris is the [MASK] of France."


@pytest.fixture(scope="module")
def tokenizer(distilbert_small: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(distilbert_small)


@pytest.fixture(scope="module")
def bert_tokenizer(bert_small: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(bert_small)


def test_one_text_gives_lists_and_arrays_have_a_batch(tokenizer: Tokenizer) -> None:
    one = tokenizer(TEXT)
    assert list(one) == ["input_ids", "attention_mask"]
    assert one.tokens() == ["[CLS]", "paris", "is", "the", "[MASK]", "of", "france", ".", "[SEP]"]
    assert one.input_ids == tokenizer.encode(TEXT) == tokenizer([TEXT])["input_ids"][0]
    array = tokenizer(TEXT, return_tensors="np")["input_ids"]
    assert array.shape == (1, 9)
    assert array.dtype == np.int64
    assert tokenizer([])["input_ids"] == []
    assert tokenizer(TEXT, add_special_tokens=False).input_ids == one.input_ids[1:-1]
    assert tokenizer.tokenize(TEXT) == one.tokens()[1:-1]


def test_bert_gets_token_types_and_distilbert_never(tokenizer: Tokenizer, bert_tokenizer: Tokenizer) -> None:
    pair = bert_tokenizer("the city", "of light")
    assert pair.token_type_ids == [0, 0, 0, 0, 1, 1, 1]
    assert pair.sequence_ids() == [None, 0, 0, None, 1, 1, None]
    assert "token_type_ids" not in tokenizer("the city", "of light")
    assert "token_type_ids" in tokenizer("the", return_token_type_ids=True)
    assert "attention_mask" not in tokenizer("the", return_attention_mask=False)


def test_the_names_of_transformers(bert_small: Path) -> None:
    for family in ("Albert", "Bert", "Camembert", "DistilBert", "Electra", "MobileBert", "Roberta", "XLMRoberta"):
        for name in (f"{family}Tokenizer", f"{family}TokenizerFast"):
            assert getattr(minidistil, name).from_pretrained(bert_small)("the city").input_ids[0] == 2
    assert minidistil.AutoConfig.from_pretrained(bert_small).hidden_size == 128


def test_padding(tokenizer: Tokenizer) -> None:
    padded = tokenizer(["the", TEXT], padding=True)
    assert [len(ids) for ids in padded.input_ids] == [9, 9]
    assert padded.attention_mask[0] == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert padded.input_ids[0][3:] == [tokenizer.pad_token_id] * 6
    assert len(tokenizer("the", padding="max_length").input_ids) == 512
    assert len(tokenizer("the", padding="max_length", max_length=10).input_ids) == 10
    assert len(tokenizer("the", padding=True, pad_to_multiple_of=16).input_ids) == 16
    assert tokenizer("the", padding="max_length", max_length=5, padding_side="left").attention_mask == [0, 0, 1, 1, 1]
    extra = tokenizer(["the", TEXT], padding=True, return_special_tokens_mask=True, return_offsets_mapping=True)
    assert extra.special_tokens_mask[0] == [1, 0, 1, 1, 1, 1, 1, 1, 1]
    assert extra.offset_mapping[0][:4] == [(0, 0), (0, 3), (0, 0), (0, 0)]


def test_truncation(tokenizer: Tokenizer) -> None:
    assert tokenizer(TEXT, truncation=True, max_length=4).tokens() == ["[CLS]", "paris", "is", "[SEP]"]
    assert tokenizer(TEXT, max_length=4).tokens() == ["[CLS]", "paris", "is", "[SEP]"]
    assert len(tokenizer("the " * 600, truncation=True).input_ids) == 512
    assert len(tokenizer("the " * 600).input_ids) == 602
    pair = tokenizer("the of and to", "a in", truncation="only_first", max_length=6)
    assert pair.tokens() == ["[CLS]", "the", "[SEP]", "a", "in", "[SEP]"]
    words = tokenizer(["the", "playing", "of"], is_split_into_words=True)
    assert words.word_ids()[:2] == [None, 0]
    assert words.word_ids()[-2] == 2


@pytest.mark.parametrize("lengths", [[5], [5, 9], [9, 5], [4, 4], [0, 9]])
def test_truncated_lengths_fit_and_never_grow(lengths: list[int]) -> None:
    for room in range(sum(lengths) + 2):
        cut = truncated_lengths(lengths, "longest_first", room)
        assert sum(cut) == min(room, sum(lengths))
        assert all(0 <= after <= before for after, before in zip(cut, lengths, strict=True))


@settings(deadline=None)
@given(
    words=st.lists(st.sampled_from(["the", "city", "paris", "unbelievable", "é", "☃", ","]), min_size=1, max_size=60),
    limit=st.integers(8, 30),
    stride=st.integers(0, 4),
    second=st.sampled_from([None, "of light"]),
    side=st.sampled_from(["right", "left"]),
)
def test_windows_cover_the_text(
    bert_tokenizer: Tokenizer, words: list[str], limit: int, stride: int, second: str | None, side: str
) -> None:
    text = " ".join(words)
    whole = bert_tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    bert_tokenizer.truncation_side = side
    try:
        item = text if second is None else (text, second)
        if stride >= limit - (2 if second is None else 5):
            return
        (windows,) = bert_tokenizer.encode_windows([item], limit, strategy="only_first", stride=stride)
    finally:
        bert_tokenizer.truncation_side = "right"
    covered: list[tuple[int, tuple[int, int]]] = []
    for window in windows if side == "right" else windows[::-1]:
        assert len(window) <= limit
        own = [i for i, sequence in enumerate(window.sequence_ids) if sequence == 0]
        tokens = [(window.ids[i], window.offsets[i]) for i in own]
        if covered:
            assert covered[len(covered) - stride :] == tokens[:stride]
            tokens = tokens[stride:]
        covered += tokens
        rest = [i for i, sequence in enumerate(window.sequence_ids) if sequence == 1]
        assert bert_tokenizer.decode([window.ids[i] for i in rest]) == (second or "")
        assert [window.type_ids[i] for i in own] == [0] * len(own)
        assert [window.type_ids[i] for i in rest] == [1] * len(rest)
    assert covered == list(zip(whole["input_ids"], whole["offset_mapping"], strict=True))


def test_overflowing_tokens_are_rows_of_their_own(tokenizer: Tokenizer) -> None:
    rows = tokenizer(["the city of light", "the"], max_length=5, stride=1, return_overflowing_tokens=True)
    assert rows["overflow_to_sample_mapping"] == [0, 0, 1]
    assert [rows.tokens(i)[1:-1] for i in range(3)] == [["the", "city", "of"], ["of", "light"], ["the"]]
    assert rows.token_to_chars(1, 2) == (12, 17)
    assert rows.char_to_token(1, 12) == 2
    assert rows.char_to_token(0, 12) is None
    assert rows.token_to_word(1) == rows.char_to_word(0) == 0
    assert rows.word_to_chars(1, 3) == (12, 17)
    bare = tokenizer("the city", "of light", add_special_tokens=False, max_length=2, return_overflowing_tokens=True)
    assert [bare.sequence_ids(i) for i in range(4)] == [[0, 1]] * 4
    pairs = [["the", "of"], ["city", "of"], ["city", "light"], ["the", "light"]]  # in the order of `tokenizers`
    assert [bare.tokens(i) for i in range(4)] == pairs
    one = tokenizer("the", return_overflowing_tokens=True, truncation=True)
    assert one["input_ids"] == [tokenizer.encode("the")]
    with pytest.raises(ValueError, match="stride=3 must be less than the 3 tokens"):
        tokenizer("the city of light", max_length=5, stride=3, return_overflowing_tokens=True)


REFUSED = [
    ({"text": None}, TypeError, "text must be a str, got NoneType"),
    ({"text": ["a", 3]}, TypeError, "text[1] must be a str, got int"),
    ({"text": ["a", "b"], "text_pair": "c"}, TypeError, "text_pair must be a list"),
    ({"text": ["a", "b"], "text_pair": ["c"]}, ValueError, "text has 2 texts and text_pair 1"),
    ({"text": "a", "text_pair": 5}, TypeError, "text_pair must be a str, got int"),
    ({"text": "a", "padding": "longer"}, ValueError, "padding must be False, True"),
    ({"text": "a", "truncation": "first"}, ValueError, "truncation must be False, True"),
    ({"text": "a", "return_tensors": "pt"}, ValueError, 'return_tensors must be None or "np"'),
    ({"text": ["the", "the of"], "return_tensors": "np"}, ValueError, "use padding=True"),
    ({"text": "a", "max_length": -1}, ValueError, "must not be negative"),
    ({"text": "a", "pad_to_multiple_of": 0}, ValueError, "must be positive"),
    ({"text": "the of and", "truncation": True, "max_length": 1}, ValueError, "no room for the special tokens"),
    ({"text": "the of", "truncation": "only_second", "max_length": 3}, ValueError, "needs pairs"),
    ({"text": "the", "text_pair": "of to a in", "truncation": "only_first", "max_length": 5}, ValueError, "has only 1"),
    (
        {"text": "a", "truncation": True, "padding": True, "max_length": 9, "pad_to_multiple_of": 8},
        ValueError,
        "contradict each other",
    ),
    ({"text": "the", "is_split_into_words": True}, TypeError, "must be a list of words, got str"),
    ({"text": [1, 2], "is_split_into_words": True}, TypeError, "must be a list of words (str)"),
    (
        {"text": "the \ud83d of"},
        UnicodeError,
        "half of a surrogate pair, U+D83D, as its character 4, in 'the \\ud83d of'",
    ),
    ({"text": ["a", "the"], "text_pair": ["b", "\udfff"]}, UnicodeError, "U+DFFF, as its character 0"),
    ({"text": ["the", "\ud83d"], "is_split_into_words": True}, UnicodeError, "U+D83D"),
]


@pytest.mark.parametrize(("options", "kind", "message"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_refused(tokenizer: Tokenizer, options: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        tokenizer(**options)


@pytest.mark.parametrize("ids", [[-1], [1.5], ["a"], [None]])
def test_ids_that_are_none(tokenizer: Tokenizer, ids: list) -> None:
    with pytest.raises(ValueError, match="ids are whole numbers from 0 on, below 2\\^32, got"):
        tokenizer.decode(ids)


def test_there_and_back(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("The city of light, wine!")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "the city of light, wine!"
    assert tokenizer.decode(np.array(ids)) == "[CLS] the city of light, wine! [SEP]"
    assert tokenizer.decode(ids[1]) == "the"
    assert tokenizer.batch_decode([ids, ids[:2]], skip_special_tokens=True) == ["the city of light, wine!", "the"]
    assert tokenizer.convert_ids_to_tokens(ids[1]) == "the"
    assert tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True)[:2] == ["the", "city"]
    assert tokenizer.convert_tokens_to_ids("the") == ids[1]
    assert tokenizer.convert_tokens_to_ids(["the", "no-such-token"]) == [ids[1], tokenizer.unk_token_id]
    with pytest.raises(ValueError, match="batch_decode"):
        tokenizer.decode([ids, ids])


def test_what_a_tokenizer_says_of_itself(tokenizer: Tokenizer) -> None:
    roles = [tokenizer.pad_token, tokenizer.unk_token, tokenizer.cls_token, tokenizer.sep_token, tokenizer.mask_token]
    assert roles == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    ids = [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id]
    assert [*ids, tokenizer.mask_token_id] == [0, 1, 2, 3, 4]
    assert tokenizer.bos_token is None
    assert tokenizer.bos_token_id is None
    assert sorted(tokenizer.all_special_ids) == [0, 1, 2, 3, 4]
    assert tokenizer.vocab_size == len(tokenizer) == len(tokenizer.get_vocab()) == 1200
    assert tokenizer.model_max_length == 512
    assert tokenizer.num_special_tokens_to_add() == 2
    assert tokenizer.num_special_tokens_to_add(pair=True) == 3
    assert "vocab_size=1200" in repr(tokenizer)
    assert pickle.loads(pickle.dumps(tokenizer)).encode(TEXT) == tokenizer.encode(TEXT)


def test_padding_and_truncation_saved_in_the_file_are_ignored(minilm: Path) -> None:
    saved = json.loads((minilm / "tokenizer.json").read_text())
    assert saved["truncation"]["max_length"] == 128
    assert saved["padding"]["strategy"] == {"Fixed": 128}
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    assert len(tokenizer("hello").input_ids) == 3
    assert len(tokenizer("hello " * 300).input_ids) == 302
    assert tokenizer.model_max_length == 512


AWKWARD = [
    "",
    " ",
    "Zoë's café — naïve",
    "e\u0301",
    "日本語 text",
    "שלום",
    "\x00\x07\ttab",
    "🙂 ok",
    "w" * 300,
    "[MASK]x[SEP]",
]


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("accents", [None, True, False])
def test_a_vocabulary_alone_gives_the_same_as_tokenizer_json(
    minilm: Path, tmp_path: Path, lower: bool, accents: bool | None
) -> None:
    options = json.loads((minilm / "tokenizer_config.json").read_text())
    options |= {"do_lower_case": lower, "strip_accents": accents}
    for name in ("full", "vocabulary"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer_config.json").write_text(json.dumps(options))
    whole = json.loads((minilm / "tokenizer.json").read_text())
    whole["normalizer"] |= {"lowercase": lower, "strip_accents": accents}
    (tmp_path / "full" / "tokenizer.json").write_text(json.dumps(whole))
    (tmp_path / "vocabulary" / "vocab.txt").write_bytes((minilm / "vocab.txt").read_bytes())
    full, bare = (AutoTokenizer.from_pretrained(tmp_path / name) for name in ("full", "vocabulary"))
    assert bare.special_tokens == full.special_tokens
    for text in AWKWARD:
        assert dict(bare(text, TEXT, return_offsets_mapping=True)) == dict(
            full(text, TEXT, return_offsets_mapping=True)
        )
        assert bare.decode(bare.encode(text)) == full.decode(full.encode(text))


def test_declared_tokens_are_added(tmp_path: Path, distilbert_small: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes((distilbert_small / "vocab.txt").read_bytes())
    added = {"1200": {"content": "[E1]", "special": True}, "1201": {"content": "newword", "normalized": True}}
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": added, "additional_special_tokens": ["[E1]", "[E2]"]})
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("the [E1] newword [E2]") == ["the", "[E1]", "newword", "[E2]"]
    assert tokenizer.convert_tokens_to_ids(["[E1]", "newword"]) == [1200, 1201]
    assert tokenizer.vocab_size == 1200
    assert len(tokenizer) == 1203
    assert tokenizer.model_max_length == int(1e30)


def test_errors_of_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither tokenizer\.json nor vocab\.txt"):
        AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("the\nof\n")
    with pytest.raises(ValueError, match=re.escape("lacks the special tokens ['[UNK]', '[CLS]', '[SEP]']")):
        AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {}}')
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: cannot be read as a tokenizer"):
        AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: is not valid JSON"):
        AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no such file or folder"):
        AutoTokenizer.from_pretrained(tmp_path / "nowhere")


def test_eight_threads_share_one_tokenizer_with_different_options(tokenizer: Tokenizer) -> None:
    before = tokenizer.backend_tokenizer.to_str()
    environment = dict(os.environ)
    rng = random.Random(3)
    calls = [
        (
            " ".join(rng.choices(TEXT.split(), k=rng.randint(1, 60))),
            {"truncation": True, "max_length": n, "padding": pad},
        )
        for n in range(4, 40)
        for pad in (False, "max_length")
    ]
    expected = [dict(tokenizer(text, **options)) for text, options in calls]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(lambda call: dict(tokenizer(call[0], **call[1])), calls)) == expected
    assert tokenizer.backend_tokenizer.to_str() == before
    assert dict(os.environ) == environment
