"""Products in int8 whose file keeps some columns in float32: what is written is read; and every fault of them."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.backends.reference import exact
from minidistil.weights import Linear, open_checkpoint, read_model
from minidistil.weights.conversion import in_precision
from minidistil.weights.named import modules
from minidistil.weights.narrow import Int8Linear, rounded, widened
from minidistil.weights.precision import precision_of
from tests.bits import assert_same_bits
from tests.weights import files, quantized
from tests.weights.quantized import bits
from tests.weights.test_faults import all_of, put, remove, spoil
from tests.weights.test_quantized_faults import (
    KEPT,
    LAYER,
    LIN1,
    SCALE,
    SMOOTH,
    WORDS,
    Change,
    K,
    Q,
    Tensors,
    V,
    check,
    floats,
    ignore,
    smooth,
)
from tests.weights.test_quantized_files import HEADS, SMALL, WRITTEN, source


@pytest.mark.parametrize("name", WRITTEN)
def test_columns_in_float32(tmp_path: Path, name: str) -> None:
    """Of every family, in several products, of queries, keys and values the same; and of an own projection."""
    made = quantized.keeping(quantized.in_int8(source(tmp_path, WRITTEN[name])))
    folder = quantized.write(tmp_path, WRITTEN[name], made)
    opened = open_checkpoint(folder)
    found = read_model(opened)
    assert bits(found) == bits(made)
    linears = [part for _, part in modules(found) if isinstance(part, Int8Linear) and part.kept is not None]
    assert {len(w.columns) for w in linears} == {1, 2, 3}
    tied = WRITTEN[name].get("tie_word_embeddings", True)
    projector = found.masked_lm and found.masked_lm.vocab_projector
    if isinstance(projector, Int8Linear):
        assert (projector.kept is None) == tied
    stored = [stored for stored in opened.names if stored.endswith(".weight_kept")]
    assert len({id(w) for w in linears}) == len(stored)
    for kept in stored:
        smooth = opened.read(kept.replace("weight_kept", "input_smooth"))
        rows = opened.stored(kept.replace("weight_kept", "weight"))[1][0]
        assert opened.stored(kept) == ("F32", (rows, np.count_nonzero(smooth == 0)))


def kept(folder: Path, config: dict[str, Any] = SMALL) -> Path:
    return quantized.write(folder, config, quantized.keeping(quantized.in_int8(source(folder, config))))


def test_nothing_is_copied(tmp_path: Path) -> None:
    found = quantized.arrays(read_model(open_checkpoint(kept(tmp_path))))
    assert sum(name.endswith("weight_kept") for name in found) == 2 * 6 + 1
    assert all(quantized.is_mapped(x) for x in found.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_another_precision(tmp_path: Path, precision: str) -> None:
    """What a kept column is multiplied by is its own numbers, whatever its whole numbers are."""
    opened = open_checkpoint(kept(tmp_path))
    whole, found = read_model(opened), read_model(opened, precision=precision)
    assert precision_of(found) == precision
    for layer, made in zip(whole.encoder.layers, found.encoder.layers, strict=True):
        for name, columns in (("k_lin", [0, 7]), ("lin1", [7]), ("lin2", [0, 6, 11])):
            w, x = getattr(layer, name), getattr(made, name).weight
            expected = w.codes * w.scale[:, None] * w.smooth
            expected[:, columns] = w.kept
            assert np.abs(w.kept).min() > 0
            assert_same_bits(x, expected if precision == "float32" else widened(rounded(expected)))
    assert bits(found) == bits(in_precision(whole, precision))


def test_columns_in_other_types(tmp_path: Path) -> None:
    config, tensors = quantized.stored(kept(tmp_path))
    names = [name for name in tensors if name.endswith("weight_kept")]
    for i, name in enumerate(names):
        x = tensors[name]
        tensors[name] = (x.astype(np.float16), files.bfloat16(x), x, x.astype(np.float64))[i % 4]
    assert {files.code_of(tensors[name]) for name in names} == {"F16", "BF16", "F32", "F64"}
    found = read_model(open_checkpoint(files.write_model(tmp_path / "other", config, tensors)))
    stored = tensors[KEPT]
    expected = files.widened(stored) if stored.dtype == np.uint16 else stored.astype(np.float32)
    assert_same_bits(found.encoder.layers[0].lin1.kept, expected)


def test_a_head_becomes_float32(tmp_path: Path) -> None:
    config, tensors = quantized.stored(kept(tmp_path, HEADS["SequenceClassification"]))
    w = quantized.linear(Linear(tensors["pre_classifier.weight"], tensors["pre_classifier.bias"]))
    assert isinstance(w, Int8Linear)
    tensors |= {"pre_classifier.weight": w.codes, "pre_classifier.weight_scale": w.scale[:, None]}
    keep("pre_classifier", 2, 5)(config, tensors)
    config["quantization_config"]["ignore"].remove("pre_classifier")
    found = read_model(open_checkpoint(files.write_model(tmp_path / "other", config, tensors)))
    expected = w.weight.copy()
    expected[:, [2, 5]] = 1
    assert_same_bits(found.sequence_classification.dense.weight, expected)


def test_all_columns(tmp_path: Path) -> None:
    """Of which nothing is left in whole numbers: what comes out is the product in float32, up to its rounding."""
    made = quantized.in_int8(source(tmp_path))
    layer = made.encoder.layers[0]
    weight = layer.lin1.weight
    lin1 = replace(layer.lin1, smooth=np.zeros(8, np.float32), kept=weight)
    layers = (replace(layer, lin1=lin1), made.encoder.layers[1])
    folder = quantized.write(tmp_path, SMALL, replace(made, encoder=replace(made.encoder, layers=layers)))
    found = read_model(open_checkpoint(folder)).encoder.layers[0].lin1
    x = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    np.testing.assert_allclose(exact.linear(x, found), x @ weight.T + lin1.bias, rtol=1e-5, atol=1e-6)


def test_copies(tmp_path: Path) -> None:
    """Saved, pickled and copied as it is; of as many parameters as in float32."""
    folder = kept(tmp_path)
    model, plain = (minidistil.load(at, backend="exact") for at in (folder, tmp_path / "source"))
    model.save_pretrained(tmp_path / "copy")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert_same_bits(other([[1, 2, 3]])[0], model([[1, 2, 3]])[0])
    assert model.num_parameters() == plain.num_parameters()


def test_a_pytorch_file(tmp_path: Path) -> None:
    """A copy of it is safetensors, with the columns in it."""
    folder = kept(tmp_path)
    torch = files.write_model(tmp_path / "torch", *quantized.stored(folder), torch=True)
    minidistil.load(torch, backend="blas").save_pretrained(tmp_path / "copy")
    whole = bits(read_model(open_checkpoint(folder)))
    assert bits(read_model(open_checkpoint(torch))) == bits(read_model(open_checkpoint(tmp_path / "copy"))) == whole


def test_what_cannot_be_written(tmp_path: Path) -> None:
    made = quantized.keeping(quantized.in_int8(source(tmp_path)))
    one, two = made.encoder.layers
    ones = np.ones(8, np.float32)
    changes: Any = {
        "q_lin": replace(one.q_lin, smooth=ones, kept=None),
        "lin1": replace(one.lin1, kept=None),
        "lin2": replace(one.lin2, kept=one.lin2.kept[:, :2]),
        "out_lin": replace(one.out_lin, smooth=-one.out_lin.smooth, kept=one.out_lin.kept.astype(np.float64)),
    }
    others: Any = {
        "out_lin": replace(two.out_lin, smooth=None),
        "lin1": replace(two.lin1, smooth=ones, kept=two.lin1.kept[:, :0]),
        "lin2": replace(two.lin2, kept=two.lin2.kept * np.float32(np.nan)),
    }
    layers = (replace(one, **changes), replace(two, **others))
    with pytest.raises(ValueError, match="weights that cannot be written: ") as error:
        quantized.write(tmp_path, SMALL, replace(made, encoder=replace(made.encoder, layers=layers)))
    assert not (tmp_path / "int8").exists()
    there = "weight_kept must be there where {0}.input_smooth has zeros, and nowhere else"
    assert str(error.value).partition(": ")[2].split("; ") == [
        "layers.0.out_lin.input_smooth has values that are not above zero",
        "layers.0.out_lin.weight_kept is float64 [8, 2], expected float32 [8, 2]",
        f"layers.0.lin1.{there.format('layers.0.lin1')}",
        "layers.0.lin2.weight_kept is float32 [8, 2], expected float32 [8, 3]",
        f"layers.1.out_lin.{there.format('layers.1.out_lin')}",
        "layers.1.out_lin.weight_kept is float32 [8, 2], expected float32 [8, 0]",
        f"layers.1.lin1.{there.format('layers.1.lin1')}",
        "layers.1.lin2.weight_kept has 24 of 24 values that are not finite as F32",
        "layers.0: q_lin, k_lin, v_lin are one product: all of them int8 with equal smooth, or none",
    ]


def keep(name: str, *columns: int) -> Change:
    """Columns in float32."""

    def change(config: dict, arrays: Tensors) -> None:
        rows, width = arrays[f"{name}.weight"].shape
        arrays[f"{name}.input_smooth"] = np.where(np.isin(np.arange(width), columns), 0, 1).astype(np.float32)
        arrays[f"{name}.weight_kept"] = np.ones((rows, len(columns)), np.float32)

    return change


def copy_of(name: str, other: str) -> Change:
    return lambda config, arrays: arrays.update({other: arrays[name]})


FAULTS: dict[str, tuple[Change, list[str]]] = {
    "smooth negative": (
        all_of(smooth(LIN1, first=-1.0), put(KEPT, np.ones((12, 1), "f4"))),
        [f"{SMOOTH} has of 8 values 1 negative; expected numbers above zero"],
    ),
    "kept, and smooth faulty": (
        all_of(keep(LIN1, 0, 3), spoil(SMOOTH, np.nan), spoil(KEPT, np.inf)),
        [f"{SMOOTH} has of 8 values 1 NaN; expected", f"{KEPT} has of 24 values 1 NaN or infinite"],
    ),
    "kept, and nothing smoothed": (
        put(KEPT, np.ones((12, 1), "f4")),
        [f"{KEPT} has the weights of columns where input_smooth is zero, which it is nowhere: write zeros"],
    ),
    "kept, and no zeros": (
        all_of(smooth(LIN1), put(KEPT, np.ones((12, 1), "f4"))),
        [f"{KEPT} has the weights of columns where input_smooth is zero, which it is nowhere: write zeros"],
    ),
    "kept, and of no columns": (
        all_of(smooth(LIN1), put(KEPT, np.ones((12, 0), "f4"))),
        [f"{KEPT} has the weights of columns where input_smooth is zero, which it is nowhere: write zeros"],
    ),
    "kept too many": (
        all_of(keep(LIN1, 0, 3), put(KEPT, np.ones((12, 8), "f4"))),
        [f"{KEPT} is [12, 8], expected [12, 2]"],
    ),
    "kept too few": (
        all_of(keep(LIN1, 0, 3), put(KEPT, np.ones((12, 1), "f4"))),
        [f"{KEPT} is [12, 1], expected [12, 2]"],
    ),
    "kept of columns": (
        all_of(keep(LIN1, 0, 3), put(KEPT, np.ones((2, 12), "f4"))),
        [f"{KEPT} is [2, 12], expected [12, 2]"],
    ),
    "kept flat": (
        all_of(keep(LIN1, 0), put(KEPT, np.ones(12, "f4"))),
        [f"{KEPT} is [12], expected [12, 1]"],
    ),
    "kept whole": (
        all_of(keep(LIN1, 0), put(KEPT, np.ones((12, 1), "i1"))),
        [f"{KEPT} is stored as I8; it is read from F64, F32, F16, BF16"],
    ),
    "kept NaN": (
        all_of(keep(LIN1, 0, 3), spoil(KEPT, np.nan, np.inf, -np.inf)),
        [f"{KEPT} has of 24 values 3 NaN or infinite"],
    ),
    "kept beyond float32": (
        all_of(keep(LIN1, 0, 3), put(KEPT, np.full((12, 2), 1e39))),
        [f"{KEPT} has of 24 values 24 NaN or infinite"],
    ),
    "kept beside float32": (
        all_of(floats(LIN1), ignore(LIN1), put(KEPT, np.ones((12, 1), "f4"))),
        [f"tensors that belong to nothing quantized (1): {KEPT}"],
    ),
    "kept of a table": (
        all_of(smooth(WORDS, first=0.0), put(f"{WORDS}.weight_kept", np.ones((23, 1), "f4"))),
        [f"tensors that belong to nothing quantized (2): {WORDS}.input_smooth, {WORDS}.weight_kept"],
    ),
    "kept of the tied": (
        all_of(
            put("vocab_projector.input_smooth", np.zeros(8, "f4")),
            put("vocab_projector.weight_kept", np.ones((23, 8), "f4")),
        ),
        [
            "tensors that belong to nothing quantized (2): vocab_projector.input_smooth, vocab_projector.weight_kept",
        ],
    ),
    "kept of the tied, which is stored": (
        all_of(
            copy_of(f"{WORDS}.weight", "vocab_projector.weight"),
            copy_of(f"{WORDS}.weight_scale", "vocab_projector.weight_scale"),
            lambda config, _: config["quantization_config"]["ignore"].remove("vocab_projector"),
            keep("vocab_projector", 3),
        ),
        ["tensors that belong to nothing quantized (2): vocab_projector.input_smooth, vocab_projector.weight_kept"],
    ),
    "kept of a norm": (
        put(f"{LAYER}.sa_layer_norm.weight_kept", np.ones((8, 1), "f4")),
        [f"unexpected tensors (1): {LAYER}.sa_layer_norm.weight_kept"],
    ),
    "kept of one": (
        keep(K, 0),
        [f"{Q}, {K}, {V} are one product: their input_smooth must be equal, or none be there"],
    ),
    "other columns kept": (
        all_of(keep(Q, 0), keep(K, 1), keep(V, 0)),
        [f"{Q}, {K}, {V} are one product: their input_smooth must be equal, or none be there"],
    ),
    "kept of three, one faulty": (
        all_of(keep(Q, 0), keep(K, 0), keep(V, 0), spoil(f"{K}.input_smooth", np.nan)),
        [f"{K}.input_smooth has of 8 values 1 NaN; expected numbers above zero"],
    ),
    "no columns": (
        all_of(put(f"{LIN1}.weight", np.ones((12, 0), "i1")), put(SMOOTH, np.ones(0, "f4"))),
        [f"{LIN1}.weight is [12, 0], expected [12, 8] (hidden_dim, dim)"],
    ),
    "kept of two": (
        all_of(keep(Q, 0), keep(K, 0), keep(V, 0), remove(f"{K}.weight_kept")),
        [f"{K}.input_smooth keeps columns in float32 by its zeros (1), and their weights are missing: add {K}.weight"],
    ),
    "kept beyond float32 by its scale": (
        all_of(keep(LIN1, 0), spoil(SCALE, 3e36)),
        [f"{LIN1}.weight stands for numbers beyond float32, by its weight_scale"],
    ),
    "kept of what has no scale": (
        all_of(keep(LIN1, 0), spoil(KEPT, np.nan), remove(SCALE)),
        [f"missing tensors (1): {SCALE}", f"{KEPT} has of 12 values 1 NaN or infinite"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    check(tmp_path, *FAULTS[fault])
