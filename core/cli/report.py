"""``python -m core report``: write the report of an existing experiment, or of judged results."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.cli.comparison import save_report
from core.cli.options import NOTHING_KEPT, add_home, check_folder, opened_lab
from core.study.report.judged import judged_evidence, judged_report
from core.study.report.report import report_of


def report_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.set_defaults(command=report, kept=NOTHING_KEPT)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="its id, or that of judged results, as list prints it")
    parser.add_argument("file", type=Path, metavar="FILE", help="HTML file to write")
    add_home(parser)


def report(options: argparse.Namespace) -> int:
    """Write the report of an experiment or of judged results in the home folder."""
    check_folder(options.file)
    with opened_lab(options) as lab:
        judged = lab.judged.find(options.experiment)
        if judged is not None:
            found = judged_report(judged_evidence(lab, judged))
        else:
            found = report_of(lab, lab.store.experiment(options.experiment))
        save_report(options.file, found)
    return 0
