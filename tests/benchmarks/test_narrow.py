"""The comparison in fewer bits: what passes as close, what the tables say, and who is left out with what reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import engines, isa, machine, narrow_models, narrow_report
from benchmarks.compare import _judge
from benchmarks.inputs import fixed_shape
from benchmarks.measure import Disagreement, closeness
from benchmarks.models import Models, locate
from benchmarks.peers import Minidistil


def states(seed: int = 0, lengths: tuple[int, ...] = (5, 7)) -> list[np.ndarray]:
    """Like a model's of seeded weights: most of a state is common to all tokens, so that plain cosines are 0.9."""
    common = np.random.default_rng(99).standard_normal(64) * 3
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((n, 64)) + common).astype(np.float32) for n in lengths]


def nearly() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [(s + 0.1 * rng.standard_normal(s.shape)).astype(np.float32) for s in states()]


def test_states_of_fewer_bits_are_close() -> None:
    found = closeness(states(), nearly())
    assert 0.999 < found.mean < 1
    assert found.least <= found.mean
    assert found.equal == 0


def test_equal_bytes_are_counted_by_sentence() -> None:
    found = closeness(states(), [states()[0], nearly()[1]])
    assert found.equal == 0.5
    assert closeness(states(), states()).equal == 1
    assert closeness(states(), states()).least == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([np.zeros_like(s) for s in states()], "sentence 0: .* have a cosine of"),
        ([np.full_like(s, s.mean()) for s in states()], "have a cosine of"),
        ([s[::-1].copy() for s in states()], "have a cosine of"),
        ([np.roll(s, 1, axis=0) for s in states()], "have a cosine of"),
        ([np.float32(1.2) * s for s in states()], "sentence 0: its states are 1.20 times the size"),
        (states(1), "have a cosine of"),
        ([states()[0], np.full_like(states()[1], np.nan)], "sentence 1: .* not finite"),
        (states()[:1], "1 sentences came back"),
        ([s.astype(np.float64) for s in states()], "float64"),
    ],
)
def test_other_states_are_not_close_though_their_plain_cosine_is_high(found: list[np.ndarray], message: str) -> None:
    with pytest.raises(Disagreement, match=message):
        closeness(states(), found)


def found(median: float, share: float = 1.0) -> dict[str, float]:
    cpu = median * share
    return {"median": median, "least": median * 0.5, "share": share, "cores": share, "cpu": cpu, "cpu_least": cpu * 0.8}


def results() -> dict[str, Any]:
    row = {"section": "latency", "workload": "1x8", "threads": 1, "tokens": 8, "wrong": {}}
    times = {"minidistil": found(0.006), "minidistil-int8": found(0.002), "openvino-int8": found(0.001)}
    close = {"mean": 0.9995, "least": 0.999, "equal": 0.25}
    same = {"mean": 1.0, "least": 1.0, "equal": 1.0}
    memory = {"peak_mb": 123.4, "private_mb": 20.0, "peak_mb_8x128": 150.0}
    return {
        "created": "2026-01-01",
        "quick": False,
        "low_precision": True,
        "machine": {**machine.describe(), "cpu": "A CPU"},
        "load_before": 0.1,
        "load_after": 0.2,
        "versions": {"numpy": "2.0"},
        "missing": {"ctranslate2-int8": "ctranslate2 not installed"},
        "rows": [
            {**row, "engines": times},
            {
                **row,
                "workload": "8x128",
                "engines": {"minidistil-int8": found(0.1, 0.5)},
                "wrong": {"openvino-int8": "NaN"},
            },
            {**row, "threads": 2, "engines": times},
        ],
        "closeness": {
            "minidistil-int8": {"one length": same, "many lengths": same, "float32": close},
            "openvino-int8": {"one length": same, "many lengths": close},
        },
        "memory": {"minidistil-int8": memory, "minidistil, packed": memory},
        "bytes": {"minidistil-int8": 67_890_000},
        "faults": ["openvino-int8: NaN"],
    }


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"| {start} |")]


def test_engines_are_rows_and_ratios_are_to_ours_in_int8() -> None:
    text = narrow_report.markdown(results())
    assert "A CPU (family, model" in text
    assert lines(text, "minidistil") == [
        "| minidistil | 6.00 (3.00) | - | 3.00 / - | 3.00 / - |",
        "| minidistil | 6.00 (3.00) | 3.00 | 3.00 |",
    ]
    assert (
        lines(text, "openvino-int8")[0] == "| openvino-int8 | **1.00** (0.50) | WRONG | **0.50** / - | **0.50** / - |"
    )
    assert lines(text, "minidistil-int8")[0].startswith(
        "| minidistil-int8 | 2.00 (1.00) | **50.0**† (40.0) | 1.00 / 1.00"
    )
    assert "## 2 threads (ms)" in text
    assert "- openvino-int8: NaN" in text


def test_who_is_missing_has_a_row_that_says_why() -> None:
    assert lines(narrow_report.markdown(results()), "ctranslate2-int8")[0] == (
        "| ctranslate2-int8 | ctranslate2 not installed |  |  |  |"
    )


