"""Tries mutated files and random calls: `python -m tests.fuzz TARGET --seed N [--case N | --cases N | --minutes N]`."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import warnings
from pathlib import Path

# One thread for what libraries bring, so that children are forked from a process of one thread, and so that address
# space, which is what bounds a child, is not reserved for threads that nobody asked for.
_QUIET = {
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1", "HF_HUB_OFFLINE": "1", "RUST_BACKTRACE": "0",
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run what the command line asks for; the exit status is 1 where anything went wrong."""
    if os.environ | _QUIET != os.environ:
        os.execve(sys.executable, [sys.executable, "-m", "tests.fuzz", *arguments], {**os.environ, **_QUIET})
    from tests.fuzz import server
    from tests.fuzz.all import OF_THE_HARNESS, TARGETS
    from tests.fuzz.outcomes import HEAD

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all where none is named")
    parser.add_argument("--seed", type=int, help="of the run; unset, another each time")
    parser.add_argument("--case", type=int, help="try this one only, in this process, and say what it is")
    parser.add_argument("--first", type=int, default=0, help="the first case")
    parser.add_argument("--cases", type=int, help="how many of each target")
    parser.add_argument("--minutes", type=float, help="for each target")
    parser.add_argument("--hang", type=float, default=server.HANG, help="seconds that a case may take")
    parser.add_argument("--memory", type=int, default=server.MEMORY >> 20, help="MiB that a child may grow by")
    parser.add_argument("--place", type=Path, help="folder to work in, which stays; unset, a temporary one")
    parser.add_argument("--json", action="store_true", help="print the counts for a program")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # of texts that are cut, and of files that are made anew
    seed = random.SystemRandom().randrange(1 << 32) if chosen.seed is None else chosen.seed
    seconds = None if chosen.minutes is None else 60 * chosen.minutes
    cases = 1000 if chosen.cases is None and seconds is None else chosen.cases
    limits = server.Limits(chosen.memory << 20, chosen.hang)
    bad = 0
    with contextlib.nullcontext(chosen.place.absolute()) if chosen.place else server.workplace() as place:
        for name in chosen.targets or TARGETS:
            target = {**TARGETS, **OF_THE_HARNESS}[name]()
            if chosen.case is not None:
                server.run_here(target, seed, place / name, chosen.case)
                continue
            counts = server.run(
                target, seed, place / name, first=chosen.first, cases=cases, seconds=seconds, limits=limits
            )
            bad += len(counts.findings)
            print(counts.to_json() if chosen.json else f"{HEAD}\n{counts.line()}\n{counts.report()}", flush=True)
    return int(bad > 0)


try:
    sys.exit(main(sys.argv[1:]))
except KeyboardInterrupt:
    sys.exit(130)
