"""Interventions, lens, patterns and neighbours, each held against another way to the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.study.answers import Following
from minidistil.study.interventions import heads_off, interventions, occlusion
from minidistil.study.lens import lens
from minidistil.study.neighbours import MOST, neighbours
from minidistil.study.patterns import NAMES, THRESHOLD, attention, shares
from minidistil.study.sums import cosine, principal, sigmoid, softmax
from minidistil.study.tracing import trace
from tests.bits import assert_same_bits
from tests.heads import HEADS
from tests.study.conftest import MASKED_LM, TEXT, class_name

NAMED = {head.name: head for head in HEADS}
SOME = [MASKED_LM[0], MASKED_LM[5], MASKED_LM[7], NAMED["BertForSequenceClassification"]]


@pytest.mark.parametrize("key", SOME, ids=class_name)
def test_a_head_is_off_on_the_engine_as_on_the_reference(load, key):
    """Also where layers share their weights, and MobileBERT's heads are narrower than its layers."""
    found = {backend: heads_off(Following(trace(load(key, backend=backend), TEXT))) for backend in ("engine", "exact")}
    assert_same_bits(found["engine"].values, found["exact"].values, "values")
    config = load(key).config
    model = load(key, backend="exact")
    d = config.attention_size // config.n_heads

    def off(context):
        context[:, d : 2 * d] = 0
        return context

    for layer in range(config.n_layers):
        changed = trace(model, TEXT, patch={f"layer.{layer}.attention.context": off})
        own = Following(trace(model, TEXT)).values(changed[changed.last])
        assert_same_bits(found["engine"].values[layer, 1], own, f"layer {layer}")


def test_tokens_are_replaced_and_removed_as_by_hand(load):
    model = load(NAMED["DistilBertForSequenceClassification"], threads=1)
    found, left_out = interventions(Following(trace(model, "paris is the capital")))
    assert left_out == []
    labels = [model.config.label2id[label] for label in found.answer.labels]

    def answered(text):
        logits = model(**model.tokenizer(text, return_tensors="np")).logits
        return softmax(logits)[0, labels]

    assert_same_bits(found.answer.values, answered("paris is the capital"), "answer")
    texts = ["[MASK] is the capital", "paris [MASK] the capital", "paris is [MASK] capital", "paris is the [MASK]"]
    assert_same_bits(found.replaced.values, np.stack([answered(text) for text in texts]), "replaced")
    texts = ["is the capital", "paris the capital", "paris is capital", "paris is the"]
    assert_same_bits(found.removed.values, np.stack([answered(text) for text in texts]), "removed")
    assert_same_bits(found.removed.change, found.removed.values[:, 0] - found.answer.values[0], "change")
    assert_same_bits(occlusion(found).values, found.answer.values[0] - found.replaced.values[:, 0], "occlusion")


def test_the_masked_word_is_followed_to_where_it_stands_after_a_removal(load):
    model = load(MASKED_LM[0], threads=1)
    found, left_out = interventions(Following(trace(model, TEXT)))
    place, tokens = TEXT.split().index("[MASK].") + 1, list(found.removed.tokens)
    assert found.answer.focus == place
    assert place not in tokens
    assert "token 6" in left_out[0].reason
    ids = model.tokenizer.convert_tokens_to_ids(list(found.answer.labels))
    shorter = model(**model.tokenizer("is the capital of [MASK].", return_tensors="np")).logits[0, place - 1]
    assert_same_bits(found.removed.values[0], softmax(shorter[None])[0, ids], "first word removed")


def test_the_last_layer_says_what_the_model_says(load):
    model = load(MASKED_LM[0], threads=1)
    found = lens(trace(model, TEXT))
    logits = model(**model.tokenizer(TEXT, return_tensors="np")).logits[0]
    order = np.argsort(-logits, axis=1, kind="stable")[:, :3]
    assert found.words[-1] == tuple(tuple(model.tokenizer.convert_ids_to_tokens(row.tolist())) for row in order)
    assert np.allclose(found.probabilities[-1], np.take_along_axis(softmax(logits), order, 1), atol=0)
    states = model(**model.tokenizer(TEXT, return_tensors="np"), output_hidden_states=True).hidden_states
    first = model.masked_lm(states[0][0])
    assert [words[0] for words in found.words[0]] == model.tokenizer.convert_ids_to_tokens(first.argmax(1).tolist())


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_classes_are_those_of_the_model(load, name):
    model = load(NAMED[name], threads=1)
    found = lens(trace(model, TEXT))
    logits = model(**model.tokenizer(TEXT, return_tensors="np")).logits.reshape(-1, model.config.num_labels)
    assert [words[0] for words in found.words[-1]] == [model.config.id2label[i] for i in logits.argmax(1).tolist()]
    assert_same_bits(found.probabilities[-1][:, 0], softmax(logits).max(axis=1), "probabilities")


