"""The model in plain NumPy: `model.py` reads like the paper, `exact.py` and `blas.py` are its operations."""

from minidistil.reference import blas, exact
from minidistil.reference.model import Reference
from minidistil.reference.operations import Operations

__all__ = ["Operations", "Reference", "blas", "exact"]
