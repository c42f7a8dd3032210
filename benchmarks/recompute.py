"""``python -m benchmarks.recompute HOME``: what recomputed activations save of memory, and cost of time.

Steps of LoRA on every linear layer, of the language models and transformers that a home has imported, on four texts of
128 tokens. Each way has a process of its own, and both are timed in turns.
"""

from __future__ import annotations

import sys
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch

from benchmarks.machine import machine, peak_memory
from core.data.examples import Task
from core.engine.jobs.run_memory import step_bytes
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.networks.causal import TESTED
from core.networks.network import NetworkSpec
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION, objective_of
from core.run_spec import OptimSpec
from core.settings import Settings
from core.training.autograd import AutogradStepper

BATCH, LENGTH, ROUNDS = 4, 128, 3
METHOD = LoRASpec.of(rank=8, target_modules=("all-linear",))


def child(pipe: Connection, network: NetworkSpec, recompute: bool, objective: ObjectiveSpec) -> None:
    """Take a step whenever asked: the memory of the first one is told, and the seconds of the cores of each."""
    generator = torch.Generator().manual_seed(0)
    module = METHOD.prepare(network.build(0), generator)
    examples = network.examples(BATCH, generator, LENGTH)
    optim = OptimSpec.of(batch_size=BATCH, recompute=recompute)
    stepper = AutogradStepper(module, optim, Task.of_one_part(examples, network.num_classes), objective=objective)
    rows = torch.arange(BATCH)[None, None]
    _, memory = peak_memory(lambda: stepper.advance(rows))
    pipe.send(memory)
    while pipe.recv():
        start = time.process_time()
        stepper.advance(rows)
        pipe.send(time.process_time() - start)


def measure(network: NetworkSpec, objective: ObjectiveSpec) -> str:
    """A row of the table."""
    context, pipes, memory = get_context("spawn"), [], []
    for recompute in (False, True):
        own, other = context.Pipe()
        context.Process(target=child, args=(other, network, recompute, objective), daemon=True).start()
        memory.append(own.recv())
        pipes.append(own)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS):
        for place in (0, 1) if number % 2 else (1, 0):
            pipes[place].send(True)
            times[place].append(pipes[place].recv())
    counted = [step_bytes(network, METHOD, OptimSpec.of(recompute=again), BATCH, LENGTH)[0] for again in (False, True)]
    ratio = median(again / kept for kept, again in zip(*times, strict=True))
    name = network.sizes if objective == CLASSIFICATION else f"{network.sizes}, language"
    sizes = " | ".join(f"{size / 2**20:,.0f}" for pair in zip(counted, memory, strict=True) for size in pair)
    return f"| {name} | {sizes} | {min(times[0]):.2f} | {min(times[1]):.2f} | {ratio:.2f}× |"


def main(home: Path) -> None:
    """Print the table."""
    lab = Lab(Settings(home=home))
    print(machine())
    print("| network | MiB kept, counted | measured | MiB again, counted | measured | s of the cores kept | again | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for card in lab.networks.list():
        network = lab.networks.spec(card.digest)
        print(measure(network, CLASSIFICATION), flush=True)
        if network.values["model_type"] in TESTED:
            print(measure(lab.networks.spec(card.digest, learns="language"), objective_of("language")), flush=True)
    lab.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
