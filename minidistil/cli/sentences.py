"""`minidistil embed` and `minidistil search`: sentence embeddings over lines of text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from minidistil.cli.kinds import TEXT_FILE
from minidistil.cli.matches import Match, Matches, Ranking, ranking_options, total_of
from minidistil.cli.options import encoding_option, json_option, load_sentence_encoder, model_options, output_option
from minidistil.cli.text import (
    STANDARD_INPUT,
    Lines,
    batches,
    chunks,
    count_lines,
    printable,
    read_lines,
    shortened,
    warn_of_cut,
)
from minidistil.sentences.quantization import PRECISIONS

if TYPE_CHECKING:
    from minidistil.sentences import SentenceEncoder

_CHUNK = 256  # texts at once: enough to sort by length and fill the cores, little enough to show progress
_SHOWN = 4  # numbers of an embedding, on a terminal


@click.command(short_help="Embed each line of a file.")
@click.argument("file", type=TEXT_FILE, default=STANDARD_INPUT)
@output_option("A .npy, .arrow or .jsonl file")
@click.option("--prompt-name", help="Put the model's prompt of this name before each line.")
@click.option("--normalize", is_flag=True, help="Scale the embeddings to length 1.")
@click.option("--truncate-dim", type=click.IntRange(min=1), metavar="N", help="Keep the first N dimensions.")
@click.option("--precision", type=click.Choice(list(PRECISIONS)), default="float32", show_default=True)
@click.option(
    "--ranges",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A .npy file [2, D], least and greatest value of each dimension, for int8 and uint8.",
)
@click.option("--restart", is_flag=True, help="Begin anew where an interrupted run has left its part.")
@encoding_option
@model_options(default_sentence_model=True)
def embed(
    file: str,
    output: Path | None,
    prompt_name: str | None,
    normalize: bool,
    truncate_dim: int | None,
    precision: str,
    ranges: Path | None,
    restart: bool,
    encoding: str,
    model: str | None,
    **options: Any,
) -> None:
    """Embed each line of FILE (or of standard input).

    OUTPUT ending in .npy becomes an array with a row per line, empty lines included; .arrow or .feather (with pyarrow)
    columns text and embedding; anything else, and standard output, gets a line of JSON per text: {"text": ...,
    "embedding": [...]}; a terminal is shown the first numbers only. While it is written, the file is called
    OUTPUT.partial, and holds all that is finished: stop when you like, and the same command goes on from there.

    \b
    Example:
      minidistil embed example:amendments -o amendments.npy
    """
    from minidistil.sentences import encode_to_file
    from minidistil.sentences.sinks import SUFFIXES

    total = count_lines(file)  # also: a file that is missing is named before a model is loaded
    encoder = load_sentence_encoder(model, **options)
    wanted: dict[str, Any] = {
        "prompt_name": prompt_name,
        "normalize_embeddings": normalize,
        "truncate_dim": truncate_dim,
        "precision": precision,
        "ranges": None if ranges is None else _load_ranges(ranges),
        "truncation": True,
    }
    lines = Lines(file, encoding).as_they_come()
    texts = (None if line is None else line[1] for line in lines)
    if output is None:
        people = sys.stdout.isatty()
        done = 0
        for chunk in batches(texts, _CHUNK):
            (_show if people else _print)(chunk, encoder.encode(chunk, first_index=done, **wanted))
            done += len(chunk)
        if people:
            click.echo("minidistil: -o FILE keeps the embeddings, and a pipe gets them as JSON lines", err=True)
    else:
        encode_to_file(
            encoder,
            (text for text in texts if text is not None),
            output,
            file_format=None if output.suffix.lower() in SUFFIXES else "jsonl",
            resume=not restart,
            show_progress_bar=sys.stderr.isatty(),
            total=total,
            **wanted,
        )
    _warn_of_cut_lines(encoder)


@click.command(short_help="Find lines of files by meaning.")
@ranking_options("Matches", min_score="Leave out matches below this cosine similarity (-1 to 1).")
@json_option("Print a JSON list of {file, line, score, text}.")
@encoding_option
@model_options(default_sentence_model=True)
def search(
    ranking: Ranking,
    as_json: bool,
    encoding: str,
    model: str | None,
    **options: Any,
) -> None:
    """Find the lines of FILE... that mean most nearly what QUERY means.

    Prints file:line, the cosine similarity and the line, best first. Blank lines are skipped; `-` is standard input.

    \b
    Example:
      minidistil search "can the police search my home?" example:amendments
    """
    from minidistil.sentences.progress import progress

    ranking.check()
    counts = [count_lines(name) for name in ranking.files]  # a file that is missing is named before a model is loaded
    encoder = load_sentence_encoder(model, **options)
    wanted = encoder.encode_query(ranking.query, normalize_embeddings=True, truncation=True)
    best = Matches(ranking.top_k, ranking.min_score)
    with progress(total_of(counts), sys.stderr.isatty(), "lines", delay=1) as bar:
        for file in ranking.files:
            for chunk in chunks(read_lines(file, encoding), _CHUNK):
                filled = [(number, text) for number, text in chunk if text.strip()]
                if filled:
                    scores = _similarities(encoder, [text for _, text in filled], wanted)
                    best.add(
                        Match(file, number, float(s), text) for (number, text), s in zip(filled, scores, strict=True)
                    )
                bar.update(len(chunk))
    _warn_of_cut_lines(encoder)
    ranking.print(best.sorted(), as_json)


def _print(texts: list[str], embeddings: np.ndarray) -> None:
    """A line of JSON for each text, as the others of its chunk are there."""
    from minidistil.sentences.sinks import json_lines

    sys.stdout.buffer.write(json_lines([{"text": text} for text in texts], embeddings, np.ones(len(texts), bool)))
    sys.stdout.buffer.flush()


def _show(texts: list[str], embeddings: np.ndarray) -> None:
    """A line for people: how the embedding begins, how long it is, and the text."""
    for text, row in zip(texts, embeddings, strict=True):
        begin = " ".join(f"{number:6.3f}" if row.dtype == np.float32 else f"{number:4}" for number in row[:_SHOWN])
        line = shortened(f"{begin} … {len(row)} numbers  {printable(text)}")
        click.echo(click.style(line[: len(begin)], fg="green") + line[len(begin) :])
    sys.stdout.flush()


def _load_ranges(path: Path) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise click.ClickException(f"{path} is no .npy file: {error}") from error
    return found


def _similarities(encoder: SentenceEncoder, texts: list[str], query: np.ndarray) -> np.ndarray:
    """Cosine of each text with the query, float32 [n]; each from its own row alone, whatever shares the chunk."""
    rows: np.ndarray = encoder.encode_document(texts, normalize_embeddings=True, truncation=True)
    return np.add.reduce(rows * query, axis=1)


def _warn_of_cut_lines(encoder: SentenceEncoder) -> None:
    """Say once, at the end, what the encoder would say for each chunk."""
    warn_of_cut(encoder.truncated, "text", f"cut to {encoder.max_seq_length} tokens")
