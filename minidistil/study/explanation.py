"""Everything that one pass of a model over one text shows, as plain data: the page and the terminal twin are its views.

The page's sections, in their order: pieces, attention, interventions, lens, numbers, neighbours, attribution.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidistil._loading import loading
from minidistil.models.base import Model
from minidistil.study.answers import Following, Unfollowed
from minidistil.study.gradients import gradient_x_input
from minidistil.study.interventions import interventions, occlusion
from minidistil.study.lens import lens
from minidistil.study.neighbours import neighbours as compare
from minidistil.study.parts import (
    Attribution,
    Interventions,
    LeftOut,
    Piece,
    Sections,
    Subject,
    as_data,
)
from minidistil.study.patterns import attention
from minidistil.study.portions import numbers
from minidistil.study.tracing import Trace, encode, model_of, trace
from minidistil.weights.precision import stored_precision

if TYPE_CHECKING:
    import os

LONGEST = 128  # tokens of a text that is explained


@dataclass(frozen=True)
class Explanation(Sections):
    """One pass, section by section (`Sections`), and how it is shown; notebooks show it as its page."""

    def text(self) -> str:
        """Return the terminal's view: tokens, the lens and the strongest heads as tables."""
        with loading():
            from minidistil.study.text import told

        return told(self)

    def data(self) -> dict[str, Any]:
        """Return everything as JSON takes it; arrays are {"shape", "float32": base64, little-endian}."""
        found: dict[str, Any] = as_data(self)
        return found

    def html(self) -> str:
        """Return the page: one file that needs no other and no network."""
        with loading():
            from minidistil.study.render import page

        return page(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file."""
        Path(path).write_bytes(self.html().encode())

    def _repr_html_(self) -> str:
        from html import escape

        frame = 'style="width: 100%; height: 48rem; border: 0" sandbox="allow-scripts"'
        return f'<iframe title="minidistil explain" {frame} srcdoc="{escape(self.html())}"></iframe>'


def explain(
    model: Any, text: str, text2: str | None = None, *, neighbours: Sequence[str] = (), word: str | None = None
) -> Explanation:
    """Explain one pass of a model over a text, as far as it can be: every section that applies, and why others do not.

    Args:
        model: any model of minidistil's that was loaded from a folder, or that runs on `backend="exact"`; or a
            `SentenceEncoder`.
        text: one text of at most 128 tokens.
        text2: the second text of a pair.
        neighbours: other sentences with one of the text's words in them.
        word: that word, or None for the longest that all of them have.

    Raises:
        TypeError: what is no model, or no text.
        ValueError: a text that is too long, or neighbours without the word.
    """
    own = model_of(model)
    encode(own, text, text2, LONGEST)  # refused before anything is computed
    found = trace(own, text, text2)
    encoder = None if own is model else model
    left_out: list[LeftOut] = []
    moved: Interventions | None = None
    attributed: list[Attribution] = []
    try:
        following = Following(found, encoder)
    except Unfollowed as error:
        left_out += [LeftOut("interventions", str(error)), LeftOut("attribution", str(error))]
    else:
        moved, unmoved = interventions(following)
        left_out += unmoved
        for one in (occlusion(moved), gradient_x_input(following)):
            if isinstance(one, Attribution):
                attributed.append(one)
            else:
                left_out.append(one)
    seen = lens(found, encoder)
    if isinstance(seen, LeftOut):
        left_out.append(seen)
    near = None
    if neighbours:
        near = compare(own, [text, *neighbours], word, LONGEST)
    else:
        left_out.append(LeftOut("neighbours", "no other sentences were given"))
    attended = attention(found)
    return Explanation(
        _subject(own),
        (text,) if text2 is None else (text, text2),
        _pieces(found, [text, text2 or ""]),
        attended,
        moved,
        None if isinstance(seen, LeftOut) else seen,
        numbers(found, attended),
        near,
        tuple(attributed),
        tuple(left_out),
    )


def _subject(model: Model[Any]) -> Subject:
    config = model.config
    said = config.name_or_path if model.source is None else model.source.name.removeprefix("package:")
    name = re.split(r"[/\\\\]", said.rstrip("/\\"))[-1] or config.model_type
    return Subject(
        name,
        type(model).__name__,
        config.model_type,
        "".join(model.heads),
        config.n_layers,
        config.n_heads,
        config.dim,
        config.vocab_size,
        model.num_parameters(),
        model.precision,
        stored_precision(config.raw),
    )


def _pieces(found: Trace, texts: list[str]) -> tuple[Piece, ...]:
    encoding, batch, unknown = found.encoding, found.batch, found.model.tokenizer.unk_token_id
    types = batch.token_type_ids
    pieces = []
    for i, token in enumerate(encoding.tokens):
        sequence, (start, end) = encoding.sequence_ids[i], encoding.offsets[i]
        pieces.append(
            Piece(
                token,
                encoding.ids[i],
                "" if sequence is None else texts[sequence][start:end],
                start,
                end,
                sequence,
                encoding.word_ids[i],
                int(batch.position_ids[i]),
                0 if types is None else int(types[i]),
                bool(encoding.special_tokens_mask[i]),
                encoding.ids[i] == unknown,
            )
        )
    return tuple(pieces)
