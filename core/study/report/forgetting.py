"""The section of a report on learning and forgetting."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

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
from core.study.figures.curves import NamedCurve, measure_curves
from core.study.figures.frontier import ALT, frontier_figure
from core.study.figures.tradeoffs import learning_and_forgetting, mean_epochs
from core.study.report.evidence import Evidence, without_losses
from core.study.report.parts import Plot, Section, Table

FEW_EPOCHS = 12
"""Maximum number of epochs at which every epoch has a tick."""


def forgetting_section(evidence: Evidence, title: str) -> Section:
    """What the network still knows of the source; where there is none, how it learned the target.

    Args:
        evidence: of an experiment.
        title: of the section.
    """
    measure, colours = evidence.objective.primary, evidence.colours
    spec = evidence.members[0].spec
    if spec.source is None:
        alt = f"Mean {measure.noun} on the target after each epoch, one line per setting"
        return Section(title, no_source(spec), (Plot("curves", _curves(evidence, colours), alt),))
    arms = evidence.named
    kinds = [False, True] if evidence.split else [False]
    parts: list[Plot | Table] = []
    for masked in kinds:
        suffix = "-masked" if masked else ""
        plane = learning_and_forgetting(arms, evidence.curves, colours, masked, evidence.remeasured.start)
        among = ", choosing among the source's classes" if masked else ""
        parts.append(
            Plot(
                f"plane{suffix}",
                plane,
                f"Target {measure.noun} against source {measure.noun}{among}, one line per setting",
            )
        )
    figure = _curves(evidence, colours)
    alt = f"Mean {measure.noun} on target and source after each epoch, one line per setting"
    parts.append(Plot("curves", figure, alt))
    at_equal = [part for masked in kinds for part in _frontier(evidence, colours, masked)]
    parts.append(
        Table(
            f"Forgetting of each setting at its learning rate{measure.difference_clause} of the source",
            _forgetting_table(arms, evidence.split),
            rates_note(arms, any(isinstance(part, Table) and len(part.frame) for part in at_equal)),
        )
    )
    parts += at_equal
    lead = "What the network still knows of the source while it learns the target."
    return Section(title, f"{lead} {source_note(spec)}".strip(), tuple(parts))


def _frontier(evidence: Evidence, colours: dict[str, str], masked: bool) -> list[Plot | Table]:
    """Accuracy against forgetting over all rates and epochs, and what equal accuracy says."""
    start = evidence.remeasured.start
    before = (start.source_masked if masked else start.source) if start else None
    found = frontiers(evidence.rows, evidence.curves, before, masked) if before is not None else []
    if not found:
        return []
    pairs, measure = frontier_pairs(found), evidence.objective.primary
    suffix, among = ("-masked", ", choosing among the source's classes") if masked else ("", "")
    equal = [row for lora, full in pairs for row in at_equal_accuracy(lora, full)]
    note = " ".join([*([frontier_sentence(pairs)] if pairs else []), FRONTIER_NOTE])
    return [
        Plot(f"frontier{suffix}", frontier_figure(found, colours, masked), f"{ALT}{among}"),
        Table(
            f"Forgetting at equal {measure.noun} on the target{measure.difference_clause} of the source{among}",
            frontier_table(equal),
            note,
        ),
    ]


def _forgetting_table(arms: Sequence[Arm], split: bool) -> pd.DataFrame:
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


def _curves(evidence: Evidence, colours: dict[str, str]) -> go.Figure:
    """Mean accuracy after each epoch."""
    curves = [
        NamedCurve(arm.key, arm.label, colours[arm.key], without_losses(mean_epochs(own)))
        for arm in evidence.named
        if (own := [evidence.curves[run.id] for run in arm.runs])
    ]
    figure = measure_curves(curves, "epoch", evidence.split, evidence.objective)
    among = "; the source among its own classes" if evidence.split else ""
    figure.update_layout(title_subtitle_text=f"validation parts, mean of the seeds{among}")
    if all(len(curve.curve.epochs) <= FEW_EPOCHS for curve in curves):
        figure.update_xaxes(dtick=1)
    return figure
