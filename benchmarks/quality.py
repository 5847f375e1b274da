"""What fewer bits cost on trained models: `python -m benchmarks.quality --data DIR`. README.md says what is measured.

DIR holds IMDb's reviews and SST-2's sentences, as own_model/data.py reads them; nothing of them is written anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from zlib import crc32

import click
import numpy as np

from benchmarks import engines, machine, narrow_models
from benchmarks.inputs import Workload
from benchmarks.models import TOKENIZER_PACKAGE, Models, export, locate, tokenizer_folder
from benchmarks.own_model.data import Data
from benchmarks.report import table
from benchmarks.worker import Worker, WorkerError

_SEED = 7
_COUNTS = {"corpus": 1000, "queries": 200, "calibration": 100}
_TOKENS = 256  # of a text at most: what all-MiniLM-L6-v2 reads
_FIRST_SENTENCE = re.compile(r"(?<=[.!?])\s")
_PEERS = tuple(n for n in engines.LOW_PRECISION if not n.startswith("minidistil") and n not in ("pytorch", "openvino"))
# Products that cost most, of the twenty-four: queries, keys and values of the later layers.
_KEPT = tuple(f"layer.{layer}.qkv" for layer in (3, 4, 5))

# name -> how `minidistil.quantize` is called, but for the texts
OURS: dict[str, dict[str, Any]] = {
    "minidistil-int8, plain": {"smooth": False, "limit_pairs": False},
    "minidistil-int8": {},
    "minidistil-int8, calibrated": {"texts": True},
    "minidistil-int8, calibrated, 1 % of columns kept": {"texts": True, "keep_columns": 0.01},
    "minidistil-int8, calibrated, q k v of three layers kept": {"texts": True, "keep": _KEPT},
}


@click.command(context_settings={"show_default": True})
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, help="The texts.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("build/quality"), help="Where to."
)
@click.option("--engines", "peers", default=",".join(_PEERS), help="Engines beside ours.")
@click.option("--reviews", type=click.IntRange(min=2), default=5000, help="Reviews of IMDb's test set, evenly taken.")
@click.option(
    "--student",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/own_model/student"),
    help="The package's own model before it was int8, as the recipe makes it.",
)
@click.option("--threads", type=click.IntRange(min=1), default=2, help="Of each engine; no result depends on it.")
@click.option("--sections", default="sentences,sentiment", help="Parts to run.")
def main(data: Path, out: Path, peers: str, reviews: int, student: Path, threads: int, sections: str) -> None:
    """Measure what int8 and bfloat16 change: all-MiniLM-L6-v2's embeddings, the accuracy of the package's own model."""
    unknown = set(sections.split(",")) - {"sentences", "sentiment"} or set(peers.split(",")) - set(engines.ENCODERS)
    if unknown:
        raise click.UsageError(f"unknown: {', '.join(sorted(unknown))}")
    results: dict[str, Any] = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "missing": {},
        "versions": {},
    }
    study = Study(Data(data), out, peers.split(","), threads, results)
    if "sentences" in sections:
        folder = tokenizer_folder()
        if folder is None:
            raise click.ClickException(f"sentences needs the package {TOKENIZER_PACKAGE.replace('_', '-')}")
        results["sentences"] = study.sentences(folder)
    if "sentiment" in sections:
        if not (student / "config.json").exists():
            raise click.ClickException(f"sentiment needs {student}, which `python -m benchmarks.own_model` makes")
        results["sentiment"] = study.sentiment(student, reviews)
    text = markdown(results)
    (out / "results.json").write_text(json.dumps(results, indent=1))
    (out / "results.md").write_text(text)
    click.echo(text)


@dataclass(frozen=True)
class Search:
    """What a search finds, beside what float32 finds; means over queries.

    Attributes:
        first: the share of queries whose first hit is the same.
        ten: the share of the ten first hits that are among float32's ten.
        spearman: rank correlation of the similarities to all of the corpus.
    """

    first: float
    ten: float
    spearman: float


def cut(data: Data) -> dict[str, list[str]]:
    """Texts for corpus, queries and calibration: as many short sentences of SST-2 as first sentences of reviews."""
    rng = np.random.default_rng(_SEED)
    sources = [
        [text for text, _ in data.sentences("train")],
        [_FIRST_SENTENCE.split(text)[0][:400] for text, _ in data.reviews("train")],
    ]
    orders = [rng.permutation(len(source)) for source in sources]
    texts: dict[str, list[str]] = {}
    begin = 0
    for name, count in _COUNTS.items():
        end = begin + count // 2
        texts[name] = [source[i] for source, order in zip(sources, orders, strict=True) for i in order[begin:end]]
        begin = end
    return texts


def pooled(states: Sequence[np.ndarray]) -> np.ndarray:
    """float64 [B, D] of unit length: the mean of each sentence's states, float32 [n_b, D]."""
    means = np.stack([np.mean(s, axis=0, dtype=np.float64) for s in states])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def search(expected: tuple[np.ndarray, np.ndarray], found: tuple[np.ndarray, np.ndarray]) -> Search:
    """Compare two pairs of (corpus, queries), unit vectors [B, D]."""
    ours, theirs = (queries @ corpus.T for corpus, queries in (expected, found))
    tops = [np.argsort(-s, axis=1, kind="stable")[:, :10] for s in (ours, theirs)]
    ten = [len(set(a) & set(b)) / len(a) for a, b in zip(tops[0].tolist(), tops[1].tolist(), strict=True)]
    ranks = [np.argsort(np.argsort(s, axis=1, kind="stable"), axis=1).astype(np.float64) for s in (ours, theirs)]
    centred = [r - r.mean(axis=1, keepdims=True) for r in ranks]
    correlation = np.sum(centred[0] * centred[1], axis=1) / np.sum(centred[0] ** 2, axis=1)
    return Search(float(np.mean(tops[0][:, 0] == tops[1][:, 0])), float(np.mean(ten)), float(correlation.mean()))


