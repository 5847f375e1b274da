"""A run of training as people write it in PyTorch, with transformers' own models and schedule, for worker.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.goldens.torch_reference import torch, transformers  # first: it sets the pins

from tests.parity.torch_gradients import loaded  # isort: skip


def training(
    values: dict, seed: int, steps: list[list[tuple[np.ndarray, np.ndarray]]], settings: dict[str, Any]
) -> dict[str, list[float]]:
    """Train a synthetic checkpoint, without dropout.

    Args:
        values: config.json, of which `architectures` names the class.
        seed: of the weights.
        steps: the sentences of each step: ids, int [n], and labels, int [n] with -100 where there is none, or [1].
        settings: learning_rate, warmup (steps), decay, betas, eps, largest_norm.

    Returns:
        Of each step, "loss", and "norm", that of all gradients before clipping.
    """
    model = loaded(values, seed)
    decaying, others = [], []
    for name, parameter in model.named_parameters():
        is_norm = "LayerNorm" in name or "layer_norm" in name
        (others if is_norm or name.endswith("bias") else decaying).append(parameter)
    groups = [{"params": decaying, "weight_decay": settings["decay"]}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        groups, lr=settings["learning_rate"], betas=settings["betas"], eps=settings["eps"], foreach=False
    )
    # Its first step has a rate of zero; ours has that of its second, and one step more in all.
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, settings["warmup"], len(steps) + 1)
    found: dict[str, list[float]] = {"loss": [], "norm": []}
    optimizer.step()  # of nothing, as there are no gradients; it is to be called before the schedule
    for sentences in steps:
        schedule.step()
        loss = model(**_padded(sentences)).loss
        loss.backward()
        found["norm"].append(torch.nn.utils.clip_grad_norm_(model.parameters(), settings["largest_norm"]).item())
        optimizer.step()
        optimizer.zero_grad()
        found["loss"].append(loss.item())
    return found


def _padded(sentences: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Sentences as a rectangle; labels of tokens too, of which none is for padding."""
    B, longest = len(sentences), max(len(ids) for ids, _ in sentences)
    ids, mask = (np.zeros((B, longest), np.int64) for _ in range(2))
    labels = np.full((B, longest), -100, np.int64)
    for i, (own, said) in enumerate(sentences):
        ids[i, : len(own)], mask[i, : len(own)], labels[i, : len(said)] = own, 1, said
    of_sentences = all(len(said) == 1 for _, said in sentences)
    arrays = {"input_ids": ids, "attention_mask": mask, "labels": labels[:, 0] if of_sentences else labels}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
