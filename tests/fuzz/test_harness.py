"""What the fuzzers must see they see, each by a case that does it; and a case is the same each time."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from tests.fuzz import byte_text, checkpoints, formats
from tests.fuzz.evil import DEEDS
from tests.fuzz.outcomes import BAD, HEAD, ROOT, Counts
from tests.processes import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are watched through Linux's /proc")


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Counts:
    place = tmp_path_factory.mktemp("evil")
    command = [sys.executable, "-m", "tests.fuzz", "evil", "--seed", "0", "--cases", str(len(DEEDS))]
    done = run([*command, "--hang", "0.5", "--memory", "100", "--place", place, "--json"], cwd=ROOT)
    assert done.returncode == 1, done.stderr
    return Counts.from_json(done.stdout)


@pytest.mark.parametrize("deed", [deed for deed, kind in DEEDS.items() if kind in BAD])
def test_a_deed_is_seen(deed: str, evil: Counts) -> None:
    kinds = {finding.case: finding.kind for finding in evil.findings.values()}
    assert kinds.get(list(DEEDS).index(deed)) == DEEDS[deed], evil.report()


def test_every_case_is_counted_once(evil: Counts) -> None:
    assert evil.cases == len(DEEDS)
    assert evil.kinds == Counter(DEEDS.values())


def test_what_is_said(evil: Counts) -> None:
    """Counts are the same after their way out of the process; every finding comes with what reproduces it."""
    assert Counts.from_json(evil.to_json()) == evil
    bad = [deed for deed, kind in DEEDS.items() if kind in BAD]
    for case in map(list(DEEDS).index, bad):
        assert f"python -m tests.fuzz evil --seed 0 --case {case}\n" in evil.report()
    columns = dict(zip(HEAD.split()[:2], evil.line().split(), strict=False))
    assert columns == {"target": "evil", "tried": str(len(DEEDS))}
    assert len(HEAD) == len(evil.line())


_FILES = {
    "bytes": (byte_text.mutate, checkpoints.single, "config.json"),
    "json": (checkpoints.mutate_json, checkpoints.single, "config.json"),
    "safetensors": (formats.mutate_safetensors, checkpoints.single, "model.safetensors"),
    "torch": (formats.mutate_torch, lambda: checkpoints.single(torch=True), "pytorch_model.bin"),
}


@pytest.mark.parametrize("name", _FILES)
def test_a_seed_makes_the_same_files(name: str) -> None:
    mutate, bases, file = _FILES[name]
    content = bases()["bert F32"][file]
    first, second = (_three_changes(content, mutate) for _ in range(2))
    assert first == second
    others = [changed for changed in first if changed != content]
    assert len(set(others)) > 0.8 * len(first), "hardly any two files are alike, or as they were"


def _three_changes(content: bytes, mutate: Callable[..., tuple[bytes, str]]) -> list[bytes]:
    """Sixty files, each changed three times, by what an earlier change left of it."""
    found = []
    for seed in range(60):
        rng, changed = random.Random(seed), content
        for _ in range(3):
            changed, _ = mutate(changed, rng)
        found.append(changed)
    return found
