"""The learning rate of the head: ``python -m docs.measurements.head`` trains MiniLM and perceptrons, and writes tables.

MiniLM is fine-tuned as it is, and perceptrons on classes that their bases were not trained on: fully, with LoRA, and
with the head alone, at several learning rates of the head. An experiment that is in the home folder already is used
again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import fmean

from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.pretrain import PretrainSpec
from core.plan.configuration import Configuration, preset_configuration
from core.plan.experiment import Recipe
from core.results.arm import Arm, arms_of
from core.results.row import rows_of
from core.run_spec import OptimSpec, default_optim
from docs.measurements.program import README, accuracies, minilm, options_of, trained, training_lab
from docs.reports.readme import put_between

BEGIN, END = "<!-- written by head.py -->", "<!-- end of what head.py writes -->"
BEGIN_OWN, END_OWN = "<!-- written by head.py perceptron -->", "<!-- end of what head.py perceptron writes -->"

SHARED = {"batch_size": 12, "epochs": 2, "weight_decay": 0.0, "warmup": 0.1, "decay": "linear", "clip": 1.0}
FULL, LORA = 1e-4, 1e-3
HEADS = (0.001, 0.00316, 0.01, 0.0316, 0.1)

TASKS = (("split", "digits", None), ("split", "mnist-16k", None), ("transfer", "digits", "mnist-16k"))
"""Preset, dataset of the base, and the other one, of perceptrons."""
PERCEPTRON_RATES: dict[MethodSpec, tuple[float, ...]] = {
    FullSpec(): (0.000316, 0.001, 0.00316),
    LoRASpec.of(rank=1): (0.00316, 0.01, 0.0316),
    LoRASpec.of(rank=16): (0.00316, 0.01, 0.0316),
}
SHOTS, EPOCHS, SEEDS = 100, 30, 5
"""Of perceptrons."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and import the README up to date."""
    parser = options_of(__doc__, seeds=2)
    parser.add_argument("--shots", type=int, default=100, help="training texts per class")
    parser.add_argument("names", nargs="*", default=["minilm", "perceptron"], help="minilm, perceptron, or both")
    options = parser.parse_args(arguments)
    with training_lab(options.home) as lab:
        if "perceptron" in options.names:
            put_between(README, BEGIN_OWN, perceptrons(lab), END_OWN)
        if "minilm" not in options.names:
            return 0
        task = TaskSpec.of(dataset="definitions", shots=options.shots)
        experiment = trained(lab, Configuration.on(minilm(lab), task, settings(), range(options.seeds)))
        put_between(README, BEGIN, table(arms_of(rows_of(lab.store.members(experiment)))), END)
    return 0


def settings() -> list[Recipe]:
    """Every method with the head at the method's rate and at others; the head alone at these."""

    def optim(rate: float, head: float | None = None) -> OptimSpec:
        return OptimSpec.of(**SHARED, learning_rate=rate, head_rate=head)

    lora = LoRASpec.of(rank=8, alpha=16)
    found: list[Recipe] = [(optim(FULL, head), FullSpec()) for head in (None, *HEADS)]
    found += [(optim(LORA, head), lora) for head in (None, *HEADS[1:])]
    return found + [(optim(rate), HeadSpec()) for rate in HEADS]


def perceptrons(lab: Lab) -> str:
    """One row per task, method and learning rate of the head, at the method's rate that is best on the validation part:
    that rate, the mean accuracy on the validation part over the seeds, and on the test part, with the difference from
    full fine-tuning at the same learning rate of the head.
    """
    lines = [
        "| Task | Setting | Rate of the head | Rate | Validation accuracy, % | Test accuracy, % | Minus full, points |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for preset, source, target in TASKS:
        arms = arms_of(rows_of(lab.store.members(trained(lab, on_new_classes(lab, preset, source, target)))))
        full: dict[float, float] = {}
        for label in dict.fromkeys(arm.spec.label for arm in arms):
            for head in HEADS:
                best = max((arm for arm in arms if arm.spec.label == label and head_of(arm) == head), key=validated)
                score = fmean(best.by_seed(best.primary).values())
                minus = f"{score - full[head]:+.1f}" if full.setdefault(head, score) != score else "–"
                title = f"{source} to {target}" if target else f"{source}, new classes"
                lines.append(
                    f"| {title} | {label} | {head:g} | {best.learning_rate:g} | {validated(best):.1f} | {score:.1f} "
                    f"| {minus.replace('-', '−')} |"
                )
    return "\n".join(lines)


def on_new_classes(lab: Lab, preset: str, source: str, target: str | None) -> Configuration:
    """Perceptrons on classes that their bases were not trained on, with each head rate and each rate of a method."""
    settings = [
        (OptimSpec.of(epochs=EPOCHS, learning_rate=rate, head_rate=head), method)
        for method, rates in PERCEPTRON_RATES.items()
        for head in HEADS
        for rate in rates
    ]
    settings += [(OptimSpec.of(epochs=EPOCHS, learning_rate=rate), HeadSpec()) for rate in HEADS]
    pretraining = default_optim(PretrainSpec)
    return preset_configuration(
        lab.catalog, preset, source, target, pretraining, settings, range(SEEDS), shots=SHOTS, own_bases=True
    )


def head_of(arm: Arm) -> float:
    """The learning rate of an arm's head."""
    return arm.spec.optim.head_rate or arm.learning_rate


def validated(arm: Arm) -> float:
    """The mean of the primary measure on the validation part."""
    return fmean(run.validated for run in arm.runs if run.validated is not None)


def table(arms: Sequence[Arm]) -> str:
    """One row per setting: its rates, and the accuracy of each seed on the validation and the test part."""
    lines = [
        "| Setting | Rate | Rate of the head | Validation accuracy, % | Test accuracy, % | Updates |",
        "| --- | ---: | ---: | --- | --- | ---: |",
    ]
    order = [arm.spec.label for arm in arms]
    for arm in sorted(arms, key=lambda arm: (order.index(arm.spec.label), head_of(arm))):
        optim, done = arm.spec.optim, arm.finished_only
        by_validation, tested = accuracies(done)
        steps = next(run.result.steps for run in done.runs if run.result)
        cells = f"{optim.learning_rate:g} | {head_of(arm):g} | {by_validation} | {tested} | {steps}"
        lines.append(f"| {arm.spec.label} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
