"""Huge inputs: what is held at once does not grow with how many texts or tokens there are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.backends.engine import Engine
from minidistil.sentences import SentenceEncoder, encode_to_file
from minidistil.sentences import encoder as encoder_module
from tests import build, synthetic
from tests.bits import assert_same_bits

PASS = 4 << 20  # bytes: hidden states of a pass, 2,048 tokens of 128 numbers, and what is computed of them
GROWTH = 1 << 18  # between inputs of which the larger has 3 MB more of embeddings


@pytest.fixture(scope="module")
def encoder(sentence_small: Path) -> SentenceEncoder:
    return minidistil.load(sentence_small, threads=1)


def texts(count: int) -> list[str]:
    rng = np.random.default_rng(count)
    return [f"a sentence of number {i} " + "word " * int(n) for i, n in enumerate(rng.integers(0, 12, count))]


def peak(call: Callable[[], Any]) -> tuple[Any, int]:
    """What a call returns, and the most bytes that Python and NumPy held meanwhile, beside what they held before."""
    tracemalloc.start()
    try:
        found = call()
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "options",
    [{}, {"normalize_embeddings": True}, {"precision": "ubinary"}, {"truncate_dim": 8}, {"prompt": "query: "}],
    ids=lambda options: ",".join(options) or "plain",
)
def test_encode_holds_its_result_and_a_window(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(encoder_module, "_WINDOW", 256)
    encoder.encode([*["long " * 100] * 32, *texts(300)], truncation=True, **options)  # the workspace of a whole pass
    beside = []
    for count in (2_000, 8_000):
        some = texts(count)
        found, most = peak(lambda some=some: encoder.encode(some, **options))
        beside.append(most - found.nbytes - 8 * count)  # the list of the texts
    assert max(beside) < PASS, beside
    assert beside[1] < beside[0] + GROWTH, beside


def test_windows_are_bounded_by_texts_and_by_characters(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [*texts(100), "long " * 400, *texts(30)]
    want = encoder.encode(some, truncation=True)
    windows: list[Sequence[str]] = []
    tokens: list[int] = []
    encode_limited, encode_packed = encoder.tokenizer.encode_limited, encoder.model.encode_packed
    monkeypatch.setattr(encoder_module, "_WINDOW", 16)
    monkeypatch.setattr(encoder_module, "_CHARACTERS", 1_000)
    with monkeypatch.context() as patch:
        patch.setattr(
            encoder.tokenizer,
            "encode_limited",
            lambda window, limit: (windows.append(window), encode_limited(window, limit))[1],
        )
        patch.setattr(
            encoder.model,
            "encode_packed",
            lambda batch, rows=None: (tokens.append(batch.tokens), encode_packed(batch, rows))[1],
        )
        found = encoder.encode(some, truncation=True, prompt="")
    assert_same_bits(found, want)
    assert [text for window in windows for text in window] == some
    assert max(map(len, windows)) == 16
    assert all(len(window) == 1 or sum(map(len, window)) <= 1_000 for window in windows)
    assert ["long " * 400] in windows, "what is longer goes by itself"
    assert max(tokens) <= encoder_module._TOKENS


def test_a_file_is_written_in_memory_for_a_chunk(encoder: SentenceEncoder, tmp_path: Path) -> None:
    def written(count: int) -> int:
        # Sentences as a generator makes them: nobody holds them all.
        source = (f"sentence of number {i}" for i in range(count))
        return encode_to_file(encoder, source, tmp_path / f"{count}.npy", chunk_size=64).rows

    encoder.encode(["long " * 100] * 32, truncation=True)
    written(5_000)  # the workspaces are there then, one for each thread
    found = [peak(lambda count=count: written(count)) for count in (1_000, 5_000)]
    assert [rows for rows, _ in found] == [1_000, 5_000]
    assert max(most for _, most in found) < PASS, found
    assert found[1][1] < found[0][1] + GROWTH, found


@pytest.mark.parametrize("states", [False, True], ids=["last", "hidden states"])
@pytest.mark.parametrize(("sentences", "length"), [(16, 512), (128, 64)])
def test_a_large_batch_holds_its_result_and_one_pass(sentences: int, length: int, states: bool) -> None:
    values = {**synthetic.DISTILBERT_SMALL, "n_layers": 2}
    engine = Engine(build.config(values), build.model_weights(values), threads=1)
    rng = np.random.default_rng(0)
    batch = build.batch([rng.integers(0, 1200, length) for _ in range(sentences)])
    engine.encode(batch)  # the workspace is there then
    found, most = peak(lambda: engine.encode(batch, hidden_states=states))
    held = found.last.nbytes * (1 + len(found.hidden_states[:-1]) if states else 1)
    assert sum(block.size for block, _ in engine._workspaces._free) * 4 < 20 << 20, "a workspace of one pass"
    assert most < held + GROWTH, f"{most} bytes for results of {held}"
