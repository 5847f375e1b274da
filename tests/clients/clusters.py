"""A recipe of docs/clusters.md, run on one machine with the engine itself: `python clusters.py RECIPE PARTS KILL ...`.

Arguments: the recipe, how many parts the table is in, "kill" or "keep" (a worker), the page, the model, a folder for
all that is written. The recipe's code is the page's, word for word; what stands around it here is the engine's set-up.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

SECONDS = 1500  # then the machine is too small for the engine, and the test says so


def texts() -> pyarrow.Table:
    words = "the city of light in a cold night with rain and music wine bread people play great small old".split()
    rows = [" ".join(words[(i * k) % len(words)] for k in range(1, 3 + i % 40)) for i in range(300)]
    return pyarrow.table({"id": range(len(rows)), "text": rows})


def killed_once(mark: str) -> Callable[[Any], Any]:
    """A step that ends the first worker that comes to it, as a machine does that is taken away."""

    def step(part: Any) -> Any:
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return part
        os.kill(os.getpid(), signal.SIGKILL)
        return part

    return step


@contextmanager
def spark(source: Path, parts: int, step: Callable[[Any], Any] | None) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2,4]").config("spark.driver.memory", "1g")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.sql.warehouse.dir": str(source.parent / "warehouse"),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "37",
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    try:
        table = session.read.parquet(str(source)).repartition(parts)
        if step is not None:
            table = table.mapInArrow(lambda batches: map(step, batches), "id long, text string")
        yield table
    finally:
        session.stop()


@contextmanager
def ray(source: Path, parts: int, step: Callable[[Any], Any] | None) -> Iterator[Any]:
    import ray as engine

    engine.init(
        num_cpus=4,
        object_store_memory=150 << 20,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=f"/tmp/ray-{os.getpid()}",  # sockets have short names
    )
    try:
        table = engine.data.read_parquet(str(source)).repartition(parts)
        yield table if step is None else table.map_batches(step)
    finally:
        engine.shutdown()


@contextmanager
def dask(source: Path, parts: int, step: Callable[[Any], Any] | None) -> Iterator[Any]:
    import dask.dataframe
    from distributed import Client, LocalCluster

    place = str(source.parent / "dask")
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="2GiB", dashboard_address=None, local_directory=place
        ) as cluster,
        Client(cluster),
    ):
        table = dask.dataframe.read_parquet(str(source)).repartition(npartitions=parts)
        yield table if step is None else table.map_partitions(step, meta=table._meta)


def recipe(page: str, name: str) -> str:
    found = re.search(rf"^```python {re.escape(name)}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the page has no recipe named {name}"
    return found[1]


def main() -> None:
    name, parts, kill, page, model, folder = sys.argv[1:]
    signal.alarm(SECONDS)
    source, out = Path(folder, "texts.parquet"), Path(folder, "out")
    parquet.write_table(texts(), source)
    mark = str(Path(folder, "killed"))
    step = killed_once(mark) if kill == "kill" else None
    engine = {"spark": spark, "ray": ray, "dask": dask}[name.split()[0]]
    with engine(source, int(parts), step) as table:
        code = compile(recipe(Path(page).read_text(encoding="utf-8"), name), page, "exec")
        exec(code, {"__name__": "__main__", "MODEL": model, "OUT": str(out), "texts": table})
    if step is not None:
        assert Path(mark).exists(), "nobody was killed"
    found = parquet.read_table(out).sort_by("id")
    assert found["id"].to_pylist() == texts()["id"].to_pylist()
    assert found["text"].to_pylist() == texts()["text"].to_pylist()

    import numpy as np

    import minidistil

    got = np.array(found["embedding"].to_pylist(), np.float32)
    want = minidistil.load(model, threads=1).encode(texts()["text"].to_pylist())
    assert got.tobytes() == want.tobytes(), "the bytes are not those of one process"
    sys.stdout.write(f"the same {got.shape}\n")


if __name__ == "__main__":
    main()
