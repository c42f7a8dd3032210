"""The reports on language models in this folder: ``python -m docs.reports.texts [NAME…]``.

An experiment that is in the home folder already is used again, and what was interrupted is finished.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment
from core.study.arms.choice import chosen_arms
from core.study.arms.tables import comparison_text, plain_table
from core.study.arms.verdict_words import explanation, headline
from core.study.report.evidence import gather
from core.study.report.html import write_report
from core.study.report.report import report
from docs.reports.make import experiment_of
from docs.reports.readme import put_between

HERE = Path(__file__).parent

LANGUAGE = "--objective language --rank 1 8 --tune"
REPORTS = {
    "decoder": f"{LANGUAGE} --source definitions --preset split --seeds 8 --vary-bases",
    "smollm2": f"{LANGUAGE} --network smollm2 --direct --target definitions --shots 25 --length 64 --seeds 5",
}
"""The command of each report by its name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, write the reports, and bring the README up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="folder for runs (default: LORA_LAB_HOME)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of reports and README")
    parser.add_argument("--more", default="", help="options that every command gets, such as --seeds 3")
    parser.add_argument("names", nargs="*", default=list(REPORTS), help=f"some of: {', '.join(REPORTS)}")
    options = parser.parse_args(arguments)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        for name in options.names:
            line = f"compare {REPORTS[name]} {options.more}".strip()
            print(f"{name}: python -m core {line}", file=sys.stderr)
            _write(lab, experiment_of(lab, line), name, line, options.out)
    finally:
        lab.close()
    return 0


def _write(lab: Lab, experiment: Experiment, name: str, line: str, out: Path) -> None:
    """Write a report, and its part of the README: the answer, and each setting at its best rate."""
    evidence = gather(lab, lab.experiment(experiment.id))
    write_report(out / f"{name}.html", report(evidence))
    text = "\n\n".join(
        [
            f"**{headline(evidence.verdict)}** ([report]({name}.html))",
            " ".join(explanation(evidence.verdict)),
            f"```\n{plain_table(comparison_text(chosen_arms(evidence.members)))}\n```",
            f"`python -m core {line}`",
        ]
    )
    put_between(out / "README.md", f"<!-- {name} -->", text, f"<!-- end of {name} -->")


if __name__ == "__main__":
    sys.exit(main())
