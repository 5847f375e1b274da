"""The floors of the house hold, and the tool that says so would say otherwise."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import run

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("importlinter", reason="the import rules need import-linter, of the extra `test`")


@pytest.fixture
def installed(tmp_path):
    """A copy of the code, with the links that lay it out as it installs."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("minidistil", "weights", "kernels"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache', '--no-logo'])"
    return run([sys.executable, "-c", code], cwd=tree)


def test_rules_hold(installed):
    done = _lint(installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 kept, 0 broken" in done.stdout


_CIRCLES = """
import graphlib, grimp
graph = grimp.build_graph("minidistil", cache_dir=None)
try:
    graphlib.TopologicalSorter({m: graph.find_modules_directly_imported_by(m) for m in graph.modules}).prepare()
except graphlib.CycleError as error:
    print(" -> ".join(reversed(error.args[1])))
"""


def _circle(tree: Path) -> str:
    done = run([sys.executable, "-c", _CIRCLES], cwd=tree)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_file_imports_itself_by_way_of_others(installed):
    """Imports inside functions and for type checkers count."""
    assert _circle(installed) == ""
    with (installed / "minidistil" / "models" / "heads.py").open("a") as file:
        file.write("\n\ndef late():\n    from minidistil.models.auto import AutoModel\n")
    assert "minidistil.models.heads -> minidistil.models.auto" in _circle(installed)


FLOORS = "the floors of the house BROKEN"


@pytest.mark.parametrize(
    ("folder", "statement", "rule"),
    [
        ("kernels", "from minidistil.weights import open_checkpoint", FLOORS),
        ("kernels", "def f():\n    import tokenizers", "kernels import arrays and their compiler BROKEN"),
        ("weights", "from minidistil.backends.batch import PackedBatch", FLOORS),
        ("weights", "import numba", "weights import no compiler themselves, and no tokenizer BROKEN"),
        ("backends/reference", "from minidistil.kernels.simd import values", "the reference is plain NumPy BROKEN"),
        ("backends/reference", "from minidistil.backends.engine import Engine", "two backends, which know nothing"),
        ("backends", "from minidistil.tokenization import Tokenizer", FLOORS),
        ("models", "from minidistil.sentences import SentenceEncoder", FLOORS),
        ("pipelines", "from minidistil.cli import main", FLOORS),
        ("kernels/simd", "from minidistil.kernels.steps import table", "one above the other BROKEN"),
    ],
)
def test_a_forbidden_import_is_caught(installed, folder, statement, rule):
    place = installed / "minidistil" / folder
    # Of a room whose files all have a floor, one of those.
    file = place / ("batch.py" if folder == "backends" else "offender.py")
    with file.open("a") as opened:
        opened.write(f"\n{statement}\n")
    done = _lint(installed)
    assert done.returncode == 1, done.stdout + done.stderr
    assert rule in done.stdout


def test_a_new_room_needs_a_floor(installed):
    (installed / "minidistil" / "attic.py").write_text('"""A room that no contract names."""\n')
    done = _lint(installed)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "attic" in done.stdout + done.stderr
