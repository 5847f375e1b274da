"""The functions that machine code is kept of: each takes the address of a call (layout.py), its thread, the team."""

from __future__ import annotations

from minidistil.kernels.steps.run import run

__all__ = ["run"]
