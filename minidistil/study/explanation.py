"""Everything that one pass of a model over one text shows, as plain data: the page and the terminal twin are its views.

The page's sections, in their order: pieces, attention, interventions, lens, numbers, neighbours, attribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidistil._loading import loading
from minidistil.study.parts import (
    Attention,
    Attribution,
    Interventions,
    LeftOut,
    Lens,
    Matrix,
    Neighbours,
    Piece,
    Subject,
    as_data,
)

if TYPE_CHECKING:
    import os

LONGEST = 128  # tokens of a text that is explained


@dataclass(frozen=True)
class Explanation:
    """One pass, section by section; what does not apply to the model is None or empty, and said in `left_out`.

    Notebooks show it as its page.
    """

    subject: Subject
    texts: tuple[str, ...]  # one, or two of a pair
    pieces: tuple[Piece, ...]
    attention: Attention
    interventions: Interventions | None
    lens: Lens | None
    numbers: tuple[Matrix, ...]
    neighbours: Neighbours | None
    attribution: tuple[Attribution, ...]
    left_out: tuple[LeftOut, ...]

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
