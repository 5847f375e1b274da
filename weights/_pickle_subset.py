"""The part of the pickle language that a PyTorch state dict needs, interpreted without executing anything.

pickle.Unpickler calls what a file tells it to call. Even with `find_class` restricted it can be made to hang (hashing
nested tuples) or to allocate without bound (memo indices). Here a program can only build plain values: text,
numbers, tuples, lists, dicts with text or integer keys, and records of tensors. Opcodes are decoded by the standard
library's pickletools, which executes nothing either.

A value that was made once can be used any number of times by an operation of two bytes. So no operation may cost more
than a bounded time for each value that it takes off the stack: text, numbers and shapes have limits, and so has the
number of operations.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from minidistil.weights import limits

# torch's storage classes, and the element type of each by its safetensors name.
STORAGES = {
    "torch.DoubleStorage": "F64", "torch.FloatStorage": "F32", "torch.HalfStorage": "F16",
    "torch.BFloat16Storage": "BF16", "torch.LongStorage": "I64", "torch.IntStorage": "I32",
    "torch.ShortStorage": "I16", "torch.CharStorage": "I8", "torch.ByteStorage": "U8", "torch.BoolStorage": "BOOL",
}  # fmt: skip
_DICT = "collections.OrderedDict"
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_ALLOWED = {_DICT, _TENSOR, _PARAMETER, *STORAGES}


class PickleError(ValueError):
    """The program is corrupt, or asks for something that a state dict does not need.

    Attributes:
        refused: names that the program wanted to import, in order; nothing was imported.
    """

    def __init__(self, reason: str, refused: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.refused = refused


@dataclass(frozen=True)
class StorageRecord:
    """A storage in the file: element type, its key (the name of its record), number of elements."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True)
class TensorRecord:
    """A tensor over a storage: first element, shape and strides in elements. Not checked against anything."""

    storage: StorageRecord
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Global:
    name: str


_MARK = object()
_REFUSED = object()  # stands for whatever a refused import would have made


def load(program: bytes) -> Any:
    """Interpret a pickle program; returns plain values, StorageRecord and TensorRecord.

    Raises:
        PickleError: corrupt, or refused (then `refused` names every import that was not allowed).
    """
    return load_first(program)[0]


def load_first(content: bytes) -> tuple[Any, int, dict[str, StorageRecord]]:
    """Interpret the pickle program that some content begins with.

    Returns:
        What `load` does, the program's length, and every storage that it names, by key.

    Raises:
        PickleError: as of `load`.
    """
    machine, stream = _Machine(), io.BytesIO(content)
    try:
        for steps, (name, argument) in enumerate(_operations(content, stream)):
            if steps >= limits.PICKLE_STEPS:
                raise PickleError(f"more than {limits.PICKLE_STEPS} operations, which are the most accepted")
            machine.step(name, argument)
        result = machine.pop()
        if machine.stack:
            raise PickleError("values are left over at its end")
    except PickleError as error:
        if machine.refused:
            raise PickleError("imports are refused", tuple(machine.refused)) from None
        raise error from None
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        if machine.refused:
            raise PickleError("imports are refused", tuple(machine.refused)) from None
        raise PickleError(f"corrupt pickle data ({error})") from None
    if machine.refused:
        raise PickleError("imports are refused", tuple(machine.refused))
    return result, stream.tell(), machine.storages


def _operations(program: bytes, stream: io.BytesIO) -> Iterator[tuple[str, Any]]:
    """Names and arguments up to STOP. An operation that has no place here is refused before its argument is decoded."""
    while code := stream.read(1):
        opcode = _OPCODES.get(code.decode("latin-1"))
        if opcode is None:
            raise PickleError(f"corrupt pickle data (no operation at byte {stream.tell() - 1})")
        if opcode.name == "STOP":
            return
        if opcode.name not in _KNOWN:
            raise PickleError(f"the pickle operation {opcode.name} has no place in a state dict")
        if opcode.name in ("GLOBAL", "INST"):  # pickletools would interpret backslashes, and warn about some
            module, attribute = stream.readline(), stream.readline()
            yield opcode.name, _bounded(f"{module[:-1].decode()}.{attribute[:-1].decode()}")
            continue
        if opcode.name in _DECIMAL and program.find(b"\n", stream.tell(), stream.tell() + _DIGITS) < 0:
            raise PickleError(f"corrupt pickle data (a number of more than {_DIGITS} digits)")
        yield opcode.name, _bounded(opcode.arg.reader(stream)) if opcode.arg else None
    raise PickleError("corrupt pickle data (it ends without STOP)")


def _bounded(argument: Any) -> Any:
    if isinstance(argument, str) and len(argument) > limits.PICKLE_TEXT:
        raise PickleError(f"a text of {len(argument)} characters; {limits.PICKLE_TEXT} are the most accepted")
    if isinstance(argument, int) and argument.bit_length() > limits.PICKLE_BITS:
        raise PickleError(f"a number of {argument.bit_length()} bits; {limits.PICKLE_BITS} are the most accepted")
    return argument


