"""Names that code written for transformers touches: each an expression, evaluated with its objects and with ours."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import minidistil
from minidistil.class_names import BEGINNINGS, ENDINGS, config_names
from tests import synthetic
from tests.synthetic_tokenizer import write_tokenizer

TEXTS = ["the city of light", "wine is greatest , people play music"]
IDS = [[1, 2], [4]]
PAIR = ("the city of light", "wine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tokenizer(tmp_path_factory.mktemp("names"), 1200, token_types=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    said = json.loads((folder / "tokenizer_config.json").read_text())
    said["additional_special_tokens"] = ["<a>", "<b>"]
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[Any, Any]:
    """transformers' tokenizer and ours."""
    transformers = pytest.importorskip("transformers", reason="compares with transformers: install the extra `parity`")
    return transformers.AutoTokenizer.from_pretrained(folder), minidistil.AutoTokenizer.from_pretrained(folder)


def _plain(value: Any) -> Any:
    """A result as lists and dictionaries of plain values; what else there is, by its text."""
    if isinstance(value, np.ndarray):
        return ["array", str(value.dtype), value.tolist()]
    if hasattr(value, "items"):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, str)) else repr(value)


OF_TOKENIZERS: dict[str, Callable[[Any], Any]] = {
    "special_tokens_map": lambda t: t.special_tokens_map,
    "all_special_tokens": lambda t: sorted(t.all_special_tokens),
    "all_special_ids": lambda t: sorted(t.all_special_ids),
    "extra_special_tokens": lambda t: t.extra_special_tokens,
    "get_added_vocab": lambda t: t.get_added_vocab(),
    "added_tokens_encoder": lambda t: t.added_tokens_encoder,
    "added_tokens_decoder": lambda t: sorted(t.added_tokens_decoder),
    "vocab": lambda t: t.vocab,
    "len": lambda t: [len(t), t.vocab_size, bool(t), t.is_fast],
    "pad_token_type_id": lambda t: t.pad_token_type_id,
    "max_len": lambda t: [t.max_len_single_sentence, t.max_len_sentences_pair],
    "special tokens mask": lambda t: t.get_special_tokens_mask(t(TEXTS[1]).input_ids, already_has_special_tokens=True),
    "skip_special_tokens": lambda t: t.decode(t("wine <a> [SEP]").input_ids, skip_special_tokens=True),
    "pad a batch": lambda t: t.pad(t(TEXTS)),
    "pad a list": lambda t: t.pad([t(text) for text in TEXTS], return_tensors="np"),
    "pad one": lambda t: t.pad(t(TEXTS[0]), padding="max_length", max_length=9),
    "pad one, longest": lambda t: t.pad(t(TEXTS[0])),
    "pad without masks": lambda t: t.pad({"input_ids": [[1, 2, 3], [4]]}, pad_to_multiple_of=4),
    "pad left": lambda t: t.pad({"input_ids": IDS, "special_tokens_mask": [[1, 0], [0]]}, padding_side="left"),
    "pad arrays": lambda t: t.pad([{"input_ids": np.arange(3 - i), "labels": np.int64(i)} for i in range(2)]),
    "pad fractions": lambda t: t.pad({"input_ids": IDS, "labels": [0.5, 1.5]}, return_tensors="np"),
    "pad, no mask wanted": lambda t: t.pad({"input_ids": IDS}, return_attention_mask=False),
    "pad nothing": lambda t: t.pad({"input_ids": IDS}, padding=False),
    "pad what else there is": lambda t: t.pad({"input_ids": IDS, "names": ["a", "b"]}),
}  # fmt: skip
OF_ENCODINGS: dict[str, Callable[[Any], Any]] = {
    "data": lambda e: dict(e.data),
    "to": lambda e: e.to("cpu") is e,
    "is_fast": lambda e: e.is_fast,
    "n_sequences": lambda e: e.n_sequences,
    "[1]": lambda e: e[1].tokens,
    "[-1]": lambda e: e[-1].ids,
    "[0:2]": lambda e: [one.ids for one in e[0:2]],
    "word_to_tokens": lambda e: [e.word_to_tokens(1, word) for word in range(5)],
    "word_to_tokens of row 0": lambda e: [e.word_to_tokens(1), e.word_to_tokens(2).start],
    "word_to_tokens of a second": lambda e: e.word_to_tokens(2, 0, 1),
    "token_to_sequence": lambda e: [e.token_to_sequence(2, i) for i in range(8)],
    "token_to_chars": lambda e: [e.token_to_chars(1, 3).start, e.token_to_chars(1, 3), e.token_to_chars(0)],
    "word_to_chars": lambda e: [e.word_to_chars(1, 2).end, e.word_to_chars(0)],
    "keys": lambda e: [list(e.keys()), "input_ids" in e, len(e)],
    "convert_to_tensors": lambda e: type(e)({"input_ids": [[1, 2]]}).convert_to_tensors("np"),
    "made by hand": lambda e: type(e)(data={"input_ids": [[1, 2]]}, tensor_type="np"),
    "padded": lambda e: type(e)({"input_ids": [[1]]}).is_fast,
}


