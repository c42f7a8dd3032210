"""What new rows change in the class split: ``python -m docs.measurements.new_rows`` trains perceptrons, writes a table.

A base that learns half of the classes is pretrained with each seed, once with new rows of the head for the other half
and once without, and fine-tuned on that half. Experiments that are in the home folder already are used again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.pretrain import PretrainSpec
from core.plan.configuration import preset_configuration
from core.results.arm import Arm, arms_of
from core.results.intervals import t_interval
from core.results.measures import FORGETTING_MASKED
from core.results.row import rows_of
from core.run_spec import OptimSpec
from docs.measurements.program import README, options_of, trained, training_lab
from docs.reports.readme import put_between

BEGIN, END = "<!-- written by new_rows.py -->", "<!-- end of what new_rows.py writes -->"

DATASETS = ("digits", "mnist-16k")
RATES: dict[MethodSpec, tuple[float, ...]] = {
    FullSpec(): (0.0003, 0.001, 0.003),
    LoRASpec.of(rank=4): (0.001, 0.003, 0.01),
    HeadSpec(): (0.001, 0.005, 0.02),
}
OPTIM = OptimSpec.of(epochs=10)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and import the README up to date."""
    parser = options_of(__doc__, seeds=5)
    options = parser.parse_args(arguments)
    with training_lab(options.home) as lab:
        lines = ["| Data | Setting | Rate | Accuracy, % | Forgetting among its own classes, points |"]
        lines.append("| --- | --- | ---: | --- | --- |")
        for dataset in DATASETS:
            before, after = (fine_tuned(lab, dataset, is_new, options.seeds) for is_new in (False, True))
            lines += [row(dataset, one, other) for one, other in zip(before, after, strict=True)]
        put_between(README, BEGIN, "\n".join(lines), END)
    return 0


def fine_tuned(lab: Lab, dataset: str, is_new: bool, seeds: int) -> list[Arm]:
    """Each method at its learning rates, from bases with or without new rows."""
    arms = [(OPTIM.but(learning_rate=rate), method) for method, rates in RATES.items() for rate in rates]
    asked = preset_configuration(lab.catalog, "split", dataset, None, OPTIM, arms, range(seeds), own_bases=True)
    if asked.base is not None:
        asked = asked.but(base=asked.base.but(method=PretrainSpec(new_rows=is_new)))
    return arms_of(rows_of(lab.store.members(trained(lab, asked))))


def row(dataset: str, before: Arm, after: Arm) -> str:
    """One setting, with the difference and its 95 % t interval over the seeds."""
    cells = []
    for name in (before.primary, FORGETTING_MASKED):
        old, new = before.by_seed(name), after.by_seed(name)
        change = t_interval([new[seed] - old[seed] for seed in old])
        means = " → ".join(f"{sum(values.values()) / len(values):z.1f}" for values in (old, new))
        cells.append(f"{means} ({change.mean:+z.1f}, {change.low:+z.1f} to {change.high:+z.1f})".replace("-", "−"))
    spec = before.spec
    return f"| {dataset} | {spec.label} | {spec.optim.learning_rate:g} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
