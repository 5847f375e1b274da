"""Checkpoints of the Hugging Face hub, through huggingface_hub: its cache, its settings, its credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from minidistil._loading import loading
from minidistil.weights.errors import CheckpointError
from minidistil.weights.file_names import weight_file_names

# Configuration, tokenizer and sentence-transformers modules: everything but the weights.
_SMALL = re.compile(
    r"config\.json|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json"
    r"|vocab\.txt|vocab\.json|merges\.txt|modules\.json|config_sentence_transformers\.json|sentence_\w+_config\.json"
    r"|\d+_\w+/config\.json"
)
_PIECES = ("spiece.model", "sentencepiece.bpe.model")  # vocabularies that tokenizer.json has as well
_MODULE_WEIGHTS = re.compile(r"(\d+_\w+)/(model\.safetensors|pytorch_model\.bin)")
_TIMEOUT = 10.0  # seconds
_INDEX = re.compile(r"(model|pytorch_model)\.(safetensors|bin)\.index(?:\.([\w-]+))?\.json", re.ASCII)


def wanted(
    files: Iterable[str], config_only: bool = False, subfolder: str | None = None, variant: str | None = None
) -> list[str]:
    """The files of a repository that a checkpoint needs: its weights in one format only, nothing for training."""
    if subfolder:
        below = f"{subfolder.strip('/')}/"
        inside = (name.removeprefix(below) for name in files if name.startswith(below))
        return [f"{below}{name}" for name in wanted(inside, config_only, variant=variant)]
    present = sorted(files)
    chosen = [name for name in present if _SMALL.fullmatch(name)]
    if "tokenizer.json" not in present:
        chosen += [name for name in _PIECES if name in present]
    if config_only:
        return chosen
    weights = next((name for name in weight_file_names(variant) if name in present), None)
    if weights is not None:
        chosen += [weights, *(name for name in present if is_shard(name, of=weights))]
    for name in present:
        module = _MODULE_WEIGHTS.fullmatch(name)
        if module and not (module[2] == "pytorch_model.bin" and f"{module[1]}/model.safetensors" in present):
            chosen.append(name)
    return chosen


def is_small(name: str) -> bool:
    """Whether a file of that name says something about a model, and is none of its weights."""
    return _SMALL.fullmatch(name) is not None or name in _PIECES


def is_shard(name: str, *, of: str) -> bool:
    """Whether a file of that name holds weights that the table of contents `of` speaks of."""
    index = _INDEX.fullmatch(of)
    if index is None:
        return False
    stem, ending, variant = index.groups()
    number, word = r"-\d+-of-\d+", rf"\.{re.escape(variant)}" if variant else ""
    return re.fullmatch(rf"{stem}({word}{number}|{number}{word})\.{ending}", name, re.ASCII) is not None


def fetch(
    repo_id: str,
    config_only: bool,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    subfolder: str | None = None,
    variant: str | None = None,
) -> Path:
    """The snapshot folder of a repository, brought up to date where the hub can be reached, else from the cache.

    Raises:
        CheckpointError: not on the hub, not allowed, or not in the cache and the hub out of reach.
    """
    with loading():
        import huggingface_hub
        from huggingface_hub import constants  # what it has is loaded when asked for

    config = f"{subfolder.strip('/')}/config.json" if subfolder else "config.json"
    cached = _cached(repo_id, config, revision, cache_dir)
    cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser()
    if local_files_only or constants.HF_HUB_OFFLINE:
        if cached is None:
            reason = "local_files_only" if local_files_only else "HF_HUB_OFFLINE"
            at = f" at revision {revision}" if revision else ""
            fault = f"is not in the Hugging Face cache {cache}{at}, and {reason} forbids to download it"
            raise CheckpointError(repo_id, fault)
        return cached
    if cached is not None and revision == cached.name and _complete(cached / config, config_only, variant):
        return cached  # a commit never changes
    try:
        # One request without the client's retries: where there is no network, the cache is to be taken at once.
        found = huggingface_hub.HfApi(token=token).model_info(repo_id, revision=revision, timeout=_TIMEOUT)
        files = wanted((file.rfilename for file in found.siblings or ()), config_only, subfolder, variant)
        if config not in files:
            raise CheckpointError(repo_id, f"has no {config} on the hub: it is not a transformers checkpoint")
        if cached is not None and cached.name == found.sha and all((cached / name).exists() for name in files):
            return cached
        folder = huggingface_hub.snapshot_download(
            repo_id, revision=revision, cache_dir=cache_dir, token=token, allow_patterns=files
        )
        return Path(folder)
    except CheckpointError:
        raise
    except Exception as error:  # the client's own classes, those of its HTTP library, and OSError
        if cached is not None and _complete(cached / config, config_only, variant):
            return cached  # out of reach, or no longer allowed: what was fetched before still stands
        raise CheckpointError(repo_id, _explain(error, repo_id, revision, cache)) from error


def _cached(repo_id: str, config: str, revision: str | None, cache_dir: str | os.PathLike[str] | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo_id, config, cache_dir=cache_dir, revision=revision)
    return Path(found).parents[config.count("/")] if isinstance(found, str) else None


def _complete(config: Path, config_only: bool, variant: str | None) -> bool:
    return config_only or any((config.parent / name).exists() for name in weight_file_names(variant))


def _explain(error: Exception, repo_id: str, revision: str | None, cache: Path) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"asks for consent on https://huggingface.co/{repo_id}: give it there, then `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "is neither a folder here nor a repository on the hub (a private one needs `hf auth login` or token=)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {revision!r} on the hub"
    summary = str(error).strip().split("\n")[0] or type(error).__name__
    return f"is neither a folder here nor in the Hugging Face cache {cache}, and the hub cannot be reached ({summary})"
