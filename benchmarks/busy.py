"""Speed of training on busy cores: steps per second of one run alone and beside busy loops.

``python -m benchmarks.busy`` trains full runs on MNIST at several nice values, each alone and beside 2 and 4 busy
processes, like a compiler or another notebook.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from benchmarks.labs import mnist_lab, until
from core import priority
from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.run_spec import OptimSpec, RunSpec

WINDOW = 5.0
"""Seconds per measurement."""
SETTLE = 1.0
"""Seconds between the start of the loops and a measurement."""
SPEC = RunSpec.of(method="pretrain", task=TaskSpec.of(dataset="mnist"), optim=OptimSpec.of(batch_size=64, epochs=200))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Run this many busy processes at the default priority."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def pace(lab: Lab, id: str) -> float:
    """Steps per second over one window."""
    time.sleep(SETTLE)
    first, start = lab.store.run(id).step, time.perf_counter()
    time.sleep(WINDOW)
    return (lab.store.run(id).step - first) / (time.perf_counter() - start)


def measure(nice: int, loops: list[int], repeats: int) -> dict[str, float]:
    """Median steps per second of a run at this nice value, by the number of loops beside it."""
    priority.NICE = nice
    found: dict[int, list[float]] = {count: [] for count in loops}
    with mnist_lab() as lab:
        run = lab.launcher.launch(SPEC)
        until(lambda: lab.store.run(run.id).step > 0)
        for _ in range(repeats):
            for count in loops:
                with busy(count):
                    found[count].append(pace(lab, run.id))
        lab.stop(run.id)
        until(lambda: not lab.store.run(run.id).is_live)
    return {f"beside {count} loops": round(median(paces), 1) for count, paces in found.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nice", type=int, nargs="+", default=[priority.NICE], help="nice values of the trainer")
    parser.add_argument("--loops", type=int, nargs="+", default=[0, 2, 4], help="numbers of busy loops")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each")
    given = parser.parse_args()
    print(json.dumps({nice: measure(nice, given.loops, given.repeats) for nice in given.nice}, indent=1))
