"""The sections of an answer: one list for the tabs of a page, the report and its file.

A section is a title, a line, figures and tables, as data. Each is made when somebody reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from core.methods.method import Role
from core.numbers import NOTHING, count_text, listed
from core.results.arm import Arm, judged_by
from core.results.measures import IN_BRACKETS, spread_text
from core.results.results import Results
from core.rule.answer import Answer, crossings
from core.rule.budgets import by_budget, passed_epochs
from core.rule.candidate import Candidate, Rule
from core.rule.controls import share_sentence
from core.rule.place import Place
from core.rule.tuning import choice_sentence, is_tuned, rate_choices, reference_name
from core.study.arms.difference_tables import (
    SEEN,
    differences_table,
    full_differences,
    rank_differences,
    tested_settings,
)
from core.study.arms.rates import chosen, tried_arms
from core.study.arms.study_words import study_table
from core.study.arms.tables import rates_table
from core.study.figures.curves import mean_curves
from core.study.figures.intervals import arm_dots, difference_rows, passed_figure, study_figure
from core.study.figures.rates import has_map, rate_curves, rate_map, size_curve, size_titles
from core.study.report.cost import COST, cost_section
from core.study.report.forgetting import FORGOTTEN, forgetting_section
from core.study.report.parts import Plot, Section, Table
from core.study.report.shown import Shown

RATES, BY_RANK, BY_BUDGET, CURVES, DIFFERENCES = "Rates", "By rank", "By budget", "Curves", "Differences"
NO_LEVEL = "Nothing here is tested, and nothing of it counts as a look: a study of epochs finds rates for each budget."


@dataclass(frozen=True)
class Chapter:
    """A section that can be made alone: a page makes only those that somebody reads."""

    title: str
    make: Callable[[], Section]


def chapters_of(shown: Shown) -> list[Chapter]:
    """The sections of an answer at one place, the one with its main table first."""
    arms, measure = shown.arms, shown.objective.primary
    has_sides = {Role.REFERENCE, Role.ADAPTER} <= {arm.role for arm in shown.differing}
    ranked = [] if shown.is_reported else [arm for arm in shown.differing if arm.validation]
    titles = size_titles(arm for arm in ranked if arm.role is Role.ADAPTER)
    sizes = {arm.setting.size for arm in shown.differing if arm.setting.size is not None}
    is_ranked = is_tuned(row.setting for row in shown.rows) and all(arm.learning_rate for arm in arms)
    is_ours = not shown.is_reported
    makers: list[tuple[bool, str, Callable[[Shown], Section]]] = [
        (True, measure.title, measured_section),
        (has_sides, DIFFERENCES, difference_section),
        (len(sizes) > 1 and bool(titles), BY_RANK, rank_section),
        (is_ranked and (is_ours or any(arm.validation for arm in arms)), RATES, tuned_section),
        (is_ours and _has_budgets(shown), BY_BUDGET, budget_section),
        (is_ours, CURVES, curve_section),
        (is_ours, FORGOTTEN, forgetting_section),
        (is_ours, COST, cost_section),
    ]
    return [Chapter(title, partial(make, shown)) for applies, title, make in makers if applies]


def study_chapters(found: Answer) -> list[Chapter]:
    """The sections of an answer along an axis, which was read."""
    return [
        Chapter(found.axis.question, partial(study_section, found)),
        Chapter(RATES, partial(rates_along, found)),
    ]


def measured_section(shown: Shown) -> Section:
    """What each setting reached: a dot for each run, and a table with every measure."""
    arms, measure = shown.arms, shown.objective.primary
    lead = f"{measure.title} on the target's test part, by which no learning rate was chosen."
    share = share_sentence(arms[0].rows[0], arms[0].setting.learns)
    if shown.is_reported:
        lead, share = f"{measure.title}{' on the test part' * shown.objective.has_test_part}, as reported.", ""
    dots = arm_dots(arms, shown.colours, shown.stopped)
    figure = Plot("measure", dots, f"{measure.title} of every run, by setting")
    table = Table("Settings", measured_table(shown), IN_BRACKETS)
    return Section(measure.title, f"{lead} {share}".strip(), (figure, table))


def measured_table(shown: Shown) -> pd.DataFrame:
    """One row for each setting, as people read it; of reported ones with the measure on the validation part."""
    arms, found, objective = shown.arms, shown.place, shown.objective
    measure = objective.primary
    validated = shown.is_reported and objective.has_test_part and any(arm.validation for arm in arms)
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


def within_text(candidate: Candidate, margin: float) -> str:
    """Whether a setting is good enough: shown, shown not to be, or neither."""
    if candidate.claim(Rule.WITHIN):
        return "shown"
    is_worse = candidate.claim(Rule.LOWER) is not None and candidate.crossed.interval().high < -margin
    return "no" if is_worse else "not shown"


def difference_section(shown: Shown) -> Section:
    """How far each setting is from full fine-tuning, or from what stands for it."""
    arms, found, measure = shown.differing, shown.place, shown.objective.primary
    full = reference_name(found.full)
    parts: list[Plot | Table] = [*difference_plot(found, arms, shown.colours)]
    if differences := full_differences(arms, measure.name, found):
        title = f"Differences in {measure.noun} from {full}, paired by seed{measure.difference_clause}"
        beaten = "above" if measure.higher_is_better else "below"
        note = (
            "95 % interval of adapters: over seeds and test examples; of everything else over seeds. p: what the "
            "verdict tests, corrected for the settings tested together. Beats it: how often its runs are "
            f"{beaten} those of the other; ties count half. Seen: the interval leaves out 0, and nothing is claimed."
        )
        parts.append(Table(title, differences_table(differences, tested_settings(arms, found)), note))
    return Section(DIFFERENCES, "Settings are compared seed by seed.", tuple(parts))


def difference_plot(found: Place, arms: Sequence[Arm], colours: Mapping[str, str]) -> list[Plot]:
    """The figure of an answer; none where nothing was compared. Args: see :func:`difference_rows`."""
    if found.full is None or not found.candidates:
        return []
    title, full = judged_by(arms).primary.title, reference_name(found.full)
    alt = f"{title} of each setting minus that of {full}, by seed, with mean and interval"
    return [Plot("difference", difference_rows(found, arms, colours), alt)]


def rank_section(shown: Shown) -> Section:
    """The primary measure by rank, beside full fine-tuning."""
    arms, measure = [arm.finished_only for arm in shown.differing], shown.objective.primary
    plots = [
        Plot(
            f"by-{title.lower()}",
            size_curve(arms, title),
            f"{measure.title} on the test part over the {title.lower()}, with full fine-tuning as reference",
        )
        for title in size_titles(arm for arm in arms if arm.role is Role.ADAPTER)
    ]
    ranks = rank_differences(arms)
    table = [Table(f"Each rank minus the lowest: {SEEN}", differences_table(ranks))] if ranks else []
    return Section(BY_RANK, "Does the rank matter? Each rank is at its best learning rate.", (*plots, *table))


def tuned_section(shown: Shown) -> Section:
    """The learning rates that were tried and chosen for each method and rank."""
    choices, tried, measure = rate_choices(shown.rows), tried_arms(shown.rows), shown.objective.primary
    parts: list[Plot | Table] = []
    if has_map(tried):
        alt = f"Mean {measure.noun} on the validation part of each rank at each learning rate"
        parts.append(Plot("rate-map", rate_map(tried, chosen(tried)), alt))
    alt = f"{measure.title} on the validation part over the learning rate, one line per setting"
    parts += [Plot("rates", rate_curves(tried), alt), Table("Learning rates", rates_table(choices))]
    return Section(RATES, choice_sentence(choices), tuple(parts))


def _has_budgets(shown: Shown) -> bool:
    """Whether there may be other numbers of epochs than those of the answer, trained or passed at constant rates."""
    settings = [row.setting for row in shown.rows if row.setting.role in (Role.REFERENCE, Role.ADAPTER)]
    is_constant = all(each.decay == "constant" and not (each.warmup or each.patience) for each in settings)
    return len({each.epochs for each in settings}) > 1 or (is_constant and settings[0].epochs > 1)


def budget_section(shown: Shown) -> Section:
    """What was reached with other numbers of epochs, trained or passed."""
    found = by_budget(Results(tuple(shown.rows), shown.tested))
    passed = passed_epochs(shown.rows, shown.curves())
    parts: list[Plot | Table] = []
    lead = "No method and full fine-tuning have finished seeds in common after another number of epochs."
    if found is not None:
        lead = f"Every method at its best learning rate for each number of epochs. {NO_LEVEL} {_turns(found)}".strip()
        alt = "Each method after each number of epochs, and minus full"
        table = study_table(found).drop(columns=["Shown", "p"])
        parts += [Plot("budgets", study_figure(found), alt), Table("Every number of epochs", table)]
    elif passed:
        lead = NO_LEVEL
    if passed:
        turns = [_turn(each.label, [f"{one}–{two}" for one, two in crossings(each.means)]) for each in passed]
        said = "At constant learning rates a run passes what shorter training would have reached."
        lead = " ".join(filter(None, [lead, said, *turns]))
        figure = passed_figure(passed, shown.arms[0].spec.objective, shown.colours)
        parts.append(Plot("passed", figure, "Minus full fine-tuning, by epoch that was passed"))
    return Section(BY_BUDGET, lead, tuple(parts))


def _turns(found: Answer) -> str:
    crossed = {line: [f"{one}–{two}" for one, two in found.crossings(line)] for line in found.lines}
    return " ".join(_turn(line, between) for line, between in crossed.items() if between)


def _turn(label: str, between: list[str]) -> str:
    """Where a mean difference changes its sign; empty where it does not."""
    return f"{label} crosses full fine-tuning between {listed(between)} epochs: seen, not shown." if between else ""


def curve_section(shown: Shown) -> Section:
    """The primary measure after each epoch, the mean of the seeds."""
    measure = shown.objective.primary
    figure = mean_curves(shown.arms, shown.curves(), shown.colours, shown.masked)
    alt = f"Mean {measure.noun} after each epoch, one line per setting"
    return Section(CURVES, "The mean of the seeds on the validation parts.", (Plot("curves", figure, alt),))


def study_section(found: Answer) -> Section:
    """The measure along the axis. Args: found: with at least one point that has results, and read."""
    alt = f"The measure along {found.axis.title.lower()}, and below it the difference from full fine-tuning"
    parts = (
        Plot("study", study_figure(found), alt),
        Table("Every point", study_table(found), f"{IN_BRACKETS} That of a difference is over test examples, too."),
    )
    return Section(found.axis.question, found.axis.line, parts)


def rates_along(found: Answer) -> Section:
    """The learning rates that were tried and chosen at each point. Args: found: see :func:`study_section`."""
    tables = []
    for at in found.places:
        table = rates_table(rate_choices(at.rows))
        table.insert(0, found.axis.title, found.axis.tick(at.point))
        tables.append(table)
    lead = "Learning rates were found at each point, for every method and rank alike, on one grid."
    return Section(RATES, lead, (Table("Learning rates", pd.concat(tables, ignore_index=True)),))
