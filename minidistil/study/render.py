"""The page of an explanation: one HTML file that asks nothing of the network, with the same bytes on every machine.

The template, the style and the script are files of `page/`. What the script draws from stands in the page as JSON;
float32 arrays are base64 of their little-endian bytes, each array once. A content security policy lets this script and
this style run, by their hashes, and nothing else. Jinja2, of the extra `explain`, is imported when a page is made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.study.parts import Attention, Sections, as_data
from minidistil.study.tables import first_head, pattern_marks, shortest, tables

ATTENTION_BYTES = 600_000  # kept before base64; a page of 64 tokens stays below 1.5 MB with it
_PAGE = Path(__file__).parent / "page"
_SCRIPTS = ("elements.js", "pictures.js", "numbers.js")  # one script in the page
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}  # what could end a script element, or a line of it


def page(explanation: Sections) -> str:
    """Return the page as one HTML document.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    style, script = _read("style.css"), "".join(map(_read, _SCRIPTS))
    whole = whole_heads(explanation.attention)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    text: str = template().render(
        explanation=explanation,
        policy=policy,
        style=style,
        script=script,
        data=page_data(explanation, whole),
        tables=tables(explanation),
        marks=pattern_marks(explanation.attention.pattern_names),
        first=first_head(explanation.attention),
        whole=len(whole),
        left_out=_left_out(explanation),
        number=shortest,
    )
    return text


def page_data(explanation: Sections, whole: list[tuple[int, int]]) -> str:
    """Return what the script draws from, as JSON that can stand within a script element.

    Args:
        explanation: what to show.
        whole: layer and head of the attention that is kept as float32; of the others the shades of 0 to 255 are.
    """
    data: dict[str, Any] = as_data(explanation)
    attention = explanation.attention
    probabilities = attention.probabilities
    layers, heads = probabilities.shape[:2]
    data["attention"]["probabilities"] = {
        "shape": list(probabilities.shape),
        "whole": {f"{layer}.{head}": as_data(probabilities[layer, head]) for layer, head in whole},
        "shades": None if len(whole) == layers * heads else _base64(shades(probabilities)),
    }
    data["attention"]["first"] = list(first_head(attention))
    data["attention"]["marks"] = pattern_marks(attention.pattern_names)
    pool: dict[str, int] = {}
    data = _pooled(data, pool)
    data["arrays"] = list(pool)
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_UNSAFE)


def whole_heads(attention: Attention) -> list[tuple[int, int]]:
    """Return layer and head of the attention that the page has as float32: of the clearest patterns if not of all."""
    layers, heads, tokens, _ = attention.probabilities.shape
    fit = layers * heads
    if 4 * fit * tokens * tokens > ATTENTION_BYTES:
        fit = max(1, (ATTENTION_BYTES - fit * tokens * tokens) // (4 * tokens * tokens))  # beside the shades of all
    clearest = sorted(attention.patterns, key=lambda pattern: (-pattern.share, pattern.layer, pattern.head))
    chosen = [first_head(attention), *((pattern.layer, pattern.head) for pattern in clearest)]
    return sorted(list(dict.fromkeys(chosen))[:fit])


def shades(probabilities: np.ndarray) -> np.ndarray:
    """Return probabilities as uint8 of the same shape, 255 for 1."""
    clean = np.nan_to_num(probabilities.astype(np.float64), nan=0.0)
    return np.floor(np.clip(clean, 0, 1) * 255 + 0.5).astype(np.uint8)


def _pooled(part: Any, pool: dict[str, int]) -> Any:
    """The data with every array's bytes in `pool`, and numbers that JSON lacks as words."""
    if isinstance(part, dict):
        if set(part) == {"shape", "float32"}:
            return {"shape": part["shape"], "at": pool.setdefault(part["float32"], len(pool))}
        return {name: _pooled(value, pool) for name, value in part.items()}
    if isinstance(part, list):
        return [_pooled(value, pool) for value in part]
    if isinstance(part, float) and not math.isfinite(part):
        return shortest(part)
    return part


def _left_out(explanation: Sections) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for one in explanation.left_out:
        reasons.setdefault(one.section, []).append(one.reason)
    return reasons


@cache
def template() -> Any:
    """Return the page's template (ImportError where Jinja2 is not installed)."""
    try:
        import jinja2
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise ImportError(
            "pages are made with jinja2, which is not installed: pip install 'minidistil[explain]'"
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        newline_sequence="\n",
    )
    return environment.get_template("page.html.j2")


def _read(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
