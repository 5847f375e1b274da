"""pytorch_model.bin without PyTorch: what torch.save writes is read, and nothing is ever executed."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidistil.weights import Checkpoint, CheckpointError, _pickle_subset
from tests.weights import files
from tests.weights.test_safetensors import assert_same_bits


def opened(folder: Path, content: bytes) -> Checkpoint:
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(content)
    return Checkpoint(folder)


def one_tensor(
    start: int, shape: tuple[int, ...], strides: tuple[int, ...], count: int = 12, size: int | None = None
) -> bytes:
    """An archive of one float32 tensor `x` over the numbers 0 to count - 1."""
    body = files.dict_({"x": files.tensor(files.storage("F32", "0", count), start, shape, strides)})
    data = np.arange(count if size is None else size, dtype="<f4").tobytes()
    return files.archive({"data.pkl": files.program(body), "data/0": data})


class TestReading:
    def test_every_float_type(self, tmp_path: Path) -> None:
        x = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
        arrays = {"f4": x, "f2": x.astype(np.float16), "bf": files.bfloat16(x), "f8": x.astype(np.float64)}
        others = {"ids": np.arange(5), "scalar": np.float32(3).reshape(()), "empty": np.zeros((0, 3), np.float32)}
        checkpoint = opened(tmp_path, files.torch_bytes({**arrays, **others}))
        assert_same_bits(checkpoint.read("f4"), x)
        assert not checkpoint.read("f4").flags.owndata
        assert_same_bits(checkpoint.read("f2"), arrays["f2"].astype(np.float32))
        assert_same_bits(checkpoint.read("bf"), files.widened(arrays["bf"]))
        assert_same_bits(checkpoint.read("f8"), x)
        assert_same_bits(checkpoint.read("scalar"), others["scalar"])
        assert checkpoint.read("empty").shape == (0, 3)
        assert checkpoint.stored("ids") == ("I64", (5,))

    def test_views_of_one_storage(self, tmp_path: Path) -> None:
        base = np.arange(12, dtype=np.float32).reshape(3, 4)
        shared = files.storage("F32", "0", 12)
        entries = {
            "base": files.tensor(shared, 0, (3, 4), (4, 1)),
            "same": files.tensor(shared, 0, (3, 4), (4, 1)),
            "transposed": files.tensor(shared, 0, (4, 3), (1, 4)),
            "inside": files.tensor(shared, 5, (2, 2), (4, 1)),
            "last": files.tensor(shared, 11, (), ()),
            "row": files.tensor(shared, 4, (1, 4), (1 << 62, 1)),
            "column": files.tensor(shared, 2, (3, 1), (4, 77)),
        }
        content = {"data.pkl": files.program(files.dict_(entries)), "data/0": base.tobytes()}
        checkpoint = opened(tmp_path, files.archive(content))
        assert_same_bits(checkpoint.read("base"), base)
        assert_same_bits(checkpoint.read("transposed"), base.T)
        assert_same_bits(checkpoint.read("inside"), base[1:, 1:3])
        assert_same_bits(checkpoint.read("last"), np.float32(11))
        assert_same_bits(checkpoint.read("row"), base[1:2])
        assert not checkpoint.read("row").flags.owndata, "contiguous, whatever the stride of its one row"
        assert_same_bits(checkpoint.read("column"), base[:, 2:3])
        assert checkpoint.same_storage("base", "same")
        assert not checkpoint.same_storage("base", "inside")

    def test_parameters_and_newer_pickle_protocols(self, tmp_path: Path) -> None:
        value = files.tensor(files.storage("F32", "0", 2), 0, (2,), (1,))
        parameter = files.call(files.import_("torch._utils", "_rebuild_parameter"), value, b"\x88", files.ORDERED_DICT)
        memoized = b"\x8c\x01p\x94" + parameter + b"s"  # SHORT_BINUNICODE, MEMOIZE
        table = b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R" + memoized  # STACK_GLOBAL
        content = {"data.pkl": b"\x80\x04" + table + b".", "data/0": np.float32([7, 8]).tobytes()}
        assert_same_bits(opened(tmp_path, files.archive(content)).read("p"), np.float32([7, 8]))

    def test_unaligned_records(self, tmp_path: Path) -> None:
        content = bytearray(files.torch_bytes({"x": np.arange(6, dtype=np.float32)}))
        shifted = b"PK\x03\x04" + bytes(3) + bytes(content)  # zipfile corrects for what stands before an archive
        assert_same_bits(opened(tmp_path, shifted).read("x"), np.arange(6, dtype=np.float32))

    @given(base=hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)), choose=st.data())
    def test_any_view(self, tmp_path_factory: pytest.TempPathFactory, base: np.ndarray, choose: st.DataObject) -> None:
        """Strides and offsets as NumPy has them for slices of permuted arrays."""
        flat = np.arange(base.size, dtype=np.float32).reshape(base.shape)
        view = flat.transpose(choose.draw(st.permutations(range(base.ndim))))
        steps = [choose.draw(st.tuples(st.integers(0, n - 1), st.integers(1, 3))) for n in view.shape]
        view = view[tuple(slice(first, None, step) for first, step in steps)]
        start = (view.__array_interface__["data"][0] - flat.__array_interface__["data"][0]) // 4
        strides = tuple(step // 4 for step in view.strides)
        body = files.dict_({"x": files.tensor(files.storage("F32", "0", flat.size), start, view.shape, strides)})
        content = files.archive({"data.pkl": files.program(body), "data/0": base.tobytes()})
        expected = np.lib.stride_tricks.as_strided(base.reshape(-1)[start:], view.shape, view.strides)
        found = opened(tmp_path_factory.mktemp("view"), content).read("x")
        np.testing.assert_array_equal(found.view(np.uint32), np.ascontiguousarray(expected).view(np.uint32))

    def test_safetensors_is_preferred(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(files.safetensors_bytes({"x": np.ones(1, np.float32)}))
        assert opened(tmp_path, b"whatever").names == ("x",)


def test_the_directory_lies_about_a_size(tmp_path: Path) -> None:
    """A record that ends exactly with the file is where it can be; one byte further it is not."""

    def content(size: int) -> bytes:
        body = files.dict_({"x": files.tensor(files.storage("U8", "0", size), 0, (size,), (1,))})
        made = bytearray(files.archive({"data.pkl": files.program(body), "data/0": bytes(8)}))
        entry = made.rindex(b"PK\x01\x02")
        made[entry + 20 : entry + 28] = struct.pack("<II", size, size)
        return bytes(made)

    sample = content(300)  # of as many digits as what follows
    name = sample.index(b"archive/data/0")
    (padding,) = struct.unpack_from("<H", sample, name - 2)
    room = len(sample) - (name + len("archive/data/0") + padding)
    assert room >= 128
    assert opened(tmp_path, content(room)).stored("x") == ("U8", (room,))
    with pytest.raises(CheckpointError, match="does not lie where the directory says"):
        opened(tmp_path, content(room + 1))


class Evil:
    """What pickle does with it: call a function of the attacker's choice."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.reduced  # type: ignore[return-value]


