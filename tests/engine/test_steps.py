"""Passes as lists of steps: what runs side by side touches different memory, and what is wrong in a list is said."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.backends.engine import Engine
from minidistil.backends.engine.operations import Operations
from minidistil.backends.engine.planner import Planner
from minidistil.backends.engine.profile import measure_roofs
from minidistil.kernels.layout import address
from minidistil.kernels.steps import table
from minidistil.kernels.steps.sum_rows import SumRows
from minidistil.kernels.steps.table import Matrix, Packed, Rows, Steps, Variable
from minidistil.kernels.steps.take import take
from minidistil.weights.model_weights import Linear, Norm
from minidistil.weights.packing import pack_model
from tests import build, steps, training_steps
from tests.bits import assert_same_bits
from tests.families import VARIATIONS
from tests.narrow import KINDS, narrow


def own_kinds() -> list[str]:
    """A model of each kind of plan: embeddings, projections, bottlenecks, heads."""
    names = ["activation gelu", "bert with relu", "albert of two groups", "electra with embeddings wider than all"]
    return [*names, *[name for name in VARIATIONS if name.startswith("mobilebert")]]


@pytest.mark.parametrize("precision", ["float32", *KINDS, "int8, some kept"])
@pytest.mark.parametrize("kind", own_kinds())
def test_steps_that_run_side_by_side_touch_different_memory(kind: str, precision: str) -> None:
    values, (precision, *kept) = VARIATIONS[kind], precision.split(", ")
    config, weights = build.config(values), narrow(build.model_weights(values), precision, keep=3 * len(kept))
    generator = np.random.default_rng(0)
    lengths = (5, 1, 18)
    types = [np.arange(n) % 2 for n in lengths] if config.type_vocab_size > 1 else None
    batch = build.batch([generator.integers(0, 300, n) for n in lengths], types)
    square = build.batch([generator.integers(0, 300, 6)] * 2, attention_bias=np.zeros((2, 1, 6, 6), np.float32))
    with steps.watched() as calls:
        engine = Engine(config, weights, threads=2)
        engine.encode(batch)
        engine.encode(batch, hidden_states=True)
        engine.encode(batch, attentions=True)
        engine.encode(square, attentions=True)
        last = engine.encode(batch, rows=np.array([3, 5, 6])).last
        if weights.masked_lm is not None:
            engine.masked_lm(last)
    lists = [call for call in calls if len(call.steps) > 1]
    assert len(lists) == 5 + (weights.masked_lm is not None)
    waiting = [sum(not step.meets for step in call.steps) for call in lists]
    assert waiting[1] == waiting[0] + config.n_layers, "a state is copied while the next product runs"
    assert waiting[4] > waiting[0], "of some rows, queries come apart from keys and values"


def test_every_operation_says_what_it_touches() -> None:
    """Where it does not, neither the test above nor the emulated machine (tests/machines) knows its memory."""
    assert set(steps.TOUCHED) == {table.operation(name)[0] for name in table.OPERATIONS}
    assert set(training_steps.TOUCHED) == {table.operation(name)[0] for name in table.TRAINING}


def test_single_steps_are_watched_too() -> None:
    x = np.ones((5, 30), np.float32)
    with steps.watched() as calls:
        Operations().linear(x, Linear(np.ones((50, 30), np.float32), np.ones(50, np.float32)))
        Operations().linear(x, Linear(np.ones((3, 30), np.float32), np.ones(3, np.float32)))
        Operations().layer_norm(x, Norm(x[0], x[0], 1e-5))
        Operations().activation("gelu", x)
        measure_roofs(1)
    names = {type(step.operands).__name__ for call in calls for step in call.steps}
    assert names == {"Product", "NarrowProduct", "SumRows", "Activate", "MultiplyAdds", "ReadMemory"}


def sum_of(out: np.ndarray, *terms: Rows) -> SumRows:
    a, b, c = (*terms, *[Rows(0, 0, 0)] * (3 - len(terms)))
    return SumRows(Matrix(address(out), out.shape[1]), a, b, c, len(out), out.shape[1])


def rows_of(x: np.ndarray, ids: np.ndarray | None = None) -> Rows:
    return Rows(address(x), x.shape[1], address(ids))


def broken_lists() -> dict[str, list[tuple[SumRows, bool]]]:
    x, y, z = (np.zeros((8, 20), np.float32) for _ in range(3))
    ids = np.arange(8, dtype=np.int32)
    broken_lists.keep = x, y, z, ids  # type: ignore[attr-defined]
    copy = sum_of(y, rows_of(x))
    return {
        "reads what is written": [(copy, False), (sum_of(z, rows_of(y)), True)],
        "writes what is read": [(copy, False), (sum_of(x, rows_of(z)), True)],
        "writes what is written": [(copy, False), (sum_of(y, rows_of(z)), True)],
        "of one step": [(sum_of(x, rows_of(x, ids)), True)],
    }


@pytest.mark.parametrize("fault", broken_lists())
def test_lists_that_race_are_seen(fault: str) -> None:
    """The test above would fail: the same steps, but with a meeting between them, pass."""
    values = dict.fromkeys(("scratch", "scratch floats", "clock"), 0)
    faulty = broken_lists()[fault]
    with pytest.raises(AssertionError):
        steps.check(steps.read_call(address(call := Steps(faulty).call(values))), threads=2)
    if len(faulty) > 1:
        steps.check(steps.read_call(address(call := Steps([(step, True) for step, _ in faulty]).call(values))), 2)
    assert call.size


def test_the_last_step_meets_whatever_is_said() -> None:
    x = np.zeros((1, 16), np.float32)
    call = Steps([(sum_of(x), False), (sum_of(x), False)]).call(
        dict.fromkeys(("scratch", "scratch floats", "clock"), 0)
    )
    assert [step.meets for step in steps.read_call(address(call)).steps] == [False, True]


def test_columns_side_by_side_may_be_written_at_once() -> None:
    out = np.zeros((4, 48), np.float32)
    halves = [SumRows(Matrix(address(out) + i * 96, 48), *[Rows(0, 0, 0)] * 3, 4, 24) for i in range(2)]
    values = dict.fromkeys(("scratch", "scratch floats", "clock"), 0)
    call = Steps([(halves[0], False), (halves[1], True)]).call(values)
    steps.check(steps.read_call(address(call)), threads=2)
    wider = halves[1]._replace(n=25)  # into the next row's first half
    call = Steps([(halves[0], False), (wider, True)]).call(values)
    with pytest.raises(AssertionError, match="beside"):
        steps.check(steps.read_call(address(call)), threads=2)


def test_variables_are_filled_in() -> None:
    step = SumRows(Matrix(Variable("x") + 8, 3), *[Rows(0, 0, 0)] * 3, Variable("rows"), 3, eps=0.5)
    values = {"x": 2**40, "rows": 7, "scratch": 1, "scratch floats": 2, "clock": 3, "another": 4}
    call = steps.read_call(address(own := Steps([(step, True)]).call(values)))
    assert call.run == (1, 1, 2, 3)
    assert call.size == own.nbytes
    assert call.steps[0].operands == step._replace(out=Matrix(2**40 + 8, 3), rows=7)
    with pytest.raises(KeyError, match="rows"):
        Steps([(step, True)]).call({name: value for name, value in values.items() if name != "rows"})


def test_operands_of_no_operation_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Matrix: .*lists no operation 'table'"):
        take(Matrix(0, 0))


def test_shapes_that_do_not_fit_are_refused_when_a_pass_is_written() -> None:
    values = VARIATIONS["activation gelu"]
    planner = Planner(build.config(values), pack_model(build.model_weights(values)))
    x, y = planner.buffer("x", 128), planner.buffer("y", 127)
    with pytest.raises(ValueError, match="out_lin: 127 to 128 columns by weights of 128 to 144"):
        planner.linear("out_lin", y, planner.weight("layer.0.out_lin"), into=x)
    with pytest.raises(ValueError, match="wide: 128 to 400 columns by weights of 128 to 144"):
        planner.linear("wide", x, planner.weight("layer.0.out_lin"), into=planner.buffer("z", 400))
    with pytest.raises(ValueError, match="residual: 127 columns are added to 128"):
        planner.sum("residual", x, y, into=x)


def test_parts_of_packed_weights_lie_where_they_are() -> None:
    w = Packed(1000, 500, 7, 3 * 144)
    assert w.beyond(128) == Packed(1000 + 3 * 48 * 7 * 4, 500 + 144 * 4, 7, 2 * 144)
    assert w._replace(bf16=1).beyond(128) == Packed(1000 + 3 * 48 * 7 * 2, 500 + 144 * 4, 7, 2 * 144, 1)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 48, 50])
def test_rows_that_are_not_there_are_zero(n: int) -> None:
    table_, out = np.arange(4 * n, dtype=np.float32).reshape(4, n), np.full((3, n + 2), 7, np.float32)
    ids = np.array([2, -1, 0], np.int32)
    take(SumRows(Matrix(address(out), n + 2), rows_of(table_, ids), *[Rows(0, 0, 0)] * 2, 3, n))
    want = np.stack([table_[2], np.zeros(n, np.float32), table_[0]])
    assert_same_bits(np.ascontiguousarray(out[:, :n]), want)
    assert (out[:, n:] == 7).all()
