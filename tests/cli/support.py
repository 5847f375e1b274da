"""Running the command line: inside this process where that will do, as a process where it matters."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from minidistil.cli import main
from minidistil.cli.app import app
from tests import processes

ROOT = Path(__file__).resolve().parents[2]


class Result(NamedTuple):
    """Exit status and what was printed."""

    status: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Result:
    """Run in this process."""
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return Result(status, *capsys.readouterr())


def every_command() -> dict[str, click.Command]:
    """The commands by what is typed for them, those of groups too: "train classify"."""
    found: dict[str, click.Command] = {}
    for name, one in app.commands.items():
        found[name] = one
        if isinstance(one, click.Group):
            found |= {f"{name} {inner}": command for inner, command in one.commands.items()}
    return found


def command(*arguments: str | Path) -> list[str]:
    """The command as a process starts it."""
    return [sys.executable, "-m", "minidistil", *map(str, arguments)]


def run_process(*arguments: str | Path, cwd: Path | None = None, stdin: bytes = b"", **environment: str) -> Result:
    """Run as a process of its own."""
    done = processes.run(command(*arguments), cwd=cwd, env=environment, input=stdin, text=False)
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())