def evil_programs(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Programs that would create `marker` (or worse) in pickle.loads, and the name to be refused."""
    system = f"{os.system.__module__}.system"
    touch = f"touch {marker}"
    value = files.tensor(files.storage("F32", "0", 2), 0, (2,), (1,))
    popen, call = files.import_("subprocess", "Popen"), files.call(files.import_("os", "system"), files.text(touch))
    return {
        "protocol 0": (pickle.dumps({"x": Evil(os.system, touch)}, 0), system),
        "protocol 2": (pickle.dumps({"x": Evil(os.system, touch)}, 2), system),
        "protocol 5": (pickle.dumps({"x": Evil(os.system, touch)}, 5), system),
        "eval": (pickle.dumps({"x": Evil(eval, f"open({str(marker)!r}, 'w')")}, 2), "__builtin__.eval"),
        "inst": (b"(" + files.text(touch) + b"ios\nsystem\n.", "os.system"),
        "obj": (b"(" + files.import_("os", "system") + files.text(touch) + b"o.", "os.system"),
        "newobj": (files.program(popen + files.tuple_(files.text(touch)) + b"\x81"), "subprocess.Popen"),
        "dotted": (pickle.dumps({"x": Evil(Path.touch, marker)}, 5), "Path.touch"),
        "hidden in a good dict": (
            files.program(files.dict_({"x": value, "y": call})),
            "os.system",
        ),
        "as a storage type": (
            files.program(files.dict_({"x": files.storage("F32", "0", 2, files.import_("builtins", "exec"))})),
            "builtins.exec",
        ),
        "as a key": (b"\x80\x02}" + files.import_("os", "system") + b"K\x01s.", "os.system"),
        "in the state": (files.program(b"}}" + files.text("a") + call + b"sb"), "os.system"),
        "torch's own": (files.program(files.import_("torch.serialization", "load")), "torch.serialization.load"),
        "and then nonsense": (b"\x80\x02cos\nsystem\n\xff\xff", "os.system"),
    }  # fmt: skip


EVIL = list(evil_programs(Path("marker")))


@pytest.mark.parametrize("kind", EVIL)
def test_nothing_is_executed(tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "executed"
    content, name = evil_programs(marker)[kind]
    with pytest.raises(CheckpointError) as error:
        opened(tmp_path, files.archive({"data.pkl": content, "data/0": bytes(8)}))
    assert name in str(error.value)
    assert "nothing was executed" in str(error.value)
    assert not marker.exists()


def test_the_evil_programs_are_evil(tmp_path: Path) -> None:
    """The test above proves nothing if its programs do nothing."""
    for kind in ("protocol 2", "inst", "obj", "dotted"):
        marker = tmp_path / kind.replace(" ", "-")
        pickle.loads(evil_programs(marker)[kind][0])
        assert marker.exists(), kind


def test_every_refused_import_is_named(tmp_path: Path) -> None:
    calls = {"a": files.import_("os", "system"), "b": files.import_("builtins", "eval"), "c": files.ORDERED_DICT}
    with pytest.raises(CheckpointError, match=r"os\.system, builtins\.eval\b"):
        opened(tmp_path, files.archive({"data.pkl": files.program(files.dict_(calls))}))


def hostile_programs() -> dict[str, bytes]:
    """Programs that import nothing and are still not to be run by pickle: they hang, or ask for all memory."""
    tuples = b")q\x00" + b"".join(b"h%c\x86q%c" % (i, i + 1) for i in range(60))  # each holds the one before twice
    return {
        "hash of nested tuples": b"\x80\x02}" + tuples + b"K\x01s.",  # 2**60 steps
        "long text": b"\x80\x02X\xff\xff\xff\x7fabc.",
        "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"abc.",
        "nesting": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "huge number": b"\x80\x02}\x8b" + struct.pack("<I", 100_000) + b"\x7f" * 100_000 + b"K\x01s.",
        "recursive dict": b"\x80\x02}q\x00" + files.text("a") + b"h\x00s.",
        "no stop": b"\x80\x02}",
        "empty": b"",
        "stack underflow": b"\x80\x02R.",
        "mark as a value": b"\x80\x02((.",
        "unknown memo": b"\x80\x02h\x09.",
        "left over": b"\x80\x02}}.",
    }


def test_a_huge_memo_index_costs_nothing(tmp_path: Path) -> None:
    """pickle's C implementation would allocate a table of that size: 32 GB."""
    program = files.program(b"}r\xff\xff\xff\xff")
    assert opened(tmp_path, files.archive({"data.pkl": program})).names == ()


@pytest.mark.parametrize("kind", list(hostile_programs()))
def test_hostile_programs_end_soon(tmp_path: Path, kind: str) -> None:
    with pytest.raises(CheckpointError):
        opened(tmp_path, files.archive({"data.pkl": hostile_programs()[kind]}))


class TestPickleSubset:
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text() | st.floats(allow_nan=False),
            lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        ),
        st.integers(2, pickle.HIGHEST_PROTOCOL),
    )
    def test_plain_values(self, value: object, protocol: int) -> None:
        assert _pickle_subset.load(pickle.dumps(value, protocol)) == value

    def test_ordered_dict_becomes_a_dict(self) -> None:
        assert _pickle_subset.load(pickle.dumps(collections.OrderedDict(a=1, b=[2]), 2)) == {"a": 1, "b": [2]}

    @pytest.mark.parametrize(("program", "name"), [(b"}K\x010.", "POP"), (b"}2.", "DUP"), (b"S'a\\d'\n.", "STRING")])
    def test_operations_without_a_place_are_refused_by_name(self, program: bytes, name: str) -> None:
        with pytest.raises(_pickle_subset.PickleError, match=f"the pickle operation {name} has no place"):
            _pickle_subset.load(program)

    @given(st.binary(max_size=60))
    def test_any_bytes(self, program: bytes) -> None:
        with contextlib.suppress(_pickle_subset.PickleError):
            _pickle_subset.load(program)


