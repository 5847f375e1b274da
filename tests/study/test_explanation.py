"""An explanation: its sections in every family and head, what each says held against the model itself, its JSON."""

from __future__ import annotations

import base64
import dataclasses
import json

import numpy as np
import pytest

from minidistil.study import explain, parts, trace
from minidistil.study.explanation import LONGEST
from tests.bits import assert_same_bits
from tests.study.conftest import KINDS, MASKED_LM, TEXT, class_name

OTHERS = ["London is the capital of england.", "He was in paris: the capital!"]


@pytest.mark.parametrize("key", KINDS, ids=class_name)
def test_every_family_and_head_is_explained_or_says_why_not(load, key):
    model = load(key, threads=1)
    found = explain(model, TEXT, neighbours=OTHERS, word="capital")
    config, n = model.config, len(found.pieces)
    L, H = config.n_layers, config.n_heads
    left_out = {one.section for one in found.left_out}
    assert left_out <= {"interventions", "lens", "attribution"}
    assert [piece.token for piece in found.pieces] == model.tokenizer.tokenize(TEXT, add_special_tokens=True)
    assert "".join(piece.text for piece in found.pieces) == TEXT.replace(" ", "")
    output = model(**inputs(model, key), output_attentions=True)
    assert_same_bits(found.attention.probabilities, np.stack([layer[0] for layer in output.attentions]), "attention")
    assert found.attention.row_sums.shape == (L, H, n)
    assert np.allclose(found.attention.row_sums, 1, atol=1e-5)
    assert len(found.attention.patterns) == L * H
    assert found.interventions is not None
    assert found.interventions.heads.values.shape == (L, H, len(found.interventions.answer.labels))
    assert np.abs(found.interventions.heads.change).max() > 0
    assert (found.lens is None) == ("lens" in left_out) == class_name(key).endswith("MultipleChoice")
    assert found.neighbours.cosines.shape == (L + 1, 3, 3)
    assert found.attribution[0].tokens == found.interventions.replaced.tokens
    assert [matrix.name for matrix in found.numbers.matrices] == list(trace(model, TEXT))
    assert all(origin.agrees for matrix in found.numbers.matrices for origin in matrix.cells)
    assert json.loads(json.dumps(found.data(), allow_nan=False))["subject"]["class_name"] == class_name(key)
    shown = found.text()
    assert all(piece.token in shown for piece in found.pieces)
    assert "Attention is no explanation" in shown


def inputs(model, key):
    found = model.tokenizer(TEXT, return_tensors="np")
    if class_name(key).endswith("MultipleChoice"):
        found = {name: value[:, None] for name, value in found.items()}
    return found


def test_arrays_are_whole_in_json(load):
    found = explain(load(MASKED_LM[0], threads=1), TEXT)
    told = found.data()["attention"]["probabilities"]
    array = np.frombuffer(base64.b64decode(told["float32"]), "<f4").reshape(told["shape"])
    assert_same_bits(array, found.attention.probabilities, "probabilities")
    assert set(found.data()) == {field.name for field in dataclasses.fields(found)}
    assert parts.as_data(parts.Number.of(-0.0)) == {"value": -0.0, "bits": "0x80000000"}


def test_both_backends_and_any_threads_explain_alike(load):
    for key in (MASKED_LM[0], MASKED_LM[5], MASKED_LM[7], "DistilBert"):
        told = {
            json.dumps(explain(load(key, **options), TEXT, neighbours=OTHERS, word="capital").data())
            for options in ({"backend": "exact"}, {"backend": "engine", "threads": 1}, {"threads": 2})
        }
        assert len(told) == 1, class_name(key)


def test_a_longer_text_is_refused_with_the_limit(load):
    model = load(MASKED_LM[0], threads=1)
    fits = " ".join(["paris"] * (LONGEST - 2))
    assert len(explain(model, fits).pieces) == LONGEST
    with pytest.raises(ValueError, match=f"has {LONGEST + 1} tokens, and at most {LONGEST} are possible"):
        explain(model, fits + " paris")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert('&\"')</script> </iframe>",
        "\N{GRINNING FACE} \N{WINKING FACE}",
        "\u05e9\u05dc\u05d5\u05dd \u202eabc",
        "a\tb\x1b[31m",
        ".",
    ],
)
def test_texts_of_all_kinds_are_whole(load, text):
    found = explain(load(MASKED_LM[0], threads=1), text)
    for piece in found.pieces:
        assert piece.text == ("" if piece.special else text[piece.start : piece.end])
    shown = found.text()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert json.loads(json.dumps(found.data()))["texts"] == [text]


def test_a_text_without_tokens_of_its_own_says_what_is_missing(load):
    found = explain(load(MASKED_LM[0], threads=1), "")
    assert [piece.special for piece in found.pieces] == [True, True]
    assert found.interventions.replaced is None
    assert [one.method for one in found.attribution] == ["gradient x input"]
    assert {one.section for one in found.left_out} == {"interventions", "attribution", "neighbours"}


def test_a_pair_has_two_texts(load):
    found = explain(load("Bert", threads=1), "paris is big", "it is old")
    assert found.texts == ("paris is big", "it is old")
    assert [piece.text for piece in found.pieces if piece.sequence == 1] == ["it", "is", "old"]
    assert {piece.token_type for piece in found.pieces if piece.sequence == 1} == {1}


def test_the_models_name_has_no_path(load, folder_of):
    found = explain(load(MASKED_LM[0], threads=1), TEXT)
    assert found.subject.name == folder_of(MASKED_LM[0]).name
    assert str(folder_of(MASKED_LM[0]).parent) not in json.dumps(found.data())
