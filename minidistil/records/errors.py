"""The one error of this room."""

from __future__ import annotations


class RecordError(ValueError):
    """A file's records cannot be read; says where, and all that is wrong with them."""
