"""Time to stop runs, from the request to the stored result: ``python -m benchmarks.stopping``, on MNIST.

Each case is stopped at several moments of its training; in a bank, one run is stopped first, then all others at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import count

from benchmarks.labs import mnist_lab, until
from benchmarks.machine import machine
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.perceptron import PerceptronSpec
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Run
from core.tasks.presets import preset_tasks
from tests.launching import fine_tune

MOMENTS = (0.3, 1.1, 2.7)
"""Seconds of training before a stop is requested."""

LONG = OptimSpec.of(epochs=200)
"""More epochs than the measurement takes."""


def ended(lab: Lab, runs: list[Run]) -> bool:
    """Whether all of these runs have ended."""
    return not any(run.is_live for run in lab.store.runs_of([run.id for run in runs]))


def stopped(lab: Lab, start: Callable[[], list[Run]]) -> dict[str, list[float]]:
    """Seconds to stop one run, and then all others, for each of the moments."""
    one, others = [], []
    for moment in MOMENTS:
        runs = start()
        until(lambda runs=runs: all(run.step for run in lab.store.runs_of([run.id for run in runs])))  # type: ignore[misc]
        time.sleep(moment)
        lab.stop(runs[0].id)
        one.append(until(lambda runs=runs: ended(lab, runs[:1])))  # type: ignore[misc]
        for run in runs[1:]:
            lab.stop(run.id)
        others.append(until(lambda runs=runs: ended(lab, runs[1:])))  # type: ignore[misc]
    found = {"one": one} | ({"all_others": others} if len(runs) > 1 else {})
    return {name: [round(seconds, 2) for seconds in values] for name, values in found.items()}


def main() -> None:
    """Measure and print the times."""
    seeds = count()
    with mnist_lab() as lab:
        source, target = preset_tasks("rotation-45", "mnist", lab.catalog)
        base = lab.launcher.launch(RunSpec.of(method="pretrain", task=source, optim=OptimSpec.of(epochs=1)))
        until(lambda: ended(lab, [base]))
        base = lab.store.run(base.id)

        def alone(hidden: tuple[int, int], batch_size: int) -> list[Run]:
            model = PerceptronSpec.of(num_hidden_1=hidden[0], num_hidden_2=hidden[1])
            optim = LONG.but(batch_size=batch_size)
            return [
                lab.launcher.launch(
                    RunSpec.of(method="pretrain", network=model, task=source, optim=optim, seed=next(seeds))
                )
            ]

        def beside(number: int, method: MethodSpec) -> list[Run]:
            own = [next(seeds) for _ in range(number)]
            return lab.store.members(fine_tune(lab, base, target, [(LONG, method)], own, "stopping"))

        cases: dict[str, Callable[[], list[Run]]] = {
            "pretraining": lambda: alone((128, 256), 64),
            "one full run": lambda: beside(1, FullSpec()),
            "one LoRA run": lambda: beside(1, LoRASpec.of()),
            "8 full runs": lambda: beside(8, FullSpec()),
            "32 LoRA runs": lambda: beside(32, LoRASpec.of()),
            "pretraining, 1024 and 1024 units": lambda: alone((1024, 1024), 64),
            "the same, batch 1024": lambda: alone((1024, 1024), 1024),
            "pretraining, 4096 and 4096 units": lambda: alone((4096, 4096), 64),
        }
        found = {name: stopped(lab, start) for name, start in cases.items()}
        print(json.dumps({"seconds": found, "machine": machine()}, indent=1))


if __name__ == "__main__":
    main()
