"""The card of a model, README.md: what it was made of and how, and how well it does, as the hub reads it.

What stands between the two lines of dashes is YAML; a JSON string is one of YAML's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from minidistil.backends.learning import Task

_TAGS: Mapping[str, str] = {
    "masked_lm": "fill-mask",
    "sequence_classification": "text-classification",
    "token_classification": "token-classification",
}
_DO = {
    "masked_lm": "guesses masked words",
    "sequence_classification": "says which label a text has",
    "token_classification": "says which label each word of a text has",
}
_METRICS = {"accuracy": "accuracy", "f1": "f1", "macro_f1": "f1", "perplexity": "perplexity"}  # as the hub names them
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_UNKNOWN = "unknown"


def model_card(
    task: Task,
    *,
    name: str,
    start: str | None,
    teacher: str | None = None,
    data: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    figures: Mapping[str, float] | None = None,
    license: str | None = None,
    languages: Sequence[str] = (),
    datasets: Sequence[str] = (),
) -> bytes:
    """Write the card of a model that was trained.

    Args:
        task: that it was trained for.
        name: of the model.
        start: what it began with: a hub id, package:NAME or a folder; None for nothing.
        teacher: the model that it learned from, or None.
        data: what is known of them, by what it is: their name, how many examples, labels.
        settings: of the run.
        figures: of held-out data.
        license: of the result, as the hub abbreviates it; None where nobody said.
        languages: as the hub abbreviates them.
        datasets: hub ids.

    Returns:
        README.md.
    """
    figures = figures or {}
    base = [named for named in dict.fromkeys((start, teacher)) if named is not None and _is_hub_id(named)]
    front: dict[str, Any] = {
        "license": license or _UNKNOWN,
        "language": list(languages),
        "library_name": "transformers",
        "pipeline_tag": _TAGS[task],
        "tags": ["minidistil", *(["distillation"] if teacher else [])],
        "base_model": base,
        "datasets": list(datasets),
        "metrics": list(dict.fromkeys(_METRICS[figure] for figure in figures if figure in _METRICS)),
    }
    begun = "from scratch" if start is None else f"from {_called(start)}"
    learned = f", and learned from {_called(teacher)} as its teacher" if teacher else ""
    lines = [
        f"# {_plain(name)}",
        "",
        f"A model that {_DO[task]}. It was trained with minidistil, {begun}{learned}.",
        "",
        *_table("Data", data or {}, "what", "which"),
        *_table("On held-out data", {k.replace("_", " "): f"{v:.4f}" for k, v in figures.items()}, "figure", "value"),
        *_table("Settings", settings or {}, "setting", "value"),
        "## Licence",
        "",
        _about_licence(license, start, teacher),
        "",
    ]
    return ("---\n" + _yaml(front) + "---\n\n" + "\n".join(lines)).encode()


def licence_of(card: str) -> str | None:
    """The licence that the front of a card names; None where it names none."""
    front = re.match(r"---\r?\n(.*?)\r?\n---", card, re.DOTALL)
    found = re.search(r"^license:[ \t]*['\"]?([\w.+-]+)", front[1], re.MULTILINE) if front else None
    return found[1] if found and found[1] != _UNKNOWN else None


def _about_licence(license: str | None, start: str | None, teacher: str | None) -> str:
    if license:
        return f"{_plain(license)}."
    models = [_called(one) for one in dict.fromkeys((start, teacher)) if one]
    of = f", of {' and '.join(models)}" if models else ""
    return f"Nobody has said. What may be done with the model follows from the licences of the data{of}."


def _yaml(front: Mapping[str, Any]) -> str:
    """Names, and texts or lists of texts; empty lists are left out."""
    lines = []
    for name, value in front.items():
        if isinstance(value, list):
            lines += [f"{name}:", *(f"- {_scalar(one)}" for one in value)] if value else []
        else:
            lines.append(f"{name}: {_scalar(value)}")
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    """Plain where YAML takes nothing else for it."""
    plain = re.fullmatch(r"[a-z][a-z0-9-]*", text) and text not in ("true", "false", "null", "yes", "no", "on", "off")
    return text if plain else json.dumps(text, ensure_ascii=False)


def _table(title: str, rows: Mapping[str, Any], *head: str) -> list[str]:
    if not rows:
        return []
    lines = [f"| {_plain(name)} | {_plain(_shown(value))} |" for name, value in rows.items()]
    return [f"## {title}", "", f"| {head[0]} | {head[1]} |", "|---|---|", *lines, ""]


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _called(name: str) -> str:
    return f"[{name}](https://huggingface.co/{name})" if _is_hub_id(name) else f"`{name.replace('`', '')}`"


def _is_hub_id(name: str) -> bool:
    return _HUB_ID.fullmatch(name) is not None


def _plain(text: str) -> str:
    """In one line, and no part of the table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
