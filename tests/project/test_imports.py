"""What importing the package costs and changes: nothing that an embedding application would notice."""

import ast
import sys
from pathlib import Path

import pytest

from tests.processes import python

ROOT = Path(__file__).resolve().parents[2]

# What each folder may import besides the standard library and this project (whose arrow import-linter holds).
ALLOWED = {
    "kernels": {"numpy", "numba", "llvmlite"},
    "weights": {"numpy", "safetensors", "huggingface_hub"},
    "minidistil/backends/reference": {"numpy"},
    "minidistil/backends/engine": {"numpy", "numba", "llvmlite"},
    "minidistil/cli": {"numpy", "click", "tqdm"},
    "minidistil/arrow": {"pyarrow"},  # for types alone
    "minidistil/sentences/columns": {"numpy", "pyarrow"},  # the extra `arrow`, imported where it is asked for
    "minidistil/sentences/sinks": {"numpy", "pyarrow"},  # for types alone, like the next two
    "minidistil/sentences/streaming": {"numpy", "pyarrow"},
    "minidistil/sentences/tables": {"pyarrow"},
    "minidistil/study/render": {"numpy", "jinja2"},  # the extra `explain`, imported where a page is made
    "minidistil/training/curves": {"numpy", "matplotlib"},  # the extra `plots`, imported where a picture is drawn
    "minidistil": {"numpy", "tokenizers", "huggingface_hub", "tqdm"},
}
TYPES_ONLY = {"typing_extensions"}  # type checkers bring it; nobody loads it when code runs


def _folder(file: Path) -> str:
    path = file.relative_to(ROOT).as_posix()
    return max((name for name in ALLOWED if path.startswith((f"{name}/", f"{name}."))), key=len)


def _foreign_imports(source: str) -> set[str]:
    """Top-level names of the distributions that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names - set(sys.stdlib_module_names) - {"minidistil", "__future__"}


def test_each_folder_imports_only_what_it_may():
    files = [file for name in ("minidistil", "weights", "kernels") for file in sorted((ROOT / name).rglob("*.py"))]
    assert len(files) > 20
    found = {
        str(f.relative_to(ROOT)): _foreign_imports(f.read_text()) - ALLOWED[_folder(f)] - TYPES_ONLY for f in files
    }
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "line", ["import torch", "def f():\n    from torch.nn import Linear", "import numpy, torch.nn as x"]
)
def test_foreign_imports_are_seen_anywhere(line):
    assert "torch" in _foreign_imports(line)


_PURE_IMPORT = """
import logging, os, signal, socket, sys, threading, warnings

def state():
    return {
        "environment": dict(os.environ),
        "signal handlers": [signal.getsignal(s) for s in signal.valid_signals()],
        "root logger": (logging.root.level, list(logging.root.handlers), logging.root.disabled),
        "threads": threading.active_count(),
        "recursion limit": sys.getrecursionlimit(),
        "excepthook": sys.excepthook,
        "working folder": os.getcwd(),
        "meta path": len(sys.meta_path),
        "switch interval": sys.getswitchinterval(),
    }

def refuse(*_, **__):
    raise AssertionError("a socket was opened")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import numpy
warnings.simplefilter("error")
before, filters, errstate, printing = state(), list(warnings.filters), numpy.geterr(), numpy.get_printoptions()
import minidistil
after = state()
changed = [key for key in before if before[key] != after[key]]
changed += ["warning filters"] * (filters != list(warnings.filters)) + ["numpy errors"] * (errstate != numpy.geterr())
changed += ["numpy printing"] * (printing != numpy.get_printoptions())
heavy = ["numba", "llvmlite", "tokenizers", "huggingface_hub", "safetensors", "torch", "transformers", "click", "tqdm",
         "httpx", "httpx2", "requests", "multiprocessing", "asyncio", "typing_extensions"]
print("changed:", changed, "imported:", [name for name in heavy if name in sys.modules])
"""


def test_import_is_light_and_changes_nothing():
    assert python(_PURE_IMPORT) == "changed: [] imported: []"


@pytest.mark.parametrize("module", ["minidistil.cli", "minidistil.cli.app"])
def test_command_line_starts_without_the_compiler(module):
    heavy = ("numba", "tokenizers", "huggingface_hub", "safetensors")
    assert python(f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_public_names_are_listed_and_exist():
    code = "import minidistil as m; print([name for name in m.__all__ if not hasattr(m, name)], len(m.__all__) > 5)"
    assert python(code) == "[] True"


def test_what_safetensors_needs_is_all_that_is_imported(distilbert_small):
    """Archives and pickles wait for a checkpoint that is one, temporary files for something to write."""
    code = """
import sys, minidistil
from pathlib import Path
model = minidistil.AutoModel.from_pretrained(Path(sys.argv[1]), backend="exact")
model([[1, 2, 3]])
print([name for name in ("zipfile", "pickletools", "tempfile", "numba", "llvmlite") if name in sys.modules])
"""
    assert python(code, distilbert_small) == "[]"


def test_a_model_that_only_runs_imports_nothing_of_training(distilbert_small):
    """So its code is not compiled either, and a first result is there as soon as ever."""
    code = """
import sys, minidistil
from pathlib import Path
model = minidistil.AutoModel.from_pretrained(Path(sys.argv[1]), backend="engine")
model([[1, 2, 3]])
loaded = [name for name in sys.modules if name.startswith("minidistil.")]
assert "minidistil.kernels.steps.table" in loaded
print([name for name in loaded if "steps.training" in name or "engine.learning" in name])
"""
    assert python(code, distilbert_small) == "[]"
