"""Tables in files of every form, for the tests of the commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

pa: Any = pytest.importorskip("pyarrow", reason="Arrow and Parquet need pyarrow")
pq: Any = pytest.importorskip("pyarrow.parquet", reason="Arrow and Parquet need pyarrow")
feather: Any = pytest.importorskip("pyarrow.feather", reason="Arrow and Parquet need pyarrow")

QUICK = ("--threads", "1")
TEXTS = ["the city of light", 'wine, "bread"\nand music', "", "paris is great", "unbelievable"] * 20
TYPED = (".parquet", ".arrow", ".feather")
FORMS = (".csv", ".tsv", ".jsonl", *TYPED)


def write(path: Path, table: Any) -> Path:
    """A table as a file of the form that its name says, Parquet in row groups of 30."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=30)
    elif path.suffix in TYPED:
        feather.write_feather(table, path, chunksize=30)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, "excel-tab" if path.suffix == ".tsv" else "excel")
            writer.writerows([table.schema.names, *(row.values() for row in table.to_pylist())])
    return path


def read(path: Path) -> Any:
    """A file of any form as a table; all is text in CSV."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    if path.suffix in TYPED:
        return feather.read_table(path, memory_map=False)
    if path.suffix == ".jsonl":
        return pa.Table.from_pylist([json.loads(line) for line in path.read_text().splitlines()])
    with path.open(newline="") as file:
        return pa.Table.from_pylist(
            list(csv.DictReader(file, dialect="excel-tab" if path.suffix == ".tsv" else "excel"))
        )


def plain(table: Any) -> list[dict[str, Any]]:
    """The rows of a table such as `rich`: nanoseconds, which Python's times have not, as numbers."""
    at = table.schema.get_field_index("at")
    rows: list[dict[str, Any]] = table.set_column(at, "at", table["at"].cast(pa.int64())).to_pylist()
    return rows
