"""Warnings that point at the caller's line, however deep in the package they arise."""

from __future__ import annotations

import sys
import warnings


def warn_caller(warning: Warning) -> None:
    """Issue a warning for the nearest frame outside this package (`skip_file_prefixes` needs Python 3.12)."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_back.f_globals.get("__name__", "").partition(".")[0] == "minidistil":
        level, frame = level + 1, frame.f_back
    warnings.warn(warning, stacklevel=level + 1)
