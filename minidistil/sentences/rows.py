"""Rows of any table that is embedded: the text, and what stands beside it."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A text to embed, None where there is none.

    Attributes:
        text: of it.
        values: by column, the text's among them.
        key: what a resumed call compares: the text, or all that came of the row into the file.
    """

    text: str | None
    values: Mapping[str, Any]
    key: str


def json_text(values: Mapping[str, Any]) -> str:
    """Return values by column as a line of JSON; times as ISO 8601 has them, decimal numbers as text.

    Raises:
        ValueError: a column holds something that JSON has no form for.
    """
    try:
        return json.dumps(dict(values), ensure_ascii=False, default=as_json)
    except TypeError as error:
        wrong = [name for name, value in values.items() if not _fits(value)]
        raise ValueError(f"column {', '.join(map(repr, wrong))}: {error}; write .parquet or .arrow") from error


def cell(column: str, value: Any) -> Any:
    """Return a value as a cell of CSV, where lists stand as JSON (ValueError where it has no form)."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    try:
        is_nested = isinstance(value, (list, tuple, dict))
        return json.dumps(value, ensure_ascii=False, default=as_json) if is_nested else as_json(value)
    except TypeError as error:
        raise ValueError(f"column {column!r}: {error}; write .parquet or .arrow") from error


def as_json(value: Any) -> Any:
    """Return what JSON has for a value that it does not know (TypeError where it has nothing)."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    raise TypeError(f"JSON has no form for {type(value).__name__}")


def _fits(value: Any) -> bool:
    try:
        json.dumps(value, default=as_json)
    except TypeError:
        return False
    return True
