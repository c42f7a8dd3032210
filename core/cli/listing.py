"""``python -m core list``: the experiments of a home folder."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import datetime

import pandas as pd

from core.cli.options import NOTHING_KEPT, add_home, opened_lab
from core.store.record import ExperimentRow
from core.study.arms.tables import plain_table

SHOWN = 20
"""Experiments that are listed unless a number is given."""


def list_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = "List the experiments and judged results of a home folder, the newest first, with their ids."
    parser.set_defaults(command=list_experiments, kept=NOTHING_KEPT)
    parser.add_argument("--last", type=int, default=SHOWN, metavar="N", help="how many to list (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    add_home(parser)


def list_experiments(options: argparse.Namespace) -> int:
    """Print the newest experiments."""
    with opened_lab(options) as lab:
        rows, judged = lab.store.experiment_rows(max(options.last, 0)), lab.judged.list(max(options.last, 0))
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    elif rows or judged:
        lines = [_shown(row) for row in rows]
        lines += [_line(each.id, each.name, each.created, "reported by others") for each in judged]
        print(plain_table(pd.DataFrame(lines)))
    else:
        print("No experiment has been trained in this home folder.")
    return 0


def _shown(row: ExperimentRow) -> dict[str, str]:
    """A line of the table."""
    return _line(row.id, row.name, row.created, ", ".join(f"{count} {state}" for state, count in row.counts.items()))


def _line(id: str, name: str, created: float, runs: str) -> dict[str, str]:
    started = datetime.fromtimestamp(created).strftime("%Y-%m-%d %H:%M")
    return {"Id": id, "Experiment": name, "Started": started, "Runs": runs}


def tell_ids(experiment: str, adapter: str | None) -> None:
    """Say on stderr by which ids other commands find an experiment, and the run whose adapter its answer offers."""
    more = f" Its adapter: python -m core export {adapter} adapter.zip" if adapter is not None else ""
    print(f"This is {experiment}.{more}", file=sys.stderr)
