"""The page as a file: one document, its policy, its texts, its numbers, its bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import string
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidistil
from minidistil.study import render
from minidistil.study.tables import shortest
from tests.processes import python
from tests.study.example import example
from tests.synthetic import DISTILBERT_SMALL, write_checkpoint
from tests.synthetic_tokenizer import write_tokenizer

jinja2 = pytest.importorskip("jinja2", reason="pages are made with jinja2, of the extra `explain`")

HOSTILE = {
    "markup": "</script><script>alert(1)</script><!-- <b onclick='x'>&amp;</b>",
    "quotes": 'it\'s "so" `${1+1}` \\u003c \\',
    "emoji": "👩‍👩‍👧 naïve 🇪🇺 \u2028 \u2029",
    "right to left": "שלום עולם مرحبا \u202e abc",
    "template": "{{ 7 * 7 }} {% raw %}",
}


ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


class _Reader(HTMLParser):
    """Collects the tags, the text in tables, and what stands in scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.quotes: list[str] = []
        self.tokens: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        for kind, found in {
            "blockquote": self.quotes,
            "script": self.raw["script"],
            "style": self.raw["style"],
        }.items():
            if tag == kind:
                found.append("")
        if tag == "bdi" and dict(attrs).get("class") == "token":
            self.tokens.append("")
            self._open[-1] = "token"

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() not in (tag, "token"):
            pass

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "blockquote":
            self.quotes[-1] += data
        elif inside == "token":
            self.tokens[-1] += data
        elif inside in self.raw:
            self.raw[inside][-1] += data


def test_nothing_in_the_page_points_outside_it() -> None:
    reader = _Reader(example().html())
    for tag, attributes in reader.tags:
        assert not {"src", "srcset", "action", "data", "style", "ping"} & set(attributes), tag
        assert not any(name.startswith("on") for name in attributes), tag
        assert tag not in ("link", "iframe", "object", "embed", "img", "base", "form"), tag
        assert (attributes.get("href") or "#").startswith("#")
    assert "http" not in reader.raw["style"][0] + reader.raw["script"][1].replace("http://www.w3.org/2000/svg", "")


def test_policy_names_this_script_and_this_style_alone() -> None:
    reader = _Reader(example().html())
    (policy,) = [a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in (policy or "").split("; "))

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "style-src": digest(reader.raw["style"][0]),
        "script-src": digest(reader.raw["script"][1]),
    }


@pytest.mark.parametrize("kind", HOSTILE)
def test_any_text_is_whole_and_stays_text(kind: str) -> None:
    text = HOSTILE[kind]
    tokens = ["[CLS]", *text.split(), text, "[SEP]"]
    html = example(tokens, text).html()
    reader, plain = _Reader(html), _Reader(example(["a"] * len(tokens), "a").html())
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in plain.tags]
    assert reader.quotes == [text]
    assert reader.tokens == tokens
    data = json.loads(reader.raw["script"][0])
    assert data["texts"] == [text]
    assert [piece["token"] for piece in data["pieces"]] == tokens


def test_arrays_in_the_page_have_the_bits_they_came_with() -> None:
    explanation = example()
    data = json.loads(_Reader(explanation.html()).raw["script"][0])
    decoded = [np.frombuffer(base64.b64decode(array), "<f4") for array in data["arrays"]]
    probabilities = explanation.attention.probabilities
    for layer, head in np.ndindex(probabilities.shape[:2]):
        found = data["attention"]["probabilities"]["whole"][f"{layer}.{head}"]
        assert decoded[found["at"]].tobytes() == probabilities[layer, head].tobytes()
    there = {(name, axis, at): (decoded[array], kind) for name, axis, at, array, kind in data["numbers"]["kept"]}
    kept = [one for portion in explanation.numbers.portions for one in portion.kept]
    assert len(there) == len({(one.name, one.axis, one.at) for one in kept}) > 10
    for one in kept:
        values, kind = there[one.name, one.axis, one.at]
        assert (kind, values.tobytes()) == ("float32", one.values.tobytes())
    assert len(set(data["arrays"])) == len(data["arrays"])


