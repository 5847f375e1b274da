"""A child may be forked at any moment, also while another thread loads its first model, and then do the same."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from minidistil import _loading
from tests import forks
from tests.processes import python, run

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]

_FORK_WHILE_LOADING = """
import os, sys, threading, time, warnings
import minidistil
from tests import forks
from tests.processes import python, run
warnings.simplefilter("ignore")
children, uses = int(sys.argv[1]), {
    "encode": lambda: minidistil.load(sys.argv[3], threads=2).encode(["music", "wine"]),
    "narrow": lambda: minidistil.load(sys.argv[3], threads=2, precision="int8").encode(["music", "wine"]),
    "exact": lambda: minidistil.load(sys.argv[3], backend="exact").encode("music"),
    "pipeline": lambda: minidistil.pipeline("fill-mask", model=sys.argv[3], threads=2)("music [MASK]"),
    "rerank": lambda: minidistil.CrossEncoder(sys.argv[3], threads=2).predict([("music", "wine")]),
}
use = uses[sys.argv[2]]
thread = threading.Thread(target=use)
thread.start()
started = []
for _ in range(children):
    started.append(forks.child(use))
    time.sleep(0.01)
statuses = forks.ended(*started)
thread.join()
assert statuses == [0] * children, statuses
"""


@pytest.mark.parametrize(
    ("use", "model", "children"),
    [
        ("encode", "sentence_small", 12),
        ("narrow", "sentence_small", 6),
        ("pipeline", "distilbert_small", 12),
        pytest.param("encode", "sentence_small", 200, marks=pytest.mark.slow),
        pytest.param("exact", "sentence_small", 100, marks=pytest.mark.slow),
        pytest.param("pipeline", "distilbert_small", 100, marks=pytest.mark.slow),
        pytest.param("rerank", "reranker_small", 100, marks=pytest.mark.slow),
    ],
)
def test_forks_while_another_thread_loads_its_first_model(
    use: str, model: str, children: int, request: pytest.FixtureRequest
) -> None:
    command = [sys.executable, "-c", _FORK_WHILE_LOADING, str(children), use, str(request.getfixturevalue(model))]
    done = run(command, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr


_WATCH_IMPORTS = """
import pickle
import sys
import minidistil
from minidistil import _loading
inside, outside = [], []
def watch(event, arguments):
    if event == "import":  # of a module that is not there yet: its lock is held meanwhile
        (inside if _loading._loading._is_owned() else outside).append(arguments[0])
sys.addaudithook(watch)
sentences, words, reranker, folder = sys.argv[1:]
ranges = [-1.0] * 128, [1.0] * 128
for options in {"threads": 2}, {"backend": "exact"}, {"backend": "blas"}:
    minidistil.load(sentences, **options).encode(["music", "wine"], precision="int8", ranges=ranges)
    for precision in "int8", "bfloat16":
        minidistil.load(sentences, precision=precision, **options).encode(["music", "wine"])
minidistil.pipeline("fill-mask", model=words, threads=2)("music [MASK]")
minidistil.pipeline("feature-extraction", model=words, threads=2)("music")
minidistil.CrossEncoder(reranker, threads=2).rank("music", ["wine", "rain"])
pickled = pickle.dumps([minidistil.load(sentences), minidistil.load(sentences).tokenizer])
pickle.loads(pickled)
model = minidistil.AutoModel.from_pretrained(words)
model(**model.tokenizer(["music"], return_tensors="np"), output_attentions=True)
for name in "vectors.npy", "vectors.jsonl":
    minidistil.encode_to_file(minidistil.load(sentences), ["music"], f"{folder}/{name}")
minidistil.util.semantic_search([[1.0, 0.0]], [[1.0, 0.0]])
assert len(inside) > 50, inside
assert not outside, outside
"""


def test_everything_is_imported_where_a_fork_waits_for_it(
    sentence_small: Path, distilbert_small: Path, reranker_small: Path, tmp_path: Path
) -> None:
    """Modules of Python's own, too: a codec is one (`"utf-8-sig"`)."""
    python(_WATCH_IMPORTS, sentence_small, distilbert_small, reranker_small, tmp_path)


def test_a_fork_waits_for_what_is_being_loaded() -> None:
    inside, order, children = threading.Event(), list[str](), list[int]()

    def fork() -> None:
        inside.wait()
        children.append(forks.child(lambda: None))
        order.append("forked")

    thread = threading.Thread(target=fork)
    thread.start()
    with _loading.loading():
        inside.set()
        thread.join(0.2)
        with _loading.loading():  # a thread that has it may enter again
            order.append("loaded")
    thread.join(60)
    assert forks.ended(*children) == [0]
    assert order == ["loaded", "forked"]


def test_children_find_no_lock_taken() -> None:
    lock, other = _loading.Lock(), _loading.Lock()

    def fork() -> None:
        def act() -> None:
            with lock, _loading.loading():
                pass

        with other:
            children.append(forks.child(act))

    children: list[int] = []
    with lock:
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join(60)
    assert forks.ended(*children) == [0]
    with lock, other:
        pass


def test_a_child_gives_back_what_its_parent_took() -> None:
    lock = _loading.Lock()

    def act() -> None:
        lock.__exit__()
        with lock:
            pass

    with lock:
        assert forks.ended(forks.child(act)) == [0]


def test_an_attribute_is_loaded_once_whoever_asks() -> None:
    class Holder:
        made = 0

        @_loading.loaded_once
        def value(self) -> object:
            """Documented."""
            Holder.made += 1
            return object()

    holder, found, together = Holder(), list[object](), threading.Barrier(8)

    def ask() -> None:
        together.wait(60)
        found.append(holder.value)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Holder.made == len(set(map(id, found))) == 1
    assert Holder.value.__doc__ == "Documented."


def test_no_module_loads_anything_while_it_is_imported() -> None:
    """It would wait for a thread that waits for the module."""
    program = """
import importlib, pkgutil
import minidistil.kernels, minidistil.weights
from minidistil import _loading
class Refused:
    def __enter__(self): raise AssertionError("taken while a module is imported")
    def __exit__(self, *exception): pass
_loading._loading = Refused()
names = [
    module.name
    for package in (minidistil, minidistil.kernels, minidistil.weights)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if "__main__" not in module.name
]
assert len(names) > 80, names
for name in names:
    importlib.import_module(name)
"""
    python(program)
