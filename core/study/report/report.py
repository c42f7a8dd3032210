"""The decision report of an experiment: one content, shown on a page and written to a file.

It is made for somebody who never saw the dashboard: the question, the answer with its intervals, the figures, what
cannot be concluded, what was run, and the file and command that run it again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import pandas as pd

from core.errors import RunStateError
from core.lab import Lab
from core.methods.method import Role
from core.numbers import NOTHING, bytes_text, count_text
from core.run_spec import RunSpec
from core.store.record import Experiment
from core.study.arms.balance import misleading_sentence, share_sentence
from core.study.arms.choice import dropped_sentences
from core.study.arms.difference_tables import (
    cut_differences,
    cuts_table,
    differences_table,
    full_differences,
    rank_differences,
    tested_settings,
)
from core.study.arms.fairness import comparable
from core.study.arms.sweep import sweep_arms
from core.study.arms.tables import mean_text, rates_table
from core.study.arms.trained_memory import TRAINED_MEMORY_NOTE, memory_columns
from core.study.arms.tuning import choice_sentence
from core.study.arms.verdict import Verdict
from core.study.arms.verdict_words import costs, explanation, headline
from core.study.figures.curves import arm_dots
from core.study.figures.palette import colours_of
from core.study.figures.sweep import rate_curves
from core.study.figures.tradeoffs import accuracy_against, learning_over_time
from core.study.report.evidence import Evidence, gather
from core.study.report.facts import facts_of
from core.study.report.forgetting import forgetting_section
from core.study.report.limits import limits_of
from core.study.report.parts import Plot, Section, Table
from core.study.report.words import words_of
from core.study.stats.claims import Level
from core.study.stats.measures import MEMORY_NOTE, TIME_NOTE, value_text
from core.wording.tasks import task_text

CUSTOMERS = 100
"""Default number of customers for which storage is computed."""


@dataclass(frozen=True)
class Opening:
    """How a report begins, for which no network is measured again; every string is plain text."""

    question: str
    answer: tuple[str, ...]
    """The verdict, what it rests on, and what its setting costs, a sentence each."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Report(Opening):
    """The whole report; every string is plain text."""

    experiment: str
    """Id of the experiment."""
    title: str
    made: str
    """When the report was made, in UTC."""
    sections: tuple[Section, ...]
    limits: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    file: str | None
    """The experiment as a file; see :attr:`core.study.report.evidence.Evidence.file`."""
    specs: tuple[str, ...]
    """JSON of one run of each arm that was chosen."""
    words: tuple[tuple[str, str], ...]
    """Terms and what they mean."""

    @property
    def command(self) -> str:
        """What runs the experiment of :attr:`file` again, saved under the experiment's id."""
        return f"python -m core compare --config {self.experiment}.json --report report.html"


def report_of(lab: Lab, experiment: Experiment) -> Report:
    """Read an experiment from the lab and report on it.

    Args:
        lab: has it.
        experiment: all its runs have ended.

    Raises:
        LabError: no setting has finished without a failed seed, or the test part is not to be read yet.
    """
    return report(gather(lab, experiment))


def opening(evidence: Evidence) -> Opening:
    """How the report of what was gathered begins; arguments and errors as of :func:`report`."""
    if not evidence.chosen:
        raise RunStateError("No setting has finished without a failed seed, so there is nothing to report yet.")
    found = evidence.verdict
    if found.unread:
        raise RunStateError(found.reason)
    first = evidence.members[0].spec
    measure = first.objective.primary
    short = "below" if measure.higher_is_better else "above"
    return Opening(
        question=(
            f"{_start(first)} has to learn {task_text(first.task, first.objective)}. Does it take full fine-tuning, or "
            "is LoRA enough, and at which rank and learning rate? Good enough here means: at most "
            f"{measure.margin_text(found.margin)} of {measure.noun} {short} full fine-tuning."
        ),
        answer=tuple(filter(None, (headline(found), *explanation(found), costs(found)))),
        warnings=(
            *filter(None, [misleading_sentence(evidence.chosen[0].runs[0])]),
            *dropped_sentences(evidence.members),
            *comparable(run for run in evidence.members if not evidence.tuned or run.state != "failed"),
        ),
    )


def report(evidence: Evidence, customers: int = CUSTOMERS) -> Report:
    """The report of what was gathered.

    Args:
        evidence: of an experiment.
        customers: each has a network of their own.

    Raises:
        RunStateError: no setting has finished without a failed seed, or the test part is not to be read yet.
    """
    begun, found = opening(evidence), evidence.verdict
    return Report(
        **vars(begun),
        experiment=evidence.experiment.id,
        title=evidence.experiment.name,
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        sections=tuple(_sections(evidence, found, customers)),
        limits=tuple(limits_of(evidence)),
        facts=tuple(facts_of(evidence)),
        file=evidence.file,
        specs=tuple(arm.spec.to_json() for arm in evidence.chosen),
        words=words_of(evidence.objective),
    )


def _start(spec: RunSpec) -> str:
    """What the runs start from, as the subject of a sentence."""
    name = f"The network {spec.network.sizes}" if spec.network.brought is not None else "A network"
    return (
        f"{name} was trained on {task_text(spec.source, spec.objective)} and"
        if spec.source
        else f"{name}, as it was brought,"
    )


