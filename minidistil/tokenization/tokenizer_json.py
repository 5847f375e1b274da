"""tokenizer.json at the border of the `tokenizers` library: looked through on the way there, errors on the way back.

The library believes its file. A few bytes of one can make it fill all memory, which ends the process: a template that
repeats the text (windows of a long text then multiply), replacements that double it, a token so long that its tree of
bytes cannot be freed. And where its code panics, what arrives is no Exception.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidistil.weights import CheckpointError, limits
from minidistil.weights.errors import quoted
from minidistil.weights.small_files import parse_json, read_bytes

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_PIPELINES = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


@dataclass(frozen=True)
class TokenizerJson:
    """A tokenizer.json.

    Attributes:
        backend: the compiled tokenizer, its own padding and truncation off.
        charsmap: the compiled table by which SentencePiece normalizes characters, where there is one.
        padding_side: that of its own padding, or None.
        truncation_side: that of its own truncation, or None.
        pad_token: that of its own padding, or None.
        template: what puts special tokens around a text, or None.
    """

    backend: Backend
    charsmap: bytes | None
    padding_side: str | None
    truncation_side: str | None
    pad_token: str | None
    template: Any


def read_tokenizer_json(path: Path) -> TokenizerJson:
    """The compiled tokenizer of a tokenizer.json, and what else it says.

    Raises:
        CheckpointError: the file cannot be read, is beyond a limit, or is none that the library accepts.
    """
    from tokenizers import Tokenizer as Backend

    content = read_bytes(path, limits.TOKENIZER_BYTES)
    try:
        description = parse_json(content)
    except ValueError as error:
        raise CheckpointError(path, f"is not valid JSON: {error}") from None
    if faults := _faults(description):
        raise CheckpointError(path, faults)
    charsmap = _charsmap(description.get("normalizer"))
    del description  # of a large vocabulary, it would stand in memory beside the library's
    with library(path, "cannot be read as a tokenizer"):
        backend = Backend.from_buffer(content)
        # What was saved there are one program's settings, not the model's: all-MiniLM-L6-v2 has 128 tokens there, and
        # 256 are its limit.
        padding, truncation = backend.padding or {}, backend.truncation or {}
        backend.no_padding()
        backend.no_truncation()
    return TokenizerJson(
        backend=backend,
        charsmap=charsmap,
        padding_side=padding.get("direction"),
        truncation_side=truncation.get("direction"),
        pad_token=padding.get("pad_token"),
        template=backend.post_processor,
    )


def _charsmap(normalizer: Any) -> bytes | None:
    """The first table of characters in a normalizer, or in a sequence of them."""
    parts = normalizer.get("normalizers") if isinstance(normalizer, dict) else None
    for part in parts if isinstance(parts, list) else [normalizer]:
        if isinstance(part, dict) and part.get("type") == "Precompiled":
            return _decoded(part)
    return None


@contextmanager
def library(where: str | Path, what: str) -> Iterator[None]:
    """Turn what the library raises into a CheckpointError; `what` begins its sentence.

    The library knows bare Exceptions, and panics, which are a BaseException of PyO3. Anything else is somebody else's.
    """
    try:
        yield
    except BaseException as error:
        panicked = type(error).__name__ == "PanicException"
        if not panicked and type(error) not in (Exception, ValueError, TypeError, OverflowError):
            raise
        reason = "the tokenizers library panicked: " if panicked else ""
        raise CheckpointError(where, f"{what}: {reason}{quoted(str(error))}") from None


def _faults(description: Any) -> list[str]:
    if not isinstance(description, dict):
        return [f"is not a JSON object but {type(description).__name__}"]
    faults = vocabulary_faults(description.get("model"))
    added = description.get("added_tokens")
    if isinstance(added, list):
        faults += added_token_faults([token.get("content") for token in added if isinstance(token, dict)])
    for name in _PIPELINES:
        faults += [f"its {name} {fault}" for fault in _pipeline_faults(description.get(name))]
    return faults


def added_token_faults(contents: list[Any]) -> list[str]:
    """What is wrong with tokens that are added to a vocabulary: too many, too long, or no text."""
    if len(contents) > limits.ADDED_TOKENS:
        return [f"adds {len(contents)} tokens; {limits.ADDED_TOKENS} are the most accepted"]
    faults = [f"adds {quoted(repr(text))} as a token, which is no text" for text in contents if type(text) is not str]
    return faults + _length_faults(text for text in contents if isinstance(text, str))


def _length_faults(tokens: Iterable[str]) -> list[str]:
    longest = max((len(token.encode()) for token in tokens), default=0)
    if longest > limits.TOKEN_BYTES:
        return [f"has a token of {longest} bytes; {limits.TOKEN_BYTES} are the most accepted"]
    return []


def vocabulary_faults(model: Any) -> list[str]:
    """What is wrong with a model as tokenizer.json has it: too many tokens, or too long ones."""
    if not isinstance(model, dict):
        return ["has no model"]
    faults = _length_faults(value for value in model.values() if isinstance(value, str))
    vocabulary, word = model.get("vocab"), model.get("max_input_chars_per_word")
    if isinstance(vocabulary, (dict, list)) and len(vocabulary) > limits.VOCABULARY:
        faults.append(f"has a vocabulary of {len(vocabulary)} tokens; {limits.VOCABULARY} are the most accepted")
    if isinstance(vocabulary, dict):
        faults += _length_faults(vocabulary)
    if isinstance(vocabulary, list):
        entries = (entry[0] for entry in vocabulary if isinstance(entry, list) and entry)
        texts = [text for text in entries if isinstance(text, str)]
        faults += _length_faults(texts)
        size = sum(len(text.encode()) for text in texts)
        if size > limits.UNIGRAM_BYTES:
            faults.append(
                f"has a vocabulary of {size} bytes to be searched by prefixes; {limits.UNIGRAM_BYTES} are the most "
                "accepted"
            )
    if isinstance(word, int) and word > limits.WORD_CHARACTERS:
        faults.append(f"has max_input_chars_per_word = {word}; {limits.WORD_CHARACTERS} is the most accepted")
    return faults


def _pipeline_faults(pipeline: Any) -> list[str]:
    """What is wrong with a normalizer, pre-tokenizer, post-processor or decoder, by all that stands in it."""
    faults, parts, expansion = [], 0, 1
    for key, value in _walk(pipeline):
        if isinstance(value, str) and key != "precompiled_charsmap" and len(value.encode()) > limits.TOKEN_BYTES:
            faults.append(f"has a text of {len(value.encode())} bytes; {limits.TOKEN_BYTES} are the most accepted")
        elif isinstance(value, dict):
            parts += "type" in value
            expansion *= _expansion(value)
        elif isinstance(value, list) and key in ("single", "pair", "ids", "tokens"):
            if len(value) > limits.TOKENIZER_PARTS:
                faults.append(f"puts {len(value)} pieces around a text; {limits.TOKENIZER_PARTS} are the most accepted")
            texts = [str(piece["Sequence"].get("id")) for piece in value if _is_text(piece)]
            if len(set(texts)) < len(texts):
                faults.append("has a template in which a text of the input stands twice")
    if parts > limits.TOKENIZER_PARTS:
        faults.append(f"has {parts} parts; {limits.TOKENIZER_PARTS} are the most accepted")
    if expansion > limits.EXPANSION:
        faults.append(f"may make a text {expansion} times as long; {limits.EXPANSION} times is the most accepted")
    return faults


def _is_text(piece: Any) -> bool:
    """Whether a piece of a template stands for a text of the input, and not for a special token."""
    return isinstance(piece, dict) and isinstance(piece.get("Sequence"), dict)


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every value below another, and it, each with the key that leads to it ("" in a list)."""
    stack = [("", value)]
    while stack:
        key, value = stack.pop()
        yield key, value
        if isinstance(value, dict):
            stack.extend(value.items())
        elif isinstance(value, list):
            stack.extend(("", one) for one in value)


