"""A fresh process: how long until the first result, and how much memory. compare.py starts it."""

import time

_BEGIN = time.monotonic()  # before anything else is imported

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402


def main(name: str, folder: str, threads: int, spawned: float) -> dict[str, float]:
    """Seconds of the phases, memory in MB; `spawned`: the monotonic clock when the parent asked for this process."""
    from benchmarks.engines import STARTS
    from benchmarks.inputs import fixed_shape
    from benchmarks.models import locate

    peer = STARTS[name]()
    peer.start()
    imported = time.monotonic()
    peer.load(locate(Path(folder)), threads)
    loaded = time.monotonic()
    prepared = _prepare(peer, fixed_shape(1, 32))
    result = peer.run(prepared)
    done = time.monotonic()
    found = {
        "import": imported - _BEGIN,
        "load": loaded - imported,
        "first": done - loaded,
        "total": done - _BEGIN,
        "process": done - spawned,
        "cpu": time.process_time(),
        "peak_mb": _memory("VmHWM"),
        "private_mb": _memory("RssAnon"),
    }
    if not float(abs(peer.answers(prepared, result)[0]).sum()) > 0:
        raise RuntimeError(f"{name}: the first result is empty")
    peer.run(_prepare(peer, fixed_shape(8, 128)))
    found["peak_mb_8x128"] = _memory("VmHWM")
    return found


def _prepare(peer, workload):  # type: ignore[no-untyped-def]
    """Without a second compilation for the very shape: what a service meets that does not know its texts."""
    from dataclasses import replace

    if hasattr(peer, "specialise"):
        workload = replace(workload, fixed=False)
    return peer.prepare(workload)


def _memory(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1000
    return float("nan")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
