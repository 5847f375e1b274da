"""The zoo beside the transformers that is installed: what was recorded is what it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minidistil.tokenization import Tokenizer
from minidistil.tokenization.classes import CLASSES, IN_PYTHON, OF_MODELS
from minidistil.tokenization.files import read_tokenizer_files
from tests.zoo import checkpoints
from tests.zoo.folders import ROWS
from tests.zoo.row import answers, write
from tests.zoo.test_checkpoints import RECORDED as STATES
from tests.zoo.test_tokenizers import RECORDED, as_json

transformers = pytest.importorskip("transformers", reason="compares with transformers: install the extra `parity`")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", list(RECORDED))
def test_the_recording(name: str, tmp_path: Path) -> None:
    from tests.zoo.record import theirs

    if any(file.endswith(".model") for file in ROWS[name].files) and "tokenizer.json" not in ROWS[name].files:
        pytest.importorskip("sentencepiece", reason="transformers reads these files with it")
        pytest.importorskip("google.protobuf", reason="transformers reads these files with it")
    assert as_json(theirs(tmp_path, ROWS[name])) == RECORDED[name]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("bert-base-uncased", {"do_lower_case": False}),
        ("bert-base-cased", {"do_lower_case": True, "strip_accents": False}),
        ("vocab.txt", {"tokenize_chinese_chars": False, "mask_token": "[unused0]"}),
        ("roberta-base", {"add_prefix_space": True, "padding_side": "left"}),
        ("roberta, saved by 4.40", {"trim_offsets": False, "model_max_length": 20}),
        ("camembert-base", {"add_prefix_space": False}),
        ("vocab.txt and added_tokens.json", {"extra_special_tokens": ["<e1>", "newtok"]}),
        ("additional special tokens, map", {"pad_token": "[unused1]", "truncation_side": "left"}),
        ("PreTrainedTokenizerFast, padding", {"padding_side": "right", "mask_token": "[MASK]"}),
    ],
)
def test_settings_of_the_caller(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    folder = write(tmp_path, ROWS[name])
    ours = Tokenizer(read_tokenizer_files(folder, settings))
    theirs = transformers.AutoTokenizer.from_pretrained(folder, **settings)
    assert as_json(answers(ours)) == as_json(answers(theirs))


@pytest.mark.parametrize("name", list(STATES))
def test_the_recorded_checkpoints(name: str, tmp_path: Path) -> None:
    from tests.zoo.record import their_states

    assert their_states(tmp_path, checkpoints.ROWS[name]) == pytest.approx(STATES[name], abs=2e-5, rel=1e-4)


def test_the_recorded_pipelines(tmp_path: Path) -> None:
    from tests.zoo.record import their_pipelines
    from tests.zoo.test_models import RECORDED as pipelines

    pytest.importorskip("sentencepiece", reason="transformers reads some of these folders with it")

    def close(got: Any, want: Any) -> None:
        if isinstance(want, (list, dict)):
            assert len(got) == len(want)
            for key in want if isinstance(want, dict) else range(len(want)):
                close(got[key], want[key])
        else:
            assert got == (pytest.approx(want, abs=2e-6) if isinstance(want, float) else want)

    close(as_json(their_pipelines(tmp_path)), pipelines)


def test_the_tables_of_classes() -> None:
    """Each name is a class of transformers, or another name of one, of the kind that the table says."""
    backend = transformers.PreTrainedTokenizerFast
    for name, rules in CLASSES.items():
        theirs = getattr(transformers, name)
        assert issubclass(theirs, backend)
        assert theirs.vocab_files_names["vocab_file"] == rules.files[0]
        if rules.model != "Unigram":
            assert ("token_type_ids" in theirs.model_input_names) == rules.token_types
    assert not [name for name in IN_PYTHON if issubclass(getattr(transformers, name), backend)]
    for model_type in OF_MODELS:
        assert model_type in json.dumps(list(transformers.TOKENIZER_MAPPING._model_mapping))


def test_pieces_are_cut_as_sentencepiece_cuts_them(tmp_path: Path) -> None:
    library = pytest.importorskip("sentencepiece", reason="compares with sentencepiece")
    for name, texts in {
        "sentencepiece.bpe.model": ["Paris is the ﬁnal café", "Ａ new city, 12 don't"],
        "sentencepiece.bpe.model, camembert": ["the France of Paris", "new tok"],
    }.items():
        folder = write(tmp_path / name, ROWS[name])
        theirs = library.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
        ours = Tokenizer.from_pretrained(folder)
        for text in texts:
            assert ours.tokenize(text) == theirs.encode(text, out_type=str)
