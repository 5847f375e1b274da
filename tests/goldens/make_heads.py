"""Makes the goldens of the heads: python -m tests.goldens.make_heads

Needs the extra `parity` (torch and transformers). Overwrites tests/goldens/heads.json.
"""

from __future__ import annotations

import json

from tests.goldens.torch_heads import head_stages  # first: it sets the pins

from tests.goldens import heads  # isort: skip
from tests.goldens.load import inputs_digest, weights_digest  # isort: skip
from tests.goldens.make import _made_with  # isort: skip
from tests.heads import FEW_LABELS, HEADS, ONE_PRODUCT, SUMMARIES  # isort: skip
from tests.synthetic import tensors  # isort: skip


def main() -> None:
    golden: dict = {"made_with": _made_with(), "heads": {}}
    for head in HEADS + FEW_LABELS + ONE_PRODUCT + SUMMARIES:
        arrays = heads.inputs(head)
        golden["heads"][head.key] = {
            "weights": weights_digest(tensors(head.config(), seed=2)),
            "inputs": inputs_digest(tuple(arrays.values())),
            "stages": {name: heads.encode(x) for name, x in head_stages(head, arrays).items()},
        }
    heads.PATH.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