class Study:
    """One run: engines, and what they all read."""

    def __init__(self, data: Data, out: Path, peers: Sequence[str], threads: int, results: dict[str, Any]) -> None:
        self.data, self.out, self.peers, self.threads, self.results = data, out, list(peers), threads, results
        self.texts = cut(data)

    def sentences(self, folder: Path) -> dict[str, dict[str, float]]:
        """Cosines, searches, and alone against in a batch, by engine, for a sentence encoder that pools means."""
        models = self._prepare("sentences", folder)
        corpus, queries = (self._ids(models, self.texts[name]) for name in ("corpus", "queries"))
        found: dict[str, dict[str, float]] = {}
        expected: tuple[np.ndarray, np.ndarray] | None = None

        def measure(name: str, worker: Worker) -> None:
            nonlocal expected
            both = pooled(_states(worker, corpus, 32)), pooled(_states(worker, queries, 32))
            expected = expected or both
            alone = pooled(_states(worker, corpus, 1))
            cosines, to_alone = (np.sum(both[0] * other, axis=1) for other in (expected[0], alone))
            found[name] = {
                "mean": float(cosines.mean()),
                "least": float(cosines.min()),
                **asdict(search(expected, both)),
                "mean_alone": float(np.sum(alone * expected[0], axis=1).mean()),
                "equal": float(np.mean([a.tobytes() == b.tobytes() for a, b in zip(alone, both[0], strict=True)])),
                "least_to_alone": float(to_alone.min()),
            }

        self._each(models, measure)
        return found

    def sentiment(self, folder: Path, reviews: int) -> dict[str, dict[str, float]]:
        """Accuracy of the package's own model, and how often it says what float32 says; its head in float32 for all."""
        models, head = self._prepare("sentiment", folder), Head(folder)
        tests = {"sst2": self.data.sentences("dev")}
        whole = self.data.reviews("test")
        tests["imdb"] = [whole[i * len(whole) // reviews] for i in range(min(reviews, len(whole)))]
        ids = {name: self._ids(models, [text for text, _ in examples], 512) for name, examples in tests.items()}
        found: dict[str, dict[str, float]] = {}
        expected: dict[str, np.ndarray] = {}

        def measure(name: str, worker: Worker) -> None:
            found[name] = {}
            for test, examples in tests.items():
                labels = np.array([head.labels.index(label) for _, label in examples])
                said = _by_length(worker, ids[test], head)
                agreed = said == expected.setdefault(test, said)
                found[name] |= {test: float(np.mean(said == labels)), f"{test}_agrees": float(np.mean(agreed))}

        self._each(models, measure, kept=False)
        return found

    def _prepare(self, name: str, folder: Path) -> Models:
        """The models of a checkpoint, in fewer bits too."""
        models = replace(locate(self.out / name), folder=folder)
        models.home.mkdir(parents=True, exist_ok=True)
        made, stamp = (
            models.home / "made.json",
            json.dumps({"crc32": crc32((folder / "model.safetensors").read_bytes())}),
        )
        if not made.exists() or made.read_text() != stamp:
            made.unlink(missing_ok=True)
            export(models)
            made.write_text(stamp)
        names = [peer for peer in self.peers if engines.missing(peer) is None]
        self.results["missing"] |= {peer: engines.missing(peer) for peer in self.peers if peer not in names}
        calibration = self._ids(models, self.texts["calibration"])
        self.results["missing"] |= narrow_models.prepare(models, ["minidistil-bfloat16", *names], calibration)
        return models

    def _each(self, models: Models, measure: Callable[[str, Worker], None], kept: bool = True) -> None:
        """Call for every engine in a process of its own: ours in float32 first, which the others are compared with.

        Without `kept`, ours that keep products of a model of six layers are left out.
        """
        self._one("minidistil", "minidistil", models, measure)
        self._one("minidistil-bfloat16", "minidistil-bfloat16", models, measure)
        ours = {name: settings for name, settings in OURS.items() if kept or "keep" not in settings}
        for name, settings in ours.items():
            self._one(name, "minidistil", replace(models, folder=self._quantized(models, name, settings)), measure)
        for name in self.peers:
            if name not in self.results["missing"]:
                self._one(name, name, models, measure)

    def _one(self, name: str, engine: str, models: Models, measure: Callable[[str, Worker], None]) -> None:
        click.echo(name, err=True)
        try:
            worker = Worker(engine, models, self.threads)
        except WorkerError as error:
            self.results["missing"][name] = f"failed: {str(error).strip().splitlines()[-1]}"
            return
        self.results["versions"] |= worker.versions
        try:
            measure(name, worker)
        except WorkerError as error:
            self.results["missing"][name] = f"failed: {str(error).strip().splitlines()[-1]}"
        finally:
            worker.close()

    def _quantized(self, models: Models, name: str, settings: dict[str, Any]) -> Path:
        from minidistil import quantize

        folder = models.home / re.sub(r"\W+", "-", name)
        texts = self.texts["calibration"] if settings.get("texts") else None
        quantize(models.folder, folder, measure=False, **{**settings, "texts": texts})
        return folder

    def _ids(self, models: Models, texts: Sequence[str], limit: int = _TOKENS) -> list[np.ndarray]:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(models.tokenizer))
        tokenizer.no_padding()
        tokenizer.enable_truncation(limit)
        return [np.asarray(e.ids, np.int64) for e in tokenizer.encode_batch(list(texts))]


class Head:
    """A classifier's head on the first token's state, as DistilBertForSequenceClassification has it, in float32."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(folder / "model.safetensors")
        self._parts = [
            [np.asarray(tensors[f"{name}.{part}"], np.float32) for part in ("weight", "bias")]
            for name in ("pre_classifier", "classifier")
        ]
        labels = json.loads((folder / "config.json").read_text())["id2label"]
        self.labels = [labels[str(i)] for i in range(len(labels))]

    def __call__(self, first: np.ndarray) -> np.ndarray:
        """int64 [B], the label of each of the states float32 [B, D]."""
        (w1, b1), (w2, b2) = self._parts
        return np.argmax(np.maximum(first @ w1.T + b1, 0) @ w2.T + b2, axis=1)


def _states(worker: Worker, ids: Sequence[np.ndarray], batch_size: int) -> Any:
    return worker.prepare(Workload("", tuple(ids), batch_size, fixed=False))


def _by_length(worker: Worker, ids: Sequence[np.ndarray], head: Head) -> np.ndarray:
    """int64 [B], what a classifier says; by length, so that those who pad have little to, and a few at a time."""
    said = np.zeros(len(ids), np.int64)
    order = np.argsort([len(i) for i in ids], kind="stable")
    for begin in range(0, len(order), 256):
        some = order[begin : begin + 256]
        said[some] = head(np.stack([s[0] for s in _states(worker, [ids[i] for i in some], 32)]))
    return said


def markdown(results: dict[str, Any]) -> str:
    """Both tables."""
    m = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(results["versions"].items()))
    parts = [
        f"{results['created']}; {m['cpu']} (family, model {m['family_model']}; {m['llvm_name']} to LLVM). {versions}."
    ]
    if "sentences" in results:
        lines = [
            [
                name,
                f"{row['mean']:.6f}",
                f"{row['least']:.5f}",
                f"{row['first']:.3f}",
                f"{row['ten']:.4f}",
                f"{row['spearman']:.5f}",
                f"{row['mean_alone']:.6f}",
                f"{row['equal']:.1%}",
                f"{row['least_to_alone']:.5f}",
            ]
            for name, row in results["sentences"].items()
        ]
        header = ["all-MiniLM-L6-v2", "cosine", "least", "first hit", "ten first", "Spearman", "cosine, alone"]
        parts.append(table([*header, "same bytes alone and in a batch", "least cosine of the two"], lines))
    if "sentiment" in results:
        lines = [
            [name, *(f"{row[key]:.2%}" for key in ("sst2", "sst2_agrees", "imdb", "imdb_agrees"))]
            for name, row in results["sentiment"].items()
        ]
        header = ["the package's own model", "SST-2 dev", "as float32 says", "IMDb test", "as float32 says"]
        parts.append(table(header, lines))
    if results["missing"]:
        parts.append("\n".join(f"- {name}: {reason}" for name, reason in results["missing"].items()))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
