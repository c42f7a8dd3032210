"""The four reports of this folder, the figures in its README, and the example of Home: ``make reports``.

LORA_LAB_DATA names a folder with MNIST and Fashion-MNIST. Runs that are in the home folder already are used again,
since the same spec gives the same numbers.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.__main__ import _follow, _launch, _parser
from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment
from core.study.arms.difference_tables import full_differences, interval_text, rank_differences, signed_text
from core.study.arms.frontier import SHARES, at_equal_accuracy, frontier_pairs, frontiers
from core.study.arms.tuning import ratio_text
from core.study.arms.verdict import verdict
from core.study.arms.verdict_words import explanation, headline
from core.study.report.evidence import Evidence, bases_of, gather
from core.study.report.example import FILE, write_example
from core.study.report.html import write_report
from core.study.report.report import report
from core.study.stats.claims import Difference, Pair, differences_of
from core.study.stats.images import CrossedInterval
from core.study.stats.measures import MeasureName, digits_of, spread_text
from core.study.weights.predicted import over_images
from core.wording.numbers import NOTHING, count_text, number_text

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

EXAMPLE = "example"
EXAMPLE_COMMAND = "compare --source digits --preset rotation-45 --rank 1 4 16 --tune"
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
        crossed: dict[str, dict[str, CrossedInterval]] = {}
        for name in options.names:
            line = EXAMPLE_COMMAND if name == EXAMPLE else f"compare {options.options} {REPORTS[name]}"
            print(f"{name}: python -m core {line}", file=sys.stderr)
            experiment = experiment_of(lab, line)
            if name == EXAMPLE:
                keep_example(lab, experiment)
                continue
            found[name], crossed[name] = gather(lab, experiment), crossed_of(lab, experiment)
            write_report(options.out / f"{name}.html", report(found[name]))
        if found:
            update(options.out / "README.md", figures(found, crossed))
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
    _follow(lab, experiment.runs)
    return experiment


def _outline(lab: Lab, experiment: Experiment) -> set[tuple[str, str]]:
    """Each run's spec with that of its base in place of the base's id, which differs between homes."""
    members = lab.members(experiment)
    bases = {id: lab.run(id).spec.to_json() for id in bases_of(members)}
    return {(run.spec.but(base="base").to_json(), bases[str(run.spec.base)]) for run in members}


def crossed_of(lab: Lab, experiment: Experiment) -> dict[str, CrossedInterval]:
    """The intervals over seeds and test images of an experiment, by label of the LoRA setting."""
    decided = verdict(lab.members(experiment))
    if decided.full is None:
        return {}
    return {each.arm.spec.label: over_images(lab, each.arm, decided.full) for each in decided.candidates}


def keep_example(lab: Lab, experiment: Experiment) -> None:
    """Write the example that Home shows before there is an experiment."""
    decided = verdict(lab.members(experiment))
    if decided.told is None:
        raise SystemExit("The example has no verdict.")
    write_example(
        FILE, experiment.name, lab.members(experiment), crossed_of(lab, experiment)[decided.told.arm.spec.label]
    )


Rows = list[tuple[str, dict[str, str]]]


def figures(found: dict[str, Evidence], crossed: dict[str, dict[str, CrossedInterval]]) -> str:
    """Tables in Markdown of what was measured."""
    tables = [
        ("Accuracy on the test part, in percent: mean (95 % interval over seeds)", _accuracy(found)),
        (
            "Accuracy minus that of full fine-tuning, in points: mean (95 % interval over seeds), level",
            _against_full(found, "accuracy"),
        ),
        ("The same over seeds and test images: 95 % interval, number of test images", _crossed(crossed)),
        ("Accuracy of rank 4 and rank 16 minus rank 1, in points: mean (95 % interval), level", _ranks(found)),
        ("Learning rate chosen on validation, and that rate over the one of full fine-tuning", _rates(found)),
        ("Forgetting, in points: lowest to highest of the rates tried; split: masked", _forgetting(found)),
        (
            "Forgetting at the chosen rates minus that of full fine-tuning at its own: mean (95 % interval), level; "
            "compares rates as much as methods; split: masked",
            _against_full(found, "forgetting_masked"),
        ),
        (
            "Forgetting minus that of full fine-tuning at equal accuracy on the target, on the validation parts: "
            "mean (95 % interval), level after Holm's correction within each column; split: masked",
            _at_equal_accuracy(found),
        ),
        ("Full fine-tuning, ΔW cut to a rank: accuracy, in percent: mean (95 % interval)", _cuts(found)),
    ]
    text = []
    for title, rows in tables:
        head = ["Setting", *(f"[{name}]({name}.html)" for name in found)]
        lines = [
            head,
            ["---"] * len(head),
            *([label, *(row.get(name, NOTHING) for name in found)] for label, row in rows),
        ]
        text += [f"**{title}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""]
    return "\n".join([*text, "**The verdicts at a margin of 0.5 points**", "", *map(_answer, found, found.values())])


def _answer(name: str, evidence: Evidence) -> str:
    decided = verdict(evidence.members)
    return " ".join([f"- {name}: {headline(decided)}", *explanation(decided, evidence.over_images)])


def _rows(cells: dict[str, dict[str, str]]) -> Rows:
    """By setting instead of by report."""
    labels = dict.fromkeys(label for column in cells.values() for label in column)
    return [(label, {name: column[label] for name, column in cells.items() if label in column}) for label in labels]


def _told(difference: Difference) -> str:
    mean = signed_text(difference.interval.mean, digits_of(difference.interval))
    return f"{mean} ({interval_text(difference.interval)}), {difference.level}"


def _accuracy(found: dict[str, Evidence]) -> Rows:
    return _rows(
        {n: {a.label: spread_text(a.interval("accuracy")).replace(" %", "") for a in e.named} for n, e in found.items()}
    )


def _masked(evidence: Evidence) -> MeasureName:
    return "forgetting_masked" if evidence.split else "forgetting"


def _against_full(found: dict[str, Evidence], measure: MeasureName) -> Rows:
    cells = {}
    for name, evidence in found.items():
        own = measure if measure == "accuracy" else _masked(evidence)
        cells[name] = {d.a: _told(d) for d in full_differences(evidence.named, own)}
    return _rows(cells)


def _crossed(found: dict[str, dict[str, CrossedInterval]]) -> Rows:
    return _rows(
        {
            name: {
                label: f"{interval_text(each.crossed)}, {count_text(each.images)}" for label, each in crossed.items()
            }
            for name, crossed in found.items()
        }
    )


def _ranks(found: dict[str, Evidence]) -> Rows:
    return _rows({name: {d.a: _told(d) for d in rank_differences(e.named)} for name, e in found.items()})


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


def _forgetting(found: dict[str, Evidence]) -> Rows:
    cells: dict[str, dict[str, str]] = {}
    for name, evidence in found.items():
        means: dict[str, list[float]] = {}
        for arm in evidence.arms:
            if arm.spec.control is None:
                means.setdefault(arm.spec.label, []).append(arm.interval(_masked(evidence)).mean)
        cells[name] = {
            label: f"{number_text(min(each), 1)} to {number_text(max(each), 1)}" for label, each in means.items()
        }
    return _rows(cells)


def _at_equal_accuracy(found: dict[str, Evidence]) -> Rows:
    return _rows({name: _equal(evidence) for name, evidence in found.items()})


def _equal(evidence: Evidence) -> dict[str, str]:
    start = evidence.remeasured.start
    if start is None:
        return {}
    before = start.source_masked if evidence.split else start.source
    pairs = frontier_pairs(frontiers(evidence.members, evidence.curves, before, evidence.split))
    labels, levels, compared = [], [], []
    for lora, full in pairs:
        equal = at_equal_accuracy(lora, full)
        top = max((each.level for each in equal), default=1.0)
        for each in equal:
            share = min(SHARES, key=lambda share: abs(share - each.level / top))
            where = "highest that both reach" if share == 1 else f"{100 * share:g} % of that"
            labels.append(f"{lora.label}, {where}")
            levels.append(each.level)
            values = dict(enumerate(each.values))
            compared.append(Pair(each.a, each.b, values, dict.fromkeys(values, 0.0)))
    told = map(_told, differences_of(compared, "forgetting"))
    return {
        label: f"at {number_text(level, 1)} %: {words}"
        for label, level, words in zip(labels, levels, told, strict=True)
    }


def _cuts(found: dict[str, Evidence]) -> Rows:
    return _rows(
        {
            name: {cut.label: spread_text(cut.accuracy).replace(" %", "") for cut in evidence.remeasured.cuts}
            for name, evidence in found.items()
        }
    )


def update(readme: Path, text: str) -> None:
    """Put the figures between their marks; a README without marks gets them at its end."""
    before, found, rest = readme.read_text().partition(BEGIN) if readme.exists() else ("# Reports\n\n", "", "")
    after = rest.partition(END)[2] if found else "\n"
    readme.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
