"""The studies of this folder, and what its README says of them: ``python -m docs.studies.make``.

Runs that are in the home folder already are used again, also those that were trained for another study. Names that are
given leave the others as they are, so that what takes hours can be trained one study after another.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from core.lab import Lab
from core.store.record import Experiment
from core.study.arms.study_words import study_basis, study_headline, study_level, study_table
from core.study.arms.tables import plain_table
from core.study.report.answer import answer_of
from docs.reports.make import write_sections

HERE = Path(__file__).parent

DIGITS = "--source mnist-16k --rank 1 4 16 --seeds 10 --vary-bases"
ENCODER = "--network minilm --lr-full 0.00005 --lr-lora 0.001 --rank 8"
"""With the rates that searches began at before they found the present defaults, so that runs are used again."""
MINILM = f"{ENCODER} --direct --target definitions --seeds 5"
LONGER = f"{ENCODER} --seeds 6 --shots 100 --vary epochs=3,10"
TARGETS = {"rotation": ("--preset rotation-45", "16,64,256"), "ten-shot": ("--preset ten-shot", "4,16,64")}
"""On images, with batch sizes: the same digits turned, and 100 of them, where pretraining is worth much."""

COPY = r" \(\d+\)$"
"""What tells experiments of one name apart in a home folder."""

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
    return write_sections(
        __doc__, HERE, {name: _with_shots(line) for name, line in STUDIES.items()}, _section, arguments
    )


def _with_shots(command: str) -> str:
    """The command with 100 shots per class, where nothing says how many."""
    return command if re.search(r"shots|ten-shot", command) else f"{command} --shots 100"


def _section(lab: Lab, experiment: Experiment, _name: str, _out: Path) -> list[str]:
    """What the README says of a study."""
    found = answer_of(lab, experiment)
    return [
        f"## {found.axis.question} {re.sub(COPY, '', experiment.name)}",
        f"**{study_headline(found)}** ({study_level(found) or 'no level'})",
        " ".join(study_basis(found)),
        f"```\n{plain_table(study_table(found))}\n```",
    ]


if __name__ == "__main__":
    sys.exit(main())
