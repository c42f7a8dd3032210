"""The tables of the README of this folder, in Markdown."""

from __future__ import annotations

from core.answer.lines import three_lines
from core.methods.method import Role
from core.numbers import NOTHING, number_text, signed_text
from core.results.arm import arms_of
from core.results.measures import digits_of, quantity
from core.results.row import rows_of
from core.rule.candidate import Candidate
from core.rule.claims import Difference, difference_of
from core.rule.frontier import SHARES, at_equal_accuracy, frontier_pairs, frontiers
from core.rule.tuning import ratio_text
from core.study.arms.difference_tables import (
    finding_text,
    full_differences,
    interval_text,
    rank_differences,
    tested_settings,
)
from core.study.report.evidence import Evidence

Rows = list[tuple[str, dict[str, str]]]

ACCURACY = quantity("accuracy")


def figures(found: dict[str, Evidence]) -> str:
    """Tables in Markdown of what was measured."""
    tables = [
        ("Accuracy on the test part, in percent: mean (95 % interval over seeds)", _accuracy(found)),
        (
            "Accuracy minus that of full fine-tuning, in points: mean (95 % interval, of LoRA over seeds and test "
            "images), finding",
            _against_full(found, "accuracy"),
        ),
        ("Accuracy of rank 4 and rank 16 minus rank 1, in points: mean (95 % interval), finding", _ranks(found)),
        ("Learning rate chosen on validation, and that rate over the one of full fine-tuning", _rates(found)),
        ("Forgetting, in points: lowest to highest of the rates tried; split: masked", _forgetting(found)),
        (
            "Forgetting at the chosen rates minus that of full fine-tuning at its own: mean (95 % interval), finding; "
            "compares rates as much as methods; split: masked",
            _against_full(found, "forgetting_masked"),
        ),
        (
            "Forgetting minus that of full fine-tuning at equal accuracy on the target, on the validation parts: "
            "mean (95 % interval), finding; split: masked",
            _at_equal_accuracy(found),
        ),
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
    return " ".join([f"- {name}:", *three_lines(evidence.verdict)])


def _rows(cells: dict[str, dict[str, str]]) -> Rows:
    """By setting instead of by report."""
    labels = dict.fromkeys(label for column in cells.values() for label in column)
    return [(label, {name: column[label] for name, column in cells.items() if label in column}) for label in labels]


def told(difference: Difference, candidate: Candidate | None = None) -> str:
    """A difference with its interval and what was found. Args: candidate: the setting, where a verdict is about it."""
    mean = signed_text(difference.interval.mean, digits_of(difference.interval, difference.what.change))
    finding = finding_text(difference, candidate)
    return f"{mean} ({interval_text(difference.interval, difference.what)}), {finding[:1].lower()}{finding[1:]}"


def _accuracy(found: dict[str, Evidence]) -> Rows:
    return _rows({n: {a.label: a.spread("accuracy").replace(" %", "") for a in e.named} for n, e in found.items()})


def forgetting_of(evidence: Evidence) -> str:
    """The measure of forgetting: among the source's classes where it leaves some out."""
    return "forgetting_masked" if evidence.split else "forgetting"


def _against_full(found: dict[str, Evidence], measure: str) -> Rows:
    cells = {}
    for name, evidence in found.items():
        is_primary = measure == "accuracy"
        tested = tested_settings(evidence.named, evidence.verdict) if is_primary else {}
        own = full_differences(evidence.named, measure, evidence.verdict) if is_primary else []
        own = own or full_differences(evidence.named, forgetting_of(evidence))
        cells[name] = {d.a: told(d, tested.get(d.a)) for d in own}
    return _rows(cells)


def _ranks(found: dict[str, Evidence]) -> Rows:
    return _rows({name: {d.a: told(d) for d in rank_differences(e.named)} for name, e in found.items()})


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
    return _rows(
        {
            name: {
                label: f"{number_text(low, 1)} to {number_text(high, 1)}"
                for label, (low, high) in forgetting_by_rate(evidence).items()
            }
            for name, evidence in found.items()
        }
    )


def forgetting_by_rate(evidence: Evidence) -> dict[str, tuple[float, float]]:
    """Lowest and highest mean forgetting over the rates of full fine-tuning and of each rank, in points."""
    means: dict[str, list[float]] = {}
    for arm in arms_of(rows_of(evidence.members)):
        if arm.role is not Role.CONTROL:
            means.setdefault(arm.spec.label, []).append(arm.interval(forgetting_of(evidence)).mean)
    return {label: (min(each), max(each)) for label, each in means.items()}


def _at_equal_accuracy(found: dict[str, Evidence]) -> Rows:
    return _rows({name: _equal(evidence) for name, evidence in found.items()})


def _equal(evidence: Evidence) -> dict[str, str]:
    return {
        f"{d.a}, {where}": f"at {number_text(level, 1)} %: {told(d)}" for where, level, d in equal_accuracy(evidence)
    }


def equal_accuracy(evidence: Evidence) -> list[tuple[str, float, Difference]]:
    """Forgetting of each rank minus that of full fine-tuning where both reach an accuracy.

    Returns:
        Which of the accuracies it is, the accuracy in percent, and the difference.
    """
    start = evidence.remeasured.start
    before = (start.source_masked if evidence.split else start.source) if start else None
    if before is None:
        return []
    pairs = frontier_pairs(frontiers(rows_of(evidence.members), evidence.curves, before, evidence.split))
    where, levels, compared = [], [], []
    for lora, full in pairs:
        equal = at_equal_accuracy(lora, full)
        top = max((each.level for each in equal), default=1.0)
        for each in equal:
            share = min(SHARES, key=lambda share: abs(share - each.level / top))
            where.append("highest that both reach" if share == 1 else f"{100 * share:g} % of that")
            levels.append(each.level)
            values = dict(enumerate(each.values))
            none = dict.fromkeys(values, 0.0)
            compared.append(difference_of(each.a, full.label, values, none, quantity("forgetting")))
    return list(zip(where, levels, compared, strict=True))
