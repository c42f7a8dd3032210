"""The learning rate of the head: ``python -m docs.measurements.head`` trains MiniLM, and writes a table.

MiniLM is fine-tuned as it is, fully, with LoRA, and with its head alone, at several learning rates of the head. An
experiment that is in the home folder already is used again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from core.data.task_spec import TaskSpec
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.plan.configuration import Configuration
from core.plan.experiment import Setting
from core.run_spec import OptimSpec
from core.study.arms.arm import Arm, arms_of
from docs.measurements.program import README, accuracies, minilm, options_of, trained, training_lab
from docs.reports.readme import put_between

BEGIN, END = "<!-- written by head.py -->", "<!-- end of what head.py writes -->"

SHARED = {"batch_size": 12, "epochs": 2, "weight_decay": 0.0, "warmup": 0.1, "decay": "linear", "clip": 1.0}
FULL, LORA = 1e-4, 1e-3
HEADS = (0.001, 0.00316, 0.01, 0.0316, 0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and import the README up to date."""
    parser = options_of(__doc__, seeds=2)
    parser.add_argument("--shots", type=int, default=100, help="training texts per class")
    options = parser.parse_args(arguments)
    with training_lab(options.home) as lab:
        task = TaskSpec.of(dataset="definitions", shots=options.shots)
        experiment = trained(lab, Configuration.on(minilm(lab), task, settings(), range(options.seeds)))
        put_between(README, BEGIN, table(arms_of(lab.members(experiment))), END)
    return 0


def settings() -> list[Setting]:
    """Every method with the head at the method's rate and at others; the head alone at these."""

    def optim(rate: float, head: float | None = None) -> OptimSpec:
        return OptimSpec.of(**SHARED, learning_rate=rate, head_rate=head)

    lora = LoRASpec.of(rank=8, alpha=16)
    found: list[Setting] = [(optim(FULL, head), FullSpec()) for head in (None, *HEADS)]
    found += [(optim(LORA, head), lora) for head in (None, *HEADS[1:])]
    return found + [(optim(rate), HeadSpec()) for rate in HEADS]


def table(arms: Sequence[Arm]) -> str:
    """One row per setting: its rates, and the accuracy of each seed on the validation and the test part."""
    lines = [
        "| Setting | Rate | Rate of the head | Validation accuracy, % | Test accuracy, % | Updates |",
        "| --- | ---: | ---: | --- | --- | ---: |",
    ]
    order = [arm.spec.label for arm in arms]
    for arm in sorted(
        arms, key=lambda arm: (order.index(arm.spec.label), arm.spec.optim.head_rate or arm.learning_rate)
    ):
        optim, done = arm.spec.optim, arm.finished_only
        head = optim.head_rate or optim.learning_rate
        validated, tested = accuracies(done)
        steps = next(run.result.steps for run in done.runs if run.result)
        lines.append(f"| {arm.spec.label} | {optim.learning_rate:g} | {head:g} | {validated} | {tested} | {steps} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
