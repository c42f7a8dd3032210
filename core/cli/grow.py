"""``python -m core grow``: finish an experiment, add seeds and ranks to it, and print its comparison."""

from __future__ import annotations

import argparse
import sys

from core.answer.design import look_line
from core.cli.comparison import answer, tell_shortage
from core.cli.options import RUNS_KEPT, add_home, add_output, check_output, opened_lab
from core.errors import SpecError
from core.lab import Lab
from core.plan.experiment import next_seeds
from core.results.row import rows_of
from core.rule.tuning import extended, longer, rates_beside
from core.store.record import Experiment
from core.study.report.answer import is_study, last_read


def grow_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Train what is missing for every setting of an experiment to have every seed of it, together with "
        "the seeds and ranks that are added. What was trained stays. Base, task and device are the experiment's. With "
        "--finish alone, runs that were deleted are named, and not trained again."
    )
    parser.set_defaults(command=grow, kept=RUNS_KEPT)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="its id, as in the address of the Compare page")
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="number of seeds to add to every setting (default: none)"
    )
    parser.add_argument(
        "--rank",
        type=int,
        nargs="+",
        metavar="R",
        default=[],
        help="ranks to add, each with every alpha and learning rate that LoRA has in the experiment",
    )
    parser.add_argument(
        "--epochs",
        action="store_true",
        help="train the settings of the answer and their neighboring learning rates for three times as many epochs",
    )
    parser.add_argument(
        "--rates",
        action="store_true",
        help="try the learning rates beside chosen ones that were not tried, half a decade lower and higher, for every "
        "method and rank",
    )
    parser.add_argument(
        "--finish",
        action="store_true",
        help="train runs to their ends that were stopped or interrupted or failed, each from where it was",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="train runs again that failed or were stopped; with --finish, those that were deleted",
    )
    parser.add_argument(
        "--without-stopped",
        action="store_true",
        help="archive the runs that were stopped, and answer with the seeds that finished",
    )
    add_home(parser)
    add_output(parser)


def grow(options: argparse.Namespace) -> int:
    """Train what is missing, and print the comparison of the whole experiment."""
    check_output(options)
    with opened_lab(options, trains=True) as lab:
        experiment = lab.store.experiment(options.experiment)
        if is_study(experiment) and (options.epochs or options.rates):
            raise SpecError(
                "A study has the epochs of its points and finds its rates: start one with other points instead, which "
                "does not train again what this one has."
            )
        members = lab.store.members(experiment)
        specs = [run.spec for run in members]
        settings = [*lab.experiments.settings(experiment), *(longer(rows_of(members)) if options.epochs else ())]
        rates = rates_beside(rows_of(members)) if options.rates else ()
        arms = extended(settings, options.rank, rates=rates, network=specs[0].trained_network)
        seeds = sorted({spec.seed for spec in specs})
        if options.seeds is not None:
            seeds += next_seeds(specs, options.seeds)
            print(f"Note: {look_line(len(seeds), last_read(lab, experiment, members).spent)}", file=sys.stderr)
        new = _finished(lab, experiment, options)
        anew = options.again and not options.finish
        if options.finish and not (options.again or options.rank or options.seeds or options.epochs or options.rates):
            for spec in lab.experiments.deleted(experiment).runs:
                print(f"Note: {spec.label}, seed {spec.seed}, was deleted; --again trains it again.", file=sys.stderr)
        else:
            tell_shortage(lab, lab.experiments.growth(experiment, arms, seeds, anew).specs)
            new += lab.experiments.grow(experiment, arms, seeds, anew)
        return answer(lab, lab.store.experiment(experiment.id), new, options)


def _finished(lab: Lab, experiment: Experiment, options: argparse.Namespace) -> list[str]:
    """Queue what is to be finished, or archive what was stopped. Returns: ids of what was queued. Raises: LabError."""
    if options.without_stopped:
        lab.notes.archive([run.id for run in lab.store.members(experiment) if run.state == "stopped"])
    if not options.finish:
        return []
    rest = lab.launcher.rest(experiment.runs)
    tell_shortage(lab, [run.spec for run in rest.everything])
    lab.launcher.finish(experiment.runs)
    return [run.id for run in rest.runs]
