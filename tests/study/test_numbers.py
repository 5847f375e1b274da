"""What a cell is made of gives its very bits, in every intermediate of every family and head."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minidistil.backends.reference import exact
from minidistil.study.numbers import origin
from minidistil.study.tracing import trace
from tests.study.conftest import KINDS, MASKED_LM, TEXT, class_name


def some_cells(shape, generator):
    corners = [tuple(0 for _ in shape), tuple(size - 1 for size in shape)]
    return {*corners, *(tuple(int(generator.integers(size)) for size in shape) for _ in range(3))}


@pytest.mark.parametrize("key", KINDS, ids=class_name)
def test_the_parts_give_the_bits_of_the_cell(load, key):
    found = trace(load(key, threads=1), TEXT)
    generator = np.random.default_rng(1)
    for name, value in found.items():
        for at in some_cells(value.shape, generator):
            told = origin(found, name, at)
            assert told.agrees, (name, at)
            assert told.value.bits == f"0x{value[at].view(np.uint32):08x}"
            assert np.float32(told.value.value) == value[at]
            if told.blocks:
                assert told.blocks[0].start == 0
                assert told.blocks[-1].stop == len(told.operands[0].values) == len(told.operands[1].values)
            assert told.operands or told.steps or "no such token" in told.formula


def test_a_product_is_told_block_by_block(load):
    found = trace(load(MASKED_LM[0], threads=1), TEXT)
    name = next(name for name in found if name.endswith("lin2"))
    told = origin(found, name, (1, 5))
    x, w = (operand.values for operand in told.operands)
    edges = exact.blocks(len(x))
    assert [(block.start, block.stop) for block in told.blocks] == list(itertools.pairwise(edges))
    assert len(told.blocks) > 1
    running = np.float32(told.steps[0].number.value)
    for block in told.blocks:
        running = running + np.float32(block.total.value)
        assert np.float32(block.running.value) == running
    assert told.blocks[-1].running == told.value
    exactly = told.steps[0].number.value + float(np.dot(x.astype(np.float64), w.astype(np.float64)))
    assert abs(exactly - told.value.value) < 1e-4
    assert told.operands[1].name.endswith("lin2.weight")


@pytest.mark.parametrize("kind", ["product", "layer norm", "activation", "softmax", "scores", "context", "sum"])
def test_a_number_that_is_not_made_so_is_found(load, kind):
    found = trace(load(MASKED_LM[0], threads=1), TEXT)
    name = next(name for name, made in found.made.items() if made.kind == kind and name.startswith("layer"))
    at = (0,) * found[name].ndim
    wrong = found[name].copy()
    wrong[at] = np.nextafter(wrong[at], np.float32(np.inf))
    found._values[name] = wrong
    assert not origin(found, name, at).agrees


def test_patched_cells_are_said_to_be(load):
    found = trace(load(MASKED_LM[0], threads=1), TEXT)
    changed = found.patched({"layer.0.attention.probabilities": lambda p: p * 0.5, "layer.1.ffn.lin1": lambda x: -x})
    assert origin(changed, "layer.1.ffn.lin1", (0, 0)).kind == "patched"
    for name in changed:
        assert origin(changed, name, (0,) * changed[name].ndim).agrees, name


def test_cells_are_checked(load):
    found = trace(load("DistilBert", threads=1), TEXT)
    for index in ((0,), (99, 0), (-1, 0), (0, 0, 0)):
        with pytest.raises(IndexError, match=r"has the shape \[\d+, 128\], so it has no cell"):
            origin(found, "embeddings.sum", index)
    with pytest.raises(KeyError, match="has no 'embeddings"):
        origin(found, "embeddings.sums", (0, 0))
