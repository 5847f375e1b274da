"""Huge inputs: `python -m benchmarks.huge`. Time and memory of one call, from ten thousand texts to a million.

Each point is a process of its own, so that its peak of memory is its own. Memory is what the process held at most
during the call, beside what it held before and beside the results: what should not grow.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import machine, models
from benchmarks.inputs import fixed_shape, shape_name
from benchmarks.report import table

TEXTS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
SHAPES = ((2, 512), (8, 512), (32, 512), (16, 128), (64, 128), (256, 128))
KINDS = {"encode": "encode(texts)", "file": "encode_to_file(texts)", "batch": "model(input_ids), DistilBERT-base"}
_WORDS = 6  # of a text on average, beside the special tokens


@click.command(context_settings={"show_default": True})
@click.option("--threads", default=2, help="Of the engine.")
@click.option("--most", default=TEXTS[-1], help="Texts of the largest call.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("build/benchmarks"))
def main(threads: int, most: int, out: Path) -> None:
    """Measure calls of more and more texts, and of larger and larger batches; writes huge.json and huge.png."""
    out.mkdir(parents=True, exist_ok=True)
    prepare(out / "models")
    asked: list[tuple[str, Sequence[int]]] = [(k, [n]) for k in ("encode", "file") for n in TEXTS if n <= most]
    asked += [("batch", shape) for shape in SHAPES]
    points = []
    for kind, size in asked:
        click.echo(f"{kind} {shape_name(*size) if len(size) > 1 else size[0]}", err=True)
        command = [sys.executable, "-m", "benchmarks.huge", "--point", kind, *map(str, size)]
        run = subprocess.run([*command, str(threads), str(out)], capture_output=True, text=True, check=False)
        if run.returncode:
            raise click.ClickException(run.stderr[-2000:])
        points.append(json.loads(run.stdout.splitlines()[-1]))
    results = {"machine": machine.describe(), "threads": threads, "load": machine.load_average(), "points": points}
    (out / "huge.json").write_text(json.dumps(results, indent=1))
    click.echo(markdown(results))
    from benchmarks import plots

    click.echo(f"wrote {plots.draw_huge(results, out)}", err=True)


def markdown(results: dict[str, Any]) -> str:
    """The points as a table."""
    lines = []
    for point in results["points"]:
        per = point["cpu"] / point["tokens"] * 1e6
        figures = [f"{point['seconds']:.1f}", f"{point['cpu']:.1f}", f"{per:.2f}" if per < 100 else f"{per:.0f}"]
        memory = [f"{point[key]:.0f}" for key in ("results_mb", "beside_mb")]
        lines.append([f"{KINDS[point['kind']]}: {point['name']}", *figures, *memory])
    return table(["", "s", "CPU s", "CPU µs a token", "results, MB", "memory beside them, MB"], lines)


def prepare(folder: Path) -> None:
    """DistilBERT-base, and a small encoder of sentences: two layers of 128, whose time does not hide what is around."""
    from tests.synthetic import BERT_SMALL, write_checkpoint
    from tests.synthetic_tokenizer import write_tokenizer

    models.prepare(folder, exports=False)
    small = folder / "small"
    if not small.exists():
        write_checkpoint(small, {**BERT_SMALL, "vocab_size": models.VOCABULARY, "num_hidden_layers": 2}, models.SEED)
        write_tokenizer(small, models.VOCABULARY, token_types=True)


def measure(kind: str, size: Sequence[int], threads: int, out: Path) -> dict[str, Any]:
    """One point, in this process."""
    tokens, call = {"encode": _encode, "file": _file, "batch": _batch}[kind](size, threads, out)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start, cpu = _memory("VmRSS"), time.perf_counter(), time.process_time()
    held = call()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    beside = _memory("VmHWM") - before - held / 1e6
    name = shape_name(*size) if len(size) > 1 else f"{size[0]:,}"
    figures = {"seconds": seconds, "cpu": cpu, "results_mb": held / 1e6, "beside_mb": beside}
    return {"kind": kind, "name": name, "size": list(size), "tokens": tokens, **figures}


def _encode(size: Sequence[int], threads: int, out: Path) -> tuple[int, Callable[[], int]]:
    encoder, texts = _encoder(out, threads), list(_texts(size[0]))
    return _tokens(encoder, size[0]), lambda: encoder.encode(texts, normalize_embeddings=True).nbytes


def _file(size: Sequence[int], threads: int, out: Path) -> tuple[int, Callable[[], int]]:
    from minidistil.sentences import encode_to_file

    encoder, path = _encoder(out, threads), out / "huge.npy"

    def call() -> int:
        encode_to_file(encoder, _texts(size[0]), path, resume=False, normalize_embeddings=True)
        path.unlink()
        return 0

    return _tokens(encoder, size[0]), call


def _batch(size: Sequence[int], threads: int, out: Path) -> tuple[int, Callable[[], int]]:
    from minidistil import DistilBertModel

    model = DistilBertModel.from_pretrained(models.locate(out / "models").folder, threads=threads)
    model(input_ids=np.stack(fixed_shape(1, 512).sentences))
    ids = np.stack(fixed_shape(*size).sentences)
    return ids.size, lambda: model(input_ids=ids).last_hidden_state.nbytes


def _encoder(out: Path, threads: int) -> Any:
    import minidistil

    encoder = minidistil.load(out / "models" / "small", threads=threads).sentence_encoder
    encoder.encode(["warm"] * 2048)
    return encoder


def _texts(count: int) -> Iterator[str]:
    """One after another: who takes them to a file holds none but its own."""
    rng = np.random.default_rng(0)
    for i in range(count):
        yield f"{i} " + "the quick brown fox jumps over a lazy dog and runs away "[: 5 * int(rng.poisson(_WORDS))]


def _tokens(encoder: Any, count: int) -> int:
    """Of so many texts, by the first; and the tokenizer is warm."""
    ids, _ = encoder.tokenizer.encode_limited(list(_texts(min(count, 4096))), encoder.max_seq_length)
    return int(np.mean([len(sentence) for sentence in ids]) * count)


def _memory(field: str) -> float:
    """MB of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1000
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--point"]:
        _, _, kind, *size, threads, out = sys.argv
        print(json.dumps(measure(kind, [int(n) for n in size], int(threads), Path(out))))
    else:
        main()
