"""Losses and optimizer as PyTorch has them, for worker.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.goldens.torch_reference import torch


def cross_entropy(
    logits: np.ndarray, teacher: np.ndarray, labels: np.ndarray, hard: float, soft: float, temperature: float
) -> tuple[float, float, np.ndarray]:
    """Cross entropy (no label: -1) and KL(teacher || student), summed over rows; the gradient of both, weighted."""
    functional, z = torch.nn.functional, torch.from_numpy(logits).requires_grad_()
    own = functional.cross_entropy(z, torch.from_numpy(labels), ignore_index=-1, reduction="sum")
    softened = (functional.log_softmax(x / temperature, dim=1) for x in (z, torch.from_numpy(teacher)))
    other = functional.kl_div(*softened, log_target=True, reduction="sum")
    (hard * own + soft * temperature**2 * other).backward()
    return own.item(), other.item(), z.grad.numpy()


def cosine(x: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of each row; the gradient of the sum of 1 - cosine."""
    own = torch.from_numpy(x).requires_grad_()
    cosines = torch.nn.functional.cosine_similarity(own, torch.from_numpy(teacher))
    (1 - cosines).sum().backward()
    return cosines.detach().numpy(), own.grad.numpy()


def adamw(
    values: np.ndarray, gradients: np.ndarray, largest: float, settings: dict[str, Any]
) -> tuple[np.ndarray, list[float]]:
    """Values after a step for each row of gradients, clipped; and the norms before clipping."""
    parameter = torch.nn.Parameter(torch.from_numpy(values.copy()))
    optimizer, norms = torch.optim.AdamW([parameter], **settings, foreach=False, fused=False), []
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient.copy())
        norms.append(torch.nn.utils.clip_grad_norm_([parameter], largest).item())
        optimizer.step()
    return parameter.detach().numpy(), norms
