"""`minidistil demo`: what the package can do, on texts that it brings, each with the lines of Python that did it.

The lines are constants of this file, run as they are shown: what is printed below a line is what it gave.
"""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import click
import numpy as np

from minidistil.cli.kinds import MODELS
from minidistil.cli.options import checkpoint_options, model_option, precision_option, sentence_model

_MOST = 4  # items of a list that are shown
_WIDTH = 88  # characters of one

_BEGIN = """
import minidistil
from importlib.resources import files
examples = files("minidistil.records") / "examples"
"""


class Part(NamedTuple):
    """What is shown of one kind of model.

    Attributes:
        about: what it is.
        code: lines; what an expression among them gives is shown. {model} stands for the model's name.
        word: of `MODELS`, for who does not have the model.
        command: that does the same from the shell, with that word.
    """

    about: str
    code: str
    word: str
    command: str


PARTS = {
    "sentences": Part(
        "The meaning of sentences: which line answers the question?",
        """
lines = (examples / "amendments.txt").read_text().splitlines()
model = minidistil.SentenceTransformer({model})
vectors = model.encode(lines)
scores = model.similarity(model.encode("may I drink beer?"), vectors)[0]
[lines[i] for i in scores.argsort()[:-3:-1]]
# A sentence has the same bits alone and in company,
bool((model.encode(lines[0]) == vectors[0]).all())
# in the compiled engine and in plain NumPy that can be read,
exact = minidistil.SentenceTransformer({model}, backend="exact")
bool((exact.encode("is beer legal?") == model.encode("is beer legal?")).all())
# and where a bit a number will do, it takes a 32nd of the memory.
vectors.nbytes, model.encode(lines, precision="binary").nbytes
""",
        "embed",
        'minidistil search "may I drink beer?" example:amendments -m embed',
    ),
    "rerank": Part(
        "A query and a text read together, for the best of what a search has found",
        """
lines = (examples / "amendments.txt").read_text().splitlines()
model = minidistil.CrossEncoder({model})
model.rank("who may vote?", lines, top_k=2, return_documents=True)
""",
        "rerank",
        'minidistil rerank "who may vote?" example:amendments -m rerank',
    ),
    "text-classification": Part(
        "Labels of texts, such as their sentiment",
        """
reviews = (examples / "reviews.txt").read_text().splitlines()
minidistil.pipeline("text-classification", {model})(reviews[:2])
""",
        "sentiment",
        "minidistil classify example:reviews -m sentiment",
    ),
    "token-classification": Part(
        "The names in texts",
        """
travellers = (examples / "travellers.txt").read_text().splitlines()
minidistil.pipeline("ner", {model}, aggregation_strategy="first")(travellers[0])
""",
        "ner",
        "minidistil ner example:travellers -m ner",
    ),
    "question-answering": Part(
        "Answers to questions, from texts of any length",
        """
text = (examples / "amendments.txt").read_text()
answers = minidistil.pipeline("question-answering", {model})
answers(question="What is the right of the people?", context=text)
""",
        "qa",
        'minidistil qa "What is the right of the people?" example:amendments -m qa',
    ),
    "zero-shot-classification": Part(
        "Any labels, for a model that never saw them",
        """
reviews = (examples / "reviews.txt").read_text().splitlines()
minidistil.pipeline("zero-shot-classification", {model})(reviews[0], ["food", "film", "books"])
""",
        "zero-shot",
        'minidistil zero-shot example:reviews -l "food, film, books" -m zero-shot',
    ),
    "fill-mask": Part(
        "The word that is missing",
        """
fill = minidistil.pipeline("fill-mask", {model}, top_k=2)
fill(f"Paris is the {fill.tokenizer.mask_token} of France.")
""",
        "fill-mask",
        'minidistil fill-mask "Paris is the [MASK] of France." -m fill-mask',
    ),
}


