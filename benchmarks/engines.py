"""All engines by name: what the commands' `--engines` may say, and what a process is started for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import narrow_peers, peers
from benchmarks.models import Models


def packed(engine: type[Any]) -> type[Any]:
    """The engine on a copy of its checkpoint that has been packed."""

    class Packed(engine):  # type: ignore[misc]
        @classmethod
        def file(cls, models: Models) -> Path:
            folder: Path = engine.file(models)
            return folder.with_name(f"{folder.name}-packed")

    return Packed


ENCODERS: dict[str, type[Any]] = {
    "minidistil": peers.Minidistil,
    "minidistil-bfloat16": narrow_peers.MinidistilBFloat16,
    "minidistil-int8": narrow_peers.MinidistilInt8,
    "minidistil-int8-avx2": narrow_peers.MinidistilInt8AVX2,
    "pytorch": peers.PyTorch,
    "pytorch-int8": narrow_peers.PyTorchInt8,
    "onnxruntime": peers.OnnxRuntime,
    "onnxruntime-fused": peers.OnnxRuntimeFused,
    "onnxruntime-int8": narrow_peers.OnnxRuntimeInt8,
    "onnxruntime-int8-tensor": narrow_peers.OnnxRuntimeInt8Tensor,
    "openvino": peers.OpenVINO,
    "openvino-bfloat16": narrow_peers.OpenVINOBFloat16,
    "openvino-int8": narrow_peers.OpenVINOInt8,
    "openvino-int8-weights": narrow_peers.OpenVINOInt8Weights,
    "ctranslate2": narrow_peers.CTranslate2,
    "ctranslate2-int8": narrow_peers.CTranslate2Int8,
}
FLOAT32 = ("minidistil", "pytorch", "onnxruntime", "onnxruntime-fused", "openvino")
# The engines in fewer bits, and the float32 that they are measured beside: ONNX Runtime's faster graph of the two.
LOW_PRECISION = tuple(name for name in ENCODERS if name not in ("minidistil-int8-avx2", "onnxruntime-fused"))
PIPELINES: dict[str, type[Any]] = {
    "minidistil fill-mask": peers.MinidistilFillMask,
    "transformers fill-mask": peers.TransformersFillMask,
}
# Checkpoints that `minidistil pack` has prepared, and those that it prepares; only their start differs.
PACKED = {"minidistil": "minidistil, packed", "minidistil-int8": "minidistil-int8, packed"}
STARTS: dict[str, type[Any]] = {**ENCODERS, **{name: packed(ENCODERS[of]) for of, name in PACKED.items()}}
PEERS = {**ENCODERS, **PIPELINES}


def missing(name: str) -> str | None:
    """Why an encoder cannot run here; None where it can."""
    absent = [module for module in ENCODERS[name].needs if find_spec(module) is None]
    return f"{' and '.join(absent)} not installed" if absent else None
