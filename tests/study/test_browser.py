"""The page in a real browser: nothing said, nothing asked, every number the pass's, keys and clicks, accessibility."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.backends.reference import exact, int8
from minidistil.study import explain, origin, portions, render, trace
from minidistil.study.parts import Number
from minidistil.study.tables import first_head, shortest, tables
from tests.bits import assert_same_bits
from tests.study.browser import CHROMIUM, Browser, browser
from tests.study.conftest import KEPT, KINDS, MASKED_LM, TEXT, class_name
from tests.study.example import example

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
]
pytest.importorskip("jinja2", reason="pages are made with jinja2, of the extra `explain`")

AXE = "axe_playwright_python"  # carries axe-core; the playwright that it is made for is not used
WHOLE = ("DistilBertForMaskedLM",)  # of which the page has room for every value
_CELLS = """(name) => { const { shape } = pass.matrices.get(name), found = [];
    const walk = (at) => {
        if (at.length < shape.length) for (let i = 0; i < shape[at.length]; i++) walk([...at, i]);
        else { const x = pass.value(name, at); found.push(x === null ? -1 : bitsOf(x)); } };
    walk([]);
    return found; }"""
_CHOOSE = "(name) => [...document.querySelectorAll('#matrices button')].find((b) => b.textContent === name).click()"
_ORIGIN = """(name, index) => { const told = pass.origin(name, index); return { ...told,
    kind: pass.matrices.get(name).kind, steps: told.steps.map(([what, how, x]) => [what, how, hexOf(x)]),
    blocks: told.blocks.map((block) => [block.start, block.stop, hexOf(block.total), hexOf(block.running)]),
    operands: told.operands.map((one) => [one.name, one.index, Array.from(one.values, bitsOf)]) }; }"""
LENSES = ("words", "classes", "token classes", "cosine", "replaced", "span")
_TABLE = """(id) => { const t = document.getElementById(id); return [...t.tBodies[0].rows].map(
    (row) => [...row.cells].map((cell) => cell.textContent)) }"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def shown(chromium: Browser, tmp_path: Path) -> Any:
    def show(explanation: Any, **options: Any) -> Browser:
        path = tmp_path / "page.html"
        explanation.save(path)
        chromium.open(path, **options)
        assert chromium.said == []
        assert chromium.asked == [path.as_uri()]
        return chromium

    return show


@pytest.fixture(autouse=True)
def _nobody_left() -> None:
    """The browser stays for all tests of this module, and ends with its fixture."""


@pytest.mark.parametrize("kind", LENSES)
def test_every_kind_of_page_opens_without_a_word_and_asks_for_nothing(shown: Any, kind: str) -> None:
    page = shown(example(lens=kind))
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate("document.querySelectorAll('button').forEach((one) => one.click())")
    assert page.said == []
    assert len(page.asked) == 1
    assert page.evaluate("document.querySelectorAll('.script[hidden]').length") == 0
    assert page.evaluate("document.querySelectorAll('#lens-readout td').length") > 0


def test_network_is_blocked_and_the_listener_hears(shown: Any) -> None:
    page = shown(example(bare=True))
    asked = page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'refused')")
    assert asked == "refused"
    assert any("Content Security Policy" in line for line in page.said)


def test_numbers_of_the_tables_are_the_float32_of_the_explanation(shown: Any) -> None:
    explanation = example()
    page = shown(explanation)
    for one in [table for section in tables(explanation).values() for table in section]:
        found = page.evaluate(f"({_TABLE})({one.id!r})")
        assert found == [[heading, *cells] for heading, cells in one.rows], one.id
    page.click("#attention .behind summary")
    page.until("document.querySelector('#attention .behind').open")
    for layer, head in np.ndindex(explanation.attention.probabilities.shape[:2]):
        page.evaluate(f"document.querySelectorAll('#heads button')[{layer * 4 + head}].click()")
        found = page.evaluate(f"({_TABLE})('t-head')")
        for row, values, total in zip(
            found, explanation.attention.probabilities[layer, head], explanation.attention.row_sums[layer, head],
            strict=True,
        ):  # fmt: skip
            assert np.array(row[1:-1], np.float32).tobytes() == values.tobytes()
            assert np.float32(float(row[-1])) == total


