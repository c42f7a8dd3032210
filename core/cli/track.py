"""``python -m core track``: send an experiment to TensorBoard or MLflow."""

from __future__ import annotations

import argparse
import json
from functools import partial

from core.cli.options import add_home, opened_lab
from core.cli.progress import ProgressBar
from core.study.report.html import report_file
from core.tracking.tracking import TRACKERS, tracker_of


def track_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    examples = " or ".join(f"{tracker.kind}:{tracker.example}" for tracker in TRACKERS.values())
    parser.description = (
        "Send the settings, curves and results of an experiment's runs that have ended, and of the bases that they "
        "start from, to trackers; to MLflow adapters and the report as well. Runs that a tracker has already are not "
        "sent again, so the command can be repeated at any time. It prints a line of JSON for each tracker."
    )
    parser.set_defaults(command=track)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="its id, as in the address of the Compare page")
    parser.add_argument("--to", nargs="+", required=True, metavar="TRACKER", help=f"{examples}, or a server of MLflow")
    add_home(parser)


def track(options: argparse.Namespace) -> int:
    """Send, and print what was sent."""
    trackers = [tracker_of(text) for text in options.to]
    with opened_lab(options) as lab:
        experiment = lab.store.experiment(options.experiment)
        for tracker in trackers:
            with ProgressBar(tracker.shown, "%", 100) as shown:
                sent = lab.tracking.experiment(experiment, tracker, partial(report_file, lab), shown.share)
            print(json.dumps({"experiment": experiment.id, "to": tracker.shown, "sent": sent}))
    return 0
