"""Real client libraries, their code unchanged, with minidistil in the place of sentence-transformers: the same results.

Each of `programs/` is run by itself, once with sentence-transformers and once with minidistil: as what `import
sentence_transformers` finds (`minidistil.stand_in()`), or as an object that is passed. CONTRIBUTING.md says what to
install.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import run

pytestmark = [pytest.mark.clients, pytest.mark.slow]
PROGRAMS = Path(__file__).parent / "programs"
STAND_IN, OBJECT = "stand-in", "object"
# The program, what it needs to be installed, and how minidistil comes in.
CLIENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bertopic": (("bertopic",), (STAND_IN,)),
    "chromadb": (("chromadb",), (STAND_IN,)),
    "keybert": (("keybert",), (STAND_IN,)),
    "langchain_community": (("langchain_community",), (STAND_IN,)),
    "langchain_huggingface": (("langchain_huggingface", "langchain_core"), (STAND_IN,)),
    "llama_index": (("llama_index",), (STAND_IN,)),
    "mteb": (("mteb",), (STAND_IN,)),
    "setfit": (("setfit",), (OBJECT,)),  # it imports trainers and losses as well
    "sklearn": (("sklearn",), (STAND_IN, OBJECT)),
    "spacy_sentence_bert": (("spacy", "spacy_sentence_bert"), (STAND_IN,)),
    "txtai": (("txtai",), (STAND_IN,)),
}
_RUN = """
import runpy, sys
way, program = sys.argv.pop(1), sys.argv.pop(1)
if way == "stand-in":
    import minidistil
    minidistil.stand_in()
sys.argv = [program, way, *sys.argv[1:]]
sys.path[0] = program.rpartition("/")[0]
runpy.run_path(program, run_name="__main__")
"""


def test_every_program_is_run() -> None:
    assert {path.stem for path in PROGRAMS.glob("with_*.py")} == {f"with_{name}" for name in CLIENTS}


@pytest.mark.parametrize("client", CLIENTS)
def test_results_are_those_of_the_original(client: str, minilm: Path, reranker_small: Path, tmp_path: Path) -> None:
    modules, ways = CLIENTS[client]
    missing = [name for name in ("sentence_transformers", *modules) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: CONTRIBUTING.md says how (extra `clients`)")
    want = _found("original", client, minilm, reranker_small, tmp_path)
    assert want["whose"] == "sentence_transformers"
    for way in ways:
        got = _found(way, client, minilm, reranker_small, tmp_path)
        assert got["whose"] == "minidistil"
        assert _numbers(got["found"]) > 2
        _compare(got["found"], want["found"], client)


def _found(way: str, client: str, model: Path, reranker: Path, place: Path) -> dict[str, Any]:
    arguments = (way, PROGRAMS / f"with_{client}.py", model, reranker)
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place), "TOKENIZERS_PARALLELISM": "false"}
    done = run([sys.executable, "-c", _RUN, *arguments], cwd=place, env=env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _compare(got: Any, want: Any, where: str) -> None:
    if isinstance(want, float):
        assert got == pytest.approx(want, rel=0, abs=1e-6), where
    elif isinstance(want, (list, dict)):
        assert type(got) is type(want), where
        assert len(got) == len(want), where
        for key in want if isinstance(want, dict) else range(len(want)):
            _compare(got[key], want[key], f"{where}[{key!r}]")
    else:
        assert got == want, where


def _numbers(found: Any) -> int:
    if isinstance(found, (list, dict)):
        return sum(map(_numbers, found.values() if isinstance(found, dict) else found))
    return isinstance(found, (int, float))
