"""The best matches, and how they are printed."""

import json

from hypothesis import given
from hypothesis import strategies as st

from minidistil.cli import matches as module
from minidistil.cli.matches import Match, Matches, print_json, print_matches

_texts = ["  a dog barks  ", "ünïcode " * 40]
_some = [Match("a.txt", 7, 0.5, _texts[0], {"text": _texts[0]}), Match("-", 1, 0.25, _texts[1], {"text": _texts[1]})]


@given(
    st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]), max_size=30),
    st.integers(1, 8),
    st.none() | st.just(0.0),
)
def test_best_first_and_ties_in_order_of_reading(scores, most, least):
    best = Matches(most, least)
    best.add(Match("f", i, s, "", {}) for i, s in enumerate(scores))
    kept = [(s, i) for i, s in enumerate(scores) if least is None or s >= least]
    expected = sorted(kept, key=lambda pair: (-pair[0], pair[1]))[:most]
    assert [(m.score, m.line) for m in best.sorted()] == expected


def test_piped_is_one_plain_whole_line_per_match(capsys):
    print_matches(_some, "dog", shorten=True)
    out = capsys.readouterr().out
    assert out.splitlines() == ["a.txt:7 0.500 a dog barks", f"standard input:1 0.250 {('ünïcode ' * 40).strip()}"]


def test_terminal_is_coloured_wrapped_and_shortened(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(module.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click._compat.should_strip_ansi", lambda *_, **__: False)
    print_matches(_some, "my dogs", shorten=True)
    print_matches(_some[1:], "what is ünïcode", shorten=False)
    short, full = capsys.readouterr().out.split("\x1b[36mstandard input:1")[1:]
    assert short.rstrip().endswith("…")
    assert short.count("\n") == 4
    assert full.count("ünïcode") == 40
    assert full.count("\x1b[1münïcode") == 40  # the query's own words are set off


def test_json_is_what_a_program_expects(capsys):
    print_json(_some, None)
    wanted = [{"file": m.file, "line": m.line, "score": m.score, "text": m.text} for m in _some]
    assert json.loads(capsys.readouterr().out) == wanted
    print_json([Match("a.csv", 2, 0.5, "x", {"id": "7", "title": "x"})], None)
    assert json.loads(capsys.readouterr().out) == [{"file": "a.csv", "line": 2, "score": 0.5, "id": "7", "title": "x"}]
