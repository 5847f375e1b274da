"""docs/ladder: every step runs and has its bits, what chapters quote is in the source, what they say is printed."""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
from pathlib import Path

import pytest

from tests.processes import python, run

ROOT = Path(__file__).resolve().parents[2]
LADDER = ROOT / "docs" / "ladder"
STEPS = sorted(path.name for path in LADDER.glob("step*.py"))
ASIDES = sorted(path.name for path in LADDER.glob("aside_*.py"))
CHAPTERS = sorted(path.name for path in LADDER.glob("*.md") if path.name != "README.md")
QUOTE = re.compile(r"^From \[(.+?)\]\(\.\./\.\./(.+?)\).*?:\n\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ANSWER = re.compile(
    r"<details><summary>Answer</summary>.*?^```python\n(.*?)^```\n\nprints\n\n```text\n(.*?)^```",
    re.DOTALL | re.MULTILINE,
)
# What is put in the place of a step's results, and must not pass.
SPOILED = """
import sys
sys.path.insert(0, "docs/ladder")
import measure, numpy as np
step = measure.load(sys.argv[1])
right = step.product
for spoil in (np.zeros_like, lambda y: y * np.float32("nan"), lambda y: np.append(y[:-1], 0 * y[-1:], axis=0),
              lambda y: y * np.float32(1.001), lambda y: y.astype(np.float64), eval(sys.argv[2])):
    step.product = lambda x, w: spoil(right(x, w))
    try:
        measure.check(step)
    except AssertionError as error:
        print("refused:", error)
    else:
        raise SystemExit("passed")
"""


def _read(name: str) -> str:
    return (LADDER / name).read_text(encoding="utf-8")


def _order(name: str) -> str:
    """What a file says of the order of its sums."""
    (found,) = re.findall(r'^ORDER = "(.*)"', _read(name), re.MULTILINE)
    return found


def test_steps_are_short_and_have_a_reason():
    assert 5 <= len(STEPS) <= 7
    assert len(ASIDES) >= 3
    for name in (*STEPS, *ASIDES):
        assert len(_read(name).splitlines()) <= 60, name
        said = ast.get_docstring(ast.parse(_read(name))) or ""
        assert ("Why:" if name in STEPS else "did not help") in said, name
    assert [name for name in STEPS if _order(name) != "the rule"] == STEPS[:2]


def test_the_table_has_every_file_and_its_machine():
    table = _read("README.md").partition("<!-- table")[2].partition("<!-- end of the table -->")[0]
    rows = re.findall(
        r"^\| \[(\w+)\]\((\w+\.py)\) \|.*\| ([\d.]+) \| [\d.]+% \|.*\|.*\| (all|other order) \|$", table, re.MULTILINE
    )
    assert [file for _, file, _, _ in rows] == [*STEPS, *ASIDES]
    for name, file, product, bits in rows:
        assert file == f"{name}.py"
        assert float(product) > 0
        assert (bits == "all") == (_order(file) == "the rule")
    assert re.search(r"family \d+, vectors of \d+ float32; .*; 20\d\d-\d\d-\d\d\. Peak of one core: \d+ GFLOP/s", table)


@pytest.mark.parametrize("name", CHAPTERS)
def test_what_chapters_quote_is_in_the_source(name):
    quotes = QUOTE.findall(_read(name))
    assert quotes
    assert name == "distillation.md" or any(path.endswith("reference/model.py") for path, _, _ in quotes)
    for said, path, quoted in quotes:
        assert said == path
        source, wanted = (ROOT / path).read_text(encoding="utf-8").splitlines(), quoted.splitlines()
        passages = ("\n".join(source[i : i + len(wanted)]) for i in range(len(source)))
        assert any(textwrap.dedent(passage) == "\n".join(wanted) for passage in passages), (
            f"{name} quotes {path}:\n{quoted}"
        )


@pytest.mark.parametrize("name", ["README.md", *CHAPTERS])
def test_links_and_pictures_lead_somewhere(name):
    text = _read(name)
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (LADDER / link).exists()] == []
    if name != "README.md":
        assert f"]({name})" in _read("README.md")
        assert "](pictures/" in text
        assert all(part in text for part in ("## The formula", "## The lines", "## Exercise", "<summary>Answer"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STEPS, *ASIDES])
def test_each_file_runs_and_is_held_against_the_oracle(name):
    done = run([sys.executable, LADDER / name], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    held = "has every bit of the oracle" if _order(name) == "the rule" else "is within the bound of rounding errors"
    assert held in done.stdout
    assert re.search(r"product +[\d.]+ GFLOP/s", done.stdout)
    assert ("attention" in done.stdout.partition("peak is")[2]) == (name in STEPS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("step1_three_lines", "lambda y: y * np.where(np.arange(y.shape[1]) == 7, 0, 1).astype(np.float32)"),
        ("step7_engine", "lambda y: np.nextafter(y, np.float32(9))"),
    ],
)
def test_what_is_wrong_is_refused(name, least):
    told = python(SPOILED, name, least, cwd=ROOT)
    assert told.count("refused:") == 6


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHAPTERS if ANSWER.search(_read(name))])
def test_answers_print_what_they_say(name, minilm):
    for code, said in ANSWER.findall(_read(name)):
        assert python(code, cwd=ROOT).split() == said.split()


@pytest.mark.slow
def test_the_pictures_are_todays(minilm):
    code = 'import sys; sys.path.insert(0, "docs/ladder"); import json, pictures; print(json.dumps(pictures.draw()))'
    drawn = json.loads(python(code, cwd=ROOT))
    assert sorted(drawn) == sorted(path.name for path in (LADDER / "pictures").iterdir())
    for name, picture in drawn.items():
        assert (LADDER / "pictures" / name).read_text(encoding="utf-8") == picture, "run python docs/ladder/pictures.py"