@click.command(short_help="Show what the package can do.")
@model_option(default_sentence_model=True)
@precision_option()
@checkpoint_options
def demo(model: str | None, precision: str | None, **fetching: Any) -> None:
    """Show what the package can do, on texts that it brings, each with the lines of Python that did it.

    With --model, what that model can do. Without, sentence embeddings, and what other models can do that are in the
    hub's cache already: nothing is downloaded.

    \b
    Example:
      minidistil demo
    """
    start = time.perf_counter()
    chosen = sentence_model(model)
    narrow = {} if precision is None else {"precision": precision}
    given = {name: value for name, value in fetching.items() if value} | narrow
    found = {name: _source(chosen, given) for name in _parts_of(chosen, fetching)}
    missing = []
    if model is None:
        for name, part in PARTS.items():
            if name not in found and _is_here(MODELS[part.word]):
                found[name] = _source(MODELS[part.word], {"local_files_only": True, **narrow})
            elif name not in found:
                missing.append(part)
    session = Session()
    for line in session.run(_BEGIN):
        click.echo(line)
    for name, source in found.items():
        click.secho(f"\n# {PARTS[name].about}", fg="cyan")
        for line in session.run(PARTS[name].code.replace("{model}", source)):
            click.echo(line)
    click.echo(f"\nThat took {time.perf_counter() - start:.1f} s.")
    if missing:
        click.echo("Other models do more; each of these commands gets its model from the Hugging Face hub:")
        for part in missing:
            click.echo(f"  {click.style(part.command, bold=True)}")


class Session:
    """Runs lines of Python one after another, and shows each with what it gave, as Python's prompt does."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = {}

    def run(self, code: str) -> Iterator[str]:
        """Run lines; yields what is to be shown, each line before it runs."""
        for line in code.strip().splitlines():
            if line.startswith("#"):
                yield click.style(line, fg="cyan")
                continue
            yield f"{click.style('>>>', dim=True)} {click.style(line, bold=True)}"
            try:
                expression = compile(line, "<demo>", "eval")
            except SyntaxError:
                exec(line, self._names)
                continue
            yield from shown(eval(expression, self._names))


def shown(value: Any) -> list[str]:
    """Return a value as lines: a list an item each, the first few; numbers with few digits, texts cut to the width."""
    items = value if isinstance(value, list) else [value]
    lines = [textwrap.shorten(repr(_rounded(item)), _WIDTH, placeholder=" …") for item in items[:_MOST]]
    return [click.style(line, fg="green") for line in lines] + ["…"] * (len(items) > _MOST)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_rounded, value))
    return round(float(value), 4) if isinstance(value, (float, np.floating)) else value


def _source(name: str, given: dict[str, Any]) -> str:
    """What stands in the lines for a model: its name and how to get it."""
    options = (f"{option}={json.dumps(value) if isinstance(value, str) else value}" for option, value in given.items())
    return ", ".join([json.dumps(name, ensure_ascii=False), *options])


def _parts_of(name: str, fetching: dict[str, Any]) -> list[str]:
    """What can be shown of a model: what the heads are for that its checkpoint has."""
    from minidistil.sentences.files import is_reranker
    from minidistil.weights import locate, open_checkpoint
    from minidistil.weights.config_values import labels
    from minidistil.weights.read_model import heads_of
    from minidistil.weights.small_files import is_there

    folder = locate(name, **fetching)
    if is_reranker(folder):
        return ["rerank"]
    if is_there(folder / "modules.json"):
        return ["sentences"]
    checkpoint = open_checkpoint(folder)
    heads = heads_of(checkpoint)
    named = labels(checkpoint.config, []).values()
    parts = ["fill-mask"] if "masked_lm" in heads else []
    if "sequence_classification" in heads:
        entails = any(label.lower().startswith("entail") for label in named)
        parts.append("rerank" if len(named) == 1 else "zero-shot-classification" if entails else "text-classification")
    parts += [task.replace("_", "-") for task in ("token_classification", "question_answering") if task in heads]
    return parts or ["sentences"]


def _is_here(name: str) -> bool:
    """Whether a model of the hub is in its cache; nobody is asked."""
    from minidistil.weights import CheckpointError, locate

    try:
        locate(name, local_files_only=True)
    except CheckpointError:
        return False
    return True