def _expansion(part: dict[str, Any]) -> int:
    """How many times longer a part may make a text, in characters. The library knows parts without a type, too."""
    if "pattern" in part and "content" in part:  # Replace
        pattern, length = part.get("pattern"), len(str(part.get("content", "")))
        text = pattern.get("String") if isinstance(pattern, dict) else None
        if isinstance(text, str) and text:
            return max(1, -(-length // len(text)))
        return length + 1  # a regular expression may match what is empty, between any two characters
    if "precompiled_charsmap" in part:
        table = _decoded(part)
        return 1 if table is None else _charsmap_expansion(table)  # the library will say so
    return 1


def charsmap_faults(table: bytes | None) -> list[str]:
    """What is wrong with a table of characters."""
    expansion = 1 if table is None else _charsmap_expansion(table)
    if expansion > limits.EXPANSION:
        return [f"may make a text {expansion} times as long; {limits.EXPANSION} times is the most accepted"]
    return []


def _charsmap_expansion(table: bytes) -> int:
    # The size of a search tree, the tree, then all that characters may become, each with a zero at its end.
    texts = table[4 + int.from_bytes(table[:4], "little") :].split(b"\0")
    return max(1, *(len(text.decode(errors="replace")) for text in texts))


def _decoded(part: dict[str, Any]) -> bytes | None:
    """The table of a part that has one; None where it is not what the library takes."""
    try:
        return base64.b64decode(str(part.get("precompiled_charsmap")), validate=True)
    except (binascii.Error, ValueError):
        return None
