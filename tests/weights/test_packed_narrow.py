"""Packed weights in fewer bits: what is packed of them, files for each precision, and models that are only packed."""

from __future__ import annotations

import mmap
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.weights import CheckpointError, open_checkpoint, packed_model, packed_products, quantizing, read_model
from minidistil.weights.conversion import in_precision
from minidistil.weights.file_names import PACKED_FILES
from minidistil.weights.model_weights import LayerWeights, ModelWeights
from minidistil.weights.narrow import BFloat16Linear, Int8Linear, NarrowTable
from minidistil.weights.packed_file import compare_packed, open_packed, pack_checkpoint, packed_path, save_packed
from minidistil.weights.packed_model import as_packed
from minidistil.weights.packing import is_packed_from, pack_model
from tests import build
from tests.bits import assert_same_bits
from tests.families import VARIATIONS
from tests.goldens import narrow as goldens
from tests.narrow import KINDS, PRECISIONS, narrow
from tests.synthetic import DISTILBERT_SMALL
from tests.weights import quantized
from tests.weights.test_packed_faults import craft

IDS = np.arange(20)[None]
SMALL = {**DISTILBERT_SMALL, "n_layers": 1, "vocab_size": 300}
CONVERTED = ["bfloat16", "int8"]

every_precision = pytest.mark.parametrize("precision", PRECISIONS)


@pytest.fixture
def folder(distilbert_small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(distilbert_small, tmp_path / "model"))


def pack(folder: Path, precision: str | None) -> Path:
    checkpoint = open_checkpoint(folder)
    return save_packed(pack_checkpoint(checkpoint, precision), checkpoint, precision=precision)


def limited(codes: np.ndarray) -> list[int]:
    """By the definition: no two neighbours of a sign are more than 128 together, in any row of a panel."""
    whole = np.zeros((layout.padded_columns(len(codes)), codes.shape[1] + codes.shape[1] % 2), int)
    whole[: len(codes), : codes.shape[1]] = codes
    pairs = whole.reshape(len(whole), -1, 2)
    same = (np.sign(pairs[..., 0]) == np.sign(pairs[..., 1])) | (pairs == 0).any(axis=2)
    worst = np.where(same, np.abs(pairs.sum(axis=2)), np.abs(pairs).max(axis=2)).max(axis=1)
    return [int((panel <= 128).all()) for panel in worst.reshape(-1, layout.PANEL)]


