"""The four reports of this folder, and the figures in its README: ``make reports``, on the MNIST of LORA_LAB_DATA.

Runs that are in the home folder already are used again, since the same spec gives the same numbers.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.study.report.decision import cheapest_within

from core.__main__ import _follow, _launch, _parser
from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment
from core.study.arms.difference_tables import full_differences, interval_text, rank_differences, signed_text
from core.study.arms.tuning import ratio_text
from core.study.report.evidence import Evidence, bases_of, gather
from core.study.report.html import write_report
from core.study.report.report import report
from core.study.stats.measures import MeasureName, spread_text
from core.wording.numbers import NOTHING, seconds_text

HERE = Path(__file__).parent
BEGIN, END = "<!-- figures: written by make.py -->", "<!-- end of figures -->"

COMMON = (
    "--source mnist --pretrain-epochs 3 --epochs 3 --rank 1 4 16 --controls head biases scratch --tune 5 --seeds 10"
)
REPORTS = {
    "rotation-45": "--preset rotation-45",
    "split": "--preset split",
    "permutation": "--preset permutation",
    "fashion": "--preset transfer --target fashion-mnist",
}
"""A name of each report, with what its command has beside :data:`COMMON`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not there yet, write the reports, and bring the README up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="folder for runs (default: LORA_LAB_HOME)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of reports and README")
    parser.add_argument("--options", default=COMMON, help="what all four commands share")
    parser.add_argument("names", nargs="*", default=list(REPORTS), help=f"some of: {', '.join(REPORTS)}")
    options = parser.parse_args(arguments)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        found = {}
        for name in options.names:
            line = f"compare {options.options} {REPORTS[name]}"
            print(f"{name}: python -m core {line}", file=sys.stderr)
            experiment = experiment_of(lab, line)
            found[name] = gather(lab, experiment)
            write_report(options.out / f"{name}.html", report(found[name]))
        update(options.out / "README.md", figures(found))
    finally:
        lab.close()
    return 0


def experiment_of(lab: Lab, line: str) -> Experiment:
    """The finished experiment of a command; one that is there is taken as it is."""
    options = _parser().parse_args(shlex.split(line))
    with tempfile.TemporaryDirectory() as folder:
        # A lab that queues and never trains says which runs the command stands for.
        plan = Lab(replace(lab.settings, home=Path(folder)))
        wanted = _outline(plan, _launch(plan, options))
        plan.store.close()
    for other in lab.experiments():
        if _outline(lab, other) == wanted and all(run.result for run in lab.members(other)):
            return other
    experiment = _launch(lab, options)
    _follow(lab, experiment)
    return experiment


def _outline(lab: Lab, experiment: Experiment) -> set[tuple[str, str]]:
    """Each run's spec with that of its base in place of the base's id, which differs between homes."""
    members = lab.members(experiment)
    bases = {id: lab.run(id).spec.to_json() for id in bases_of(members)}
    return {(run.spec.but(base="base").to_json(), bases[str(run.spec.base)]) for run in members}


def figures(found: dict[str, Evidence]) -> str:
    """Tables in Markdown of what was measured."""
    names = list(found)
    tables = [
        ("Accuracy on the test part, in percent: mean (95 % interval)", _accuracy(found)),
        (
            "Accuracy minus that of full fine-tuning, in points: mean (95 % BCa interval)",
            _against_full(found, "accuracy"),
        ),
        ("Learning rate chosen on validation, and that rate over the one of full fine-tuning", _rates(found)),
        (
            "Forgetting minus that of full fine-tuning, in points (95 %); above zero it forgot more; split: masked",
            _against_full(found, "forgetting"),
        ),
        ("Accuracy of rank 16 and rank 4 minus rank 1, in points (95 %)", _ranks(found)),
        ("Full fine-tuning, ΔW cut to a rank: accuracy, in percent", _cuts(found)),
        ("Share of a bank's training time per run, at the chosen rate; no comparison of methods", _seconds(found)),
    ]
    text = []
    for title, rows in tables:
        head = ["Setting", *(f"[{name}]({name}.html)" for name in names)]
        lines = [
            head,
            ["---"] * len(head),
            *([label, *(row.get(name, NOTHING) for name in names)] for label, row in rows),
        ]
        text += [f"**{title}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""]
    answers = [f"- {name}: {cheapest_within(found[name].members, 0.5).sentence}" for name in names]
    return "\n".join([*text, "**The answers at a margin of 0.5 points**", "", *answers])


Rows = list[tuple[str, dict[str, str]]]


def _rows(cells: dict[str, dict[str, str]]) -> Rows:
    """By setting instead of by report."""
    labels = dict.fromkeys(label for column in cells.values() for label in column)
    return [(label, {name: column[label] for name, column in cells.items() if label in column}) for label in labels]


def _accuracy(found: dict[str, Evidence]) -> Rows:
    return _rows(
        {n: {a.label: spread_text(a.interval("accuracy")).replace(" %", "") for a in e.named} for n, e in found.items()}
    )


def _against_full(found: dict[str, Evidence], measure: MeasureName) -> Rows:
    cells = {}
    for name, evidence in found.items():
        own: MeasureName = "forgetting_masked" if measure == "forgetting" and evidence.split else measure
        cells[name] = {
            d.a: f"{signed_text(d.interval.mean)} ({interval_text(d.interval)})"
            for d in full_differences(evidence.named, own)
        }
    return _rows(cells)


def _rates(found: dict[str, Evidence]) -> Rows:
    return _rows(
        {
            name: {
                c.arm.spec.label: f"{c.arm.learning_rate:g}"
                + (f" ({ratio_text(c.ratio)} ×)" if c.ratio else "")
                + (f", {c.at_end} tried" if c.at_end else "")
                for c in evidence.choices
            }
            for name, evidence in found.items()
        }
    )


def _ranks(found: dict[str, Evidence]) -> Rows:
    return _rows(
        {
            name: {
                d.a: f"{signed_text(d.interval.mean)} ({interval_text(d.interval)})" for d in rank_differences(e.named)
            }
            for name, e in found.items()
        }
    )


def _cuts(found: dict[str, Evidence]) -> Rows:
    return _rows(
        {
            name: {cut.label: spread_text(cut.accuracy).replace(" %", "") for cut in evidence.remeasured.cuts}
            for name, evidence in found.items()
        }
    )


def _seconds(found: dict[str, Evidence]) -> Rows:
    return _rows({n: {a.label: seconds_text(a.interval("seconds").mean) for a in e.named} for n, e in found.items()})


def update(readme: Path, text: str) -> None:
    """Put the figures between their marks; a README without marks gets them at its end."""
    before, found, rest = readme.read_text().partition(BEGIN) if readme.exists() else ("# Reports\n\n", "", "")
    after = rest.partition(END)[2] if found else "\n"
    readme.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
