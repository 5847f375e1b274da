"""Checkpoints with faults: every fault by its text, all of a checkpoint at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidistil.weights import CheckpointError, open_checkpoint, read_model
from minidistil.weights._storage import count_nonfinite
from tests.synthetic import tensors
from tests.weights import files
from tests.weights.files import read

Tensors = dict[str, np.ndarray]

Q_LIN = "distilbert.transformer.layer.0.attention.q_lin.weight"
WORDS = "distilbert.embeddings.word_embeddings.weight"


def all_of(*changes: Callable[[dict, Tensors], None]) -> Callable[[dict, Tensors], None]:
    def change(config: dict, arrays: Tensors) -> None:
        for one in changes:
            one(config, arrays)

    return change


def remove(*names: str) -> Callable[[dict, Tensors], None]:
    def change(config: dict, arrays: Tensors) -> None:
        for name in names:
            del arrays[name]

    return change


def rename(name: str, new: str) -> Callable[[dict, Tensors], None]:
    return lambda config, arrays: arrays.update({new: arrays.pop(name)})


def put(name: str, x: np.ndarray) -> Callable[[dict, Tensors], None]:
    return lambda config, arrays: arrays.update({name: x})


def say(**values: object) -> Callable[[dict, Tensors], None]:
    return lambda config, arrays: config.update(values)


def forget(*keys: str) -> Callable[[dict, Tensors], None]:
    def change(config: dict, arrays: Tensors) -> None:
        for key in keys:
            del config[key]

    return change


def spoil(name: str, *values: float) -> Callable[[dict, Tensors], None]:
    def change(config: dict, arrays: Tensors) -> None:
        arrays[name].reshape(-1)[: len(values)] = values

    return change


def layer(i: int, *, to: int | None = None) -> Callable[[dict, Tensors], None]:
    """Remove layer i, or call it `to`."""

    def change(config: dict, arrays: Tensors) -> None:
        for name in [name for name in arrays if f".layer.{i}." in name]:
            x = arrays.pop(name)
            if to is not None:
                arrays[name.replace(f".layer.{i}.", f".layer.{to}.")] = x

    return change


MISSPELT = Q_LIN.replace("q_lin", "q_line")
FAULTS: dict[str, tuple[Callable[[dict, Tensors], None], list[str]]] = {
    "missing": (remove(Q_LIN, "vocab_layer_norm.bias"), [f"missing tensors (2): {Q_LIN}, vocab_layer_norm.bias"]),
    "misspelt": (rename(Q_LIN, MISSPELT), [f"missing tensors (1): {Q_LIN}", f"unexpected tensors (1): {MISSPELT}"]),
    "misspelt head": (
        rename("vocab_transform.bias", "vocab_transfrom.bias"),
        ["missing tensors (1): vocab_transform.bias", "unexpected tensors (1): vocab_transfrom.bias"],
    ),
    "unexpected": (
        put("distilbert.transformer.layer.1.attention.rel.weight", np.ones(3, "f4")),
        ["unexpected tensors (1): distilbert.transformer.layer.1.attention.rel.weight"],
    ),
    "twice": (
        put(WORDS.removeprefix("distilbert."), np.ones((23, 8), "f4")),
        [f"{WORDS} and {WORDS.removeprefix('distilbert.')} are the same parameter"],
    ),
    "mis-shaped": (put(Q_LIN, np.ones((8, 9), "f4")), [f"{Q_LIN} is [8, 9], expected [8, 8] (dim, dim)"]),
    "the first of them": (
        put(WORDS, np.ones((23, 9), "f4")),
        [f"{WORDS} is [23, 9], expected [23, 8] (vocab_size, dim)"],
    ),
    "rank": (put(Q_LIN, np.ones(64, "f4")), [f"{Q_LIN} is [64], expected [8, 8] (dim, dim)"]),
    "scalar": (put(Q_LIN, np.float32(1).reshape(())), [f"{Q_LIN} is [], expected [8, 8] (dim, dim)"]),
    "integers": (put(Q_LIN, np.ones((8, 8), "i2")), [f"{Q_LIN} is stored as I16; weights are read from F64, F32"]),
    "whole numbers": (
        put(Q_LIN, np.ones((8, 8), "i1")),
        [f"tensors stored as I8, and config.json has no quantization_config to say what they are (1): {Q_LIN}"],
    ),
    "NaN": (spoil(Q_LIN, np.nan, np.inf, -np.inf), ["NaN or infinity in 1 tensors", f"{Q_LIN} (3 of 64 values)"]),
    "NaN in two": (
        all_of(spoil(Q_LIN, np.nan), spoil("vocab_projector.bias", np.nan)),
        ["NaN or infinity in 2 tensors", f"{Q_LIN} (1 of 64 values)", "vocab_projector.bias (1 of 23 values)"],
    ),
    "overflow to infinity": (
        put(Q_LIN, np.full((8, 8), 1e300)),
        ["NaN or infinity in 1 tensors", f"{Q_LIN} (64 of 64 values)"],
    ),
    "dim": (say(dim=16), [f"config.json: dim = 16, but the tensors say 8: {WORDS} is [23, 8] and"]),
    "dim by its alias": (
        all_of(forget("dim"), say(hidden_size=16)),
        ["config.json: hidden_size = 16, but the tensors say 8"],
    ),
    "hidden_dim": (
        say(hidden_dim=13),
        ["config.json: hidden_dim = 13, but the tensors say 12", "ffn.lin1.weight is [12, 8]"],
    ),
    "vocab_size": (
        say(vocab_size=30522),
        [f"vocab_size = 30522, but the tensors say 23: {WORDS} is [23, 8] and 1 more"],
    ),
    "positions": (
        say(max_position_embeddings=512),
        ["max_position_embeddings = 512, but the tensors say 11", "position_embeddings.weight is [11, 8]"],
    ),
    "more layers": (say(n_layers=6), ["n_layers = 6, but the tensors say 2: transformer.layer.N for N from 0 to 1"]),
    "millions of layers": (say(n_layers=2**31 - 1), ["n_layers = 2147483647, but the tensors say 2"]),
    "fewer layers": (say(n_layers=1), ["n_layers = 1, but the tensors say 2: transformer.layer.N for N from 0 to 1"]),
    "layer missing": (layer(0), ["n_layers = 2, but the tensors say 1: transformer.layer.N for N = 1"]),
    "layer renumbered": (layer(1, to=7), ["n_layers = 2, but the tensors say 2: transformer.layer.N for N = 0, 7"]),
    "no layers": (
        all_of(layer(0), layer(1)),
        ["n_layers = 2, but the tensors say none: nothing is named transformer.layer.N"],
    ),
    "heads": (say(n_heads=3), ["config.json: n_heads = 3 does not divide dim = 8"]),
    "no heads": (say(n_heads=0), ["config.json: n_heads = 0, expected a whole number of at least 1"]),
    "fraction": (say(dim=8.0), ["config.json: dim = 8.0, expected a whole number of at least 1"]),
    "true": (say(n_layers=True), ["config.json: n_layers = True, expected a whole number"]),
    "text": (say(vocab_size="23"), ["config.json: vocab_size = '23', expected a whole number"]),
    "null": (say(vocab_size=None), ["config.json: vocab_size = None, expected a whole number"]),
    "lacking keys": (forget("dim", "n_heads"), ["config.json lacks n_heads", "config.json lacks dim"]),
    "activation": (say(activation="gelo"), ["activation = gelo is unknown; known are gelu, gelu_new, gelu_fast"]),
    "ties": (say(tie_word_embeddings="no"), ["tie_word_embeddings = 'no', expected true or false"]),
    "model_type": (
        say(model_type="gpt2"),
        ["model_type gpt2 is not supported; supported are albert, bert, camembert, distilbert, electra, mobilebert, "],
    ),
    "odd model_type": (say(model_type=["bert"]), ["model_type ['bert'] is not supported"]),
    "no model_type": (
        forget("model_type"),
        ["config.json: has no model_type; supported are albert, bert, camembert, distilbert, electra, mobilebert, "],
    ),
    "everything": (
        all_of(
            spoil("vocab_projector.bias", np.nan),
            rename(Q_LIN, MISSPELT),
            put("vocab_transform.weight", np.ones((8, 7), "f4")),
            say(n_heads=3, max_position_embeddings=12),
        ),
        [
            "n_heads = 3 does not divide dim = 8",
            "max_position_embeddings = 12, but the tensors say 11",
            "vocab_transform.weight is [8, 7], expected [8, 8]",
            "vocab_projector.bias (1 of 23 values)",
            f"missing tensors (1): {Q_LIN}",
            f"unexpected tensors (1): {MISSPELT}",
            "6 faults",
        ],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    change, messages = FAULTS[fault]
    config, arrays = dict(files.DISTILBERT), tensors(files.DISTILBERT)
    change(config, arrays)
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, config, arrays)
    for message in messages:
        assert message in str(error.value)
    expected = sum(not message.endswith("faults") for message in messages)
    assert len(error.value.faults) <= expected, f"a fault that is none, or one said twice: {error.value}"


BERT_FAULTS = {
    "epsilon": ({"layer_norm_eps": -1e-12}, "layer_norm_eps = -1e-12, expected a number"),
    "epsilon NaN": ({"layer_norm_eps": float("nan")}, "config.json is not valid JSON: NaN is not JSON"),
    "relative positions": ({"position_embedding_type": "relative_key"}, "relative_key is not supported"),
    "decoder": ({"is_decoder": True}, "is_decoder = True is not supported; expected False"),
    "token types": ({"type_vocab_size": 4}, "type_vocab_size = 4, but the tensors say 2"),
}


@pytest.mark.parametrize("fault", BERT_FAULTS)
def test_bert_faults(tmp_path: Path, fault: str) -> None:
    values, message = BERT_FAULTS[fault]
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, {**files.BERT, **values}, tensors(files.BERT))
    assert message in str(error.value)
    assert len(error.value.faults) == 1


def test_finiteness_can_be_left_unchecked(tmp_path: Path) -> None:
    arrays = tensors(files.DISTILBERT)
    arrays[Q_LIN][0, 0] = np.nan
    checkpoint = open_checkpoint(files.write_model(tmp_path, files.DISTILBERT, arrays))
    assert np.isnan(read_model(checkpoint, check_finite=False).encoder.layers[0].q_lin.weight[0, 0])


class TestCountNonfinite:
    @given(hnp.arrays(np.float32, st.integers(0, 300), elements=st.floats(width=32)))
    def test_against_numpy(self, x: np.ndarray) -> None:
        assert count_nonfinite(x) == np.count_nonzero(~np.isfinite(x))

    @pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
    def test_one_anywhere(self, value: float) -> None:
        x = np.random.default_rng(0).standard_normal(100_003, dtype=np.float32)
        for position in (0, 1, 63, 64, 50_001, 100_001, 100_002):
            changed = x.copy()
            changed[position] = value
            assert count_nonfinite(changed) == 1
        assert count_nonfinite(x) == 0

    def test_large_values_are_finite(self) -> None:
        assert count_nonfinite(np.full((100, 100), 3e38, np.float32)) == 0
        assert count_nonfinite(np.full((100, 100), 1e-45, np.float32)) == 0
        assert count_nonfinite(np.float32([[3e38, np.inf], [-3e38, -np.inf]])) == 2