# -- in memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 64, 129])
@pytest.mark.parametrize("n", [1, 47, 48, 49, 130])
def test_whole_numbers_in_panels(n: int, k: int) -> None:
    generator = np.random.default_rng([n, k])
    for most in (127, 64, 65):
        codes = generator.integers(-most - 1, most, (n, k), endpoint=True).astype(np.int8)
        got = np.full((layout.panels(n), -(-k // 4), layout.PANEL, 4), 7, np.int8)
        layout.pack_int8(codes, got)
        want = np.zeros((layout.padded_columns(n), -(-k // 4) * 4), np.int8)
        want[:n, :k] = codes
        for p, i, j, t in np.ndindex(got.shape):
            assert got[p, i, j, t] == want[p * layout.PANEL + j, 4 * i + t]
        assert np.array_equal(layout.unpack_int8(got, n, k), codes)
        assert layout.limited(codes).tolist() == limited(codes)
        assert layout.limited(np.asfortranarray(codes)).tolist() == limited(codes)


@pytest.mark.parametrize(
    ("pair", "whether"),
    [((127, 1), 1), ((127, 2), 0), ((-128, 0), 1), ((-128, -1), 0), ((-128, 127), 1), ((64, 64), 1), ((-64, -65), 0)],
)
def test_where_the_limit_of_pairs_is(pair: tuple[int, int], whether: int) -> None:
    codes = np.zeros((96, 6), np.int8)
    codes[50, 2:4] = pair
    assert layout.limited(codes).tolist() == [1, whether]
    codes[50] = 0
    codes[50, 1:3] = pair  # no pair of those that are added
    assert layout.limited(codes).tolist() == [1, 1]


def test_arrays_of_a_product_in_int8() -> None:
    weights = narrow(build.model_weights(SMALL), "int8")
    packed, layer = pack_model(weights), weights.encoder.layers[0]
    assert isinstance(layer, LayerWeights)
    for name, linears in {"qkv": (layer.q_lin, layer.k_lin, layer.v_lin), "lin2": (layer.lin2,)}.items():
        arrays = {kind: packed[f"layer.0.{name}.{kind}"] for kind in ("weight", "scale", "bias", "sums", "limited")}
        assert {kind: str(x.dtype) for kind, x in arrays.items()} == {
            "weight": "int8", "scale": "float32", "bias": "float32", "sums": "int32", "limited": "int32"
        }  # fmt: skip
        assert all(x.ctypes.data % 64 == 0 for x in arrays.values())
        panels = layout.panels(128)
        for i, linear in enumerate(linears):
            assert isinstance(linear, Int8Linear)
            own = {
                "weight": layout.unpack_int8(
                    arrays["weight"][i * panels : (i + 1) * panels], 144, linear.codes.shape[1]
                ),
                **{kind: arrays[kind][i * 144 : (i + 1) * 144] for kind in ("scale", "bias", "sums")},
            }
            sums = linear.codes.sum(axis=1, dtype=int)
            for kind, want in (
                ("weight", linear.codes), ("scale", linear.scale), ("bias", linear.bias), ("sums", sums)
            ):  # fmt: skip
                assert np.array_equal(own[kind][:128], want)
                assert not own[kind][128:].any()
            assert arrays["limited"][i * panels : (i + 1) * panels].tolist() == limited(linear.codes)
            if linear.smooth is not None:
                assert_same_bits(packed[f"layer.0.{name}.smooth"], linear.smooth)
    assert {bool(packed[name].all()) for name in packed.places if name.endswith(".limited")} == {True, False}


def test_arrays_of_a_product_in_bfloat16() -> None:
    weights = narrow(build.model_weights(SMALL), "bfloat16")
    packed, layer = pack_model(weights), weights.encoder.layers[0]
    assert isinstance(layer, LayerWeights)
    assert isinstance(layer.lin1, BFloat16Linear)
    want = np.zeros_like(packed["layer.0.lin1.weight"])
    assert want.dtype == np.uint16
    layout.pack(layer.lin1.bits, want, target.sliver())
    assert np.array_equal(packed["layer.0.lin1.weight"], want)
    assert_same_bits(packed["layer.0.lin1.bias"][:400], layer.lin1.bias)


def test_only_a_model_of_the_same_types_is_packed_so() -> None:
    plain = build.model_weights(SMALL)
    models = {"float32": plain, **{kind: narrow(plain, kind) for kind in KINDS}}
    packs = {precision: pack_model(weights) for precision, weights in models.items()}
    for one, weights in models.items():
        assert [is_packed_from(packed, weights) for packed in packs.values()] == [one == other for other in packs]
    smoothed = broken(models["int8"], "lin1", smooth=np.ones(128, np.float32))
    rough = broken(models["int8"], "lin1", smooth=None)
    assert is_packed_from(pack_model(smoothed), smoothed)
    assert not is_packed_from(pack_model(smoothed), rough), "its input would be smoothed all the same"
    assert not is_packed_from(pack_model(rough), smoothed)


def layer_with(weights: ModelWeights, **products: Any) -> ModelWeights:
    layers = (replace(weights.encoder.layers[0], **products), *weights.encoder.layers[1:])
    return replace(weights, encoder=replace(weights.encoder, layers=layers))


def broken(weights: ModelWeights, name: str, **arrays: Any) -> ModelWeights:
    return layer_with(weights, **{name: replace(getattr(weights.encoder.layers[0], name), **arrays)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w, plain: layer_with(w, k_lin=plain.k_lin),
            "layer.0.qkv: .*all of them in int8 or none, got int8, flo",
        ),
        (lambda w, plain: broken(w, "v_lin", smooth=None), "layer.0.qkv: .*smoothed by the same numbers for all"),
        (
            lambda w, plain: broken(w, "k_lin", smooth=np.full(128, 2, np.float32)),
            "layer.0.qkv: .*smoothed by the same",
        ),
        (
            lambda w, plain: broken(w, "lin1", codes=np.ones((400, 128))),
            r"lin1: codes must be int8 \[400, 128\], got flo",
        ),
        (
            lambda w, plain: broken(w, "lin1", scale=np.ones(399, np.float32)),
            r"scale must be float32 \[400\], got .*399",
        ),
        (lambda w, plain: broken(w, "lin1", bias=np.ones(401, np.float32)), r"bias must be float32 \[400\], got .*401"),
        (
            lambda w, plain: broken(w, "lin1", smooth=np.ones(64, np.float32)),
            r"smooth must be float32 \[128\], got .*64",
        ),
        (
            lambda w, plain: broken(w, "lin2", codes=np.zeros((128, 65_001), np.int8), smooth=None),
            "layer.0.lin2: sums of 65,001 whole numbers may not fit 32 bits; at most 65,000 do",
        ),
    ],
)
def test_what_no_kernel_takes_is_refused(change: Callable, message: str) -> None:
    plain = build.model_weights({**SMALL, "n_layers": 2})
    weights = narrow(plain, "int8")
    # The first layer's queries, keys and values are smoothed, or there would be nothing to tell apart.
    smooth = np.full(128, 1.5, np.float32)
    for name in ("q_lin", "k_lin", "v_lin"):
        weights = broken(weights, name, smooth=smooth)
    pack_model(weights)
    with pytest.raises(ValueError, match=message):
        pack_model(change(weights, plain.encoder.layers[0]))


def test_bfloat16_beside_float32_is_refused() -> None:
    plain = build.model_weights(SMALL)
    with pytest.raises(ValueError, match=r"layer.0.qkv: .*in float32 or none, got bfloat16, float32, bfloat16"):
        pack_model(layer_with(narrow(plain, "bfloat16"), k_lin=plain.encoder.layers[0].k_lin))


@every_precision
def test_a_mapped_file_is_let_go_by_and_by(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages are given back after some rows of each product, not at the end."""
    weights = narrow(build.model_weights({**SMALL, "hidden_dim": 4000}), precision)
    layer = weights.encoder.layers[0]
    assert isinstance(layer, LayerWeights)
    array = packed_products.numbers(layer.lin1)
    (tmp_path / "file").write_bytes(array.tobytes())
    with (tmp_path / "file").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = np.frombuffer(mapped, array.dtype).reshape(array.shape)
    let_go, release = [], packed_products.release_pages
    monkeypatch.setattr(packed_products, "release_pages", lambda rows: let_go.append(rows) or release(rows))
    kind = "bits" if precision == "bfloat16" else "codes"
    packed = pack_model(broken(weights, "lin1", **{kind: view}))
    rows = [len(rows) for rows in let_go if np.shares_memory(rows, view)]
    assert sum(rows) == 4000
    assert max(rows) <= 64 * layout.PANEL
    assert len(rows) > 1
    assert np.array_equal(packed["layer.0.lin1.weight"], pack_model(weights)["layer.0.lin1.weight"])


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", CONVERTED)
def test_a_model_loads_what_is_packed_in_its_precision(
    folder: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is quantized, rounded or packed again, and the tables are the file's."""
    want = minidistil.load(folder, threads=1, precision=precision)(IDS).logits
    plain = minidistil.load(folder, threads=1)(IDS).logits
    path = pack(folder, precision)
    assert path == folder / PACKED_FILES[precision] == packed_path(open_checkpoint(folder), precision)
    assert [p.name for p in folder.glob("*packed*")] == [path.name]
    compare_packed(open_checkpoint(folder), precision=precision)
    for name in ("engine.engine.pack_model",):
        monkeypatch.setattr(f"minidistil.backends.{name}", lambda weights: pytest.fail("packed again"))
    monkeypatch.setattr("minidistil.weights.packed_model.rounded", lambda x: pytest.fail("rounded again"))
    monkeypatch.setattr("minidistil.weights.conversion.quantized", lambda x: pytest.fail("quantized again"))
    model = minidistil.load(folder, threads=1, precision=precision)
    assert_same_bits(model(IDS).logits, want)
    assert model.precision == precision
    table = model._backend._embeddings.word_embeddings
    assert isinstance(table, NarrowTable)
    assert not table.codes.flags.writeable
    bare = minidistil.AutoModel.from_pretrained(folder, threads=2, precision=precision)(IDS)
    assert bare.last_hidden_state.shape == (1, 20, 128)
    monkeypatch.undo()
    assert_same_bits(minidistil.load(folder, threads=1)(IDS).logits, plain, "float32 is not disturbed")


def test_a_checkpoint_in_int8_packs_in_every_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = quantized.write(tmp_path, DISTILBERT_SMALL)
    own = (None, "float32", "bfloat16")
    want = {precision: minidistil.load(folder, threads=1, precision=precision)(IDS).logits for precision in own}
    assert len({logits.tobytes() for logits in want.values()}) == 3
    paths = [pack(folder, precision) for precision in own]
    assert [path.name for path in paths] == [PACKED_FILES[name] for name in ("int8", "float32", "bfloat16")]
    table = "embeddings.word_embeddings.weight"
    held = [table in open_packed(open_checkpoint(folder), precision=precision) for precision in own]
    assert held == [False, True, True], "the checkpoint's own table is read where it is"
    monkeypatch.setattr("minidistil.backends.engine.engine.pack_model", lambda weights: pytest.fail("packed again"))
    for precision, logits in want.items():
        assert_same_bits(minidistil.load(folder, threads=1, precision=precision)(IDS).logits, logits)
        compare_packed(open_checkpoint(folder), precision=precision)


@pytest.mark.parametrize("name", ["activation gelu", "albert of two groups", "bert of odd sizes", "mobilebert"])
def test_whoever_looks_at_the_numbers_finds_those_that_were_packed(name: str) -> None:
    plain = build.model_weights(VARIATIONS[name])
    for kind in KINDS:
        packed = pack_model(narrow(plain, kind), tables=True)
        model = as_packed(packed, plain, "bfloat16" if kind == "bfloat16" else "int8")
        assert model is not None
        again = pack_model(model, tables=True)
        assert again.places == packed.places
        assert_same_bits(again.block, packed.block)


def test_numbers_that_are_not_there_are_made_when_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build.model_weights(SMALL)
    packed = pack_model(in_precision(plain, "int8"), tables=True)
    unpacked, unpack = [], layout.unpack_int8
    monkeypatch.setattr(packed_model.layout, "unpack_int8", lambda *args: unpacked.append(1) or unpack(*args))
    model = as_packed(packed, plain, "int8")
    assert model is not None
    layer = model.encoder.layers[0]
    assert isinstance(layer, LayerWeights)
    assert isinstance(layer.k_lin, Int8Linear)
    assert (layer.k_lin.codes.shape, layer.k_lin.codes.dtype, layer.k_lin.codes.size) == (
        (128, 128),
        np.int8,
        128 * 128,
    )
    assert not unpacked
    whole = in_precision(plain, "int8").encoder.layers[0]
    assert isinstance(whole, LayerWeights)
    assert np.array_equal(layer.k_lin.codes, whole.k_lin.codes)
    assert_same_bits(layer.k_lin.weight, whole.k_lin.weight)
    assert np.array_equal(layer.k_lin.codes.sum(axis=1), whole.k_lin.codes.sum(axis=1))
    assert len(unpacked) == 3


def test_each_precision_is_only_taken_for_itself(folder: Path) -> None:
    """A file under another's name is told of, and not used."""
    want = minidistil.load(folder, threads=1, precision="int8")(IDS).logits
    pack(folder, "bfloat16").rename(folder / PACKED_FILES["int8"])
    with pytest.raises(
        CheckpointError, match="holds weights in bfloat16 of float32, wanted are such in 'int8 of float32"
    ):
        open_packed(open_checkpoint(folder), precision="int8")
    with pytest.warns(RuntimeWarning, match=r"holds weights in .*; until then the weights are packed in memory"):
        assert_same_bits(minidistil.load(folder, threads=1, precision="int8")(IDS).logits, want)


def test_another_method_of_quantizing_makes_it_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(folder, "int8")
    pack(folder, "bfloat16")
    open_packed(open_checkpoint(folder), precision="int8")
    monkeypatch.setattr(quantizing, "VERSION", quantizing.VERSION + 1)
    with pytest.raises(
        CheckpointError, match=r"quantized by method \d+, wanted .* by method \d+': run `minidistil pack`"
    ):
        open_packed(open_checkpoint(folder), precision="int8")
    open_packed(open_checkpoint(folder), precision="bfloat16")


def test_the_method_of_quantizing_is_that_of_its_version() -> None:
    """Or packed files of another release would be taken for what this one makes."""
    said = "quantized() makes others: count up quantizing.VERSION, and run `python -m tests.goldens.narrow`"
    assert goldens.made() == goldens.golden()["quantizing"], said


def without(name: str) -> Callable:
    return lambda metadata, places: places.pop(name)


def with_place(name: str, **changes: Any) -> Callable:
    def change(metadata: dict, places: dict) -> None:
        start, shape, dtype = places[name]
        places[name] = [start, changes.get("shape", shape), changes.get("dtype", dtype)]

    return change


@pytest.mark.parametrize(
    "change",
    [
        without("layer.0.lin1.scale"),
        without("layer.1.qkv.limited"),
        without("layer.1.qkv.weight"),
        without("embeddings.word_embeddings.weight"),
        without("embeddings.word_embeddings.scale"),
        with_place("embeddings.word_embeddings.weight", shape=[600, 256]),
        with_place("embeddings.word_embeddings.weight", shape=[1200, 64]),
        with_place("embeddings.word_embeddings.weight", shape=[300, 128], dtype="F32"),
        with_place("embeddings.word_embeddings.weight", shape=[1200, 32], dtype="I32"),
        with_place("embeddings.word_embeddings.scale", shape=[1199]),
        with_place("layer.0.lin1.weight", shape=[9, 31, 48, 4]),
        with_place("layer.0.lin1.weight", shape=[9, 64, 48], dtype="U16"),
        with_place("layer.0.lin1.scale", shape=[100]),
        with_place("layer.0.lin1.sums", dtype="F32"),
        lambda metadata, places: places.update({"layer.0.qkv.smooth": [0, [16], "F32"]}),
        lambda metadata, places: places.clear(),
    ],
)
def test_arrays_that_are_not_the_models_are_made_anew(folder: Path, change: Callable) -> None:
    """In headers that are right in themselves: nothing but what the model has becomes an address."""
    want = minidistil.load(folder, threads=1, precision="int8")(IDS).logits
    craft(pack(folder, "int8"), change)
    packed = open_packed(open_checkpoint(folder), precision="int8")
    assert as_packed(packed, read_model(open_checkpoint(folder)), "int8") is None
    assert_same_bits(minidistil.load(folder, threads=1, precision="int8")(IDS).logits, want)


@pytest.mark.parametrize("precision", CONVERTED)
def test_a_checkpoint_that_changed_is_noticed(folder: Path, precision: str) -> None:
    pack(folder, precision)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="was made from other weights"):
        open_packed(open_checkpoint(folder), precision=precision)


def test_a_bit_in_any_array_is_found(folder: Path) -> None:
    path = pack(folder, "int8")
    packed, generator = open_packed(open_checkpoint(folder), precision="int8"), np.random.default_rng(0)
    start = path.stat().st_size - packed.block.nbytes
    for place in packed.places.values():
        at = start + 4 * (place.start + int(generator.integers(place.size)))
        with path.open("r+b", buffering=0) as file:
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 16]))
            with pytest.raises(CheckpointError, match="is damaged"):
                open_packed(open_checkpoint(folder), precision="int8")
            file.seek(at)
            file.write(bytes([byte]))
    open_packed(open_checkpoint(folder), precision="int8")
