"""The recipes of docs/clusters.md with Spark, Ray and Dask themselves: the bytes of one process, whatever happens."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.processes import run

pytestmark = [pytest.mark.clients, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "clusters.md"
RECIPES = ("spark", "spark udf", "ray", "dask")


def test_every_recipe_is_run() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert tuple(re.findall(r"^```python (.*)$", page, re.MULTILINE)) == RECIPES
    for code in re.findall(r"^```python .*?\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        assert 5 <= len(code.splitlines()) <= 20


@pytest.mark.parametrize(("parts", "kill"), [(1, "keep"), (7, "kill")])
@pytest.mark.parametrize("name", RECIPES)
def test_the_bytes_are_those_of_one_process(
    name: str, parts: int, kill: str, sentence_small: Path, tmp_path: Path
) -> None:
    engine = name.split()[0]
    module = {"spark": "pyspark"}.get(engine, engine)
    for needed in (module, "pyarrow", "pandas"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: CONTRIBUTING.md says how (extra `clusters`)")
    if engine == "spark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java 17, and there is none on the path")
    model = shutil.copytree(sentence_small, tmp_path / "model")
    arguments = (name, str(parts), kill, PAGE, model, tmp_path)
    env = {
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(tmp_path),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    done = run([sys.executable, Path(__file__).with_name("clusters.py"), *arguments], cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr[-8000:]
    assert "the same (300, 128)" in done.stdout
