"""Following the runs of an experiment, and printing its comparison: the end of ``compare`` and of ``grow``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from core.answer.check import LEGEND
from core.answer.checks.registry import checks_of
from core.answer.lines import three_lines
from core.cli.as_json import as_json
from core.cli.listing import tell_ids
from core.cli.progress import ProgressBar
from core.errors import LabError, RunStateError, os_error_as
from core.lab import Lab
from core.results.arm import averaged_arms
from core.results.choice import chosen_arms, dropped_sentences
from core.results.row import rows_of
from core.rule.answer import Answer
from core.rule.place import Place
from core.run_spec import RunSpec
from core.store.record import Experiment, Run
from core.study.arms.fairness import comparable, lost_rows, missing_rows
from core.study.arms.study_words import study_basis, study_headline, study_reason, study_table
from core.study.arms.tables import comparison_text, plain_table, validation_table
from core.study.report.answer import answer_of, bases_of, is_study, place_of
from core.study.report.html import write_report
from core.study.report.report import Report, report_of
from core.study.report.sections import BY_RANK, DIFFERENCES, RATES, chapters_of
from core.study.report.shown import Shown
from core.study.report.text import section_text

POLL_SECONDS = 0.5

PRINTED = (DIFFERENCES, BY_RANK, RATES)
"""Titles of the sections that a terminal has beside the table and the answer."""

INCOMPLETE = 3
"""Exit status of an answer that lacks runs; 1 is that of no answer, and 2 that of options which cannot be read."""


def answer(lab: Lab, experiment: Experiment, new: Sequence[str], options: argparse.Namespace) -> int:
    """Wait until the new runs of an experiment have ended, and print its comparison.

    Args:
        lab: trains them.
        experiment: with all its runs.
        new: ids of those that were just queued.
        options: those of :func:`core.cli.options.add_output`.

    Returns:
        The exit status: 0 if all runs have finished, :data:`INCOMPLETE` if the answer lacks some, 1 if there is none.
    """
    follow(lab, experiment, new)
    members = lab.store.members(experiment)
    bases = lab.store.runs_of(bases_of(members))
    interrupted = {base.id for base in bases if base.state == "interrupted"}
    for run in (
        *(base for base in bases if base.result is None),
        *(row.run for row in missing_rows(rows_of(members)) if row.run),
    ):
        waits = run.is_live and run.spec.base in interrupted
        state = "It waits for its base, which was interrupted." if waits else run.state
        print(f"error: {run.spec.label}, seed {run.spec.seed}: {run.cause or state}", file=sys.stderr)
    if not any(run.result for run in members):
        return 1
    if options.json:
        print(json.dumps(as_json(lab, experiment, bases, members), indent=2))
    else:
        print_comparison(lab, experiment, members)
        offered = place_of(lab, experiment, members).offered
        tell_ids(experiment.id, None if offered is None else offered.id)
    if options.report:  # last, so that a full disk costs nobody the answer
        try:
            report = report_of(lab, experiment)
        except RunStateError as error:  # nothing can be chosen
            print(f"error: {error}", file=sys.stderr)
            return INCOMPLETE
        save_report(options.report, report)
    return INCOMPLETE if lost_rows(rows_of(members)) else 0


def save_report(file: Path, report: Report) -> None:
    """Write a report where an option says, and say where it is. Raises: LabError: it cannot be written."""
    with os_error_as(LabError, f"{file} cannot be written", "Name another file."):
        write_report(file, report)
    print(f"The report is in {file}.", file=sys.stderr)


def tell_shortage(lab: Lab, specs: Sequence[RunSpec]) -> None:
    """Say on stderr which of these runs does not fit in the memory that is free.

    Args:
        lab: knows what fits.
        specs: what is about to be queued.

    Raises:
        LabError: a task's data is missing, or adapters do not fit the network.
    """
    missing = lab.estimates.shortage(specs)
    if missing is not None:
        print("Note:", missing, file=sys.stderr)


def follow(lab: Lab, experiment: Experiment, new: Sequence[str]) -> None:
    """Show progress on stderr until these runs of an experiment and their bases have ended, and what its plan adds to
    them; or until they wait for an interrupted base.
    """
    known = set(experiment.runs) - set(new)
    with ProgressBar("waiting", "run", len(new)) as shown:
        while True:
            members = lab.store.members(experiment)
            added = [run for run in members if run.id not in known]
            runs = lab.store.runs_of(bases_of(added)) + added
            is_open = any(run.plan == "open" for run in members)
            interrupted = {run.id for run in runs if run.state == "interrupted"}
            stuck = [run for run in runs if run.state == "queued" and run.spec.base in interrupted]
            live = [run for run in runs if run.is_live and run not in stuck]
            done = sum(run.progress if run.is_live else 1.0 for run in runs)
            now = next((run for run in live if run.state == "running"), None)
            if not live and (stuck or not is_open):
                shown.show(done, "interrupted" if stuck else "done", len(runs))
                return
            shown.show(done, f"{now.spec.label}, seed {now.spec.seed}" if now else "waiting", len(runs))
            time.sleep(POLL_SECONDS)


def print_comparison(lab: Lab, experiment: Experiment, members: list[Run]) -> None:
    """Print the runs of an experiment as a table, the verdict, and what limits it."""
    if is_study(experiment):
        print_study(answer_of(lab, experiment, members))
        return
    rows = rows_of(members)
    found, chosen = place_of(lab, experiment, members), chosen_arms(rows)
    arms = chosen or averaged_arms(rows)
    print(plain_table(validation_table(arms) if found.unread else comparison_text(arms), turned=True))
    print()
    print_answer(found)
    for warning in dropped_sentences(rows) + comparable(rows):
        print(f"Note: {warning}")
    if chosen and not found.unread:
        print_sections(Shown.of(found))


def print_sections(shown: Shown) -> None:
    """Print the sections of an answer that are no figures, and for which nothing is measured again."""
    for chapter in chapters_of(shown):
        if chapter.title in PRINTED:
            print(f"\n{section_text(chapter.make())}")


def print_answer(found: Place) -> None:
    """Print an answer in three lines, and what could undo it."""
    for line in three_lines(found):
        print(line)
    if checks := checks_of(found):
        print("\n".join([f"What could undo it ({LEGEND}):", *(f"  {check.text}" for check in checks.values())]))


def print_study(found: Answer) -> None:
    """Print a study as a table, its sentence, and what that rests on."""
    if found.places and not found.unread:
        print(plain_table(study_table(found), turned=True))
        print()
    print(study_headline(found))
    checks = (check.text for check in checks_of(found).values())
    for line in filter(None, [study_reason(found), *checks, *study_basis(found)]):
        print(line)
