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

import torch
import transformers

from tests.zoo import checkpoints
from tests.zoo.folders import ROWS
from tests.zoo.models import FILL_MASK, PAIRS, ask, write_model
from tests.zoo.row import Row, answers, write

OUT = Path(__file__).with_name("recorded.json")


def theirs(folder: Path, row: Row) -> dict[str, Any]:
    """What transformers answers to a row's folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity(50)
        return answers(transformers.AutoTokenizer.from_pretrained(write(folder, row)))


def their_pipelines(base: Path) -> dict[str, dict[str, Any]]:
    """What transformers' pipelines answer to the models of the zoo."""
    transformers.logging.set_verbosity(50)
    return {
        ending: {
            name: ask(transformers.pipeline, write_model(base / ending / str(i), name, ending), ending)
            for i, name in enumerate(names)
        }
        for ending, names in (("ForMaskedLM", FILL_MASK), ("ForSequenceClassification", PAIRS))
    }


def their_states(folder: Path, row: checkpoints.Stored) -> list[float]:
    """What transformers makes of a row of checkpoints, by the class of the bare model."""
    path = checkpoints.write(folder, row)
    model = transformers.AutoModel.from_pretrained(path, attn_implementation="eager", **row.options).eval()
    with torch.no_grad():
        hidden = model(torch.from_numpy(checkpoints.IDS)).last_hidden_state
    return checkpoints.answer(hidden.float().numpy())


def main() -> None:
    with tempfile.TemporaryDirectory() as base:
        recorded = {
            name: theirs(Path(base) / str(i), row) for i, (name, row) in enumerate(ROWS.items()) if row.error is None
        }
        states = {
            name: their_states(Path(base) / "checkpoints" / str(i), row)
            for i, (name, row) in enumerate(checkpoints.ROWS.items())
            if row.error is None and row.like is None
        }
        models = json.dumps(their_pipelines(Path(base) / "models"), ensure_ascii=False)
    parts: dict[str, int] = {}  # what many rows answer stands once
    numbered = {
        name: {key: parts.setdefault(json.dumps(part, ensure_ascii=False), len(parts)) for key, part in row.items()}
        for name, row in recorded.items()
    }
    made_by = f"transformers {transformers.__version__}, tests/zoo/record.py"
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in numbered.items())
    texts = ",\n".join(f"  {part}" for part in parts)
    content = {
        "made_by": json.dumps(made_by),
        "answers": f"{{\n{rows}\n }}",
        "parts": f"[\n{texts}\n ]",
        "models": models,
        "checkpoints": "{\n" + ",\n".join(f"  {json.dumps(n)}: {json.dumps(x)}" for n, x in states.items()) + "\n }",
    }
    lines = ",\n".join(f' "{name}": {text}' for name, text in content.items())
    OUT.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    sys.stderr.write(f"{len(recorded)} folders in {OUT}\n")


if __name__ == "__main__":
    main()
