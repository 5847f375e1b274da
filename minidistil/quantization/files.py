"""The files of a checkpoint beside its weights, and what its card says of how those were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from minidistil.quantization.report import Report
from minidistil.sentences.files import GENERAL_FILE, TRANSFORMER_CONFIGS
from minidistil.tokenization import Tokenizer
from minidistil.weights.saving import Content, weight_files
from minidistil.weights.small_files import is_there, open_regular
from minidistil.weights.source import Source

CARD = "README.md"
MODULES = "modules.json"
_BESIDE = (MODULES, GENERAL_FILE, *TRANSFORMER_CONFIGS, "generation_config.json")
_BEGIN, _END = "<!-- minidistil quantize -->", "<!-- minidistil quantize: end -->"
_LONGEST_CARD = 1 << 20


def beside(source: Source, tokenizer: Tokenizer) -> dict[str, Content]:
    """The files of a source that its int8 has too: the tokenizer, and the modules of sentence-transformers."""
    folder = source.folder
    files = dict(tokenizer.files_to_save())
    files |= {name: folder / name for name in _BESIDE if is_there(folder / name)}
    for place in source.modules():
        if place != folder:
            inside = place.relative_to(folder)
            own = {"config.json": place / "config.json"} if is_there(place / "config.json") else {}
            files |= {str(inside / name): content for name, content in {**own, **weight_files(place)}.items()}
    return files


def card(folder: Path, report: Report, name: str) -> bytes:
    """README.md: that of the source, where it has one, and what was done."""
    path = folder / CARD
    before = ""
    if is_there(path):
        with open_regular(path) as file:
            before = file.read(_LONGEST_CARD).decode("utf-8", "replace")
    before = before.partition(_BEGIN)[0].rstrip() or f"# {name}"
    rows = [f"| {what} | {_plain(said)} |" for what, said in _facts(report).items()]
    section = [
        _BEGIN,
        "## int8",
        "",
        "The weights are whole numbers, made by `minidistil quantize`; minidistil runs them as such. config.json says",
        "in the words of compressed-tensors which they are.",
        "",
        "| what | which |",
        "|---|---|",
        *rows,
        _END,
        "",
    ]
    return (before + "\n\n" + "\n".join(section)).encode()


def _facts(report: Report) -> Mapping[str, str]:
    pairs = "limited, so that every CPU's fastest products are exact" if report.limit_pairs else "as they came"
    kept = ", ".join(part.name for part in report.parts if part.precision == "float32")
    return {
        "made of": report.source,
        **report.facts(),
        "inputs": "smoothed" if report.smooth else "not smoothed",
        "pairs of weights": pairs,
        "kept in float32": kept or "nothing",
    }


def _plain(text: str) -> str:
    """In one line, and no part of the table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