@pytest.mark.parity
@pytest.mark.parametrize("name", OF_TOKENIZERS)
def test_of_tokenizers(name: str, both: tuple[Any, Any]) -> None:
    want, got = (_plain(OF_TOKENIZERS[name](tokenizer)) for tokenizer in both)
    assert got == want


@pytest.mark.parity
@pytest.mark.parametrize("name", OF_ENCODINGS)
def test_of_encodings(name: str, both: tuple[Any, Any]) -> None:
    texts: list[Any] = [(TEXTS[0], TEXTS[0]), (TEXTS[1], TEXTS[1]), PAIR]
    want, got = (_plain(OF_ENCODINGS[name](tokenizer(texts))) for tokenizer in both)
    assert got == want


def test_names_of_transformers_4(folder: Path) -> None:
    tokenizer = minidistil.BertTokenizer.from_pretrained(folder)
    assert tokenizer.batch_encode_plus([PAIR, PAIR], truncation=True, max_length=5) == tokenizer(
        [PAIR, PAIR], truncation=True, max_length=5
    )
    assert tokenizer.encode_plus(*PAIR, return_tensors="np").input_ids.shape == (1, 8)
    assert tokenizer.additional_special_tokens == ["<a>", "<b>"]
    with pytest.raises(TypeError, match="batch_encode_plus takes a list of texts or of pairs, got str"):
        tokenizer.batch_encode_plus("the city")


def test_what_is_refused(folder: Path) -> None:
    tokenizer = minidistil.AutoTokenizer.from_pretrained(folder)
    encoding = tokenizer(TEXTS)
    with pytest.raises(ValueError, match="CPU only, got device 'cuda'"):
        encoding.to("cuda")
    with pytest.raises(ValueError, match="words and offsets are in what the tokenizer returned"):
        tokenizer.pad(encoding).word_ids()
    with pytest.raises(ValueError, match=r"with input_ids, these have \['a'\]"):
        tokenizer.pad({"a": [1]})
    with pytest.raises(TypeError, match="pad takes what a tokenizer returned, or a list of it, got str"):
        tokenizer.pad("the city")
    with pytest.raises(ValueError, match="input_ids are of 2 texts, and token_type_ids of another number"):
        tokenizer.pad({"input_ids": [[1], [2]], "token_type_ids": [[0]]})
    with pytest.raises(ValueError, match="padding_side must be one of right, left, got 'up'"):
        tokenizer.pad(encoding, padding_side="up")
    with pytest.raises(ValueError, match=r"return_tensors must be None or .np., got 'pt'"):
        tokenizer.pad(encoding, return_tensors="pt")
    with pytest.raises(ValueError, match="names does not form an array of numbers"):
        tokenizer.pad({"input_ids": [[1], [2]], "names": ["a", "b"]}, return_tensors="np")
    with pytest.raises(ValueError, match="pass already_has_special_tokens=True"):
        tokenizer.get_special_tokens_mask([1, 2])
    with pytest.raises(AttributeError, match="this encoding has no 'labels'"):
        encoding.labels  # noqa: B018


SMALL = {
    values["model_type"]: {**values, "vocab_size": 300}
    for values in (
        synthetic.DISTILBERT_SMALL, synthetic.BERT_SMALL, synthetic.ROBERTA_SMALL, synthetic.ALBERT_SMALL,
        synthetic.ELECTRA_SMALL, synthetic.MOBILEBERT_SMALL,
    )
}  # fmt: skip
MODELS = [f"{BEGINNINGS[family]}{ending}" for family in SMALL for ending in ENDINGS]
MODELS += ["BertForMaskedLM untied", "MobileBertForMaskedLM untied"]


