"""The safetensors reader: every element type, every alignment, and no header believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidistil.weights import Checkpoint, CheckpointError
from tests.weights import files


def opened(folder: Path, content: bytes) -> Checkpoint:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(content)
    return Checkpoint(folder)


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert found.flags.c_contiguous
    assert found.flags.aligned
    assert not found.flags.writeable
    np.testing.assert_array_equal(found.view(np.uint32), np.asarray(expected, np.float32).view(np.uint32))


class TestReading:
    values = np.array([[0.0, -0.0, 1.5], [np.inf, -np.inf, 3.25e-5]], np.float32)

    def test_float32_is_a_view_of_the_file(self, tmp_path: Path) -> None:
        content = files.safetensors_bytes({"x": self.values})
        aligned = files.safetensors_bytes({"x": self.values}, pad=-len(content) % 4)
        checkpoint = opened(tmp_path, aligned)
        x = checkpoint.read("x")
        assert_same_bits(x, self.values)
        assert not x.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            x[0, 0] = 1
        changed = bytearray(aligned)
        changed[-1] ^= 0x40
        with (tmp_path / "model.safetensors").open("r+b") as file:  # the same file, not a new one
            file.write(changed)
        assert x[1, 2] != self.values[1, 2], "a copy was made"

    @pytest.mark.parametrize("pad", range(8))
    def test_any_alignment(self, tmp_path: Path, pad: int) -> None:
        checkpoint = opened(tmp_path, files.safetensors_bytes({"a": np.ones(3, "u1"), "x": self.values}, pad=pad))
        assert_same_bits(checkpoint.read("x"), self.values)

    def test_half_precision_and_double(self, tmp_path: Path) -> None:
        arrays = {
            "half": self.values.astype(np.float16),
            "brain": files.bfloat16(self.values),
            "double": self.values.astype(np.float64),
            "scalar": files.bfloat16(np.float32(2.5)).reshape(()),
            "empty": np.zeros((3, 0), np.float16),
        }
        checkpoint = opened(tmp_path, files.safetensors_bytes(arrays))
        assert_same_bits(checkpoint.read("half"), arrays["half"].astype(np.float32))
        assert_same_bits(checkpoint.read("brain"), files.widened(arrays["brain"]))
        assert_same_bits(checkpoint.read("double"), self.values)
        assert_same_bits(checkpoint.read("scalar"), np.float32(2.5))
        assert checkpoint.read("empty").shape == (3, 0)
        assert checkpoint.stored("brain") == ("BF16", (2, 3))
        assert checkpoint.names == ("brain", "double", "empty", "half", "scalar")

    def test_every_half_and_brain_float(self, tmp_path: Path) -> None:
        bits = np.arange(1 << 16, dtype=np.uint16)
        checkpoint = opened(tmp_path, files.safetensors_bytes({"half": bits.view(np.float16), "brain": bits}))
        half, brain = checkpoint.read("half"), checkpoint.read("brain")
        np.testing.assert_array_equal(half, bits.view(np.float16).astype(np.float32))  # equal_nan is its default
        assert np.isnan(half).sum() == 2 * 1023
        np.testing.assert_array_equal(brain.view(np.uint32) >> 16, bits)
        assert not (brain.view(np.uint32) & 0xFFFF).any()

    def test_integers_are_listed_but_are_no_weights(self, tmp_path: Path) -> None:
        checkpoint = opened(tmp_path, files.safetensors_bytes({"ids": np.arange(4)}))
        assert checkpoint.stored("ids") == ("I64", (4,))
        with pytest.raises(CheckpointError, match="ids is stored as I64"):
            checkpoint.read("ids")
        with pytest.raises(KeyError):
            checkpoint.read("absent")

    def test_safetensors_own_writer(self, tmp_path: Path) -> None:
        from safetensors.numpy import save

        rng = np.random.default_rng(1)
        arrays = {f"layer.{i}": rng.standard_normal((i, 3)).astype(t) for i, t in enumerate("fefd")}
        checkpoint = opened(tmp_path, save(arrays, {"format": "pt"}))
        for name, x in arrays.items():
            assert_same_bits(checkpoint.read(name), x.astype(np.float32))

    def test_arrays_outlive_the_checkpoint(self, tmp_path: Path) -> None:
        x = opened(tmp_path, files.safetensors_bytes({"x": self.values})).read("x")
        assert_same_bits(x, self.values)

    @given(
        arrays=st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
                lambda name: name != "__metadata__"
            ),
            hnp.arrays(
                st.sampled_from([np.dtype(code) for code in files.CODES.values()]),
                hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
            ),
            max_size=6,
        ),
        pad=st.integers(0, 9),
    )
    def test_round_trip(self, tmp_path_factory: pytest.TempPathFactory, arrays: dict, pad: int) -> None:
        folder = tmp_path_factory.mktemp("round")
        checkpoint = opened(folder, files.safetensors_bytes(arrays, pad, {"format": "np"}))
        assert checkpoint.names == tuple(sorted(arrays))
        for name, x in arrays.items():
            assert checkpoint.stored(name) == (files.code_of(x), x.shape)
            if x.dtype == np.uint16:
                assert_same_bits(checkpoint.read(name), files.widened(x))
            elif x.dtype.kind == "f":
                with np.errstate(over="ignore"):
                    expected = x.astype(np.float32)
                found = checkpoint.read(name)
                np.testing.assert_array_equal(found, expected)
                assert found.dtype == np.float32
                assert not found.flags.writeable


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def header_faults() -> dict[str, tuple[bytes, str]]:
    """Name of the fault -> a file that has it, and what the error must say."""
    raw, eight = files.raw_safetensors, bytes(8)
    two = {"a": entry(), "b": entry(offsets=(8, 16))}
    nested = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    return {
        "empty file": (b"", "is empty"),
        "seven bytes": (b"\0" * 7, "7 bytes long, too short"),
        "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        "header beyond the end": (raw(b"{}", length=99), "is truncated: a header of 99 bytes is announced, 2 bytes"),
        "huge header": (raw(b"{}", length=1 << 62), "claims a header of 4611686018427387904 bytes"),
        "not json": (raw(b'{"a":'), "corrupt header"),
        "not utf-8": (raw(b'{"\xff": 1}'), "not UTF-8"),
        "not an object": (raw(b"[1, 2]"), "not a JSON object"),
        "nested deeply": (raw(nested), "corrupt header"),
        "key twice": (raw(b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2), eight), "a stands twice"),
        "field twice": (raw(b'{"a": {"dtype": "F32", "dtype": "F16"}}'), "dtype stands twice"),
        "endless number": (raw(b'{"a": ' + b"9" * 100_000 + b"}"), "a number of 100000 digits"),
        "NaN": (raw(b'{"a": NaN}'), "NaN is not JSON"),
        "lone surrogate": (raw(b'{"\\ud800": 1}'), "corrupt header"),
        "metadata": (raw({"__metadata__": {"format": 1}}), "__metadata__ is not a table of strings"),
        "entry is no table": (raw({"a": 5}), "about a: dtype, shape and data_offsets"),
        "field missing": (raw({"a": {"dtype": "F32", "shape": [2]}}, eight), "about a: dtype, shape and data_offsets"),
        "unknown dtype": (raw({"a": entry("F33")}, eight), "dtype F33 is unknown"),
        "dtype no string": (raw({"a": entry([1])}, eight), r"dtype [1] is unknown"),
        "negative dimension": (raw({"a": entry(shape=(-2, -1))}, eight), "its shape is [-2, -1]"),
        "fractional dimension": (raw({"a": entry(shape=(2.0,))}, eight), "its shape is [2.0]"),
        "true dimension": (raw({"a": entry(shape=(True, 2))}, eight), "its shape is [True, 2]"),
        "astronomic dimension": (raw({"a": entry(shape=(0, 1 << 60))}, eight), "its shape is [0, 1152921504606846976]"),
        "too many dimensions": (raw({"a": entry(shape=(1,) * 70)}, bytes(4)), "its shape is [1, 1"),
        "one offset": (raw({"a": entry(offsets=(0,))}, eight), "data_offsets [0] are not two whole numbers"),
        "offsets reversed": (raw({"a": entry(offsets=(8, 0))}, eight), "data_offsets 8 to 0 are no range"),
        "negative offset": (raw({"a": entry(offsets=(-8, 0))}, eight), "data_offsets -8 to 0 are no range"),
        "beyond the file": (raw({"a": entry(offsets=(0, 8))}, eight[:-1]), "end at byte 8, the file holds 7"),
        "size lies": (raw({"a": entry(shape=(3,))}, eight), "F32 [3] takes 12 bytes, data_offsets give it 8"),
        "size lies the other way": (
            raw({"a": entry(shape=(1,))}, eight),
            "F32 [1] takes 4 bytes, data_offsets give it 8",
        ),
        "part of a byte": (raw({"a": entry("F4", (3,), (0, 1))}, eight), "F4 [3] takes 1 bytes"),
        "overlap": (raw({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "b overlaps a (4 bytes)"),
        "gap": (raw({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)), "4 bytes between a and b belong to no"),
        "gap at the start": (raw({"a": entry(offsets=(4, 12))}, bytes(12)), "4 bytes between the header and a"),
        "more data": (raw(two, bytes(17)), "the tensors end at byte 16 of the data, the file at 17"),
    }


FAULTS = header_faults()


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    content, message = FAULTS[fault]
    with pytest.raises(CheckpointError) as error:
        opened(tmp_path, content)
    assert message in str(error.value)
    assert "model.safetensors" in str(error.value)
    assert len(str(error.value)) < 2000


def test_all_faults_of_a_header_at_once(tmp_path: Path) -> None:
    header = {"a": entry("F99"), "b": entry(shape=(7,)), "c": entry(offsets=(0, 80)), "__metadata__": 3}
    with pytest.raises(CheckpointError) as error:
        opened(tmp_path, files.raw_safetensors(header, bytes(8)))
    assert len(error.value.faults) == 4


@given(cut=st.integers(0, 400))
def test_truncated_anywhere(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    content = files.safetensors_bytes({"a": np.ones((5, 3), "f4"), "b": np.ones(7, "f2"), "c": np.arange(3)})
    with pytest.raises(CheckpointError):
        opened(tmp_path_factory.mktemp("cut"), content[: min(cut, len(content) - 1)])