def test_spans_and_replaced_tokens_are_those_of_the_model(load):
    model = load(NAMED["DistilBertForQuestionAnswering"], threads=1)
    output = model(**model.tokenizer(TEXT, return_tensors="np"))
    found = lens(trace(model, TEXT))
    assert_same_bits(found.probabilities[-1][:, 0], softmax(output.start_logits)[0], "start")
    assert_same_bits(found.probabilities[-1][:, 1], softmax(output.end_logits)[0], "end")
    model = load(NAMED["ElectraForPreTraining"], threads=1)
    logits = model(**model.tokenizer(TEXT, return_tensors="np")).logits[0]
    assert_same_bits(lens(trace(model, TEXT)).probabilities[-1][:, 0], sigmoid(logits), "replaced")


def test_an_embedding_comes_nearer_to_what_it_will_be(load):
    found = lens(trace(load("DistilBert", threads=1), TEXT))
    cosines = found.probabilities[:, 0, 0]
    assert cosines[-1] == pytest.approx(1, abs=1e-6)
    assert cosines[0] < 0.999


def test_patterns_are_measured():
    n = 6
    special = np.array([True, False, False, False, False, True])
    eye = np.eye(n, dtype=np.float32)
    previous, following = np.roll(eye, -1, axis=1), np.roll(eye, 1, axis=1)
    separator = np.zeros((n, n), np.float32)
    separator[:, -1] = 1
    made = {
        "previous": previous, "next": following, "itself": eye, "special": separator,
        "broad": np.full((n, n), 1 / n, np.float32),
    }  # fmt: skip
    for name, p in made.items():
        measured = dict(zip(NAMES, shares(p, special), strict=True))
        assert measured[name] == pytest.approx(1, abs=1e-5), name
        assert max(measured, key=measured.get) == name
    assert shares(eye[:1, :1], special[:1])[0] == 0


def test_heads_are_named_at_the_threshold(load):
    found = attention(trace(load(MASKED_LM[0], threads=1), TEXT))
    for pattern in found.patterns:
        best = max(pattern.shares)
        assert (pattern.name == "") == (best < THRESHOLD)
        assert not pattern.name or pattern.shares[NAMES.index(pattern.name)] == best == pattern.share


def test_principal_components_are_lapacks():
    generator = np.random.default_rng(3)
    for count in (2, 3, 7, 24):
        points = generator.standard_normal((count, 50)).astype(np.float32)
        coordinates, shares_ = principal(points)
        centred = points.astype(np.float64) - points.astype(np.float64).mean(axis=0)
        _, s, _ = np.linalg.svd(centred, full_matrices=False)
        kept = min(2, count - 1)
        assert shares_[:kept] == pytest.approx((s**2 / (s**2).sum())[:kept], rel=1e-9)
        assert np.linalg.norm(coordinates, axis=0)[:kept] == pytest.approx(s[:kept], rel=1e-9)
        gram = coordinates.T @ coordinates
        assert abs(gram[0, 1]) < 1e-9 * gram[0, 0]
        projected = centred.T @ coordinates[:, 0] / s[0]
        assert np.linalg.norm(projected) == pytest.approx(s[0], rel=1e-9)
        assert coordinates[np.abs(coordinates[:, 0]).argmax(), 0] > 0
    coordinates, shares_ = principal(np.ones((3, 4), np.float32))
    assert not coordinates.any()
    assert not shares_.any()


def test_cosines_and_probabilities_are_what_they_are_called():
    generator = np.random.default_rng(4)
    x, y = generator.standard_normal((2, 5, 40)).astype(np.float32)
    want = (x * y).sum(1, dtype=np.float64) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert cosine(x, y) == pytest.approx(want, abs=1e-6)
    assert cosine(x, np.zeros_like(x)).tolist() == [0] * 5
    assert softmax(x).sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert softmax(x) == pytest.approx(np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), rel=1e-5)


def test_a_word_is_followed_through_sentences(load):
    model = load("Bert", threads=1)
    sentences = ["Capital is big", "paris is the capital", "the capital of france"]
    found = neighbours(model, sentences)
    assert found.word == "capital"
    words = [text[a:b] for text, (a, b) in zip(sentences, found.places, strict=True)]
    assert words == ["Capital", "capital", "capital"]
    places = [1, 4, 2]
    for layer in range(model.config.n_layers + 1):
        rows = []
        for text, place in zip(sentences, places, strict=True):
            states = model(**model.tokenizer(text, return_tensors="np"), output_hidden_states=True).hidden_states
            rows.append(states[layer][0, place])
        assert_same_bits(found.cosines[layer, 0], cosine(rows[0][None], np.stack(rows)).astype(np.float32), "cosines")
    assert (np.diagonal(found.cosines, axis1=1, axis2=2) > 0.9999).all()
    assert (found.explained.sum(axis=1) > 0.999).all()  # three points lie in a plane


def test_neighbours_are_checked(load):
    model = load("Bert", threads=1)
    with pytest.raises(ValueError, match="no word in common"):
        neighbours(model, ["paris", "london"])
    with pytest.raises(ValueError, match="'paris' is not in sentence 1: 'london'"):
        neighbours(model, ["paris", "london"], "Paris")
    for sentences in (["paris"], ["paris"] * (MOST + 1), "paris"):
        with pytest.raises(ValueError, match=f"in 2 to {MOST} sentences"):
            neighbours(model, sentences)
