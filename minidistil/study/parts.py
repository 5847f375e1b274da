"""What an explanation is made of, part by part, as plain frozen data: the page and the terminal show these and no more.

Arrays are float32 with the bits of the pass, or of what was computed of it. Legend: `n` tokens, `L` layers, `H` heads,
`V` vocabulary, `N` labels, `A` numbers of the answer that is followed, `S` sentences, `W` words shown, `K` terms of a
product.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Subject:
    """The model that is explained: its name without a path, its class, its family and its sizes.

    `head` is the head's name in the weights ("masked_lm"), or "" for an encoder alone; `precision` is the weights':
    "float32", "bfloat16" or "int8"; `default_precision` is that which they have where none is asked for.
    """

    name: str
    class_name: str
    family: str
    head: str
    layers: int
    heads: int
    width: int
    vocabulary: int
    parameters: int
    precision: str
    default_precision: str


@dataclass(frozen=True)
class Piece:
    """A token.

    `text` is what it stands for in the text, from character `start` to `end` of text `sequence` (0 or 1); "" and None
    for special tokens. `word` counts the words of a text; pieces of one word share it.
    """

    token: str
    id: int
    text: str
    start: int
    end: int
    sequence: int | None
    word: int | None
    position: int
    token_type: int
    special: bool
    unknown: bool


@dataclass(frozen=True)
class Pattern:
    """What a head was measured to do: the pattern's name, or "" for none of them.

    `shares` has every pattern's share of the head's attention, a mean over the tokens, in the order of
    `Attention.pattern_names`; `share` is that of the named one.
    """

    layer: int
    head: int
    name: str
    share: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Attention:
    """Every head's attention: probabilities float32 [L, H, n, n] (row: the token that looks), row_sums [L, H, n].

    A pattern is named where its share is at least `threshold`. The warning belongs beside every picture of these.
    """

    probabilities: np.ndarray
    row_sums: np.ndarray
    pattern_names: tuple[str, ...]
    threshold: float
    patterns: tuple[Pattern, ...]  # L H of them, layer by layer
    warning: str


@dataclass(frozen=True)
class Answer:
    """The numbers of the model's answer that are followed: values float32 [A], what each is called, and of which token.

    `kind` is "word", "class", "token class", "span", "replaced", "choice" or "embedding". `focus` is the token whose
    answer it is, None where it is the whole text's. `sentence` says in words what the numbers are.
    """

    kind: str
    sentence: str
    labels: tuple[str, ...]
    values: np.ndarray
    focus: int | None


@dataclass(frozen=True)
class HeadsOff:
    """The answer float32 [L, H, A] with one head's context set to zero, and its change float32 [L, H].

    The change is that of the answer's first number. `layers` are those that were computed, all of them as a rule.
    """

    layers: tuple[int, ...]
    values: np.ndarray
    change: np.ndarray


@dataclass(frozen=True)
class TokensChanged:
    """The answer float32 [R, A] for R tokens, each replaced by the mask token, or removed; its change float32 [R].

    `action` is "replaced" or "removed"; `with_token` is what took the token's place, "" where nothing did.
    """

    action: str
    with_token: str
    tokens: tuple[int, ...]
    values: np.ndarray
    change: np.ndarray


@dataclass(frozen=True)
class Interventions:
    """What was changed in the pass or the text, and how the answer moved; None where that does not apply."""

    answer: Answer
    heads: HeadsOff | None
    replaced: TokensChanged | None
    removed: TokensChanged | None


@dataclass(frozen=True)
class Lens:
    """What the head says of the hidden states after each layer; row 0 is what enters the first layer.

    kind "words": words[L + 1][n] are the best W words, probabilities float32 [L + 1, n, W]. kind "classes": words
    [L + 1][1] are the N labels, best first, probabilities [L + 1, 1, N]. kind "token classes": the same for n tokens.
    kind "cosine": words are empty, probabilities [L + 1, 1, 1] hold the cosine to the final embedding.
    kind "replaced": words are empty, probabilities [L + 1, n, 1] that a token was put in place of another.
    kind "span": words are ("start", "end"), probabilities [L + 1, n, 2] of each token to begin and to end the answer.
    """

    kind: str
    words: tuple[tuple[tuple[str, ...], ...], ...]
    probabilities: np.ndarray


@dataclass(frozen=True)
class Number:
    """A float32 and its bits in hex."""

    value: float
    bits: str

    @classmethod
    def of(cls, value: Any) -> Number:
        """Make one of anything that is a float32."""
        x = np.float32(value)
        return cls(float(x), f"0x{int(x.view(np.uint32)):08x}")


@dataclass(frozen=True)
class Step:
    """A number on the way to a cell, with the name of what it is ("bias", "mean", "row max") and its formula."""

    name: str
    formula: str
    number: Number


@dataclass(frozen=True)
class Block:
    """Terms `start` to `stop` of a product, summed as one chain from zero, and the running total they are added to."""

    start: int
    stop: int
    total: Number
    running: Number


@dataclass(frozen=True)
class Operand:
    """A row that goes into a cell: what it is called (an intermediate's name or a weight's), and its float32 [K]."""

    name: str
    index: tuple[int, ...]
    values: np.ndarray


@dataclass(frozen=True)
class Origin:
    """What one cell of an intermediate is made of.

    `kind` is "product", "whole-number product", "layer_norm", "gain and shift", "softmax", "activation", "sum" or
    "look-up". `steps` are the
    numbers on the way, in their order; `blocks` the chain of a product, empty for what is none. `agrees` says whether
    computing it anew from the operands gave the very bits of the pass.
    """

    name: str
    index: tuple[int, ...]
    kind: str
    formula: str
    value: Number
    operands: tuple[Operand, ...]
    blocks: tuple[Block, ...]
    steps: tuple[Step, ...]
    agrees: bool


@dataclass(frozen=True)
class Matrix:
    """An intermediate of the pass: its name, shape, what it is, how it was made, and cells whose origin is told.

    `kind`, `of` and `weights` are those of `minidistil.study.recorder.Made`: what it was made by, of which
    intermediates, and what the weights are called (or the activation).
    """

    name: str
    shape: tuple[int, ...]
    description: str
    kind: str
    of: tuple[str, ...]
    weights: str
    cells: tuple[Origin, ...]


@dataclass(frozen=True)
class Kept:
    """float32 of the pass or of the weights, from which a page tells cells.

    `axis` says of what: "row" is the row of token `at` of an intermediate, [C], or [H, n] of scores; "head" the columns
    of head `at` of queries, keys or values, of all tokens, [n, d]; "weight" the row `at` of a product's weights, [K],
    or what is kept of it in float32, or its bias or scale, [1]; "vector" a whole vector of weights.
    """

    name: str
    axis: str
    at: int
    values: np.ndarray


@dataclass(frozen=True)
class Check:
    """The CRC-32 of the little-endian float32 of what a page computes by itself, "row" and "head" as in `Kept`."""

    name: str
    axis: str
    at: int
    crc32: int


@dataclass(frozen=True)
class Portion:
    """What says something together only: a page has all of it, or nothing."""

    kept: tuple[Kept, ...]
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Numbers:
    """The intermediates of the pass, the token that is traced first, and values to trace cells by.

    A page has as many of the portions as it has room for, the first being wanted most.
    """

    token: int
    matrices: tuple[Matrix, ...]
    portions: tuple[Portion, ...]


@dataclass(frozen=True)
class Neighbours:
    """One word in S sentences, layer by layer; row 0 is what enters the first layer.

    cosines float32 [L + 1, S, S]; points float32 [L + 1, S, 2], the first two principal components; explained float32
    [L + 1, 2], their shares of the variance. `places` are the words' first and last characters in the sentences.
    """

    word: str
    sentences: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    cosines: np.ndarray
    points: np.ndarray
    explained: np.ndarray


@dataclass(frozen=True)
class Attribution:
    """How much each of R tokens carries of the answer's first number, by one method: float32 [R].

    `method` is "occlusion" or "gradient x input"; `sentence` says what it is, and what it is not.
    """

    method: str
    sentence: str
    tokens: tuple[int, ...]
    values: np.ndarray


@dataclass(frozen=True)
class LeftOut:
    """A section, or a part of one, that is not there, and why."""

    section: str
    reason: str


@dataclass(frozen=True)
class Sections:
    """One pass, section by section; what does not apply to the model is None or empty, and said in `left_out`."""

    subject: Subject
    texts: tuple[str, ...]  # one, or two of a pair
    pieces: tuple[Piece, ...]
    attention: Attention
    interventions: Interventions | None
    lens: Lens | None
    numbers: Numbers | None
    neighbours: Neighbours | None
    attribution: tuple[Attribution, ...]
    left_out: tuple[LeftOut, ...]


def as_data(part: Any) -> Any:
    """A part as JSON takes it: dataclasses as dictionaries, arrays as {"shape", "float32": base64, little-endian}."""
    if isinstance(part, np.ndarray):
        data = np.ascontiguousarray(part, "<f4").tobytes()
        return {"shape": list(part.shape), "float32": base64.b64encode(data).decode("ascii")}
    if is_dataclass(part) and not isinstance(part, type):
        return {field.name: as_data(getattr(part, field.name)) for field in fields(part)}
    if isinstance(part, (tuple, list)):
        return [as_data(one) for one in part]
    return part
