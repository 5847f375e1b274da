"""Heads in the reference: transformers on PyTorch in the pinned configuration, stage by stage."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.goldens.torch_reference import torch, transformers, words  # first: it sets the pins

from tests.heads import OF_SENTENCES, Head  # isort: skip
from tests.synthetic import tensors  # isort: skip

_models: dict[Head, Any] = {}


def head_stages(head: Head, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a head gives for a padded batch: its logits; of one on sentences, also what comes before the activation
    between its two products (`dense`) and after it (`activated`)."""
    model = _model(head)
    stages: dict[str, np.ndarray] = {}

    def flat(x: Any) -> np.ndarray:
        return x.numpy().reshape(-1, x.shape[-1]).copy()

    hooks = []
    if head.task in OF_SENTENCES and head.products:
        dense, output = map(model.get_submodule, head.products[:2])
        hooks.append(dense.register_forward_hook(lambda _m, _x, y: stages.update(dense=flat(y))))
        hooks.append(output.register_forward_pre_hook(lambda _m, x: stages.update(activated=flat(x[0]))))
    try:
        with torch.inference_mode():
            arrays = {name: torch.from_numpy(x) for name, x in inputs.items()}
            ids = arrays.pop("input_ids")
            out = model(**words(model, ids, arrays["attention_mask"]), **arrays)
    finally:
        for hook in hooks:
            hook.remove()
    return {**{name: out[name].numpy() for name in out if name.endswith("logits")}, **stages}


def _model(head: Head) -> Any:
    if head not in _models:
        values = head.config()
        arrays = tensors(values, seed=2)
        kind = getattr(transformers, head.name)
        without = ("architectures", "model_type", "tie_weights_")
        model = kind(kind.config_class(**{k: v for k, v in values.items() if k not in without}))
        loaded = model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()}, strict=False)
        unknown = [name for name in loaded.missing_keys if not name.endswith(("position_ids", "token_type_ids"))]
        if unknown or loaded.unexpected_keys:
            raise ValueError(f"{head.name}: missing {unknown}, unexpected {loaded.unexpected_keys}")
        _models[head] = model.eval()
    return _models[head]
