"""What the small files beside a tokenizer's vocabulary say: tokenizer_config.json and those older than it.

Where tokenizer_config.json has added_tokens_decoder, it says everything; else special_tokens_map.json goes before it,
and added_tokens.json has the tokens that were added. Source: transformers 5.24, tokenization_utils_base.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidistil.tokenization.tokenizer_json import added_token_faults
from minidistil.weights import CheckpointError, limits
from minidistil.weights.errors import quoted
from minidistil.weights.keys import Key, read_keys
from minidistil.weights.small_files import read_object_if_there

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_SIDES = ("right", "left")
_OPTIONS = {
    "model_max_length": Key(("model_max_length", "max_len"), float, 0, least=0),  # 0: not said
    "padding_side": Key(("padding_side",), str, None, choices=_SIDES),
    "truncation_side": Key(("truncation_side",), str, None, choices=_SIDES),
    "clean_up": Key(("clean_up_tokenization_spaces",), bool, False),
    "tokenize_chinese_chars": Key(("tokenize_chinese_chars",), bool, None),
    "strip_accents": Key(("strip_accents",), bool, None),
    "do_lower_case": Key(("do_lower_case",), bool, None),
    "keep_accents": Key(("keep_accents",), bool, None),
    "add_prefix_space": Key(("add_prefix_space",), bool, None),
    "trim_offsets": Key(("trim_offsets",), bool, None),
    "added_tokens": Key(("added_tokens_decoder",), dict, {}, of=(dict,)),
    "model_input_names": Key(("model_input_names",), list, None, of=(str,)),
    "tokenizer_class": Key(("tokenizer_class",), str, None),
}
_NAMED = {"tokenizer_class": Key(("tokenizer_class",), str, None), "model_type": Key(("model_type",), str, None)}
_TOKEN = {
    "content": Key(("content",), str),
    **{name: Key((name,), bool, None) for name in ("single_word", "lstrip", "rstrip", "normalized", "special")},
}

Token = dict[str, Any]
"""A token that a file declares: its text under "content", and those of its flags that the file has."""


@dataclass(frozen=True)
class Declared:
    """What the files say, checked.

    Attributes:
        options: value of every option; None where no file says it.
        tokenizer_class: by name, or None.
        model_type: of config.json, or None.
        roles: token by role; None for a role that a file says the tokenizer lacks. Other roles than SPECIAL_NAMES are
            those of one model, such as "image_token".
        more_special_tokens: special tokens without a role; None where no file says so.
        added_tokens: token by id; None where no file says so.
        complete: whether `added_tokens` are all that are added, those of a tokenizer.json not counting.
    """

    options: dict[str, Any]
    tokenizer_class: str | None
    model_type: str | None
    roles: dict[str, Token | None]
    more_special_tokens: list[Token] | None
    added_tokens: dict[int, Token]
    complete: bool


def check_settings(given: Mapping[str, Any]) -> None:
    """Refuse settings of a caller's that are none, or have an impossible value (ValueError)."""
    faults: list[str] = []
    names = {key.names[0]: key for key in _OPTIONS.values()} | {role: Key((role,), str) for role in SPECIAL_NAMES}
    known = [*names, "extra_special_tokens", "additional_special_tokens"]
    faults += [f"a tokenizer has no setting {name!r}; it has {', '.join(known)}" for name in given if name not in known]
    read_keys({name: key for name, key in names.items() if name in given}, given, "", faults)
    _special_tokens(given, faults)
    if faults:
        raise ValueError("; ".join(faults))


