"""The study room: every number of a pass by its name, where it comes from, and what moves when it is changed.

    from minidistil.study import explain, trace

Everything here is loaded when it is first used.
"""

from __future__ import annotations

from minidistil._lazy import LazyNames

_names = LazyNames(
    __name__,
    {
        "explanation": ("Explanation", "explain"),
        "numbers": ("origin",),
        "tracing": ("Trace", "trace"),
    },
)
__all__ = _names.all
__dir__ = _names.dir
__getattr__ = _names.load
