"""``python -m core grow``: add seeds and ranks to an experiment, and print its comparison."""

from __future__ import annotations

import argparse

from core.cli.comparison import answer, tell_shortage
from core.cli.options import RUNS_KEPT, add_home, add_output, check_output
from core.engine.experiment import next_seeds, settings_of, with_ranks
from core.lab import Lab
from core.settings import Settings


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "grow",
        help="add seeds and ranks to an experiment",
        description="Train what is missing for every setting of an experiment to have every seed of it, together with "
        "the seeds and ranks that are added. What was trained stays. Base, task and device are the experiment's.",
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
    parser.add_argument("--again", action="store_true", help="train runs again that failed or were stopped")
    add_home(parser)
    add_output(parser)


def grow(options: argparse.Namespace) -> int:
    """Train what is missing, and print the comparison of the whole experiment."""
    check_output(options)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        experiment = lab.experiment(options.experiment)
        specs = [run.spec for run in lab.members(experiment)]
        settings = settings_of(specs)
        arms = dict.fromkeys([*settings, *with_ranks(settings, options.rank, specs[0].network)])
        seeds = sorted({spec.seed for spec in specs})
        if options.seeds is not None:
            seeds += next_seeds(specs, options.seeds)
        tell_shortage(lab, lab.growth(experiment, list(arms), seeds, options.again).specs)
        new = lab.grow(experiment, list(arms), seeds, options.again)
        return answer(lab, lab.experiment(experiment.id), new, options)
    finally:
        lab.close()
