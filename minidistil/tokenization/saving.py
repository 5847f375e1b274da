"""The files that a tokenizer is saved as: those that it was loaded from, and what was changed since."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minidistil.weights.saving import Content, as_json
from minidistil.weights.small_files import is_there, read_object_if_there

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
"""Of all that a tokenizer may consist of."""

_SETTINGS = (
    "model_max_length",
    "padding_side",
    "truncation_side",
    "clean_up_tokenization_spaces",
    "model_input_names",
    "extra_special_tokens",
)


class Described(NamedTuple):
    """A tokenizer: its compiled one as JSON, and its settings by name."""

    compiled: str
    settings: Mapping[str, Any]


def described(tokenizer: Any) -> Described:
    """Describe a `Tokenizer`."""
    settings = {**{name: getattr(tokenizer, name) for name in _SETTINGS}, **tokenizer.special_tokens}
    return Described(tokenizer.backend_tokenizer.to_str(pretty=True), settings)


def files_of(now: Described, loaded: Described | None = None, folder: Path | None = None) -> dict[str, Content]:
    """The files that make a tokenizer, for minidistil and for transformers.

    Args:
        now: the one to save.
        loaded: the same as the files of `folder` make it.
        folder: where it was loaded from, or None for one that was made in memory.
    """
    files: dict[str, Content] = {}
    stored: dict[str, Any] = {}
    if folder is not None:
        files = {name: folder / name for name in FILES if is_there(folder / name)}
        stored = read_object_if_there(folder / "tokenizer_config.json")
    before = {} if loaded is None else loaded.settings
    changed = {name: value for name, value in now.settings.items() if before.get(name) != value}
    if loaded is None or now.compiled != loaded.compiled:
        files["tokenizer.json"] = now.compiled.encode()
        # The class that takes tokenizer.json as it is, and knows nothing of the settings of another.
        changed = {**now.settings, "tokenizer_class": "PreTrainedTokenizerFast"}
    if changed:
        files["tokenizer_config.json"] = as_json({**stored, **changed})
    return files
