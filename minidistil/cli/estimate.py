"""How long a file of texts would take on this machine, from a sample of it; and whether the machine is busy."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from minidistil.records.lines import display_name, read_lines

if TYPE_CHECKING:
    from minidistil.weights.precision import Precision

T = TypeVar("T")

_SAMPLE = 8192  # texts of a file: their lengths say what the rest is like
_CHUNK = 256  # texts that are embedded together, as `minidistil embed` does
_SECONDS = 3.0  # of embedding, or the whole sample


@dataclass(frozen=True)
class Estimate:
    """What a file would take.

    Attributes:
        file: its name.
        precision: of the model's weights.
        texts: lines in it.
        seconds: for all of them, as fast as the sample went in the middle; and at its 10th and 90th percentile.
        seconds_p10, seconds_p90: see there.
        tokens_median, tokens_p95: of a text, before it is cut.
        cut: the part of the texts that are longer than the model reads.
        limit: tokens that it reads.
        measured: texts that were embedded.
        threads: of the engine.
        cores_had: of as many cores' time, the part that this process had.
        load: the machine's, before; None where the system does not tell.
    """

    file: str
    precision: str
    texts: int
    seconds: float
    seconds_p10: float
    seconds_p90: float
    tokens_median: float
    tokens_p95: float
    cut: float
    limit: int
    measured: int
    threads: int
    cores_had: float
    load: float | None

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def text(self) -> str:
        """For people."""
        cut = f"; {self.cut:.1%} are cut at {self.limit}" if self.cut else ""
        spread = f" ({duration(self.seconds_p10)} to {duration(self.seconds_p90)})"
        return (
            f"{self.file}: {self.texts:,} texts, of {self.tokens_median:.0f} tokens at the median and "
            f"{self.tokens_p95:.0f} at 95%{cut}\n"
            f"{duration(self.seconds)} here in {self.precision}{spread if self.measured > _CHUNK else ''}: "
            f"{self.texts / self.seconds:,.0f} texts a second, measured on {self.measured:,}\n"
            f"{busy(self.cores_had, self.threads, self.load)}"
        )


def estimate(
    folder: Path, file: str, encoding: str, threads: int | None, precision: Precision | None = None
) -> Estimate:
    """Count the lines of a file, embed some from all parts of it for a few seconds, and say how long all would take.

    Time goes with operations, not with texts: the chunks that are measured say how long an operation takes, tokenizer
    and all, and the lengths of the whole sample how many there are.

    Args:
        folder: the checkpoint's.
        file: its name, "-" for standard input, or "example:NAME".
        encoding: of the text.
        threads: of the engine; None for what the process may use.
        precision: of the weights; None as the checkpoint is.

    Raises:
        click.ClickException: a file that cannot be read, or that has no text.
    """
    import numpy as np

    from minidistil.backends.engine.profile import pass_operations
    from minidistil.sentences import SentenceEncoder

    texts, sample = thinned((line for _, line in read_lines(file, encoding)), _SAMPLE)
    if not sample:
        raise click.ClickException(f"{display_name(file)} has no lines, so that there is nothing to measure")
    encoder, load = SentenceEncoder.from_folder(folder, threads=threads, precision=precision), load_average()
    engine: Any = encoder.model._backend
    limit = encoder.max_seq_length
    whole = np.array([sum(map(len, windows)) for windows in encoder.tokenizer.encode_windows(sample, limit)])
    lengths = np.minimum(whole, limit)
    order = np.random.default_rng(0).permutation(len(sample))
    chunks = [order[i : i + _CHUNK] for i in range(0, len(order), _CHUNK)]
    encoder.encode([sample[i] for i in chunks[0]], truncation=True)
    rates, measured = [], 0
    begin, cpu = time.perf_counter(), time.process_time()
    for chunk in chunks:
        start = time.perf_counter()
        encoder.encode([sample[i] for i in chunk], truncation=True)
        rates.append((time.perf_counter() - start) / pass_operations(engine, lengths[chunk]))
        measured += len(chunk)
        if time.perf_counter() - begin > _SECONDS:
            break
    had = (time.process_time() - cpu) / ((time.perf_counter() - begin) * engine.threads)
    operations = pass_operations(engine, lengths) * texts / len(sample)
    p10, median, p90 = (float(rate) * operations for rate in np.quantile(rates, (0.1, 0.5, 0.9)))
    tokens_median, tokens_p95 = (float(q) for q in np.quantile(whole, (0.5, 0.95)))
    return Estimate(
        file=display_name(file),
        precision=encoder.precision,
        texts=texts,
        seconds=median,
        seconds_p10=p10,
        seconds_p90=p90,
        tokens_median=tokens_median,
        tokens_p95=tokens_p95,
        cut=float(np.mean(whole > limit)),
        limit=limit,
        measured=measured,
        threads=engine.threads,
        cores_had=min(had, 1.0),
        load=load,
    )


def thinned(items: Iterable[T], most: int) -> tuple[int, list[T]]:
    """How many items there are, and at most `most` of them, from all parts alike: every second, fourth, eighth, ..."""
    kept: list[T] = []
    count, step = 0, 1
    for item in items:
        if count % step == 0:
            if len(kept) == most:
                kept, step = kept[::2], step * 2
            if count % step == 0:
                kept.append(item)
        count += 1
    return count, kept


def duration(seconds: float) -> str:
    """The two largest units: "11 h 4 min", "3.2 s"."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        whole = round(seconds / part)
        if whole * part >= size:
            return f"{whole * part // size} {unit} {whole * part % size // part} {smaller}"
    raise AssertionError(seconds)


def load_average() -> float | None:
    """Runnable processes over the last minute; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def busy(had: float, threads: int, load: float | None) -> str:
    """Whether others had the cores while something was measured, in words."""
    from minidistil.backends.engine.profile import UNDISTURBED

    cores = "its core's time" if threads == 1 else f"the time of {threads} cores"
    before = "" if load is None else f"; load {load:.1f} before"
    if had >= UNDISTURBED:
        return f"undisturbed: this process had {had:.0%} of {cores}{before}"
    return f"the machine is busy: this process had {had:.0%} of {cores}{before}; figures are of a slower machine"
