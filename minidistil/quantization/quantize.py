"""`quantize`: a checkpoint in float32 becomes one in int8."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidistil._options import check_fraction
from minidistil.backends.batch import PackedBatch
from minidistil.quantization import files
from minidistil.quantization.costs import Costs, measured
from minidistil.quantization.report import Part, Report, in_order, kept_part, narrow_part
from minidistil.quantization.texts import EXAMPLE, Texts, read_texts, tokens_of
from minidistil.quantization.watching import operations, ranges
from minidistil.sentences.progress import progress
from minidistil.tokenization import Tokenizer
from minidistil.weights import CheckpointError, ModelWeights, open_checkpoint, read_model
from minidistil.weights.changing import changed
from minidistil.weights.config import Config
from minidistil.weights.model_weights import AnyLinear, Table
from minidistil.weights.narrow import Int8Linear, NarrowTable
from minidistil.weights.precision import require_float32
from minidistil.weights.quantizing import VERSION, kept, products, quantized, tables
from minidistil.weights.writing import write_quantized

_CALIBRATING, _LONGEST = 128, 128  # texts, and tokens of one
_JUDGING, _JUDGED_TOKENS = 8, 64  # each is passed through the model once for every product


def quantize(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    texts: Any = None,
    text: str = "text",
    keep: Collection[str] = (),
    keep_columns: float = 0.0,
    smooth: bool = True,
    limit_pairs: bool = True,
    measure: bool = True,
    backend: str | None = None,
    show_progress: bool = False,
) -> Report:
    """Make an int8 checkpoint of a float32 one: a quarter of the bytes, run in whole numbers.

    The same checkpoint, texts and options give the same weights on every machine.

    Args:
        checkpoint: as `minidistil.load` takes it.
        out: the folder of the result, an ordinary checkpoint.
        texts: like those that the model is for, to see how far the inputs of its products reach: a path (lines of text,
            .csv, .tsv, .jsonl, .arrow, .parquet; or `example:NAME`), or an iterable of str; 128 of them are taken,
            evenly. None: the weights alone tell, nearly as well.
        text: the column of a table.
        keep: names of products and tables that stay float32: `lin2`, `layer.4`, `layer.*.qkv`, `word_embeddings`.
        keep_columns: the fraction of each product's columns that stays float32, such as 0.01: those that its input
            reaches farthest in. About half the error, for a little more time and a few hundredths more bytes.
        smooth: False leaves inputs as they are.
        limit_pairs: False lets weights be such that CPUs without instructions for whole numbers (AVX2 alone) take a
            slower product; results have a little less of an error then.
        measure: False makes no passes to see what each product costs.
        backend: "engine" or "exact", which has the same bits and is slow.
        show_progress: show a bar on standard error.

    Returns:
        What was made, by product.

    Raises:
        CheckpointError: what is wrong with the checkpoint, or the folder cannot be written.
        TypeError, ValueError: texts, names or a fraction that are none; a checkpoint that is int8 already; columns to
            keep of a MobileBERT without texts, of which the weights alone tell none.
        RuntimeError: the engine cannot run here.
    """
    fraction = check_fraction("keep_columns", keep_columns)
    opened = open_checkpoint(checkpoint)
    source = opened.source
    target = Path(out)
    if source.folder.resolve() == target.resolve():
        raise ValueError(f"{target}: is what is quantized: name another folder for the result")
    if opened.folder.resolve() != source.folder.resolve():
        raise CheckpointError(source.folder, f"has its weights in {opened.folder.name}: quantize that folder")
    config = Config.from_dict(opened.config, where=opened.folder, name_or_path=str(checkpoint))
    weights = read_model(opened)
    require_float32(weights, source.name, "quantizing")
    names = [product.name for product in products(weights)] + list(tables(weights))
    float32 = kept(keep, names)
    tokenizer = Tokenizer.from_pretrained(source)
    given = None if texts is None else read_texts(texts, text, _CALIBRATING)
    judges = (given or read_texts(EXAMPLE, text, _CALIBRATING)).some(_JUDGING)
    calibrating = _batches(given, tokenizer, config, _LONGEST) if smooth or fraction else []
    judging = _batches(judges, tokenizer, config, _JUDGED_TOKENS) if measure else []
    ops = operations(backend) if calibrating or judging else None
    steps = len(calibrating) + 1 + (len(names) - len(float32) if measure else 0)
    costs = None
    with progress(steps, show_progress, unit="steps", verb="Quantizing") as bar:
        found = None
        if ops is not None and calibrating:
            found = ranges(config, weights, ops, calibrating, lambda _: bar.update(1))
        made = quantized(weights, found, keep, smooth=smooth, limit_pairs=limit_pairs, keep_columns=fraction)
        bar.update(1)
        if ops is not None and judging:
            costs = measured(config, weights, made, ops, judging, lambda _: bar.update(1))
    report = _report(
        target,
        source.name,
        weights,
        made,
        costs,
        judges,
        calibration=_calibration(given) if smooth or fraction else "nothing: inputs are not smoothed",
        keep=tuple(keep),
        keep_columns=fraction,
        smooth=smooth,
        limit_pairs=limit_pairs,
    )
    written = files.beside(source, tokenizer)
    written[files.CARD] = files.card(source.folder, report, target.name)
    by = {
        "quantizing": VERSION,
        "made_of": opened.digest(),
        "calibration": report.calibration,
        "smooth": smooth,
        "limit_pairs": limit_pairs,
        **({"keep_columns": fraction} if fraction else {}),
    }
    write_quantized(target, config, made, written, made=by, replaces=_replaced(written))
    return report


def _batches(texts: Texts | None, tokenizer: Tokenizer, config: Config, longest: int) -> list[PackedBatch]:
    return [] if texts is None else tokens_of(texts.texts, tokenizer, config, longest)


def _calibration(given: Texts | None) -> str:
    if given is None:
        return "by the weights alone"
    return f"with {len(given.texts):,} of {given.of:,} texts of {given.name}"


def _report(
    target: Path,
    source: str,
    weights: ModelWeights,
    made: ModelWeights,
    costs: Costs | None,
    judges: Texts,
    **asked: Any,
) -> Report:
    """`asked` are fields of it."""
    parts: list[Part] = []
    for product in products(made):
        one = product.linears[0]
        shape = (sum(len(w.bias) for w in product.linears), one.weight.shape[1])
        if isinstance(one, Int8Linear):
            parts.append(_narrow(product.name, shape, one.smooth, costs))
        else:
            parts.append(kept_part(product.name, shape))
    for name, table in tables(made).items():
        shape = (table.shape[0], table.shape[1])
        parts.append(_narrow(name, shape, None, costs) if isinstance(table, NarrowTable) else kept_part(name, shape))
    return Report(
        folder=target,
        source=source,
        parts=in_order(parts),
        judged_by=None if costs is None else f"{len(judges.texts)} texts of {judges.name}",
        cosine=None if costs is None else costs.whole.mean,
        least_cosine=None if costs is None else costs.whole.least,
        bytes_before=_bytes(weights),
        bytes_after=_bytes(made),
        **asked,
    )


def _narrow(name: str, shape: tuple[int, int], smooth: np.ndarray | None, costs: Costs | None) -> Part:
    return narrow_part(name, shape, smooth, None if costs is None else costs.parts[name])


def _bytes(weights: ModelWeights) -> int:
    """Of everything that becomes narrow, as it is here."""
    total = 0

    def linear(w: AnyLinear) -> AnyLinear:
        nonlocal total
        arrays: Sequence[np.ndarray | None] = (w.weight,)
        if isinstance(w, Int8Linear):
            arrays = (w.codes, w.scale, w.smooth, w.kept)
        total += sum(x.nbytes for x in (*arrays, w.bias) if x is not None)
        return w

    def table(x: Table) -> Table:
        nonlocal total
        arrays = (x.codes, x.scale) if isinstance(x, NarrowTable) else (x,)
        total += sum(one.nbytes for one in arrays if one is not None)
        return x

    changed(weights, linear, table)
    return total


def _replaced(written: Collection[str]) -> list[str]:
    from minidistil.tokenization.saving import FILES

    return [name for name in (*FILES, files.MODULES) if name not in written]
