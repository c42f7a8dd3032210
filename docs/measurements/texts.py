"""MiniLM with more epochs, directly and after a source: ``python -m docs.measurements.texts`` trains, writes tables.

Full fine-tuning and LoRA are trained on all classes of ``definitions`` from MiniLM as it is, and on half of them after
it was pretrained on the other half; at the learning rates that were the best with two epochs, see
:mod:`docs.measurements.head`. An experiment that is in the home folder already is used again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from core.answer.lines import three_lines
from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.pretrain import PretrainSpec
from core.networks.network import NetworkSpec
from core.plan.configuration import Configuration, preset_configuration
from core.plan.experiment import Recipe
from core.results.arm import Arm, arms_of
from core.results.results import Results
from core.results.row import rows_of
from core.rule.decide import decide
from core.run_spec import default_optim
from core.store.record import Run
from docs.measurements.head import FULL, LORA
from docs.measurements.program import README, accuracies, minilm, options_of, trained, training_lab
from docs.reports.readme import put_between

BEGIN, END = "<!-- written by texts.py -->", "<!-- end of what texts.py writes -->"

DIRECT, AFTER_SOURCE = "MiniLM as it is, twelve classes", "After six other classes, six classes"
BATCH = 12
RANK = 8
EPOCHS = (3, 10)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and import the README up to date."""
    parser = options_of(__doc__, seeds=3)
    parser.add_argument("--shots", type=int, default=100, help="training texts per class")
    parser.add_argument("--epochs", type=int, nargs="+", default=EPOCHS, help="passes over the training part")
    options = parser.parse_args(arguments)
    parts = []
    with training_lab(options.home) as lab:
        for epochs in options.epochs:
            for title, asked in asked_for(lab, epochs, range(options.seeds), options.shots):
                parts.append(answer(f"{title}, {epochs} epochs", lab.store.members(trained(lab, asked))))
                put_between(README, BEGIN, "\n\n".join(parts), END)
    return 0


def asked_for(lab: Lab, epochs: int, seeds: range, shots: int) -> list[tuple[str, Configuration]]:
    """Both experiments of a number of epochs, each with a title."""
    network = minilm(lab)
    arms = settings(network, epochs)
    direct = TaskSpec.of(dataset="definitions", shots=shots)
    pretraining = default_optim(PretrainSpec, network)
    return [
        (DIRECT, Configuration.on(network, direct, arms, seeds)),
        (
            AFTER_SOURCE,
            preset_configuration(
                lab.catalog, "split", "definitions", None, pretraining, arms, seeds, network, shots=shots
            ),
        ),
    ]


def settings(network: NetworkSpec, epochs: int) -> list[Recipe]:
    """Full fine-tuning and LoRA, each at its learning rate."""
    methods = {FullSpec.of(): FULL, LoRASpec.of(rank=RANK): LORA}
    return [
        (default_optim(method, network).but(batch_size=BATCH, epochs=epochs, learning_rate=rate), method)
        for method, rate in methods.items()
    ]


def answer(title: str, runs: Sequence[Run]) -> str:
    """The verdict, and a row per setting."""
    decided = decide(Results(rows_of(runs))).place
    lines = [
        "| Setting | Rate | Validation accuracy, % | Test accuracy, % | Forgetting, points | Updates |",
        "| --- | ---: | --- | --- | --- | ---: |",
    ]
    lines += [f"| {' | '.join(cells(arm))} |" for arm in arms_of(rows_of(runs))]
    told = " ".join(three_lines(decided))
    return "\n".join([f"**{title}**: {told}", "", *lines])


def cells(arm: Arm) -> list[str]:
    """A row of the table."""
    steps = next(str(run.result.steps) for run in arm.runs if run.result)
    return [arm.spec.label, f"{arm.learning_rate:g}", *accuracies(arm), arm.spread("forgetting_masked"), steps]


if __name__ == "__main__":
    sys.exit(main())
