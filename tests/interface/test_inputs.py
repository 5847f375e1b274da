"""What callers pass: refused with a message that helps, or packed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidistil.config import Config
from minidistil.inputs import pack_sentences, prepare, token_batches
from tests.synthetic import ALBERT_SMALL, BERT_SMALL, DISTILBERT_SMALL, ROBERTA_SMALL

DISTILBERT = Config.from_dict({**DISTILBERT_SMALL, "max_position_embeddings": 20})
BERT = Config.from_dict({**BERT_SMALL, "max_position_embeddings": 20})
IDS = [[1, 2, 3], [4, 5, 6]]
ZEROS = np.zeros((2, 3), np.int64)

# What is passed (input_ids are IDS unless said otherwise) -> what the message must say.
REFUSED = [
    ({"input_ids": None}, ValueError, "exactly one of input_ids and inputs_embeds is needed, got neither"),
    ({"inputs_embeds": np.zeros((2, 3, 128), np.float32)}, ValueError, "got both"),
    ({"input_ids": [[1, 2], [3, 1200]]}, ValueError, "input_ids[1, 1] is 1200, out of range: the vocabulary has 1200"),
    ({"input_ids": [[1, -100], [-100, 1]]}, ValueError, "input_ids[0, 1] is -100 (and 1 more)"),
    ({"input_ids": [[1.0, 2.0]]}, TypeError, "input_ids must be integers, got float64"),
    ({"input_ids": [[True, False]]}, TypeError, "input_ids must be integers, got bool"),
    ({"input_ids": ["Paris"]}, TypeError, "input_ids holds text"),
    ({"input_ids": [[None, 1]]}, TypeError, "must be an array of numbers"),
    ({"input_ids": {"input_ids": IDS}}, TypeError, "model(**inputs)"),
    ({"input_ids": [[1, 2], [3]]}, ValueError, "input_ids does not form a rectangle"),
    ({"input_ids": [1, 2, 3]}, ValueError, "for one sentence pass [ids]"),
    ({"input_ids": [[[1]]]}, ValueError, "input_ids must be 2-D [sentences, tokens], got shape (1, 1, 1)"),
    ({"input_ids": 7}, ValueError, "input_ids must be 2-D"),
    ({"input_ids": np.ones((1, 21), int)}, ValueError, "21 tokens long, this model has 20 positions"),
    ({"input_ids": np.ones((2, 0), int)}, ValueError, "sentences without tokens"),
    ({"input_ids": None, "inputs_embeds": np.zeros((2, 3))}, ValueError, "[sentences, tokens, 128], got shape (2, 3)"),
    ({"input_ids": None, "inputs_embeds": np.zeros((2, 3, 64))}, ValueError, "[sentences, tokens, 128]"),
    ({"input_ids": None, "inputs_embeds": np.zeros((2, 3, 128), int)}, TypeError, "must be floats, got int64"),
    ({"attention_mask": [1, 1, 1]}, ValueError, "attention_mask must be 2-D [2, 3]"),
    ({"attention_mask": np.ones((2, 3, 3))}, ValueError, "got shape (2, 3, 3)"),
    ({"attention_mask": np.ones((2, 4))}, ValueError, "the shape of the sentences, [2, 3], got [2, 4]"),
    ({"attention_mask": np.ones((1, 3))}, ValueError, "the shape of the sentences, [2, 3], got [1, 3]"),
    ({"attention_mask": [[1, 1, 0], [0, 0, 0]]}, ValueError, "attends no token of sentence 1"),
    ({"attention_mask": [[0.0, 0.0, -1e9], [0.0, 0.0, 0.0]]}, ValueError, "negative or NaN values"),
    ({"attention_mask": [[1.0, 1.0, np.nan], [1.0, 1.0, 1.0]]}, ValueError, "negative or NaN values"),
    ({"attention_mask": np.ones((2, 1, 3, 4), bool)}, ValueError, "a 4-D attention_mask must be [2 or 1, 4 or 1"),
    (
        {"attention_mask": np.ones((2, 3, 3, 3), bool)},
        ValueError,
        "(sentences, heads, queries, keys), got [2, 3, 3, 3]",
    ),
    ({"attention_mask": np.ones((2, 1, 3, 3), int)}, TypeError, "4-D attention_mask of int64 is ambiguous"),
    ({"attention_mask": np.zeros((2, 1, 3, 3), bool)}, ValueError, "leaves query 0 of sentence 0 nothing"),
    ({"attention_mask": np.full((1, 1, 1, 3), np.nan)}, ValueError, "cannot hold NaN or +infinity"),
    ({"attention_mask": np.full((1, 1, 1, 3), np.inf)}, ValueError, "cannot hold NaN or +infinity"),
    ({"token_type_ids": ZEROS + 1}, ValueError, "distilbert has no token types"),
    ({"token_type_ids": np.zeros((2, 2), int)}, ValueError, "token_type_ids must have the shape of the sentences"),
    ({"token_type_ids": np.zeros((2, 3))}, TypeError, "token_type_ids must be integers"),
    ({"position_ids": ZEROS + 20}, ValueError, "position_ids[0, 0] is 20 (and 5 more), out of range"),
    ({"position_ids": ZEROS - 1}, ValueError, "this model has 20 positions, 0 to 19"),
    ({"position_ids": np.zeros((2, 4), int)}, ValueError, "position_ids must have the shape of the sentences"),
]


@pytest.mark.parametrize(("passed", "kind", "message"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_refused(passed: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        prepare(DISTILBERT, **{"input_ids": IDS, **passed})


def test_token_types_of_bert_are_checked() -> None:
    batch = prepare(BERT, IDS, token_type_ids=[[0, 1, 1], [0, 0, 1]]).batch
    assert batch.token_type_ids is not None
    assert batch.token_type_ids.tolist() == [0, 1, 1, 0, 0, 1]
    with pytest.raises(ValueError, match=re.escape("token_type_ids[0, 2] is 2, out of range: this model has 2 token")):
        prepare(BERT, IDS, token_type_ids=[[0, 1, 2], [0, 0, 0]])


def test_distilbert_takes_token_types_that_are_all_zero() -> None:
    assert prepare(DISTILBERT, IDS, token_type_ids=ZEROS).batch.token_type_ids is None


@pytest.mark.parametrize("mask", [None, np.ones((2, 3)), [[1, 1, 1], [2, 7, 1]], np.ones((2, 3), bool)])
def test_nothing_is_copied_around_where_all_is_attended(mask: object) -> None:
    inputs = prepare(DISTILBERT, IDS, mask)
    assert inputs.kept is None
    assert inputs.batch.input_ids is not None
    assert inputs.batch.input_ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert inputs.batch.position_ids.tolist() == [0, 1, 2, 0, 1, 2]
    assert inputs.batch.offsets.tolist() == [0, 3, 6]
    assert inputs.batch.input_ids.dtype == inputs.batch.position_ids.dtype == np.int32


def test_left_padding_shifts_positions() -> None:
    batch = prepare(DISTILBERT, IDS, [[0, 1, 1], [1, 0, 1]]).batch
    assert batch.input_ids is not None
    assert batch.input_ids.tolist() == [2, 3, 4, 6]
    assert batch.position_ids.tolist() == [1, 2, 0, 2]
    assert batch.offsets.tolist() == [0, 2, 4]


@pytest.mark.parametrize("positions", [[[2, 0, 1]] * 2, [[2, 0, 1]], [2, 0, 1]])
def test_position_ids_spread_over_the_batch(positions: list) -> None:
    assert prepare(DISTILBERT, IDS, position_ids=positions).batch.position_ids.tolist() == [2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize("shape", [(4, 1), (1, 4), (4, 3), (1, 1)])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_backends_get_arrays_without_strides(shape: tuple[int, int], dtype: type) -> None:
    """Columns and steps of other arrays, and rows that stand for several: backends read by address."""
    B, S = shape
    wide = np.arange(4 * B * 3 * S, dtype=dtype).reshape(4 * B, 3 * S) % 1000
    ids, types = wide[::4, ::3], np.broadcast_to(dtype(1), (1, S))
    batch = prepare(BERT, ids, token_type_ids=types, position_ids=np.broadcast_to(dtype(7), S)).batch
    for array, want in (
        (batch.input_ids, ids),
        (batch.token_type_ids, np.ones(shape)),
        (batch.position_ids, np.full(shape, 7)),
        (prepare(BERT, ids).batch.position_ids, np.tile(np.arange(S), (B, 1))),
    ):
        assert array.flags.c_contiguous
        assert array.dtype == np.int32
        assert array.tolist() == want.reshape(-1).tolist()
    embeds = prepare(BERT, inputs_embeds=np.broadcast_to(np.float32(2), (B, S, 128))).batch.inputs_embeds
    assert embeds.flags.c_contiguous


@pytest.mark.parametrize("ids", [[], np.zeros((0, 5), np.int64), np.zeros((0, 0), np.int32)])
def test_no_sentences(ids: object) -> None:
    inputs = prepare(DISTILBERT, ids, ids)
    assert inputs.sentences == 0
    assert inputs.batch.tokens == 0


def test_four_dimensional_masks_become_biases() -> None:
    causal = np.tril(np.ones((3, 3), bool))[None, None]
    bias = prepare(DISTILBERT, IDS, causal).batch.attention_bias
    assert bias is not None
    assert bias.shape == (2, 1, 3, 3)
    assert bias.dtype == np.float32
    assert np.array_equal(bias == 0, np.broadcast_to(causal, bias.shape))
    assert np.all(np.isneginf(bias) | (bias == 0))
    added = np.linspace(-5, 5, 2 * 4 * 3, dtype=np.float64).reshape(2, 4, 1, 3)
    bias = prepare(DISTILBERT, IDS, added).batch.attention_bias
    assert np.array_equal(bias, np.broadcast_to(added, (2, 4, 3, 3)).astype(np.float32))


def test_anything_that_numpy_reads_is_an_array() -> None:
    class Tensor:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return np.array(IDS, np.uint8)

    batch = prepare(DISTILBERT, Tensor()).batch
    assert batch.input_ids is not None
    assert batch.input_ids.tolist() == [1, 2, 3, 4, 5, 6]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_packing_keeps_the_attended_tokens_and_unpack_puts_them_back(data: st.DataObject) -> None:
    B, S = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))
    ids = data.draw(hnp.arrays(np.int64, (B, S), elements=st.integers(0, 1199)))
    mask = data.draw(hnp.arrays(bool, (B, S)))
    mask[np.arange(B), data.draw(hnp.arrays(np.int64, B, elements=st.integers(0, S - 1)))] = True
    inputs = prepare(BERT, ids, mask, token_type_ids=ids % 2)
    batch = inputs.batch
    for b in range(B):
        rows = slice(batch.offsets[b], batch.offsets[b + 1])
        assert batch.input_ids is not None
        assert batch.token_type_ids is not None
        assert batch.input_ids[rows].tolist() == ids[b][mask[b]].tolist()
        assert batch.position_ids[rows].tolist() == np.flatnonzero(mask[b]).tolist()
        assert batch.token_type_ids[rows].tolist() == (ids[b][mask[b]] % 2).tolist()
    packed = np.arange(1, batch.tokens * 2 + 1, dtype=np.float32).reshape(-1, 2)
    padded = inputs.unpack(packed)
    assert padded.shape == (B, S, 2)
    assert np.array_equal(padded[mask], packed)
    assert not padded[~mask].any()
    lengths = mask.sum(axis=1)
    maps = tuple(np.full((4, n, n), b + 1, np.float32) for b, n in enumerate(lengths))
    spread = inputs.unpack_attention(maps, 4)
    assert spread.shape == (B, 4, S, S)
    both = mask[:, None, :, None] & mask[:, None, None, :] & np.ones((1, 4, 1, 1), bool)
    assert np.array_equal(spread, np.where(both, np.arange(1, B + 1)[:, None, None, None], 0))


@given(st.lists(st.integers(1, 12), max_size=30), st.integers(1, 20), st.one_of(st.none(), st.integers(1, 5)))
def test_token_batches_cover_everything_once_within_the_budget(
    lengths: list[int], budget: int, most: int | None
) -> None:
    runs = list(token_batches(lengths, budget, most))
    assert [i for run in runs for i in range(run.start, run.stop)] == list(range(len(lengths)))
    for run in runs:
        size = run.stop - run.start
        assert size >= 1
        assert size == 1 or sum(lengths[run]) <= budget
        assert most is None or size <= most


ROBERTA = Config.from_dict({**ROBERTA_SMALL, "max_position_embeddings": 20})
TEXT = [[0, 7, 1, 8, 1], [1, 1, 0, 9, 2]]  # 1 is padding: within a text, at its end, and before it
COUNTED = [[2, 3, 1, 4, 1], [1, 1, 2, 3, 4]]


def test_positions_that_skip_padding() -> None:
    """RoBERTa's: from the padding's id + 1 on, as the ids alone say; the mask has no part in it."""
    assert prepare(ROBERTA, TEXT).batch.position_ids.reshape(2, 5).tolist() == COUNTED
    masked = prepare(ROBERTA, TEXT, [[1, 1, 0, 1, 0], [0, 0, 1, 1, 1]]).batch
    assert masked.position_ids.tolist() == [2, 3, 4, 2, 3, 4]
    unmasked_padding = prepare(ROBERTA, TEXT, [[0, 1, 1, 1, 0], [1, 0, 1, 1, 1]]).batch
    assert unmasked_padding.position_ids.tolist() == [3, 1, 4, 1, 2, 3, 4]
    packed = pack_sentences(ROBERTA, [np.array(ids, np.int32) for ids in TEXT])
    assert packed.position_ids.tolist() == COUNTED[0] + COUNTED[1]
    assert packed.position_ids.dtype == np.int32


def test_positions_without_ids_and_given() -> None:
    embeds = np.zeros((2, 3, 128), np.float32)
    assert prepare(ROBERTA, inputs_embeds=embeds).batch.position_ids.tolist() == [2, 3, 4, 2, 3, 4]
    assert prepare(ROBERTA, [[5, 6]], position_ids=[[0, 19]]).batch.position_ids.tolist() == [0, 19]


def test_the_longest_sentence_leaves_room_for_padding() -> None:
    prepare(ROBERTA, np.full((1, 18), 5))
    with pytest.raises(ValueError, match="19 tokens long, this model has 18 positions"):
        prepare(ROBERTA, np.full((1, 19), 5))


def test_embeddings_are_as_wide_as_the_tables() -> None:
    albert = Config.from_dict(ALBERT_SMALL)
    assert prepare(albert, inputs_embeds=np.zeros((1, 2, 48), np.float32)).batch.inputs_embeds.shape == (2, 48)
    assert prepare(albert, inputs_embeds=np.zeros((0, 2, 48), np.float32)).batch.inputs_embeds.shape == (0, 48)
    with pytest.raises(ValueError, match=r"inputs_embeds must be \[sentences, tokens, 48\], got shape \(1, 2, 128\)"):
        prepare(albert, inputs_embeds=np.zeros((1, 2, 128), np.float32))


def test_pack_sentences() -> None:
    batch = pack_sentences(DISTILBERT, [np.array([7, 8], np.int32), np.array([9], np.int32)])
    assert batch.input_ids is not None
    assert batch.input_ids.tolist() == [7, 8, 9]
    assert batch.position_ids.tolist() == [0, 1, 0]
    assert batch.offsets.tolist() == [0, 2, 3]
