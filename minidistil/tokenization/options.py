"""What whoever loads a tokenizer may say."""

from __future__ import annotations

from typing import Annotated, TypedDict

from minidistil._keywords import TokenizerKeywords
from minidistil.weights.options import HubOptions, Option

_token = Annotated[str | None, Option("the token of that role.")]


class TokenizerOptions(TypedDict, total=False):
    """What is said in the place of a folder's tokenizer_config.json, by the names that stand there."""

    do_lower_case: Annotated[bool | None, Option("lower-case texts.")]
    strip_accents: Annotated[bool | None, Option("remove accents; unset, where texts are lower-cased.")]
    tokenize_chinese_chars: Annotated[bool | None, Option("make a token of every Chinese character.")]
    add_prefix_space: Annotated[bool | None, Option("read a text as if a space stood before it.")]
    model_max_length: Annotated[int | None, Option("the longest input in tokens, special ones included.")]
    padding_side: Annotated[str | None, Option('"right" or "left".')]
    truncation_side: Annotated[str | None, Option('"right" or "left".')]
    clean_up_tokenization_spaces: Annotated[bool | None, Option("remove spaces before punctuation in decode().")]
    model_input_names: Annotated[list[str] | None, Option("what a call returns.")]
    extra_special_tokens: Annotated[list[str] | None, Option("special tokens without a role.")]
    bos_token: _token
    eos_token: _token
    unk_token: _token
    sep_token: _token
    pad_token: _token
    cls_token: _token
    mask_token: _token
    trust_remote_code: Annotated[
        bool | None,
        Option("no code of a checkpoint is ever run; where True asks for some that is there, that is an error."),
    ]


class LoadTokenizerOptions(HubOptions, TokenizerOptions, TokenizerKeywords, total=False):
    """Everything that whoever loads a tokenizer may say."""
