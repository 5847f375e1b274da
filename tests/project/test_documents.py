"""What the documents say is there is there, and the README's code runs."""

import re
from pathlib import Path

import pytest

from minidistil.cli.app import app
from tests.processes import python

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
DOCUMENTS += [f"docs/{name}.md" for name in ("architecture", "arithmetic", "limits", "migration")]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", range(len(_blocks("python"))))
def test_python_of_the_readme_runs(block, offline, tmp_path):
    python(_blocks("python")[block], cwd=tmp_path, env=offline)


def test_the_readme_has_the_two_commands_that_ci_runs():
    setup, tests = _blocks("sh")
    assert "minidistil search" in setup
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


def test_the_readme_lists_every_command():
    assert set(re.findall(r"^\| `minidistil ([a-z-]+)", README, re.MULTILINE)) == set(app.commands)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    folder = (ROOT / document).parent
    assert [link for link in links if not (folder / link).exists()] == []
