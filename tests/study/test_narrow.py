"""Models of weights in bfloat16 and int8 are traced and explained: with the bits of what they compute, and as that."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.backends.reference import int8
from minidistil.backends.reference.elementary import fma
from minidistil.study import explain, origin, portions, trace
from minidistil.study.answers import Following
from minidistil.study.interventions import heads_off
from minidistil.study.patterns import attention
from minidistil.study.tables import shortest
from minidistil.weights.narrow import Int8Linear
from minidistil.weights.packing import pack_again, pack_model
from tests.bits import assert_same_bits
from tests.heads import HEADS
from tests.study.conftest import KEPT, MASKED_LM, TEXT, class_name

NAMED = {head.name: head for head in HEADS}
SOME = [*MASKED_LM, NAMED["DistilBertForSequenceClassification"]]
NARROW = {"bfloat16": {"precision": "bfloat16"}, "int8": {"precision": "int8"}, "int8, columns kept": {"kept": True}}


def pairs(keys):
    """Each with each precision that it can have."""
    return [pytest.param(key, name, id=f"{class_name(key)}-{name}") for key in keys for name in NARROW]


@pytest.mark.parametrize(("key", "weights"), pairs(SOME))
def test_a_trace_has_the_bits_of_the_engine_and_tells_them(load, key, weights):
    model = load(key, threads=1, **NARROW[weights])
    output = model(**model.tokenizer(TEXT, return_tensors="np"), output_hidden_states=True)
    found = trace(model, TEXT)
    for name, state in zip(found.hidden_states, output.hidden_states, strict=True):
        assert_same_bits(found[name], state[0], name)
    assert_same_bits(found["logits"].reshape(-1), output.logits.reshape(-1), "logits")
    again = trace(load(key, backend="exact", **NARROW[weights]), TEXT)
    plain = trace(load(key, threads=1), TEXT)
    assert list(found) == list(again) == list(plain)  # the names stay the checkpoint's
    kinds = {made.kind for made in found.made.values()}
    assert ("whole-number product" in kinds) == (weights != "bfloat16")
    assert (KEPT in kinds) == (weights == "int8, columns kept")
    for name, value in found.items():
        assert_same_bits(value, again[name], name)
        for at in {(0,) * value.ndim, tuple(size - 1 for size in value.shape)}:
            told = origin(found, name, at)
            assert told.agrees, (name, at)
            assert np.float32(told.value.value) == value[at]


@pytest.mark.parametrize(("key", "weights"), pairs([MASKED_LM[0], MASKED_LM[5], MASKED_LM[7]]))
def test_a_head_is_off_on_the_engine_as_on_the_reference(load, key, weights):
    options = NARROW[weights]
    engine, exact = (
        heads_off(Following(trace(load(key, backend=backend, **options), TEXT))) for backend in ("engine", "exact")
    )
    assert_same_bits(engine.values, exact.values, "values")
    assert np.abs(engine.change).max() > 0


def test_a_whole_number_product_is_told_as_what_it_is(load):
    found = trace(load(MASKED_LM[0], threads=1, precision="int8"), TEXT)
    name = "layer.1.ffn.lin2"
    w = found.made[name].weights
    assert isinstance(w, Int8Linear)
    told = origin(found, name, (2, 5))
    assert told.kind == "whole-number product"
    x, codes, weight = (operand.values for operand in (told.operands[0], *told.operands[-2:]))
    assert_same_bits(x, found["layer.1.ffn.gelu"][2], "input")
    assert (told.operands[-1].name, told.operands[-1].index) == ("layer.1.ffn.lin2.weight", (5,))
    assert np.array_equal(weight, w.codes[5])
    coded = int8.code_rows((x if w.smooth is None else x * w.smooth)[None])
    assert np.array_equal(codes, coded.codes[0])
    steps = {step.name: np.float32(step.number.value) for step in told.steps}
    assert steps["zero point"] == coded.zero[0]
    assert steps["scale of the row"] == coded.scale[0]
    exactly = int(((codes.astype(np.int64) - int(coded.zero[0])) * weight.astype(np.int64)).sum())
    assert steps["sum"] == np.float32(exactly)
    assert steps["scale"] == steps["scale of the row"] * w.scale[5]
    y = fma(*(np.array([steps[part]]) for part in ("sum", "scale", "bias")))[0]
    assert_same_bits(y, found[name][2, 5], "result")
    wrong = found[name].copy()
    wrong[2, 5] = np.nextafter(wrong[2, 5], np.float32(np.inf))
    found._values[name] = wrong
    assert not origin(found, name, (2, 5)).agrees


@pytest.mark.parametrize("key", SOME, ids=class_name)
def test_products_with_kept_columns_have_the_oracles_bits_and_tell_them(load, key):
    found = trace(load(key, kept=True, threads=1), TEXT)
    counts = set()
    for name, made in found.made.items():
        if made.kind == KEPT:
            w = made.weights
            counts.add(len(w.columns))
            assert len(w.columns) == 1 or set(w.columns) > {0, w.codes.shape[1] - 1}
            assert_same_bits(int8.linear(found[made.of[0]], w), found[name], name)
            assert "columns that are kept in float32" in found.describe(name)
            whole = name.startswith("layer.0")
            for at in np.ndindex(found[name].shape) if whole else [(0, 0), tuple(np.subtract(found[name].shape, 1))]:
                assert origin(found, name, at).agrees, (name, at)
    assert len(counts) > 1


def test_kept_columns_are_told_one_after_another(load):
    found = trace(load(MASKED_LM[0], kept=True, threads=1), TEXT)
    for name in ("layer.0.attention.q_lin", "layer.1.ffn.lin1", "layer.1.ffn.lin2"):
        assert found.made[name].kind == KEPT
        assert_told_column_by_column(found, name, (3, 6))


def assert_told_column_by_column(found, name, at):
    told, w = origin(found, name, at), found.made[name].weights
    operands = {operand.name: operand.values for operand in told.operands}
    of = found.made[name].of[0]
    x, codes, beside = operands[of], operands[f"codes of {of}"], operands[f"{name}.weight_kept"]
    assert_same_bits(x, found[of][at[0]], "input")
    assert_same_bits(beside, w.kept[at[1]], "kept weights")
    columns = np.flatnonzero(operands[f"{name}.input_smooth"] == 0).tolist()
    assert columns == w.columns.tolist()
    steps = {step.name: np.float32(step.number.value) for step in told.steps}
    assert (codes[columns] == steps["zero point"]).all()
    y = fma(*(np.array([steps[part]]) for part in ("sum", "scale", "bias")))
    assert_same_bits(steps["y of whole numbers"], y[0], "whole numbers")
    for k, weight, step in zip(columns, beside, told.steps[-len(columns) :], strict=True):
        assert (step.name, step.formula) == (
            f"y with column {k}",
            f"fma({', '.join(map(shortest, (x[k], weight, y[0])))})",
        )
        y = fma(x[k, None], weight[None], y)
        assert_same_bits(np.float32(step.number.value), y[0], step.name)
    assert_same_bits(found[name][at], y[0], "result")
    assert told.agrees


def test_rows_that_have_no_range_are_told(load):
    """Zeros throughout, and zeros but for what is kept: codes of zero, and the kept columns still count."""
    found = trace(load(MASKED_LM[0], kept=True, threads=1), TEXT)
    name, of = "layer.1.ffn.lin2", "layer.1.ffn.gelu"

    def emptied(x):
        x[0] = 0
        x[1, [k for k in range(x.shape[1]) if k not in found.made[name].weights.columns]] = 0
        return x

    changed = found.patched({of: emptied})
    w = changed.made[name].weights
    assert_same_bits(changed[name][0], w.bias, "nothing but the bias")
    assert (changed[name][1] != w.bias).any()
    for at in np.ndindex(2, len(w.bias)):
        assert origin(changed, name, at).agrees, at
    assert_told_column_by_column(changed, name, (1, 0))


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_narrow_model_is_explained_and_says_what_does_not_apply(load, precision):
    model = load(NAMED["DistilBertForSequenceClassification"], threads=1, precision=precision)
    found = explain(model, TEXT)
    assert found.subject.precision == precision
    assert found.interventions is not None
    assert [one.method for one in found.attribution] == ["occlusion"]
    (reason,) = [one.reason for one in found.left_out if one.section == "attribution"]
    assert precision in reason
    assert 'precision="float32"' in reason
    assert all(cell.agrees for matrix in found.numbers.matrices for cell in matrix.cells)


@pytest.mark.parametrize("kept", [False, True], ids=["smoothed", "columns kept"])
def test_a_page_is_offered_as_much_as_it_has_room_for(load, monkeypatch, kept):
    """Products that are smoothed have their smoothing in common, and a page has it once."""
    room = 300_000
    monkeypatch.setattr(portions, "page_limit", lambda tokens: room)
    found = trace(load(MASKED_LM[0], kept=kept, threads=1, precision="int8"), TEXT)
    offered = portions.numbers(found, attention(found)).portions
    there = {(one.name, one.axis, one.at): one for portion in offered for one in portion.kept}
    checks = [check for portion in offered for check in portion.checks]
    assert sum(map(portions.cost, there.values())) + sum(map(portions.check_cost, checks)) >= room
    assert portions.fitting(offered, room) == list(offered[:-1])


def test_weights_of_another_kind_are_not_written_over(load):
    weights = {
        precision: load(MASKED_LM[0], backend="exact", precision=precision)._backend.weights
        for precision in ("bfloat16", "int8", "float32")
    }
    packed = pack_model(weights["int8"])
    before = packed.block.copy()
    layer = weights["int8"].encoder.layers[0]
    for other in ("float32", "bfloat16"):
        with pytest.raises(ValueError, match=r"layer\.0\.out_lin\.weight is packed as I8 \[.*\], not as"):
            pack_again(packed, "layer.0.out_lin", weights[other].encoder.layers[0].out_lin)
    with pytest.raises(ValueError, match=r"is packed as .*, not as"):
        pack_again(packed, "layer.0.out_lin", layer.lin1)
    pack_again(packed, "layer.0.lin1", layer.lin1)
    assert packed.block.tobytes() == before.tobytes()
