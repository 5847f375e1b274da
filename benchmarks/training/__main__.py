"""The command: see benchmarks/README.md."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from benchmarks import machine, measure
from benchmarks.own_model.data import Data
from benchmarks.training import tables
from benchmarks.training.work import MODELS, Work, make_work, write_model
from benchmarks.worker import Worker, WorkerError

_MODULE = "benchmarks.training.peers"
_MOST_ROUNDS = 9
# Of the loss before any step, which is the same but for rounding; and of what a pool's steps took from it, which other
# masks of dropout and another order of the texts change.
_LOSS, _LEARNED = 1e-4, 0.5
_PART = {MODELS[0]: 1.0, MODELS[1]: 0.5}  # of the texts: the larger model takes four times as long


@click.command(context_settings={"show_default": True})
@click.option("--data", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="A folder with imdb/ and sst2/.")  # fmt: skip
@click.option("--engines", default="minidistil,pytorch", help="Engines; there is pytorch-compiled besides.")
@click.option("--models", default=",".join(MODELS), help="Models.")
@click.option("--threads", default="1,2", help="Thread counts.")
@click.option("--texts", default=24, type=click.IntRange(min=4), help="Texts of a pool of the smaller model.")
@click.option("--longest", default=192, type=click.IntRange(8, 512), help="Tokens at which a review is cut.")
@click.option("--minutes", default=4.0, help="About how long it may take: more rounds, or fewer, never below two.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("build/benchmarks/training"),
              help="Where to.")  # fmt: skip
def main(
    data: Path, engines: str, models: str, threads: str, texts: int, longest: int, minutes: float, out: Path
) -> None:
    """Compare steps of training: same weights, same texts, same loss, checked, in turns.

    Writes results.json and results.md. The exit status is 1 where an engine failed, or learned something else.
    """
    names, chosen = engines.split(","), models.split(",")
    unknown = [model for model in chosen if model not in MODELS]
    if unknown:
        raise click.UsageError(f"--models: unknown {', '.join(unknown)}; there are {', '.join(MODELS)}")
    if not find_spec("torch") or not find_spec("transformers"):
        raise click.ClickException("PyTorch and transformers are not installed: pip install 'minidistil[bench]'")
    comparison = Comparison(names, [int(t) for t in threads.split(",")], out, 60 * minutes)
    for model in chosen:
        comparison.run(model, make_work(Data(data), max(4, int(texts * _PART[model])), longest), len(chosen))
    comparison.write()
    if comparison.faults:
        raise SystemExit(1)


class Comparison:
    """One run: its settings, and what it found so far."""

    def __init__(self, engines: Sequence[str], threads: Sequence[int], out: Path, seconds: float) -> None:
        self.engines, self.threads, self.out = list(engines), list(threads), out
        self.faults: list[str] = []
        self._end, self._left = time.monotonic() + seconds, 0
        self.results: dict[str, Any] = {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": machine.describe(),
            "load_before": machine.load_average(),
            "versions": {},
            "rows": [],
            "where": [],
        }

    def run(self, model: str, works: Sequence[Work], models: int) -> None:
        """Compare all engines on a model, with each number of threads.

        Args:
            model: its name.
            works: what is learned.
            models: how many there are in all, to share the time among.
        """
        if not self._left:
            self._left = models * len(self.threads) * len(works)
        folders = {task: write_model(model, task, self.out / "models") for task in dict.fromkeys(w.task for w in works)}
        for threads in self.threads:
            workers: list[Worker] = []
            try:
                for name in self.engines:
                    workers.append(Worker(name, folders, threads, _MODULE))
                    self.results["versions"].update(workers[-1].versions)
                for number, work in enumerate(works):
                    self._row(workers, model, work, threads, is_first=number == 0)
            except (WorkerError, measure.Restless) as error:
                self._fault(f"{model}, {threads} threads: {error}")
            finally:
                for worker in workers:
                    worker.close()
            if "minidistil" in self.engines:
                self._where(model, folders, works[0], threads)

    def write(self) -> None:
        """Write JSON and Markdown into the output folder."""
        self.results["load_after"] = machine.load_average()
        self.results["faults"] = self.faults
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "results.json").write_text(json.dumps(self.results, indent=1))
        text = tables.markdown(self.results)
        (self.out / "results.md").write_text(text)
        click.echo(text)
        _say(f"wrote {self.out / 'results.json'} and {self.out / 'results.md'}")

    def _row(self, workers: Sequence[Worker], model: str, work: Work, threads: int, is_first: bool) -> None:
        _say(f"{model}, {work.name}, {threads} thread{'s' * (threads > 1)}")
        begun = time.monotonic()
        answers = {worker.name: worker.prepare(work) for worker in workers}
        prepared = time.monotonic() - begun
        try:
            check(answers, learned=work.task == "masked_lm")
        except measure.Disagreement as error:
            self._fault(f"{model}, {work.name}, {threads} threads: {error}")
            self._left -= 1
            return
        # A preparation has a round in it, which warms everything, and takes about as long as two.
        share = prepared + (self._end - time.monotonic()) / self._left
        rounds = min(_MOST_ROUNDS, max(2, int(2 * (share - prepared) / prepared)))
        self._left -= 1
        found = measure.interleave(workers, rounds, 0.0)
        self.results["rows"].append(
            {
                "model": model,
                "work": work.name,
                "threads": threads,
                "tokens": work.tokens,
                "steps": len(work.steps()),
                "lengths": [min(work.lengths), max(work.lengths)],
                "padded": sum(max(len(e.ids) for e in step) * len(step) for step in work.steps(_sorted(work))),
                "losses": {name: answer.tolist() for name, answer in answers.items()},
                "engines": {name: asdict(summary) for name, summary in found.items()},
                "peak_mb": {worker.name: worker.peak_memory() for worker in workers} if is_first else None,
            }
        )

    def _where(self, model: str, folders: Mapping[str, Path], work: Work, threads: int) -> None:
        _say(f"where the time goes: {model}, {threads} thread{'s' * (threads > 1)}")
        try:
            worker = Worker("where", folders, threads, _MODULE)
        except WorkerError as error:
            self._fault(str(error))
            return
        try:
            found = worker.prepare(work)
            self.results["where"].append({"model": model, "threads": threads, "tokens": work.tokens, **found})
        except WorkerError as error:
            self._fault(str(error))
        finally:
            worker.close()

    def _fault(self, text: str) -> None:
        self.faults.append(text)
        _say(f"FAULT: {text}")


def check(answers: Mapping[str, Any], learned: bool = True) -> None:
    """Hold engines against one another: the loss before any step, and what was learned in a pool's steps.

    Args:
        answers: engine -> float64 [2], the mean loss without dropout before and after.
        learned: whether the second is judged; a step or two say nothing of a handful of labels.

    Raises:
        Disagreement: they are not the same; or a model has learned nothing.
    """
    if not all(len(losses) == 2 and all(0 < loss < 100 for loss in losses) for losses in answers.values()):
        raise measure.Disagreement(f"losses that are none: {answers}")
    (first, (before, after)), *others = answers.items()
    if learned and after >= before:
        raise measure.Disagreement(f"{first} learned nothing: its loss went from {before:.4f} to {after:.4f}")
    for name, (own, own_after) in others:
        if abs(own - before) > _LOSS * before:
            raise measure.Disagreement(f"the loss of {name} is {own:.6f} before any step, that of {first} {before:.6f}")
        if learned and abs((own - own_after) - (before - after)) > _LEARNED * (before - after):
            raise measure.Disagreement(
                f"the loss of {name} fell to {own_after:.4f} in the steps in which that of {first} fell from "
                f"{before:.4f} to {after:.4f}"
            )


def _sorted(work: Work) -> list[int]:
    return sorted(range(len(work.examples)), key=work.lengths.__getitem__)


def _say(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
