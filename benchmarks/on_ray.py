"""One sweep on threads and on a warm Ray cluster with the same cores, in turns: ``python -m benchmarks.on_ray``.

The cluster is one node of this machine, started by the benchmark. Besides the time from Start to the last result, it
measures what a job costs the machine of the lab: messages, bytes, and the CPU time of the lab and of the process that
is connected with the cluster. From these it projects how many cores 100 nodes would keep busy there; that is a
projection, not a measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil

from benchmarks.labs import mnist_lab, until
from benchmarks.machine import machine
from core.engine.cluster.executor import RayExecutor
from core.engine.executors import EXECUTORS
from core.engine.jobs.job import Commands, Job
from core.engine.jobs.messages import Message
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Run
from core.tasks.presets import preset_tasks
from tests.launching import fine_tune

PORT = 6397
RANKS, RATES, SEEDS = (2, 8), (0.001, 0.003), (0, 1, 2, 3)


class CountingRayExecutor(RayExecutor):
    """Counts jobs, messages and their bytes."""

    jobs = messages = bytes = 0

    def start(self, job: Job, commands: Commands) -> Iterator[Message]:
        type(self).jobs += 1
        for message in super().start(job, commands):
            type(self).messages += 1
            type(self).bytes += len(pickle.dumps(message))
            yield message


@contextmanager
def cluster(cpus: int) -> Iterator[None]:
    """A Ray cluster of one node with this many CPUs."""
    ray = str(Path(sys.executable).with_name("ray"))
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        options = [f"--port={PORT}", f"--num-cpus={cpus}", "--include-dashboard=false", f"--temp-dir={folder}"]
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
        command = [ray, "start", "--head", "--block", "--node-ip-address=127.0.0.1", *options]
        node = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        os.environ["RAY_ADDRESS"] = f"127.0.0.1:{PORT}"
        try:
            yield
        finally:
            for process in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
                process.kill()
            node.wait()


def cpu_seconds() -> float:
    """CPU time of this process, and of those that it has started and that are no nodes of the cluster."""
    own = psutil.Process()
    bridges = [child for child in own.children() if any("bridge.py" in part for part in child.cmdline())]
    return sum(sum(process.cpu_times()[:2]) for process in [own, *bridges])


def ended(lab: Lab, ids: Sequence[str]) -> None:
    """Wait until runs have ended."""
    until(lambda: not any(run.is_live for run in lab.store.runs_of(ids)))


def sweep(lab: Lab, base: Run, epochs: int, turn: int) -> float:
    """Seconds from Start to the last result; every turn has seeds of its own."""
    _, task = preset_tasks("rotation-45", "mnist", lab.catalog)
    arms = [
        (OptimSpec.of(epochs=epochs, learning_rate=rate), LoRASpec.of(rank=rank)) for rank in RANKS for rate in RATES
    ]
    arms += [(OptimSpec.of(epochs=epochs, learning_rate=rate), FullSpec()) for rate in RATES]
    start = time.perf_counter()
    runs = fine_tune(lab, base, task, arms, [100 * turn + seed for seed in SEEDS]).runs
    ended(lab, runs)
    causes = {run.cause for run in lab.store.runs_of(runs) if run.state != "finished"}
    if causes:
        sys.exit(f"Runs have no result: {causes}")
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="sweeps on each")
    parser.add_argument("--epochs", type=int, default=8, help="per run")
    options = parser.parse_args()
    EXECUTORS["ray"] = CountingRayExecutor
    seconds: dict[str, list[float]] = {"threads": [], "ray": []}
    cpu = 0.0
    with cluster(os.cpu_count() or 1), mnist_lab() as lab:
        source, task = preset_tasks("rotation-45", "mnist", lab.catalog)
        optim = OptimSpec.of(epochs=1)
        base = lab.launcher.launch(RunSpec.of(method="pretrain", task=source, optim=optim))
        ended(lab, [base.id])
        base = lab.store.run(base.id)
        lab.executors.choose("ray")
        until(lambda: lab.workers.places > 0)
        for turn in range(options.rounds):
            for name in ("threads", "ray") if turn % 2 == 0 else ("ray", "threads"):
                lab.executors.choose(name)
                # A cluster is warm once a process of it has trained something.
                warm = fine_tune(lab, base, task, [(optim, LoRASpec.of(rank=1))], [1000 + 10 * turn + len(name)]).runs
                ended(lab, warm)
                counts, before = (CountingRayExecutor.jobs, CountingRayExecutor.messages), cpu_seconds()
                seconds[name].append(sweep(lab, base, options.epochs, 2 * turn + (name == "ray")))
                if name == "ray":
                    cpu = cpu_seconds() - before
                    jobs = CountingRayExecutor.jobs - counts[0]
                    messages = CountingRayExecutor.messages - counts[1]
                print(name, turn, f"{seconds[name][-1]:.1f} s", flush=True)
    ratios = [there / here for here, there in zip(seconds["threads"], seconds["ray"], strict=True)]
    extra = median(seconds["ray"]) - median(seconds["threads"])
    last = seconds["ray"][-1]
    found = {
        "seconds on threads": [round_(value) for value in seconds["threads"]],
        "seconds on ray": [round_(value) for value in seconds["ray"]],
        "ratio, median of pairs": round_(median(ratios)),
        "jobs": jobs,
        "seconds more per job": round_(extra / jobs),
        "messages per second": round_(messages / last),
        "bytes per message": round(CountingRayExecutor.bytes / CountingRayExecutor.messages),
        "cores of the lab per job in flight": round_(cpu / last),
        "projection: cores of the lab with 100 nodes of one job": round_(100 * cpu / last),
    }
    print(json.dumps({"machine": machine(), **found}, indent=1))


def round_(value: float) -> float:
    """Three decimals."""
    return round(value, 3)


if __name__ == "__main__":
    main()
