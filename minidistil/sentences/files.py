"""What a sentence-transformers folder says about its modules."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# In the order in which several are concatenated.
_LEGACY_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLING_MODES = tuple(_LEGACY_MODES.values())
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
_SUPPORTED = ("Transformer", "Pooling", "Normalize", "Dropout")
_TRANSFORMER_CONFIGS = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "albert")
)


@dataclass(frozen=True)
class SentenceFiles:
    """The modules of a sentence embedding model, from token ids to one vector.

    Attributes:
        transformer: folder of the encoder's checkpoint and tokenizer.
        pooling: modes of `POOLING_MODES`; the results of several stand one after another.
        include_prompt: whether a prompt's tokens are pooled too.
        normalize: whether the vectors are scaled to length 1.
        max_seq_length: in tokens, or None for the model's own limit.
        lower_case: whether texts are lower-cased before the tokenizer sees them.
        prompts: text by name, put before the sentences.
        default_prompt: name of the prompt that is used unless told otherwise.
        similarity: one of `SIMILARITIES`.
        truncate_dim: keep this many dimensions, or None for all.
    """

    transformer: Path | None = None
    pooling: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    normalize: bool = False
    max_seq_length: int | None = None
    lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    similarity: str = "cosine"
    truncate_dim: int | None = None


def read_sentence_files(folder: Path | None) -> SentenceFiles:
    """Read modules.json and what it names; without it, mean pooling.

    Args:
        folder: a checkpoint folder, or None for a model that was made in memory.

    Raises:
        ValueError: a module, a pooling mode or an order of modules that minidistil does not have; all are named.
    """
    if folder is None or not (folder / "modules.json").is_file():
        return SentenceFiles(transformer=folder)
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    unknown = sorted(set(kinds) - set(_SUPPORTED))
    if unknown:
        raise ValueError(
            f"{folder / 'modules.json'} has modules that minidistil does not have: {', '.join(unknown)}; "
            f"it has {', '.join(_SUPPORTED)}"
        )
    if kinds[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & set(kinds[2:]):
        raise ValueError(
            f"{folder / 'modules.json'}: expected one Transformer, one Pooling, then Normalize or Dropout; "
            f"found {', '.join(kinds)}"
        )
    transformer = folder / modules[0][1]
    pooling = _json(folder / modules[1][1] / "config.json")
    options = next((_json(p) for name in _TRANSFORMER_CONFIGS if (p := transformer / name).is_file()), {})
    general = _json(folder / "config_sentence_transformers.json")
    similarity = general.get("similarity_fn_name") or "cosine"
    if similarity not in SIMILARITIES:
        raise ValueError(
            f"{folder / 'config_sentence_transformers.json'}: similarity_fn_name is {similarity!r}, "
            f"expected one of {', '.join(SIMILARITIES)}"
        )
    return SentenceFiles(
        transformer=transformer,
        pooling=_pooling_modes(pooling, folder / modules[1][1]),
        include_prompt=bool(pooling.get("include_prompt", True)),
        normalize="Normalize" in kinds,
        max_seq_length=options.get("max_seq_length"),
        lower_case=bool(options.get("do_lower_case", False)),
        prompts={name: text for name, text in (general.get("prompts") or {}).items() if text is not None},
        default_prompt=general.get("default_prompt_name"),
        similarity=similarity,
        truncate_dim=general.get("truncate_dim"),
    )


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Kind (last component of the type) and path of every module, in order."""
    path = folder / "modules.json"
    entries = _load(path)
    if not isinstance(entries, list) or not all(isinstance(e, dict) and {"type", "path"} <= e.keys() for e in entries):
        raise ValueError(f"{path} must be a list of objects with type and path")
    entries = sorted(entries, key=lambda entry: entry.get("idx", 0))
    return [(str(entry["type"]).rpartition(".")[2], str(entry["path"])) for entry in entries]


def _pooling_modes(config: dict[str, Any], folder: Path) -> tuple[str, ...]:
    mode = config.get("pooling_mode")
    if mode is None:
        modes = [name for key, name in _LEGACY_MODES.items() if config.get(key)] or ["mean"]
    else:
        modes = [mode] if isinstance(mode, str) else list(mode)
    unknown = [name for name in modes if name not in POOLING_MODES]
    if unknown:
        raise ValueError(f"{folder}: unknown pooling modes {unknown}; known are {', '.join(POOLING_MODES)}")
    return tuple(modes)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = _load(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object, it holds a {type(content).__name__}")
    return content


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