def test_numbers_of_a_real_pass_are_the_engines(shown: Any, load: Any) -> None:
    model = load(MASKED_LM[0], threads=1)
    explanation = explain(model, TEXT, neighbours=["the capital of paris"], word="capital")
    page = shown(explanation)
    page.click("#attention .behind summary")
    page.until("document.querySelector('#attention .behind').open")
    output = model(**model.tokenizer(TEXT, return_tensors="np"), output_attentions=True)
    for layer, probabilities in enumerate(output.attentions):
        for head, values in enumerate(probabilities[0]):
            page.evaluate(f"document.querySelectorAll('#heads button')[{layer * len(probabilities[0]) + head}].click()")
            found = page.evaluate(f"({_TABLE})('t-head')")
            assert_same_bits(np.array([row[1:-1] for row in found], np.float32), values, f"layer {layer} head {head}")
    passed = trace(model, TEXT)
    cells = page.evaluate(f"({_TABLE})('t-cells')")
    assert len(cells) == len(passed)
    for cell, value, bits, _, agrees in cells:
        name, _, index = cell.rstrip("]").partition("[")
        of_the_pass = passed[name][tuple(map(int, index.split(",")))]
        assert np.float32(value) == of_the_pass
        assert int(bits, 16) == of_the_pass.view(np.uint32)
        assert agrees == "yes"


@pytest.mark.parametrize("key", KINDS, ids=class_name)
def test_page_of_every_family_and_head_opens_without_a_word(shown: Any, load: Any, key: Any) -> None:
    explanation = explain(load(key, threads=1), TEXT, neighbours=["the capital of paris"], word="capital")
    page = shown(explanation)
    page.evaluate("document.querySelectorAll('button').forEach((one) => one.click())")
    assert page.said == []
    assert page.evaluate("document.querySelectorAll('.script[hidden]').length") == 0
    said = page.evaluate("[...document.querySelectorAll('.missing')].map((one) => one.textContent).join('; ')")
    assert all(one.reason in said for one in explanation.left_out)
    passed = trace(load(key, threads=1), TEXT)
    check_cells(page, passed, whole=class_name(key) in WHOLE)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("key", [MASKED_LM[0], MASKED_LM[5]], ids=class_name)
def test_page_of_narrow_weights_traces_what_they_compute(shown: Any, load: Any, key: Any, precision: str) -> None:
    model = load(key, threads=1, precision=precision)
    page = shown(explain(model, TEXT))
    check_cells(page, trace(model, TEXT), whole=False)
    assert f'precision="{precision}"' in page.evaluate("document.querySelector('#story .python').textContent")
    assert page.said == []


@pytest.mark.parametrize("precision", [None, "float32"])
def test_line_of_python_loads_an_int8_checkpoint_as_it_was(
    shown: Any, folder_of_kept: Any, monkeypatch: pytest.MonkeyPatch, precision: str | None
) -> None:
    """In int8 where nothing else is said; and the page does not say that PyTorch computes what it does not."""
    folder = folder_of_kept(MASKED_LM[0])
    monkeypatch.chdir(folder.parent)
    page = shown(explain(minidistil.load(folder.name, threads=1, precision=precision), TEXT))
    result = page.evaluate("document.querySelector('#story .result').textContent")
    line = page.evaluate("document.querySelector('#story .python').textContent")
    assert shortest(eval(line, {"minidistil": minidistil}).value.value) == result
    assert ("PyTorch" in page.evaluate("document.querySelector('footer').textContent")) == (precision == "float32")


_COMPUTED = """(name) => pass.traced(name).map((c) => Array.from({ length: pass.matrices.get(name).shape[0] },
    (_, t) => { const told = pass.origin(name, [t, c]); return told.missing ? -1 : bitsOf(told.recomputed); }))"""


