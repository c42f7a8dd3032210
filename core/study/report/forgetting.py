"""The section on forgetting: what settings still know of the source, at their rates and at equal accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from core.numbers import NOTHING
from core.results.arm import Arm
from core.results.measures import FORGETTING, FORGETTING_MASKED, bare_text
from core.rule.frontier import (
    FRONTIER_NOTE,
    at_equal_accuracy,
    frontier_pairs,
    frontier_sentence,
    frontier_table,
    frontiers,
)
from core.study.arms.difference_tables import full_differences, interval_text
from core.study.arms.forgetting_notes import no_source, rates_note, source_note
from core.study.figures.tradeoffs import frontier_figure, learning_and_forgetting
from core.study.report.parts import Plot, Section, Table
from core.study.report.shown import Shown

FORGOTTEN = "Forgetting"

FRONTIER = (
    "Accuracy on the target against forgetting: a faint point for each learning rate and epoch, and a line through the "
    "points of each method that are not beaten on both"
)
"""Alternative text of the figure of frontiers."""


def forgetting_section(shown: Shown) -> Section:
    """The plane of target and source, a table, and the frontier; why it was not measured where that is so."""
    arms, measure, masked = shown.arms, shown.objective.primary, shown.masked
    spec = arms[0].spec
    if spec.source is None:
        return Section(FORGOTTEN, no_source(spec), ())
    among = ", choosing among the source's classes" if masked else ""
    start = shown.base()
    plane = learning_and_forgetting(arms, shown.curves(), shown.colours, masked, start)
    alt = f"Target {measure.noun} against source {measure.noun}{among}, one line per setting"
    before = None if start is None else start.source_masked if masked else start.source
    at_equal = _at_equal(shown, before, among) if before is not None else []
    is_answered = any(isinstance(part, Table) and len(part.frame) for part in at_equal)
    table = Table(
        f"Forgetting of each setting at its learning rate{measure.difference_clause} of the source",
        _table(arms, spec.is_split),
        rates_note(arms, is_answered),
    )
    lead = "What the network still knows of the source while it learns the target."
    parts = (Plot("plane", plane, alt), table, *at_equal)
    return Section(FORGOTTEN, f"{lead} {source_note(spec)}".strip(), parts)


def _at_equal(shown: Shown, before: float, among: str) -> list[Plot | Table]:
    """Accuracy against forgetting over all rates and epochs, and what equal accuracy says."""
    found = frontiers(shown.rows, shown.curves(), before, shown.masked)
    if not found:
        return []
    pairs, measure = frontier_pairs(found), shown.objective.primary
    equal = [row for lora, full in pairs for row in at_equal_accuracy(lora, full)]
    note = " ".join([*([frontier_sentence(pairs)] if pairs else []), FRONTIER_NOTE])
    title = f"Forgetting at equal {measure.noun} on the target{measure.difference_clause} of the source{among}"
    return [
        Plot("frontier", frontier_figure(found, shown.colours, shown.masked), f"{FRONTIER}{among}"),
        Table(title, frontier_table(equal), note),
    ]


def _table(arms: Sequence[Arm], split: bool) -> pd.DataFrame:
    columns: dict[str, list[str]] = {"Setting": [arm.label for arm in arms]}
    objective = arms[0].spec.objective
    for title, masked in (("", False), (", masked", True)) if split else (("", False),):
        name, on_source = FORGETTING_MASKED if masked else FORGETTING, objective.on_source(masked)
        columns[f"Source {objective.primary.noun}{title}"] = [arm.spread(on_source) for arm in arms]
        columns[f"Forgotten{title}"] = [_amount(arm, name) for arm in arms]
        against = {d.a: d for d in full_differences(arms, name)}
        columns[f"Minus full{title}, 95 %"] = [
            interval_text(against[arm.label].interval, against[arm.label].what) if arm.label in against else NOTHING
            for arm in arms
        ]
    return pd.DataFrame(columns, dtype=object)


def _amount(arm: Arm, name: str) -> str:
    """How much was forgotten, without a sign that nobody would miss, and without its unit."""
    found = arm.interval(name)
    return bare_text(arm.what(name), found.mean).removeprefix("+") if found.n else NOTHING