@pytest.mark.parametrize("tokens", [64, 128])
def test_long_texts_keep_the_page_small_and_it_says_what_it_lacks(tokens: int) -> None:
    explanation = example(["[CLS]", *["word"] * (tokens - 2), "[SEP]"], layers=6, heads=12)
    html = explanation.html()
    assert len(html.encode()) < (1_500_000 if tokens == 64 else 4_000_000)
    data = json.loads(_Reader(html).raw["script"][0])["attention"]["probabilities"]
    assert 0 < len(data["whole"]) < 72
    assert f"the float32 of {72 - len(data['whole'])} of the 72 heads" in html
    levels = np.array([ALPHABET.index(letter) for letter in data["shades"]]).reshape(data["shape"])
    assert np.abs(levels / 63 - np.sqrt(explanation.attention.probabilities)).max() <= 0.5 / 63 + 1e-6


@pytest.mark.slow
def test_page_of_the_largest_common_model_stays_below_the_limit_at_64_tokens(tmp_path: Path) -> None:
    base = {**DISTILBERT_SMALL, "dim": 768, "hidden_dim": 3072, "n_layers": 6, "n_heads": 12}
    folder = write_tokenizer(write_checkpoint(tmp_path / "base", base), base["vocab_size"], token_types=False)
    explanation = minidistil.explain(minidistil.load(folder), " ".join(["the"] * 62))
    assert len(explanation.pieces) == 64
    html = explanation.html()
    assert len(html.encode()) < 1_500_000
    kept = {(name, axis, at) for name, axis, at, _, _ in data_of(html)["numbers"]["kept"]}
    token = explanation.numbers.token
    for matrix in explanation.numbers.matrices:
        if matrix.kind == "product":
            assert (matrix.name, "row", token) in kept  # the values of the traced token, in every layer
            assert any(name == f"{matrix.weights}.weight" and axis == "weight" for name, axis, _ in kept), matrix.name
    assert any(axis == "head" for _, axis, _ in kept)


def data_of(html: str) -> dict[str, Any]:
    return dict(json.loads(_Reader(html).raw["script"][0]))


def test_short_text_lacks_no_float32() -> None:
    assert "Not in this page:</strong> the float32" not in example(layers=6, heads=12).html()


def test_what_does_not_apply_is_said_where_it_would_stand() -> None:
    html = example(bare=True).html()
    for section in ("interventions", "lens", "numbers", "neighbours", "attribution"):
        part = html.partition(f'<section id="{section}"')[2].partition("</section>")[0]
        assert f"&lt;{section}&gt; do not apply &amp; are left out" in part


def test_same_explanation_has_the_same_bytes_in_another_process() -> None:
    code = "from tests.study.example import example; import hashlib;"
    code += "print(hashlib.sha256(example().html().encode()).hexdigest())"
    here = hashlib.sha256(example().html().encode()).hexdigest()
    for seed in ("1", "2"):
        assert python(code, env={"PYTHONHASHSEED": seed, "LC_ALL": "C"}, cwd=Path(__file__).parents[2]) == here


def test_numbers_that_json_lacks_are_words() -> None:
    explanation = example()
    explanation.attention.row_sums[0, 0, 0] = np.inf
    explanation.attention.probabilities[0, 0, 0] = np.nan
    assert "inf" in explanation.html()
    assert render.shades(explanation.attention.probabilities[0, 0, 0, :1]) == "A"


def test_without_jinja2_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    render.template.cache_clear()
    with pytest.raises(ImportError, match=re.escape("pip install 'minidistil[explain]'")):
        example().html()


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_shortest_digits_give_the_float32_back(x: float) -> None:
    text = shortest(x)
    assert np.float32(float(text)).tobytes() == np.float32(x).tobytes()
    digits = re.sub(r"e.*|[-.]", "", text).strip("0")
    unique = np.format_float_scientific(np.float32(x), unique=True, trim="-").partition("e")[0]
    assert len(digits) == len(re.sub(r"[-.]", "", unique).strip("0"))


@pytest.mark.parametrize(
    ("x", "text"),
    [(0.1, "0.1"), (1, "1"), (-2.5, "-2.5"), (3e9, "3e9"), (1.5e-7, "1.5e-7"), (123456.0, "123456"), (-0.0, "-0"),
     (float("nan"), "NaN"), (float("-inf"), "-inf")],
)  # fmt: skip
def test_shortest_writes_as_people_do(x: float, text: str) -> None:
    assert shortest(x) == text