def _sections(evidence: Evidence, found: Verdict, customers: int) -> list[Section]:
    colours = colours_of(run.spec for run in evidence.members)
    sections = [_accuracy(evidence, found, colours)]
    if evidence.tuned:
        sections.append(_rates(evidence))
    return [*sections, forgetting_section(evidence, colours), _cost(evidence, colours, customers), *_cuts(evidence)]


def _accuracy(evidence: Evidence, found: Verdict, colours: dict[str, str]) -> Section:
    arms, measure = evidence.named, evidence.objective.primary
    tables = [
        Table(
            f"Differences in {measure.noun} from full fine-tuning, paired by seed{measure.difference_clause}",
            differences_table(full_differences(arms, measure.name, found), tested_settings(arms, found)),
        )
    ]
    if len(ranks := rank_differences(arms)):
        tables.append(Table("Does the rank matter? Each rank minus the lowest", differences_table(ranks)))
    figure = Plot(
        "accuracy",
        arm_dots(arms, measure.name, colours),
        f"{measure.title} on the target's test part of every run, by setting",
    )
    share = share_sentence(evidence.chosen[0].runs[0].result, evidence.members[0].spec.network.learns)
    lead = f"{measure.title} on the target's test part, which took no part in any choice. {share}".strip()
    words = {Level.SHOWN: "shown", Level.OPEN: "not shown"}
    within = {candidate.arm.key: words[candidate.within] for candidate in found.candidates}
    columns = {
        "Setting": [arm.label for arm in arms],
        "Learning rate": [f"{arm.learning_rate:g}" for arm in arms],
        "Trainable parameters": [count_text(arm.interval("trainable_parameters").mean) for arm in arms],
        "Seeds": [str(len(arm.runs)) for arm in arms],
    }
    for each in evidence.objective.measures:
        if any(arm.values(each.name) for arm in arms):
            columns[each.title] = [arm.spread(each.name) for arm in arms]
    columns[f"Within {measure.margin_text(found.margin)}"] = [within.get(arm.key, NOTHING) for arm in arms]
    summary = pd.DataFrame(columns, dtype=object)
    return Section(
        measure.title, lead, (figure, Table("Settings", summary, "In brackets: the 95 % interval."), *tables)
    )


def _rates(evidence: Evidence) -> Section:
    figure = Plot(
        "rates",
        rate_curves(sweep_arms(evidence.members)),
        f"{evidence.objective.primary.title} on the validation part over the learning rate, one line per setting",
    )
    lead = choice_sentence(evidence.choices)
    return Section(
        "A fair learning rate for each", lead, (figure, Table("Learning rates", rates_table(evidence.choices)))
    )


def _cost(evidence: Evidence, colours: dict[str, str], customers: int) -> Section:
    arms, cuts = evidence.named, evidence.remeasured.cuts
    measure = evidence.objective.primary
    title, over_time = measure.title, f"Validation {measure.noun} over training time"
    trained = memory_columns(arms, evidence.forecasts)
    notes = [TIME_NOTE, MEMORY_NOTE, *([TRAINED_MEMORY_NOTE] if trained else [])]
    table = pd.DataFrame(
        {
            "Setting": [arm.label for arm in arms],
            "Trainable parameters": [count_text(arm.interval("trainable_parameters").mean) for arm in arms],
            "Time per run": [mean_text(arm, "seconds") for arm in arms],
            "Memory in training": [bytes_text(arm.interval("memory").mean) for arm in arms],
            **trained,
            "To store, 1 customer": [bytes_text(arm.bytes_for(1)) for arm in arms],
            f"To store, {customers:,} customers": [bytes_text(arm.bytes_for(customers)) for arm in arms],
        },
        dtype=object,
    )
    parts = (
        Plot(
            "parameters",
            accuracy_against("trainable_parameters", arms, colours),
            f"{title} on the test part against trainable parameters",
        ),
        Plot(
            "time",
            learning_over_time(arms, evidence.curves, colours),
            over_time,
        ),
        Plot(
            "storage",
            accuracy_against("storage", arms, colours, customers, cuts),
            f"{title} on the test part against bytes to store for {customers:,} customers",
        ),
        Table("What each setting costs", table, " ".join(notes)),
    )
    lead = (
        "LoRA is stored as one base and one adapter per customer, head only and biases only as one base and the "
        "trained values, everything else as one checkpoint per customer."
    )
    return Section("Cost", lead, parts)


def _cuts(evidence: Evidence) -> list[Section]:
    cuts = evidence.remeasured.cuts
    if not cuts:
        return []
    note = evidence.remeasured.left_out
    arms = evidence.named
    full = next(arm for arm in arms if arm.role is Role.REFERENCE)
    reached = value_text(full.what(full.primary), full.interval(full.primary).mean)
    lead = (
        f"A reference computed from the full runs and not a run of its own: the change that full fine-tuning made to "
        f"each weight, cut to rank r by singular value decomposition. Uncut it reached {reached}."
    )
    tables = [Table("Full fine-tuning, cut to a rank", cuts_table(cuts, evidence.split), note)]
    if differences := cut_differences(arms, cuts):
        tables.append(Table("LoRA minus full fine-tuning cut to the same rank", differences_table(differences)))
    return [Section("How much rank did full fine-tuning need?", lead, tuple(tables))]
