"""The studies of this folder, and what its README says of them: ``python -m docs.studies.make``.

Runs that are in the home folder already are used again, also those that were trained for another study. Names that are
given leave the others as they are, so that what takes hours can be trained one study after another.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment
from core.study.arms.study_words import study_basis, study_headline, study_level, study_table
from core.study.arms.tables import plain_table
from core.study.report.answer import study_of
from docs.reports.make import experiment_of
from docs.reports.readme import put_between

HERE = Path(__file__).parent

DIGITS = "--source mnist-16k --rank 1 4 16 --seeds 10 --vary-bases"
MINILM = "--network minilm --direct --target definitions --rank 8 --seeds 5"
LONGER = "--network minilm --rank 8 --seeds 6 --shots 100 --vary epochs=3,10"
TARGETS = {"rotation": ("--preset rotation-45", "16,64,256"), "ten-shot": ("--preset ten-shot", "4,16,64")}
"""On images, with batch sizes: the same digits turned, and 100 of them, where pretraining is worth much."""

STUDIES = {
    f"{target}-{vary.partition('=')[0]}": f"{DIGITS} {preset} --vary {vary}"
    for target, (preset, batches) in TARGETS.items()
    for vary in ("epochs=1,3,10,30,100", "shots", "layers", f"batch={batches}", f"batch-updates={batches}")
    if (target, vary) != ("ten-shot", "shots")
} | {
    "minilm-epochs": f"{LONGER} --direct --target definitions",
    "minilm-epochs-split": f"{LONGER} --source definitions --preset split",
    "minilm-layers": f"{MINILM} --shots 100 --vary layers=attention,feed-forward,all-linear",
    "minilm-shots": f"{MINILM} --vary shots=10,30,100",
}
"""The command of each study by its name; images without a number of shots are learned from 100 per class."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and bring the README up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="folder for runs (default: LORA_LAB_HOME)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the README")
    parser.add_argument("--more", default="", help="options that every command gets, such as --seeds 3")
    parser.add_argument("names", nargs="*", default=list(STUDIES), help=f"some of: {', '.join(STUDIES)}")
    options = parser.parse_args(arguments)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        for name in options.names:
            line = f"compare {_with_shots(STUDIES[name])} {options.more}".strip()
            print(f"{name}: python -m core {line}", file=sys.stderr)
            _write(lab, experiment_of(lab, line), name, line, options.out)
    finally:
        lab.close()
    return 0


def _with_shots(command: str) -> str:
    """The command with 100 shots per class, where nothing says how many."""
    return command if re.search(r"shots|ten-shot", command) else f"{command} --shots 100"


def _write(lab: Lab, experiment: Experiment, name: str, line: str, out: Path) -> None:
    """Write what the README says of a study."""
    experiment = lab.experiment(experiment.id)
    found = study_of(lab, experiment)
    text = "\n\n".join(
        [
            f"## {found.axis.question} {experiment.name}",
            f"**{study_headline(found)}** ({study_level(found) or 'no level'})",
            " ".join(study_basis(found)),
            f"```\n{plain_table(study_table(found))}\n```",
            f"`python -m core {line}`",
        ]
    )
    put_between(out / "README.md", f"<!-- {name} -->", text, f"<!-- end of {name} -->")


if __name__ == "__main__":
    sys.exit(main())
