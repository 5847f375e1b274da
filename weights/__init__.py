"""Checkpoint files to named, checked arrays."""

from minidistil.weights.checkpoint import Checkpoint, open_checkpoint, read_config
from minidistil.weights.errors import CheckpointError
from minidistil.weights.families import ACTIVATIONS, FAMILIES, Family
from minidistil.weights.locate import locate
from minidistil.weights.model_weights import (
    ClassifierWeights,
    EmbeddingWeights,
    EncoderWeights,
    LayerWeights,
    Linear,
    MaskedLMWeights,
    MobileEmbeddingWeights,
    MobileLayerWeights,
    ModelWeights,
    NoNorm,
    Norm,
)
from minidistil.weights.read_model import read_model

__all__ = [
    "ACTIVATIONS",
    "FAMILIES",
    "Checkpoint",
    "CheckpointError",
    "ClassifierWeights",
    "EmbeddingWeights",
    "EncoderWeights",
    "Family",
    "LayerWeights",
    "Linear",
    "MaskedLMWeights",
    "MobileEmbeddingWeights",
    "MobileLayerWeights",
    "ModelWeights",
    "NoNorm",
    "Norm",
    "locate",
    "open_checkpoint",
    "read_config",
    "read_model",
]
