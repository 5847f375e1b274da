"""Padding of what a tokenizer made before, as transformers' `pad` does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minidistil.tokenization.encoding import BatchEncoding, to_arrays

_SIDES = ("right", "left")


def pad_encoded(
    encoded: Any,
    fillings: Mapping[str, int],
    strategy: str | None,
    length: int | None,
    multiple: int | None,
    side: str,
    with_mask: bool,
    tensors: str | None,
) -> BatchEncoding:
    """Make encodings as long as each other.

    Args:
        encoded: what a tokenizer returned, for one text or several; or a list of what it returned for one each. Arrays
            are taken as well, and come out as NumPy's.
        fillings: what stands in the padding, by name; other names stay as they are.
        strategy: "longest", "max_length" or None.
        length: of "max_length".
        multiple: round lengths up to a multiple of this.
        side: "right" or "left".
        with_mask: whether an attention mask is made where there is none.
        tensors: "np" for arrays.

    Raises:
        TypeError: no encodings.
        ValueError: no ids in them, lists that do not match, or an unknown side.
    """
    if side not in _SIDES:
        raise ValueError(f"padding_side must be one of {', '.join(_SIDES)}, got {side!r}")
    if isinstance(encoded, (list, tuple)) and encoded and all(isinstance(one, Mapping) for one in encoded):
        encoded = {name: [one[name] for one in encoded] for name in encoded[0]}
    if not isinstance(encoded, Mapping):
        raise TypeError(f"pad takes what a tokenizer returned, or a list of it, got {type(encoded).__name__}")
    if "input_ids" not in encoded:
        raise ValueError(f"pad takes encodings with input_ids, these have {list(encoded)}")
    arrays = any(hasattr(part, "tolist") for value in encoded.values() for part in (value, *_first(value)))
    values = {name: _lists(value) for name, value in encoded.items()}
    ids = values["input_ids"]
    one = not (ids and isinstance(ids[0], list))
    rows = {name: [value] if one else value for name, value in values.items()}
    count = len(rows["input_ids"])
    different = [name for name, value in rows.items() if not isinstance(value, list) or len(value) != count]
    if different:
        raise ValueError(f"input_ids are of {count} texts, and {', '.join(different)} of another number")
    lengths = [len(row) for row in rows["input_ids"]]
    if with_mask:
        rows.setdefault("attention_mask", [[1] * n for n in lengths])
    if strategy is not None:
        wanted = max(lengths, default=0) if strategy == "longest" else length or 0
        wanted = -(-wanted // multiple) * multiple if multiple else wanted
        for name in rows.keys() & fillings.keys():
            rows[name] = [
                _filled(row, wanted - n, fillings[name], side) for row, n in zip(rows[name], lengths, strict=True)
            ]
    if tensors == "np" or arrays:
        return BatchEncoding(to_arrays({name: value[0] if one else value for name, value in rows.items()}))
    return BatchEncoding({name: value[0] if one else value for name, value in rows.items()})


def _filled(row: list[int], missing: int, filling: int, side: str) -> list[int]:
    more = [filling] * missing
    return row + more if side == "right" else more + row


def _first(value: Any) -> tuple[Any, ...]:
    return tuple(value[:1]) if isinstance(value, (list, tuple)) else ()


def _lists(value: Any) -> Any:
    """Arrays, and lists of them, as lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_lists(one) for one in value] if isinstance(value, (list, tuple)) else value
