"""The examples of --help work as typed."""

import os
import shlex
import shutil
import sys

import pytest

from minidistil.cli.app import app
from minidistil.weights.file_names import PACKED_FILE
from tests.cli.support import every_command, run_process

# An example that goes on where another ended, with what that left.
AFTER = {"train curves": "train classify"}


def _examples() -> dict[str, str]:
    """The line after `Example:` in the help of the group and of each command."""
    found = {}
    for name, command in [("", app), *every_command().items()]:
        lines = [line.strip() for line in (command.help or "").splitlines()]
        found[name] = next((lines[i + 1] for i, line in enumerate(lines) if line == "Example:"), "")
    return found


@pytest.mark.parametrize("name", _examples())
def test_example_works_as_typed(name, offline, minilm, tmp_path):
    example = _examples()[name]
    assert example.startswith("minidistil "), f"the help of {name!r} has no example"
    if name == "train curves":
        pytest.importorskip("matplotlib")
    try:
        if name in AFTER:
            before = run_process(*shlex.split(_examples()[AFTER[name]])[1:], cwd=tmp_path, **offline)
            assert before.status == 0, before.err
        result = run_process(*shlex.split(example)[1:], cwd=tmp_path, **offline)
    finally:
        if name == "pack":  # it writes beside the installed checkpoint
            (minilm / PACKED_FILE).unlink(missing_ok=True)
    assert result.status == 0, result.err
    assert "warning" not in result.err  # with a cold cache, a line says that kernels are being compiled
    assert result.out or list(tmp_path.glob("*.npy"))


def test_the_script_is_installed():
    assert shutil.which("minidistil", path=os.path.dirname(sys.executable))  # noqa: PTH120
