"""The four reports of this folder, the figures in its README, and the example of Home: ``make reports``.

LORA_LAB_DATA names a folder with Fashion-MNIST. Runs that are in the home folder already are used again,
since the same spec gives the same numbers.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from core.__main__ import parser
from core.cli.compare import TIMING_SECONDS, launch
from core.cli.comparison import follow
from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment
from core.study.report.evidence import Evidence, bases_of, gather
from core.study.report.example import FILE, write_example
from core.study.report.html import write_report
from core.study.report.report import report
from core.study.weights.predicted import tested_by
from docs.reports.findings import findings
from docs.reports.readme import put_between
from docs.reports.tables import figures

HERE = Path(__file__).parent
BEGIN, END = "<!-- written by make.py -->", "<!-- end of what make.py writes -->"

COMMON = "--source mnist-16k --shots 100 --rank 1 4 16 --controls head biases scratch --tune --vary-bases"
REPORTS = {
    "rotation-45": "--preset rotation-45",
    "ten-shot": "--preset rotation-45 --shots 10",
    "split": "--preset split",
    "permutation": "--preset permutation",
    "fashion": "--preset transfer --target fashion-mnist",
}
"""A name of each report, with what its command has beside :data:`COMMON`."""

EXAMPLE = "example"
EXAMPLE_COMMAND = "compare --source mnist-16k --preset rotation-45 --shots 100 --rank 1 4 16 --tune --vary-bases"
"""What the button of Home trains with *Thorough*."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not there yet, write the reports and the example, and bring the README up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="folder for runs (default: LORA_LAB_HOME)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of reports and README")
    parser.add_argument("--options", default=COMMON, help="what all four commands share")
    known = [*REPORTS, EXAMPLE]
    parser.add_argument("names", nargs="*", default=known, help=f"some of: {', '.join(known)}")
    options = parser.parse_args(arguments)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        found: dict[str, Evidence] = {}
        for name in options.names:
            line = EXAMPLE_COMMAND if name == EXAMPLE else f"compare {options.options} {REPORTS[name]}"
            print(f"{name}: python -m core {line}", file=sys.stderr)
            experiment = experiment_of(lab, line)
            if name == EXAMPLE:
                keep_example(lab, experiment)
                continue
            found[name] = gather(lab, experiment)
            write_report(options.out / f"{name}.html", report(found[name]))
        if found:
            text = f"## What was found\n\n{findings(found)}\n\n## Figures\n\n{figures(found)}"
            put_between(options.out / "README.md", BEGIN, text, END)
    finally:
        lab.close()
    return 0


def write_sections(
    about: str | None,
    here: Path,
    commands: Mapping[str, str],
    section: Callable[[Lab, Experiment, str, Path], list[str]],
    arguments: Sequence[str] | None,
) -> int:
    """Run commands of ``compare`` as far as that was not done yet, and write a part of a README for each.

    Args:
        about: what the program says of itself.
        here: folder of the README, unless the arguments name another.
        commands: by name, all of which are run unless the arguments name some.
        section: paragraphs on an experiment that has ended, given its name and the folder.
        arguments: those of the program; None for those of the process.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--home", type=Path, help="folder for runs (default: LORA_LAB_HOME)")
    parser.add_argument("--out", type=Path, default=here, help="folder of what is written")
    parser.add_argument("--more", default="", help="options that every command gets, such as --seeds 3")
    parser.add_argument("names", nargs="*", default=list(commands), help=f"some of: {', '.join(commands)}")
    options = parser.parse_args(arguments)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        for name in options.names:
            line = f"compare {commands[name]} {options.more}".strip()
            print(f"{name}: python -m core {line}", file=sys.stderr)
            ended = lab.store.experiment(experiment_of(lab, line).id)
            text = "\n\n".join([*section(lab, ended, name, options.out), f"`python -m core {line}`"])
            put_between(options.out / "README.md", f"<!-- {name} -->", text, f"<!-- end of {name} -->")
    finally:
        lab.close()
    return 0


def experiment_of(lab: Lab, line: str) -> Experiment:
    """The finished experiment of a command; one that is there is taken as it is."""
    options = parser().parse_args(shlex.split(line))
    with tempfile.TemporaryDirectory() as folder:
        # A lab that queues and never trains says which runs the command stands for.
        plan = Lab(replace(lab.settings, home=Path(folder)))
        try:
            wanted = _outline(plan, launch(plan, options))
        finally:
            plan.close(TIMING_SECONDS)  # a step that is being timed writes to the folder
    for other in lab.store.experiments():
        known, ended = _outline(lab, other), all(run.result for run in lab.store.members(other))
        # Of a search the command says only how it begins.
        if ended and (known == wanted or (other.plan is not None and wanted <= known)):
            return other
    experiment = launch(lab, options)
    follow(lab, experiment, experiment.runs)
    return experiment


def _outline(lab: Lab, experiment: Experiment) -> set[tuple[str, str]]:
    """Each run's spec with that of its base in place of the base's id, which differs between homes."""
    members = lab.store.members(experiment)
    bases = {id: lab.store.run(id).spec.to_json() for id in bases_of(members)}
    return {
        (run.spec.but(base="base").to_json(), bases[run.spec.base]) if run.spec.base else (run.spec.to_json(), "")
        for run in members
    }


def keep_example(lab: Lab, experiment: Experiment) -> None:
    """Write the example that Home shows before there is an experiment."""
    write_example(FILE, experiment.name, lab.store.members(experiment), tested_by(lab))


if __name__ == "__main__":
    sys.exit(main())
