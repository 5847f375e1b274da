"""Gradients of transformers' own models by PyTorch's autograd, with the losses of DistilBERT written in torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.goldens.torch_reference import torch, transformers  # first: it sets the pins

from tests.synthetic import tensors  # isort: skip


def gradients(
    values: dict, seed: int, sentences: list[tuple[np.ndarray, np.ndarray | None]], targets: dict[str, Any]
) -> tuple[dict[str, np.ndarray], tuple[float, ...]]:
    """Gradients of a synthetic checkpoint's parameters.

    Args:
        values: config.json, of which `architectures` names the class.
        seed: of the weights.
        sentences: ids and token types or None, int [n] both.
        targets: rows, labels, teacher_logits, teacher_hidden as in `backends.learning.Targets`, rows counting the
            tokens of all sentences; hard, soft, temperature, cosine: the weights.

    Returns:
        Tensor's name, each of them where it has two -> gradient; the three losses, summed, before their weights.
    """
    config = transformers.AutoConfig.for_model(**{k: v for k, v in values.items() if k != "architectures"})
    model = getattr(transformers, values["architectures"][0])(config).eval()  # eval: no dropout
    arrays = {name: torch.from_numpy(array) for name, array in tensors(values, seed).items()}
    _, unexpected = model.load_state_dict(arrays, strict=False)
    model.tie_weights()
    parameters = dict(model.named_parameters(remove_duplicate=False))
    loaded = {id(parameters[name]) for name in arrays if name in parameters}
    absent = [name for name, parameter in parameters.items() if id(parameter) not in loaded]
    if absent or unexpected:
        raise ValueError(f"not loaded {absent}, not there {unexpected}")
    logits, hidden = [], []
    for ids, types in sentences:
        inputs = {"input_ids": torch.from_numpy(ids)[None]}
        if types is not None:
            inputs["token_type_ids"] = torch.from_numpy(types)[None]
        said = model(**inputs, output_hidden_states=True)
        hidden.append(said.hidden_states[-1][0])
        logits.append(said.logits[0] if said.logits.ndim == 3 else said.logits)
    h, z = torch.cat(hidden), torch.cat(logits)
    if "Sequence" not in values["architectures"][0]:  # there the rows are the sentences
        z = z[torch.from_numpy(targets["rows"])]
    losses = _losses(z, h, targets)
    weights = targets["hard"], targets["soft"] * targets["temperature"] ** 2, targets["cosine"]
    sum(w * loss for w, loss in zip(weights, losses, strict=True)).backward()
    return {n: p.grad.numpy() for n, p in parameters.items() if p.grad is not None}, tuple(x.item() for x in losses)


def _losses(z: Any, h: Any, targets: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Cross entropy, divergence from the teacher at the temperature, 1 - cosine: each summed over rows (tokens)."""
    functional, T = torch.nn.functional, targets["temperature"]
    labels = torch.from_numpy(targets["labels"]).long()
    hard = functional.cross_entropy(z, labels, ignore_index=-1, reduction="sum")
    soft = angles = torch.zeros(())
    if targets["teacher_logits"] is not None:
        teacher = functional.softmax(torch.from_numpy(targets["teacher_logits"]) / T, dim=1)
        soft = functional.kl_div(functional.log_softmax(z / T, dim=1), teacher, reduction="sum")
    if targets["teacher_hidden"] is not None:
        states = torch.from_numpy(targets["teacher_hidden"])
        angles = functional.cosine_embedding_loss(h, states, torch.ones(len(h)), reduction="sum")
    return hard, soft, angles
