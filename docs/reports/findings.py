"""The findings of the reports on images, in sentences that the numbers decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from core.methods.method import Role
from core.numbers import listed, number_text
from core.results.measures import bare_text, digits_of
from core.rule.candidate import Rule
from core.rule.claims import Difference
from core.rule.tuning import ratio_text
from core.rule.withheld import paired_differences
from core.study.arms.difference_tables import (
    full_differences,
    interval_text,
)
from core.study.report.evidence import Evidence
from docs.reports.tables import equal_accuracy, forgetting_by_rate, forgetting_of

Named = Sequence[tuple[str, Difference]]
"""Differences, each with the name of its report."""

MAX_NAMES = 4
"""Maximum number of comparisons that are named one by one."""


def findings(found: dict[str, Evidence]) -> str:
    """What holds by the rule of docs/statistics.md, and what was seen, in Markdown."""
    parts = [_accuracy(found), _rates(found), *_forgetting(found), _controls(found), _beside_controls(found)]
    return "\n\n".join(parts)


def _differences(found: dict[str, Evidence], measure: str, lora: bool) -> list[tuple[str, Difference]]:
    everything = []
    for name, evidence in found.items():
        own = "accuracy" if measure == "accuracy" else forgetting_of(evidence)
        verdict = evidence.verdict if measure == "accuracy" else None
        everything += [(name, d) for d in full_differences(evidence.named, own, verdict)]
    return [(name, d) for name, d in everything if d.a.startswith("LoRA") == lora]


def levels(found: Named, higher: str, lower: str) -> str:
    """Count differences by direction, as in ``seen lower in 11 of 12, by 1.2 to 23.2 points; not told apart in 1``."""
    if not found:
        return "nothing could be compared"
    words = []
    for side, word in ((1, higher), (-1, lower)):
        group = [(n, d) for n, d in found if not d.holds_zero and d.interval.mean * side > 0]
        if group:
            sizes = sorted(abs(d.interval.mean) for _, d in group)
            span = " to ".join(dict.fromkeys(number_text(size, 1) for size in (sizes[0], sizes[-1])))
            words.append(f"seen {word} in {len(group)} of {len(found)}, by {span} points{_names(group)}")
    group = [(n, d) for n, d in found if d.holds_zero]
    if group:
        words.append(f"not told apart in {len(group)} of {len(found)}{_names(group)}")
    return "; ".join(words)


def _names(group: Named) -> str:
    if len(group) > MAX_NAMES:
        return ""
    each = [
        f"{name} {d.a}: {bare_text(d.what.change, d.interval.mean, digits_of(d.interval, d.what.change))}, "
        f"{interval_text(d.interval, d.what)}"
        for name, d in group
    ]
    return f" ({'; '.join(each)})"


def _accuracy(found: dict[str, Evidence]) -> str:
    lora = _differences(found, "accuracy", lora=True)
    near = [
        f"{name} {candidate.arm.spec.label}"
        for name, evidence in found.items()
        for candidate in evidence.verdict.candidates
        if candidate.claim(Rule.WITHIN)
    ]
    shown = [
        f"{name} {candidate.arm.spec.label} ({'higher' if candidate.difference.is_better else 'lower'})"
        for name, evidence in found.items()
        for candidate in evidence.verdict.candidates
        if candidate.claim(Rule.HIGHER, Rule.LOWER)
    ]
    return (
        f"**Is LoRA as accurate as full fine-tuning?** Accuracy of LoRA minus that of full fine-tuning: "
        f"{levels(lora, 'higher', 'lower')}. Shown to differ: {listed(shown) if shown else 'none'}. Shown to be within "
        f"half a point: {listed(near) if near else 'none'}. Intervals and tests are over seeds and test images."
    )


def _rates(found: dict[str, Evidence]) -> str:
    lora = [(n, c) for n, e in found.items() for c in e.choices if c.arm.spec.kind == "lora" and c.ratio]
    counts = Counter(ratio_text(choice.ratio) for _, choice in lora if choice.ratio)
    cells = [f"{ratio} times in {counts[ratio]}" for ratio in sorted(counts, key=float)]
    ends = [f"{n} {c.arm.spec.label} ({c.at_end})" for n, e in found.items() for c in e.choices if c.at_end]
    beyond = f" At an end of the rates tried, so that a better one may lie beyond: {listed(ends)}." if ends else ""
    return (
        f"**Is LoRA's best rate a multiple of the full one?** Of {len(lora)} settings of LoRA, the "
        f"chosen rate over that of full fine-tuning is {listed(cells)}. All rates lie on one grid whose points are 3.2 "
        "times apart, so a ratio is known to about one step of it, and it has no interval. For language models a "
        'factor of about ten is reported (Schulman et al., "LoRA without regret", 2025). Alpha was 8 with scaling '
        f"alpha/r throughout: another alpha was not tried.{beyond}"
    )


def _forgetting(found: dict[str, Evidence]) -> list[str]:
    spans = []
    for name, evidence in found.items():
        low, high = forgetting_by_rate(evidence).get("Full", (0.0, 0.0))
        spans.append(f"{number_text(low, 1)} to {number_text(high, 1)} points on {name}")
    own = _differences(found, "forgetting", lora=True)
    equal = [
        (name, replace(d, a=f"{d.a} at {number_text(level, 1)} %"))
        for name, evidence in found.items()
        for _, level, d in equal_accuracy(evidence)
    ]
    by_report = [
        f"*{name}*: {levels(own_equal, 'more', 'less')}"
        for name in found
        if (own_equal := [(n, d) for n, d in equal if n == name])
    ]
    return [
        "**Does LoRA forget less? At each method's best rate that question is confounded by the rate.** Over "
        f"the learning rates that were tried, full fine-tuning forgets {listed(spans)}. Forgetting of LoRA minus that "
        f"of full fine-tuning, each at the rate chosen for accuracy on the target: {levels(own, 'more', 'less')}. That "
        "compares rates as much as methods.",
        "**At equal accuracy on the target** the two methods are compared on the frontiers of all rates and epochs, at "
        "the highest accuracy that both reach and at 95 and 90 % of it; "
        "a rank is left out where the frontiers share no such accuracy. "
        f"Forgetting of LoRA minus that of full fine-tuning, over ranks and accuracies: {'. '.join(by_report)}. The "
        "frontiers are over all epochs: what LoRA reaches in its last ones full fine-tuning often passes in its first, "
        "so that this also compares few epochs with many. Published for large language models: LoRA learns less and "
        "forgets less (Biderman "
        "et al., arXiv 2405.09673); here every layer of a small network changes, and most of the target is new.",
    ]


def _controls(found: dict[str, Evidence]) -> str:
    controls = _differences(found, "accuracy", lora=False)
    labels = dict.fromkeys(d.a for _, d in controls)
    each = [f"{label}: {levels([(n, d) for n, d in controls if d.a == label], 'higher', 'lower')}" for label in labels]
    return f"**What the controls add.** Accuracy minus that of full fine-tuning. {'. '.join(each)}."


def _beside_controls(found: dict[str, Evidence]) -> str:
    words = []
    for control in ("Head only", "From scratch"):
        pairs = [
            (name, (arm, other))
            for name, evidence in found.items()
            for other in evidence.named
            for arm in evidence.named
            if other.label == control and arm.role is Role.ADAPTER
        ]
        differences = [(name, *paired_differences([pair], "accuracy")) for name, pair in pairs]
        words.append(f"{control}: {levels(differences, 'higher', 'lower')}")
    return (
        f"**Is LoRA worth more than its controls?** Accuracy of LoRA minus that of a control. {'. '.join(words)}. "
        "Where training from scratch does as well, pretraining was worth nothing to LoRA on that target. Adapters "
        "train no biases, and change the last layer of a perceptron by a matrix of their rank; *Head only* trains all "
        "of it."
    )
