"""Writers of checkpoint files for these tests: small models, and files that say whatever a test wants them to say."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.weights import ModelWeights, open_checkpoint, read_model
from tests.synthetic import tensors

DISTILBERT = {
    "model_type": "distilbert", "architectures": ["DistilBertForMaskedLM"], "vocab_size": 23,
    "max_position_embeddings": 11, "n_layers": 2, "n_heads": 2, "dim": 8, "hidden_dim": 12, "activation": "gelu",
}  # fmt: skip
BERT = {
    "model_type": "bert", "architectures": ["BertModel"], "vocab_size": 23, "max_position_embeddings": 11,
    "type_vocab_size": 2, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 12,
    "hidden_act": "gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
BERT_MLM = {**BERT, "architectures": ["BertForMaskedLM"]}
DISTILBERT_BARE = {**DISTILBERT, "architectures": ["DistilBertModel"]}

CODES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip
STORAGES = {
    "F64": "DoubleStorage", "F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage",
    "I64": "LongStorage", "I32": "IntStorage", "I16": "ShortStorage", "I8": "CharStorage",
    "U8": "ByteStorage", "BOOL": "BoolStorage",
}  # fmt: skip


def bfloat16(x: np.ndarray) -> np.ndarray:
    """float32 cut to bfloat16 bits (uint16); with `widened`, the oracle of what reading them gives."""
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def widened(bits: np.ndarray) -> np.ndarray:
    return np.asarray(np.left_shift(bits, 16, dtype=np.uint32)).view(np.float32)


def code_of(x: np.ndarray) -> str:
    return next(code for code, dtype in CODES.items() if np.dtype(dtype) == x.dtype)


def safetensors_bytes(arrays: Mapping[str, np.ndarray], pad: int = 0, metadata: dict | None = None) -> bytes:
    """A safetensors file; uint16 arrays are stored as BF16; `pad` spaces end the header (and shift the data)."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, x in arrays.items():
        header[name] = {"dtype": code_of(x), "shape": list(x.shape), "data_offsets": [len(data), len(data) + x.nbytes]}
        data += x.tobytes()
    return raw_safetensors(json.dumps(header).encode() + b" " * pad, data)


def raw_safetensors(header: bytes | dict, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def write_model(
    folder: Path, config: dict, arrays: Mapping[str, np.ndarray] | None = None, *, torch: bool = False
) -> Path:
    """Write config.json and the weights, by default those of tests.synthetic."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    arrays = tensors(config) if arrays is None else arrays
    if torch:
        (folder / "pytorch_model.bin").write_bytes(torch_bytes(arrays))
    else:
        (folder / "model.safetensors").write_bytes(safetensors_bytes(arrays))
    return folder


# --- the pickle language, by hand: https://docs.python.org/3/library/pickletools.html


def import_(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def tuple_(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_(*arguments) + b"R"


def dict_(entries: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in entries.items()) + b"u"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


ORDERED_DICT = import_("collections", "OrderedDict") + b")R"


def storage(code: str, key: str, count: int, kind: bytes | None = None, *rest: bytes) -> bytes:
    kind = import_("torch", STORAGES[code]) if kind is None else kind
    return tuple_(text("storage"), kind, text(key), text("cpu"), integer(count), *rest) + b"Q"


def tensor(storage: bytes, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    numbers = (tuple_(*map(integer, shape)), tuple_(*map(integer, strides)))
    return call(import_("torch._utils", "_rebuild_tensor_v2"), storage, integer(start), *numbers, b"\x89", ORDERED_DICT)


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))


OLD_MAGIC = program(integer(0x1950A86A20F9469CFC6C))
OLD_VERSION = program(integer(1001))
OLD_MACHINE = program(dict_({"protocol_version": integer(1001), "little_endian": b"\x88", "type_sizes": b"}"}))


def old_torch_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What torch.save(state_dict) wrote before PyTorch 1.6; uint16 arrays are stored as BF16."""
    entries, keys, data = {}, [], b""
    for i, (name, x) in enumerate(arrays.items()):
        key = str(140000 + i)  # an address, there
        entries[name] = tensor(storage(code_of(x), key, x.size, None, b"N"), 0, x.shape, c_strides(x.shape))
        keys.append(text(key))
        data += struct.pack("<q", x.size) + x.tobytes()
    state = program(ORDERED_DICT + dict_(entries)[1:])
    return OLD_MAGIC + OLD_VERSION + OLD_MACHINE + state + program(b"](" + b"".join(keys) + b"e") + data


def torch_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What torch.save(state_dict) writes: one storage for one array; uint16 arrays are stored as BF16."""
    entries, records, places = {}, {}, {}
    for name, x in arrays.items():
        place = places.setdefault(id(x), len(places))
        entries[name] = tensor(storage(code_of(x), str(place), x.size), 0, x.shape, c_strides(x.shape))
        records[f"data/{place}"] = x.tobytes()
    state = (
        ORDERED_DICT + dict_(entries)[1:] + b"}" + text("_metadata") + ORDERED_DICT + b"sb"
    )  # BUILD: an attribute of the dict
    return archive({"data.pkl": program(state), "byteorder": b"little", **records, "version": b"3\n"})


def archive(records: Mapping[str, bytes], root: str = "archive/", method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive with its records on 64-byte boundaries, as torch's writer has them."""
    import io

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in records.items():
            info = zipfile.ZipInfo(root + name)
            info.compress_type = method
            padding = -(out.tell() + 30 + len(info.filename) + 4) % 64
            info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            file.writestr(info, content)
    return out.getvalue()


def read(
    folder: Path, config: dict, arrays: dict[str, np.ndarray] | None = None, heads: tuple[str, ...] | None = None
) -> ModelWeights:
    """What `read_model` makes of a checkpoint that is written for it."""
    return read_model(open_checkpoint(write_model(folder, config, arrays)), heads)