def archive_faults() -> dict[str, tuple[bytes, str]]:
    program, dict_, tensor, storage = files.program, files.dict_, files.tensor, files.storage
    good = files.torch_bytes({"x": np.arange(4, dtype=np.float32)})
    empty = program(b"}")
    number = program(dict_({"x": b"K\x05", "y": b"]"}))
    x = program(dict_({"x": tensor(storage("F32", "7", 2), 0, (2,), (1,))}))
    flipped = bytearray(good)
    flipped[good.index(b"archive/data/0")] = ord("b")  # the local header; the directory stands at the end
    twice = dict_({"x": tensor(storage("F32", "0", 2), 0, (2,), (1,))})[:-1] + files.text("x") + b"K\x01u"
    with_duplicate = {"data.pkl": x, "data/7": bytes(8)}
    return {
        "no zip": (b"hello, this is no checkpoint at all", "does not start as a zip archive"),
        "tar": (bytes(257) + b"ustar", "was written by PyTorch before 0.1.10, as a tar archive"),
        "tar tells what to do": (bytes(257) + b"ustar", "torch.load(path, weights_only=True)"),
        "truncated": (good[:-30], "is truncated or corrupt"),
        "half": (good[: len(good) // 2], "is truncated or corrupt"),
        "no table": (files.archive({"version": b"3"}), "0 records named data.pkl"),
        "two tables": (files.archive({"a/data.pkl": empty, "b/data.pkl": empty}, root=""), "2 records named data.pkl"),
        "torchscript": (files.archive({"data.pkl": empty, "constants.pkl": empty}), "is a TorchScript program"),
        "compressed": (files.archive({"data.pkl": empty}, method=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
        "big-endian": (files.archive({"data.pkl": empty, "byteorder": b"big"}), "is big-endian"),
        "odd byte order": (files.archive({"data.pkl": empty, "byteorder": b"middle"}), "its byte order is"),
        "local header lies": (bytes(flipped), "record archive/data/0 does not lie where the directory says"),
        "no state dict": (files.archive({"data.pkl": program(b"K\x05")}), "holds no table of named tensors"),
        "numbered": (files.archive({"data.pkl": program(b"}K\x01K\x02s")}), "holds no table of named tensors"),
        "no tensor": (files.archive({"data.pkl": number}), "x is int, not a tensor"),
        "no tensor either": (files.archive({"data.pkl": number}), "y is list, not a tensor"),
        "name twice": (files.archive({"data.pkl": program(twice), "data/0": bytes(8)}), "'x' stands twice"),
        "storage absent": (files.archive({"data.pkl": x}), "its storage 7 is not in the file"),
        "storage short": (one_tensor(0, (12,), (1,), size=11), "12 elements F32 take 48 bytes, its storage has 44"),
        "storage long": (one_tensor(0, (12,), (1,), size=13), "12 elements F32 take 48 bytes, its storage has 52"),
        "beyond the end": (one_tensor(1, (12,), (1,)), "its last element would be number 12 of a storage of 12"),
        "stride beyond": (one_tensor(0, (2, 3), (10, 1)), "would be number 12 of a storage of 12"),
        "negative stride": (one_tensor(11, (12,), (-1,)), "strides (-1,)"),
        "negative offset": (one_tensor(-1, (2,), (1,)), "offset -1"),
        "rank": (one_tensor(0, (2, 2), (1,)), "shape (2, 2), strides (1,)"),
        "expanded": (one_tensor(0, (1 << 20, 1 << 20), (0, 0)), "an expanded view"),
        "astronomic": (one_tensor(0, (0, 1 << 62), (1, 1)), "shape (0, 4611686018427387904)"),
        "huge number": (_huge(), "a number of 99999 bits; 64 are the most accepted"),
        "duplicate record": (_duplicate_record(with_duplicate), "record archive/data/7 stands twice"),
    }


def _huge() -> bytes:
    """A dimension of a hundred thousand bits, which Python 3.11 refuses to print."""
    huge = b"\x8b" + struct.pack("<I", 12_500) + b"\x7f" * 12_500
    function = files.import_("torch._utils", "_rebuild_tensor_v2")
    parts = (
        files.storage("F32", "0", 2),
        b"K\x00",
        files.tuple_(huge),
        files.tuple_(b"K\x01"),
        b"\x89",
        files.ORDERED_DICT,
    )
    return files.archive(
        {"data.pkl": files.program(files.dict_({"x": files.call(function, *parts)})), "data/0": bytes(8)}
    )


def _duplicate_record(records: dict[str, bytes]) -> bytes:
    return files.archive({**records, "data/8": bytes(8)}).replace(b"archive/data/8", b"archive/data/7")


ARCHIVES = archive_faults()


@pytest.mark.parametrize("fault", ARCHIVES)
def test_faults(tmp_path: Path, fault: str) -> None:
    content, message = ARCHIVES[fault]
    with pytest.raises(CheckpointError) as error:
        opened(tmp_path, content)
    assert message in str(error.value)
    assert "pytorch_model.bin" in str(error.value)
    assert len(str(error.value)) < 2000
