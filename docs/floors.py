"""Draws docs/floors.svg, the picture of the house: its rooms on their floors, as the imports have it.

`python docs/floors.py`, with nothing installed: it reads the sources, and runs none. A room is a package; what its
box says is the first sentence of its docstring; the packages inside it are named below. A room stands one floor above
the highest that it imports, in a function or for types only as well. An arrow that follows from others is not drawn.
"""

from __future__ import annotations

import ast
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "floors.svg"
FOLDERS = {
    "minidistil.kernels": ROOT / "kernels",
    "minidistil.weights": ROOT / "weights",
    "minidistil": ROOT / "minidistil",
}

WIDTH, MARGIN = 1000, 30
BOX_GAP, FLOOR_GAP = 40, 46  # between boxes, between floors
LINE, PADDING = 19, 14
LETTERS_PER_PIXEL = 1 / 7.3  # of the text in a box, to wrap it
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .name { font-weight: 600; font-size: 16px } .inner { fill: #57606a; font-style: italic }
  rect { fill: #f6f8fa; stroke: #8c959f }
  path { fill: none; stroke: #57606a; marker-end: url(#head) }
  marker path { fill: #57606a; stroke: none; marker-end: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .inner { fill: #9198a1 } rect { fill: #161b22; stroke: #656c76 }
    path { stroke: #9198a1 } marker path { fill: #9198a1 }
  }
"""


def modules() -> dict[str, Path]:
    """Every module by the name under which it is imported."""
    found = {}
    for package, folder in FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(part for part in parts if part != "__init__")))] = file
    return found


def rooms(found: dict[str, Path]) -> dict[str, str]:
    """The first sentence of each room's docstring; rooms are the packages right below `minidistil`."""
    told = {}
    for name, file in found.items():
        if file.name == "__init__.py" and name.count(".") == 1:
            said = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0]
            told[name] = said.replace("\n", " ").replace("`", "")
    return told


def room_of(module: str, names: set[str]) -> str | None:
    """The room that a module stands in; None for the face of the package, which hands names on."""
    return next((name for name in names if module == name or module.startswith(f"{name}.")), None)


def imports(file: Path) -> set[str]:
    """What a module imports of the package, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("minidistil.")}


def arrows(found: dict[str, Path], names: set[str]) -> dict[str, set[str]]:
    """Room -> the rooms that it imports."""
    drawn: dict[str, set[str]] = {name: set() for name in sorted(names)}
    for module, file in found.items():
        source = room_of(module, names)
        if source is not None:
            drawn[source] |= {room for name in imports(file) if (room := room_of(name, names)) not in (None, source)}
    return drawn


def floors(drawn: dict[str, set[str]]) -> list[list[str]]:
    """The rooms by floor, the ground first.

    Raises:
        SystemExit: rooms that import each other in a circle, which have no floor.
    """
    placed: dict[str, int] = {}
    while len(placed) < len(drawn):
        ready = [name for name in drawn if name not in placed and drawn[name] <= placed.keys()]
        if not ready:
            raise SystemExit(f"a circle of imports between rooms: {', '.join(sorted(drawn.keys() - placed.keys()))}")
        placed |= {name: 1 + max((placed[below] for below in drawn[name]), default=-1) for name in ready}
    return [sorted(n for n in placed if placed[n] == floor) for floor in range(max(placed.values()) + 1)]


def reduced(drawn: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows without those that follow from others."""

    def reach(name: str) -> set[str]:
        return drawn[name].union(*(reach(below) for below in drawn[name]))

    return {
        name: {below for below in targets if not any(below in reach(other) for other in targets - {below})}
        for name, targets in drawn.items()
    }


def draw() -> str:
    """The picture as SVG."""
    found = modules()
    told = rooms(found)
    inner = {
        name: [
            m.rpartition(".")[2] for m, f in found.items() if f.name == "__init__.py" and m.rpartition(".")[0] == name
        ]
        for name in told
    }
    drawn = arrows(found, set(told))
    boxes: dict[str, tuple[float, float, float, float]] = {}  # x, y, width, height
    body, y = [], float(MARGIN)
    for floor in reversed(floors(drawn)):
        width = min((WIDTH - 2 * MARGIN - BOX_GAP * (len(floor) - 1)) / len(floor), 620)
        left = (WIDTH - width * len(floor) - BOX_GAP * (len(floor) - 1)) / 2
        texts = [_lines(name, told[name], inner[name], width) for name in floor]
        height = max(map(len, texts)) * LINE + 2 * PADDING
        for i, (name, lines) in enumerate(zip(floor, texts, strict=True)):
            x = left + i * (width + BOX_GAP)
            boxes[name] = (x, y, width, height)
            body.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"/>')
            for j, (kind, text) in enumerate(lines):
                at = y + PADDING + (j + 1) * LINE - 5
                body.append(f'<text class="{kind}" x="{x + PADDING:.0f}" y="{at:.0f}">{escape(text)}</text>')
        y += height + FLOOR_GAP
    for source, targets in reduced(drawn).items():
        body += [_arrow(boxes[source], boxes[target]) for target in sorted(targets)]
    height = y - FLOOR_GAP + MARGIN
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}">',
        "<title>The rooms of minidistil and what they import</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>',
        *body,
        "</svg>\n",
    ])  # fmt: skip


def _lines(name: str, sentence: str, inner: list[str], width: float) -> list[tuple[str, str]]:
    letters = int((width - 2 * PADDING) * LETTERS_PER_PIXEL)
    lines = [("name", f"{name.removeprefix('minidistil.')}/")]
    lines += [("", line) for line in textwrap.wrap(sentence, letters)]
    if inner:
        lines += [("inner", line) for line in textwrap.wrap(" · ".join(f"{room}/" for room in inner), letters)]
    return lines


def _arrow(source: tuple[float, float, float, float], target: tuple[float, float, float, float]) -> str:
    """From the foot of one box to the head of another, straight down where they overlap."""
    (x, y, width, height), (to_x, to_y, to_width, _) = source, target
    begin, end = max(x, to_x), min(x + width, to_x + to_width)
    if begin < end:
        start = stop = (begin + end) / 2
    else:
        start, stop = x + width / 2, to_x + to_width / 2
    return f'<path d="M{start:.0f} {y + height:.0f} L{stop:.0f} {to_y - 1:.0f}"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw())
