"""Checkpoints of weights in memory, under the names and in the files of the family: loaded by transformers as here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from minidistil.class_names import BEGINNINGS
from minidistil.tokenization.saving import FILES as TOKENIZER_FILES
from minidistil.weights import ModelWeights
from minidistil.weights._names import parameters, stored_as
from minidistil.weights._storage import count_nonfinite
from minidistil.weights.config import Config
from minidistil.weights.config_values import parse
from minidistil.weights.errors import shape_text
from minidistil.weights.families import FAMILIES, TASKS, TIES, Family
from minidistil.weights.file_names import PACKED_FILES, WEIGHT_FILES
from minidistil.weights.named import named, size_of, sized
from minidistil.weights.precision import require_float32
from minidistil.weights.saving import Content, as_json, save
from minidistil.weights.small_files import parse_json

if TYPE_CHECKING:
    from minidistil.tokenization import Tokenizer

ElementType = Literal["F32", "F16"]
ELEMENT_TYPES: dict[str, type[np.floating[Any]]] = {"F32": np.float32, "F16": np.float16}

WRITTEN = ("distilbert", "bert", "roberta", "xlm-roberta", "camembert")
"""The model_types that checkpoints are written of."""

# What an older checkpoint in the folder may have left: it would be read with the new files, or in their place.
_REPLACED = (*WEIGHT_FILES, *PACKED_FILES.values(), *TOKENIZER_FILES, "modules.json")
# Where another program had the weights, in which version and type: not these.
_FOREIGN = ("_name_or_path", "transformers_version", "torch_dtype", "gradient_checkpointing", "num_labels")


def write_checkpoint(
    folder: str | os.PathLike[str],
    config: Config | Mapping[str, Any],
    weights: ModelWeights,
    tokenizer: Tokenizer | Mapping[str, Content] | None = None,
    card: str | bytes | None = None,
    *,
    element_type: ElementType = "F32",
) -> Path:
    """Write a checkpoint: all of it, or nothing that anybody takes for one.

    It has the heads that the weights have, and config.json names the classes of transformers that read them, that of
    masked words last.

    Args:
        folder: made where there is none; what another checkpoint has left there is replaced.
        config: of the model; labels are its `id2label`.
        weights: of distilbert, bert, roberta or a family with RoBERTa's names.
        tokenizer: whose files are written beside it, or the files themselves.
        card: README.md.
        element_type: "F16" rounds every number to the nearest float16 and takes half the space.

    Returns:
        The folder.

    Raises:
        CheckpointError: a faulty configuration, or the folder cannot be written.
        ValueError: another family, an unknown element type, weights that are not float32, or weights that are not as
            the configuration says, are not finite, or become infinite in float16: all of them are named.
    """
    raw = dict(config.raw if isinstance(config, Config) else config)
    if element_type not in ELEMENT_TYPES:
        raise ValueError(f"element_type must be one of {', '.join(ELEMENT_TYPES)}, got {element_type!r}")
    model_type = raw.get("model_type")
    if model_type not in WRITTEN:
        raise ValueError(f"checkpoints are written of {', '.join(WRITTEN)}; this one is of {model_type!r}")
    require_float32(weights, "this model", "what is written")
    raw = configuration(raw, weights)
    files: dict[str, Content] = {"config.json": as_json(raw), WEIGHT_FILES[0]: _tensors(raw, weights, element_type)}
    if tokenizer is not None:
        given = tokenizer if isinstance(tokenizer, Mapping) else tokenizer.files_to_save()
        files |= tokenizer_files(given, str(model_type))
    if card is not None:
        files["README.md"] = card.encode() if isinstance(card, str) else card
    save(folder, files, replaces=_REPLACED)
    return Path(folder)


def configuration(raw: Mapping[str, Any], weights: ModelWeights) -> dict[str, Any]:
    """The config.json of these weights: that which is given, with the classes that their heads are read by.

    Raises:
        CheckpointError: with every fault of it.
    """
    kept = {name: value for name, value in raw.items() if name not in _FOREIGN}
    beginning = BEGINNINGS[kept["model_type"]]
    heads = [ending for ending, head in reversed(TASKS.items()) if getattr(weights, head) is not None]
    named_config = {**kept, "architectures": [f"{beginning}{ending}" for ending in heads or ("Model",)]}
    checked = Config.from_dict({**raw, **named_config})
    labels = {"id2label": {str(i): label for i, label in checked.id2label.items()}, "label2id": dict(checked.label2id)}
    # transformers computes in the type that stands here: in float32, as minidistil does, whatever the file holds.
    return {**named_config, **(labels if _labelled(weights) else {}), "dtype": "float32"}


def tokenizer_files(files: Mapping[str, Content], model_type: str) -> dict[str, Content]:
    """The files of a tokenizer as a model of this type wants them.

    DistilBERT takes no token types: of BERT's tokenizer it becomes DistilBERT's, which gives none and is else the same.
    """
    result = dict(files)
    name = "tokenizer_config.json"
    if model_type != "distilbert" or name not in result:
        return result
    content = result[name]
    settings = parse_json(content.read_bytes() if isinstance(content, Path) else content)  # type: ignore[arg-type]
    if isinstance(settings, dict) and settings.get("tokenizer_class") in ("BertTokenizer", "BertTokenizerFast"):
        settings |= {"tokenizer_class": "DistilBertTokenizer", "model_input_names": ["input_ids", "attention_mask"]}
        result[name] = as_json(settings)
    return result


def _labelled(weights: ModelWeights) -> bool:
    return weights.sequence_classification is not None or weights.token_classification is not None


def _tensors(raw: Mapping[str, Any], weights: ModelWeights, element_type: str) -> dict[str, np.ndarray]:
    """Stored name -> array of the element type, of every parameter."""
    faults: list[str] = []
    values = parse(FAMILIES[raw["model_type"]], raw, faults)
    values["num_labels"] = len(raw.get("id2label", ()))
    family = FAMILIES[raw["model_type"]].of(values)
    headed = raw["architectures"] != [f"{BEGINNINGS[raw['model_type']]}Model"]
    layers = len(weights.encoder.layers)
    if layers != values["n_layers"]:
        faults.append(f"{layers} layers, where the configuration has {values['n_layers']}")
    arrays = named(weights)
    elsewhere = [name for name in arrays if _is_elsewhere(name, arrays, values, faults)]
    expected = _expected(family, weights)
    faults += [f"{name} is missing" for name in expected if name not in arrays]
    faults += [f"{name} is nothing that a {family.model_type} model has" for name in arrays if name not in expected]
    stored: dict[str, np.ndarray] = {}
    for name in expected:
        if name not in arrays or name in elsewhere:
            continue
        array, place = arrays[name], stored_as(family, name, headed)
        if fault := _fault(name, array, family, values):
            faults.append(fault)
        if place in stored:
            faults.append(f"{name} is stored as {place}, which is another head's")
        with np.errstate(over="ignore"):
            made = np.ascontiguousarray(array, ELEMENT_TYPES[element_type])
        infinite = count_nonfinite(np.asarray(made, np.float32))
        if infinite:
            faults.append(f"{name} has {infinite} of {made.size} values that are not finite as {element_type}")
        stored[place] = made
    if faults:
        raise ValueError("weights that cannot be written: " + "; ".join(faults))
    return stored


def _expected(family: Family, weights: ModelWeights) -> list[str]:
    """Every canonical parameter of the encoder and of the heads that are there."""
    heads = [head for head in ("pooler", *TASKS.values()) if getattr(weights, head) is not None]
    layers = [parameters(family, "layers", i) for i in range(len(weights.encoder.layers))]
    return [name for names in (parameters(family, "embeddings"), *layers) for name in names] + [
        name for head in heads for name in parameters(family, head)
    ]


def _is_elsewhere(name: str, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any], faults: list[str]) -> bool:
    """Whether a parameter is stored as another one: a tied projection; a pooler that is a head's first product."""
    source = TIES.get(name)
    if source is not None and values["tie_word_embeddings"]:
        tied, words = arrays[name], arrays[source]
        if tied is not words and not np.array_equal(tied, words):
            faults.append(f"{name} is not {source}, and the configuration says that they are tied")
        return True
    # BERT's pooler is the dense of its classifier, and the classifier may have been trained since.
    return name.startswith("pooler.") and name.replace("pooler", "sequence_classification.dense") in arrays


def _fault(name: str, array: np.ndarray, family: Family, values: Mapping[str, Any]) -> str:
    numbers = sized(family, name)
    expected = tuple(size_of(number, values) for number in numbers)
    if array.shape == expected and array.dtype == np.float32:
        return ""
    sizes = shape_text(size or 0 for size in expected)
    return f"{name} is {array.dtype} {shape_text(array.shape)}, expected float32 {sizes} ({', '.join(numbers)})"
