"""Kept machine code: executed only whole, and only where nobody else could have written it."""

from __future__ import annotations

import grp
import logging
import os
import pwd
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minidistil.backends.engine import warmup
from minidistil.kernels.code import emit, kept, native, shipped
from minidistil.kernels.code.target import target

KEY = "0123456789abcdef01234567"
SYMBOL = "minidistil_run"
CODE = np.random.default_rng(3).bytes(5000)
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


class Kept:
    """A folder to keep code in, and what `native.entry` makes of it, with a stub for the compiler."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base = folder
        self.file = folder / "minidistil" / f"run-{KEY}.o"
        self.compiled = 0
        self.executed: list[tuple[str, bytes]] = []
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
        monkeypatch.setattr(shipped, "choice", lambda: shipped.Choice(None, "there is no library"))
        monkeypatch.setattr(native, "_key", lambda: KEY)
        monkeypatch.setattr(emit, "object_code", self._compile)
        monkeypatch.setattr(native, "_function", lambda *made: self.executed.append(made))
        monkeypatch.setattr(native, "_entries", {})

    def _compile(self, name: str, _tell: object) -> tuple[str, bytes]:
        self.compiled += 1
        return SYMBOL, CODE

    def enter(self) -> bool:
        """Ask for the entry, as a new process would; whether it had to be compiled."""
        kept.directory.cache_clear()
        kept._tell.cache_clear()
        native._announce.cache_clear()
        before = self.compiled
        native._entries.clear()
        native.entry("run")
        assert self.executed.pop() == (SYMBOL, CODE)
        return self.compiled > before


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    if not target().lanes:
        pytest.skip("nothing is compiled for this CPU")
    tmp_path.chmod(0o755)
    made = Kept(tmp_path / "cache", monkeypatch)
    assert made.enter()
    assert not made.enter()
    yield made
    kept.directory.cache_clear()


def test_what_is_kept(code: Kept) -> None:
    lines = code.file.read_bytes().split(b"\n", 3)
    assert lines[0] == b"minidistil machine code 2"
    assert lines[2] == f'{{"entry": "run", "key": "{KEY}", "symbol": "{SYMBOL}", "size": 5000}}'.encode()
    assert lines[3] == CODE
    assert code.file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in code.file.parent.iterdir()] == [code.file.name], "a temporary file was left"


def test_training_is_compiled_where_it_is_asked_for(code: Kept, caplog: pytest.LogCaptureFixture) -> None:
    """Who only runs a model waits for nothing else; who trains hears that it takes longer."""
    native._entries.clear()
    code.file.unlink()
    warmup()
    warmup()
    assert [code.compiled, len(code.executed)] == [2, 1]
    assert "compiles its kernels for this CPU" in caplog.text
    caplog.clear()
    warmup(training=True)
    assert [code.compiled, len(code.executed)] == [3, 2]
    assert "compiles its kernels for training for this CPU" in caplog.text
    assert sorted(path.name for path in code.file.parent.iterdir()) == [f"run-{KEY}.o", f"train-{KEY}.o"]


def test_a_bit_is_enough(code: Kept) -> None:
    """Every bit of the header, and some of the code's: never executed; compiled anew, and whole again on disk."""
    whole = code.file.read_bytes()
    header = len(whole) - len(CODE)
    bits = [*range(8 * header), *range(8 * header, 8 * len(whole), 101)]
    with code.file.open("r+b", buffering=0) as file:
        for bit in bits:
            file.seek(bit // 8)
            file.write(bytes([whole[bit // 8] ^ 1 << bit % 8]))
            assert kept.read("run", KEY) is None, f"bit {bit % 8} of byte {bit // 8} went unnoticed"
            file.seek(bit // 8)
            file.write(whole[bit // 8 :][:1])
    assert kept.read("run", KEY) == (SYMBOL, CODE)
    for bit in bits[::40]:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        code.file.write_bytes(flipped)
        assert code.enter()
        assert code.file.read_bytes() == whole


@pytest.mark.parametrize("length", [0, 1, 25, 26, 90, 91, 200, -1])
def test_torn_and_longer_files(code: Kept, length: int) -> None:
    whole = code.file.read_bytes()
    code.file.write_bytes(whole[:length])
    assert code.enter()
    code.file.write_bytes(whole + b"\0")
    assert code.enter()
    assert code.file.read_bytes() == whole


def test_code_of_another_entry_or_key(code: Kept) -> None:
    for entry, key in (("other", KEY), ("run", KEY[::-1])):
        kept.write(entry, key, "other", b"other code")
        code.file.with_name(f"{entry}-{key}.o").replace(code.file)
        assert code.enter()


def plant(code: Kept) -> None:
    """Put in place what would be executed, were it trusted."""
    code.file.unlink()
    kept.write("run", KEY, "planted", b"planted code")
    assert kept.read("run", KEY) == ("planted", b"planted code")


def give(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


def link(path: Path) -> None:
    path.replace(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.chmod(0o646), r"can be written by others \(mode 0646\)"),
        (lambda file: file.chmod(0o664), r"can be written by others \(mode 0664\)"),
        (link, "cannot be opened"),
        (pipe, "no regular file"),
        pytest.param(give, f"belongs to user {NOBODY}", marks=as_root),
    ],
    ids=["world", "group", "link", "pipe", "owner"],
)
def test_a_file_of_others_is_compiled_over(
    code: Kept, change: Callable, message: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_is_own_group", lambda group, user: False)
    plant(code)
    change(code.file)
    assert code.enter()
    assert message.replace("\\", "") in caplog.text
    assert not code.file.is_symlink()
    assert not code.enter(), "what was compiled was not kept"


@pytest.mark.parametrize("level", [0, 1, 2], ids=["folder", "parent", "above"])
@pytest.mark.parametrize(
    "change",
    [lambda f: f.chmod(0o777), lambda f: f.chmod(0o775), pytest.param(give, marks=as_root)],
    ids=["world", "group", "owner"],
)
def test_nothing_is_read_or_kept_in_a_folder_of_others(
    code: Kept, level: int, change: Callable, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_is_own_group", lambda group, user: False)
    plant(code)
    planted = code.file.read_bytes()
    folder = code.file.parents[level]
    change(folder)
    assert code.enter()
    assert code.enter()
    assert code.file.read_bytes() == planted
    assert f"kept machine code is not used: {folder} " in caplog.text
    assert "for this process only, as there is no folder to keep them in" in caplog.text
    caplog.clear()
    code.enter()
    assert len([r for r in caplog.records if str(folder) in r.message]) == 1, "said once, not for each entry"


def test_a_sticky_folder_above_is_fine(code: Kept) -> None:
    """As /tmp: what others put there stays theirs. Not so the folder of the files itself."""
    code.base.chmod(0o1777)
    assert not code.enter()
    code.file.parent.chmod(0o1777)
    assert code.enter()


@as_root
def test_a_sticky_folder_of_others_is_not(code: Kept) -> None:
    code.base.chmod(0o1777)
    give(code.base)
    assert code.enter()


@as_root
def test_who_comes_first_to_a_sticky_folder_gets_nothing_executed(code: Kept) -> None:
    plant(code)
    shutil.rmtree(code.base)
    code.base.mkdir()
    code.base.chmod(0o1777)
    code.file.parent.mkdir()
    give(code.file.parent)
    assert code.enter()
    assert not list(code.file.parent.iterdir())


def test_links_in_the_path_are_followed_to_folders_that_count(code: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    link = code.base.with_name("link")
    link.symlink_to(code.base)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(link))
    assert not code.enter()
    code.base.chmod(0o777)
    assert code.enter()
    link.unlink()
    link.symlink_to(link)
    assert code.enter()


def test_what_was_judged_is_what_is_read(code: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file exchanged after the look is not the one that is read."""
    other = code.file.with_name("other")
    shutil.copy(code.file, other)
    judge = kept._judge

    def exchange(facts: os.stat_result, path: Path, above: bool = False) -> None:
        judge(facts, path, above)
        if path.suffix == ".o":
            other.write_bytes(b"exchanged")
            other.replace(path)

    monkeypatch.setattr(kept, "_judge", exchange)
    assert not code.enter()
    assert code.file.read_bytes() == b"exchanged"


def test_every_step_of_the_path_is_judged(code: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    monkeypatch.setattr(kept, "_judge", lambda facts, path, above=False: judged.append((path, above)))
    assert not code.enter()
    file = code.file.resolve()
    assert judged == [*((folder, True) for folder in reversed(file.parents[1:])), (file.parent, False), (file, False)]


def test_of_root_is_fine_for_everybody(code: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image is made by root and run by others, read-only."""
    facts = SimpleNamespace(st_uid=0, st_gid=0, st_mode=0o100644)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    kept._judge(facts, Path("file"))
    facts.st_uid = 1235
    with pytest.raises(kept.Refused, match="belongs to user 1235, neither to user 1234, who runs this, nor to root"):
        kept._judge(facts, Path("file"))


@pytest.mark.parametrize(
    ("group", "members", "primary", "own"),
    [
        (1234, [], {1234: 1234}, True),
        (1234, ["u1234"], {1234: 1234}, True),
        (1234, ["u1235"], {1234: 1234}, False),
        (1234, [], {1234: 1234, 1235: 1234}, False),
        (50, ["u1234"], {1234: 1234}, True),
        (50, [], {1234: 1234}, False),
        (0, [], {1234: 0}, False),
        (99, [], {1234: 1234}, False),
        (1234, [], {1235: 1235}, False),
    ],
    ids=["own", "named", "shared", "primary of two", "joined alone", "of nobody", "root's", "unknown", "no such user"],
)
def test_a_group_of_ones_own(
    group: int, members: list[str], primary: dict[int, int], own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With umask 002 everything is open to the user's group: fine where nobody else is in it."""
    users = [SimpleNamespace(pw_uid=uid, pw_gid=gid, pw_name=f"u{uid}") for uid, gid in primary.items()]
    groups = {group: SimpleNamespace(gr_mem=members)} if group != 99 else {}
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {user.pw_uid: user for user in users}[uid])
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: groups[gid])
    assert kept._is_own_group.__wrapped__(group, 1234) is own


def test_umask_002_of_an_ordinary_user(code: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_is_own_group", lambda group, user: True)
    code.base.chmod(0o775)
    code.file.parent.chmod(0o775)
    assert not code.enter()
    code.file.parent.chmod(0o777)
    assert code.enter()


def test_new_folders_are_closed_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache is the user's alone; a folder that was chosen may be read by all, written by none."""
    monkeypatch.setattr(kept, "_BESIDE", tmp_path / "file" / "__pycache__")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("")
    before = os.umask(0)
    try:
        for variable, mode in (("XDG_CACHE_HOME", 0o700), ("NUMBA_CACHE_DIR", 0o755)):
            base = tmp_path / variable / "below"
            monkeypatch.setenv(variable, str(base))
            kept.directory.cache_clear()
            assert kept.directory() == base / "minidistil"
            for folder in (base / "minidistil", base, base.parent):
                assert folder.stat().st_mode & 0o7777 == mode
    finally:
        os.umask(before)
        kept.directory.cache_clear()


def test_refused_beside_the_sources_found_in_the_cache(
    code: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Said quietly: nothing has to be done, as code is kept all the same."""
    beside = tmp_path / "site-packages" / "__pycache__"
    beside.mkdir(parents=True)
    beside.parent.chmod(0o777)
    monkeypatch.setattr(kept, "_BESIDE", beside)
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert code.enter()
    assert not list(beside.iterdir())
    caplog.clear()
    caplog.set_level(logging.INFO, "minidistil")
    assert not code.enter()
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert str(beside.parent) in record.message