def read_declared(folder: Path, given: Mapping[str, Any]) -> Declared:
    """Read the files of settings of a folder; what a caller gave goes before them.

    Raises:
        CheckpointError: with every fault of all of them.
    """
    faults: dict[str, list[str]] = defaultdict(list)

    def read(name: str) -> dict[str, Any]:
        try:
            return read_object_if_there(folder / name)
        except CheckpointError as error:
            faults[name] += error.faults
            return {}

    own = read("tokenizer_config.json")
    content = {**own, **given}
    options = read_keys(_OPTIONS, content, "", faults["tokenizer_config.json"])
    model = read_keys(_NAMED, read("config.json"), "", faults["config.json"])
    complete = "added_tokens_decoder" in content
    roles, more = _special_tokens(content, faults["tokenizer_config.json"])
    added = _by_id(options.get("added_tokens", {}), faults["tokenizer_config.json"])
    if not complete:
        older = {name: value for name, value in read("special_tokens_map.json").items() if name not in given}
        older_roles, older_more = _special_tokens(older, faults["special_tokens_map.json"])
        roles |= {role: token and {**token, "special": True} for role, token in older_roles.items()}
        if "extra_special_tokens" in older or more is None:
            more = [*(more or []), *older_more] if older_more is not None else more
        special = {token["content"] for token in [*roles.values(), *(more or [])] if token}
        added = _numbered(read("added_tokens.json"), special, faults["added_tokens.json"])
    wrong = {name: found for name, found in faults.items() if found}
    if len(wrong) == 1:
        raise CheckpointError(folder / next(iter(wrong)), next(iter(wrong.values())))
    if wrong:
        raise CheckpointError(folder, [f"{name}: {fault}" for name, found in wrong.items() for fault in found])
    return Declared(
        options=options,
        tokenizer_class=options["tokenizer_class"] or model["tokenizer_class"],
        model_type=model["model_type"],
        roles=roles,
        more_special_tokens=more,
        added_tokens=added,
        complete=complete,
    )


def _special_tokens(
    content: Mapping[str, Any], faults: list[str]
) -> tuple[dict[str, Token | None], list[Token] | None]:
    """Tokens by role, and those without one."""
    names = [name for name in content if name in SPECIAL_NAMES or _has_own_role(name, content[name])]
    more = content.get("extra_special_tokens")
    if not more and "additional_special_tokens" in content:
        more = content["additional_special_tokens"]
    by_role = {name: content[name] for name in names}
    if isinstance(more, dict):
        by_role, more = by_role | more, None
    roles: dict[str, Token | None] = {}
    for role, value in by_role.items():
        token = _token(value)
        roles[role] = token
        if token is None and value is not None:
            most = limits.TOKEN_BYTES
            faults.append(f"{role} = {quoted(repr(value))}, expected a token of {most} bytes at most")
    if more is None:
        return roles, None
    tokens = [_token(value) for value in more] if isinstance(more, list) else [None]
    found = [token for token in tokens if token is not None]
    if len(found) < len(tokens):
        faults.append(f"extra or additional special tokens = {quoted(repr(more))}, expected a list of tokens")
    faults += added_token_faults([token["content"] for token in found])
    return roles, [{"special": True, **token} for token in found]


def _has_own_role(name: str, value: Any) -> bool:
    """Whether a key declares a special token of one model; add_bos_token and the like are no tokens."""
    return name.endswith("_token") and (isinstance(value, str) or (isinstance(value, dict) and "content" in value))


def _token(value: Any) -> Token | None:
    """A token as files write it, a text or an object; None for what is none."""
    described = {"content": value} if isinstance(value, str) else value
    if not isinstance(described, dict):
        return None
    faults: list[str] = []
    token = read_keys(_TOKEN, described, "", faults)
    if faults or len(token["content"].encode()) > limits.TOKEN_BYTES:
        return None
    return {name: flag for name, flag in token.items() if flag is not None}


def _by_id(by_id: Mapping[str, Any], faults: list[str]) -> dict[int, Token]:
    if not all(index.isascii() and index.isdigit() and len(index) <= 10 for index in by_id):
        faults.append("added_tokens_decoder is no table from ids to tokens")
        return {}
    faults += added_token_faults([token.get("content") for token in by_id.values()])
    tokens = {int(index): read_keys(_TOKEN, token, "an added token", faults) for index, token in by_id.items()}
    return {index: {k: v for k, v in token.items() if v is not None} for index, token in sorted(tokens.items())}


def _numbered(content: Mapping[str, Any], special: set[str], faults: list[str]) -> dict[int, Token]:
    """The tokens of an added_tokens.json; those that a file calls special match before lower-casing."""
    if not all(type(index) is int and 0 <= index < 1 << 32 for index in content.values()):
        faults.append("is no table from tokens to ids")
        return {}
    faults += added_token_faults(list(content))
    tokens = {}
    for text, index in content.items():
        is_special = text in special
        tokens[index] = {"content": text, "normalized": not is_special, "special": is_special}
    return tokens
