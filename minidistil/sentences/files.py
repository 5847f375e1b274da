"""What a sentence-transformers folder says about its modules."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minidistil.sentences.comparison import SIMILARITIES
from minidistil.sentences.pooling import POOLING_MODES

# In the order in which several are concatenated.
_LEGACY_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_CONTENT = (".json", ".txt", ".model", ".safetensors", ".bin")
TOKENS, SENTENCE = "token_embeddings", "sentence_embedding"
_SUPPORTED = ("Transformer", "WeightedLayerPooling", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
_ANY_LEVEL = ("Dense", "Normalize")  # these say in their config.json what they read and write
# What sentence-transformers always has, so that encode_query never falls back on the default prompt.
_PROMPTS = {"query": "", "document": ""}
_OLDER_ACTIVATION = "sbert_ce_default_activation_function"
_TRANSFORMER_CONFIGS = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "albert")
)


@dataclass(frozen=True)
class ModuleFile:
    """A line of modules.json.

    Attributes:
        kind: the last component of its type.
        folder: of its config.json and weights.
        level: what it changes, `TOKENS` or `SENTENCE`.
    """

    kind: str
    folder: Path
    level: str = SENTENCE


@dataclass(frozen=True)
class SentenceFiles:
    """The modules of a sentence embedding model, from token ids to one vector.

    Attributes:
        folder: of modules.json, or of the encoder where there is none.
        transformer: folder of the encoder's checkpoint and tokenizer.
        modules: everything after the encoder, without dropouts.
        all_layers: whether the encoder hands all its layers on, which WeightedLayerPooling needs.
        pooling: modes of `POOLING_MODES`; the results of several stand one after another.
        include_prompt: whether a prompt's tokens are pooled too.
        max_seq_length: in tokens, or None for the model's own limit.
        lower_case: whether texts are lower-cased before the tokenizer sees them.
        prompts: text by name, put before the sentences.
        default_prompt: name of the prompt that is used unless told otherwise.
        similarity: one of `SIMILARITIES`.
        truncate_dim: keep this many dimensions, or None for all.
    """

    folder: Path | None = None
    transformer: Path | None = None
    modules: tuple[ModuleFile, ...] = ()
    all_layers: bool = False
    pooling: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    max_seq_length: int | None = None
    lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=lambda: dict(_PROMPTS))
    default_prompt: str | None = None
    similarity: str = "cosine"
    truncate_dim: int | None = None

    @property
    def normalize(self) -> bool:
        """Whether the last module scales the vectors to length 1."""
        return bool(self.modules) and self.modules[-1].kind == "Normalize"

    def digest(self) -> str:
        """Return the SHA-256 of all files that say what an embedding is: weights, tokenizer, configs; 64 digits."""
        whole = hashlib.sha256()
        folders = dict.fromkeys((self.folder, self.transformer, *(module.folder for module in self.modules)))
        for folder in folders:
            for path in sorted(folder.iterdir()) if folder and folder.is_dir() else ():
                if path.suffix in _CONTENT and path.is_file():
                    whole.update(f"\0{path.name}\0{path.stat().st_size}\0".encode())
                    with path.open("rb") as file:
                        while block := file.read(1 << 20):
                            whole.update(block)
        return whole.hexdigest()


def read_sentence_files(folder: Path | None) -> SentenceFiles:
    """Read modules.json and what it names; without it, mean pooling.

    Args:
        folder: a checkpoint folder, or None for a model that was made in memory.

    Raises:
        ValueError: a module, a pooling mode or an order of modules that minidistil does not have; all are named.
    """
    if folder is None or not (folder / "modules.json").is_file():
        return SentenceFiles(folder, folder)
    modules = _modules(folder)
    _check_order(modules, folder / "modules.json")
    transformer = modules[0].folder
    pooling_file = next(module for module in modules if module.kind == "Pooling")
    pooling = _json(pooling_file.folder / "config.json")
    options = _transformer_options(transformer)
    general = _json(folder / "config_sentence_transformers.json")
    similarity = general.get("similarity_fn_name") or "cosine"
    if similarity not in SIMILARITIES:
        raise ValueError(
            f"{folder / 'config_sentence_transformers.json'}: similarity_fn_name is {similarity!r}, "
            f"expected one of {', '.join(SIMILARITIES)}"
        )
    prompts = {**_PROMPTS, **{name: text or "" for name, text in (general.get("prompts") or {}).items()}}
    default = general.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ValueError(
            f"{folder / 'config_sentence_transformers.json'}: default_prompt_name is {default!r}, "
            f"and the prompts are {sorted(prompts)}"
        )
    return SentenceFiles(
        folder=folder,
        transformer=transformer,
        modules=tuple(module for module in modules[1:] if module.kind != "Dropout"),
        all_layers=_hands_on_all_layers(transformer, options),
        pooling=_pooling_modes(pooling, pooling_file.folder),
        include_prompt=bool(pooling.get("include_prompt", True)),
        max_seq_length=options.get("max_seq_length"),
        lower_case=bool(options.get("do_lower_case", False)),
        prompts=prompts,
        default_prompt=default,
        similarity=similarity,
        truncate_dim=general.get("truncate_dim"),
    )


@dataclass(frozen=True)
class RerankerFiles:
    """What a cross-encoder's folder says.

    Attributes:
        transformer: folder of the model's checkpoint and tokenizer.
        activation: dotted name of what makes scores of logits, or None.
        max_seq_length: in tokens, or None for the model's own limit.
        prompts: text by name.
        default_prompt: name of the prompt that is used unless told otherwise.
    """

    transformer: Path
    activation: str | None
    max_seq_length: int | None
    prompts: dict[str, str]
    default_prompt: str | None


def is_reranker(folder: Path) -> bool:
    """Return whether a checkpoint was saved as a cross-encoder: its files of either version of the library say so."""
    general = _json(folder / "config_sentence_transformers.json")
    if "model_type" in general:
        return bool(general["model_type"] == "CrossEncoder")
    config = _json(folder / "config.json")
    newer = config.get("sentence_transformers")
    return _OLDER_ACTIVATION in config or (isinstance(newer, dict) and "activation_fn" in newer)


def read_reranker_files(folder: Path) -> RerankerFiles:
    """Read what a cross-encoder's folder says, with modules.json or without.

    Raises:
        ValueError: modules other than the model itself.
    """
    transformer = folder
    if (folder / "modules.json").is_file():
        modules = _modules(folder)
        if [module.kind for module in modules] != ["Transformer"]:
            kinds = ", ".join(module.kind for module in modules)
            raise ValueError(f"{folder / 'modules.json'}: a cross-encoder is one Transformer; found {kinds}")
        transformer = modules[0].folder
    general = _json(folder / "config_sentence_transformers.json")
    config = _json(transformer / "config.json")
    newer = config.get("sentence_transformers")
    return RerankerFiles(
        transformer=transformer,
        activation=general.get("activation_fn")
        or (newer.get("activation_fn") if isinstance(newer, dict) else None)
        or config.get(_OLDER_ACTIVATION),
        max_seq_length=_transformer_options(transformer).get("max_seq_length"),
        prompts={name: text or "" for name, text in (general.get("prompts") or {}).items()},
        default_prompt=general.get("default_prompt_name"),
    )


def _transformer_options(transformer: Path) -> dict[str, Any]:
    return next((_json(p) for name in _TRANSFORMER_CONFIGS if (p := transformer / name).is_file()), {})


def _modules(folder: Path) -> list[ModuleFile]:
    """The lines of modules.json, in order."""
    path = folder / "modules.json"
    entries = _load(path)
    if not isinstance(entries, list) or not all(isinstance(e, dict) and {"type", "path"} <= e.keys() for e in entries):
        raise ValueError(f"{path} must be a list of objects with type and path")
    entries = sorted(entries, key=lambda entry: entry.get("idx", 0))
    return [_module(str(entry["type"]).rpartition(".")[2], folder / str(entry["path"])) for entry in entries]


def _module(kind: str, folder: Path) -> ModuleFile:
    if kind in ("Transformer", "WeightedLayerPooling", "Pooling"):
        return ModuleFile(kind, folder, TOKENS)
    config = _json(folder / "config.json") if kind in _ANY_LEVEL else {}
    reads = config.get("module_input_name") or SENTENCE
    writes = config.get("module_output_name") or reads
    if reads != writes or reads not in (TOKENS, SENTENCE):
        raise ValueError(
            f"{folder / 'config.json'}: {kind} reads {reads!r} and writes {writes!r}; minidistil has modules that "
            f"change {TOKENS} or {SENTENCE} in place"
        )
    return ModuleFile(kind, folder, reads)


def _check_order(modules: list[ModuleFile], path: Path) -> None:
    kinds = [module.kind for module in modules]
    unknown = sorted(set(kinds) - set(_SUPPORTED))
    if unknown:
        raise ValueError(
            f"{path} has modules that minidistil does not have: {', '.join(unknown)}; it has {', '.join(_SUPPORTED)}"
        )
    at = kinds.index("Pooling") if "Pooling" in kinds else len(kinds)
    before, after = modules[1:at], modules[at + 1 :]
    if (
        kinds[:1] != ["Transformer"]
        or kinds.count("Transformer") != 1
        or kinds.count("Pooling") != 1
        or kinds[2:].count("WeightedLayerPooling")
        or any(module.level == SENTENCE and module.kind != "Dropout" for module in before)
        or any(module.level == TOKENS for module in after)
    ):
        raise ValueError(
            f"{path}: expected one Transformer, perhaps WeightedLayerPooling and modules over tokens, one Pooling, "
            f"then modules over sentences; found {', '.join(kinds)}"
            f"{'; a cross-encoder is loaded by CrossEncoder' if kinds == ['Transformer'] else ''}"
        )


def _hands_on_all_layers(transformer: Path, options: dict[str, Any]) -> bool:
    asked = [_json(transformer / "config.json"), options.get("config_args"), options.get("config_kwargs")]
    return any(config.get("output_hidden_states") for config in asked if isinstance(config, dict))


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
