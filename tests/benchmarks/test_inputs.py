"""Workloads: seeded, of the lengths promised, and padded as little as can be."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import inputs
from benchmarks.inputs import Workload, fixed_shape, masked_texts, padded, parse_shapes, read_texts, seeded_mixture
from benchmarks.peers import Minidistil, OnnxRuntime
from minidistil.weights.config import Config
from tests.synthetic import DISTILBERT_BASE
from tests.synthetic_tokenizer import write_tokenizer


def test_shapes_are_read() -> None:
    assert parse_shapes("1x8, 32x128") == ((1, 8), (32, 128))


@pytest.mark.parametrize("text", ["", "8", "8x", "x8", "0x8", "1x1", "1x513", "1x8;2x8", "-1x8"])
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="BATCHxLENGTH"):
        parse_shapes(text)


def test_a_seed_gives_the_same_words() -> None:
    first, again, other = fixed_shape(3, 9), fixed_shape(3, 9), fixed_shape(3, 9, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first.sentences, again.sentences, strict=True))
    assert not np.array_equal(first.sentences[0], other.sentences[0])
    assert not np.array_equal(first.sentences[0], first.sentences[1])
    assert (first.tokens, first.fixed) == (27, True)


def test_mixed_lengths_vary() -> None:
    workload = seeded_mixture()
    assert workload.name == "256 seeded sentences"
    assert all(np.array_equal(a, b) for a, b in zip(workload.sentences, seeded_mixture().sentences, strict=True))
    assert np.median([len(s) for s in workload.sentences]) == pytest.approx(22, abs=2)
    lengths = [len(s) for s in workload.sentences]
    assert min(lengths) >= 4
    assert max(lengths) <= 128
    assert len(set(lengths)) > 20
    assert not workload.fixed
    assert all(s[0] == inputs.CLS and s[-1] == inputs.SEP for s in workload.sentences)


def mixture(lengths: list[int], batch_size: int) -> Workload:
    sentences = tuple(np.arange(1, n + 1) + 100 * i for i, n in enumerate(lengths))
    return Workload("mixture", sentences, batch_size, fixed=False)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 9), st.booleans())
def test_padded_peers_give_each_sentence_its_own_states(lengths: list[int], batch_size: int, at_hand: bool) -> None:
    class Echo(OnnxRuntime):
        def forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
            return np.repeat(ids[:, :, None], 4, axis=2).astype(np.float32)

    workload = inputs.both_ways(mixture(lengths, batch_size))[at_hand]
    assert workload.at_hand == at_hand
    peer = Echo()
    prepared = peer.prepare(workload)
    answers = peer.answers(prepared, peer.run(prepared))
    assert [a.shape for a in answers] == [(n, 4) for n in lengths]
    assert all(np.array_equal(a[:, 0], s) for a, s in zip(answers, workload.sentences, strict=True))
    assert all(len(ids) <= batch_size for _, ids, _ in prepared)
    if not at_hand:
        assert [i for chunk, _, _ in prepared for i in chunk] == list(range(len(lengths)))
        return
    # Sorting: no batch holds a sentence longer than a later batch's shortest.
    longest = [mask.shape[1] for _, _, mask in prepared]
    assert longest == sorted(longest)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 9))
def test_packed_sentences_come_back_in_order(lengths: list[int], batch_size: int) -> None:
    class Model:
        config = Config.from_dict(DISTILBERT_BASE)

        def encode_packed(self, batch):  # type: ignore[no-untyped-def]
            return np.repeat(batch.input_ids[:, None], 4, axis=1).astype(np.float32)

    workload = mixture(lengths, batch_size)
    peer = Minidistil()
    peer._model = Model()
    prepared = peer.prepare(workload)
    answers = peer.answers(prepared, peer.run(prepared))
    assert len(answers) == len(lengths)
    assert all(np.array_equal(a[:, 0], s) for a, s in zip(answers, workload.sentences, strict=True))


def test_padding_is_masked() -> None:
    ids, mask = padded([np.array([5, 6, 7]), np.array([8])])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_files_of_text_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "a.tsv").write_text("one\t1\ntwo\t0\n")
    lines = "\n".join(json.dumps({"text": text, "label": 1}) for text in ("one", "two"))
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    for file in tmp_path.iterdir():
        assert read_texts(file) == ["one", "two"], file.name
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="no text"):
        read_texts(tmp_path / "empty.txt")


def test_texts_are_tokenized_and_cut(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, 1200, token_types=False)
    (tmp_path / "a.txt").write_text("the city of paris\n" + "the " * 50)
    workload = inputs.text_mixture(tmp_path / "a.txt", tmp_path / "tokenizer.json", limit=20)
    assert [len(s) for s in workload.sentences] == [6, 20]


def test_every_text_has_one_mask() -> None:
    workload = masked_texts(11)
    assert len(workload.texts) == 11
    assert all(text.count("[MASK]") == 1 and len(text.split()) >= 4 for text in workload.texts)
