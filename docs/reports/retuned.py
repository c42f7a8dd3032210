"""Whether another tuning would move the reports of this folder: ``python -m docs.reports.retuned [NAME…]``.

Full fine-tuning and the setting that a report is about are tuned again in three ways: half a decade beside both rates,
a third of both numbers of epochs and three times as many, and rates that rise over a tenth of the updates and fall
linearly to 0, at the chosen rate and at both beside it. Each takes what is best on the validation part over three
seeds, what it had included; told is by how much that moves the difference of these seeds on the test part. The reports'
runs have to be in the home folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from core.lab import Lab
from core.results.arm import Arm, all_arms
from core.results.choice import comparisons_of
from core.results.grid import neighbors_of, other_length, validated_mean
from core.results.row import rows_of
from core.rule.differences import neighbors
from core.settings import Settings
from core.store.record import Experiment
from core.study.report.answer import place_of
from docs.measurements.program import trained
from docs.reports.make import COMMON, REPORTS, experiment_of
from docs.reports.readme import put_between
from docs.reports.texts import REPORTS as LANGUAGE

HERE = Path(__file__).parent
BEGIN, END = "<!-- written by retuned.py -->", "<!-- end of what retuned.py writes -->"

COMMANDS = {name: f"{COMMON} {more}" for name, more in REPORTS.items()} | {"decoder": LANGUAGE["decoder"]}
SEEDS = (0, 1, 2)
WARM = {"warmup": 0.1, "decay": "linear"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and bring the README up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="folder for runs (default: LORA_LAB_HOME)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the README")
    parser.add_argument("names", nargs="*", default=list(COMMANDS), help=f"some of: {', '.join(COMMANDS)}")
    options = parser.parse_args(arguments)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        lines = [_row(lab, name, experiment_of(lab, f"compare {COMMANDS[name]}")) for name in options.names]
    finally:
        lab.close()
    head = ["Report", "Difference", "Rates", "Epochs", "Warm-up and linear decay", "Margin"]
    table = "\n".join(["| " + " | ".join(head) + " |", "| --- " + "| ---: " * (len(head) - 1) + "|", *lines])
    put_between(options.out / "README.md", BEGIN, table, END)
    return 0


def _row(lab: Lab, name: str, experiment: Experiment) -> str:
    """The difference of a report over three seeds, and after each retuning, as a row of Markdown."""
    found = place_of(lab, experiment)
    if found.full is None or found.told is None:
        raise SystemExit(f"{name} has no difference.")
    chosen = (found.full, found.told.arm)
    groups = comparisons_of(rows_of(lab.store.members(experiment)))
    everyone = next(arms for arms in groups if any(arm.key == found.full.key for arm in arms))
    warm = _warm(lab, experiment, chosen)
    ways: dict[str, Callable[[Arm], Iterable[Arm | None]]] = {
        "rates": lambda own: neighbors(own, everyone),
        "epochs": lambda own: (other_length(own, longer=False), other_length(own, longer=True)),
        "schedule": lambda own: [arm for arm in warm if arm.spec.method == own.spec.method],
    }
    before = _difference(chosen)
    after = {way: _difference([_best(own, others(own)) for own in chosen]) for way, others in ways.items()}
    cells = [f"{value:+.3g} ({value - before:+.2g})" for value in after.values()]
    cells[-1] = cells[-1] if warm else "as it is"
    return " | ".join([f"| {name}, {found.told.arm.spec.label}", f"{before:+.3g}", *cells, f"{found.margin:g} |"])


def _warm(lab: Lab, experiment: Experiment, chosen: Iterable[Arm]) -> list[Arm]:
    """Runs of the chosen settings with another schedule, each at three learning rates; none where they have it."""
    arms = [
        (arm.spec.optim.but(**WARM, learning_rate=rate), arm.spec.method)
        for arm in chosen
        for rate in (arm.learning_rate, *neighbors_of(arm.learning_rate))
        if arm.spec.optim.decay == "constant"
    ]
    if not arms:
        return []
    specs = [{"optim": optim, "method": method} for optim, method in arms]
    asked = lab.experiments.configuration(experiment).but(arms=specs, tune=None, seeds=SEEDS)
    return [arm.finished_only for arm in all_arms(rows_of(lab.store.members(trained(lab, asked)))) if not arm.failed]


def _best(own: Arm, others: Iterable[Arm | None]) -> Arm:
    """The best of these on the validation part over three seeds."""
    sign = own.spec.objective.primary.sign
    known = [(validated_mean(arm, SEEDS), arm) for arm in (own, *others) if arm is not None]
    return max(((sign * mean, arm) for mean, arm in known if mean is not None), key=lambda pair: pair[0])[1]


def _difference(pair: Sequence[Arm]) -> float:
    """The second minus the first on the test part, over three seeds."""
    full, told = ([own.finished_only.by_seed(own.primary)[seed] for seed in SEEDS] for own in pair)
    return sum(told) / len(told) - sum(full) / len(full)


if __name__ == "__main__":
    sys.exit(main())
