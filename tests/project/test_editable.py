"""An editable install: what runs, and what type checkers see, is the checkout; nothing else comes onto the path."""

from __future__ import annotations

import shutil
import sys
import tarfile
import venv
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes import run

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

# Somebody's code, two of its lines with mistakes; `later` is a file that came after the install.
USER = """\
import minidistil
from minidistil.kernels.later import later
from minidistil.kernels.layout import panels
from minidistil.weights.options import HubOptions

reveal_type(later)
reveal_type(panels)
reveal_type(minidistil.BertForMaskedLM.from_pretrained("x"))
minidistil.load(threads=1)
HubOptions(revison="main")
"""


class Installed(NamedTuple):
    """An editable install of `source`, and NumPy, for the interpreter `python`, used in the folder `elsewhere`."""

    source: Path
    python: Path
    elsewhere: Path


def _run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    done = run(command, cwd=cwd, env=dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")))
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def _checkout(folder: Path) -> Path:
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests", "benchmarks")
    return Path(shutil.copytree(ROOT, folder / "checkout", symlinks=True, ignore=ignore))


def _archive(folder: Path) -> Path:
    """What `build --sdist` packs, in which there are no links."""
    pytest.importorskip("build", reason="an archive is made by `build`, of the extra `test`")
    out = folder / "archive"
    _run(sys.executable, "-m", "build", "--sdist", "--outdir", out, _checkout(folder), cwd=folder)
    (archive,) = out.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(out)
    source = archive.with_name(archive.name.removesuffix(".tar.gz"))
    assert not (source / "minidistil" / "kernels").exists()
    own = [{file.name for file in (place / "minidistil" / "sentiment").glob("*")} for place in (ROOT, source)]
    assert own[0] == own[1]
    assert (source / "NOTICE").exists()
    return source


@pytest.fixture(scope="module", params=[_checkout, _archive])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("editable")
    made = Installed(request.param(folder), folder / "venv" / "bin" / "python", folder / "elsewhere")
    venv.create(folder / "venv", with_pip=True)
    made.elsewhere.mkdir()
    pip = (made.python, "-m", "pip", "install", "--no-deps")
    _run(*pip, "numpy", cwd=made.elsewhere)
    _run(*pip, "-e", made.source, cwd=made.elsewhere)
    (made.source / "kernels" / "later.py").write_text("later: list[int] = []\n")
    (made.elsewhere / "theirs.py").write_text(USER)
    return made


def test_what_runs_is_the_checkout(installed: Installed) -> None:
    code = """
import pathlib, minidistil, minidistil.kernels.later, minidistil.weights.options
for module in (minidistil, minidistil.kernels.later, minidistil.weights.options):
    print(pathlib.Path(module.__file__).resolve())
"""
    files = ("minidistil/__init__.py", "kernels/later.py", "weights/options.py")
    expected = [str((installed.source / file).resolve()) for file in files]
    assert _run(installed.python, "-c", code, cwd=installed.elsewhere).splitlines() == expected
    assert _run(installed.python, "-c", code, cwd=installed.source).splitlines() == expected


def test_nothing_else_comes_onto_the_path(installed: Installed) -> None:
    names = [path.stem for path in installed.source.iterdir() if path.stem.isidentifier() and path.stem != "minidistil"]
    assert {"kernels", "weights", "build_backend"} <= set(names)
    code = f"import importlib.util as u; print([n for n in {[*names, 'backend']} if u.find_spec(n)])"
    assert _run(installed.python, "-c", code, cwd=installed.elsewhere).strip() == "[]"


def test_mypy_follows_it(installed: Installed) -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--python-executable", installed.python, "--cache-dir", "cache"]
    said = _run(*command, "theirs.py", cwd=installed.elsewhere, status=1)
    for line, text in (
        (6, 'Revealed type is "list[int]"'),
        (7, 'Revealed type is "def (n: int) -> int"'),
        (8, 'Revealed type is "minidistil.models.classes.BertForMaskedLM"'),
        (9, "Missing positional argument"),
        (10, 'Extra key "revison"'),
    ):
        assert [row for row in said.splitlines() if row.startswith(f"theirs.py:{line}: ") and text in row], said
    assert "Found 2 errors" in said


def test_pyright_follows_it(installed: Installed) -> None:
    checkers = [file for name in ("pyright", "basedpyright") if (file := shutil.which(name))]
    if not checkers:
        pytest.skip("pyright is not installed: `pip install pyright[nodejs]`")
    said = _run(checkers[0], "--pythonpath", installed.python, "theirs.py", cwd=installed.elsewhere, status=1)
    for line, text in (
        (6, 'Type of "later" is "list[int]"'),
        (7, 'Type of "panels" is "(n: int) -> int"'),
        (8, '"BertForMaskedLM"'),
        (9, "Argument missing for parameter"),
        (10, "No overloads for"),
    ):
        assert [row for row in said.splitlines() if f"theirs.py:{line}:" in row and text in row], said
