"""What a sweep of 64 LoRA runs takes on MNIST, from Start to the last adapter file: ``python -m benchmarks.sweep``.

Ranks 2 to 16, four learning rates, four seeds, two epochs each on MNIST turned by 45°, as the Sweep page queues them.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from itertools import product
from pathlib import Path

from benchmarks.data import mnist_folder
from benchmarks.machine import machine
from core.data.presets import preset_tasks
from core.lab import Lab
from core.settings import Settings
from core.spec import LoRASpec, OptimSpec, RunSpec

RANKS = (2, 4, 8, 16)
RATES = (0.0005, 0.0016, 0.005, 0.016)
SEEDS = range(4)
EPOCHS = 2


def finished(lab: Lab) -> float:
    """Seconds until nothing waits or trains any more."""
    start = time.perf_counter()
    while lab.live():
        time.sleep(0.02)
    return time.perf_counter() - start


def main() -> None:
    """Pretrain a base, run the sweep, print."""
    mnist_folder()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Settings(Path(folder), data_folder=Path(os.environ["LORA_LAB_DATA"])))
        lab.start()
        source, target = preset_tasks("rotation-45", "mnist", lab.catalog)
        optim = OptimSpec.of(epochs=EPOCHS)
        base = lab.launch(RunSpec.of(method="pretrain", task=source, optim=optim))
        finished(lab)
        arms = [
            (optim.but(learning_rate=rate), LoRASpec.of(rank=rank)) for rank, rate in product(RANKS, RATES)
        ]  # fmt: skip
        experiment = lab.fine_tune(lab.run(base.id), target, arms, SEEDS, "sweep")
        seconds = finished(lab)
        runs = lab.members(experiment)
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
        lab.close()


if __name__ == "__main__":
    main()
