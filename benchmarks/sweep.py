"""Time of a sweep of 64 LoRA runs on MNIST, from the start to the last adapter file: ``python -m benchmarks.sweep``.

Ranks 2 to 16, four learning rates, four seeds, two epochs each on MNIST rotated by 45°, as the Sweep page queues them.
"""

from __future__ import annotations

import json
from itertools import product

from benchmarks.labs import mnist_lab, until
from benchmarks.machine import machine
from core.methods.lora import LoRASpec
from core.run_spec import OptimSpec, RunSpec
from core.tasks.presets import preset_tasks
from tests.launching import fine_tune

RANKS = (2, 4, 8, 16)
RATES = (0.0005, 0.0016, 0.005, 0.016)
SEEDS = range(4)
EPOCHS = 2


def main() -> None:
    """Pretrain a base, run the sweep, and print the time."""
    with mnist_lab() as lab:
        source, target = preset_tasks("rotation-45", "mnist", lab.catalog)
        optim = OptimSpec.of(epochs=EPOCHS)
        base = lab.launcher.launch(RunSpec.of(method="pretrain", task=source, optim=optim))
        until(lambda: not lab.live())
        arms = [(optim.but(learning_rate=rate), LoRASpec.of(rank=rank)) for rank, rate in product(RANKS, RATES)]
        experiment = fine_tune(lab, lab.store.run(base.id), target, arms, SEEDS, "sweep")
        seconds = until(lambda: not lab.live())
        runs = lab.store.members(experiment)
        results = [run.result for run in runs if run.state == "finished" and run.result]
        print(
            json.dumps(
                {
                    "runs_finished": len(results),
                    "seconds": round(seconds, 1),
                    "of_them_training": round(sum(result.seconds for result in results), 1),
                    "banks_of": sorted({result.bank for result in results}),
                    "machine": machine(),
                },
                indent=1,
                ensure_ascii=False,
            )
        )


if __name__ == "__main__":
    main()
