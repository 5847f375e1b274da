"""The models: outputs, masks, loading, and that nothing depends on the batch."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidistil
from minidistil import (
    AutoModel,
    AutoModelForMaskedLM,
    BertModel,
    CheckpointError,
    DistilBertForMaskedLM,
    DistilBertModel,
)
from minidistil.kernels.code import native
from minidistil.models.inputs import prepare
from minidistil.models.outputs import BaseModelOutput, BaseModelOutputWithPooling, MaskedLMOutput
from minidistil.weights.precision import PRECISIONS, Precision
from tests.bits import assert_same_bits
from tests.interface.backends import INVARIANT, QUICK, assert_as_promised
from tests.synthetic import (
    ALBERT_SMALL,
    BERT_SMALL,
    DISTILBERT_SMALL,
    MOBILEBERT_SMALL,
    tensors,
    write_checkpoint,
    write_tensors,
)

RNG = np.random.default_rng(5)
IDS = RNG.integers(0, 1200, (3, 7))
MASK = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 1, 1]])


@pytest.fixture(scope="module", params=QUICK)
def masked_lm(request: pytest.FixtureRequest, distilbert_small: Path) -> DistilBertForMaskedLM:
    return DistilBertForMaskedLM.from_pretrained(distilbert_small, backend=request.param, threads=2)


@pytest.fixture(scope="module", params=QUICK)
def bert(request: pytest.FixtureRequest, bert_small: Path) -> BertModel:
    return BertModel.from_pretrained(bert_small, backend=request.param, threads=2)


def test_logits_and_everything_else_have_the_callers_layout(masked_lm: DistilBertForMaskedLM) -> None:
    out = masked_lm(IDS, MASK, output_hidden_states=True, output_attentions=True)
    assert type(out) is MaskedLMOutput
    assert out.logits.shape == (3, 7, 1200)
    assert [h.shape for h in out.hidden_states] == [(3, 7, 128)] * 3
    assert [a.shape for a in out.attentions] == [(3, 4, 7, 7)] * 2
    assert all(x.dtype == np.float32 for x in (out.logits, *out.hidden_states, *out.attentions))
    attended = MASK.astype(bool)
    for rows in (out.logits, *out.hidden_states):
        assert not rows[~attended].any()
        assert np.abs(rows[attended]).max(axis=-1).min() > 0.1
    for maps in out.attentions:
        assert not maps[np.broadcast_to(~attended[:, None, None, :], maps.shape)].any()
        np.testing.assert_allclose(maps.sum(-1), np.broadcast_to(attended[:, None, :], (3, 4, 7)), atol=1e-5)
    logits, states, maps = masked_lm(IDS, MASK, output_hidden_states=True, output_attentions=True, return_dict=False)
    assert_as_promised(masked_lm, logits, out.logits)
    assert len(states) == 3
    assert len(maps) == 2


def test_the_bare_model_is_the_head_models_encoder(distilbert_small: Path, masked_lm: DistilBertForMaskedLM) -> None:
    bare = DistilBertModel.from_pretrained(distilbert_small, backend="blas")
    out = bare(IDS, MASK)
    assert type(out) is BaseModelOutput
    states = masked_lm(IDS, MASK, output_hidden_states=True).hidden_states
    np.testing.assert_allclose(out.last_hidden_state, states[-1], atol=2e-5)


def test_embeddings_in_place_of_ids(masked_lm: DistilBertForMaskedLM) -> None:
    words = tensors(DISTILBERT_SMALL)["distilbert.embeddings.word_embeddings.weight"]
    embedded = masked_lm(inputs_embeds=words[IDS], attention_mask=MASK)
    assert_as_promised(masked_lm, embedded.logits, masked_lm(IDS, MASK).logits)


def test_position_ids_are_used(masked_lm: DistilBertForMaskedLM) -> None:
    usual = masked_lm(IDS).logits
    assert_as_promised(masked_lm, masked_lm(IDS, position_ids=np.arange(7)).logits, usual)
    assert not np.allclose(masked_lm(IDS, position_ids=np.arange(7)[::-1]).logits, usual, atol=1e-2)


def test_a_four_dimensional_padding_mask_says_the_same_as_a_flat_one(masked_lm: DistilBertForMaskedLM) -> None:
    flat = masked_lm(IDS, MASK).logits
    deep = masked_lm(IDS, MASK[:, None, None, :].astype(bool)).logits
    attended = MASK.astype(bool)
    np.testing.assert_allclose(deep[attended], flat[attended], atol=5e-5)
    assert np.abs(deep[~attended]).max() > 0.1  # with a 4-D mask every query is computed


def test_a_causal_mask_hides_the_future(masked_lm: DistilBertForMaskedLM) -> None:
    causal = np.tril(np.ones((7, 7), bool))[None, None]
    before = masked_lm(IDS, causal).logits
    changed = IDS.copy()
    changed[:, -1] = 7
    after = masked_lm(changed, causal).logits
    np.testing.assert_allclose(after[:, :-1], before[:, :-1], atol=1e-5)
    assert not np.allclose(after[:, -1], before[:, -1], atol=1e-2)


def test_token_types_change_bert(bert: BertModel) -> None:
    plain, zeros = bert(IDS), bert(IDS, token_type_ids=np.zeros_like(IDS))
    assert_as_promised(bert, zeros.last_hidden_state, plain.last_hidden_state)
    assert not np.allclose(bert(IDS, token_type_ids=np.ones_like(IDS)).last_hidden_state, plain[0], atol=1e-3)


def test_the_pooler_takes_the_first_attended_token(bert: BertModel) -> None:
    out = bert(IDS, MASK)
    assert type(out) is BaseModelOutputWithPooling
    weights = tensors(BERT_SMALL)
    first = out.last_hidden_state[[0, 1, 2], MASK.argmax(axis=1)].astype(np.float64)
    expected = np.tanh(first @ weights["pooler.dense.weight"].T.astype(np.float64) + weights["pooler.dense.bias"])
    np.testing.assert_allclose(out.pooler_output, expected, atol=1e-5)


def test_bert_without_a_pooler_has_no_pooled_output(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    folder = write_checkpoint(tmp_path, BERT_SMALL)
    save_file({n: t for n, t in tensors(BERT_SMALL).items() if "pooler" not in n}, folder / "model.safetensors")
    out = BertModel.from_pretrained(folder, backend="blas")(IDS)
    assert out.pooler_output is None
    assert list(out) == ["last_hidden_state"]


def test_no_sentences_give_empty_outputs(masked_lm: DistilBertForMaskedLM, bert: BertModel) -> None:
    out = masked_lm(np.zeros((0, 5), int), output_hidden_states=True, output_attentions=True)
    assert out.logits.shape == (0, 5, 1200)
    assert [h.shape for h in out.hidden_states] == [(0, 5, 128)] * 3
    assert [a.shape for a in out.attentions] == [(0, 4, 5, 5)] * 2
    assert bert([]).pooler_output.shape == (0, 128)


def test_only_the_rows_asked_for_have_the_same_bits(masked_lm: DistilBertForMaskedLM) -> None:
    batch = prepare(masked_lm.config, IDS, MASK).batch
    rows = np.array([0, 6, 8, 12], np.int64)
    whole, some = masked_lm.encode_packed(batch), masked_lm.encode_packed(batch, rows)
    np.testing.assert_allclose(some, whole[rows], atol=1e-5)
    if type(masked_lm._backend).__name__ == "Engine":
        assert_same_bits(some, whole[rows])


@pytest.mark.parametrize("backend", INVARIANT)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_sentence_alone_and_in_any_batch_has_the_same_bits(
    backend: str, precision: Precision, distilbert_small: Path
) -> None:
    how: Any = {"backend": backend, "threads": 2, "precision": precision}
    model = DistilBertForMaskedLM.from_pretrained(distilbert_small, **how)

    @given(st.lists(st.integers(1, 24), min_size=2, max_size=5), st.integers(0, 2**32), st.booleans())
    @settings(max_examples=15 if backend == "engine" else 3, deadline=None)
    def check(lengths: list[int], seed: int, left: bool) -> None:
        rng = np.random.default_rng(seed)
        S = max(lengths) + int(rng.integers(0, 4))
        ids, mask = np.zeros((len(lengths), S), int), np.zeros((len(lengths), S), int)
        for b, n in enumerate(lengths):
            place = slice(S - n, S) if left else slice(0, n)
            ids[b, place], mask[b, place] = rng.integers(0, 1200, n), 1
        positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
        together = model(ids, mask, position_ids=positions, output_attentions=True)
        for b in range(len(lengths)):
            on = mask[b].astype(bool)
            alone = model(ids[b : b + 1, on], output_attentions=True)
            assert_same_bits(together.logits[b, on], alone.logits[0])
            for maps, own in zip(together.attentions, alone.attentions, strict=True):
                assert_same_bits(maps[b][:, on][:, :, on], own[0])

    check()


def test_the_pooled_output_does_not_depend_on_the_batch(bert_small: Path) -> None:
    model = BertModel.from_pretrained(bert_small, backend="engine", threads=2)
    together = model(IDS, MASK).pooler_output
    for b in range(3):
        assert_same_bits(together[b], model(IDS[b : b + 1], MASK[b : b + 1]).pooler_output[0])


def test_many_threads_share_one_model(masked_lm: DistilBertForMaskedLM) -> None:
    batches = [RNG.integers(0, 1200, (1 + i % 3, 4 + i)) for i in range(16)]
    expected = [masked_lm(ids).logits for ids in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for got, want in zip(pool.map(lambda ids: masked_lm(ids).logits, batches), expected, strict=True):
                np.testing.assert_allclose(got, want, atol=1e-5)
                assert got.shape == want.shape


def test_load_chooses_the_class(distilbert_small: Path, bert_small: Path, sentence_small: Path, tmp_path: Path) -> None:
    assert type(minidistil.load(distilbert_small, backend="blas")) is DistilBertForMaskedLM
    assert type(minidistil.load(str(bert_small), backend="blas")) is BertModel
    assert type(minidistil.load(sentence_small, backend="blas")) is minidistil.SentenceEncoder
    assert type(AutoModel.from_pretrained(distilbert_small, backend="blas")) is DistilBertModel
    assert type(AutoModelForMaskedLM.from_pretrained(distilbert_small, backend="blas")) is DistilBertForMaskedLM
    unknown = tmp_path / "unknown"
    shutil.copytree(bert_small, unknown)
    config = json.loads((unknown / "config.json").read_text())
    (unknown / "config.json").write_text(json.dumps({**config, "architectures": ["BertForSomethingElse"]}))
    assert type(minidistil.load(unknown, backend="blas")) is BertModel


def test_load_takes_the_head_of_another_family_s_class(tmp_path: Path) -> None:
    """What a class is called by the program that saved it does not make the family another."""
    config = {**BERT_SMALL, "architectures": ["BertForMaskedLM"]}
    folder = write_checkpoint(tmp_path, config)
    named = {"RobertaForMaskedLM": "BertForMaskedLM", "ElectraForPreTraining": "BertForMaskedLM"}
    for name, expected in {**named, "XLMRobertaModel": "BertModel"}.items():
        (folder / "config.json").write_text(json.dumps({**config, "architectures": [name]}))
        assert type(minidistil.load(folder, backend="exact")).__name__ == expected


def test_bert_for_masked_lm(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {**BERT_SMALL, "architectures": ["BertForMaskedLM"]})
    model = minidistil.load(folder, backend="blas")
    assert type(model) is minidistil.BertForMaskedLM
    assert model(IDS).logits.shape == (3, 7, 1200)


@pytest.mark.parametrize(
    ("family", "values", "second"),
    [
        ("Bert", BERT_SMALL, "cls.seq_relationship"),
        ("Albert", ALBERT_SMALL, "sop_classifier.classifier"),
        ("MobileBert", MOBILEBERT_SMALL, "cls.seq_relationship"),  # google/mobilebert-uncased is one
    ],
)
def test_a_checkpoint_of_pretraining(tmp_path: Path, family: str, values: dict, second: str) -> None:
    """It has a pooler and a second head, on pairs of sentences, beside the masked-LM one; that one is loaded."""
    alone = {**values, "architectures": [f"{family}ForMaskedLM"]}
    base = {k: v for k, v in tensors({**values, "architectures": [f"{family}Model"]}).items() if "pooler" in k}
    both = tensors(alone) | {f"{family.lower()}.{k}": v for k, v in base.items()}
    both |= {f"{second}.weight": np.ones((2, 128), np.float32), f"{second}.bias": np.ones(2, np.float32)}
    folder = write_tensors(tmp_path / "both", {**values, "architectures": [f"{family}ForPreTraining"]}, both)
    want = minidistil.load(write_checkpoint(tmp_path / "alone", alone), threads=1)(IDS).logits
    for model in (minidistil.load(folder, threads=1), AutoModelForMaskedLM.from_pretrained(folder, threads=1)):
        assert type(model) is getattr(minidistil, f"{family}ForMaskedLM")
        assert_same_bits(model(IDS).logits, want)
    assert AutoModel.from_pretrained(folder, backend="blas")(IDS).pooler_output.shape == (3, 128)


def test_errors_of_loading(distilbert_small: Path, bert_small: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"DistilBertModel loads distilbert checkpoints; .* is bert: use AutoModel"):
        DistilBertModel.from_pretrained(bert_small)
    with pytest.raises(ValueError, match=r"backend must be one of \['engine', 'exact', 'blas'\], got 'cuda'"):
        AutoModel.from_pretrained(bert_small, backend="cuda")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        AutoModel.from_pretrained(bert_small, threads=0)
    with pytest.raises(CheckpointError, match="no such file or folder"):
        minidistil.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="vocab_transform"):
        AutoModelForMaskedLM.from_pretrained(_bare(tmp_path), backend="blas")
    model = AutoModel.from_pretrained(bert_small, backend="blas")
    assert model.eval() is model
    assert model.to("cpu") is model
    with pytest.raises(ValueError, match="CPU only, got device 'cuda:0'"):
        model.to("cuda:0")


def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {**DISTILBERT_SMALL, "activation": "gelo"})
    with pytest.raises(CheckpointError, match="activation = gelo is unknown; known are gelu, "):
        minidistil.load(folder)


def test_unsupported_families_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    write_checkpoint(tmp_path / "x", BERT_SMALL)
    shutil.copy(tmp_path / "x" / "model.safetensors", tmp_path)
    for load in (minidistil.load, AutoModel.from_pretrained, AutoModelForMaskedLM.from_pretrained):
        with pytest.raises(CheckpointError, match="model_type gpt2 is not supported; supported are albert, bert, "):
            load(tmp_path)


def test_without_numba_blas_takes_over_and_says_so(bert_small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = AutoModel.from_pretrained(bert_small, backend="blas")(IDS).last_hidden_state
    for name in [
        m
        for m in sys.modules
        if m.startswith("minidistil.kernels") and m not in (native.__name__, native.kept.__name__)
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(native.kept, "read", lambda name, key: None)  # as where nothing was ever compiled
    monkeypatch.setattr(native, "_entries", {})
    with pytest.warns(RuntimeWarning, match=r"engine cannot run here \(.*numba.*\); using NumPy instead") as caught:
        model = AutoModel.from_pretrained(bert_small)
    assert caught[0].filename == __file__
    assert_as_promised(model, model(IDS).last_hidden_state, expected)


def test_without_fma_blas_takes_over_and_says_so(bert_small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minidistil.backends import engine

    def refuse(*args: object, **options: object) -> None:
        raise engine.EngineUnavailable("no fused multiply-add")

    monkeypatch.setattr(engine, "Engine", refuse)
    with pytest.warns(RuntimeWarning, match="engine cannot run here \\(no fused multiply-add\\)"):
        AutoModel.from_pretrained(bert_small)


def _bare(folder: Path) -> Path:
    return write_checkpoint(folder / "bare", {**DISTILBERT_SMALL, "architectures": ["DistilBertModel"]})
