"""Options that callers pass, checked in one way, so that an error names the option and what was expected of it."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

_CPUS = ("cpu", "cpu:0", "-1")  # the last is transformers' number of it
_MOST = 1 << 31  # what libraries below count in 32 bits


def check_number(name: str, value: Any, least: int = 1) -> int | None:
    """Return an option that counts something as an int; None where it is unset.

    Args:
        name: the option's.
        value: what the caller passed.
        least: the smallest number that is allowed, 0 or 1.

    Raises:
        TypeError: no whole number.
        ValueError: too small, or 2^31 and more.
    """
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{name} must {'be positive' if least else 'not be negative'}, got {number}")
    if number >= _MOST:
        raise ValueError(f"{name} must be less than 2^31, got {number}")
    return number


def check_fraction(name: str, value: Any) -> float:
    """Return an option that says which part of something, from 0 to below 1.

    Raises:
        TypeError: no number.
        ValueError: negative, 1 and more, or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    number = float(value)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be a fraction, from 0 to below 1, such as 0.01; got {number:g}")
    return number


def check_text(name: str, value: Any) -> str | None:
    """Return an option that is text; None where it is unset.

    Raises:
        TypeError: no text.
    """
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {type(value).__name__}")
    return value


def check_table(name: str, value: Any) -> Mapping[str, Any]:
    """Return an option that is a table of further options; an empty one where it is unset.

    Raises:
        TypeError: no dictionary.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dictionary, got {type(value).__name__}")
    return value


def refuse_table(name: str, value: Any) -> None:
    """Refuse a table, such as a DataFrame, which has columns and iterates over their names (TypeError)."""
    if hasattr(value, "columns") or hasattr(value, "column_names"):
        kind = type(value).__name__
        raise TypeError(f'{name} must be text, got a {kind}: pass one of its columns, such as table["text"].tolist()')


def check_device(device: Any) -> None:
    """Refuse a device other than the CPU; None, where nobody named one, is fine, and so is a list of CPUs.

    Raises:
        ValueError: any other.
    """
    if isinstance(device, (list, tuple)):
        for one in device:
            check_device(one)
    elif device is not None and str(device) not in _CPUS:
        raise ValueError(
            f'minidistil computes on the CPU only, got device {str(device)!r}: leave it out, or pass "cpu"'
        )


class Device(str):
    """The name of a device, as PyTorch's objects show it: `.type` and `.index`."""

    @property
    def type(self) -> str:
        """The kind of device."""
        return self.partition(":")[0]

    @property
    def index(self) -> None:  # type: ignore[override]
        """Its number, which a CPU has not."""
        return None


CPU = Device("cpu")


def is_iterable(value: Any) -> bool:
    """Whether there is something to iterate over; an array without an axis, or memory of several, only says so."""
    axes = getattr(value, "ndim", 1)
    return hasattr(value, "__iter__") and (axes == 1 if isinstance(value, memoryview) else axes != 0)


def is_one_of(value: Any, choices: Iterable[Any]) -> bool:
    """Whether an option has one of some plain values. A list or an array, which compare in their own ways, has not."""
    return type(value).__hash__ is not None and any(value is choice or value == choice for choice in choices)
