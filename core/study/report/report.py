"""The decision report of an experiment: one content, shown on a page and written to a file.

It is made for somebody who never saw the dashboard: the answer with its level and intervals, the question, the figures,
what cannot be concluded, what was run, and the file and command that run it again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from core.answer.check import Check
from core.answer.checks.registry import checks_of
from core.answer.levels import level_words
from core.answer.lines import three_lines
from core.errors import RunStateError
from core.lab import Lab
from core.results.choice import dropped_sentences
from core.rule.controls import misleading_sentence
from core.rule.place import Place
from core.rule.withheld import NextStep
from core.run_spec import RunSpec
from core.store.record import Experiment
from core.study.arms.fairness import comparable
from core.study.arms.study_words import study_basis, study_headline, study_level, study_reason
from core.study.report.evidence import Evidence, gather
from core.study.report.facts import facts_of, scope_of, words_of
from core.study.report.parts import Section
from core.study.report.sections import Chapter, chapters_of, study_chapters
from core.study.report.shown import CUSTOMERS
from core.wording.tasks import task_text


@dataclass(frozen=True)
class Opening:
    """How a report begins, for which no network is measured again; every string is plain text."""

    question: str
    answer: tuple[str, ...]
    """The answer in three lines: what to use, the reason that matters, and the next step."""
    checks: tuple[Check, ...]
    """What could undo it, what fails first."""
    notes: tuple[str, ...]
    """What else the answer rests on, a sentence each; empty for an experiment without an axis."""
    scope: str
    """Network, task, number of examples and seeds, in one line; empty where others report the results."""
    level: str
    """How far the verdict is shown, as in ``shown at these rates``; empty where there is none."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Report(Opening):
    """The whole report; every string is plain text."""

    experiment: str
    """Id of the experiment."""
    title: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...]
    file: str | None
    """The experiment as a file; see :attr:`core.study.report.evidence.Evidence.file`."""
    specs: tuple[str, ...]
    """JSON of one run of each arm that was chosen."""
    words: tuple[tuple[str, str], ...]
    """Terms and what they mean."""
    made: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    """When the report was made, in UTC."""
    finds_rates: bool = False
    """Whether the next step is to find the learning rates."""
    origin: tuple[str, ...] = ()
    """Where results are from that nobody can train again here, a sentence each; empty for an experiment."""

    @property
    def command(self) -> str:
        """What runs the experiment of :attr:`file` again; see :func:`command_of`."""
        return command_of(self.experiment)


FIND_RATES = "To find the learning rates, ask the same with a search for that of every method and rank"
"""Said before the command that does it."""


def command_of(experiment: str, *more: str) -> str:
    """The command that runs an experiment again whose file is called after its id. Args: more: further options."""
    return " ".join(["python -m core compare --config", f"{experiment}.json", *more, "--report report.html"])


def finds_rates(found: Place) -> bool:
    """Whether the next step is to find the learning rates, where they were given."""
    return found.step in (NextStep.RATES, NextStep.SETTINGS) and not found.is_reported


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
        raise RunStateError(f"{found.reason} {found.more}".strip())
    first = evidence.members[0].spec
    measure = first.objective.primary
    study = evidence.study
    short = "below" if measure.higher_is_better else "above"
    return Opening(
        question=(f"{evidence.study.axis.question} " if evidence.study is not None else "")
        + (
            f"{_start(first, evidence.network)} has to learn {task_text(first.task, first.objective)}. Does it take "
            "full fine-tuning, or is LoRA enough, and at which rank and learning rate? Good enough here means: at most "
            f"{measure.margin_text(found.margin)} of {measure.noun} {short} full fine-tuning."
        ),
        answer=tuple(
            three_lines(found) if study is None else filter(None, (study_headline(study), study_reason(study)))
        ),
        checks=tuple(checks_of(found if study is None else study).values()),
        notes=() if study is None else tuple(study_basis(study)),
        scope=scope_of(evidence),
        level=level_words(found) if evidence.study is None else study_level(evidence.study),
        warnings=(
            *filter(None, [misleading_sentence(evidence.chosen[0].rows[0])]),
            *evidence.overlaps,
            *dropped_sentences(evidence.rows),
            *comparable(row for row in evidence.rows if not evidence.tuned or row.state != "failed"),
        ),
    )


def chapters(evidence: Evidence, customers: int = CUSTOMERS) -> list[Chapter]:
    """The sections of what was gathered, each to be made. Args: see :func:`report`."""
    return chapters_of(evidence.shown(customers)) if evidence.study is None else study_chapters(evidence.study)


def report(evidence: Evidence, customers: int = CUSTOMERS) -> Report:
    """The report of what was gathered.

    Args:
        evidence: of an experiment.
        customers: each has a network of their own.

    Raises:
        RunStateError: no setting has finished without a failed seed, or the test part is not to be read yet.
    """
    missing = evidence.remeasured.missing
    lacks = [f"Some things could not be measured again: {missing}"] if missing else []
    begun = vars(opening(evidence))
    return Report(
        **begun | {"warnings": (*begun["warnings"], *lacks)},
        experiment=evidence.experiment.id,
        title=evidence.experiment.name,
        sections=tuple(each.make() for each in chapters(evidence, customers)),
        facts=tuple(facts_of(evidence)),
        file=evidence.file,
        specs=tuple(arm.spec.to_json() for arm in evidence.chosen),
        words=words_of(evidence.objective),
        finds_rates=finds_rates(evidence.verdict),
    )


def _start(spec: RunSpec, network: str) -> str:
    """What the runs start from, as the subject of a sentence."""
    name = f"The network {network}" if spec.network.brought is not None else "A network"
    return (
        f"{name} was trained on {task_text(spec.source, spec.objective)} and"
        if spec.source and not spec.is_direct
        else f"{name}, as it was imported,"
    )