@pytest.mark.parametrize("key", [MASKED_LM[0], MASKED_LM[5]], ids=class_name)
def test_page_of_kept_columns_computes_them_behind_the_whole_numbers(shown: Any, load: Any, key: Any) -> None:
    model = load(key, kept=True, threads=1)
    explanation = explain(model, TEXT)
    passed = trace(model, TEXT)
    page = shown(explanation)
    check_cells(page, passed, whole=False)
    check_products(page, passed)
    # What is kept stands in the table of operands at its own terms.
    several = [name for name, made in passed.made.items() if made.kind == KEPT and len(made.weights.columns) > 1]
    name = next(name for name in several if name.startswith("layer"))
    page.evaluate(f"({_CHOOSE})({name!r})")
    page.evaluate("document.querySelector('#story details').open = true")
    page.until("document.querySelector('#story details tbody')")
    column = page.evaluate(f"pass.traced({name!r})[0]")
    rows = page.evaluate("[...document.querySelectorAll('#story details tr')].map((r) => r.innerText.split('\\t'))")
    w = passed.made[name].weights
    at = rows[0].index(f"{name}.weight_kept [{column}]")
    assert rows[0][-1] == "product, not rounded"
    assert {k: row[at] for k, row in enumerate(rows[1:]) if row[at]} == {
        int(k): shortest(weight) for k, weight in zip(w.columns, w.kept[column], strict=True)
    }
    # Rows with no range, of zeros throughout or but for what is kept, and one that is not finite.
    of, others = passed.made[name].of[0], np.flatnonzero(w.smooth)

    def emptied(x: np.ndarray) -> np.ndarray:
        x[0], x[1, others], x[2, 5] = 0, 0, np.inf
        return x

    changed = passed.patched({of: emptied})
    page = shown(replace(explanation, numbers=portions.numbers(changed, explanation.attention)))
    there = check_products(page, changed)
    assert there[name] == len(changed[name])
    assert page.said == []


def check_products(page: Browser, passed: Any) -> dict[str, int]:
    """Every number of products with kept columns whose operands the page has; returns of how many rows it has them."""
    rows = {}
    for name, made in passed.made.items():
        if made.kind == KEPT:
            columns = page.evaluate(f"pass.traced({name!r})")
            found = np.array(page.evaluate(f"({_COMPUTED})({name!r})"), np.int64).T
            assert found.shape == (len(passed[name]), len(columns))
            there = (found >= 0).all(axis=1)
            assert len(columns) > 0
            assert there.any()
            rows[name] = int(there.sum())
            computed = found[there].astype(np.uint32).view(np.float32)
            assert_same_bits(computed, np.ascontiguousarray(passed[name][there][:, columns]), name)
    return rows