def test_closeness_file_and_memory_are_side_by_side() -> None:
    text = narrow_report.markdown(results())
    ours, theirs, packed = (lines(text, n)[-1] for n in ("minidistil-int8", "openvino-int8", "minidistil, packed"))
    assert ours == "| minidistil-int8 | 0.99950 | 0.99900 | 8 of 8 | 8 of 8 | 67.9 | 123 | 20 | 150 |"
    assert theirs == "| openvino-int8 | - | - | 8 of 8 | 2 of 8 (0.99900) | - | - | - | - |"
    assert packed == "| minidistil, packed | - | - | - | - | - | 123 | 20 | 150 |"


def test_a_peer_in_float32_judges() -> None:
    assert _judge({"minidistil": 0, "openvino-int8": 0, "ctranslate2": 0}) == "ctranslate2"
    assert _judge({"minidistil-int8": 0, "minidistil": 0, "openvino-int8": 0}) == "minidistil"
    assert _judge({"minidistil fill-mask": 0, "transformers fill-mask": 0}) == "transformers fill-mask"
    assert _judge({}) is None


def test_every_engine_says_its_precision_and_what_it_needs() -> None:
    for name, engine in engines.ENCODERS.items():
        assert engine.needs, name
        assert engine.precision == next((p for p in ("int8", "bfloat16") if p in name), "float32")
        if name in narrow_models.RECIPES:
            assert engine.file(locate(Path("m"))) == Path("m") / narrow_models.RECIPES[name].place
    assert {"int8", "bfloat16", "float32"} == {engines.ENCODERS[name].precision for name in engines.LOW_PRECISION}
    assert {engines.ENCODERS[name].precision for name in engines.FLOAT32} == {"float32"}


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda module: None if module == "transformers" else module)
    assert engines.missing("pytorch-int8") == "transformers not installed"
    assert engines.missing("minidistil-int8") is None


def test_on_plain_avx2_those_are_left_out_that_cannot_be_held_to_it() -> None:
    names, left_out = isa.held(["minidistil", "minidistil-int8", "onnxruntime-int8", "openvino-int8"])
    assert names == ["minidistil", "minidistil-int8-avx2", "openvino-int8"]
    assert "AVX-VNNI" in left_out["onnxruntime-int8"]


def test_models_are_made_once_and_again_when_what_they_are_made_of_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = locate(tmp_path)
    models.folder.mkdir()
    (models.folder / "model.safetensors").write_bytes(b"weights")
    made: list[int] = []

    def make(of: Models, target: Path, sentences: narrow_models.Sentences) -> None:
        assert of is models
        assert not target.exists()
        made.append(len(sentences))
        target.mkdir()
        (target / "model.bin").write_bytes(b"12345")
        (target / "config.json").write_text("{}")

    recipes = {
        "numpy-int8": narrow_models.Recipe("numpy-int8", make, ("numpy",)),
        "nobody-int8": narrow_models.Recipe("nobody-int8", make, ("numpy", "a_module_that_nobody_has")),
    }
    monkeypatch.setattr(narrow_models, "RECIPES", recipes)
    names = ["minidistil", *recipes]
    for _ in range(2):
        assert narrow_models.prepare(models, names) == {"nobody-int8": "a_module_that_nobody_has not installed"}
    assert made == [64]
    assert narrow_models.size(narrow_models.place(models, "numpy-int8")) == 5
    narrow_models.prepare(models, names, calibration=[np.arange(3)])
    (models.folder / "model.safetensors").write_bytes(b"other weights")
    narrow_models.prepare(models, names, calibration=[np.arange(3)])
    assert made == [64, 1, 1]


def test_sizes_are_of_weights(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_bytes(b"123")
    (tmp_path / "model.bin").write_bytes(b"12345")
    (tmp_path / "model.onnx").write_bytes(b"1")
    assert narrow_models.size(tmp_path / "model.xml") == 8
    assert narrow_models.size(tmp_path / "model.onnx") == 1
    (tmp_path / "vocab.txt").write_bytes(b"words")
    assert narrow_models.size(tmp_path) == 9


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_our_engines_in_fewer_bits_are_close_to_float32_and_no_copy_of_it(precision: str, tmp_path: Path) -> None:
    from tests.synthetic import DISTILBERT_SMALL, write_checkpoint

    models = locate(tmp_path)
    write_checkpoint(models.folder, DISTILBERT_SMALL, 0)
    workload = fixed_shape(2, 9)
    workload = type(workload)("", tuple(s % 1200 for s in workload.sentences), 2, fixed=True)
    answers = []
    for options in ({}, {"precision": precision}):
        peer = Minidistil()
        peer.options = options
        peer.start()
        peer.load(models, 1)
        prepared = peer.prepare(workload)
        answers.append(peer.answers(prepared, peer.run(prepared)))
    near = closeness(*answers)
    assert near.least > 0.99
    assert near.equal == 0