_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_LITERALS = {
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE",
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT",
}  # fmt: skip
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"}
_DECIMAL = {"INT", "LONG", "FLOAT", "PUT", "GET"}  # numbers written out, which Python reads in quadratic time
_DIGITS = 64
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.refused: dict[str, None] = {}  # an ordered set
        self.storages: dict[str, StorageRecord] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            self.stack.append(argument)
        elif name in _SHORT_TUPLES:
            count = _SHORT_TUPLES[name]
            self.stack.append(tuple(reversed([self.pop() for _ in range(count)])))
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = self.top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.top()
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(self.memo[argument])
        elif name == "GLOBAL":
            self.find(argument)
        elif name == "INST":  # imports and calls in one
            self.to_mark()
            self.find(argument, allowed=False)
        elif name in _OPERATIONS:
            _OPERATIONS[name](self)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError("corrupt pickle data (a mark in the place of a value)")
        return value

    def top(self) -> Any:
        if self.stack[-1] is _MARK:
            raise PickleError("corrupt pickle data (a mark in the place of a value)")
        return self.stack[-1]

    def to_mark(self) -> list[Any]:
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def find(self, name: str, allowed: bool = True) -> None:
        if allowed and name in _ALLOWED:
            self.stack.append(_Global(name))
        else:
            self.refused[name] = None
            self.stack.append(_REFUSED)
            if len(self.refused) >= limits.REFUSED_IMPORTS:
                raise PickleError("imports are refused")  # these are enough to say so

    def stack_global(self) -> None:
        attribute, module = self.pop(), self.pop()
        if not (isinstance(module, str) and isinstance(attribute, str)):
            raise PickleError("corrupt pickle data (an import without a name)")
        self.find(f"{module}.{attribute}")

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if function is _REFUSED:
            self.stack.append(_REFUSED)
        elif not (isinstance(function, _Global) and isinstance(arguments, tuple)):
            raise PickleError("corrupt pickle data (a call of what is no function)")
        elif function.name == _DICT and arguments == ():
            self.stack.append({})
        elif function.name == _TENSOR and len(arguments) in (6, 7):
            self.stack.append(_tensor(*arguments[:4]))
        elif function.name == _PARAMETER and arguments and _is_tensor(arguments[0]):
            self.stack.append(arguments[0])
        else:
            raise PickleError(f"a call of {function.name} with {len(arguments)} unexpected arguments")

    def new_object(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.stack += [function, arguments]
        self.reduce()

    def persistent(self) -> None:
        key = self.pop()
        # Before PyTorch 1.6 a sixth value says what the storage is a view of; None, as of all that tensors have now.
        known = isinstance(key, tuple) and (len(key) == 5 or (len(key) == 6 and key[5] is None))
        if not (known and key[0] == "storage"):
            raise PickleError("corrupt pickle data (a reference to something other than a storage)")
        if key[1] is _REFUSED:
            self.stack.append(_REFUSED)
            return
        kind, name, count = getattr(key[1], "name", None), key[2], key[4]
        if kind not in STORAGES or not isinstance(name, str) or type(count) is not int or count < 0:
            raise PickleError("corrupt pickle data (a storage without type, name or size)")
        record = StorageRecord(STORAGES[kind], name, count)
        if self.storages.setdefault(name, record) != record:
            raise PickleError(f"the storage {ascii(name)[:200]} has two types or sizes")
        self.stack.append(record)

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if target is _REFUSED:
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise PickleError("corrupt pickle data (entries for what is no table)")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int):
                raise PickleError(f"a table key of type {type(key).__name__}")
            if key in target:
                raise PickleError(f"the table key {ascii(key)[:200]} stands twice")
            target[key] = value

    def old_dict(self) -> None:
        items = self.to_mark()
        self.stack.append({})
        self.set_items(items)

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if target is not _REFUSED:
            if not isinstance(target, list):
                raise PickleError("corrupt pickle data (elements for what is no list)")
            target.extend(items)

    def build(self) -> None:
        """Attributes of an object: a state dict carries `_metadata`, which says nothing about tensors. Dropped."""
        self.pop()
        if not isinstance(self.top(), dict) and self.top() is not _REFUSED:
            raise PickleError("corrupt pickle data (attributes for what is no table)")


_OPERATIONS: dict[str, Callable[[_Machine], None]] = {
    "EMPTY_DICT": lambda machine: machine.stack.append({}),
    "EMPTY_LIST": lambda machine: machine.stack.append([]),
    "DICT": _Machine.old_dict,
    "LIST": lambda machine: machine.stack.append(machine.to_mark()),
    "TUPLE": lambda machine: machine.stack.append(tuple(machine.to_mark())),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "BINPERSID": _Machine.persistent,
    "SETITEM": lambda machine: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine: machine.set_items(machine.to_mark()),
    "APPEND": lambda machine: machine.extend([machine.pop()]),
    "APPENDS": lambda machine: machine.extend(machine.to_mark()),
    "BUILD": _Machine.build,
}
_KNOWN = {*_CONSTANTS, *_LITERALS, *_SHORT_TUPLES, *_OPERATIONS, *_MEMO, "GLOBAL", "INST", "PROTO", "FRAME"}


def _is_tensor(value: Any) -> bool:
    return value is _REFUSED or isinstance(value, TensorRecord)


def _tensor(storage: Any, start: Any, shape: Any, strides: Any) -> Any:
    if storage is _REFUSED:
        return _REFUSED
    if not isinstance(storage, StorageRecord) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise PickleError("corrupt pickle data (a tensor without storage, offset, shape or strides)")
    if max(len(shape), len(strides)) > limits.RANK:
        rank = max(len(shape), len(strides))
        raise PickleError(f"a tensor of {rank} dimensions; {limits.RANK} are the most accepted")
    if not all(type(n) is int and abs(n) < 1 << 63 for n in (start, *shape, *strides)):
        raise PickleError("corrupt pickle data (a tensor without offset, shape or strides)")
    return TensorRecord(storage, start, shape, strides)
