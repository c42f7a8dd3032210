"""The sections of a report: what settings reached, at which rates and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from core.numbers import NOTHING, bytes_text, count_text, listed
from core.results.arm import Arm, judged_by
from core.results.measures import IN_BRACKETS, MEMORY_NOTE, spread_text, storage_note, time_note
from core.results.row import Row
from core.rule.answer import Answer
from core.rule.balance import share_sentence
from core.rule.candidate import Candidate, Rule
from core.rule.claims import Level
from core.rule.place import Place
from core.rule.tuning import RateChoice, choice_sentence, rate_choices, reference_name
from core.study.arms.difference_tables import (
    SEEN,
    differences_table,
    full_differences,
    rank_differences,
    tested_settings,
)
from core.study.arms.study_words import study_table
from core.study.arms.sweep import sweep_arms
from core.study.arms.tables import mean_text, rates_table, storage_sentence
from core.study.arms.trained_memory import TRAINED_MEMORY_NOTE, memory_columns
from core.study.figures.curves import arm_dots
from core.study.figures.differences import difference_rows
from core.study.figures.study import study_figure
from core.study.figures.sweep import rate_curves
from core.study.figures.tradeoffs import accuracy_against, learning_over_time
from core.study.report.evidence import Evidence
from core.study.report.forgetting import forgetting_section
from core.study.report.parts import Plot, Section, Table

CUSTOMERS = 100
"""Default number of customers for which storage is computed."""

RATES = "A fair learning rate for each"
COST = "Cost"


@dataclass(frozen=True)
class Chapter:
    """A section that can be made alone: a page makes only those that somebody reads."""

    title: str
    make: Callable[[Evidence, int], Section]
    """Makes the section, given a number of customers with a network of their own."""
    remeasures: bool
    """Whether it needs curves and what is measured again of stored networks."""


def chapters_of(evidence: Evidence) -> list[Chapter]:
    """The sections of a report, the one with its main figure and table first."""
    if (study := evidence.study) is not None:
        return [
            Chapter(study.axis.question, lambda _, __: study_section(study), remeasures=False),
            Chapter(RATES, lambda _, __: rates_section(study, RATES), remeasures=False),
        ]
    measure, spec = evidence.objective.primary, evidence.members[0].spec
    learning = "Learning" if spec.source is None else "Learning and forgetting"
    chapters = [
        Chapter(measure.title, _accuracy, remeasures=False),
        Chapter(f"Differences in {measure.noun}", _differences, remeasures=False),
        Chapter(RATES, _rates, remeasures=False),
        Chapter(learning, lambda evidence, _: forgetting_section(evidence, learning), remeasures=True),
        Chapter(COST, _cost, remeasures=True),
    ]
    return [chapter for chapter in chapters if evidence.tuned or chapter.title != RATES]


def _accuracy(evidence: Evidence, _: int) -> Section:
    share = share_sentence(evidence.chosen[0].rows[0], evidence.members[0].spec.network.learns)
    lead = f"{evidence.objective.primary.title} on the target's test part, by which no learning rate was chosen."
    return measured_section(evidence.named, evidence.verdict, evidence.colours, f"{lead} {share}".strip())


def measured_section(
    arms: Sequence[Arm], found: Place, colours: Mapping[str, str], lead: str, validated: bool = False
) -> Section:
    """What each setting reached: a dot for each run, and a table.

    Args:
        arms: the settings, from top to bottom.
        found: the verdict on them.
        colours: of each arm, by key.
        lead: a sentence on what was measured.
        validated: whether the table also has the measure on the validation part.
    """
    measure = judged_by(arms).primary
    dots = arm_dots(arms, measure.name, colours)
    figure = Plot("measure", dots, f"{measure.title} of every run, by setting")
    return Section(
        measure.title, lead, (figure, Table("Settings", measured_table(arms, found, validated), IN_BRACKETS))
    )


def measured_table(arms: Sequence[Arm], found: Place, validated: bool = False) -> pd.DataFrame:
    """One row for each setting, as people read it. Args: validated: whether with the measure on the validation part."""
    objective = judged_by(arms)
    measure = objective.primary
    within = {each.arm.key: within_text(each, found.margin) for each in found.candidates}
    columns = {
        "Setting": [arm.label for arm in arms],
        measure.title: [arm.spread(measure.name) for arm in arms],
    }
    if within:
        columns[f"Within {measure.margin_text(found.margin)}"] = [within.get(arm.key, NOTHING) for arm in arms]
    if any(arm.learning_rate for arm in arms):
        columns["Learning rate"] = [f"{arm.learning_rate:g}" if arm.learning_rate else NOTHING for arm in arms]
    if any(arm.trained for arm in arms):
        columns["Trainable parameters"] = [count_text(arm.trained) if arm.trained else NOTHING for arm in arms]
    columns["Seeds"] = [str(len(arm.rows)) for arm in arms]
    if validated:
        columns[f"Validation {measure.noun}"] = [spread_text(arm.validated, arm.what()) for arm in arms]
    for each in objective.measures:
        if any(arm.values(each.name) for arm in arms):
            columns.setdefault(each.title, [arm.spread(each.name) for arm in arms])
    return pd.DataFrame(columns, dtype=object)


def _differences(evidence: Evidence, _: int) -> Section:
    return difference_section(evidence.named, evidence.verdict, evidence.colours)


def difference_section(arms: Sequence[Arm], found: Place, colours: Mapping[str, str]) -> Section:
    """How far each setting is from full fine-tuning, or from what stands for it, and ranks from the lowest."""
    measure, full = judged_by(arms).primary, reference_name(found.full)
    parts: list[Plot | Table] = []
    if found.full is not None and found.candidates:
        alt = f"{measure.title} of each setting minus that of {full}, by seed, with mean and interval"
        parts.append(Plot("difference", difference_rows(found, arms, colours), alt))
    if differences := full_differences(arms, measure.name, found):
        title = f"Differences in {measure.noun} from {full}, paired by seed{measure.difference_clause}"
        parts.append(Table(title, differences_table(differences, tested_settings(arms, found))))
    if ranks := rank_differences(arms):
        parts.append(Table(f"Does the rank matter? Each rank minus the lowest: {SEEN}", differences_table(ranks)))
    return Section(f"Differences in {measure.noun}", "Settings are compared seed by seed.", tuple(parts))


def _rates(evidence: Evidence, _: int) -> Section:
    return tuned_section(evidence.rows, evidence.choices)


def tuned_section(rows: Sequence[Row], choices: Sequence[RateChoice]) -> Section:
    """The learning rates that were tried and chosen for each method and rank."""
    alt = f"{judged_by(rows).primary.title} on the validation part over the learning rate, one line per setting"
    figure = Plot("rates", rate_curves(sweep_arms(rows)), alt)
    return Section(RATES, choice_sentence(choices), (figure, Table("Learning rates", rates_table(choices))))


def _cost(evidence: Evidence, customers: int) -> Section:
    arms, colours = evidence.named, evidence.colours
    measure = evidence.objective.primary
    title, is_shared = measure.title, any(arm.shares_time for arm in arms)
    trained = memory_columns(arms, evidence.forecasts)
    notes = [time_note(is_shared), MEMORY_NOTE, *([TRAINED_MEMORY_NOTE] if trained else [])]
    table = pd.DataFrame(
        {
            "Setting": [arm.label for arm in arms],
            "Trainable parameters": [count_text(arm.interval("trainable_parameters").mean) for arm in arms],
            "Time per run": [mean_text(arm, "seconds") for arm in arms],
            "Memory, counted": [bytes_text(arm.interval("memory").mean) for arm in arms],
            **trained,
            "To store, 1 customer": [bytes_text(arm.bytes_for(1)) for arm in arms],
            f"To store, {customers:,} customers": [bytes_text(arm.bytes_for(customers)) for arm in arms],
        },
        dtype=object,
    )
    parts: list[Plot | Table] = [
        Plot(
            "storage",
            accuracy_against("storage", arms, colours, customers),
            f"{title} on the test part against bytes to store for {customers:,} customers",
        ),
        Plot(
            "parameters",
            accuracy_against("trainable_parameters", arms, colours),
            f"{title} on the test part against trainable parameters",
        ),
    ]
    if not is_shared:
        over_time = f"Validation {measure.noun} over training time"
        parts.append(Plot("time", learning_over_time(arms, evidence.curves, colours), over_time))
    parts.append(Table("What each setting costs", table, " ".join(notes), is_folded=True))
    memory = listed([f"{arm.label} {bytes_text(arm.interval('memory').mean)}" for arm in arms])
    lead = f"{storage_sentence(arms, customers)} Memory to train one run, as counted: {memory}."
    return Section(COST, f"{lead} {storage_note(arms[0].interval('checkpoint_bytes').mean)}", tuple(parts))


def within_text(candidate: Candidate, margin: float) -> str:
    """Whether a setting is good enough: shown, shown not to be, or neither."""
    if candidate.within is Level.SHOWN:
        return "shown"
    is_worse = candidate.claim(Rule.LOWER) is not None and candidate.crossed.interval().high < -margin
    return "no" if is_worse else "not shown"


def study_section(found: Answer) -> Section:
    """The section. Args: found: with at least one point that has results, and read."""
    alt = f"The measure along {found.axis.title.lower()}, and below it the difference from full fine-tuning"
    parts = (
        Plot("study", study_figure(found), alt),
        Table("Every point", study_table(found), f"{IN_BRACKETS} That of a difference is over test examples, too."),
    )
    return Section(found.axis.question, found.axis.line, parts)


def rates_section(found: Answer, title: str) -> Section:
    """The learning rates that were tried and chosen at each point. Args: found: as above; title: of the section."""
    tables = []
    for at in found.places:
        table = rates_table(rate_choices(at.rows))
        table.insert(0, found.axis.title, found.axis.tick(at.point))
        tables.append(table)
    lead = "Learning rates were found at each point, for every method and rank alike, on one grid."
    return Section(title, lead, (Table("Learning rates", pd.concat(tables, ignore_index=True)),))
