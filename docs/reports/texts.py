"""The reports on language models in this folder: ``python -m docs.reports.texts [NAME…]``.

An experiment that has ended in the home folder is used again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from core.answer.lines import three_lines
from core.lab import Lab
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.store.record import Experiment
from core.study.arms.tables import comparison_text, plain_table
from core.study.report.evidence import gather
from core.study.report.html import write_report
from core.study.report.report import report
from docs.reports.make import write_sections

HERE = Path(__file__).parent

LANGUAGE = "--objective language --rank 1 8 --tune"
REPORTS = {
    "decoder": f"{LANGUAGE} --source definitions --preset split --shots 200 --seeds 8 --vary-bases",
    "smollm2": f"{LANGUAGE} --network smollm2 --data docs/reports/definitions-25.csv --length 64 --seeds 5",
}
"""The command of each report by its name.

`definitions-25.csv` has the first 25 texts of each topic and part of `definitions`: with all 2,400 test texts,
most of the time of a run would be evaluation.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, write the reports, and bring the README up to date."""
    return write_sections(__doc__, HERE, REPORTS, _section, arguments)


def _section(lab: Lab, experiment: Experiment, name: str, out: Path) -> list[str]:
    """Write a report; what the README says of it: the answer, and each setting at its best rate."""
    evidence = gather(lab, experiment)
    write_report(out / f"{name}.html", report(evidence))
    first, *others = three_lines(evidence.verdict)
    return [
        f"**{first}** ([report]({name}.html))",
        " ".join(others),
        f"```\n{plain_table(comparison_text(chosen_arms(rows_of(evidence.members))))}\n```",
    ]


if __name__ == "__main__":
    sys.exit(main())
