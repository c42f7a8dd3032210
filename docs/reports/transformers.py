"""The report on MiniLM in this folder: ``python -m docs.reports.transformers``.

MiniLM is pretrained on the first six classes of ``definitions`` and fine-tuned on the other six: fully, with LoRA of
two ranks on all linear layers, and with its head alone, each at the learning rate that a search finds. With so few
texts there are 150 updates per run. An experiment that is in the home folder already is used again.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from core.cli.comparison import follow
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.pretrain import PretrainSpec
from core.numbers import NOTHING, count_text
from core.plan.configuration import preset_configuration
from core.plan.experiment import Setting
from core.plan.rate_grid import TuneSpec
from core.run_spec import OptimSpec, default_optim
from core.settings import Settings
from core.store.record import Experiment, Run
from core.study.arms.arm import Arm
from core.study.arms.choice import chosen_arms
from core.study.arms.difference_tables import full_differences, tested_settings
from core.study.arms.verdict_words import explanation, headline
from core.study.report.evidence import Evidence, gather
from core.study.report.html import write_report
from core.study.report.report import report
from docs.reports.readme import put_between
from docs.reports.tables import told

HERE = Path(__file__).parent
BEGIN, END = "<!-- written by transformers.py -->", "<!-- end of what transformers.py writes -->"
RANKS = (1, 8)
FEW = {"batch_size": 8, "epochs": 2}
"""For fine-tuning: more updates from few texts than the defaults make."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, write the report, and bring the README up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="folder for runs (default: LORA_LAB_HOME)")
    parser.add_argument("--out", type=Path, default=HERE / "minilm.html", help="file to write")
    parser.add_argument("--seeds", type=int, default=7, help="runs per setting")
    parser.add_argument("--shots", type=int, default=100, help="training texts per class")
    options = parser.parse_args(arguments)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        experiment = experiment_of(lab, options.seeds, options.shots)
        evidence = gather(lab, experiment)
        write_report(options.out, report(evidence))
        put_between(HERE / "README.md", BEGIN, summary(lab, evidence), END)
    finally:
        lab.close()
    return 0


def experiment_of(lab: Lab, seeds: int, shots: int) -> Experiment:
    """The experiment, trained now if the home does not have it."""
    card = lab.networks.find("minilm") or lab.networks.import_known("minilm")
    network = lab.networks.spec(card.digest)

    def optim(method: type[MethodSpec]) -> OptimSpec:
        usual = default_optim(method, network)
        return usual.but(**FEW, learning_rate=math.sqrt(10) * usual.learning_rate)

    lora = optim(LoRASpec)
    arms: list[Setting] = [(optim(FullSpec), FullSpec())]
    arms += [(lora, LoRASpec.of(rank=rank, target_modules=("all-linear",))) for rank in RANKS]
    arms.append((optim(HeadSpec), HeadSpec()))
    asked = (
        *("split", "definitions", None, default_optim(PretrainSpec, network)),
        *(arms, range(seeds)),
    )
    planned = lab.planned(preset_configuration(lab.catalog, *asked, network=network, shots=shots, tune=TuneSpec.of()))
    lab.estimates.wait(planned.specs, 60.0)  # so that the forecast stands beside what was measured afterwards
    experiment = lab.find_experiment(planned) or lab.queue(planned)
    follow(lab, experiment, experiment.runs)
    return experiment


def summary(lab: Lab, evidence: Evidence) -> str:
    """The verdict, and one row per setting at its best rate: accuracy, forgetting, and forecasts beside facts."""
    decided = evidence.verdict
    settings = list(_by_method(evidence.members).values())
    best = [replace(_best(runs), label=_name(runs[0])) for runs in settings]  # alone, two arms may have one label
    tested = tested_settings(best, decided)
    against = {d.a: told(d, tested.get(d.a)) for d in full_differences(best, "accuracy", decided)}
    lines = [
        "| Setting | Rate | Trained | Accuracy, % | Minus full, points | Forgetting, points |",
        "| --- | ---: | ---: | ---: | --- | ---: |",
    ]
    for arm, runs in zip(best, settings, strict=True):
        accuracy, forgetting = (arm.spread(name) for name in ("accuracy", "forgetting_masked"))
        cells = (
            *(_name(arm.runs[0]), _rate(arm, runs), count_text(arm.trained), accuracy.replace(" %", "")),
            *(against.get(arm.label, NOTHING), forgetting),
        )
        lines.append(f"| {' | '.join(cells)} |")
    answer = " ".join([headline(decided), *explanation(decided)])
    return "\n".join([answer, "", *lines, "", *forecasts(lab, evidence.members)])


def forecasts(lab: Lab, runs: Sequence[Run]) -> list[str]:
    """Forecast and fact by setting, as a table: middles of the ranges, and medians of what happened."""
    foretold = lab.estimates.at_launch([run.id for run in runs])
    lines = [
        "| Setting | Time, forecast | Time | Memory, forecast | Memory |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for own in _by_method(runs).values():
        known = [(foretold[run.id], run.result) for run in own if run.result and run.id in foretold]
        seconds = [line.seconds for line, _ in known if line.seconds is not None]
        if not known:
            continue
        lines.append(
            f"| {_name(own[0])} | {f'{median(seconds):.1f} s' if seconds else 'not known'} "
            f"| {median(result.seconds for _, result in known):.1f} s "
            f"| {median(line.memory for line, _ in known) / 1e6:.0f} MB "
            f"| {median(result.peak_memory for _, result in known) / 1e6:.0f} MB |"
        )
    return lines


def _by_method(runs: Sequence[Run]) -> dict[MethodSpec, list[Run]]:
    found: dict[MethodSpec, list[Run]] = {}
    for run in runs:
        found.setdefault(run.spec.method, []).append(run)
    return found


def _best(runs: Sequence[Run]) -> Arm:
    """The runs of one setting at the rate that validation chooses."""
    (arm,) = chosen_arms(runs)
    return arm


def _rate(arm: Arm, runs: Sequence[Run]) -> str:
    """The rate of an arm, and whether it is at an end of those that were tried."""
    tried = [run.spec.optim.learning_rate for run in runs]
    ends = {min(tried): ", lowest tried", max(tried): ", highest tried"}
    return f"{arm.learning_rate:g}{ends.get(arm.learning_rate, '')}"


def _name(run: Run) -> str:
    where = run.spec.method.targets
    return run.spec.label + (f" on {', '.join(where or ())}" if where else "")


if __name__ == "__main__":
    sys.exit(main())
