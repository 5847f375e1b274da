"""The model in plain NumPy: `model.py` reads like the paper, `exact.py` and `blas.py` are its operations."""

from minidistil.backends.reference import blas, exact
from minidistil.backends.reference.model import Reference
from minidistil.backends.reference.operations import Operations

__all__ = ["Operations", "Reference", "blas", "exact"]
