"""What the documents say is there is there, and the README's code runs."""

import importlib.util
import re
from pathlib import Path

import pytest

from minidistil.cli.app import app
from minidistil.cli.verification import compare, output_digest
from minidistil.weights import open_checkpoint
from tests.processes import python

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", range(len(_blocks("python"))))
def test_python_of_the_readme_runs(block, offline, tmp_path):
    python(_blocks("python")[block], cwd=tmp_path, env=offline)


def test_the_readme_has_the_two_commands_that_ci_runs():
    setup, tests = _blocks("sh")
    assert "minidistil classify" in setup
    assert tests.rstrip().endswith(".venv/bin/pytest")


def test_the_readme_says_how_many_tests_there_are(request):
    config = request.config
    (said,) = re.findall(r"([0-9,]+) tests", README)
    narrower = ("keyword", "lf", "deselect", "ignore", "ignore_glob")
    asked_for = [name for name in narrower if config.getoption(name, default=None)]
    quick = config.getoption("markexpr") in config.getini("addopts")
    if config.args_source != pytest.Config.ArgsSource.TESTPATHS or asked_for or not quick:
        pytest.skip("they are counted where the whole quick group runs")
    assert int(said.replace(",", "")) == pytest.approx(len(request.session.items), rel=0.03)


def test_the_readme_has_the_digests_that_verify_prints(minilm):
    shown = dict(re.findall(r"^(checkpoint|output) +sha256 ([0-9a-f]{32})$", README, re.MULTILINE))
    checkpoint = open_checkpoint(minilm)
    computed = output_digest(compare(checkpoint, threads=1))
    assert shown == {"checkpoint": checkpoint.digest()[:32], "output": computed[:32]}


def test_the_readmes_share_of_the_limit_is_the_measured_one():
    """Of the products, from 128 tokens on, as docs/performance.md has them."""
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (q, k, v|out_lin|lin\d[^,]*), (\d+) tokens \|[^|]*\|[^|]*\| (\d+)% \|", text, re.MULTILINE)
    shares = [int(share) for _, tokens, share in rows if int(tokens) >= 128]
    assert len(shares) >= 8
    said = re.search(r"(\d+) to (\d+) % of it in the products, from 128\s+tokens on", README)
    assert (int(said[1]), int(said[2])) == (min(shares), max(shares))


def test_the_readme_lists_every_command():
    assert set(re.findall(r"^\| `minidistil ([a-z-]+)", README, re.MULTILINE)) == set(app.commands)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    folder = (ROOT / document).parent
    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_nothing_is_left_of_a_merge(document):
    """No marks of a conflict, and no long line of prose that stands twice."""
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).splitlines()  # without blocks of code
    assert [line for line in lines if re.match(r"(<<<<<<<|=======|>>>>>>>)( |$)", line)] == []
    prose = [line for line in lines if len(line) > 60 and not line.startswith(("|", " |", "   "))]
    assert sorted({line for line in prose if prose.count(line) > 1}) == []


def test_the_picture_of_the_floors_is_todays():
    spec = importlib.util.spec_from_file_location("floors", ROOT / "docs" / "floors.py")
    floors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(floors)
    assert floors.PICTURE.read_text(encoding="utf-8") == floors.draw(), "run python docs/floors.py"
    assert floors.floors({"a": {"b"}, "b": set(), "c": {"a"}}) == [["b"], ["a"], ["c"]]
    with pytest.raises(SystemExit, match="a circle of imports between rooms: a, b"):
        floors.floors({"a": {"b"}, "b": {"a"}, "c": set()})


def test_the_story_of_a_sentence_names_what_is_there():
    """`[file](path) `name`, `name``: the functions and classes to read stand in that file."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    story = text.partition("## One sentence through the house")[2].partition("\n## ")[0]
    named = re.findall(r"\]\(\.\./([^)]+\.py)\):?((?:,?\s+(?:and )?`\w+`)+)", story)
    assert len(named) > 8
    for path, names in named:
        source = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^\s*(?:def|class) {name}\b", source, re.MULTILINE), f"{path} has no {name}"
