"""The files that encoders and rerankers are saved as: those that they were loaded from, and what was changed since."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil.sentences.files import CLASSIFIER, GENERAL_FILE, TRANSFORMER_CONFIGS, SentenceFiles, is_reranker
from minidistil.weights.saving import Content, as_json, weight_files
from minidistil.weights.small_files import is_there, read_json, read_object_if_there

if TYPE_CHECKING:
    from minidistil.sentences.prompted import Prompted
    from minidistil.weights.source import Source

_MODULES = "modules.json"
_KIND = "sentence_transformers.models."
_LINEAR = "torch.nn.modules.linear.Identity"


def encoder_files(
    encoder: Prompted, source: Source, own: SentenceFiles, settings: Mapping[str, Any]
) -> dict[str, Content]:
    """The files that make this encoder; where there was no modules.json, one that says what was done without.

    Args:
        encoder: the one to save.
        source: where it was loaded from.
        own: what the files there say.
        settings: its own, as config_sentence_transformers.json has them.
    """
    folder = source.folder
    inner = Path() if own.transformer is None else own.transformer.relative_to(folder)
    files = _below(inner, {**encoder.model.files_to_save(), **encoder.model.tokenizer.files_to_save()})
    limit = None
    if encoder._max_seq_length != own.max_seq_length or not is_there(folder / _MODULES):
        limit = {"max_seq_length": encoder.max_seq_length}
    files |= _below(inner, _transformer_config(folder / inner, limit))
    if is_there(folder / _MODULES):
        files[_MODULES] = folder / _MODULES
        for place in source.modules():
            if place not in (folder, folder / inner):
                config = {"config.json": place / "config.json"} if is_there(place / "config.json") else {}
                files |= _below(place.relative_to(folder), {**config, **weight_files(place)})
    else:
        pooling = {"word_embedding_dimension": encoder.config.dim, "pooling_mode_mean_tokens": True}
        files["1_Pooling/config.json"] = as_json(pooling)
        lines = [(0, "", "Transformer"), (1, "1_Pooling", "Pooling")]
        files[_MODULES] = as_json(
            [{"idx": i, "name": str(i), "path": path, "type": f"{_KIND}{kind}"} for i, path, kind in lines]
        )
    files[GENERAL_FILE] = _general(folder, encoder, "SentenceTransformer", settings)
    return files


def classifier_files(
    encoder: Prompted, source: Source, own: SentenceFiles, labels: Sequence[str], weight: np.ndarray, bias: np.ndarray
) -> dict[str, Content]:
    """The files of an encoder, and of a classifier over its embeddings as one module more.

    Args:
        encoder, source, own: as for `encoder_files`.
        labels: names, by number.
        weight, bias: float32 [N, D], [N].
    """
    files = encoder_files(encoder, source, own, {"truncate_dim": None, "default_prompt_name": None})
    inner = Path() if own.transformer is None else own.transformer.relative_to(source.folder)
    config = dict(encoder.config.raw)
    config["id2label"] = {str(i): label for i, label in enumerate(labels)}
    config["label2id"] = {label: i for i, label in enumerate(labels)}
    for other in ("num_labels", "problem_type"):
        config.pop(other, None)
    files[str(inner / "config.json")] = as_json(config)
    tokenizer = copy.copy(encoder.model.tokenizer)  # pipelines go by a tokenizer's limit
    tokenizer.model_max_length = encoder.max_seq_length
    files |= _below(inner, tokenizer.files_to_save())
    stored = files[_MODULES]
    modules = read_json(stored) if isinstance(stored, Path) else json.loads(stored)  # type: ignore[arg-type]
    place = f"{len(modules)}_Classifier"
    path = {"idx": len(modules), "name": CLASSIFIER, "path": place, "type": f"{_KIND}Dense"}
    files[_MODULES] = as_json([*modules, path])
    dense = {"in_features": weight.shape[1], "out_features": len(labels), "bias": True, "activation_function": _LINEAR}
    files[f"{place}/config.json"] = as_json(dense)
    files[f"{place}/model.safetensors"] = {"linear.weight": weight, "linear.bias": bias}
    return files


def reranker_files(reranker: Prompted, source: Source, activation: Any) -> dict[str, Content]:
    """The files that make this reranker.

    Args:
        reranker: the one to save.
        source: where it was loaded from.
        activation: what makes scores of its logits.

    Raises:
        ValueError: its activation is a function, which no file can hold.
    """
    if not isinstance(activation, str) or not activation.startswith("torch."):
        raise ValueError(
            f"activation_fn is {activation!r}, and a checkpoint can only name a class of torch.nn: set "
            'model.activation_fn to the name of one, such as "torch.nn.Sigmoid"'
        )
    folder, inner = source.folder, reranker.model.source.folder.relative_to(source.folder)  # type: ignore[union-attr]
    files = _below(inner, {**reranker.model.files_to_save(), **reranker.tokenizer.files_to_save()})
    limit = {"max_seq_length": reranker.max_seq_length} if reranker._max_seq_length is not None else None
    files |= _below(inner, _transformer_config(folder / inner, limit))
    if is_there(folder / _MODULES):
        files[_MODULES] = folder / _MODULES
    files[GENERAL_FILE] = _general(folder, reranker, "CrossEncoder", {"activation_fn": activation})
    config = dict(reranker.config.raw)  # where older versions look, and where this one does without modules.json
    if not is_reranker(folder) or config.get("sentence_transformers"):
        config["sentence_transformers"] = {**config.get("sentence_transformers", {}), "activation_fn": activation}
    files[str(inner / "config.json")] = as_json(config, like=folder / inner / "config.json")
    return files


def _transformer_config(folder: Path, changed: Mapping[str, Any] | None) -> dict[str, Content]:
    name = next((name for name in TRANSFORMER_CONFIGS if is_there(folder / name)), None)
    if name is None and changed is None:
        return {}
    path = folder / (name or TRANSFORMER_CONFIGS[0])
    return {path.name: as_json({**read_object_if_there(path), **(changed or {})}, like=path)}


def _general(folder: Path, model: Prompted, kind: str, more: Mapping[str, Any]) -> bytes:
    stored = read_object_if_there(folder / GENERAL_FILE)
    said = {"prompts": model.prompts, "default_prompt_name": model.default_prompt_name, **more}
    named = {name: value for name, value in said.items() if value is not None or stored.get(name) is not None}
    return as_json({"model_type": kind, **stored, **named}, like=folder / GENERAL_FILE)


def _below(inner: Path, files: Mapping[str, Content]) -> dict[str, Content]:
    return {str(inner / name): content for name, content in files.items()}
