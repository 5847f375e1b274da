"""Every head of every family: values, layouts, bits, company, configurations, faults."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidistil
from minidistil import AutoModelForSequenceClassification, CheckpointError
from minidistil.models.base import Model, first_tokens
from minidistil.models.inputs import prepare
from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.precision import PRECISIONS, Precision
from tests.bits import assert_same_bits
from tests.heads import CHOICES, FAMILIES, HEADS, LABELS, OF_SENTENCES, TASKS, Head
from tests.synthetic import tensors, write_checkpoint

IDS = np.random.default_rng(5).integers(3, 1200, (3, 7))
MASK = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 1, 1]])
ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
}
each_head = pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Head, Path]:
    root = tmp_path_factory.mktemp("heads")
    return {head: head.write(root / head.name) for head in HEADS}


def call(model: Model[Any], ids: np.ndarray, mask: np.ndarray | None = None, **options: Any) -> Any:
    """The model on sentences [B, S]; a choice model on questions of one choice each."""
    if model.heads == ("multiple_choice",):
        ids, mask = ids[:, None], None if mask is None else mask[:, None]
    return model(ids, mask, **options)


def results(out: Any) -> dict[str, np.ndarray]:
    return {name: out[name] for name in out if name.endswith("logits")}


def test_every_family_has_every_head() -> None:
    for family in FAMILIES:
        for task in TASKS:
            assert issubclass(getattr(minidistil, f"{family}For{task}"), Model)
    for task in TASKS:
        assert f"AutoModelFor{task}" in minidistil.__all__


@each_head
def test_load_and_the_auto_class_find_it(head: Head, folders: dict[Head, Path]) -> None:
    chosen = minidistil.load(folders[head], backend="blas")
    assert type(chosen) is getattr(minidistil, head.name)
    if head.task in TASKS:
        auto = getattr(minidistil, f"AutoModelFor{head.task}").from_pretrained(folders[head], backend="blas")
        assert type(auto) is type(chosen)


@each_head
@pytest.mark.parametrize("precision", PRECISIONS)
def test_engine_and_exact_agree_in_every_bit(head: Head, precision: Precision, folders: dict[Head, Path]) -> None:
    engine = minidistil.load(folders[head], backend="engine", threads=2, precision=precision)
    exact = minidistil.load(folders[head], backend="exact", precision=precision)
    assert engine.precision == exact.precision == precision
    inputs = head.inputs(2 * CHOICES, 9)
    inputs["attention_mask"][..., 6:] = np.arange(2 * CHOICES * 3).reshape(*inputs["attention_mask"].shape[:-1], 3) % 4
    got, want = results(engine(**inputs)), results(exact(**inputs))
    assert got.keys() == want.keys()
    for name in want:
        assert_same_bits(got[name], want[name], name)


@each_head
@pytest.mark.parametrize("backend", ["engine", "blas"])
def test_values_and_layout(head: Head, backend: str, folders: dict[Head, Path]) -> None:
    """Against the formula in float64 over the same last hidden states."""
    model = minidistil.load(folders[head], backend=backend, threads=1)
    arrays = {name: x.astype(np.float64) for name, x in tensors(head.config(), seed=2).items()}
    out = call(model, IDS, MASK, output_hidden_states=True, output_attentions=True)
    assert type(out).__name__.endswith("Output")
    assert [h.shape for h in out.hidden_states] == [(3, 7, 128)] * 3
    assert [a.shape for a in out.attentions] == [(3, 4, 7, 7)] * 2
    want = _formula(head, arrays, out.hidden_states[-1].astype(np.float64))
    assert results(out).keys() == want.keys()
    for name, x in want.items():
        assert out[name].dtype == np.float32
        assert out[name].shape == x.shape
        assert np.abs(out[name] - x).max() < (2e-6 if backend == "engine" else 1e-5) * np.abs(x).max()
        assert np.abs(x).max() > 0.1
    plain = call(model, IDS, MASK)  # without hidden states the last layer computes only the rows that the head reads
    for name, x in results(plain).items():
        if backend == "engine":
            assert_same_bits(x, out[name])
        assert np.abs(x - out[name]).max() < 1e-5
    *values, states, maps = call(model, IDS, MASK, output_hidden_states=True, output_attentions=True, return_dict=False)
    assert len(values) == len(want)
    assert (len(states), len(maps)) == (3, 2)


def _formula(head: Head, w: dict[str, np.ndarray], hidden: np.ndarray) -> dict[str, np.ndarray]:
    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    on = MASK[..., None]
    x = hidden[np.arange(3), MASK.argmax(axis=1)] if head.task in OF_SENTENCES else hidden
    if head.products:
        x = ACTIVATIONS[head.products[2]](linear(x, head.products[0]))
    logits = linear(x, head.output)
    if head.task == "QuestionAnswering":
        start, end = np.moveaxis(logits * on, -1, 0)
        return {"start_logits": start, "end_logits": end}
    if head.task in OF_SENTENCES:
        return {"logits": logits}
    return {"logits": (logits * on)[..., 0] if head.task == "PreTraining" else logits * on}


@each_head
def test_the_rows_that_the_head_reads_are_all_that_is_asked_for(head: Head, folders: dict[Head, Path]) -> None:
    model = minidistil.load(folders[head], backend="blas")
    asked = []
    encode = model._backend.encode
    model._backend.encode = lambda batch, **options: asked.append(options.get("rows")) or encode(batch, **options)
    call(model, IDS, MASK)
    if head.task in OF_SENTENCES:
        assert asked[0].tolist() == [0, 7, 10]
    else:
        assert asked == [None]


@each_head
def test_company_changes_no_bit(head: Head, folders: dict[Head, Path]) -> None:
    model = minidistil.load(folders[head], backend="engine", threads=2)

    @given(st.lists(st.integers(1, 24), min_size=2, max_size=5), st.integers(0, 2**32), st.booleans())
    @settings(max_examples=8, deadline=None)
    def check(lengths: list[int], seed: int, left: bool) -> None:
        generator = np.random.default_rng(seed)
        S = max(lengths) + 2
        ids, mask = np.full((len(lengths), S), 1), np.zeros((len(lengths), S), int)
        for b, n in enumerate(lengths):
            place = slice(S - n, S) if left else slice(0, n)
            ids[b, place], mask[b, place] = generator.integers(3, 1200, n), 1
        options = {}
        if not model.config.positions_skip_padding:
            shape = (len(lengths), 1, S) if head.task == "MultipleChoice" else (len(lengths), S)
            options = {"position_ids": np.maximum(np.cumsum(mask, axis=1) - 1, 0).reshape(shape)}
        together = results(call(model, ids, mask, **options))
        for b in range(len(lengths)):
            on = mask[b].astype(bool)
            alone = results(call(model, ids[b : b + 1, on]))
            for name, x in alone.items():
                own = together[name][b]
                assert_same_bits(own if head.task in OF_SENTENCES else own[on], x[0], name)

    check()


@pytest.mark.parametrize("architecture", ["Model", "ForMaskedLM"])
@pytest.mark.parametrize("family", FAMILIES)
def test_company_changes_no_bit_of_encoders_poolers_and_vocabularies(
    tmp_path: Path, family: str, architecture: str
) -> None:
    config = {**FAMILIES[family], "architectures": [f"{family}{architecture}"], "vocab_size": 1200}
    model = minidistil.load(write_checkpoint(tmp_path, config), threads=2)
    together = model(IDS, MASK, output_hidden_states=True, position_ids=(places := np.arange(7) + 2))
    wanted = {"Model": "last_hidden_state", "ForMaskedLM": "logits"}[architecture]
    has_pooler = architecture == "Model" and family not in ("DistilBert", "Electra")
    assert set(together) == {wanted, "hidden_states", *(["pooler_output"] * has_pooler)}
    for b, on in enumerate(MASK.astype(bool)):
        alone = model(IDS[b : b + 1, on], output_hidden_states=True, position_ids=places[on])
        assert_same_bits(together[wanted][b, on], alone[wanted][0])
        for state, own in zip(together.hidden_states, alone.hidden_states, strict=True):
            assert_same_bits(state[b, on], own[0])
        if has_pooler:
            assert_same_bits(together.pooler_output[b], alone.pooler_output[0])


def test_sentences_of_one_token_and_strided_ids(folders: dict[Head, Path]) -> None:
    model = minidistil.load(folders[Head("DistilBert", "TokenClassification")], threads=2)
    ids = np.random.default_rng(9).integers(3, 1200, (40, 9)).astype(np.int32)
    assert_same_bits(model(ids[:, :1]).logits, model(ids[:, :1].tolist()).logits)
    assert_same_bits(model(ids[:1, ::2]).logits, model(ids[:1, ::2].tolist()).logits)
    for row in range(0, 40, 13):
        assert_same_bits(model(ids[:, :1]).logits[row], model(ids[row : row + 1, :1]).logits[0])


def test_packed_batches_give_the_same_bits(folders: dict[Head, Path]) -> None:
    for family in FAMILIES:
        model = minidistil.load(folders[Head(family, "SequenceClassification")], threads=1)
        batch = prepare(model.config, IDS, MASK).batch
        assert_same_bits(model.logits_packed(batch), model(IDS, MASK).logits)
        assert first_tokens(batch).tolist() == [0, 7, 10]
        model = minidistil.load(folders[Head(family, "TokenClassification")], threads=1)
        assert_same_bits(model.logits_packed(batch), model(IDS, MASK).logits[MASK.astype(bool)])
        model = minidistil.load(folders[Head(family, "QuestionAnswering")], threads=1)
        out = model(IDS, MASK)
        for packed, padded in zip(model.spans_packed(batch), (out.start_logits, out.end_logits), strict=True):
            assert_same_bits(packed, padded[MASK.astype(bool)])


def test_choices_are_sentences_of_their_own(folders: dict[Head, Path]) -> None:
    for family in FAMILIES:
        model = minidistil.load(folders[Head(family, "MultipleChoice")], threads=1)
        ids = np.random.default_rng(1).integers(3, 1200, (2, 3, 6))
        mask = np.ones_like(ids)
        mask[1, 2, 3:] = 0
        out = model(ids, mask, output_hidden_states=True)
        assert out.logits.shape == (2, 3)
        assert out.hidden_states[0].shape == (6, 6, 128)
        for b, c in np.ndindex(2, 3):
            assert_same_bits(
                out.logits[b, c], model(ids[b : b + 1, c : c + 1], mask[b : b + 1, c : c + 1]).logits[0, 0]
            )
        words = read_model(open_checkpoint(model.folder)).encoder.embeddings.word_embeddings
        assert_same_bits(model(inputs_embeds=words[ids], attention_mask=mask).logits, out.logits)
        first = model.config.pad_token_id + 1 if model.config.positions_skip_padding else 0
        assert_same_bits(model(ids, mask, position_ids=np.arange(first, first + 6)).logits, out.logits)


@each_head
def test_no_sentences_give_empty_outputs(head: Head, folders: dict[Head, Path]) -> None:
    model = minidistil.load(folders[head], threads=1)
    ids = np.zeros((0, CHOICES, 5) if head.task == "MultipleChoice" else (0, 5), int)
    shapes = {"SequenceClassification": (0, LABELS), "TokenClassification": (0, 5, LABELS), "MultipleChoice": (0, 2)}
    out = model(ids, output_hidden_states=True)
    assert all(x.shape == shapes.get(head.task, (0, 5)) for x in results(out).values())
    assert [h.shape for h in out.hidden_states] == [(0, 5, 128)] * 3


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input_ids": IDS}, r"input_ids must be 3-D \[questions, choices, tokens\], got shape \(3, 7\); for one"),
        ({"input_ids": IDS[None], "attention_mask": MASK}, "attention_mask must be 3-D"),
        ({"input_ids": IDS[None], "attention_mask": MASK[None, :2]}, r"attention_mask must have .* \[1, 3, 7\], got"),
        ({"inputs_embeds": np.zeros((3, 7, 128), "f4")}, r"must be 4-D \[questions, choices, tokens, width\]"),
        ({"input_ids": np.zeros((2, 0, 7), int)}, r"at least one choice, the input is \[2, 0, 7\]"),
        ({}, "exactly one of input_ids and inputs_embeds"),
        ({"input_ids": IDS[None], "attention_mask": np.zeros((1, 3, 7))}, "attends no token of sentence 0"),
    ],
)
def test_choices_of_another_shape(inputs: dict[str, Any], message: str, folders: dict[Head, Path]) -> None:
    model = minidistil.load(folders[HEADS[3]], backend="blas")
    with pytest.raises(ValueError, match=message):
        model(**inputs)


class TestConfigurations:
    @pytest.mark.parametrize("task", ["SequenceClassification", "TokenClassification"])
    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize(
        ("labels", "count"),
        [
            ({"id2label": None}, 2),
            ({"id2label": None, "num_labels": 5}, 5),
            ({"id2label": {"0": "only"}, "problem_type": "regression"}, 1),
            ({"id2label": {str(i): f"label {i}" for i in (2, 0, 1)}, "problem_type": "multi_label_classification"}, 3),
            ({"id2label": {str(i): str(i) for i in range(50)}}, 50),
        ],
    )
    def test_labels(self, tmp_path: Path, family: str, task: str, labels: dict[str, Any], count: int) -> None:
        head = Head(family, task)
        config = {k: v for k, v in head.config(**labels).items() if v is not None}
        model = minidistil.load(write_checkpoint(tmp_path, config), threads=1)
        assert model(IDS).logits.shape[-1] == model.config.num_labels == count
        assert model.config.problem_type == labels.get("problem_type")

    @each_head
    def test_a_head_that_is_not_there(self, head: Head, tmp_path: Path) -> None:
        bare = {**FAMILIES[head.family], "architectures": [f"{head.family}Model"]}
        folder = write_checkpoint(tmp_path, bare)
        with pytest.raises(CheckpointError) as error:
            getattr(minidistil, head.name).from_pretrained(folder)
        assert f"no {head.field} head; it was saved as {head.family}Model" in str(error.value)
        assert f"{head.output}.weight, {head.output}.bias" in str(error.value)

    def test_a_classifier_without_its_pooler(self, tmp_path: Path) -> None:
        from safetensors.numpy import save_file

        head = Head("Bert", "SequenceClassification")
        folder = head.write(tmp_path)
        save_file({n: x for n, x in tensors(head.config()).items() if "pooler" not in n}, folder / "model.safetensors")
        with pytest.raises(CheckpointError, match=r"missing tensors \(2\): bert.pooler.dense.weight, bert.pooler"):
            minidistil.load(folder)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"id2label": {"0": "a", "1": "b"}}, "labels in id2label = 2, but the tensors say 16: classifier.weight"),
            ({"id2label": None, "num_labels": 3}, "num_labels = 3, but the tensors say 16: classifier.weight is [16, "),
            ({"id2label": None, "num_labels": 0}, "num_labels = 0, expected a whole number of at least 1"),
            ({"id2label": {"0": "a", "2": "b"}}, "id2label must number its 2 labels from 0 to 1; it lacks 1"),
            ({"id2label": ["a"]}, "id2label is no table"),
        ],
    )
    def test_labels_that_contradict_the_tensors(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        head = Head("DistilBert", "SequenceClassification")
        folder = head.write(tmp_path)
        config = {k: v for k, v in head.config(**change).items() if v is not None}
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError) as error:
            minidistil.load(folder)
        assert message in str(error.value)

    @pytest.mark.parametrize("task", ["QuestionAnswering", "MultipleChoice"])
    def test_outputs_of_a_fixed_number(self, tmp_path: Path, task: str) -> None:
        from safetensors.numpy import save_file

        head = Head("DistilBert", task)
        folder = head.write(tmp_path)
        name = "qa_outputs.weight" if task == "QuestionAnswering" else "classifier.weight"
        arrays = {**tensors(head.config()), name: np.ones((3, 128), np.float32)}
        save_file(arrays, folder / "model.safetensors")
        with pytest.raises(CheckpointError, match=rf"{name} is \[3, 128\], expected \[[12], 128\] \(dim\)"):
            minidistil.load(folder)

    def test_of_heads_that_share_a_name_the_saved_one_is_read(self, folders: dict[Head, Path]) -> None:
        fields = {head.field for head in HEADS}
        for head in HEADS:
            weights = read_model(open_checkpoint(folders[head]))
            there = [field for field in fields if getattr(weights, field) is not None]
            assert there == [head.field]

    def test_a_head_that_was_trained_as_another_of_the_same_name(self, folders: dict[Head, Path]) -> None:
        folder = folders[Head("DistilBert", "SequenceClassification")]
        with pytest.warns(
            UserWarning, match="classifier is read as the token_classification head; by config.json's arch"
        ):
            model = minidistil.DistilBertForTokenClassification.from_pretrained(folder, backend="blas")
        assert model(IDS).logits.shape == (3, 7, LABELS)

    def test_weights_in_memory_without_the_head(self, folders: dict[Head, Path]) -> None:
        model = minidistil.load(folders[HEADS[0]], backend="blas")
        weights = read_model(open_checkpoint(folders[HEADS[0]]))
        with pytest.raises(ValueError, match="no question_answering head, which DistilBertForQuestionAnswering"):
            minidistil.DistilBertForQuestionAnswering(model.config, weights, backend="blas")

    def test_the_class_of_another_family(self, folders: dict[Head, Path]) -> None:
        with pytest.raises(ValueError, match="BertForSequenceClassification loads bert checkpoints"):
            minidistil.BertForSequenceClassification.from_pretrained(folders[HEADS[0]])

    def test_an_unsupported_family(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
        (tmp_path / "model.safetensors").write_bytes(b"")
        with pytest.raises(CheckpointError):
            AutoModelForSequenceClassification.from_pretrained(tmp_path)
