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
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.study.parts import Attention, Portion, Sections, as_data
from minidistil.study.portions import fitting, packed, page_limit
from minidistil.study.tables import clearest_heads, first_head, pattern_marks, shortest, tables

ATTENTION_BYTES = 360_000  # of a page; what it has room for beyond goes to single numbers
SHADES = 64  # one character each
_PAGE = Path(__file__).parent / "page"
_SCRIPTS = ("elements.js", "arithmetic.js", "pass.js", "pictures.js", "numbers.js")  # one script in the page
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_SLACK = 2_000  # bytes of sentences that count what there is, and of the lists around it
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}  # what could end a script element, or a line of it


def page(explanation: Sections) -> str:
    """Return the page as one HTML document.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    without = _rendered(explanation, [])
    if explanation.numbers is None:
        return without
    room = page_limit(len(explanation.pieces)) - len(without.encode()) - _SLACK
    return _rendered(explanation, fitting(explanation.numbers.portions, room))


def _rendered(explanation: Sections, portions: list[Portion]) -> str:
    style, script = _read("style.css"), "".join(map(_read, _SCRIPTS))
    whole, traced = whole_heads(explanation.attention), _traced(portions)
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
        data=page_data(explanation, whole, portions),
        tables=tables(explanation),
        marks=pattern_marks(explanation.attention.pattern_names),
        first=first_head(explanation.attention),
        shaded=_shaded(explanation, whole, portions),
        traced=traced,
        left_out=_left_out(explanation),
        number=shortest,
    )
    return text


def page_data(explanation: Sections, whole: list[tuple[int, int]], portions: list[Portion]) -> str:
    """Return what the script draws from, as JSON that can stand within a script element.

    Args:
        explanation: what to show.
        whole: layer and head of the attention that is kept as float32; of the others shades are.
        portions: of `Numbers`, those that it has room for.
    """
    data: dict[str, Any] = as_data(replace(explanation, numbers=None))
    attention = explanation.attention
    probabilities = attention.probabilities
    layers, heads = probabilities.shape[:2]
    data["attention"]["probabilities"] = {
        "shape": list(probabilities.shape),
        "whole": {f"{layer}.{head}": as_data(probabilities[layer, head]) for layer, head in whole},
        "shades": None if len(whole) == layers * heads else shades(probabilities),
    }
    data["attention"]["first"] = list(first_head(attention))
    data["attention"]["marks"] = pattern_marks(attention.pattern_names)
    pool: dict[str, int] = {}
    data = _pooled(data, pool)
    if explanation.numbers is not None:
        data["numbers"] = {
            "token": explanation.numbers.token,
            "matrices": [
                [one.name, one.shape, one.description, one.kind, one.of, one.weights]
                for one in explanation.numbers.matrices
            ],
            "kept": _kept(portions, pool),
            "checks": [
                [one.name, one.axis, one.at, one.crc32]
                for one in dict.fromkeys(one for portion in portions for one in portion.checks)
            ],
        }
    data["arrays"] = list(pool)
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_UNSAFE)


def _kept(portions: list[Portion], pool: dict[str, int]) -> list[list[Any]]:
    """Name, axis, place, array and its kind of everything that is kept, each once."""
    found: dict[tuple[str, str, int], list[Any]] = {}
    for one in (one for portion in portions for one in portion.kept):
        if (one.name, one.axis, one.at) not in found:
            kind, data = packed(one.values)
            text = base64.b64encode(data).decode("ascii")
            array = [one.name, one.axis, one.at, pool.setdefault(text, len(pool)), kind]
            found[one.name, one.axis, one.at] = array
    return list(found.values())


def _traced(portions: list[Portion]) -> dict[str, int]:
    """How many tokens, heads and columns of weights a page can trace."""
    kept = {(one.name, one.axis, one.at) for portion in portions for one in portion.kept}
    return {
        "tokens": sum(axis == "row" and name == "embeddings.word" for name, axis, _ in kept),
        "heads": sum(axis == "head" and name.endswith("q_lin") for name, axis, _ in kept),
        "columns": sum(axis == "weight" and name.endswith((".weight", "projector")) for name, axis, _ in kept),
    }


def _shaded(explanation: Sections, whole: list[tuple[int, int]], portions: list[Portion]) -> int:
    """How many heads a page has shades of alone: neither their float32, nor what these are computed from."""
    layers, heads, tokens, _ = explanation.attention.probabilities.shape
    if _traced(portions)["tokens"] == tokens:
        return 0
    computed = {
        (one.name, one.at) for portion in portions for one in portion.kept if one.axis == "head" and "q_lin" in one.name
    }
    there = {(f"layer.{layer}.attention.q_lin", head) for layer, head in whole} | computed
    return layers * heads - len(there)


def whole_heads(attention: Attention) -> list[tuple[int, int]]:
    """Return layer and head of the attention that is kept as float32: of the clearest patterns if not of all."""
    layers, heads, tokens, _ = attention.probabilities.shape
    fit = layers * heads
    square = tokens * tokens
    if 16 * fit * square > 3 * ATTENTION_BYTES:  # four thirds of four bytes, as base64
        fit = max(1, (ATTENTION_BYTES - fit * square) * 3 // (16 * square))  # beside the shades of all
    return sorted(clearest_heads(attention)[:fit])


def shades(probabilities: np.ndarray) -> str:
    """Return probabilities as one of base64's 64 characters each, of their root: so small shares differ too."""
    clean = np.nan_to_num(probabilities.astype(np.float64), nan=0.0)
    levels = np.floor(np.sqrt(np.clip(clean, 0, 1)) * (SHADES - 1) + 0.5).astype(np.uint8)
    return np.frombuffer(_ALPHABET, np.uint8)[levels].tobytes().decode("ascii")


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
