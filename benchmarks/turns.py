"""Contenders that live in a process of their own each and are timed in turns, so that noise meets all of them alike."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import psutil
import torch
from torch import Tensor
from transformers import TrainerCallback
from transformers.utils import logging as messages

from core.data.examples import Task, TextExamples
from core.memory import Growth, freed_memory_kept, give_back
from core.training.bank.shard import no_denormals
from core.training.loop import SLOW_SECONDS, data_order, steps_at_once
from core.training.stepper import Stepper
from core.training.threads import available_cores

Timed = Callable[[int], tuple[float, int]]
"""Does the work of one round; returns the seconds and how much was done, in examples or tokens."""


@dataclass(frozen=True)
class Contender:
    """What takes turns."""

    build: Callable[[], Timed]
    """Prepares it, in a process of its own: a function of a module, or a partial of one."""
    is_here: bool
    """Whether it is this engine, for which the process has the settings that it has for a run."""


@dataclass
class Turns:
    """What was measured of a contender."""

    rates: list[float] = field(default_factory=list)
    """Examples or tokens per second, round by round."""
    core_rates: list[float] = field(default_factory=list)
    """The same per second of a core, which other people's work on the machine changes less."""
    memory: int = 0
    """Bytes of the process at its peak in the rounds, without those that it had before anything was prepared."""


class Clock(TrainerCallback):
    """Times the steps of a Trainer, without what it prepares."""

    seconds = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.seconds = time.perf_counter() - self.start


def engine(stepper: Stepper, steps: int, batch_size: int, counted: Callable[[Tensor], int] = Tensor.numel) -> Timed:
    """The engine, reported as often as the loop reports.

    Args:
        stepper: of one run or several.
        steps: number of steps per round.
        batch_size: texts of a batch of each run.
        counted: how much work some rows are.
    """
    task, pace = stepper.task, SLOW_SECONDS

    def run(number: int) -> tuple[float, int]:
        nonlocal pace
        stepper.use_threads(available_cores())
        rows = torch.stack([batches(task, seed, number, steps, batch_size) for seed in stepper.seeds])
        start, done = time.perf_counter(), 0
        while done < steps:
            count = min(steps_at_once(pace), steps - done)
            stepper.advance(rows[:, done : done + count])
            done += count
            pace = (time.perf_counter() - start) / done
        return time.perf_counter() - start, counted(rows)

    return run


def batches(task: Task, seed: int, number: int, steps: int, batch_size: int) -> Tensor:
    """(steps, batch): batches of an epoch, in the order in which the engine takes them.

    Of as many parts of the epoch, sorted by length, it is the batch of average length each, so that a round has as many
    tokens per text as an epoch. All seeds have those of the same steps, so that runs which train side by side have
    batches of equal length, as in an epoch.
    """

    def whole(seed: int) -> Tensor:
        order = task.train.batched(data_order(task.num_train, seed, number), batch_size, number)
        return order[: len(order) // batch_size * batch_size].view(-1, batch_size)

    assert isinstance(task.train, TextExamples)
    longest = task.train.lengths[whole(0)].amax(1).double()
    parts = longest.argsort(stable=True).tensor_split(steps)
    places = torch.stack([part[(longest[part] - longest[part].mean()).abs().argmin()] for part in parts])
    return whole(seed)[places.sort().values]


def compete(contender: Contender, turns: Connection) -> None:
    """Be timed whenever the number of a round comes, and say the peak memory when None does."""
    messages.set_verbosity_error()
    messages.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.simplefilter("ignore", FutureWarning)
    process = psutil.Process()
    with ExitStack() as settings:
        if contender.is_here:
            settings.enter_context(no_denormals())
            settings.enter_context(freed_memory_kept())
        before = process.memory_info().rss
        run = contender.build()
        gc.collect()
        give_back()
        built, growth = process.memory_info().rss - before, Growth()
        run(0)  # the first round allocates buffers
        turns.send(None)
        while (number := turns.recv()) is not None:
            used = time.process_time()
            seconds, done = run(number)
            growth.sample()
            turns.send((seconds, time.process_time() - used, done))
        turns.send(built + growth.peak)


def timed(contenders: Mapping[str, Contender], rounds: int) -> dict[str, Turns]:
    """Time each contender once per round."""
    spawn, turns = get_context("spawn"), {}
    for name, contender in contenders.items():
        print(f"  {name}", flush=True)
        turns[name], own = spawn.Pipe()
        spawn.Process(target=compete, args=(contender, own), daemon=True).start()
        own.close()
        turns[name].recv()
    found = {name: Turns() for name in contenders}
    for number in range(1, rounds + 1):
        for name, turn in turns.items():
            turn.send(number)
            seconds, used, done = turn.recv()
            found[name].rates.append(done / seconds)
            found[name].core_rates.append(done / used)
        print(
            f"  round {number}: " + ", ".join(f"{name} {own.rates[-1]:.0f}" for name, own in found.items()), flush=True
        )
    for name, turn in turns.items():
        turn.send(None)
        found[name].memory = turn.recv()
    return found
