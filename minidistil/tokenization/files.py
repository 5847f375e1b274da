"""A checkpoint folder's tokenizer files, read into one description."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidistil.tokenization.tokenizer_json import added_token_faults, library, read_tokenizer_json
from minidistil.weights import CheckpointError, limits
from minidistil.weights.errors import quoted
from minidistil.weights.keys import Key, read_keys
from minidistil.weights.small_files import is_there, read_object_if_there, read_text

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
_SIDES = ("right", "left")
_OPTIONS = {
    "model_max_length": Key(("model_max_length",), float, 0, least=0),  # 0: not said
    "padding_side": Key(("padding_side",), str, "right", choices=_SIDES),
    "truncation_side": Key(("truncation_side",), str, "right", choices=_SIDES),
    "clean_up": Key(("clean_up_tokenization_spaces",), bool, False),
    "tokenize_chinese_chars": Key(("tokenize_chinese_chars",), bool, True),
    "strip_accents": Key(("strip_accents",), bool, None),
    "do_lower_case": Key(("do_lower_case",), bool, True),
    "added_tokens": Key(("added_tokens_decoder",), dict, {}, of=(dict,)),
    "more_special_tokens": Key(("additional_special_tokens",), list, [], of=(str, dict)),
    "model_input_names": Key(("model_input_names",), list, None, of=(str,)),
    "tokenizer_class": Key(("tokenizer_class",), str, ""),
}
_ADDED_TOKEN = {
    "content": Key(("content",), str),
    **{name: Key((name,), bool, False) for name in ("single_word", "lstrip", "rstrip", "normalized", "special")},
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


def read_tokenizer_files(folder: Path, settings: Mapping[str, Any] | None = None) -> TokenizerFiles:
    """Read tokenizer.json, or vocab.txt, with tokenizer_config.json and special_tokens_map.json beside it.

    Args:
        folder: a checkpoint folder.
        settings: what the caller wants otherwise than tokenizer_config.json says, by the names that stand there, such
            as {"do_lower_case": False}. A name with None as its value is as if it were not there.

    Raises:
        CheckpointError: neither tokenizer.json nor vocab.txt is there; or a file cannot be read, or says what no
            tokenizer is. It names the file.
        ValueError: a setting that is none, or has an impossible value.
    """
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    _check_settings(given)
    path = folder / "tokenizer_config.json"
    content = {**read_object_if_there(path), **given}
    faults: list[str] = []
    options = read_keys(_OPTIONS, content, "", faults)
    declared = _special_tokens(folder / "special_tokens_map.json") | _special_tokens(path)
    declared |= {role: token for role, token in given.items() if role in SPECIAL_NAMES}
    added = _added_tokens(content, options, faults)
    if faults:
        raise CheckpointError(path, faults)
    if is_there(folder / "tokenizer.json"):
        backend = read_tokenizer_json(folder / "tokenizer.json")
    elif is_there(folder / "vocab.txt"):
        backend = _from_vocabulary(folder / "vocab.txt", options, {**_BERT_TOKENS, **declared})
    else:
        raise CheckpointError(folder, "has no tokenizer: neither tokenizer.json nor vocab.txt is there")
    special = {**{role: t for role, t in _BERT_TOKENS.items() if backend.token_to_id(t) is not None}, **declared}
    with library(path, "declares tokens that cannot be added"):
        _add_tokens(backend, [*added, *({"content": token, "special": True} for token in special.values())])
    return TokenizerFiles(
        backend=backend,
        special_tokens=special,
        model_max_length=int(min(options["model_max_length"] or UNLIMITED, UNLIMITED)),
        token_types=_has_token_types(folder, options),
        padding_side=options["padding_side"],
        truncation_side=options["truncation_side"],
        clean_up=options["clean_up"],
    )


def _check_settings(given: Mapping[str, Any]) -> None:
    faults: list[str] = []
    names = {key.names[0]: key for key in _OPTIONS.values()} | {role: Key((role,), str) for role in SPECIAL_NAMES}
    faults += [f"a tokenizer has no setting {name!r}; it has {', '.join(names)}" for name in given.keys() - names]
    read_keys({name: key for name, key in names.items() if name in given}, given, "", faults)
    if faults:
        raise ValueError("; ".join(faults))


def _special_tokens(path: Path) -> dict[str, str]:
    """Token by role, where a file declares any."""
    content, faults, declared = read_object_if_there(path), list[str](), dict[str, str]()
    for role in SPECIAL_NAMES:
        token = content.get(role)
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str) and len(text.encode()) <= limits.TOKEN_BYTES:
            declared[role] = text
        elif token is not None:
            most = limits.TOKEN_BYTES
            faults.append(f"{role} = {quoted(repr(token))}, expected a token of {most} bytes at most")
    if faults:
        raise CheckpointError(path, faults)
    return declared


def _added_tokens(content: dict[str, Any], options: dict[str, Any], faults: list[str]) -> list[dict[str, Any]]:
    """Tokens that tokenizer_config.json declares, in the order in which they are added."""
    by_id = options.get("added_tokens", {})
    if not all(index.isascii() and index.isdigit() and len(index) <= 10 for index in by_id):
        faults.append("added_tokens_decoder is no table from ids to tokens")
        return []
    more = options.get("more_special_tokens") or content.get("extra_special_tokens") or []
    if isinstance(more, dict):  # by role
        more = list(more.values())
    if not isinstance(more, list):
        faults.append(f"extra_special_tokens = {quoted(repr(more))}, expected a list")
        return []
    added = [by_id[index] for index in sorted(by_id, key=int)]
    added += [{**(token if isinstance(token, dict) else {"content": token}), "special": True} for token in more]
    faults += added_token_faults([token.get("content") for token in added])
    return [read_keys(_ADDED_TOKEN, token, "an added token", faults) for token in added]


def _from_vocabulary(path: Path, options: dict[str, Any], special: dict[str, str]) -> Backend:
    vocabulary: dict[str, int] = {}
    for index, line in enumerate(io.StringIO(read_text(path, limits.VOCABULARY_BYTES), newline=None)):
        vocabulary[line.rstrip("\n")] = index
    missing = [special[role] for role in ("unk_token", "cls_token", "sep_token") if special[role] not in vocabulary]
    if missing:
        raise CheckpointError(path, f"lacks the special tokens {missing}; found {len(vocabulary)} others")
    with library(path, "cannot be read as a vocabulary"):
        return _word_pieces(vocabulary, options, special)


def _word_pieces(vocabulary: dict[str, int], options: dict[str, Any], special: dict[str, str]) -> Backend:
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    backend = Backend(models.WordPiece(vocabulary, unk_token=special["unk_token"], max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options["tokenize_chinese_chars"],
        strip_accents=options["strip_accents"],
        lowercase=options["do_lower_case"],
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


def _add_tokens(backend: Backend, tokens: list[dict[str, Any]]) -> None:
    """Add tokens that the vocabulary does not treat as whole ones yet; all at once, as each time costs all of them."""
    from tokenizers import AddedToken

    seen = {token.content for token in backend.get_added_tokens_decoder().values()}
    added: list[AddedToken] = []
    for token in tokens:
        if token["content"] not in seen:
            seen.add(token["content"])
            flags = {"normalized": False, **{name: flag for name, flag in token.items() if name != "content"}}
            added.append(AddedToken(token["content"], **flags))
    backend.add_tokens(added)


def _has_token_types(folder: Path, options: dict[str, Any]) -> bool:
    model_type = read_object_if_there(folder / "config.json").get("model_type")
    if model_type is not None:
        return model_type not in _NO_TOKEN_TYPES
    if options["model_input_names"] is not None:
        return "token_type_ids" in options["model_input_names"]
    return not options["tokenizer_class"].lower().startswith(_NO_TOKEN_TYPES)
