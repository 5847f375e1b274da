"""A checkpoint folder's tokenizer files, read into one description, by the rules of transformers 5 (classes.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidistil.tokenization.classes import (
    ALBERT,
    BERT,
    ROBERTA,
    UNNAMED,
    XLM_ROBERTA,
    TokenizerClass,
    Wanted,
    class_of,
)
from minidistil.tokenization.declared import SPECIAL_NAMES, Declared, Token, check_settings, read_declared
from minidistil.tokenization.tokenizer_json import TokenizerJson, library, read_tokenizer_json
from minidistil.tokenization.vocabularies import Vocabulary, read_vocabulary, vocabulary_files
from minidistil.weights import CheckpointError
from minidistil.weights.errors import quoted
from minidistil.weights.small_files import is_there

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend

UNLIMITED = int(1e30)  # what transformers stores where a tokenizer declares no maximum
_INPUT_NAMES = ("input_ids", "token_type_ids", "attention_mask")


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder says about its tokenizer.

    Attributes:
        backend: the compiled tokenizer, without padding and truncation.
        special_tokens: token by role ("mask_token": "[MASK]"); roles that the tokenizer lacks are absent.
        more_special_tokens: special tokens without a role.
        model_max_length: longest input in tokens, special ones included.
        model_input_names: what a call returns unless told otherwise.
        padding_side: "right" or "left".
        truncation_side: "right" or "left".
        clean_up: whether decode() removes the spaces before punctuation once more.
    """

    backend: Backend
    special_tokens: dict[str, str]
    more_special_tokens: tuple[str, ...]
    model_max_length: int
    model_input_names: tuple[str, ...]
    padding_side: str
    truncation_side: str
    clean_up: bool


def read_tokenizer_files(folder: Path, settings: Mapping[str, Any] | None = None) -> TokenizerFiles:
    """Read tokenizer.json, or the vocabulary that the tokenizer's class has, with the files of settings beside it.

    Args:
        folder: a checkpoint folder.
        settings: what the caller wants otherwise than tokenizer_config.json says, by the names that stand there, such
            as {"do_lower_case": False}. A name with None as its value is as if it were not there.

    Raises:
        CheckpointError: there is neither a tokenizer.json nor such a vocabulary; or files cannot be read, or say what
            no tokenizer is. It names the file.
        ValueError: a setting that is none, or has an impossible value.
    """
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    check_settings(given)
    declared = read_declared(folder, given)
    rules = _rules(folder, declared)
    path = folder / "tokenizer.json"
    file = read_tokenizer_json(path) if is_there(path) else None
    if file and rules.model and type(file.backend.model).__name__ != rules.model:
        # A vocabulary of another kind than the class's: the file alone says how to read with it.
        rules = replace(rules, pipeline=None, template=None, guessed=True)
    roles = _roles(rules, declared, file)
    in_use = {**rules.roles, **{role: token["content"] for role, token in roles.items()}}
    if file:
        vocabulary = Vocabulary(file.backend, file.charsmap)
    else:
        vocabulary = read_vocabulary(folder, rules, in_use)
    more = declared.more_special_tokens
    if more is None:
        more = vocabulary.added or [{"content": token, "special": True} for token in rules.more_special_tokens]
    wanted = Wanted(_settings(rules, declared), in_use, vocabulary.charsmap, file and file.template)
    with library(folder / "tokenizer_config.json", "declares tokens that cannot be added"):
        backend = _assemble(vocabulary.backend, rules, wanted, declared, roles, more)
    options = declared.options
    return TokenizerFiles(
        backend=backend,
        special_tokens={role: token["content"] for role, token in roles.items()},
        more_special_tokens=tuple(token["content"] for token in more),
        model_max_length=int(min(options["model_max_length"] or UNLIMITED, UNLIMITED)),
        model_input_names=_input_names(rules, declared),
        padding_side=options["padding_side"] or (file and file.padding_side) or "right",
        truncation_side=options["truncation_side"] or (file and file.truncation_side) or "right",
        clean_up=options["clean_up"],
    )


