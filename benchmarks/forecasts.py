"""Forecasts beside facts: ``python -m benchmarks.forecasts``, on digits.

Runs and experiments of different shapes are forecast, trained and compared: *cold*, for the first time, and *warm*,
after runs like them; *idle*, and *beside* a run in training, where nothing may be calibrated. A forecast is right if
the middle of its range is within a factor of 1.5 of the wall time from the start to the end.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.labs import until
from benchmarks.machine import machine
from core.data.task_spec import TaskSpec
from core.forecast.forecast import Forecast
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.plan.experiment import Recipe, arm_specs, every
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from core.store.record import Run
from tests.launching import fine_tune

SOURCE, TARGET = TaskSpec.of(dataset="digits"), TaskSpec.of(dataset="digits", rotation=45.0)
NEAR = 1.5
"""Factor within which the middle of a range counts as right."""

PATIENCE = 60.0
"""Maximum number of seconds to wait for a calibration."""


@dataclass(frozen=True)
class Shape:
    """An experiment: hidden sizes of the network, arms, seeds and length."""

    name: str
    hidden: tuple[int, int]
    ranks: tuple[int | None, ...]
    seeds: int
    batch_size: int
    epochs: int

    @property
    def arms(self) -> list[Recipe]:
        """One per rank; None is full fine-tuning."""
        optim = OptimSpec.of(batch_size=self.batch_size, epochs=self.epochs)
        return [(optim, LoRASpec.of(rank=rank) if rank else FullSpec()) for rank in self.ranks]


SHAPES = [
    Shape("full", (128, 256), (None,), 1, 64, 200),
    Shape("full", (128, 256), (None,), 1, 16, 100),
    Shape("full", (512, 512), (None,), 1, 64, 50),
    Shape("full, 8 seeds", (128, 256), (None,), 8, 64, 40),
    Shape("full, 8 seeds", (256, 256), (None,), 8, 128, 20),
    Shape("LoRA r=4", (128, 256), (4,), 1, 16, 200),
    Shape("LoRA r=64", (128, 256), (64,), 1, 32, 120),
    Shape("LoRA r=4", (512, 512), (4,), 1, 64, 120),
    Shape("LoRA r=4, 8 seeds", (128, 256), (4,), 8, 64, 80),
    Shape("LoRA r=1, 4, 16, 8 seeds", (128, 256), (1, 4, 16), 8, 64, 20),
    Shape("LoRA r=1, 4, 16, 8 seeds", (128, 256), (1, 4, 16), 8, 256, 40),
    Shape("LoRA r=8, 32 seeds", (256, 256), (8,), 32, 64, 10),
    Shape("full and LoRA r=4, 8 seeds", (128, 256), (None, 4), 8, 64, 20),
    Shape("full and LoRA r=2, 8, 3 seeds", (512, 256), (None, 2, 8), 3, 32, 10),
    Shape("full and LoRA r=4, 1 seed", (64, 64), (None, 4), 1, 16, 150),
]
"""Fifteen shapes, each trained cold and warm: thirty forecasts, of a second or more on two cores."""


@dataclass(frozen=True)
class Row:
    """One forecast and what came of it, in seconds."""

    shape: str
    when: str
    basis: str
    low: float
    high: float
    took: float
    memory: int
    peak_memory: int

    @property
    def error(self) -> float:
        """Middle of the range as a multiple of the fact."""
        return math.sqrt(self.low * self.high) / self.took


def specs_of(shape: Shape, base: Run) -> list[RunSpec]:
    """The runs of a shape, as :func:`tests.launching.fine_tune` makes them."""
    return arm_specs(base.id, base.spec, every(shape.arms, range(shape.seeds), TARGET), "auto")


def forecast_of(lab: Lab, specs: Sequence[RunSpec]) -> Forecast | None:
    """The forecast, once it is known; None if it does not become known."""
    end = time.monotonic() + PATIENCE
    while (found := lab.estimates.whole(specs)).seconds is None and time.monotonic() < end:
        time.sleep(0.1)
    return found if found.seconds else None


def rows_of(lab: Lab, shapes: Sequence[Shape], beside: bool) -> Iterator[Row]:
    """Forecast and train every shape, cold and then warm, each with its base.

    Args:
        lab: an empty one.
        shapes: what to train.
        beside: whether warm forecasts are asked for while another run trains.
    """
    bases: dict[RunSpec, Run] = {}
    for shape in shapes:
        model = PerceptronSpec.of(num_hidden_1=shape.hidden[0], num_hidden_2=shape.hidden[1])
        pretrain = RunSpec.of(method="pretrain", network=model, task=SOURCE)
        base = bases.get(pretrain) or bases.setdefault(pretrain, lab.launcher.launch(pretrain))
        until(lambda: not lab.live())
        specs = specs_of(shape, base)
        for warm in (False, True):
            other = (
                lab.launcher.launch(pretrain.but(seed=9, optim=OptimSpec.of(epochs=200))) if warm and beside else None
            )
            if other:
                until(lambda other=other: lab.store.run(other.id).step > 0)  # type: ignore[misc]
            found = lab.estimates.whole(specs) if other else forecast_of(lab, specs)
            if other:
                lab.stop(other.id)
                until(lambda: not lab.live())
            if found is None or found.seconds_low is None or found.seconds_high is None:
                print(f"  {shape.name}: no forecast", flush=True)
                continue
            experiment = fine_tune(lab, base, TARGET, every(shape.arms, range(shape.seeds)), shape.name)
            took = until(lambda: not lab.live())
            results = [run.result for run in lab.store.members(experiment) if run.result]
            peak = max(result.peak_memory or 0 for result in results)
            when = f"{'warm' if warm else 'cold'}, {'beside' if other else 'idle'}"
            name = f"{shape.name}, batch {shape.batch_size}, {shape.hidden[0]} and {shape.hidden[1]} units"
            row = Row(name, when, found.basis, found.seconds_low, found.seconds_high, took, found.memory, peak)
            print(f"  {row.error:5.2f}  {took:6.2f} s  {when}, {found.basis}: {name}", flush=True)
            yield row


def summary(rows: Sequence[Row]) -> str:
    """A table by situation and by basis: forecasts, share within the factor, median error, and width of the ranges."""
    lines = [
        f"| | forecasts | middle within {NEAR}× | fact within the range | middle ÷ fact, median | widest range |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    names = [*dict.fromkeys(row.when for row in rows), *dict.fromkeys(row.basis for row in rows), "all"]
    for name in names:
        some = [row for row in rows if name in (row.when, row.basis, "all")]
        near = sum(1 / NEAR <= row.error <= NEAR for row in some)
        inside = sum(row.low <= row.took <= row.high for row in some)
        lines.append(
            f"| {name} | {len(some)} | {100 * near / len(some):.0f} % | {100 * inside / len(some):.0f} % | "
            f"{median(row.error for row in some):.2f} | {max(row.high / row.low for row in some):.1f}× |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecasts", description=__doc__)
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="number of shapes (default: all 15)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/forecasts.json"), help="JSON file to write")
    arguments = parser.parse_args()
    shapes = SHAPES[:: max(1, -(-len(SHAPES) // arguments.shapes))]
    rows: list[Row] = []
    for beside in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            lab = Lab(Settings(Path(folder)))
            lab.start()
            rows += rows_of(lab, shapes[1::2] if beside else shapes[::2], beside)
            lab.close()
    print(f"\n{summary(rows)}\n\n{machine()}; {time.strftime('%Y-%m-%d', time.gmtime())}")
    found = {"machine": machine(), "date": time.strftime("%Y-%m-%d", time.gmtime()), "rows": [asdict(r) for r in rows]}
    arguments.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
