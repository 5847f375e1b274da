"""The engines compared, one adapter each, all with the same small interface.

An adapter is made in a process of its own (worker.py). `load` and `prepare` are not timed, `run` is; it starts from
NumPy token ids and ends with NumPy (or the engine's own) float32 hidden states on the CPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.inputs import TextWorkload, Workload, padded
from benchmarks.models import Models


class Peer(Protocol):
    """One engine.

    Attributes:
        precision: what it computes in, or holds its weights in.
        needs: the modules that it imports.
    """

    precision: str
    needs: tuple[str, ...]

    def versions(self) -> dict[str, str]:
        """Distribution names and versions of what runs."""
        ...

    def start(self) -> None:
        """Import what the engine needs."""
        ...

    def load(self, models: Models, threads: int) -> None:
        """Load the model for `threads` threads, set the way this engine wants it set."""
        ...

    def prepare(self, workload: Workload) -> Any:
        """The workload as this engine likes it best: sorted and padded, or packed."""
        ...

    def run(self, prepared: Any) -> list[Any]:
        """Encode everything; one result per batch."""
        ...

    def answers(self, prepared: Any, results: list[Any]) -> list[np.ndarray]:
        """What is checked: hidden states float32 [n_b, D] of every sentence, in the workload's order."""
        ...


class Padded:
    """Sentences padded within each batch; sorted by length first where all are at hand: the least padding possible."""

    distributions: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    precision = "float32"

    def versions(self) -> dict[str, str]:
        return versions_of(self.distributions)

    def prepare(self, workload: Workload) -> Any:
        order = np.arange(len(workload.sentences))
        if workload.at_hand:
            order = np.argsort([len(s) for s in workload.sentences], kind="stable")
        chunks = [order[i : i + workload.batch_size] for i in range(0, len(order), workload.batch_size)]
        self.specialise([len(chunks[0]), len(workload.sentences[0])] if workload.fixed else None)
        return [(chunk, *padded([workload.sentences[i] for i in chunk])) for chunk in chunks]

    def specialise(self, shape: list[int] | None) -> None:
        """Told what shape [B, S] all coming calls have; None for many."""

    def run(self, prepared: Any) -> list[Any]:
        return [self.forward(ids, mask) for _, ids, mask in prepared]

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> Any:
        """Hidden states [B, S, D] for ids and mask, int64 [B, S]."""
        raise NotImplementedError

    def answers(self, prepared: Any, results: list[Any]) -> list[np.ndarray]:
        found: dict[int, np.ndarray] = {}
        for (chunk, _, mask), result in zip(prepared, results, strict=True):
            for row, index in enumerate(chunk):
                found[int(index)] = np.asarray(result)[row][mask[row] == 1]  # an own copy: indexed by a mask
        return [found[i] for i in range(len(found))]


class Minidistil:
    """This project. A batch of one length goes through the public call; sentences of many lengths packed, in order."""

    precision = "float32"
    needs = ("minidistil",)
    options: Mapping[str, Any] = {}

    def versions(self) -> dict[str, str]:
        return versions_of(("minidistil", "numba", "numpy"))

    def start(self) -> None:
        import minidistil.backends.engine
        import minidistil.models.classes  # noqa: F401

    def load(self, models: Models, threads: int) -> None:
        from minidistil import AutoModel

        self._model: Any = AutoModel.from_pretrained(self.file(models), threads=threads, **self.options)

    @classmethod
    def file(cls, models: Models) -> Path:
        """What it loads."""
        return models.folder

    def prepare(self, workload: Workload) -> Any:
        size, sentences = workload.batch_size, workload.sentences
        chunks = [sentences[i : i + size] for i in range(0, len(sentences), size)]
        return [padded(chunk) if workload.fixed else chunk for chunk in chunks]

    def run(self, prepared: Any) -> list[Any]:
        return [self._padded(*batch) if batch[0].ndim == 2 else self._packed(batch) for batch in prepared]

    def _padded(self, ids: np.ndarray, mask: np.ndarray) -> Any:
        return self._model(input_ids=ids, attention_mask=mask).last_hidden_state

    def _packed(self, sentences: Sequence[np.ndarray]) -> Any:
        from minidistil.models.inputs import pack_sentences

        batch = pack_sentences(self._model.config, list(sentences))
        return np.split(self._model.encode_packed(batch), batch.offsets[1:-1])

    def answers(self, prepared: Any, results: list[Any]) -> list[np.ndarray]:
        return [np.array(sentence) for result in results for sentence in result]


class PyTorch(Padded):
    """transformers' model as from_pretrained gives it (sdpa attention), in float32, inference mode."""

    distributions = ("torch", "transformers")
    needs = ("torch", "transformers")

    def start(self) -> None:
        import torch
        from transformers import AutoModel  # noqa: F401

        if not torch.backends.mkldnn.is_available():
            raise RuntimeError("this PyTorch was built without oneDNN: it would not be PyTorch at its fastest")

    @classmethod
    def file(cls, models: Models) -> Path | None:
        """What it loads; None where it makes it of something else first."""
        return models.folder

    def load(self, models: Models, threads: int) -> None:
        import torch
        from transformers import AutoModel
        from transformers import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        torch.set_num_threads(threads)
        self._model: Any = AutoModel.from_pretrained(models.folder, dtype=torch.float32).eval()

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> Any:
        import torch

        with torch.inference_mode():
            out = self._model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        return out.last_hidden_state.numpy()


