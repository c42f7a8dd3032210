"""Time of one training step of full fine-tuning and of LoRA, measured alternately in three ways.

The times of stored runs say little about the methods: runs of one bank share their time, and the engine does for LoRA
what it cannot do for full fine-tuning. So the same step, on the same images, is timed in plain PyTorch, on this engine
with one run alone, and on this engine with a bank of runs. Every round times each of them once, one after another, in
alternating order, so that a drift of the machine's speed affects all alike.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from core.data.examples import Task
from core.data.task_spec import TaskSpec
from core.engine.jobs.choice import stepper_of
from core.errors import RunStateError
from core.memory import is_out_of_memory
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.forward import forward
from core.networks.network import NetworkSpec
from core.numbers import counted
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import OptimSpec
from core.settings import choose_device, device_name
from core.tasks.tasks import Tasks
from core.training.bank.shard import no_denormals
from core.training.sharing import has_fast_loss, sharing
from core.training.threads import available_cores, one_thread

Way = Literal["plain", "alone", "bank"]
"""In plain PyTorch; on this engine, one run alone; on this engine, several runs together, time per run."""

WAYS: tuple[Way, ...] = ("plain", "alone", "bank")

ROUNDS = 15
"""Rounds of one measurement."""

SECONDS = 0.03
"""Duration of one timing; it has two steps at least."""

POLL_SECONDS = 0.2
"""Interval at which a measurement that waits looks whether training has ended."""

MAX_IMAGES = 20_000
"""Training images that batches are drawn from; more would only take memory for the frozen products of every bank."""

FULL = FullSpec()

RATE = 1e-4
"""Learning rate: it does not change the time."""

OPTIM = OptimSpec.of(learning_rate=RATE)


@dataclass(frozen=True)
class StepTimeSpec:
    """What is measured: full fine-tuning, and LoRA with each of these settings, which differ in rank."""

    network: NetworkSpec
    task: TaskSpec
    adapters: tuple[LoRASpec, ...]
    batch_size: int
    bank: int = 1
    """Runs of one setting that are trained together, where they can be."""
    device: str = "cpu"
    objective: ObjectiveSpec = CLASSIFICATION
    """What the task is learned by; the fast step of perceptrons has classification alone."""


@dataclass(frozen=True)
class Measured:
    """One row: a method, measured in one way."""

    way: Way
    method: MethodSpec
    seconds: tuple[float, ...]
    """Seconds per step and run, one for each round; equal places are of the same round."""


@dataclass(frozen=True)
class StepTimes:
    """The result of a measurement."""

    spec: StepTimeSpec
    rows: tuple[Measured, ...]
    machine: str
    threads: int
    """CPU threads of the banks; one in the other two ways."""

    def of(self, way: Way, method: MethodSpec) -> tuple[float, ...]:
        """Seconds per step and run in each round; empty where it was not measured."""
        return next((row.seconds for row in self.rows if (row.way, row.method) == (way, method)), ())


Timing = Callable[[int], float]
"""Trains for a number of steps, and returns the seconds per step and run."""

Subject = tuple[Way, MethodSpec]


def time_steps(
    spec: StepTimeSpec, tasks: Tasks, threads: int | None, is_training: Callable[[], bool], waits: Callable[[], None]
) -> StepTimes:
    """Measure all rounds in this thread; a round during which training began is thrown away.

    Args:
        spec: what to measure.
        tasks: where examples come from.
        threads: CPU threads of banks; None for one per core.
        is_training: whether any run is queued or trains, for whose end it waits.
        waits: called again and again while it waits.

    Raises:
        LabError: the data is missing, or adapters do not fit the network.
        RunStateError: out of memory.
    """

    def wait() -> None:
        while is_training():
            waits()
            time.sleep(POLL_SECONDS)

    device = choose_device(spec.device)
    wait()
    kept: list[dict[Subject, float]] = []
    try:
        with closing(rounds(spec, tasks.get(spec.task, device, spec.network), threads)) as source:
            while len(kept) < ROUNDS:
                times = next(source)
                if is_training():
                    wait()
                else:
                    kept.append(times)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise RunStateError("Out of memory: these banks do not fit beside each other.") from error
    rows = tuple(Measured(way, method, tuple(times[way, method] for times in kept)) for way, method in kept[0])
    return StepTimes(spec, rows, machine_name(device), threads or available_cores())


def rounds(spec: StepTimeSpec, task: Task, threads: int | None = None) -> Generator[dict[Subject, float]]:
    """Build everything, and yield the times of one round after another, without end.

    Args:
        spec: what to measure.
        task: with images for the network, on the device.
        threads: CPU threads of the banks; None for one per core.

    Raises:
        LoRAError: adapters do not fit the network.
        MemoryError, RuntimeError: out of memory, see :func:`core.memory.is_out_of_memory`.
    """
    task = replace(task, train=task.train.first(MAX_IMAGES))
    with no_denormals(), one_thread():
        timings: dict[Subject, Timing] = {}
        for method in (FULL, *spec.adapters):
            timings["plain", method] = _plain(spec, task, method)
            timings["alone", method] = _engine(spec, task, method, 1, 1)
            together = sharing(method.kind, spec.network.kind).together if has_fast_loss(spec.objective) else 1
            members = min(spec.bank, together)
            if members > 1:
                timings["bank", method] = _engine(spec, task, method, members, threads or available_cores())
        steps = {subject: _enough(timing) for subject, timing in timings.items()}
        order = sorted(timings, key=lambda subject: WAYS.index(subject[0]))
        while True:
            yield {subject: timings[subject](steps[subject]) for subject in order}
            order.reverse()


def _enough(timing: Timing) -> int:
    """Number of steps per timing."""
    timing(2)  # creates buffers and the optimiser's state
    return max(2, math.ceil(SECONDS / timing(2)))


def network(spec: StepTimeSpec, method: MethodSpec) -> nn.Module:
    """The network before training; its weights do not change the time."""
    return method.prepare(spec.network.build(0), torch.Generator().manual_seed(0)).to(spec.device)


def _plain(spec: StepTimeSpec, task: Task, method: MethodSpec) -> Timing:
    """A loop as one would write it: modules, autograd, and Adam of torch.optim on what is trained."""
    module = network(spec, method)
    examples, y = task.train, task.train.labels
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=RATE)

    def timing(steps: int) -> float:
        torch.set_num_threads(1)
        batches = _batches(spec, task, steps)[0]
        start = time.perf_counter()
        for rows in batches:
            loss = spec.objective.loss(forward(module, examples.batch(rows)), y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        loss.item()  # waits for the device
        return (time.perf_counter() - start) / steps

    return timing


def _engine(spec: StepTimeSpec, task: Task, method: MethodSpec, members: int, threads: int) -> Timing:
    """Equal runs as the engine trains them, in one data order."""
    networks, objectives = [network(spec, method) for _ in range(members)], [spec.objective] * members
    stepper = stepper_of(networks, method.kind, [OPTIM] * members, [0] * members, task, objectives=objectives)

    def timing(steps: int) -> float:
        stepper.use_threads(threads)
        rows = _batches(spec, task, steps)
        start = time.perf_counter()
        stepper.advance(rows).cpu()
        return (time.perf_counter() - start) / steps / members

    return timing


def _batches(spec: StepTimeSpec, task: Task, steps: int) -> torch.Tensor:
    """Indices into the training part, (1, steps, batch)."""
    size = min(spec.batch_size, task.num_train)
    numbers = torch.Generator(task.device).manual_seed(steps)
    return torch.randint(task.num_train, (1, steps, size), generator=numbers, device=task.device)


def machine_name(device: torch.device) -> str:
    """Name of the processor, or of another device, and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    cores = available_cores()
    there = f"{name}, {counted(cores, 'core')}"
    return there if device.type == "cpu" else f"{device_name(device)}; {there}"
