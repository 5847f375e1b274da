"""A checkpoint folder's tokenizer files, read into one description."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend

UNLIMITED = int(1e30)  # what transformers stores where a tokenizer declares no maximum
SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_NO_TOKEN_TYPES = ("distilbert", "roberta", "distilroberta", "xlm-roberta", "xlmroberta", "camembert")


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder says about its tokenizer.

    Attributes:
        backend: the compiled tokenizer, without padding and truncation.
        special_tokens: token by role ("mask_token": "[MASK]"); roles that the tokenizer lacks are absent.
        model_max_length: longest input in tokens, special ones included.
        token_types: whether the model takes token_type_ids.
        padding_side: "right" or "left".
        truncation_side: "right" or "left".
        clean_up: whether decode() removes the spaces before punctuation once more.
    """

    backend: Backend
    special_tokens: dict[str, str]
    model_max_length: int
    token_types: bool
    padding_side: str
    truncation_side: str
    clean_up: bool


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read tokenizer.json, or vocab.txt, with tokenizer_config.json and special_tokens_map.json beside it.

    Args:
        folder: a checkpoint folder.

    Raises:
        FileNotFoundError: neither tokenizer.json nor vocab.txt is there.
        ValueError: a file cannot be read; the message names it.
    """
    options = _read_json(folder / "tokenizer_config.json")
    declared = _declared_special_tokens(folder, options)
    if (folder / "tokenizer.json").is_file():
        backend = _from_tokenizer_json(folder / "tokenizer.json")
    elif (folder / "vocab.txt").is_file():
        backend = _from_vocabulary(folder / "vocab.txt", options, {**_BERT_TOKENS, **declared})
    else:
        raise FileNotFoundError(f"no tokenizer in {folder}: neither tokenizer.json nor vocab.txt is there")
    special = {**{role: t for role, t in _BERT_TOKENS.items() if backend.token_to_id(t) is not None}, **declared}
    _add_declared_tokens(backend, options, special)
    return TokenizerFiles(
        backend=backend,
        special_tokens=special,
        model_max_length=int(min(options.get("model_max_length") or UNLIMITED, UNLIMITED)),
        token_types=_has_token_types(folder, options),
        padding_side=options.get("padding_side", "right"),
        truncation_side=options.get("truncation_side", "right"),
        clean_up=bool(options.get("clean_up_tokenization_spaces", False)),
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object, it holds a {type(content).__name__}")
    return content


def _declared_special_tokens(folder: Path, options: dict[str, Any]) -> dict[str, str]:
    declared: dict[str, str] = {}
    for source in (_read_json(folder / "special_tokens_map.json"), options):  # the later one wins
        for role in SPECIAL_NAMES:
            token = source.get(role)
            if token is not None:
                declared[role] = token["content"] if isinstance(token, dict) else str(token)
    return declared


def _from_tokenizer_json(path: Path) -> Backend:
    from tokenizers import Tokenizer as Backend

    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # the library raises bare Exceptions for everything
        raise ValueError(f"{path} cannot be read as a tokenizer: {error}") from error
    # What was saved there are one program's settings, not the model's: all-MiniLM-L6-v2 has 128 tokens there, and 256
    # are its limit.
    backend.no_padding()
    backend.no_truncation()
    return backend


def _from_vocabulary(path: Path, options: dict[str, Any], special: dict[str, str]) -> Backend:
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    vocabulary: dict[str, int] = {}
    with path.open(encoding="utf-8") as lines:
        for index, line in enumerate(lines):
            vocabulary[line.rstrip("\n")] = index
    missing = [special[role] for role in ("unk_token", "cls_token", "sep_token") if special[role] not in vocabulary]
    if missing:
        raise ValueError(f"{path} lacks the special tokens {missing}; found {len(vocabulary)} others")
    backend = Backend(models.WordPiece(vocabulary, unk_token=special["unk_token"], max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents"),
        lowercase=options.get("do_lower_case", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = special["cls_token"], special["sep_token"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
    )
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    backend.add_special_tokens([t for t in special.values() if t in vocabulary])
    return backend


def _add_declared_tokens(backend: Backend, options: dict[str, Any], special: dict[str, str]) -> None:
    """Add what tokenizer_config.json declares and the vocabulary does not treat as whole tokens yet."""
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    added: list[AddedToken] = []
    declared = options.get("added_tokens_decoder") or {}
    for index in sorted(declared, key=int):
        entry = declared[index]
        if isinstance(entry, dict) and entry.get("content") not in known:
            added.append(_added_token(entry))
    for extra in options.get("additional_special_tokens") or options.get("extra_special_tokens") or []:
        entry = extra if isinstance(extra, dict) else {"content": str(extra)}
        added.append(_added_token({**entry, "special": True}))
    added.extend(_added_token({"content": token, "special": True}) for token in special.values())
    seen = set(known)
    for token in added:
        if token.content not in seen:
            seen.add(token.content)
            (backend.add_special_tokens if token.special else backend.add_tokens)([token])


def _added_token(entry: dict[str, Any]) -> AddedToken:
    from tokenizers import AddedToken

    return AddedToken(
        entry["content"],
        single_word=entry.get("single_word", False),
        lstrip=entry.get("lstrip", False),
        rstrip=entry.get("rstrip", False),
        normalized=entry.get("normalized", False),
        special=entry.get("special", False),
    )


def _has_token_types(folder: Path, options: dict[str, Any]) -> bool:
    model_type = _read_json(folder / "config.json").get("model_type")
    if model_type is not None:
        return model_type not in _NO_TOKEN_TYPES
    if "model_input_names" in options:
        return "token_type_ids" in options["model_input_names"]
    return not str(options.get("tokenizer_class", "")).lower().startswith(_NO_TOKEN_TYPES)