class OnnxRuntime(Padded):
    """ONNX Runtime, all graph optimisations, on the plain export."""

    distributions = ("onnxruntime",)
    needs = ("onnxruntime",)

    def start(self) -> None:
        import onnxruntime  # noqa: F401

    def load(self, models: Models, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self._session = ort.InferenceSession(str(self.file(models)), options, providers=["CPUExecutionProvider"])
        types = {i.name: np.int32 if "int32" in i.type else np.int64 for i in self._session.get_inputs()}
        self._ids, self._mask = types["input_ids"], types["attention_mask"]

    @classmethod
    def file(cls, models: Models) -> Path:
        """What it loads."""
        return models.onnx

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> Any:
        feed = {"input_ids": ids.astype(self._ids), "attention_mask": mask.astype(self._mask)}
        return self._session.run(None, feed)[0]


class OnnxRuntimeFused(OnnxRuntime):
    """ONNX Runtime on the graph that its transformers optimizer fused."""

    @classmethod
    def file(cls, models: Models) -> Path:
        return models.onnx_fused


class OpenVINO(Padded):
    """OpenVINO on the plain export, float32, one stream; compiled for the very shape where there is only one."""

    distributions = ("openvino",)
    needs = ("openvino",)
    settings: Mapping[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}

    def start(self) -> None:
        import openvino  # noqa: F401

    def load(self, models: Models, threads: int) -> None:
        self._file, self._threads = str(self.file(models)), threads
        self._compile(None)

    @classmethod
    def file(cls, models: Models) -> Path:
        """What it loads."""
        return models.onnx

    def specialise(self, shape: list[int] | None) -> None:
        if shape != self._shape:
            self._compile(shape)

    def _compile(self, shape: list[int] | None) -> None:
        import openvino as ov

        self._shape = shape

        core = ov.Core()
        model = core.read_model(self._file)
        if shape:
            model.reshape({port.get_any_name(): shape for port in model.inputs})
        settings: dict[str, Any] = {
            **self.settings,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
        }
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(self, prepared: Any) -> list[Any]:
        if len(prepared) == 1:
            return super().run(prepared)
        return [self.forward(ids, mask).copy() for _, ids, mask in prepared]  # the request's output buffer is reused

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> Any:
        out = self._request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True, share_outputs=True)
        return out[0]


class _FillMask:
    """A fill-mask pipeline, tokenizer included: text in, the five best words out."""

    precision = "float32"
    needs: tuple[str, ...] = ()

    def start(self) -> None:
        """Nothing: pipelines have no cold start of their own here."""

    def prepare(self, workload: TextWorkload) -> Any:
        return workload.texts

    def answers(self, prepared: Any, results: list[Any]) -> list[np.ndarray]:
        """Float64 [5, 2] of every text: token ids and scores."""
        return [np.array([(c["token"], c["score"]) for c in candidates], np.float64) for candidates in results]


class MinidistilFillMask(_FillMask):
    """This project's pipeline."""

    def versions(self) -> dict[str, str]:
        return versions_of(("minidistil", "tokenizers"))

    def load(self, models: Models, threads: int) -> None:
        os.environ["RAYON_NUM_THREADS"] = str(
            threads
        )  # the tokenizer's threads; this process measures and does nothing else
        from minidistil import pipeline

        self._pipeline: Any = pipeline("fill-mask", model=models.folder, threads=threads)

    def run(self, prepared: Any) -> list[Any]:
        return self._pipeline(list(prepared))


class TransformersFillMask(_FillMask):
    """transformers' pipeline, in the batch size of 1, 8 and 32 that is fastest for the workload."""

    def versions(self) -> dict[str, str]:
        return versions_of(("torch", "transformers", "tokenizers"))

    def load(self, models: Models, threads: int) -> None:
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        import torch
        from transformers import logging as transformers_logging
        from transformers import pipeline

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        torch.set_num_threads(threads)
        self._pipeline: Any = pipeline("fill-mask", model=str(models.folder), device="cpu")

    def prepare(self, workload: TextWorkload) -> Any:
        texts = list(workload.texts)
        seconds = {}
        for size in (1, 8, 32)[: 1 if len(texts) == 1 else 3]:
            self._pipeline(texts, batch_size=size)
            start = time.perf_counter()
            self._pipeline(texts, batch_size=size)
            seconds[size] = time.perf_counter() - start
        return texts, min(seconds, key=seconds.__getitem__)

    def run(self, prepared: Any) -> list[Any]:
        texts, size = prepared
        results = self._pipeline(texts, batch_size=size)
        return [results] if len(texts) == 1 else results  # a list of one text comes back without its list


def versions_of(names: Sequence[str]) -> dict[str, str]:
    """Distributions and their versions."""
    from importlib.metadata import version  # here: it takes 4 MB, which a start is not to be charged with

    return {name: version(name) for name in names}
