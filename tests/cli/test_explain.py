"""`minidistil explain`: the page, the terminal's tables, and what is refused before a model is loaded."""

from __future__ import annotations

import sys

import pytest

import minidistil
from minidistil.study import render
from tests.cli.support import run

TEXT = "the cat sat on the mat"
NEAR = ("a cat is here", "one more cat")


def test_page_and_tables_are_those_of_the_explanation(capsys, distilbert_small, tmp_path):
    pytest.importorskip("jinja2")
    page = tmp_path / "page.html"
    near = [part for sentence in NEAR for part in ("--near", sentence)]
    result = run(capsys, "explain", TEXT, "-m", distilbert_small, "-o", page, "--text", "--word", "cat", *near)
    assert result.status == 0, result.err
    found = minidistil.explain(minidistil.load(distilbert_small), TEXT, neighbours=NEAR, word="cat")
    assert page.read_text(encoding="utf-8") == found.html()
    assert result.out == found.text()
    assert result.err == f"{page}: {page.stat().st_size / 1e3:,.0f} kB\n"


def test_pair_without_a_page_needs_no_jinja2(capsys, bert_small, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = run(capsys, "explain", TEXT, "it is old", "-m", bert_small, "--text")
    assert result.status == 0, result.err
    assert result.out == minidistil.explain(minidistil.load(bert_small), TEXT, "it is old").text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give --output FILE for the page, or --text for the terminal"),
        (("--text", "--word", "cat"), "--word is for --near, which was not given"),
        (("-o", "not/there/page.html"), "not/there: no such folder"),
    ],
)
def test_faults_are_told_before_a_model_is_loaded(capsys, options, said):
    result = run(capsys, "explain", TEXT, "-m", "./no-such-model", *options)
    assert result.status == 2
    assert said in result.err
    assert "no-such-model" not in result.err


def test_missing_jinja2_is_told_before_a_model_is_loaded(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    render.template.cache_clear()
    result = run(capsys, "explain", TEXT, "-m", "./no-such-model", "-o", tmp_path / "page.html")
    assert (result.status, result.out) == (2, "")
    assert "pip install 'minidistil[explain]'" in result.err


def test_longer_text_is_refused_with_the_limit(capsys, distilbert_small):
    result = run(capsys, "explain", "cat " * 127, "-m", distilbert_small, "--text")
    assert result.status == 2
    assert "at most 128" in result.err
