"""Products in int8 whose file keeps some columns in float32: what is written is read; and every fault of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.named import modules
from minidistil.weights.narrow import Int8Linear
from tests.weights import quantized
from tests.weights.quantized import bits
from tests.weights.test_faults import all_of, put, remove, spoil
from tests.weights.test_quantized_faults import (
    KEPT,
    LAYER,
    LIN1,
    SCALE,
    SMOOTH,
    WORDS,
    Change,
    K,
    Q,
    Tensors,
    V,
    check,
    floats,
    ignore,
    smooth,
)
from tests.weights.test_quantized_files import WRITTEN, source


@pytest.mark.parametrize("name", WRITTEN)
def test_columns_in_float32(tmp_path: Path, name: str) -> None:
    """Of every family, in several products, of queries, keys and values the same; and of an own projection."""
    made = quantized.keeping(quantized.in_int8(source(tmp_path, WRITTEN[name])))
    folder = quantized.write(tmp_path, WRITTEN[name], made)
    opened = open_checkpoint(folder)
    found = read_model(opened)
    assert bits(found) == bits(made)
    linears = [part for _, part in modules(found) if isinstance(part, Int8Linear) and part.kept is not None]
    assert {len(w.columns) for w in linears} == {1, 2, 3}
    tied = WRITTEN[name].get("tie_word_embeddings", True)
    projector = found.masked_lm and found.masked_lm.vocab_projector
    if isinstance(projector, Int8Linear):
        assert (projector.kept is None) == tied
    stored = [stored for stored in opened.names if stored.endswith(".weight_kept")]
    assert len({id(w) for w in linears}) == len(stored)
    for kept in stored:
        smooth = opened.read(kept.replace("weight_kept", "input_smooth"))
        rows = opened.stored(kept.replace("weight_kept", "weight"))[1][0]
        assert opened.stored(kept) == ("F32", (rows, np.count_nonzero(smooth == 0)))


def keep(name: str, *columns: int) -> Change:
    """Columns in float32."""

    def change(config: dict, arrays: Tensors) -> None:
        rows, width = arrays[f"{name}.weight"].shape
        arrays[f"{name}.input_smooth"] = np.where(np.isin(np.arange(width), columns), 0, 1).astype(np.float32)
        arrays[f"{name}.weight_kept"] = np.ones((rows, len(columns)), np.float32)

    return change


FAULTS: dict[str, tuple[Change, list[str]]] = {
    "smooth negative": (
        all_of(smooth(LIN1, first=-1.0), put(KEPT, np.ones((12, 1), "f4"))),
        [f"{SMOOTH} has of 8 values 1 negative; expected numbers above zero"],
    ),
    "kept, and smooth faulty": (
        all_of(keep(LIN1, 0, 3), spoil(SMOOTH, np.nan), spoil(KEPT, np.inf)),
        [f"{SMOOTH} has of 8 values 1 NaN; expected", f"{KEPT} has of 24 values 1 NaN or infinite"],
    ),
    "kept, and nothing smoothed": (
        put(KEPT, np.ones((12, 1), "f4")),
        [f"{KEPT} has the weights of columns where input_smooth is zero, which it is nowhere: write zeros"],
    ),
    "kept, and no zeros": (
        all_of(smooth(LIN1), put(KEPT, np.ones((12, 1), "f4"))),
        [f"{KEPT} has the weights of columns where input_smooth is zero, which it is nowhere: write zeros"],
    ),
    "kept, and of no columns": (
        all_of(smooth(LIN1), put(KEPT, np.ones((12, 0), "f4"))),
        [f"{KEPT} has the weights of columns where input_smooth is zero, which it is nowhere: write zeros"],
    ),
    "kept too many": (
        all_of(keep(LIN1, 0, 3), put(KEPT, np.ones((12, 8), "f4"))),
        [f"{KEPT} is [12, 8], expected [12, 2]"],
    ),
    "kept too few": (
        all_of(keep(LIN1, 0, 3), put(KEPT, np.ones((12, 1), "f4"))),
        [f"{KEPT} is [12, 1], expected [12, 2]"],
    ),
    "kept of columns": (
        all_of(keep(LIN1, 0, 3), put(KEPT, np.ones((2, 12), "f4"))),
        [f"{KEPT} is [2, 12], expected [12, 2]"],
    ),
    "kept flat": (
        all_of(keep(LIN1, 0), put(KEPT, np.ones(12, "f4"))),
        [f"{KEPT} is [12], expected [12, 1]"],
    ),
    "kept whole": (
        all_of(keep(LIN1, 0), put(KEPT, np.ones((12, 1), "i1"))),
        [f"{KEPT} is stored as I8; it is read from F64, F32, F16, BF16"],
    ),
    "kept NaN": (
        all_of(keep(LIN1, 0, 3), spoil(KEPT, np.nan, np.inf, -np.inf)),
        [f"{KEPT} has of 24 values 3 NaN or infinite"],
    ),
    "kept beyond float32": (
        all_of(keep(LIN1, 0, 3), put(KEPT, np.full((12, 2), 1e39))),
        [f"{KEPT} has of 24 values 24 NaN or infinite"],
    ),
    "kept beside float32": (
        all_of(floats(LIN1), ignore(LIN1), put(KEPT, np.ones((12, 1), "f4"))),
        [f"tensors that belong to nothing quantized (1): {KEPT}"],
    ),
    "kept of a table": (
        all_of(smooth(WORDS, first=0.0), put(f"{WORDS}.weight_kept", np.ones((23, 1), "f4"))),
        [f"tensors that belong to nothing quantized (2): {WORDS}.input_smooth, {WORDS}.weight_kept"],
    ),
    "kept of the tied": (
        all_of(
            put("vocab_projector.input_smooth", np.zeros(8, "f4")),
            put("vocab_projector.weight_kept", np.ones((23, 8), "f4")),
        ),
        [
            "tensors that belong to nothing quantized (2): vocab_projector.input_smooth, vocab_projector.weight_kept",
        ],
    ),
    "kept of a norm": (
        put(f"{LAYER}.sa_layer_norm.weight_kept", np.ones((8, 1), "f4")),
        [f"unexpected tensors (1): {LAYER}.sa_layer_norm.weight_kept"],
    ),
    "kept of one": (
        keep(K, 0),
        [f"{Q}, {K}, {V} are one product: their input_smooth must be equal, or none be there"],
    ),
    "other columns kept": (
        all_of(keep(Q, 0), keep(K, 1), keep(V, 0)),
        [f"{Q}, {K}, {V} are one product: their input_smooth must be equal, or none be there"],
    ),
    "kept of two": (
        all_of(keep(Q, 0), keep(K, 0), keep(V, 0), remove(f"{K}.weight_kept")),
        [f"{K}.input_smooth keeps columns in float32 by its zeros (1), and their weights are missing: add {K}.weight"],
    ),
    "kept beyond float32 by its scale": (
        all_of(keep(LIN1, 0), spoil(SCALE, 3e36)),
        [f"{LIN1}.weight stands for numbers beyond float32, by its weight_scale"],
    ),
    "kept of what has no scale": (
        all_of(keep(LIN1, 0), spoil(KEPT, np.nan), remove(SCALE)),
        [f"missing tensors (1): {SCALE}", f"{KEPT} has of 12 values 1 NaN or infinite"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    check(tmp_path, *FAULTS[fault])
