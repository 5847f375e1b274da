"""Checkpoints of weights in memory, under the names and in the files of the family: loaded by transformers as here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidistil.tokenization.saving import FILES as TOKENIZER_FILES
from minidistil.weights import ModelWeights
from minidistil.weights.config import Config
from minidistil.weights.file_names import PACKED_FILES, WEIGHT_FILES
from minidistil.weights.precision import require_float32
from minidistil.weights.saving import Content, as_json, save
from minidistil.weights.small_files import parse_json
from minidistil.weights.writing import ELEMENT_TYPES, ElementType, configuration, stored_tensors

if TYPE_CHECKING:
    from minidistil.tokenization import Tokenizer

WRITTEN = ("distilbert", "bert", "roberta", "xlm-roberta", "camembert")
"""The model_types that checkpoints are written of."""

# What an older checkpoint in the folder may have left: it would be read with the new files, or in their place.
_REPLACED = (*WEIGHT_FILES, *PACKED_FILES.values(), *TOKENIZER_FILES, "modules.json")


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
    tensors, _ = stored_tensors(raw, weights, element_type)
    files: dict[str, Content] = {"config.json": as_json(raw), WEIGHT_FILES[0]: tensors}
    if tokenizer is not None:
        given = tokenizer if isinstance(tokenizer, Mapping) else tokenizer.files_to_save()
        files |= tokenizer_files(given, str(model_type))
    if card is not None:
        files["README.md"] = card.encode() if isinstance(card, str) else card
    save(folder, files, replaces=_REPLACED)
    return Path(folder)


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
