"""``python -m benchmarks``: time all contenders in turn, print tables, and write one JSON file."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.contenders import Contender, banks, contenders
from benchmarks.data import mnist_folder, unpacked, whole_task
from benchmarks.machine import machine, peak_memory
from benchmarks.report import Timing, parts_of_a_step, ratios, table
from core.training.bank.shard import no_denormals


def timed(rows: list[Contender], repeats: int) -> list[Timing]:
    """Build all contenders and time each once per round, so that noise affects all alike."""
    runs, memory = [], []
    for row in rows:
        run, peak = peak_memory(lambda row=row: _built(row))  # type: ignore[misc]
        runs.append(run)
        memory.append(peak)
        print(f"  {row.name}", flush=True)
    found_in_rounds: list[list[tuple[float, int]]] = [[] for _ in rows]
    for number in range(repeats):
        print(f"  round {number + 1} of {repeats}", flush=True)
        for row, run, found in zip(rows, runs, found_in_rounds, strict=True):
            found.append(row.seconds(run))
    return [
        Timing(row.name, row.batch, row.members, *map(tuple, zip(*found, strict=True)), peak)  # type: ignore[arg-type]
        for row, found, peak in zip(rows, found_in_rounds, memory, strict=True)
    ]


def _built(row: Contender) -> object:
    run = row.build()
    row.seconds(run) if row.threads is None else run(8)  # the first steps allocate buffers
    return run


def main() -> None:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="timings of each contender (default 7)")
    parser.add_argument("--batch", type=int, nargs="*", default=[64, 512], help="batch sizes (default 64 512)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results.json"), help="JSON file to write")
    parser.add_argument("--only", default="", help="keep contenders whose name contains this")
    arguments = parser.parse_args()
    folder = mnist_folder()
    start = time.perf_counter()
    # As in the lab: torch starts its threads while this one flushes denormals.
    with no_denormals():
        torch.ones(1 << 20).sum()
    timings: list[Timing] = []
    with tempfile.TemporaryDirectory() as root:
        task = whole_task(unpacked(folder, Path(root)))
        for batch in arguments.batch:
            print(f"Batch {batch}", flush=True)
            rows = [row for row in contenders(task, Path(root), batch) if arguments.only in row.name]
            timings += timed(rows, arguments.repeats)
        torch.set_num_threads(1)
        parts = {name: parts_of_a_step(task, 64, settings) for name, settings in banks() if name in PROFILED}
    text = table(timings)
    print(text)
    print(ratios(timings))
    for name, spent in parts.items():
        print(
            f"\nOne step of a shard of {name}, microseconds: "
            + ", ".join(f"{part} {us:.0f}" for part, us in spent.items())
        )
    print(f"\n{machine()}; {time.strftime('%Y-%m-%d', time.gmtime())}; {time.perf_counter() - start:.0f} s in all.")
    arguments.out.write_text(
        json.dumps(
            {
                "machine": machine(),
                "date": time.strftime("%Y-%m-%d", time.gmtime()),
                "timings": [timing.as_dict() for timing in timings],
                "step_microseconds": parts,
            },
            indent=1,
        )
    )


PROFILED = ("full K=1", "LoRA K=1", "LoRA K=8")

if __name__ == "__main__":
    main()
