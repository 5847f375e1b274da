"""Modules after the encoder: no pooling and no precision depends on the company; every fault of a folder is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import minidistil
from minidistil import SentenceEncoder, SentenceTransformer
from minidistil.sentences import calibration_ranges, quantize_embeddings, similarity_pairwise
from minidistil.sentences.pooling import POOLING_MODES, pool, single_rows
from minidistil.sentences.quantization import PRECISIONS
from tests.bits import assert_same_bits
from tests.sentences.folders import (
    DROPOUT,
    HANDS_ON_ALL_LAYERS,
    MODELS,
    NORMALIZE,
    dense,
    layer_norm,
    pooling,
    weighted_layers,
    write_encoder,
    write_model,
)
from tests.synthetic_tokenizer import _WORDS

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder") / "encoder")


@pytest.mark.parametrize(
    ("name", "backend"), [*((name, "engine") for name in MODELS), ("all modes", "exact"), ("dense twice", "exact")]
)
def test_a_sentence_has_the_same_bits_in_any_company(bare: Path, tmp_path: Path, name: str, backend: str) -> None:
    folder = write_model(tmp_path / "model", bare, *MODELS[name], all_layers=name in HANDS_ON_ALL_LAYERS)
    encoder = SentenceTransformer(folder, backend=backend, threads=2)
    texts = [" ".join(RNG.choice(_WORDS, n)) for n in (RNG.permutation(9) if backend == "engine" else (4, 0, 2))]
    together = encoder.encode(texts)
    assert_same_bits(encoder.encode(texts, batch_size=2), together)
    assert_same_bits(encoder.encode(texts[::-1])[::-1].copy(), together)
    ranges = calibration_ranges(together[:2])
    packed = {p: encoder.encode(texts, precision=p, ranges=ranges) for p in PRECISIONS if p != "float32"}
    for i, text in enumerate(texts):
        alone = encoder.encode(text, output_value=None)
        assert_same_bits(alone["sentence_embedding"], together[i])
        for precision, rows in packed.items():
            assert encoder.encode(text, precision=precision, ranges=ranges).tolist() == rows[i].tolist()


@given(st.permutations(POOLING_MODES), st.integers(1, 6), st.lists(st.integers(1, 9), min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_poolings_side_by_side_are_each_one_alone(modes: list[str], count: int, lengths: list[int]) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    hidden = RNG.standard_normal((offsets[-1], 5), dtype=np.float32)
    chosen = modes[:count]
    together = pool(hidden, offsets, chosen)
    assert_same_bits(together, np.concatenate([pool(hidden, offsets, (mode,)) for mode in chosen], axis=1))
    rows = single_rows(offsets, chosen)
    assert (rows is None) == bool(set(chosen) - {"cls", "lasttoken"})
    if rows is not None:
        assert_same_bits(hidden[rows].reshape(len(lengths), -1), together)


def test_a_prompt_that_leaves_nothing(bare: Path, tmp_path: Path) -> None:
    kind, config, _ = pooling("cls", "lasttoken")
    encoder = SentenceTransformer(
        write_model(tmp_path / "model", bare, (kind, {**config, "include_prompt": False}, {})), threads=1
    )
    rows = encoder.encode("the wine", output_value="token_embeddings")
    np.testing.assert_allclose(encoder.encode("wine", prompt="the "), np.concatenate([rows[2], rows[3]]), atol=1e-6)
    encoder.max_seq_length = 4
    with pytest.raises(ValueError, match="the prompt takes all 4 tokens of a sentence"):
        encoder.encode("wine", prompt="the city of light ", truncation=True)


levels = st.floats(-2, 2, width=32)
widths = st.just(0.0) | st.floats(0.0625, 2, width=32)  # narrower ones lose their steps to float32's rounding of x


@given(st.lists(levels, min_size=1, max_size=20), st.sampled_from(["int8", "uint8"]), st.data())
def test_quantized_numbers_are_their_steps(values: list[float], precision: str, data: st.DataObject) -> None:
    """Off by less than a step within the ranges, clipped beyond them, never wrapped around."""
    x = np.array(values, np.float32)
    low, width = (data.draw(st.lists(kind, min_size=len(x), max_size=len(x))) for kind in (levels, widths))
    ranges = np.array([low, np.array(low) + width], np.float32)
    steps = quantize_embeddings(x, precision, ranges).astype(int) + (128 if precision == "int8" else 0)
    size = np.where(ranges[1] > ranges[0], (ranges[1].astype(float) - ranges[0]) / 255, 1)
    exact = np.clip((x.astype(float) - ranges[0]) / size, 0, 255)
    assert (np.abs(steps - exact) < 1.01).all()
    assert steps.min() >= 0


@given(st.lists(levels, min_size=1, max_size=20))
def test_a_bit_says_whether_a_number_is_positive(values: list[float]) -> None:
    x = np.array(values, np.float32)
    plain, signed = quantize_embeddings(x, "ubinary"), quantize_embeddings(x, "binary")
    assert len(plain) == -(-len(x) // 8)
    assert np.unpackbits(plain)[: len(x)].tolist() == [v > 0 for v in values]
    assert (signed.astype(int) + 128).tolist() == plain.tolist()
    assert (signed.dtype, plain.dtype) == (np.int8, np.uint8)


QUANTIZING: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "an unknown precision": (lambda: quantize_embeddings(np.ones(3), "int4"), ValueError, "precision must be one of"),
    "numbers that are no floats": (lambda: quantize_embeddings([1, 2], "int8"), TypeError, "must be floats, got int64"),
    "three axes": (lambda: quantize_embeddings(np.ones((1, 2, 3)), "binary"), ValueError, "must be [B, D] or [D]"),
    "no ranges": (lambda: quantize_embeddings(np.ones(3), "int8"), ValueError, "each call's own embeddings"),
    "NaN": (lambda: quantize_embeddings([np.nan], "binary"), ValueError, "hold NaN, which binary cannot say"),
    "ranges of another width": (
        lambda: quantize_embeddings(np.ones(3), "int8", np.ones((2, 4))), ValueError, "ranges must be [2, 3]",
    ),
    "ranges the wrong way": (
        lambda: quantize_embeddings(np.ones(1), "int8", [[1], [0]]), ValueError, "the least value of a dimension first",
    ),
    "infinite ranges": (
        lambda: quantize_embeddings(np.ones(1), "int8", [[0], [np.inf]]), ValueError, "ranges must be finite",
    ),
    "one embedding": (lambda: calibration_ranges(np.ones((1, 3))), ValueError, "two embeddings [n, D] or more"),
    "calibration on NaN": (lambda: calibration_ranges([[np.nan], [1]]), ValueError, "values that are not finite"),
    "pairs of other shapes": (
        lambda: similarity_pairwise(np.ones((2, 3)), np.ones((3, 3))), ValueError, "must both be [n, D]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", QUANTIZING)
def test_refused_numbers(case: str) -> None:
    call, kind, message = QUANTIZING[case]
    with pytest.raises(kind, match=re.escape(message)):
        call()


def _with(module: tuple, tensors: dict[str, np.ndarray] | None = None, **config: Any) -> tuple:
    kind, said, held = module
    return kind, {**said, **config}, held if tensors is None else tensors


NAN = {"norm.weight": np.full(128, np.nan, np.float32), "norm.bias": np.zeros(128, np.float32)}
FAULTS: dict[str, tuple[tuple[tuple, ...], list[str]]] = {
    "two modules at fault": (
        (pooling("mean"), dense(64, 40), _with(layer_norm(40), {})),
        ["2 faults", "2_Dense (Dense) takes rows of 64, and 128 arrive", "3_LayerNorm", "model.safetensors"],
    ),
    "a tensor of another shape": (
        (pooling("mean"), _with(dense(128, 40), out_features=41)),
        ["linear.weight is [40, 128], and its config.json says [41, 128]", "linear.bias is [40]"],
    ),
    "a missing tensor": (
        (pooling("mean"), _with(dense(128, 40), {"weight": np.ones((40, 128), np.float32)})),
        ["linear.weight is missing; there are weight", "linear.bias is missing"],
    ),
    "an unknown activation": (
        (pooling("mean"), dense(128, 40, "torch.nn.modules.activation.PReLU")),
        ["the activation function 'torch.nn.modules.activation.PReLU'; minidistil has Identity, Tanh"],
    ),
    "an activation of one's own": ((pooling("mean"), dense(128, 40, "my.Tanh")), ["'my.Tanh'"]),
    "NaN": ((pooling("mean"), _with(layer_norm(128), NAN)), ["norm.weight holds values that are not finite"]),
    "another number of layers": (
        (_with(weighted_layers(128, 2, 1), layer_start=2), pooling("mean")),
        ["layer_weights is [2], and its config.json says [1]"],
    ),
    "layers beyond the last": (
        (_with(weighted_layers(128, 2, 1), layer_start=3), pooling("mean")),
        ["layer_start = 3"],
    ),
    "a module that reads something else": (
        (pooling("mean"), dense(128, 40, module_output_name="dense_embedding")),
        ["Dense reads 'sentence_embedding' and writes 'dense_embedding'"],
    ),
    "tokens after the pooling": (
        (pooling("mean"), dense(128, 40, module_input_name="token_embeddings")),
        ["found Transformer, Pooling, Dense"],
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_of_a_folder(bare: Path, tmp_path: Path, case: str) -> None:
    modules, messages = FAULTS[case]
    folder = write_model(tmp_path / "model", bare, *modules)
    with pytest.raises(ValueError, match=re.escape(messages[0])) as caught:
        minidistil.load(folder, backend="blas")
    assert all(message in str(caught.value) for message in messages), caught.value


def test_weights_of_a_module_from_a_torch_file_and_in_half_precision(bare: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", bare, pooling("mean"), DROPOUT, dense(128, 40), NORMALIZE)
    whole = minidistil.load(folder, backend="blas").encode("wine")
    _, _, tensors = dense(128, 40)
    save_file({k: v.astype(np.float16) for k, v in tensors.items()}, folder / "3_Dense" / "model.safetensors")
    half = minidistil.load(folder, backend="blas").encode("wine")
    assert 0 < np.abs(half - whole).max() < 1e-3


def test_the_class_of_sentence_transformers(sentence_small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SentenceTransformer(
        sentence_small,
        device="cpu",
        prompts={"night": "night "},
        default_prompt_name="night",
        similarity_fn_name="dot",
        truncate_dim=7,
        threads=1,
    )
    assert isinstance(model, SentenceEncoder)
    plain = minidistil.load(sentence_small, threads=1).encode("night wine", truncate_dim=7)
    np.testing.assert_allclose(model.encode("wine"), plain, atol=1e-6)
    a, b = model.encode(["wine", "rain"]), model.encode(["bread", "snow"])
    np.testing.assert_allclose(model.similarity_pairwise(a, b), np.diag(model.similarity(a, b)), rtol=1e-5)
    model.similarity_fn_name = "manhattan"
    np.testing.assert_allclose(model.similarity_pairwise(a, b), -np.abs(a - b).sum(1), rtol=1e-5)
    for options, message in [
        ({"device": "cuda"}, "CPU only"),
        ({"default_prompt_name": "x"}, "no prompt is named 'x'"),
        ({"similarity_fn_name": "angle"}, "similarity must be one of cosine"),
    ]:
        with pytest.raises(ValueError, match=message):
            SentenceTransformer(sentence_small, backend="blas", **options)
    asked: list[Any] = []
    monkeypatch.setattr("minidistil.weights._hub.fetch", lambda name, *_, **__: asked.append(name) or sentence_small)
    for name in ("all-MiniLM-L6-v2", "org/name", str(sentence_small)):
        SentenceTransformer(name, backend="blas")
    assert asked == ["sentence-transformers/all-MiniLM-L6-v2", "org/name"]


def test_what_a_model_is_called_changes_with_any_of_its_files(bare: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", bare, *MODELS["dense"])
    seen = {minidistil.load(folder, backend="blas").digest()}
    for path in ("tokenizer.json", "sentence_bert_config.json", "2_Dense/model.safetensors", "1_Pooling/config.json"):
        content = (folder / path).read_bytes()
        changed = content[:-1] + bytes([content[-1] ^ 1]) if path.endswith("safetensors") else content + b"\n"
        (folder / path).write_bytes(changed)
        seen.add(minidistil.load(folder, backend="blas").digest())
    assert len(seen) == 5
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in seen)
    assert json.loads((folder / "modules.json").read_text())
