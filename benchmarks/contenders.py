"""The contenders: each trains for a number of steps and returns the time."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from core import notebook
from core.data.examples import Task
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec
from core.run_spec import OptimSpec
from core.training.bank.bank import Bank
from core.training.loop import data_order, train
from core.training.schedule import steps_per_epoch
from core.training.stepper import StepLoss
from core.training.threads import Threads

EXAMPLES = 60_000
RANK = 4
RATE = 0.001

Run = Callable[[int], tuple[float, int, int]]
"""Trains for about this many steps; returns the seconds, the exact number of steps, and the threads."""


@dataclass(frozen=True)
class Contender:
    """One row of the table."""

    name: str
    batch: int
    members: int
    """Number of runs trained together; figures are per run."""
    steps: int
    """Number of steps per timing, which is scaled to an epoch."""
    threads: int | None
    """Number of intra-op threads; None lets the engine choose."""
    build: Callable[[], Run]

    def seconds(self, run: Run) -> tuple[float, int]:
        """Seconds per run for an epoch of 60,000 images, and the number of threads."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        seconds, steps, threads = run(self.steps)
        return seconds / steps * steps_per_epoch(EXAMPLES, self.batch) / self.members, threads


def perceptron(lora: LoRASpec | None = None, seed: int = 0) -> MultilayerPerceptron:
    """The network of all contenders."""
    network = PerceptronSpec.of().build(0)
    if lora is not None:
        add_lora(network, lora, torch.Generator().manual_seed(seed))
    return network


def with_peft() -> nn.Module:
    """The same network with PEFT's adapters of rank 4 on all three layers."""
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=["layers.0", "layers.2", "layers.4"])
    return get_peft_model(perceptron(), config)  # type: ignore[arg-type]


def notebook_loop(root: Path, batch: int, peft: bool) -> Run:
    """The notebook's loop, unchanged: torchvision's dataset, ToTensor, DataLoader, Adam."""
    data = datasets.MNIST(str(root), train=True, transform=transforms.ToTensor())
    loader = DataLoader(data, batch_size=batch, shuffle=True)
    network = with_peft() if peft else perceptron()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=RATE)

    def run(steps: int) -> tuple[float, int, int]:
        steps = min(steps, len(loader))
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            notebook.train(1, network, optimizer, islice(loader, steps), "cpu")
        return time.perf_counter() - start, steps, torch.get_num_threads()

    return run


def memory_loop(task: Task, batch: int, fused: bool) -> Run:
    """PEFT in a plain efficient loop: data in memory, no data loader."""
    network = with_peft()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=RATE, fused=fused)
    order = data_order(EXAMPLES, 0, 1)
    x, y = task.train.all_pixels(), task.train.labels

    def run(steps: int) -> tuple[float, int, int]:
        batches = order.split(batch)[:steps]
        start = time.perf_counter()
        for rows in batches:
            loss = F.cross_entropy(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - start, len(batches), torch.get_num_threads()

    return run


def engine(task: Task, batch: int, settings: Sequence[tuple[LoRASpec | None, float, int]]) -> Run:
    """The bank in the dashboard's training loop, without evaluation.

    Args:
        task: MNIST.
        batch: images per step.
        settings: adapter, learning rate and seed of each run.
    """
    networks = [perceptron(lora, seed) for lora, _, seed in settings]
    bank = Bank(networks, [rate for _, rate, _ in settings], [seed for _, _, seed in settings], task)
    optims = [OptimSpec.of(batch_size=batch, learning_rate=rate, epochs=200) for _, rate, _ in settings]

    def run(steps: int) -> tuple[float, int, int]:
        threads = Threads(bank, batch)  # includes the trial of thread counts, as for every bank
        start = time.perf_counter()
        for member, event in train(bank, optims):
            if member == 0 and isinstance(event, StepLoss):
                done = event.first_step + len(event.losses) - 1
                if done >= steps:
                    break
        return time.perf_counter() - start, done, threads.count

    return run


def products_only(task: Task, batch: int, settings: Sequence[tuple[LoRASpec | None, float, int]]) -> Run:
    """The floor: only the matrix products of the same steps on the same tensors, on one thread."""
    networks = [perceptron(lora, seed) for lora, _, seed in settings]
    bank = Bank(networks, [rate for _, rate, _ in settings], [seed for _, _, seed in settings], task)
    calls = [bank.products(shard, batch) for shard in range(bank.shards)]

    def run(steps: int) -> tuple[float, int, int]:
        start = time.perf_counter()
        with torch.inference_mode():
            for shard in calls:
                for _ in range(steps):
                    shard()
        return time.perf_counter() - start, steps, torch.get_num_threads()

    return run


def one_order(count: int, rank: int = RANK) -> list[tuple[LoRASpec | None, float, int]]:
    """LoRA runs with one seed and different learning rates."""
    return [(LoRASpec.of(rank=rank), RATE * (1 + k / count), 0) for k in range(count)]


def settings_by_seeds(settings: int, seeds: int) -> list[tuple[LoRASpec | None, float, int]]:
    """LoRA runs as in a sweep: every setting with every seed."""
    return [(LoRASpec.of(rank=RANK), RATE * (1 + k), seed) for seed in range(seeds) for k in range(settings)]


def full(count: int) -> list[tuple[LoRASpec | None, float, int]]:
    """Full fine-tuning runs with different seeds."""
    return [(None, RATE, seed) for seed in range(count)]


def contenders(task: Task, root: Path, batch: int) -> list[Contender]:
    """All contenders at one batch size."""
    few = max(40, 16_000 // batch)
    rows: list[Contender] = []
    for threads in (1, 2):
        few = few // threads  # if a core is busy, two threads may be fifty times slower
        label = f", {threads} thread{'s' if threads > 1 else ''}"
        for peft in (False, True):
            name = "notebook loop" + (" with PEFT LoRA" if peft else "") + label
            rows.append(Contender(name, batch, 1, few, threads, partial(notebook_loop, root, batch, peft)))
        rows.append(
            Contender(f"PEFT LoRA in memory{label}", batch, 1, few, threads, partial(memory_loop, task, batch, False))
        )
        rows.append(
            Contender(
                f"PEFT LoRA in memory, fused Adam{label}",
                batch,
                1,
                few,
                threads,
                partial(memory_loop, task, batch, True),
            )
        )
    few *= 2
    for name, settings in banks():
        steps = few if len(settings) > 8 else 2 * few
        rows.append(
            Contender(f"engine {name}", batch, len(settings), steps, None, partial(engine, task, batch, settings))
        )
    for name, settings in banks():
        if len(settings) in (1, 8) or name == "LoRA K=32":
            rows.append(
                Contender(f"floor {name}", batch, len(settings), few, 1, partial(products_only, task, batch, settings))
            )
    return rows


def banks() -> list[tuple[str, list[tuple[LoRASpec | None, float, int]]]]:
    """Banks to time, by name."""
    return [
        *((f"full K={count}", full(count)) for count in (1, 4, 8, 32)),
        *((f"LoRA K={count}", one_order(count)) for count in (1, 4, 8, 32)),
        ("LoRA 8 settings × 4 seeds", settings_by_seeds(8, 4)),
    ]
