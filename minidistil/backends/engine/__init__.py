"""The compiled engine: plans a forward pass over packed weights and runs it on a team of threads."""

from minidistil.backends.engine.engine import Engine, EngineUnavailable, warmup
from minidistil.backends.engine.threads import default_threads

__all__ = ["Engine", "EngineUnavailable", "default_threads", "warmup"]
