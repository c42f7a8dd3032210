"""The report on results that others report: the parts of an experiment's report, as far as the results carry them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pandas as pd

from core.answer.checks.registry import checks_of
from core.answer.levels import level_words
from core.answer.lines import three_lines
from core.numbers import bytes_text, count_text, counted, listed, seeds_text
from core.results.arm import Arm
from core.results.measures import bare_text
from core.rule.claims import p_text
from core.rule.networks import NetworkDifference
from core.study.arms.difference_tables import interval_text
from core.study.report.facts import WORDS
from core.study.report.judged import REPORTED, JudgedEvidence, carried, judged_warnings, network_sentences
from core.study.report.parts import Section, Table
from core.study.report.report import Report
from core.study.report.sections import chapters_of, measured_table
from core.study.report.shown import Shown
from core.wording.tasks import noun

TERMS = ("Full fine-tuning", "LoRA", "Seed", "95 % interval", "p", "Shown, leaning, seen, open", "Beats it")
"""Terms of the report that reported results need."""


def settings_table(evidence: JudgedEvidence) -> pd.DataFrame:
    """One row for each setting: its learning rate, seeds, and the measure on both parts, as people read it."""
    return measured_table(evidence.arms, evidence.verdict, evidence.has_both_parts)


def networks_table(evidence: JudgedEvidence) -> pd.DataFrame:
    """One row for each setting of one seed: its difference from the reference on the test examples."""
    what = evidence.arms[0].what(evidence.measure.name)
    found = evidence.networks
    return pd.DataFrame(
        {
            "Setting": [arm.label for arm, _ in found],
            "Difference": [bare_text(what.change, each.interval.mean) for _, each in found],
            "95 % interval": [interval_text(each.interval, what) for _, each in found],
            "p": [p_text(each.p) for _, each in found],
            "Finding": [_finding(each, len(found)) for _, each in found],
        },
        dtype=object,
    )


def _finding(found: NetworkDifference, many: int) -> str:
    if found.is_told:
        return "Told apart"
    alone = many > 1 and not found.interval.low <= 0 <= found.interval.high
    return f"Told apart alone, not among {many}" if alone else "Not told apart"


def judged_report(evidence: JudgedEvidence) -> Report:
    """The whole report on reported results."""
    measure, found = evidence.measure, evidence.verdict
    short = "below" if measure.higher_is_better else "above"
    question = (
        f"{evidence.judged.name}: which setting is as good as {evidence.reference}, by {measure.noun}? Good enough "
        f"here means: at most {measure.margin_text(found.margin)} of {measure.noun} {short} {evidence.reference}."
    )
    return Report(
        question=question,
        answer=(*three_lines(found), REPORTED),
        checks=tuple(checks_of(found).values()),
        notes=(*network_sentences(evidence), *carried(evidence)),
        scope="",
        level=level_words(found),
        warnings=tuple(judged_warnings(evidence)),
        experiment=evidence.judged.id,
        title=evidence.judged.name,
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        sections=tuple(sections_of(evidence)),
        facts=tuple(facts_of(evidence)),
        file=None,
        specs=(),
        words=tuple(pair for pair in WORDS if pair[0] in TERMS),
        origin=(
            f"{REPORTED} LoRA Lab read the files named above, and trained nothing.",
            *([f"Note: {evidence.judged.note}"] if evidence.judged.note else []),
        ),
    )


def sections_of(evidence: JudgedEvidence) -> Iterator[Section]:
    """Settings, differences, networks of one seed, and learning rates."""
    measure, found, arms = evidence.measure, evidence.verdict, evidence.arms
    if found.unread or not arms:
        return
    if evidence.networks:
        nouns = noun(evidence.results.noun)
        title = f"One seed on the same {evidence.results.scale.part} {nouns}"
        table = Table(f"{measure.title} minus that of {evidence.reference}", networks_table(evidence))
        lead = "Two networks on the same examples: an interval for other examples, and nothing about methods."
        yield Section(title, lead, (table,))
    for chapter in chapters_of(Shown.of(found, arms)):
        yield chapter.make()


def facts_of(evidence: JudgedEvidence) -> Iterator[tuple[str, str]]:
    """Files with their SHA-256, settings, seeds and measure."""
    results, measure = evidence.results, evidence.measure
    for file in evidence.judged.files:
        when = datetime.fromtimestamp(file.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        yield file.name, f"SHA-256 {file.sha256}, {bytes_text(file.bytes)}, read {when}"
    yield "Runs", counted(len(results.rows), "run")
    yield "Settings", listed(list(dict.fromkeys(_label(arm) for arm in evidence.arms)))
    yield "Seeds", seeds_text(sorted({row.seed for row in results.rows}))
    way = "higher" if measure.higher_is_better else "lower"
    yield "Measure", f"{measure.title}, {way} is better; margin {measure.margin_text(results.scale.within)}"
    if evidence.measures:
        size = len(next(iter(evidence.measures.values())))
        yield (
            f"{results.scale.part.capitalize()} {noun(results.noun)}",
            f"{count_text(size)}, known singly for {counted(len(evidence.measures), 'run')}",
        )
    elif results.examples:
        yield f"{results.scale.part.capitalize()} {noun(results.noun)}", count_text(results.examples)


def _label(arm: Arm) -> str:
    return arm.setting.label
