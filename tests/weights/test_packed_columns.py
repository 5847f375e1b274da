"""Columns that products in int8 keep in float32, packed: what is refused, and which model's they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minidistil
from minidistil.kernels import layout
from minidistil.weights import CheckpointError, conversion, open_checkpoint, packing
from minidistil.weights.file_names import PACKED_FILES
from minidistil.weights.model_weights import LayerWeights, ModelWeights
from minidistil.weights.narrow import Int8Linear
from minidistil.weights.packed_file import compare_packed
from minidistil.weights.packed_model import as_packed
from minidistil.weights.packing import is_packed_from, pack_model
from tests import build
from tests.bits import assert_same_bits
from tests.narrow import KEEPING, narrow
from tests.weights.test_packed_narrow import IDS, SMALL, broken, folder, pack

__all__ = ["folder"]


def narrow_plain() -> ModelWeights:
    return narrow(build.model_weights(SMALL), "int8")


def test_arrays_of_columns_that_are_kept() -> None:
    weights = narrow(build.model_weights(SMALL), KEEPING)
    packed, layer = pack_model(weights), weights.encoder.layers[0]
    assert isinstance(layer, LayerWeights)
    for name, linears in {"qkv": (layer.q_lin, layer.k_lin, layer.v_lin), "lin1": (layer.lin1,)}.items():
        kept, columns = packed[f"layer.0.{name}.kept"], packed[f"layer.0.{name}.columns"]
        panels, count = layout.panels(len(linears[0].bias)), len(columns)
        assert (kept.dtype, kept.shape) == (np.float32, (panels * len(linears), count, layout.PANEL))
        assert (columns.dtype, count) == (np.int32, {"qkv": 9, "lin1": 1}[name])
        assert (kept.ctypes.data % 64, columns.ctypes.data % 64) == (0, 0)
        for i, linear in enumerate(linears):
            assert isinstance(linear, Int8Linear)
            assert linear.kept is not None
            assert np.array_equal(columns, np.flatnonzero(linear.smooth == 0))
            own = kept[i * panels : (i + 1) * panels]
            for n, c in np.ndindex(linear.kept.shape):
                assert own[n // layout.PANEL, c, n % layout.PANEL] == linear.kept[n, c]
            assert np.count_nonzero(own) == np.count_nonzero(linear.kept), "zeros beyond the last column"
            assert_same_bits(layout.unpack_kept(own, len(linear.bias)), linear.kept)
    assert "layer.0.out_lin.kept" not in packed
    assert not any(name.endswith((".kept", ".columns")) for name in pack_model(narrow_plain()).places)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: broken(w, "lin1", smooth=np.arange(128, dtype=np.float32)),
            "lin1: smooth is zero in 1 columns, which are kept in float32, and there is no array of them",
        ),
        (
            lambda w: broken(w, "lin1", smooth=np.ones(128, np.float32), kept=np.ones((400, 0), np.float32)),
            "lin1: smooth is zero in 0 columns, which are kept in float32, and there is an array of them",
        ),
        (
            lambda w: broken(w, "lin1", smooth=np.arange(128, dtype=np.float32), kept=np.ones((400, 2), np.float32)),
            r"lin1: kept must be float32 \[400, 1\], got float32 \[400, 2\]",
        ),
        (
            lambda w: broken(w, "lin1", smooth=np.arange(128, dtype=np.float32), kept=np.ones((400, 1))),
            r"lin1: kept must be float32 \[400, 1\], got float64 \[400, 1\]",
        ),
        (
            lambda w: broken(w, "lin1", kept=np.ones((400, 1), np.float32)),
            r"lin1: kept must be float32 \[400, 0\], got float32 \[400, 1\]",
        ),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change: Callable, message: str) -> None:
    weights = narrow_plain()
    pack_model(weights)
    with pytest.raises(ValueError, match=message):
        pack_model(change(weights))


def test_only_a_model_with_the_same_columns_kept_is_packed_so() -> None:
    """A kernel goes by their numbers: others lead it out of a row, or to another column."""
    weights = narrow(build.model_weights(SMALL), KEEPING)
    plain = build.model_weights(SMALL)
    lin1 = weights.encoder.layers[0].lin1
    assert isinstance(lin1, Int8Linear)
    (own,) = lin1.columns
    for number in (own, -1, (own + 1) % 128, 128, 2**31 - 1):
        packed = pack_model(weights, tables=True)
        packed["layer.0.lin1.columns"][0] = number
        assert is_packed_from(packed, weights) == (number == own)
        assert (as_packed(packed, plain, "int8") is not None) == (number == own)
    one = broken(weights, "lin1", smooth=np.roll(lin1.smooth, 1))
    assert not is_packed_from(pack_model(one), weights)
    for kind in ("kept", "columns", "smooth"):
        packed = pack_model(weights, tables=True)
        fewer = replace(packed, places={k: v for k, v in packed.places.items() if k != f"layer.0.lin1.{kind}"})
        assert not is_packed_from(fewer, weights)
        assert as_packed(fewer, plain, "int8") is None
    for kind, shape in (("kept", (9 * 48,)), ("kept", (9, 2, 24)), ("columns", (1, 1)), ("columns", (2,))):
        packed = pack_model(weights, tables=True)
        name = f"layer.0.lin1.{kind}"
        wrong = replace(packed, places={**packed.places, name: packed.places[name]._replace(shape=shape)})
        assert as_packed(wrong, plain, "int8") is None
    without = {k: v for k, v in pack_model(weights).places.items() if not k.endswith((".kept", ".columns"))}
    assert not is_packed_from(replace(pack_model(weights), places=without), weights)
    with_more = pack_model(weights)
    places = {**with_more.places, "layer.0.out_lin.kept": with_more.places["layer.0.qkv.kept"]}
    assert not is_packed_from(replace(with_more, places=places), weights)


def test_other_columns_are_not_written_over_those_that_are_kept() -> None:
    """Nor weights without any, which would leave them."""
    weights, plain = narrow(build.model_weights(SMALL), KEEPING), narrow_plain()
    for one, other in ((weights, plain), (plain, weights)):
        packed = pack_model(one)
        before = packed.block.copy()
        with pytest.raises(ValueError, match=r"layer.0.lin1.\w+ is packed as .*, not as .*: only such weights"):
            packing.pack_again(packed, "layer.0.lin1", other.encoder.layers[0].lin1)
        assert packed.block.tobytes() == before.tobytes()
        packing.pack_again(packed, "layer.0.lin1", one.encoder.layers[0].lin1)
        assert packed.block.tobytes() == before.tobytes()


def test_a_model_with_columns_kept_loads_what_is_packed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mapped; and neither file is taken for the other's model, of which the metadata say the same."""
    path, loaded = folder / PACKED_FILES["int8"], {}
    quantize = {"int8": conversion.quantized, KEEPING: lambda weights: narrow(weights, KEEPING)}
    for kind, method in quantize.items():
        monkeypatch.setattr(conversion, "quantized", method)
        loaded[kind] = minidistil.load(folder, threads=1, precision="int8")(IDS).logits
        pack(folder, "int8").rename(folder / kind)
    assert (loaded["int8"] != loaded[KEEPING]).any()
    monkeypatch.setattr("minidistil.backends.engine.engine.pack_model", lambda weights: pytest.fail("packed again"))
    monkeypatch.setattr(conversion, "quantized", lambda weights: pytest.fail("quantized again"))
    for kind, method in quantize.items():
        shutil.copy(folder / kind, path)
        assert_same_bits(minidistil.load(folder, threads=1, precision="int8")(IDS).logits, loaded[kind])
        with monkeypatch.context() as patch:
            patch.setattr(conversion, "quantized", method)
            compare_packed(open_checkpoint(folder), precision="int8")
            (other,) = [name for name in quantize if name != kind]
            shutil.copy(folder / other, path)
            with pytest.raises(CheckpointError, match="holds other weights than the checkpoint"):
                compare_packed(open_checkpoint(folder), precision="int8")
