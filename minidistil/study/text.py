"""The terminal's view of an explanation: tokens, the lens and the strongest heads as tables of plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from minidistil.study.parts import Interventions, Lens, Piece, Sections

_HEADS = 10  # heads and tokens of a table at most


def told(explanation: Sections) -> str:
    """Return the view; control characters of a text are shown as what they are, not sent to the terminal."""
    subject, pieces = explanation.subject, explanation.pieces
    sections = [
        f"{subject.name} ({subject.class_name}): {subject.layers} layers, {subject.heads} heads, {subject.width} wide",
        "Pieces: what the tokenizer made of the text; * a special token, ? an unknown word.\n" + _pieces(pieces),
    ]
    if explanation.lens is not None:
        sections.append(
            "Lens: what the head says of each layer's hidden states, 0 being what enters the first.\n"
            + _lens(explanation.lens, pieces)
        )
    if explanation.interventions is not None:
        sections += _moved(explanation.interventions, pieces)
    patterns = sorted((p for p in explanation.attention.patterns if p.name), key=lambda p: -p.share)[:_HEADS]
    rows = [(str(p.layer), str(p.head), p.name, f"{p.share:.3f}") for p in patterns]
    named = _table(("layer", "head", "pattern", "share"), rows) if rows else "no head has a pattern"
    sections.append(f"Attention: the heads with the clearest patterns. {explanation.attention.warning}\n{named}")
    if explanation.left_out:
        missing = "\n".join(f"  {one.section}: {one.reason}" for one in explanation.left_out)
        sections.append(f"Left out:\n{missing}")
    return "\n\n".join(sections) + "\n"


def _pieces(pieces: Sequence[Piece]) -> str:
    rows = [
        (str(i), ("*" if p.special else "?" if p.unknown else " ") + _shown(p.token), str(p.id), _shown(p.text))
        for i, p in enumerate(pieces)
    ]
    return _table(("", "token", "id", "text"), rows)


def _lens(lens: Lens, pieces: Sequence[Piece]) -> str:
    layers, rows, _ = lens.probabilities.shape
    header = ("", "token", *(str(layer) for layer in range(layers)))
    table = []
    for i in range(rows):
        token = _shown(pieces[i].token) if rows == len(pieces) else "the text"
        cells = []
        for layer in range(layers):
            p = lens.probabilities[layer, i]
            word = lens.words[layer][i][0] if lens.words[layer] else ""
            both = lens.kind == "span"
            cells.append(f"{p[0]:.3f}/{p[1]:.3f}" if both else f"{_shown(word)} {p[0]:.3f}".strip())
        table.append((str(i), token, *cells))
    return _table(header, table)


def _moved(found: Interventions, pieces: Sequence[Piece]) -> list[str]:
    answer = found.answer
    values = [(_shown(label), f"{value:.4f}") for label, value in zip(answer.labels, answer.values, strict=True)]
    said = [f"Answer: {_shown(answer.sentence)}.\n" + _table(("", "value"), values)]
    first = _shown(answer.labels[0])
    if found.heads is not None:
        change = found.heads.change
        order = sorted(
            ((layer, head) for layer in range(change.shape[0]) for head in range(change.shape[1])),
            key=lambda at: (-abs(float(change[at])), at),
        )[:_HEADS]
        rows = [(str(layer), str(head), f"{change[layer, head]:+.4f}") for layer, head in order]
        said.append(
            f"Strongest heads: how {first} moves when a head alone is switched off.\n"
            + _table(("layer", "head", "change"), rows)
        )
    for tokens in (found.replaced, found.removed):
        if tokens is not None:
            rows = [
                (str(i), _shown(pieces[i].token), f"{change:+.4f}")
                for i, change in zip(tokens.tokens, tokens.change, strict=True)
            ]
            did = f"replaced by {_shown(tokens.with_token)}" if tokens.with_token else tokens.action
            said.append(
                f"Tokens: how {first} moves when a token alone is {did}.\n" + _table(("", "token", "change"), rows)
            )
    return said


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(_width, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, *rows):
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def _shown(text: str) -> str:
    """Text for a terminal: what would move its cursor, or turn its direction, is spelled out."""
    return "".join(c if unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in text)


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
