"""The models in fewer bits that engines run: each made once from a checkpoint and its export, and used again.

All are made by the engine's own tool, set for accuracy first where that costs no speed: scales by output channel, no
reduced range (which is for CPUs without VNNI and costs accuracy on all).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.inputs import padded, seeded_mixture
from benchmarks.models import Models

Sentences = Sequence[np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How a model is made.

    Attributes:
        place: its file or folder, in the folder of the models.
        make: makes it; takes the models, where to, and sentences of token ids to calibrate with.
        needs: the modules that this takes.
    """

    place: str
    make: Callable[[Models, Path, Sentences], None]
    needs: tuple[str, ...]


def place(models: Models, name: str) -> Path:
    """The file or folder that an engine of RECIPES loads."""
    return models.home / RECIPES[name].place


def size(path: Path) -> int:
    """Bytes of the weights in a file (OpenVINO's has a second one) or in a folder, without words and settings."""
    files = path.iterdir() if path.is_dir() else [path, *([path.with_suffix(".bin")] if path.suffix == ".xml" else [])]
    return sum(file.stat().st_size for file in files if file.suffix not in (".json", ".txt", ".md"))


def prepare(models: Models, names: Iterable[str], calibration: Sentences | None = None) -> dict[str, str]:
    """Make the models of `names` that are missing or were made of others, or by other versions.

    Args:
        models: what to make them of; with exports, for ONNX Runtime and OpenVINO.
        names: engines; those without a recipe need nothing.
        calibration: int64 [n] token ids of sentences, for static scales. Default: 64 from a seed.

    Returns:
        Why a model is not there, by engine: a package that is missing.
    """
    missing: dict[str, str] = {}
    sentences = seeded_mixture(64, seed=1).sentences if calibration is None else calibration
    for name in names:
        recipe = RECIPES.get(name)
        if recipe is None:
            continue
        absent = [module for module in recipe.needs if importlib.util.find_spec(module) is None]
        if absent:
            missing[name] = f"{' and '.join(absent)} not installed"
            continue
        stamp = {"of": _stamp(models), "by": _versions(recipe.needs), "calibration": _total(sentences)}
        made = models.home / f"{recipe.place}.json"
        if made.exists() and json.loads(made.read_text()) == stamp and not name.startswith("minidistil"):
            continue
        target = models.home / recipe.place
        made.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
        with _quiet():
            recipe.make(models, target, sentences)
        made.write_text(json.dumps(stamp))
    return missing


def _minidistil_int8(models: Models, target: Path, sentences: Sentences) -> None:
    from minidistil import quantize

    quantize(models.folder, target, measure=False)


def _minidistil_bfloat16(models: Models, target: Path, sentences: Sentences) -> None:
    from minidistil.weights import open_checkpoint, read_model
    from minidistil.weights.writing import write_quantized

    checkpoint = open_checkpoint(models.folder)
    write_quantized(target, checkpoint.config, read_model(checkpoint, precision="bfloat16"))


def _onnxruntime(models: Models, target: Path, *, per_channel: bool) -> None:
    """Dynamic scales of activations; weights and word embeddings int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(models.onnx), str(target), per_channel=per_channel, reduce_range=False, weight_type=QuantType.QInt8
    )


def _openvino_static(models: Models, target: Path, sentences: Sentences) -> None:
    """Static scales of activations, by NNCF as for transformers."""
    import nncf
    import openvino as ov

    items = [dict(zip(("input_ids", "attention_mask"), padded([s]), strict=True)) for s in sentences]
    model = ov.Core().read_model(str(models.onnx))
    found = nncf.quantize(
        model, nncf.Dataset(items), model_type=nncf.ModelType.TRANSFORMER, subset_size=max(len(items), 1)
    )
    target.parent.mkdir(exist_ok=True)
    ov.save_model(found, str(target), compress_to_fp16=False)


def _openvino_weights(models: Models, target: Path, sentences: Sentences) -> None:
    """Weights alone; activations become int8 in groups as they come, when it runs."""
    import nncf
    import openvino as ov

    found = nncf.compress_weights(ov.Core().read_model(str(models.onnx)), mode=nncf.CompressWeightsMode.INT8_SYM)
    ov.save_model(found, str(target), compress_to_fp16=False)


def _ctranslate2(models: Models, target: Path, *, quantization: str) -> None:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(models.folder)).convert(str(target), quantization=quantization)


RECIPES: dict[str, Recipe] = {
    "minidistil-int8": Recipe("minidistil-int8", _minidistil_int8, ("minidistil",)),
    "minidistil-bfloat16": Recipe("minidistil-bfloat16", _minidistil_bfloat16, ("minidistil",)),
    "onnxruntime-int8": Recipe(
        "encoder-int8.onnx", lambda m, to, _: _onnxruntime(m, to, per_channel=True), ("onnxruntime", "onnx")
    ),
    "onnxruntime-int8-tensor": Recipe(
        "encoder-int8-tensor.onnx", lambda m, to, _: _onnxruntime(m, to, per_channel=False), ("onnxruntime", "onnx")
    ),
    "openvino-int8": Recipe("encoder-int8.xml", _openvino_static, ("openvino", "nncf")),
    "openvino-int8-weights": Recipe("encoder-int8-weights.xml", _openvino_weights, ("openvino", "nncf")),
    "ctranslate2": Recipe(
        "ctranslate2", lambda m, to, _: _ctranslate2(m, to, quantization="float32"), ("ctranslate2", "transformers")
    ),
    "ctranslate2-int8": Recipe(
        "ctranslate2-int8", lambda m, to, _: _ctranslate2(m, to, quantization="int8"), ("ctranslate2", "transformers")
    ),
}


def _stamp(models: Models) -> str:
    """What the models were made of, as far as it is known: the exports' own stamp, and the checkpoint's size."""
    made = models.home / "made.json"
    return f"{made.read_text() if made.exists() else ''} {size(models.folder / 'model.safetensors')}"


def _versions(modules: Sequence[str]) -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in modules}


def _total(sentences: Sentences) -> int:
    """Tells calibrations apart."""
    return int(sum(int(s.sum()) for s in sentences))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tools' progress bars and advice to standard error at most, and no warnings."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
