"""MobileBERT, whose tokens are read with their neighbours: what a caller sees of it, and of its pooler."""

from __future__ import annotations

import functools
import tempfile
from typing import Any

import numpy as np
import pytest

import minidistil
from tests.bits import assert_same_bits
from tests.synthetic import MOBILEBERT_SMALL, tensors, write_checkpoint

IDS = np.random.default_rng(3).integers(3, 1200, (1, 9))
BARE = {**MOBILEBERT_SMALL, "architectures": ["MobileBertModel"]}


@functools.cache
def model(backend: str = "engine", **changes: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return minidistil.load(write_checkpoint(folder, {**BARE, **changes}), backend=backend, threads=2)


@pytest.mark.parametrize("backend", ["engine", "exact", "blas"])
@pytest.mark.parametrize("before", [0, 3])
def test_padding_is_nobodys_neighbour(backend: str, before: int) -> None:
    """Whatever stands in it, on either side."""
    alone = model(backend)(IDS).last_hidden_state
    for filling in (0, 7):
        ids, mask = np.full((2, 15), filling), np.zeros((2, 15), int)
        ids[0, before : before + 9], mask[0, before : before + 9] = IDS, 1
        ids[1], mask[1, :4] = 9, 1
        positions = np.broadcast_to(np.maximum(np.arange(15) - before, 0), (2, 15))
        padded = model(backend)(ids, mask, position_ids=positions).last_hidden_state
        if backend == "blas":
            np.testing.assert_allclose(padded[:1, before : before + 9], alone, rtol=0, atol=1e-5)
        else:
            assert_same_bits(np.ascontiguousarray(padded[:1, before : before + 9]), alone)


def test_tokens_dropped_from_the_middle_are_not_there_for_their_neighbours() -> None:
    mask = np.array([[1, 1, 1, 0, 0, 1, 1, 1, 1]])
    kept = mask[0].astype(bool)
    positions = np.arange(9)[None]
    without = model()(IDS[:, kept], position_ids=positions[:, kept]).last_hidden_state
    assert_same_bits(np.ascontiguousarray(model()(IDS, mask).last_hidden_state[:, kept]), without)


def test_a_neighbour_matters() -> None:
    """In the embeddings, of the tokens beside it and no further; but not without trigrams."""
    other = IDS.copy()
    other[0, 4] = 5
    for trigrams, changed in ((True, [3, 4, 5]), (False, [4])):
        first, second = (
            model(trigram_input=trigrams)(ids, output_hidden_states=True).hidden_states[0] for ids in (IDS, other)
        )
        assert np.flatnonzero((first != second).any(axis=2)[0]).tolist() == changed


def test_a_mask_for_every_pair_drops_no_neighbour() -> None:
    mask = np.ones((1, 1, 9, 9), bool)
    mask[..., 3] = False
    first, second = (model()(IDS, m, output_hidden_states=True).hidden_states[0] for m in (mask, np.ones((1, 9), int)))
    assert_same_bits(first, second)


def test_given_embeddings_are_as_narrow_as_words() -> None:
    words = tensors(BARE)["embeddings.word_embeddings.weight"]
    assert_same_bits(model()(inputs_embeds=words[IDS]).last_hidden_state, model()(IDS).last_hidden_state)
    with pytest.raises(ValueError, match=r"inputs_embeds must be \[sentences, tokens, 48\], got shape \(1, 9, 128\)"):
        model()(inputs_embeds=np.zeros((1, 9, 128), np.float32))


def test_the_pooler_is_a_product_or_nothing() -> None:
    out = model()(IDS)
    arrays = tensors(BARE)
    first = out.last_hidden_state[:, 0].astype(np.float64)
    want = np.tanh(first @ arrays["pooler.dense.weight"].T + arrays["pooler.dense.bias"])
    np.testing.assert_allclose(out.pooler_output, want, rtol=0, atol=2e-6)
    bare = model(classifier_activation=False)(IDS)
    assert_same_bits(bare.pooler_output, np.ascontiguousarray(bare.last_hidden_state[:, 0]))


def test_shapes_of_what_is_returned() -> None:
    out = model()(IDS, output_hidden_states=True, output_attentions=True)
    assert [state.shape for state in out.hidden_states] == [(1, 9, 128)] * 3
    assert [maps.shape for maps in out.attentions] == [(1, 4, 9, 9)] * 2
    for maps in out.attentions:
        np.testing.assert_allclose(maps.sum(axis=3), 1, rtol=0, atol=1e-6)
    assert model().config.head_dim == 16


@pytest.mark.parity
def test_transformers_reads_padding_as_a_neighbour() -> None:
    """Why a padded batch of transformers differs from ours, and a sentence that is alone does not."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch: install the extra `parity`")
    transformers = pytest.importorskip("transformers", reason="compares with transformers: install the extra `parity`")
    config = {k: v for k, v in BARE.items() if k not in ("architectures", "model_type", "tie_weights_")}
    theirs = transformers.MobileBertModel(transformers.MobileBertConfig(**config)).eval()
    theirs.load_state_dict({name: torch.from_numpy(x) for name, x in tensors(BARE).items()}, strict=False)
    ids = np.pad(IDS, ((0, 0), (0, 3)))
    mask = np.pad(np.ones_like(IDS), ((0, 0), (0, 3)))
    with torch.inference_mode():
        alone = theirs(torch.from_numpy(IDS)).last_hidden_state.numpy()
        padded = theirs(torch.from_numpy(ids), torch.from_numpy(mask)).last_hidden_state.numpy()[:, :9]
    for got in (model()(IDS).last_hidden_state, model()(ids, mask).last_hidden_state[:, :9]):
        np.testing.assert_allclose(got, alone, rtol=0, atol=2e-6 * np.abs(alone).max())
    assert np.abs(padded - alone).max() > 0.1
