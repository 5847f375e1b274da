"""README.md of the model that is shipped: what it is, what it was made of, how good it is, and what it is not for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.own_model.settings import CALIBRATING, LAYERS, REVIEWS_OF_WORDS, SETTINGS

_TEXT = """---
license: apache-2.0
language: en
library_name: minidistil
pipeline_tag: text-classification
base_model: sentence-transformers/all-MiniLM-L6-v2
datasets: [stanfordnlp/imdb, stanfordnlp/sst2]
metrics: [accuracy]
---

# Sentiment of reviews, in {megabytes}

A DistilBERT of three layers, 384 wide, with {pieces} word pieces: whether an English film review, or a sentence of
one, is `positive` or `negative`. Its weights are whole numbers of 8 bits, and so are its products computed.

    minidistil classify reviews.txt
    minidistil.pipeline("sentiment-analysis")("A wonderful film.")

With `precision="float32"` a pipeline computes in float32 with the numbers that they stand for.

## How it was made

By `python -m benchmarks.own_model` of minidistil's sources, with `minidistil.training` and nothing else, on a CPU:

1. Of [all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2) (Apache-2.0) the vocabulary was
   cut to the pieces that reviews use, and all characters.
2. That teacher learned to guess masked words of {teacher_words} reviews, and then the sentiment of IMDb's training
   reviews and SST-2's training sentences ({teacher}).
3. The student took the teacher's embeddings and layers {layers}, and learned from it the sentiment of the same texts:
   {student}; soft targets with temperature 2, labels, and the cosine of hidden states, 0.5 : 0.5 : 1. (The
   paper's students learn to guess masked words first. Here that cost accuracy: benchmarks/README.md.)
4. `minidistil.quantize` made int8 of it, with {calibrating} of the training texts.

## How good it is

{results}

IMDb: test accuracy over {imdb} reviews, read to their 512th token. SST-2: accuracy over the {sst2} sentences of its dev
set. Nothing was trained on either.

## What it is not for

Other languages; texts that are no reviews; telling what is neither good nor bad. What stands in reviews, prejudice
among it, is in it. Its scores are not calibrated.

## Data

- Large Movie Review Dataset v1.0: A. L. Maas et al., Learning Word Vectors for Sentiment Analysis, ACL 2011.
- Stanford Sentiment Treebank, two classes, sentences: R. Socher et al., Recursive Deep Models for Semantic
  Compositionality Over a Sentiment Treebank, EMNLP 2013.

No text of them is part of the model's files. Licences are in NOTICE of minidistil.
"""


def card(figures: Callable[[str], Mapping[str, Any]]) -> str:
    """Write the card; `figures` gives what is known of a step, {} where it is not done."""
    shipped, student, teacher = (figures(f"evaluate-{name}") for name in ("package", "student", "teacher"))
    size, pieces = figures("package").get("bytes"), figures("vocabulary").get("pieces")
    return _TEXT.format(
        megabytes="int8" if size is None else f"{size / 1e6:.1f} MB",
        pieces=f"{pieces[1]:,}" if pieces else "few",
        teacher_words=f"{REVIEWS_OF_WORDS['teacher-words']:,}",
        calibrating=2 * CALIBRATING,
        teacher=_run("teacher"),
        student=_run("student"),
        layers=", ".join(map(str, LAYERS[:-1])) + f" and {LAYERS[-1]}",
        results=_results(shipped, student, teacher),
        imdb=f"{shipped.get('imdb_examples', 25_000):,}",
        sst2=shipped.get("sst2_examples", 872),
    )


def _run(step: str) -> str:
    epochs, length = SETTINGS[step]["epochs"], SETTINGS[step]["max_length"]
    return f"{epochs} epoch{'s' * (epochs > 1)}, cut to {length} tokens"


def _results(shipped: Mapping[str, Any], student: Mapping[str, Any], teacher: Mapping[str, Any]) -> str:
    if not shipped:
        return "Not measured yet."
    lines = ["| model | IMDb | SST-2 |", "|---|---:|---:|"]
    for name, found in (("this one", shipped), ("before it was int8", student), ("its teacher, six layers", teacher)):
        if found:
            lines.append(f"| {name} | {found['imdb_accuracy']:.2%} | {found['sst2_accuracy']:.2%} |")
    return "\n".join(lines)
