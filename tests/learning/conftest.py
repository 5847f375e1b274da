"""PyTorch for the tests marked parity."""

from __future__ import annotations

from tests.parity.conftest import torch_reference

__all__ = ["torch_reference"]
