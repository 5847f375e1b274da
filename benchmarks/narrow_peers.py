"""The engines in fewer bits than float32, each as it is fastest on a CPU with VNNI; README.md says what was tried."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import narrow_models
from benchmarks.models import Models
from benchmarks.peers import Minidistil, OnnxRuntime, OpenVINO, Padded, PyTorch


class Prepared:
    """An engine on a file that narrow_models.RECIPES makes."""

    name: str

    @classmethod
    def file(cls, models: Models) -> Path:
        """What it loads."""
        return narrow_models.place(models, cls.name)


class MinidistilInt8(Prepared, Minidistil):
    """This project on a checkpoint that `minidistil quantize` has written, without texts to calibrate with."""

    precision = "int8"
    name = "minidistil-int8"


class MinidistilInt8AVX2(MinidistilInt8):
    """The same without the CPU's instructions for int8, as on a machine that has AVX2 alone."""

    def start(self) -> None:
        super().start()
        from minidistil.kernels import layout
        from minidistil.kernels.code import target

        target.dot = lambda: layout.DOT_PAIRS  # this process measures and does nothing else


class MinidistilBFloat16(Prepared, Minidistil):
    """This project on a checkpoint stored in bfloat16; it computes in float32."""

    precision = "bfloat16"
    name = "minidistil-bfloat16"
    options: Mapping[str, Any] = {"precision": "bfloat16"}


class PyTorchInt8(PyTorch):
    """PyTorch's dynamic quantization of all linear layers; oneDNN and scales by channel: its fastest and its best."""

    precision = "int8"

    @classmethod
    def file(cls, models: Models) -> None:
        return None

    def load(self, models: Models, threads: int) -> None:
        super().load(models, threads)
        import torch
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

        torch.backends.quantized.engine = "onednn"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it will move to torchao, whose own needs a C++ compiler to be fast
            self._model = quantize_dynamic(self._model, {torch.nn.Linear: per_channel_dynamic_qconfig}, inplace=True)


class OnnxRuntimeInt8(Prepared, OnnxRuntime):
    """ONNX Runtime's dynamic quantization of the plain export, scales by channel."""

    precision = "int8"
    name = "onnxruntime-int8"


class OnnxRuntimeInt8Tensor(OnnxRuntimeInt8):
    """The same with one scale a weight: its default."""

    name = "onnxruntime-int8-tensor"


class OpenVINOBFloat16(OpenVINO):
    """OpenVINO's own choice where the CPU multiplies bfloat16."""

    precision = "bfloat16"
    settings: Mapping[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16"}


class OpenVINOInt8(Prepared, OpenVINO):
    """OpenVINO on what NNCF quantized with static scales; what stays is float32."""

    precision = "int8"
    name = "openvino-int8"


class OpenVINOInt8Weights(OpenVINOInt8):
    """OpenVINO on int8 weights; it rounds activations in groups as they come. Of the sizes of groups the fastest."""

    name = "openvino-int8-weights"
    settings: Mapping[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 256}


class CTranslate2(Prepared, Padded):
    """CTranslate2's encoder. It chooses its library of products by the CPU; on AMD's the other one was slower."""

    distributions = ("ctranslate2",)
    needs = ("ctranslate2",)
    name = "ctranslate2"
    compute_type = "float32"

    def start(self) -> None:
        import ctranslate2  # noqa: F401

    def load(self, models: Models, threads: int) -> None:
        import ctranslate2

        settings: Mapping[str, Any] = {"compute_type": self.compute_type, "intra_threads": threads, "inter_threads": 1}
        self._encoder: Any = ctranslate2.Encoder(str(self.file(models)), **settings)

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> Any:
        import ctranslate2

        tokens = ctranslate2.StorageView.from_array(ids.astype(np.int32))
        lengths = ctranslate2.StorageView.from_array(mask.sum(axis=1).astype(np.int32))
        return np.array(self._encoder.forward_batch(tokens, lengths).last_hidden_state)


class CTranslate2Int8(CTranslate2):
    """The same with weights in int8 by channel, activations by token."""

    precision = "int8"
    name = "ctranslate2-int8"
    compute_type = "int8"
