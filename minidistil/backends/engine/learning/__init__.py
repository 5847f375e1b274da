"""Training on the compiled kernels: the forward pass, what it keeps, the backward pass and the update as steps."""

from minidistil.backends.engine.learning.learner import EngineLearner

__all__ = ["EngineLearner"]
