"""What a sentence-transformers folder says about its modules."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minidistil.models.purpose import good_for
from minidistil.sentences.comparison import SIMILARITIES
from minidistil.sentences.pooling import POOLING_MODES
from minidistil.weights import CheckpointError, limits
from minidistil.weights.errors import listing, quoted
from minidistil.weights.keys import Key, read_keys
from minidistil.weights.small_files import is_inside, is_there, open_regular, read_json, read_object_if_there

# In the order in which several are concatenated.
_LEGACY_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
CLASSIFIER = "classifier"  # name of the last module where it makes logits of labels
_CONTENT = (".json", ".txt", ".model", ".safetensors", ".bin")
TOKENS, SENTENCE = "token_embeddings", "sentence_embedding"
_SUPPORTED = ("Transformer", "WeightedLayerPooling", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
_WITHOUT_FILES = ("Normalize", "Dropout")
_ANY_LEVEL = ("Dense", "Normalize")  # these say in their config.json what they read and write
# What sentence-transformers always has, so that encode_query never falls back on the default prompt.
_PROMPTS = {"query": "", "document": ""}
GENERAL_FILE = "config_sentence_transformers.json"
_OLDER_ACTIVATION = "sbert_ce_default_activation_function"
TRANSFORMER_CONFIGS = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "albert")
)
# What is read of each file; canonical name -> key.
_GENERAL = {
    "similarity": Key(("similarity_fn_name",), str, "cosine", choices=SIMILARITIES),
    "prompts": Key(("prompts",), dict, {}, of=(str, type(None))),
    "default_prompt": Key(("default_prompt_name",), str, None),
    "truncate_dim": Key(("truncate_dim",), int, None),
    "model_type": Key(("model_type",), str, None),
    "activation": Key(("activation_fn",), str, None),
}
_TRANSFORMER = {
    "max_seq_length": Key(("max_seq_length",), int, None),
    "lower_case": Key(("do_lower_case",), bool, False),
    "config_args": Key(("config_args",), dict, {}),
    "config_kwargs": Key(("config_kwargs",), dict, {}),
}
_ENCODER = {
    "all_layers": Key(("output_hidden_states",), bool, False),
    "older_activation": Key((_OLDER_ACTIVATION,), str, None),
    "newer": Key(("sentence_transformers",), dict, {}),
}
_MODULE = {
    "kind": Key(("type",), str),
    "folder": Key(("path",), str),
    "place": Key(("idx",), int, 0, least=0),
    "name": Key(("name",), str, ""),
}
_LEVELS = {"reads": Key(("module_input_name",), str, None), "writes": Key(("module_output_name",), str, None)}
_POOLING = {
    "include_prompt": Key(("include_prompt",), bool, True),
    **{key: Key((key,), bool, False) for key in _LEGACY_MODES},
}


@dataclass(frozen=True)
class ModuleFile:
    """A line of modules.json.

    Attributes:
        kind: the last component of its type.
        folder: of its config.json and weights.
        level: what it changes, `TOKENS` or `SENTENCE`.
        name: what the file calls it, a number as a rule.
    """

    kind: str
    folder: Path
    level: str = SENTENCE
    name: str = ""


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
        classifies: whether what comes out are the logits of labels (sentences/classifier.py).
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
    classifies: bool = False

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
                    with open_regular(path) as file:
                        while block := file.read(1 << 20):
                            whole.update(block)
        return whole.hexdigest()


def read_sentence_files(folder: Path | None) -> SentenceFiles:
    """Read modules.json and what it names; without it, mean pooling.

    Args:
        folder: a checkpoint folder, or None for a model that was made in memory.

    Raises:
        CheckpointError: a module, a pooling mode or an order of modules that minidistil does not have; or what no such
            file says.
    """
    if folder is None or not is_there(folder / "modules.json"):
        return SentenceFiles(folder, folder)
    modules = _modules(folder)
    _check_order(modules, folder / "modules.json")
    transformer = modules[0].folder
    pooling_file = next(module for module in modules if module.kind == "Pooling")
    modes, include_prompt = _read_pooling(pooling_file.folder / "config.json")
    options = _transformer_options(transformer)
    general = _read(_GENERAL, folder / GENERAL_FILE)
    prompts = _prompts(general, _PROMPTS, folder / GENERAL_FILE)
    return SentenceFiles(
        folder=folder,
        transformer=transformer,
        modules=tuple(module for module in modules[1:] if module.kind != "Dropout"),
        all_layers=_hands_on_all_layers(transformer, options),
        pooling=modes,
        include_prompt=include_prompt,
        max_seq_length=options["max_seq_length"],
        lower_case=options["lower_case"],
        prompts=prompts,
        default_prompt=general["default_prompt"],
        similarity=general["similarity"],
        truncate_dim=general["truncate_dim"],
        classifies=_classifies(modules),
    )


def is_classifier(folder: Path) -> bool:
    """Return whether a checkpoint was saved as an encoder whose last module makes logits of labels."""
    return is_there(folder / "modules.json") and _classifies(_modules(folder))


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
    general = _read(_GENERAL, folder / GENERAL_FILE)
    if general["model_type"] is not None:
        return bool(general["model_type"] == "CrossEncoder")
    config = _read(_ENCODER, folder / "config.json")
    return config["older_activation"] is not None or "activation_fn" in config["newer"]


def read_reranker_files(folder: Path) -> RerankerFiles:
    """Read what a cross-encoder's folder says, with modules.json or without.

    Raises:
        CheckpointError: modules other than the model itself; or what no such file says.
    """
    transformer = folder
    if is_there(folder / "modules.json"):
        modules = _modules(folder)
        if [module.kind for module in modules] != ["Transformer"]:
            kinds = [module.kind for module in modules]
            use = f"; this is a model for {good_for(())}" if "Pooling" in kinds else ""
            fault = f"a cross-encoder is one Transformer; found {listing(kinds)}{use}"
            raise CheckpointError(folder / "modules.json", fault)
        transformer = modules[0].folder
    general = _read(_GENERAL, folder / GENERAL_FILE)
    config = _read(_ENCODER, transformer / "config.json")
    newer = _checked({"activation": _GENERAL["activation"]}, config["newer"], transformer / "config.json")
    return RerankerFiles(
        transformer=transformer,
        activation=general["activation"] or newer["activation"] or config["older_activation"],
        max_seq_length=_transformer_options(transformer)["max_seq_length"],
        prompts=_prompts(general, {}, folder / GENERAL_FILE),
        default_prompt=general["default_prompt"],
    )


def _transformer_options(transformer: Path) -> dict[str, Any]:
    present = [path for name in TRANSFORMER_CONFIGS if is_there(path := transformer / name)]
    return _read(_TRANSFORMER, present[0] if present else transformer / TRANSFORMER_CONFIGS[0])


def _modules(folder: Path) -> list[ModuleFile]:
    """The lines of modules.json, in order."""
    path = folder / "modules.json"
    entries = read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CheckpointError(path, "must be a list of objects with type and path")
    if len(entries) > limits.MODULES:
        raise CheckpointError(path, f"has {len(entries)} modules; {limits.MODULES} are the most accepted")
    faults: list[str] = []
    modules = [read_keys(_MODULE, entry, f"module {i}", faults) for i, entry in enumerate(entries)]
    faults += [
        f"module {i}: its path {quoted(module['folder'])} is no folder in this one"
        for i, module in enumerate(modules)
        if "folder" in module and not is_inside(module["folder"])
    ]
    if faults:
        raise CheckpointError(path, faults)
    modules.sort(key=lambda module: module["place"])
    return [
        replace(_module(module["kind"].rpartition(".")[2], folder / module["folder"]), name=module["name"])
        for module in modules
    ]


def _classifies(modules: list[ModuleFile]) -> bool:
    return bool(modules) and (modules[-1].kind, modules[-1].name) == ("Dense", CLASSIFIER)


def _module(kind: str, folder: Path) -> ModuleFile:
    if kind in ("Transformer", "WeightedLayerPooling", "Pooling"):
        return ModuleFile(kind, folder, TOKENS)
    path = folder / "config.json"
    config = _read(_LEVELS, path) if kind in _ANY_LEVEL else {}
    reads = config.get("reads") or SENTENCE
    writes = config.get("writes") or reads
    if reads != writes or reads not in (TOKENS, SENTENCE):
        raise CheckpointError(
            path,
            f"{kind} reads {quoted(repr(reads))} and writes {quoted(repr(writes))}; minidistil has modules that change "
            f"{TOKENS} or {SENTENCE} in place",
        )
    return ModuleFile(kind, folder, reads)


def _check_order(modules: list[ModuleFile], path: Path) -> None:
    kinds = [module.kind for module in modules]
    unknown = sorted(set(kinds) - set(_SUPPORTED))
    if unknown:
        raise CheckpointError(
            path, f"has modules that minidistil does not have: {listing(unknown)}; it has {', '.join(_SUPPORTED)}"
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
        raise CheckpointError(
            path,
            "expected one Transformer, perhaps WeightedLayerPooling and modules over tokens, one Pooling, then modules "
            f"over sentences; found {', '.join(kinds)}"
            f"{'; a cross-encoder is loaded by CrossEncoder' if kinds == ['Transformer'] else ''}",
        )
    own = [module.folder for module in modules if module.kind not in _WITHOUT_FILES]
    if len(set(own)) < len(own):  # each would be read as often as it is named
        raise CheckpointError(path, "has two modules in the same folder")


def _hands_on_all_layers(transformer: Path, options: dict[str, Any]) -> bool:
    path = transformer / "config.json"
    asked = (_checked(_ENCODER, options[name], path) for name in ("config_args", "config_kwargs"))
    return any(config["all_layers"] for config in (_read(_ENCODER, path), *asked))


def _read_pooling(path: Path) -> tuple[tuple[str, ...], bool]:
    """The modes, and whether a prompt's tokens are pooled."""
    config = read_object_if_there(path)
    values, mode = _checked(_POOLING, config, path), config.get("pooling_mode")
    if mode is None:
        modes = [name for key, name in _LEGACY_MODES.items() if values[key]] or ["mean"]
    else:
        modes = mode if isinstance(mode, list) else [mode]
    unknown = [name for name in modes if name not in POOLING_MODES]
    if unknown:
        raise CheckpointError(
            path, f"unknown pooling modes {quoted(str(unknown))}; known are {', '.join(POOLING_MODES)}"
        )
    if not 0 < len(modes) <= len(POOLING_MODES):
        raise CheckpointError(path, f"has {len(modes)} pooling modes, expected 1 to {len(POOLING_MODES)}")
    return tuple(modes), values["include_prompt"]


def _prompts(general: dict[str, Any], always: dict[str, str], path: Path) -> dict[str, str]:
    """The prompts, with those that are always there; the default one must be among them."""
    prompts = {**always, **{name: text or "" for name, text in general["prompts"].items()}}
    default = general["default_prompt"]
    if default is not None and default not in prompts:
        names = quoted(str(sorted(prompts)))
        raise CheckpointError(path, f"default_prompt_name is {quoted(repr(default))}, and the prompts are {names}")
    return prompts


def _read(keys: dict[str, Key], path: Path) -> dict[str, Any]:
    """What a file says by a table of keys; where there is no file, what the keys say."""
    return _checked(keys, read_object_if_there(path), path)


def _checked(keys: dict[str, Key], content: dict[str, Any], path: Path) -> dict[str, Any]:
    faults: list[str] = []
    values = read_keys(keys, content, "", faults)
    if faults:
        raise CheckpointError(path, faults)
    return values