@pytest.mark.parity
@pytest.mark.parametrize("name", MODELS)
def test_of_models(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="compares with transformers: install the extra `parity`")
    kind, _, untied = name.partition(" ")
    beginning = next(start for start in sorted(BEGINNINGS.values(), key=len, reverse=True) if kind.startswith(start))
    family = next(model_type for model_type, start in BEGINNINGS.items() if start == beginning)
    config = {**SMALL[family], "architectures": [kind], "tie_word_embeddings": not untied}
    config["num_labels"] = 2 if "Question" in kind else 3
    synthetic.write_checkpoint(tmp_path, config)
    theirs = getattr(transformers, kind)(transformers.AutoConfig.from_pretrained(tmp_path))  # loading leaves threads
    ours = getattr(minidistil, kind).from_pretrained(tmp_path, backend="blas")
    unused = 300 if untied else 0  # a second bias, which nothing reads
    assert ours.num_parameters() == theirs.num_parameters() - unused == ours.num_parameters(only_trainable=True)
    assert ours.num_parameters(exclude_embeddings=True) == theirs.num_parameters(exclude_embeddings=True) - unused
    mine, words = ours.get_input_embeddings(), theirs.get_input_embeddings()
    assert (mine.num_embeddings, mine.embedding_dim) == (words.num_embeddings, words.embedding_dim)
    stored = load_file(tmp_path / "model.safetensors")
    assert any(np.array_equal(mine.weight, x) for key, x in stored.items() if key.endswith("word_embeddings.weight"))
    assert ours.name_or_path == theirs.name_or_path == str(tmp_path)
    assert [str(ours.device), str(ours.dtype)] == [str(theirs.device), str(theirs.dtype).removeprefix("torch.")]
    assert type(ours.config).__name__ == type(theirs.config).__name__
    written = theirs.config.to_dict()
    for key in ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "id2label", "num_labels"):
        assert getattr(ours.config, key) == getattr(theirs.config, key), key
        assert ours.config.get(key) == getattr(theirs.config, key)
        assert key not in ours.config.to_dict() or key not in written or ours.config.to_dict()[key] == written[key]


def test_an_embedding_is_only_read(tmp_path: Path) -> None:
    synthetic.write_checkpoint(tmp_path, SMALL["bert"])
    words = minidistil.AutoModel.from_pretrained(tmp_path, threads=1).get_input_embeddings()
    assert np.array_equal(words([[1, 2]]), words.weight[[1, 2]][None])
    with pytest.raises(ValueError, match="read-only"):
        words.weight[0] = 1
    for ids in ([-1], [300]):
        with pytest.raises(IndexError):
            words(ids)
    assert repr(words) == "Embedding(300, 128)"


def test_what_a_model_shows(tmp_path: Path) -> None:
    labels = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "bad", "1": "good"}}
    synthetic.write_checkpoint(tmp_path, {**SMALL["bert"], **labels})
    model = minidistil.load(tmp_path, backend="blas")
    lines = repr(model).splitlines()
    assert lines[0] == "BertForSequenceClassification("
    assert lines[1] == "  bert: 2 layers, 4 heads, 128 wide, feed-forward 400 (gelu)"
    assert lines[2] == "  300 words, 512 positions, 2 token types"
    assert lines[3] == "  head: sequence_classification (bad, good)"
    assert (
        lines[4] == f"  {model.num_parameters():,} parameters, float32 on the CPU (reference), from {str(tmp_path)!r}"
    )
    shown = repr(minidistil.AutoModel.from_pretrained(tmp_path, backend="blas").sentence_encoder)
    assert shown.splitlines()[0] == "SentenceEncoder("
    assert "Transformer(BertModel" in shown


@pytest.mark.parity
@pytest.mark.parametrize("name", config_names())
def test_of_configurations(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="compares with transformers: install the extra `parity`")
    kind = getattr(minidistil, name)
    small = {"vocab_size": 99, "num_labels": 4}
    for given in ({}, small):
        ours, theirs = kind(**given), getattr(transformers, name)(**given)
        for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"):
            assert getattr(ours, key) == getattr(theirs, key), key
        for key in ("type_vocab_size", "embedding_size", "num_labels", "pad_token_id", "model_type"):
            assert getattr(ours, key) == getattr(theirs, key, ours.get(key)), key
        feed_forward = getattr(theirs, "intermediate_size", None) or theirs.hidden_dim
        assert (ours.intermediate_size, ours.id2label) == (feed_forward, theirs.id2label)
    again = kind.from_dict(ours.to_dict())
    assert type(again) is kind
    assert again.to_dict() == ours.to_dict()
    assert pickle.loads(pickle.dumps(ours)) == ours == copy.deepcopy(ours)
    with pytest.raises(minidistil.CheckpointError, match="vocab_size = 'many'"):
        kind(vocab_size="many")


def test_a_configuration_of_another_family(tmp_path: Path) -> None:
    synthetic.write_checkpoint(tmp_path, {**SMALL["bert"], "own_key": 3})
    config = minidistil.AutoConfig.from_pretrained(tmp_path)
    assert (type(config), config.own_key, config.get("own_key"), config.get("other", 5)) == (
        minidistil.BertConfig,
        3,
        3,
        5,
    )
    assert config.name_or_path == str(tmp_path)
    with pytest.raises(AttributeError, match=r"has no 'other', and neither has its config\.json"):
        config.other  # noqa: B018
    with pytest.raises(minidistil.CheckpointError, match="model_type bert is not roberta: use AutoConfig"):
        minidistil.RobertaConfig.from_pretrained(tmp_path)
