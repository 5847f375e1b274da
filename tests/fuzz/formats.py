"""Weight files taken apart, changed where their formats can be misread, and put together again."""

from __future__ import annotations

import io
import math
import pickletools
import random
import zipfile

import numpy as np

from tests.fuzz import byte_text, json_text
from tests.fuzz.json_text import Pairs
from tests.weights import files as writers
from tests.zoo.vocabularies import varint

_DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I8", "U8", "BOOL", "F4", "F6_E2M3", "F8_E4M3", "C64", "f32", "")
_SIZES = (0, 1, 2, 3, 7, 8, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -1)
_ODD_FLOATS = (np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-40, 1e-45, -0.0, 1e20, 1e10)


def mutate_safetensors(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A safetensors file with another header, other offsets, other data, or bytes changed anywhere."""
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    change = rng.randrange(10)
    if change == 0 or length > len(content) - 8:
        return byte_text.mutate(content, rng, 8 + length if rng.random() < 0.7 else None)
    if change == 1:
        size = rng.choice((*_SIZES, length + 1, length - 1, len(content) - 8, len(content) - 7, 100_000_001))
        return (size % (1 << 64)).to_bytes(8, "little") + header + data, f"safetensors: a header of {size}"
    if change == 2:
        changed, told = _odd_floats(data, rng)
        return content[: 8 + length] + changed, told
    try:
        tree = json_text.parse(header)
    except (ValueError, RecursionError):  # an earlier change did it
        return byte_text.mutate(content, rng)
    entries = [pair for pair in tree if isinstance(pair[1], Pairs)] if isinstance(tree, Pairs) else []
    if change < 6 or not entries:
        told = json_text.mutate(tree, rng)
    else:
        told = _lie(entries, tree, rng, len(data))
    text = json_text.dump(tree) + rng.choice((b"", b"", b" " * 7, b"\0", b"\n" * 64))
    return len(text).to_bytes(8, "little") + text + data, told


def _lie(entries: list, tree: Pairs, rng: random.Random, size: int) -> str:
    """One entry that says something else of its tensor."""
    pair = rng.choice(entries)
    name, entry = pair
    change = rng.randrange(7)
    offsets = json_text.find(entry, "data_offsets")
    shape = json_text.find(entry, "shape")
    if change == 0:
        json_text.set_key(entry, "dtype", rng.choice(_DTYPES))
    elif change == 1 and type(shape) is list and shape:
        shape[rng.randrange(len(shape))] = rng.choice(_SIZES)
    elif change == 2 and type(shape) is list:
        numbers = [n for n in shape if isinstance(n, int)]
        shape[:] = rng.choice(([math.prod(numbers)], shape[::-1], [*shape, 1], [0, *shape], [1] * 40, shape[:-1]))
    elif change == 3 and type(offsets) is list and len(offsets) == 2:
        shift = rng.choice((-4, 4, -1, 1, size, -size, 1 << 63))
        offsets[:] = [n + shift if isinstance(n, int) else n for n in offsets]
    elif change == 4 and type(offsets) is list and offsets:
        offsets[rng.randrange(len(offsets))] = rng.choice((*_SIZES, size, size + 1))
    elif change == 5:  # the same data, in other numbers
        other = rng.choice(entries)[1]
        json_text.set_key(entry, "data_offsets", json_text.find(other, "data_offsets"))
    else:
        new = rng.choice(
            (f"x{name}", f"bert.{name}", name.replace("weight", "gamma"), name.partition(".")[2], "q" * 300)
        )
        pair[0] = new
        return f"safetensors: {name} is called {new[:60]}"
    return f"safetensors: of {name} {ascii(entry)[:150]}"


def _odd_floats(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    values = bytearray(data)
    value = rng.choice(_ODD_FLOATS)
    for _ in range(rng.choice((1, 1, 5, 200))):
        at = rng.randrange(max(1, len(values) // 4)) * 4
        with np.errstate(all="ignore"):
            values[at : at + 4] = np.float32(value).tobytes()
    return bytes(values[: len(data)]), f"data: {value} somewhere"


def mutate_torch(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A torch file with another pickle, another zip archive, or bytes changed anywhere."""
    if content.startswith(writers.OLD_MAGIC):
        return _mutate_old_torch(content, rng)
    change = rng.randrange(10)
    try:
        records = _unzip(content)
    except Exception:  # an earlier change did it
        records = {}
    if change < 2 or not records:
        return byte_text.mutate(content, rng)
    if change == 2:
        return _zip_field(content, rng)
    if change == 3:
        told = _records(records, rng)
    elif change == 4:
        name = rng.choice(sorted(records))
        records[name], told = byte_text.mutate(records[name], rng)
        told += f" in {name}"
    else:
        program, told = mutate_pickle(records.get("data.pkl", b""), rng)
        records["data.pkl"] = program
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.02 else zipfile.ZIP_STORED
    return writers.archive(records, method=method), told


def _mutate_old_torch(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A torch file as before 1.6 with another pickle, other numbers of elements, or bytes changed anywhere."""
    programs: list[bytes] = []
    stream = io.BytesIO(content)
    try:
        for _ in range(5):
            start = stream.tell()
            for _ in pickletools.genops(stream):
                pass
            programs.append(content[start : stream.tell()])
    except Exception:  # an earlier change did it
        return byte_text.mutate(content, rng)
    data, change = content[stream.tell() :], rng.randrange(8)
    if change == 0:
        return byte_text.mutate(content, rng)
    if change == 1:
        del programs[rng.randrange(5)]
        told = "old torch: a pickle less"
    elif change == 2:
        size = rng.choice(_SIZES) % (1 << 64)
        data, told = size.to_bytes(8, "little") + data[8:], f"old torch: a storage of {size}"
    elif change == 3:
        data, told = byte_text.mutate(data, rng)
    else:
        at = rng.choice((1, 2, 3, 3, 3, 4))
        programs[at], told = mutate_pickle(programs[at], rng)
    return b"".join(programs) + data, told


def _unzip(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name.removeprefix("archive/"): file.read(name) for name in file.namelist()}


def _records(records: dict[str, bytes], rng: random.Random) -> str:
    name = rng.choice(sorted(records))
    change = rng.randrange(5)
    if change == 0:
        del records[name]
        return f"zip: no {name}"
    if change == 1:
        records[rng.choice((f"../{name}", name.upper(), f"{name}/", "constants.pkl", "é" * 9, f"x/{name}"))] = (
            records.pop(name)
        )
        return f"zip: {name} is called otherwise"
    if change == 2:
        records["byteorder"] = rng.choice((b"big", b"", b"little\n", b"LITTLE", b"\xff" * 99))
        return "zip: another byteorder"
    if change == 3:
        records[f"data/{rng.randrange(40)}"] = rng.randbytes(rng.choice((0, 1, 4, 4096)))
        return "zip: another storage"
    other = rng.choice(sorted(records))
    records[name], records[other] = records[other], records[name]
    return f"zip: {name} and {other} exchanged"


# Signature -> (name, offset, size) of the fields that say where things are: APPNOTE.TXT of PKWARE, 4.3.
_ZIP_FIELDS = {
    b"PK\x03\x04": (("flags", 6, 2), ("method", 8, 2), ("size", 18, 4), ("length", 22, 4), ("name", 26, 2), ("extra",
    28, 2)),
    b"PK\x01\x02": (
        ("flags", 8, 2), ("method", 10, 2), ("size", 20, 4), ("length", 24, 4), ("name", 28, 2), ("extra", 30, 2),
        ("comment", 32, 2), ("disk", 34, 2), ("offset", 42, 4),
    ),
    b"PK\x05\x06": (("disk", 4, 2), ("here", 8, 2), ("entries", 10, 2), ("size", 12, 4), ("offset", 16, 4),
    ("comment", 20, 2)),
}  # fmt: skip


def _zip_field(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    signature = rng.choice(sorted(_ZIP_FIELDS))
    places = [i for i in range(len(content) - 46) if content[i : i + 4] == signature]
    if signature == b"PK\x05\x06":
        places = [content.rfind(signature)] * (signature in content)
    if not places:
        return byte_text.mutate(content, rng)
    at = rng.choice(places)
    name, offset, size = rng.choice(_ZIP_FIELDS[signature])
    old = int.from_bytes(content[at + offset : at + offset + size], "little")
    new = rng.choice((*_SIZES, old + 1, old - 1, old * 2, len(content))) % (1 << 8 * size)
    data = bytearray(content)
    data[at + offset : at + offset + size] = new.to_bytes(size, "little")
    return bytes(data), f"zip: {name} at {at} is {new}, was {old}"


EXECUTED = "executed"
"""The folder that a hostile pickle makes, should anything run it."""
_HOSTILE = (
    writers.call(writers.import_("os", "mkdir"), writers.text(EXECUTED)) + b"0",
    writers.import_("builtins", "exec") + b"(" + writers.text(f"import os; os.mkdir('{EXECUTED}')") + b"tR0",
    b"(S'" + EXECUTED.encode() + b"'\nios\nmkdir\n0",
    b"(" + writers.import_("os", "mkdir") + writers.text(EXECUTED) + b"o0",
    writers.text("os") + writers.text("mkdir") + b"\x93" + writers.text(EXECUTED) + b"\x85R0",
    writers.import_("torch._utils", "_rebuild_tensor_v2") + b")R0",
    writers.import_("collections", "OrderedDict") + b")\x81}b0", writers.import_("torch", "FloatStorage") + b")R0",
    b"\x82\x01", b"P1\n", b"Q", b"R", b"b", b"s", b"u", b"a", b"e", b"t", b"l", b"d", b"(", b"0", b"1", b"2", b"]",
    b"}", b")", b"N", b"\x88", b"\x85", b"\x86", b"\x87", b"\x8f", b"\x90", b"\x91", b"\x94", b"r\xff\xff\xff\xff",
    b"j\xff\xff\xff\x7f", b"p99999999999999999999\n", b"g0\n", b"h\x00", b"q\x00", b"\x80\x05", b"\x80\xff",
    b"\x95" + b"\xff" * 8, b"\x8b\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\xff", b"\x8a\xff" + b"\x7f" * 255,
    b"I" + b"9" * 4000 + b"\n", b"L" + b"9" * 5000 + b"L\n", b"F1e999\n", b"X\xff\xff\xff\xff", b"\x8d" + b"\xff" * 8,
    b"V\\ud800\n", b"\x85" * 3000, b"]" * 3000 + b"a" * 2999 + b"0", b"}" * 100, b"(" * 3000,
    b"(" + b"K\x01" * 3000 + b"t0", b"G" + b"\x7f\xf8" + b"\0" * 6 + b"0", b"cos\nsystem\n0", b"c\n\n0",
    b"c\xff\n\xff\n0", b"cos\\\\\nsystem\n0", b"U\xff", b"T\xff\xff\xff\xff", b"B\xff\xff\xff\x7f",
    b"\x8e" + b"\xff" * 8, b"\x96" + b"\xff" * 8, b"\x97", b"\x98", b"\x89", b".",
)  # fmt: skip


def mutate_pickle(program: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A pickle program with operations put in, taken out, repeated, exchanged, or with other numbers."""
    change = rng.randrange(9)
    if change == 0:
        return byte_text.mutate(program, rng)
    if change == 1:
        return _amplified(rng)
    try:
        starts = [position for _, _, position in pickletools.genops(program)]
    except Exception:  # an earlier change did it
        return byte_text.mutate(program, rng)
    operations = [program[a:b] for a, b in zip(starts, [*starts[1:], len(program)], strict=True)]
    at = rng.randrange(len(operations))
    if change < 4:
        new = rng.choice(_HOSTILE)
        operations[at:at] = [new]
        return b"".join(operations), f"pickle: {new[:40]!r} put in at {at}"
    if change == 4:
        gone = operations[at : at + rng.choice((1, 1, 2, 10))]
        del operations[at : at + len(gone)]
        return b"".join(operations), f"pickle: {gone[0][:40]!r} taken out at {at}"
    if change == 5:
        other = rng.randrange(len(operations))
        operations[at], operations[other] = operations[other], operations[at]
        return b"".join(operations), f"pickle: operations {at} and {other} exchanged"
    if change == 6:
        run = operations[at : at + rng.choice((1, 2, 10, 60))]
        operations[at:at] = run * rng.choice((1, 2, 50))
        return b"".join(operations), f"pickle: {len(run)} operations repeated at {at}"
    numbers = [i for i, operation in enumerate(operations) if operation[:1] in b"KMJ\x8a" and len(operation) > 1]
    if not numbers:
        return byte_text.mutate(program, rng)
    at = rng.choice(numbers)
    new = rng.choice((*_SIZES, 4, 5, 16, 1 << 64, 10**30, -(1 << 63)))
    operations[at] = writers.integer(new)
    return b"".join(operations), f"pickle: the number at {at} is {new}"


def _amplified(rng: random.Random) -> tuple[bytes, str]:
    """A small program whose values are large: a shape of N numbers that M tensors share."""
    rank, tensors = rng.choice(((4, 2000), (64, 1000), (5000, 500), (20_000, 2000), (60_000, 100)))
    shape = writers.tuple_(*[writers.integer(rng.choice((0, 1, 1, 2)))] * rank) + b"q\x010"
    function = writers.import_("torch._utils", "_rebuild_tensor_v2") + b"q\x020"
    storage = writers.storage("F32", "0", 4) + b"q\x030"
    one = b"h\x02(h\x03K\x00h\x01h\x01\x89" + writers.ORDERED_DICT + b"tR"
    entries = b"".join(writers.text(f"t{i}") + one for i in range(tensors))
    return (
        b"\x80\x02" + shape + function + storage + b"}(" + entries + b"u.",
        f"pickle: {tensors} tensors of {rank} dimensions",
    )


def mutate_weights(content: bytes, name: str, rng: random.Random) -> tuple[bytes, str]:
    """A weight file changed by what its name says it is."""
    return (mutate_safetensors if name.endswith(".safetensors") else mutate_torch)(content, rng)


def mutate_pieces(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A SentencePiece model with other pieces, scores, kinds or lengths, or bytes changed anywhere."""
    change = rng.randrange(9)
    parts = _messages(content)
    if change == 0 or not parts:
        return byte_text.mutate(content, rng)
    at = rng.randrange(len(parts))
    number, body = parts[at]
    told = f"pieces: change {change} of part {at}"
    if change == 1:
        del parts[at : at + rng.choice((1, 1, 5, 400))]
    elif change == 2:
        parts[at:at] = [parts[at]] * rng.choice((1, 20))
    elif change == 3:
        rng.shuffle(parts)
    elif change == 4:
        parts[at] = rng.choice((0, 1, 2, 3, 4, 100)), body
    elif change == 5:
        text = rng.choice((*json_text.STRINGS, "", "\u2581", "a" * 2000)).encode(errors="replace")
        parts[at] = number, b"\x0a" + varint(len(text)) + text + body[-5:]
    elif change == 6:
        score = np.float32(rng.choice((*_ODD_FLOATS, -1.0))).tobytes()
        parts[at] = number, body + b"\x15" + score + b"\x18" + bytes([rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 200))])
    elif change == 7:
        body, what = byte_text.mutate(body, rng)
        parts[at] = number, body
        told += f", {what}"
    whole = [varint(n << 3 | 2) + varint(len(b)) + b for n, b in parts]
    if change == 8:
        size = rng.choice((*_SIZES, len(body) + 1)) % (1 << 64)
        whole[at] = varint(number << 3 | 2) + varint(size) + body
    return b"".join(whole), told


def _messages(content: bytes) -> list[tuple[int, bytes]]:
    """Number and bytes of each message of a protocol buffer, as far as they can be read."""
    parts, place = [], 0
    while place < len(content):
        number, size, place = content[place] >> 3, 0, place + 1
        for shift in range(0, 70, 7):
            byte = content[place] if place < len(content) else 0
            size, place = size | (byte & 127) << shift, place + 1
            if byte < 128:
                break
        parts.append((number, content[place : place + size]))
        place += size
    return parts
