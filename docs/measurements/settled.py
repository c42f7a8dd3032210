"""How often a setting is called settled wrongly: ``python -m docs.measurements.settled`` trains, and writes a table.

Where the learning rate is constant, a run begins as a shorter one does, number for number. So each setting is trained
once, for a long time; its curve up to some epoch says whether it was settled there, and its value three times later
says whether that was right. An experiment that is in the home folder already is used again. Where a curve is drawn at
random, what it will still gain is known: that tells how often the test errs where it must not.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data.uploads import read_upload
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.pretrain import PretrainSpec
from core.networks.perceptron import PerceptronSpec
from core.objectives.registry import CLASSIFICATION
from core.plan.configuration import preset_configuration
from core.plan.search import rates_around
from core.results.arm import Arm, arms_of
from core.results.grid import LONGER
from core.results.intervals import ERROR_RATE, t_interval
from core.results.row import rows_of
from core.rule.settled import Course, course_by
from core.run_spec import OptimSpec, default_optim
from core.store.curves import trends_of
from core.training.schedule import is_evaluated
from docs.measurements.program import README, options_of, trained, training_lab
from docs.reports.readme import put_between

BEGIN, END = "<!-- written by settled.py -->", "<!-- end of what settled.py writes -->"

TASKS = (
    ("mnist-16k", "rotation-45"),
    ("mnist-16k", "split"),
    ("mnist-16k", "permutation"),
    ("digits", "rotation-45"),
    ("digits", "permutation"),
)
SHOTS = 100
EPOCHS = (30, 60, 90)
RANKS = (1, 4, 16)
RATES = 3

POWERS, NOISES, DRAWS = (0.3, 0.5, 1.0), (0.3, 0.8), 1000
"""Of drawn curves: powers of the epoch by which they near their end, spreads of one evaluation, number of settings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and import the README up to date."""
    parser = options_of(__doc__, seeds=8)
    parser.add_argument("--tasks", type=int, default=len(TASKS), help="number of tasks, from the first")
    parser.add_argument(
        "--epochs", type=int, nargs="+", default=EPOCHS, help="when settings are judged: evaluated epochs"
    )
    parser.add_argument("--rank", type=int, nargs="+", default=RANKS, help="ranks of LoRA")
    parser.add_argument("--own", type=Path, help="a file of images, as one would upload it: one more task")
    options = parser.parse_args(arguments)
    counts: dict[tuple[str, str, int], Counter[str]] = {}
    with training_lab(options.home) as lab:
        for dataset, preset in (*TASKS[: options.tasks], *([uploaded(lab, options.own)] if options.own else [])):
            for arm in fine_tuned(lab, dataset, preset, range(options.seeds), options.rank, max(options.epochs)):
                for epochs in options.epochs:
                    counts.setdefault((dataset, preset, epochs), Counter()).update([judged(lab, arm, epochs)])
    put_between(README, BEGIN, table(counts) + "\n\n" + drawn(options.seeds, options.epochs), END)
    return 0


def uploaded(lab: Lab, file: Path) -> tuple[str, str]:
    """The task of somebody's images, which are kept under the name of their file, all turned."""
    if file.stem not in [info.name for info in lab.catalog.list()]:
        lab.catalog.keep(read_upload(file.read_bytes()).dataset, file.stem)
    return file.stem, "rotation-45"


def fine_tuned(lab: Lab, dataset: str, preset: str, seeds: range, ranks: Sequence[int], latest: int) -> list[Arm]:
    """Full fine-tuning and LoRA, each at several learning rates, three times as long as the latest judgement."""
    network = PerceptronSpec()
    arms = [
        (default_optim(method, network).but(learning_rate=rate, epochs=LONGER * latest), method)
        for method in (FullSpec(), *(LoRASpec.of(rank=rank) for rank in ranks))
        for rate in rates_around(default_optim(method, network).learning_rate, RATES)
    ]
    pretraining = default_optim(PretrainSpec, network)
    asked = preset_configuration(lab.catalog, preset, dataset, None, pretraining, arms, seeds, shots=SHOTS)
    runs = lab.store.members(trained(lab, asked))
    return [arm.finished_only for arm in arms_of(rows_of(runs)) if arm.finished and not arm.failed]


def judged(lab: Lab, arm: Arm, epochs: int) -> str:
    """What a setting is called after so many epochs, and of a settled one whether it was wrong."""
    objective = arm.spec.objective
    curves = [_curve(lab, run.id, objective.validated) for run in arm.runs]
    sign, half = objective.primary.sign, objective.margin / 2
    gains = [sign * trends_of({"": curve[:epochs]})[""] for curve in curves]
    course = course_by(gains, objective.margin)
    if course is not Course.SETTLED:
        return str(course)
    added = [float(sign * (curve[LONGER * epochs - 1] - curve[epochs - 1])) for curve in curves]
    return "wrong" if t_interval(added, 2 * ERROR_RATE).low > half else str(course)


def _curve(lab: Lab, id: str, measure: str) -> NDArray[np.float64]:
    return lab.store.curve(id).epochs[measure].to_numpy()


def table(counts: dict[tuple[str, str, int], Counter[str]]) -> str:
    """The table of what settings were called, in Markdown."""
    lines = [
        "| Task | Epochs | Settled | Of these wrong | Improving | Not known |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    everything: Counter[str] = Counter()
    for (dataset, preset, epochs), found in counts.items():
        everything.update(found)
        lines.append(f"| {dataset}, {preset} | {epochs} | {_cells(found)} |")
    lines.append(f"| All | | {_cells(everything)} |")
    return "\n".join(lines)


def drawn(seeds: int, moments: Sequence[int]) -> str:
    """How often settings with drawn curves are called settled, in Markdown: those that will gain half the margin, for
    which it is wrong, and those that have reached their end.
    """
    numbers, half = np.random.default_rng(0), CLASSIFICATION.margin / 2
    lines = [
        "| Power | Spread | Epochs | Settled, of those that gain half the margin | Settled, of flat ones |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for power, noise, epochs in product(POWERS, NOISES, moments):
        at = np.arange(1.0, epochs + 1)
        skipped = [not is_evaluated(OptimSpec.of(epochs=epochs), epoch) for epoch in range(1, epochs + 1)]
        shares = []
        for gain in (half, 0.0):
            rise = gain / (epochs**-power - (LONGER * epochs) ** -power)
            curves = -rise * at**-power + numbers.normal(0, noise, (DRAWS, seeds, epochs))
            curves[..., skipped] = np.nan
            called = [course_by([trends_of({"": own})[""] for own in setting], 2 * half) for setting in curves]
            shares.append(f"{100 * called.count(Course.SETTLED) / DRAWS:.1f} %")
        lines.append(f"| {power:g} | {noise:g} | {epochs} | {' | '.join(shares)} |")
    return "\n".join(lines)


def _cells(found: Counter[str]) -> str:
    settled = found[str(Course.SETTLED)] + found["wrong"]
    return f"{settled} | {found['wrong']} | {found[str(Course.IMPROVING)]} | {found[str(Course.UNKNOWN)]}"


if __name__ == "__main__":
    sys.exit(main())