def check_cells(page: Browser, passed: Any, whole: bool) -> None:
    """Every cell that the page has, held against the pass: its value's bits, and those of all that it is made of."""
    token = page.evaluate("pass.token")
    for name, value in passed.items():
        found = np.array(page.evaluate(f"({_CELLS})({name!r})"), np.int64).reshape(value.shape)
        there = found >= 0
        assert np.array_equal(found[there], value.view(np.uint32).astype(np.int64)[there]), name
        assert there[..., min(token, value.shape[-2] - 1), :].all(), name
        assert there.all() or not whole, name
        cells = [tuple(map(int, cell)) for cell in np.argwhere(there)]
        for at in {cells[0], cells[len(cells) // 2], cells[-1], *traced(page, name, cells)}:
            told = page.evaluate(f"({_ORIGIN})({name!r}, {list(at)})")
            known = origin(passed, name, at)
            assert told["formula"] == known.formula, (name, at)
            assert told["checked"] is not False
            assert told["agrees"] is not False
            if told["missing"]:
                continue
            assert told["agrees"] or told["kind"] == "patched", (name, at)
            assert told["steps"] == [[step.name, step.formula, step.number.bits] for step in known.steps], (name, at)
            assert told["blocks"] == [
                [block.start, block.stop, block.total.bits, block.running.bits] for block in known.blocks
            ]
            assert [operand[:2] for operand in told["operands"]] == [
                [operand.name, list(operand.index)] for operand in known.operands
            ], (name, at)
            for (_, _, values), operand in zip(told["operands"], known.operands, strict=True):
                assert values == operand.values.view(np.uint32).tolist(), (name, at, operand.name)


def traced(page: Browser, name: str, cells: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Two cells of a product whose weights the page has, at least one of which it must have."""
    columns = page.evaluate(f"pass.traced({name!r})")
    if columns is None:
        return []
    assert columns, name
    return [next(cell for cell in cells if cell[1] == column) for column in {columns[0], columns[-1]}]


def test_script_writes_numbers_as_the_tables_do(shown: Any) -> None:
    """The bars write their numbers by the script, the tables by the package."""
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2**32, 8, np.uint32).view(np.float32)
    values = np.concatenate([values[np.isfinite(values)], np.float32([0, -0.0, 1, 1e-5, 9.9e-6, 123456790, 1e9, 0.1])])
    explanation = example(["a"] * len(values))
    object.__setattr__(explanation.attribution[0], "values", values)
    object.__setattr__(explanation.attribution[0], "tokens", tuple(range(len(values))))
    page = shown(explanation)
    written = page.evaluate("[...document.querySelectorAll('#attribution-0 .value')].map((one) => one.textContent)")
    assert [text.removeprefix("+") for text in written] == [shortest(value) for value in values]


def test_arrows_move_head_layer_and_token(shown: Any) -> None:
    explanation = example()
    page = shown(explanation)
    title = "document.getElementById('head-title').textContent"
    layer, head = first_head(explanation.attention)
    assert page.evaluate(title).startswith(f"Layer {layer}, head {head}")
    page.click("#heads tbody tr:nth-child(1) td:nth-child(2) button")
    assert page.evaluate(title).startswith("Layer 0, head 0")
    page.press("ArrowRight", "ArrowDown")
    assert page.evaluate(title).startswith("Layer 1, head 1")
    page.press("ArrowLeft", "ArrowLeft", "ArrowUp", "ArrowUp")
    assert page.evaluate(title).startswith("Layer 0, head 0")
    page.press("End")
    assert page.evaluate(title).startswith("Layer 2, head 3")
    readout = "document.getElementById('head-readout').textContent"
    assert page.evaluate(readout).startswith("[CLS] looks most at")
    page.evaluate("document.getElementById('links').focus()")
    page.press("ArrowDown", "ArrowDown")
    assert page.evaluate(readout).startswith("cat looks most at")
    page.click("#links .hit[data-token='5']")
    assert page.evaluate(readout).startswith("sat looks most at")
    row = explanation.attention.probabilities[2, 3, 5]
    assert f" {shortest(row.max())}" in page.evaluate(readout)
    assert page.evaluate("document.querySelectorAll('#heads [tabindex=\"0\"]').length") == 1


def test_interventions_lens_and_neighbours_answer_to_keys(shown: Any) -> None:
    explanation = example()
    page = shown(explanation)
    page.click("#heads-off tbody tr:nth-child(1) td:nth-child(2) button")
    page.press("ArrowRight")
    told = page.evaluate("document.getElementById('intervention-readout').textContent")
    assert told.startswith("Layer 0 head 1 off")
    assert shortest(explanation.interventions.heads.values[0, 1, 0]) in told
    page.click("#removed li:nth-child(1) button")
    page.press("ArrowDown")
    told = page.evaluate("document.getElementById('intervention-readout').textContent")
    assert told.startswith("cat removed")
    assert shortest(explanation.interventions.removed.values[1, 1]) in told
    page.click("#lens-grid tbody tr:nth-child(1) td:nth-child(2) button")
    page.press("ArrowDown", "ArrowRight")
    told = page.evaluate("document.getElementById('lens-readout').textContent")
    assert told.startswith("after layer 0, the")
    assert shortest(explanation.lens.probabilities[1, 1, 2]) in told
    page.click("#near-layers button:nth-child(1)")
    page.press("ArrowRight")
    told = page.evaluate("document.getElementById('near-readout').textContent")
    assert told.startswith("after layer 0")
    assert shortest(explanation.neighbours.cosines[1, 0, 1]) in told


def test_a_click_on_any_cell_answers(shown: Any, folder_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the map and by the fields; also of cells whose weights or values are not in the page, with a line that is."""
    folder = folder_of(MASKED_LM[0])
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(portions, "page_limit", lambda tokens: 250_000)
    monkeypatch.setattr(render, "page_limit", lambda tokens: 250_000)
    passed = trace(minidistil.load(folder.name, threads=1), TEXT)
    page = shown(explain(minidistil.load(folder.name, threads=1), TEXT))
    seen = set()
    for name, value in passed.items():
        page.evaluate(
            f"[...document.querySelectorAll('#matrices button')].find((b) => b.textContent === {name!r}).click()"
        )
        last = tuple(size - 1 for size in value.shape)
        for at in {(0,) * value.ndim, last}:
            for axis, i in enumerate(at):
                page.evaluate(
                    f"(() => {{ const field = document.getElementById('at-{axis}'); field.value = '{i}';"
                    " field.dispatchEvent(new Event('change')); })()"
                )
            story = page.evaluate("document.getElementById('story').innerText")
            assert f"{name} [{', '.join(map(str, at))}]" in story
            result = page.evaluate("document.querySelector('#story .result')?.textContent ?? null")
            bits = page.evaluate("document.querySelector('#story .bits')?.textContent.slice(0, 10) ?? null")
            assert (result is None) == (bits is None) == ("This number is not in this page" in story)
            if result is not None:
                assert np.float32(result) == value[at]
                assert int(bits, 16) == value[at].view(np.uint32)
            line = page.evaluate("document.querySelector('#story .python').textContent")
            assert eval(line, {"minidistil": minidistil}).value == Number.of(value[at])
            seen.add((result is None, "not in this page" in story))
    assert seen == {(True, True), (False, True), (False, False)}
    assert page.said == []


def test_map_and_arrows_choose_cells(shown: Any, load: Any) -> None:
    page = shown(explain(load(MASKED_LM[0], threads=1), TEXT))
    heading = "document.querySelector('#story h3').textContent"
    name = "layer.0.attention.probabilities"
    page.evaluate(f"({_CHOOSE})({name!r})")
    tokens = page.evaluate("tokens.length")
    page.click(".cellmap")  # its middle
    row = column = tokens // 2
    head = page.evaluate("document.getElementById('at-0').value")
    assert page.evaluate(heading) == f"{name} [{head}, {row}, {column}]"
    page.press("ArrowUp", "ArrowLeft", "ArrowLeft")
    assert page.evaluate(heading) == f"{name} [{head}, {row - 1}, {column - 2}]"
    page.press(*["ArrowLeft"] * tokens)
    assert page.evaluate(heading) == f"{name} [{head}, {row - 1}, 0]"
    page.click("#cells .pick td:nth-of-type(2) button")
    assert page.evaluate(heading) == f"{name} [{head}, {row - 1}, 1]"
    page.press("ArrowRight")
    assert page.evaluate(heading) == f"{name} [{head}, {row - 1}, 2]"
    page.evaluate("document.querySelector('#matrices button').focus()")
    page.evaluate("document.querySelector('#cells details').open = true")
    page.until("document.querySelector('#cells details tbody')")
    values = page.evaluate(
        "[...document.querySelectorAll('#cells details tbody tr')].map((r) => r.cells[1].textContent)"
    )
    assert values == page.evaluate(f"tokens.map((_, j) => shortest(pass.value({name!r}, [{head}, {row - 1}, j])))")


def test_a_number_computed_otherwise_is_found(shown: Any, load: Any) -> None:
    """Where the page's arithmetic were another one, or its numbers, it would say so."""
    explanation = explain(load("DistilBert", threads=1), TEXT)
    names = ["layer.0.attention.sum", "layer.0.sa_layer_norm", "layer.0.ffn.gelu", "layer.0.attention.probabilities"]
    product = "layer.0.ffn.lin2"
    verdict = "document.querySelector('#story .verdict').textContent[0]"
    for mark, changed in (("\N{CHECK MARK}", explanation), ("\N{BALLOT X}", altered(explanation))):
        page = shown(changed)
        for name in (*names, product):
            page.evaluate(f"cellsOf(pass.matrices.get({name!r}))")
            assert page.evaluate(verdict) == mark, name


def altered(explanation: Any) -> Any:
    """The same with other checksums, and weights of other bits."""

    def other(one: Any) -> Any:
        values = np.nextafter(one.values, np.float32(9)) if one.axis == "weight" else one.values
        return replace(one, values=values)

    numbers = explanation.numbers
    made = [
        replace(one, kept=tuple(map(other, one.kept)), checks=tuple(replace(c, crc32=c.crc32 ^ 1) for c in one.checks))
        for one in numbers.portions
    ]
    return replace(explanation, numbers=replace(numbers, portions=tuple(made)))


def test_script_computes_as_the_reference_does(shown: Any) -> None:
    """Thousands of numbers of every size, and those that a second rounding, or one of halves upwards, gets wrong."""
    page = shown(example(bare=True))
    rng = np.random.default_rng(5)
    one = np.float32(1)

    def bits(x: Any) -> list[int]:
        return [int(b) for b in np.ascontiguousarray(x, np.float32).view(np.uint32).reshape(-1)]

    def run(expression: str, *given: Any) -> np.ndarray:
        read = ", ".join(f"Float32Array.from({bits(x)}, ofBits)" for x in given)
        found = page.evaluate(f"(([x, y, z]) => Array.from({expression}, bitsOf))([{read}])")
        return np.array(found, np.uint32).view(np.float32)

    def drawn(low: float, high: float, size: int = 4000) -> np.ndarray:
        return (np.exp2(rng.uniform(low, high, size)) * rng.choice([-1, 1], size)).astype(np.float32)

    step = one + np.float32(2**-12)
    a = np.append(drawn(-60, 60), [step, step, -step, step])
    b = np.append(drawn(-60, 60), [step, step, step, 0])
    c = np.append(drawn(-90, 90), np.float32([2**-60, -(2**-60), 2**-60, -0.0]))
    c[:2000] = (a[:2000].astype(np.float64) * -b[:2000]).astype(np.float32)  # nearly all cancels
    assert_same_bits(run("x.map((a, i) => fma(a, y[i], z[i]))", a, b, c), exact.fma(a, b, c), "fma")
    x = np.append(drawn(-30, 7.5), np.float32([0, -0.0, 1, -1, 88, -88, -104, -110, 5.5]))
    assert_same_bits(run("x.map(expf)", x), exact.expf(x), "expf")
    assert_same_bits(run("x.map(gelu)", x), exact.gelu(x), "gelu")
    assert_same_bits(run("x.map(expOfScore)", -np.abs(x)), exact.exp_u20(-np.abs(x)), "exp of a score")
    for width in (1, 7, 8, 30, 128, 129, 312, 384, 768, 1027):
        row, other = drawn(-4, 4, width), drawn(-4, 4, width)
        eps = np.float32([1e-12])
        moments = run("(({ mean, rstd }) => [mean, rstd])(moments(x, y[0]))", row, eps)
        assert_same_bits(moments, np.concatenate(exact.moments(row[None], 1e-12)), f"moments of {width}")
        dot = exact.product(row[None], other[None])[0]
        assert_same_bits(run("[dot(x, y, edgesOf(x.length))]", row, other), dot, f"product of {width}")
        for lanes, first in ((4, 0), (8, 0), (4, 1)):
            dot = exact._dots(row[None], other[None], lanes, first)[0]
            assert_same_bits(run(f"[narrowDot(x, y, {lanes}, {first})]", row, other), dot, f"{width} in {lanes}")
        found = run("(({ exponentials, reciprocal }) => exponentials.map((e) => f32(e * reciprocal)))(softmax(x))", row)
        e = exact.exp_u20(row[None] - row.max())
        assert_same_bits(found, (e * (one / exact.sum8(e)))[0], f"softmax of {width}")
        halves = np.append(np.arange(width, dtype=np.float32) % 254 + np.float32(0.5), np.float32([0, 255]))
        for coded in (row, halves, halves - np.float32(3), row * np.float32(1e-35)):
            own = int8.code_rows(coded[None])
            found = run("(({ codes, zero, scale }) => [scale, zero, ...codes])(codesOf(x))", coded)
            assert_same_bits(found, np.float32([own.scale[0], own.zero[0], *own.codes[0]]), f"codes of {width}")


def test_one_number_is_told_with_its_bits_and_all_operands(shown: Any) -> None:
    explanation = example()
    page = shown(explanation)
    page.click("#matrices button:nth-child(2)")
    page.press("ArrowDown")
    page.click("#cells .pick td:nth-of-type(1) button")
    page.press("ArrowRight", "ArrowLeft")
    cell = explanation.numbers.matrices[2].cells[0]
    story = page.evaluate("document.getElementById('story').textContent")
    assert f"{cell.name} [1, 0]" in story
    assert "has the very bits of the pass" in story
    assert f"{cell.value.bits} = {int(cell.value.bits, 16):032b}"[:14] in story
    page.click("#story summary")
    page.until("document.querySelector('#story details tbody')")
    rows = page.evaluate(
        "[...document.querySelectorAll('#story details tbody tr')].map((r) => r.innerText.split('\\t'))"
    )
    for operand, column in zip(cell.operands, (1, 2), strict=True):
        found = np.array([float(row[column]) for row in rows], np.float32)
        assert found.tobytes() == operand.values.tobytes()


def test_without_scripts_the_tables_stand_and_the_pictures_do_not(shown: Any) -> None:
    page = shown(example(), scripts=False)
    assert page.evaluate("document.querySelectorAll('.script:not([hidden])').length") == 0
    assert page.evaluate("document.querySelectorAll('table.data').length") > 8


@pytest.mark.parametrize("width", [360, 1200])
def test_page_is_as_wide_as_the_window(shown: Any, width: int) -> None:
    long = ["[CLS]", *["supercalifragilistic" * 3] * 20, "[SEP]"]
    page = shown(example(long, "x" * 500), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_colours_follow_the_system(shown: Any, dark: bool) -> None:
    page = shown(example(), dark=not dark)
    pixels = "[...document.querySelector('#matrix canvas').getContext('2d').getImageData(0, 0, 1, 1).data].slice(0, 3)"
    before = page.evaluate(pixels)
    page.darken(dark)
    page.until(f"String({pixels}) !== {','.join(map(str, before))!r}")
    after = page.evaluate(pixels)
    assert sum(after) > 3 * 128 if dark else sum(after) < 3 * 128


@pytest.mark.skipif(importlib.util.find_spec(AXE) is None, reason=f"axe-core comes with {AXE}, of the extra `browser`")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("kind", ["words", "cosine"])
def test_accessibility_checker_finds_nothing(shown: Any, kind: str, width: int, dark: bool) -> None:
    page = shown(example("[CLS] the שלום ##fish [UNK] sat . [SEP]".split(), lens=kind), width=width, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    spec = importlib.util.find_spec(AXE)
    assert spec is not None
    assert spec.origin is not None
    page.evaluate((Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8") + ";0")
    found = page.evaluate(
        "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
        ".then((r) => ({ passes: r.passes.length, bad: r.violations.map((v) => `${v.id}: ${v.help}; "
        "${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + ' ' + n.failureSummary).join(' | ')}`) }))"
    )
    assert found["passes"] > 20
    assert found["bad"] == []
