"""What a bank costs whose runs end at different steps: ``python -m benchmarks.ends``, on MNIST.

Eight runs are trained in one bank, of which four end half-way. That is compared with what the same updates take in a
bank of eight and in one of four, each trained for half of the steps, in turns. Seconds of the wall and of the cores are
told apart: a bank of four may split its products over two cores, which four of eight do not, since a member's numbers
must not depend on when others end.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.contenders import RATE, perceptron
from benchmarks.data import mnist_folder, unpacked, whole_task
from benchmarks.machine import machine
from core.data.examples import Task
from core.methods.lora import LoRASpec
from core.run_spec import OptimSpec
from core.training.bank.bank import Bank
from core.training.bank.shard import no_denormals
from core.training.loop import train
from core.training.stepper import StepLoss
from core.training.threads import Threads

BATCH, STEPS = 64, 1500


def timed(task: Task, lora: LoRASpec | None, ends: Sequence[int]) -> tuple[float, float, int]:
    """Train a bank in the dashboard's loop, without evaluation.

    Args:
        task: MNIST.
        lora: adapter of all runs; None for full fine-tuning.
        ends: step of each run from which it is to end.

    Returns:
        Seconds of the wall and of all cores, and the updates of all runs together.
    """
    networks = [perceptron(lora, seed) for seed in range(len(ends))]
    bank = Bank(networks, [RATE] * len(ends), list(range(len(ends))), task)
    Threads(bank, BATCH)
    done, optim = [0] * len(ends), OptimSpec.of(batch_size=BATCH, epochs=200)
    start, used = time.perf_counter(), time.process_time()
    for member, event in train(bank, [optim] * len(ends), lambda member: done[member] >= ends[member]):
        if isinstance(event, StepLoss):
            done[member] = event.first_step + len(event.losses) - 1
    return time.perf_counter() - start, time.process_time() - used, sum(done)


def told(ratios: Sequence[float]) -> str:
    """The median, and the lowest and the highest."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Time all in turn, and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ends", description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="rounds (default 7)")
    options = parser.parse_args()
    with no_denormals():
        torch.ones(1 << 20).sum()
    with tempfile.TemporaryDirectory() as root:
        task = whole_task(unpacked(mnist_folder(), Path(root)))
        for name, lora in (("full", None), ("LoRA r=4", LoRASpec.of(rank=4))):
            walls, cores = [], []
            for _ in range(options.repeats):
                both = timed(task, lora, [STEPS] * 4 + [STEPS // 2] * 4)
                eight, four = timed(task, lora, [STEPS // 2] * 8), timed(task, lora, [STEPS // 2] * 4)
                for place, ratios in enumerate((walls, cores)):
                    apart = (eight[place] + four[place]) / (eight[2] + four[2])
                    ratios.append(both[place] / both[2] / apart)
            print(f"{name}: {told(walls)} times what its updates take, {told(cores)} times in seconds of the cores")
    print(machine())


if __name__ == "__main__":
    main()