def _rules(folder: Path, declared: Declared) -> TokenizerClass:
    """The rules of a folder's tokenizer, by the names in its files; where there are none, by its vocabulary."""
    name = declared.tokenizer_class
    rules = class_of(name, declared.model_type)
    said = f"tokenizer_config.json or config.json names the class {quoted(name)}" if name else ""
    if rules is None:
        fault = f"{said}, which reads texts by Python code of its own; minidistil has no such tokenizer"
        raise CheckpointError(folder, fault)
    if is_there(folder / "tokenizer.json"):
        return rules
    choices = (BERT, ROBERTA, XLM_ROBERTA, ALBERT) if rules is UNNAMED else (rules,)
    for choice in choices:
        if vocabulary_files(folder, choice):
            return choice
    others = " and ".join(BERT.files if rules is UNNAMED else rules.files)
    if others:
        fault = f"neither tokenizer.json nor {others} is there" + (f"; {said}" if name else "")
    else:
        fault = f"{said}, which needs a tokenizer.json"
    raise CheckpointError(folder, f"has no tokenizer: {fault}")


def _settings(rules: TokenizerClass, declared: Declared) -> dict[str, Any]:
    said = {name: declared.options[name] for name in rules.settings}
    return {name: rules.settings[name] if value is None else value for name, value in said.items()}


def _roles(rules: TokenizerClass, declared: Declared, file: TokenizerJson | None) -> dict[str, Token]:
    """Token by role, in the order in which they are added; a role for which a file says null is left out."""
    known = rules.roles
    if file and rules.guessed:
        known = {role: token for role, token in known.items() if file.backend.token_to_id(token) is not None}
    elif file and file.pad_token is not None and not rules.roles:
        known = {"pad_token": file.pad_token}
    roles: dict[str, Token | None] = {role: {"content": token, "special": True} for role, token in known.items()}
    if rules.strips_mask and "mask_token" in roles:
        roles["mask_token"] = {"content": known["mask_token"], "special": True, "lstrip": True}
    roles |= declared.roles
    ordered = [role for role in SPECIAL_NAMES if role in roles] + [role for role in roles if role not in SPECIAL_NAMES]
    return {role: token for role in ordered if (token := roles[role]) is not None}


def _input_names(rules: TokenizerClass, declared: Declared) -> tuple[str, ...]:
    names = declared.options["model_input_names"]
    if names is not None:
        return tuple(names)
    typed = rules.token_types and declared.model_type != "distilbert"  # which has none, whatever the class
    return _INPUT_NAMES if typed else tuple(name for name in _INPUT_NAMES if name != "token_type_ids")


def _assemble(
    backend: Backend,
    rules: TokenizerClass,
    wanted: Wanted,
    declared: Declared,
    roles: Mapping[str, Token],
    more: list[Token],
) -> Backend:
    """A backend by the rules of its class, with all tokens in it."""
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend

    by_id = {} if declared.complete else backend.get_added_tokens_decoder()
    by_id = {**{index: AddedToken(**token) for index, token in declared.added_tokens.items()}, **by_id}
    if rules.pipeline:
        backend = Backend(backend.model)  # without what tokenizer.json has besides
        rules.pipeline(backend, wanted)
    _add_tokens(backend, [by_id[index] for index in sorted(by_id)], roles.values(), more)
    if rules.template:
        rules.template(backend, wanted)
    return backend


def _add_tokens(
    backend: Backend, numbered: Iterable[AddedToken], roles: Iterable[Token], more: Iterable[Token]
) -> None:
    """Add tokens that are no whole ones yet, or others; all at once, as each time costs all of them."""
    from tokenizers import AddedToken

    there = {token.content: repr(token) for token in backend.get_added_tokens_decoder().values()}
    tokens = {token.content: token for token in numbered if there.get(token.content) != repr(token)}
    special = {token["content"] for token in roles}
    for token in [*roles, *more]:
        if token["content"] not in there and token["content"] not in tokens:
            tokens[token["content"]] = AddedToken(**{"special": True, **token})
    for added in tokens.values():
        added.special = added.special or added.content in special
    backend.add_tokens(list(tokens.values()))
