"""CONTRIBUTING.md's "How to add" works as it stands there: a copy of the project follows it word for word."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import run

ROOT = Path(__file__).resolve().parents[2]


def chapters() -> dict[str, str]:
    """The text of each chapter by its title."""
    parts = re.split(r"^## (.+)\n", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def edits(chapter: str) -> Iterator[tuple[str, str, str]]:
    """File, the text that goes, and the text that comes: of every new file and every change of a chapter."""
    pattern = r"^ *(?:New file `(?P<new>[^`]+)`:\n\s*```python|```diff\n *--- (?P<changed>\S+))\n(?P<text>.*?)^ *```$"
    for found in re.finditer(pattern, chapter, re.MULTILINE | re.DOTALL):
        text = textwrap.dedent(found["text"])
        if found["new"]:
            yield found["new"], "", text
            continue
        # Dedented by what is common: a change has a column of its own for signs, and every line of it begins with one.
        lines = [line[3:] or " " for line in found["text"].splitlines()]
        assert all(line[:1] in (" ", "+", "-") for line in lines), f"{found['changed']}: {lines}"
        before, after = ("".join(f"{x[1:]}\n" for x in lines if x[0] in signs) for signs in (" -", " +"))
        yield found["changed"], before, after


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project, so that it can be imported without being installed, and the folders are where they are here."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("minidistil", "kernels", "weights", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def follow(copy: Path, file: str, before: str, after: str) -> None:
    path = copy / file
    if not before:
        assert not path.exists(), f"{file} is said to be new"
        path.write_text(after)
        return
    text = path.read_text()
    assert text.count(before) == 1, f"{file} has {text.count(before)} times:\n{before}"
    path.write_text(text.replace(before, after))


def pytest_says(copy: Path, *names: str) -> str:
    """The last line of what pytest says there, and all of it where a test could not run."""
    environment = {"PYTHONPATH": str(copy), "NUMBA_CACHE_DIR": str(copy / "cache")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names]
    done = run(command, cwd=copy, env=environment)
    return done.stdout if "error" in done.stdout else done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_an_operation(copy: Path) -> None:
    says = "tests/engine/test_steps.py::test_every_operation_says_what_it_touches"
    (file, *_), (table, *_), *_ = changes = list(edits(chapters()["How to add an operation"]))
    assert (file, table) == ("kernels/steps/scale.py", "kernels/steps/table.py"), "one file"
    gone, come = (text.splitlines() for text in changes[1][1:])
    assert len(come) == len(gone) + 1, "and one line"
    assert "1 passed" in pytest_says(copy, says)
    for change in changes[:2]:
        follow(copy, *change)
    assert "1 failed" in pytest_says(copy, says)
    for change in changes[2:]:
        follow(copy, *change)
    assert "50 passed" in pytest_says(copy, says, "tests/kernels/test_scale.py")
    assert "passed" in (bits := pytest_says(copy, "tests/engine/test_goldens.py"))
    assert "failed" not in bits
    check_style(copy, "kernels", "tests/steps.py")


@pytest.mark.slow
def test_a_family_with_another_layer(copy: Path) -> None:
    test, *changes = edits(chapters()["How to add a family with another layer"])
    follow(copy, *test)
    assert "2 failed" in pytest_says(copy, test[0])
    for change in changes:
        follow(copy, *change)
    make_stubs(copy)
    assert "class PreNormForMaskedLM" in (copy / "minidistil" / "models" / "classes.pyi").read_text()
    assert "2 passed" in pytest_says(copy, test[0])
    check_style(copy, "minidistil", "weights")


@pytest.mark.slow
def test_a_head(copy: Path) -> None:
    test, *changes = edits(chapters()["How to add a head"])
    follow(copy, *test)
    assert "1 failed" in pytest_says(copy, test[0])
    for change in changes:
        follow(copy, *change)
    assert "failed" in pytest_says(copy, "tests/project/test_types.py::test_stubs_are_what_the_tables_say")
    make_stubs(copy)
    assert "failed" not in pytest_says(copy, test[0], "tests/project/test_types.py", "-k", "next or stub or ending")
    check_style(copy, "minidistil", "weights")


@pytest.mark.slow
def test_a_pipeline(copy: Path) -> None:
    test, *changes = edits(chapters()["How to add a pipeline"])
    follow(copy, *test)
    assert "1 failed" in pytest_says(copy, test[0])
    for change in changes:
        follow(copy, *change)
    assert "1 passed" in pytest_says(copy, test[0])
    check_style(copy, "minidistil")


@pytest.mark.slow
def test_a_command(copy: Path) -> None:
    for name in ("README.md", "docs"):
        (copy / name).symlink_to(ROOT / name) if name == "docs" else shutil.copy(ROOT / name, copy)
    says = "tests/project/test_documents.py::test_the_readme_lists_every_command"
    line, *changes = edits(chapters()["How to add a command"])
    assert "1 passed" in pytest_says(copy, says)
    follow(copy, *line)
    assert "1 failed" in pytest_says(copy, says)
    for change in changes:
        follow(copy, *change)
    assert "2 passed" in pytest_says(copy, says, "tests/cli/test_examples.py::test_example_works_as_typed[tokens]")
    check_style(copy, "minidistil")


def make_stubs(copy: Path) -> None:
    stubs = run([sys.executable, "-m", "tests.project.make_stubs"], cwd=copy, env={"PYTHONPATH": str(copy)})
    assert stubs.returncode == 0, stubs.stderr


def check_style(copy: Path, *folders: str) -> None:
    style = run([sys.executable, "-m", "ruff", "check", *folders], cwd=copy)
    assert style.returncode == 0, style.stdout


def test_every_block_is_one_that_is_followed() -> None:
    titles = [title for title in chapters() if title.startswith("How to add")]
    assert len(titles) == 5
    for title in titles:
        chapter = chapters()[title]
        assert chapter.count("```") == 2 * len(list(edits(chapter))), f"{title}: a block is not followed by the tests"
