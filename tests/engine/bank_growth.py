"""A process that trains one bank and prints planned and used memory: ``python -m tests.engine.bank_growth``.

One line of JSON: the number of runs, the planned bytes, and the peak growth of the process in bytes after data and
libraries were loaded.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.data.examples import ImageExamples, Task
from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.engine.jobs.job import Commands, Dependencies, Job, Member, Save
from core.engine.jobs.messages import Ended, Failed, OutOfMemory, Reported, Saved
from core.engine.jobs.run_files import NETWORK
from core.engine.jobs.run_job import run_job
from core.files import write_atomically
from core.forecast.memory import memory_of
from core.forecast.packing import bank_size
from core.methods.lora import LoRASpec
from core.networks.file import write_network
from core.networks.network import NetworkSpec
from core.networks.perceptron import PerceptronSpec
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from core.store.checkpoints import write_checkpoint
from core.tasks.tasks import Tasks
from core.tasks.views.view import Outline
from core.training.stepper import EpochEnd

PIXELS, CLASSES = 784, 10
STATUS = Path("/proc/self/status")


def peak() -> int:
    """Peak memory of this process in bytes, since :func:`forget_peak` if the system supports it."""
    if STATUS.exists():
        # Not from the resource module, which includes the peak of the parent process.
        return 1024 * int(next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Reset the peak if the system supports it; see ``clear_refs`` in proc(5)."""
    if STATUS.exists():
        STATUS.with_name("clear_refs").write_text("5")


class Drawn(Tasks):
    """A task of random images, stored like a real one."""

    def __init__(self, train: int, held_out: int) -> None:
        super().__init__(Catalog(Settings(Path("unused"))))
        generator = torch.Generator().manual_seed(0)
        parts: dict[str, ImageExamples] = {}
        for name, count in (("train", train), ("validation", held_out), ("test", held_out)):
            pixels = torch.rand(count, PIXELS, generator=generator)
            parts[name] = ImageExamples(pixels, torch.randint(CLASSES, (count,), generator=generator))
        self.task = Task(TaskSpec.of(), tuple(range(CLASSES)), tuple(map(str, range(CLASSES))), **parts)

    def outline(self, spec: TaskSpec) -> Outline:
        labels = self.task.train.labels, self.task.validation.labels, self.task.test.labels
        return Outline(self.task.classes, *(np.arange(len(part)) for part in labels))

    def get(self, spec: TaskSpec, device: torch.device | str = "cpu", network: NetworkSpec | None = None) -> Task:
        return self.task


def specs_of(shape: dict[str, Any]) -> list[RunSpec]:
    """Specs of the runs of a bank.

    Args:
        shape: ``hidden``, ``batch`` and ``members``; ``rank`` where they are LoRA runs; ``seeds``, distinct ones among
            them; ``keep`` and ``epochs``; ``train`` and ``held_out``, numbers of images; ``cut``, to train as many as
            workers would take.
    """
    hidden, rank = shape["hidden"], shape.get("rank")
    model = PerceptronSpec.of(num_features=PIXELS, num_hidden_1=hidden[0], num_hidden_2=hidden[1], num_classes=CLASSES)
    optim = OptimSpec.of(
        learning_rate=1e-4, batch_size=shape["batch"], epochs=shape.get("epochs", 1), keep=shape.get("keep", "last")
    )
    method, task = LoRASpec.of(rank=rank) if rank else "full", TaskSpec.of()
    spec = RunSpec.of(method=method, network=model, base="r-base", task=task, source=task, optim=optim)
    return [spec.but(seed=member % shape.get("seeds", 1)) for member in range(shape["members"])]


def trained(specs: Sequence[RunSpec], tasks: Tasks, folder: Path) -> None:
    """Write a base and train a bank from it, with checkpoints like a recorder's: at the start, and after each epoch."""
    base = folder / NETWORK
    write_network(base, specs[0].network.build(seed=0))
    gc.collect()
    forget_peak()
    threads = 1 if len(specs) == 1 else None  # the trial of thread counts would take ten steps
    job = Job(tuple(Member(f"r-{k}", spec) for k, spec in enumerate(specs)), threads=threads)
    commands = Commands()
    commands.send(Save())
    for message in run_job(job, Dependencies(tasks, base=lambda run: base), commands):
        match message:
            case Saved(step=step, content=content):
                write_checkpoint(folder / "kept", step, content)
                del content
            case Reported(event=EpochEnd()):
                commands.send(Save())
            case Ended(member, files=files):
                for name, content in files.items():
                    write_atomically(folder / f"r-{member}" / name, content)
                del files, content
            case Failed(fault=fault):
                raise RuntimeError(fault.traceback)
            case OutOfMemory():
                raise MemoryError
        del message


def main(folder: Path, shape: dict[str, Any]) -> None:
    small = {"hidden": (32, 32), "batch": 64, "members": 2}
    for rank in (None, 2):
        trained(specs_of(small | {"rank": rank}), Drawn(200, 100), folder)
    tasks = Drawn(shape.get("train", 1000), shape.get("held_out", 500))
    specs = specs_of(shape)
    if shape.get("cut"):
        specs = specs[: bank_size(specs, tasks, Settings(folder / "home"))]
    planned = memory_of(specs, tasks)
    gc.collect()
    forget_peak()
    before = peak()
    trained(specs, tasks, folder)
    print(json.dumps({"members": len(specs), "planned": planned, "used": peak() - before}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
