"""Record what transformers answers: python -m tests.zoo.record, with the extra `parity`, sentencepiece and protobuf.

It writes recorded.json beside this file.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import transformers

from tests.zoo.folders import ROWS
from tests.zoo.row import Row, answers, write

OUT = Path(__file__).with_name("recorded.json")


def theirs(folder: Path, row: Row) -> dict[str, Any]:
    """What transformers answers to a row's folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity(50)
        return answers(transformers.AutoTokenizer.from_pretrained(write(folder, row)))


def main() -> None:
    with tempfile.TemporaryDirectory() as base:
        recorded = {
            name: theirs(Path(base) / str(i), row) for i, (name, row) in enumerate(ROWS.items()) if row.error is None
        }
    parts: dict[str, int] = {}  # what many rows answer stands once
    numbered = {
        name: {key: parts.setdefault(json.dumps(part, ensure_ascii=False), len(parts)) for key, part in row.items()}
        for name, row in recorded.items()
    }
    made_by = f"transformers {transformers.__version__}, tests/zoo/record.py"
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in numbered.items())
    texts = ",\n".join(f"  {part}" for part in parts)
    content = f'{{\n "made_by": {json.dumps(made_by)},\n "answers": {{\n{rows}\n }},\n "parts": [\n{texts}\n ]\n}}\n'
    OUT.write_text(content, encoding="utf-8")
    sys.stderr.write(f"{len(recorded)} folders in {OUT}\n")


if __name__ == "__main__":
    main()
