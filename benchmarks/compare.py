"""Compare engines side by side: `python -m benchmarks.compare`. What is measured how: benchmarks/README.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from benchmarks import engines as known
from benchmarks import footprint, inputs, isa, machine, measure, models, narrow_models, narrow_report, report
from benchmarks.engines import ENCODERS, FLOAT32, LOW_PRECISION, PACKED, PIPELINES, STARTS
from benchmarks.worker import Worker, WorkerError

SECTIONS = ("latency", "throughput", "mixed", "fill-mask", "cold", "size", "layers", "closeness", "memory")
_STANDARD = SECTIONS[:7]
_NARROW = ("latency", "throughput", "closeness", "memory")
_NARROW_SHAPES = "1x8,1x32,1x128,8x128"
_TOLERATED_CORES = 1.15  # of the threads given, as the clock of CPU time ticks


@click.command(context_settings={"show_default": True})
@click.option(
    "--engines",
    help="Engines to compare; the first float32 one but minidistil checks the rest.  [default: those in float32]",
)
@click.option(
    "--low-precision", is_flag=True, help="Engines in int8 and bfloat16, float32 beside them; about seven minutes."
)
@click.option("--shapes", help="Only these BATCHxLENGTH, in place of the standard ones.")
@click.option("--threads", default="1,2", help="Thread counts.")
@click.option("--sections", help=f"Parts to run.  [default: {','.join(_STANDARD)}]")
@click.option(
    "--texts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Real text for mixed lengths, else seeded sentences.",
)
@click.option("--count", type=click.IntRange(min=1), help="Texts of mixed lengths. [default: 256; with --quick 64]")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("build/benchmarks"), help="Where to."
)
@click.option(
    "--isa", "instructions", type=click.Choice(isa.ISAS), default="native", help="avx2: everyone runs plain AVX2 code."
)
@click.option("--quick", is_flag=True, help="A tenth of the time, for a first look; figures are rough.")
def main(
    engines: str | None,
    low_precision: bool,
    shapes: str | None,
    threads: str,
    sections: str | None,
    texts: Path | None,
    count: int | None,
    out: Path,
    instructions: str,
    quick: bool,
) -> None:
    """Compare engines on one model: same weights, same inputs, outputs checked before timing, runs interleaved.

    Writes results.json, results.md and plots. The exit status is 1 where an engine failed, its output was wrong, or it
    used more cores than it was given.
    """
    standard = (LOW_PRECISION, _NARROW, _NARROW_SHAPES) if low_precision else (FLOAT32, _STANDARD, None)
    names = _choose(engines or ",".join(standard[0]), ENCODERS, "--engines")
    parts = _choose(sections or ",".join(standard[1]), SECTIONS, "--sections")
    shapes = shapes or standard[2]
    try:
        wanted = inputs.parse_shapes(shapes) if shapes else None
        counts = sorted({int(t) for t in threads.split(",")})
        if counts[0] < 1:
            raise ValueError("--threads counts from 1")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    usable = machine.describe()["cores_usable"]
    if counts[-1] > usable:
        _say(f"leaving out more threads than the {usable} cores that this process may use")
        counts = [t for t in counts if t <= usable] or [usable]
    missing = {name: reason for name in names if (reason := known.missing(name))}
    for name, reason in missing.items():
        _say(f"{name} is left out: {reason} (pip install 'minidistil[bench]')")
    installed = [name for name in names if name not in missing]
    held = []
    if instructions == "avx2":
        installed, left_out = isa.held(installed)
        missing |= left_out
        try:
            held = isa.hold_to_avx2(installed, out / "avx2")
        except isa.Impossible as error:
            raise click.ClickException(str(error)) from None
    comparison = Comparison(installed, counts, out, quick, held, missing, low_precision)
    comparison.run(parts, wanted, texts, count or (64 if quick else 256))
    comparison.write()
    if comparison.faults:
        raise SystemExit(1)


class Comparison:
    """One run: its settings, and what it found so far."""

    def __init__(
        self,
        engines: Sequence[str],
        threads: Sequence[int],
        out: Path,
        quick: bool,
        held: Sequence[str] = (),
        missing: Mapping[str, str] | None = None,
        low_precision: bool = False,
    ) -> None:
        self.threads, self.out, self.quick = list(threads), out, quick
        # So many engines stand beside each other in low precision that their turns are shorter.
        self.rounds, self.seconds = (3, 0.1) if quick else (6, 0.15) if low_precision else (10, 0.3)
        self.faults: list[str] = []
        out.mkdir(parents=True, exist_ok=True)
        _say("preparing the model's files")
        self.models = models.prepare(out / "models", exports=any(not name.startswith("minidistil") for name in engines))
        missing = {**(missing or {}), **narrow_models.prepare(self.models, engines)}
        self.engines = [name for name in engines if name not in missing]
        self.results: dict[str, Any] = {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "quick": quick,
            "low_precision": low_precision,
            "missing": missing,
            "held_to_avx2": list(held),
            "machine": machine.describe(),
            "load_before": machine.load_average(),
            "versions": {},
            "rows": [],
        }

    def run(
        self, sections: Sequence[str], shapes: Sequence[tuple[int, int]] | None, texts: Path | None, count: int
    ) -> None:
        """Run sections in their order; mixed lengths are those of the first `count` texts."""
        _say("measuring the machine's peaks")
        self.results["roofs"] = machine.as_json(machine.measure_roofs(self.threads[-1]))
        mixture = inputs.text_mixture(texts, self.models.tokenizer, count) if texts else inputs.seeded_mixture(count)
        split = [s for s in shapes or inputs.LATENCY if s[0] == 1], [s for s in shapes or inputs.THROUGHPUT if s[0] > 1]
        workloads = {
            "latency": [inputs.fixed_shape(*s) for s in split[0]],
            "throughput": [inputs.fixed_shape(*s) for s in split[1]],
            "mixed": inputs.both_ways(mixture),
        }
        encoding = [(part, w) for part in sections if part in workloads for w in workloads[part]]
        for threads in self.threads:
            if encoding:
                self._compare(self.engines, encoding, threads, _difference)
            if "fill-mask" in sections:
                self._compare(
                    self._pipelines(),
                    self._texts(texts),
                    threads,
                    lambda _, a, b: {"difference": measure.candidates_differ(a, b)},
                )
        if "closeness" in sections:
            self.results["closeness"] = self._closeness()
        if "cold" in sections:
            self.results["cold"] = self._cold_starts(3 if self.quick else 8)
        if "memory" in sections:
            self.results["memory"] = self._cold_starts(1)
            files = {name: STARTS[name].file(self.models) for name in self.results["memory"]}
            self.results["bytes"] = {name: narrow_models.size(file) for name, file in files.items() if file}
        if "size" in sections:
            self.results["size"] = {n: footprint.installed(s) for n, s in footprint.STACKS.items() if n in self.engines}
        if "layers" in sections and "minidistil" in self.engines:
            from benchmarks.kernel_cases import measure_cases

            _say("the engine's own layers, one core")
            self.results["layers"] = measure_cases(0.05 if self.quick else 0.3)

    def write(self) -> None:
        """Write JSON, Markdown and plots into the output folder."""
        self.results["load_after"] = machine.load_average()
        self.results["faults"] = self.faults
        (self.out / "results.json").write_text(json.dumps(self.results, indent=1))
        text = (narrow_report if self.results["low_precision"] else report).markdown(self.results)
        (self.out / "results.md").write_text(text)
        click.echo(text)
        if find_spec("matplotlib") and not self.results["low_precision"]:
            from benchmarks import plots

            for file in plots.draw(self.results, self.out):
                _say(f"wrote {file}")
        elif not self.results["low_precision"]:
            _say("matplotlib is not installed: no plots")
        _say(f"wrote {self.out / 'results.json'} and {self.out / 'results.md'}")

    def _compare(
        self,
        engines: Sequence[str],
        workloads: Sequence[tuple[str, Any]],
        threads: int,
        check: Callable[[str, Any, Any], dict[str, float]],
    ) -> None:
        """All workloads on all engines at one thread count."""
        workers: list[Worker] = []
        for name in engines:
            try:
                workers.append(Worker(name, self.models, threads))
                self.results["versions"].update(workers[-1].versions)
            except WorkerError as error:
                self._fault(f"{name} did not start: {error}")
        try:
            for section, workload in workloads:
                self._row(workers, section, workload, threads, check)
        finally:
            for worker in workers:
                worker.close()

    def _row(
        self,
        workers: Sequence[Worker],
        section: str,
        workload: Any,
        threads: int,
        check: Callable[[str, Any, Any], dict[str, float]],
    ) -> None:
        _say(f"{section} {workload.name}, {threads} thread{'s' * (threads > 1)}")
        answers: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for worker in workers:
            try:
                answers[worker.name] = worker.prepare(workload)
            except WorkerError as error:
                wrong[worker.name] = f"failed: {error}"
        judge = _judge(answers)
        differences = {}
        for name, answer in answers.items():
            try:
                differences[name] = check(name, answers[judge], answer)
            except measure.Disagreement as error:
                wrong[name] = str(error)
        for name, reason in wrong.items():
            self._fault(f"{section} {workload.name}, {threads} threads, {name}: {reason}")
        timed = [w for w in workers if w.name in answers and w.name not in wrong]
        tokens = getattr(workload, "tokens", 0)
        try:
            found = measure.interleave(timed, self._rounds(tokens), self.seconds)
        except measure.Restless as error:
            self._fault(f"{section} {workload.name}, {threads} threads: {error}")
            found = {}
        for name, summary in found.items():
            if summary.cores > threads * _TOLERATED_CORES:
                self._fault(f"{name} used {summary.cores:.1f} cores at {threads} threads, {section} {workload.name}")
        self.results["rows"].append(
            {
                "section": section,
                "workload": workload.name,
                "threads": threads,
                "tokens": tokens,
                "checked_against": judge,
                "engines": {n: {**asdict(s), **differences[n]} for n, s in found.items()},
                "wrong": wrong,
            }
        )

    def _rounds(self, tokens: int) -> int:
        """Fewer where a call takes seconds, or minutes."""
        return self.rounds if tokens < 1024 else max(3, self.rounds // 2) if tokens < 32768 else 2

    def _pipelines(self) -> list[str]:
        return [name for name in PIPELINES if {"minidistil": "minidistil", "transformers": "pytorch"}[name.split()[0]]
                in self.engines]  # fmt: skip

    def _texts(self, file: Path | None) -> list[tuple[str, Any]]:
        return [("fill-mask", inputs.masked_texts(count, file)) for count in (1, 32)]

    def _cold_starts(self, turns: int) -> dict[str, Any]:
        """Fresh processes in turns; the first turn fills the caches of files and compiled code and does not count.

        Where there is one turn alone it counts: enough for memory, not for times.
        """
        found: dict[str, list[dict[str, float]]] = {}
        names = [n for n in self.engines if n != "onnxruntime-fused"]
        for name in set(names) & set(PACKED):
            models.pack(ENCODERS[name].file(self.models), STARTS[PACKED[name]].file(self.models))
            names.insert(names.index(name) + 1, PACKED[name])
        for turn in range(turns):
            for name in names:
                _say(f"cold start of {name}, {turn}")
                try:
                    once = _fresh_process(name, self.out / "models", self.threads[0])
                except RuntimeError as error:
                    self._fault(str(error))
                    continue
                if turn or turns == 1:
                    found.setdefault(name, []).append(once)
        return {
            name: {key: sorted(run[key] for run in runs)[len(runs) // 2] for key in runs[0]}
            | {"least": min(run["total"] for run in runs), "runs": len(runs)}
            for name, runs in found.items()
        }

    def _closeness(self) -> dict[str, Any]:
        """By engine: how near its states are to float32's, and whether a sentence's depend on those beside it."""
        found: dict[str, dict[str, Any]] = {}
        answers: dict[str, Any] = {}
        for name in self.engines:
            _say(f"closeness of {name}")
            try:
                worker = Worker(name, self.models, self.threads[-1])
            except WorkerError as error:
                self._fault(f"{name} did not start: {error}")
                continue
            try:
                found[name] = {}
                for kind, together in _batches().items():
                    answer, alone = worker.prepare(together), worker.prepare(replace(together, batch_size=1))
                    found[name][kind] = asdict(measure.closeness(alone, answer))
                    answers.setdefault(name, answer)
            except (WorkerError, measure.Disagreement) as error:
                self._fault(f"closeness of {name}: {error}")
            finally:
                worker.close()
        judge = _judge(answers)
        for name, answer in answers.items():
            try:
                found[name]["float32"] = asdict(measure.closeness(answers[judge], answer))
            except measure.Disagreement as error:
                self._fault(f"closeness of {name}: {error}")
        return found

    def _fault(self, text: str) -> None:
        self.faults.append(text)
        _say(f"FAULT: {text}")


def _batches() -> dict[str, inputs.Workload]:
    """Batches of eight whose sentences are also encoded alone: of one length, so that nobody pads, and of many."""
    return {
        "one length": replace(inputs.fixed_shape(8, 128), fixed=False),
        "many lengths": inputs.seeded_mixture(8, batch_size=8, seed=2),
    }


def _judge(answers: Mapping[str, Any]) -> str | None:
    """Whose states the others are compared with: the first in float32, of the peers where there is one."""
    float32 = [name for name in answers if name in PIPELINES or ENCODERS[name].precision == "float32"] or list(answers)
    return next((name for name in float32 if not name.startswith("minidistil")), float32[0] if float32 else None)


def _candidates(name: str, expected: Any, found: Any) -> dict[str, float]:
    """Checks what a pipeline answered."""
    return {"difference": measure.candidates_differ(expected, found)}


def _difference(name: str, expected: Any, found: Any) -> dict[str, float]:
    """Checks what an encoder answered: in float32 to its rounding, in fewer bits by direction."""
    if ENCODERS[name].precision == "float32":
        return {"difference": measure.disagreement(expected, found)}
    close = measure.closeness(expected, found)
    return {"cosine": close.mean, "least_cosine": close.least}


def _fresh_process(name: str, folder: Path, threads: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.cold", name, str(folder), str(threads), repr(time.monotonic())]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent, env=_environment())
    if run.returncode:
        raise RuntimeError(f"cold start of {name} failed: {run.stderr.strip().splitlines()[-1:]}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def _environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1"}


def _choose(text: str, known: Sequence[str] | dict[str, Any], option: str) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise click.UsageError(f"{option}: unknown {', '.join(unknown) or 'nothing'}; there are {', '.join(known)}")
    return [name for name in known if name in names]


def _say(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
