"""The tables behind the pictures: they print, and serve screen readers and browsers without scripts.

Every float32 is written with the fewest digits that name it and no other; the script of the page writes them the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidistil.study.parts import (
    Answer,
    Attention,
    Attribution,
    Interventions,
    Lens,
    Matrix,
    Neighbours,
    Piece,
    Sections,
)

_POSITIONAL = range(-5, 9)  # powers of ten that are written without an exponent


@dataclass(frozen=True)
class Table:
    """A table: `rows` are a heading and the cells after it; `corner` is what the headings are.

    A `numeric` one has numbers in all cells.
    """

    id: str
    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    numeric: bool = False


def shortest(x: Any) -> str:
    """Return a float32 in the fewest digits that give it back."""
    value = np.float32(x)
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "inf" if value > 0 else "-inf"
    if value == 0:
        return "-0" if np.signbit(value) else "0"
    exact = float(value)
    written = next(w for w in (f"{exact:.{p}e}" for p in range(9)) if _float32(w) == value)
    digits, power = written.split("e")
    sign, digits, exponent = digits[:1] == "-", digits.lstrip("-").replace(".", ""), int(power)
    if exponent not in _POSITIONAL:
        body = digits[0] + ("." + digits[1:] if digits[1:] else "") + "e" + str(exponent)
    elif exponent < 0:
        body = "0." + "0" * (-exponent - 1) + digits
    else:
        whole, rest = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
        body = whole + ("." + rest if rest else "")
    return ("-" if sign else "") + body


def _float32(text: str) -> np.float32:
    """Return the float32 next to a decimal number."""
    with np.errstate(over="ignore"):  # a candidate of few digits may round up past the largest one
        return np.float32(float(text))


def tables(explanation: Sections) -> dict[str, list[Table]]:
    """Return the tables of every section by its name."""
    pieces = explanation.pieces
    names = token_names(pieces)
    found: dict[str, list[Table]] = {
        "pieces": [_pieces(pieces)],
        "attention": _attention(explanation.attention, names),
    }
    if explanation.interventions is not None:
        found["interventions"] = _interventions(explanation.interventions, names)
    if explanation.lens is not None:
        found["lens"] = [_lens(explanation.lens, names)]
    if explanation.numbers is not None:
        found["numbers"] = _numbers(explanation.numbers.matrices)
    if explanation.neighbours is not None:
        found["neighbours"] = _neighbours(explanation.neighbours)
    found["attribution"] = [_attribution(number, one, names) for number, one in enumerate(explanation.attribution)]
    return found


def token_names(pieces: Sequence[Piece]) -> list[str]:
    """Return each token with its place, which tells apart those that are alike."""
    return [f"{i} {piece.token}" for i, piece in enumerate(pieces)]


def clearest_heads(attention: Attention) -> list[tuple[int, int]]:
    """Return layer and head of all, those with the clearest measured patterns first; the page opens with the first."""
    order = sorted(attention.patterns, key=lambda pattern: (not pattern.name, -pattern.share))
    return [(pattern.layer, pattern.head) for pattern in order]


def first_head(attention: Attention) -> tuple[int, int]:
    """Return layer and head of the clearest measured pattern."""
    return clearest_heads(attention)[0]


def pattern_marks(names: Sequence[str]) -> dict[str, str]:
    """Return the short mark of each pattern: its first letters, as many as tell it from the others."""
    for length in range(1, max(map(len, names), default=0) + 1):
        marks = {name: name[:length] for name in names}
        if len(set(marks.values())) == len(names):
            break
    else:
        marks = {}
    return marks


def _floats(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(map(shortest, values))


def _pieces(pieces: Sequence[Piece]) -> Table:
    rows = []
    for i, piece in enumerate(pieces):
        kind = "special" if piece.special else "unknown word" if piece.unknown else ""
        where = "" if piece.special else f"{piece.start}–{piece.end}"
        rows.append((str(i), (piece.token, str(piece.id), piece.text, where, str(piece.token_type), kind)))
    columns = ("piece", "id", "in the text", "characters", "segment", "remark")
    return Table("t-pieces", "Pieces of the text", "token", columns, tuple(rows))


def _attention(attention: Attention, names: Sequence[str]) -> list[Table]:
    shares = tuple((f"layer {p.layer} head {p.head}", (p.name or "–", *_floats(p.shares))) for p in attention.patterns)
    layer, head = first_head(attention)
    rows = tuple(
        (name, (*_floats(row), shortest(total)))
        for name, row, total in zip(
            names, attention.probabilities[layer, head], attention.row_sums[layer, head], strict=True
        )
    )
    caption = f"Attention of layer {layer}, head {head}: each row is the token that looks"
    return [
        Table("t-head", caption, "token", (*names, "sum of the row"), rows, numeric=True),
        Table(
            "t-patterns",
            f"Measured patterns of the heads; a name stands where its share is at least {attention.threshold:g}",
            "head",
            ("pattern", *attention.pattern_names),
            shares,
        ),
    ]


def _interventions(part: Interventions, names: Sequence[str]) -> list[Table]:
    found = [_answer(part.answer)]
    labels = part.answer.labels
    if part.heads is not None:
        rows = tuple(
            (f"layer {layer} head {head}", (shortest(part.heads.change[i, head]), *_floats(part.heads.values[i, head])))
            for i, layer in enumerate(part.heads.layers)
            for head in range(part.heads.change.shape[1])
        )
        found.append(Table("t-heads-off", "The answer with one head switched off", "head", ("change", *labels), rows))
    for changed in (part.replaced, part.removed):
        if changed is not None:
            rows = tuple(
                (names[token], (shortest(changed.change[i]), *_floats(changed.values[i])))
                for i, token in enumerate(changed.tokens)
            )
            how = f"replaced by {changed.with_token}" if changed.with_token else changed.action
            found.append(
                Table(f"t-{changed.action}", f"The answer with one token {how}", "token", ("change", *labels), rows)
            )
    return found


def _answer(answer: Answer) -> Table:
    rows = tuple((label, (shortest(value),)) for label, value in zip(answer.labels, answer.values, strict=True))
    return Table("t-answer", "The answer as it is", "", ("value",), rows)


def _lens(lens: Lens, names: Sequence[str]) -> Table:
    values = lens.probabilities
    columns = tuple(names) if values.shape[1] == len(names) else ("the whole text",)
    rows = []
    for layer in range(values.shape[0]):
        cells = []
        for column in range(values.shape[1]):
            words = lens.words[layer][column] if lens.kind in ("words", "classes", "token classes") else ()
            labels = words or (("start", "end") if lens.kind == "span" else ("",) * values.shape[2])
            cells.append(
                ", ".join(
                    f"{word} {shortest(value)}".strip()
                    for word, value in zip(labels, values[layer, column], strict=True)
                )
            )
        rows.append((layer_name(layer), tuple(cells)))
    return Table("t-lens", "The lens, layer by layer", "", columns, tuple(rows))


def layer_name(row: int) -> str:
    """Return what a row of L + 1 is called: 0 is what enters the first layer."""
    return "embeddings" if row == 0 else f"after layer {row - 1}"


def _numbers(matrices: Sequence[Matrix]) -> list[Table]:
    names = tuple((matrix.name, (" × ".join(map(str, matrix.shape)), matrix.description)) for matrix in matrices)
    cells = tuple(
        (
            f"{matrix.name}[{', '.join(map(str, cell.index))}]",
            (shortest(cell.value.value), cell.value.bits, cell.formula, "yes" if cell.agrees else "no"),
        )
        for matrix in matrices
        for cell in matrix.cells
    )
    columns = ("value", "bits", "made of", "computed anew, the same bits")
    return [
        Table("t-cells", "The largest number of each intermediate", "cell", columns, cells),
        Table("t-matrices", "Every intermediate of the pass, in its order", "name", ("shape", "what it is"), names),
    ]


def _neighbours(part: Neighbours) -> list[Table]:
    count = len(part.sentences)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    layers = range(part.cosines.shape[0])
    cosines = tuple((layer_name(row), _floats(part.cosines[row, i, j] for i, j in pairs)) for row in layers)
    points = tuple((layer_name(row), _floats([*part.explained[row], *part.points[row].ravel()])) for row in layers)
    coordinates = tuple(f"sentence {i + 1}, {axis}" for i in range(count) for axis in ("across", "up"))
    return [
        Table(
            "t-cosines", "Cosines of the word's vectors", "", tuple(f"{i + 1} and {j + 1}" for i, j in pairs), cosines
        ),
        Table("t-points", "The map's points", "", ("share across", "share up", *coordinates), points),
    ]


def _attribution(number: int, part: Attribution, names: Sequence[str]) -> Table:
    rows = tuple((names[token], (shortest(value),)) for token, value in zip(part.tokens, part.values, strict=True))
    return Table(f"t-attribution-{number}", f"Attribution by {part.method}", "token", ("share of the answer",), rows)
