"""Results that others report: their verdict by the rule for our own experiments, what they carry, and their report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import pandas as pd

from core.answer.checks.registry import checks_of
from core.answer.levels import level_words
from core.answer.lines import three_lines
from core.judge.results import Gathered, KeptResults, results_of
from core.lab import Lab
from core.numbers import bytes_text, count_text, counted, listed, seeds_text
from core.objectives.measure import Measure, Values
from core.results.arm import Arm, averaged_arms, named
from core.results.choice import by_group, chosen_arms, dropped_sentences, is_adapter, is_full
from core.results.measures import bare_text
from core.rule.claims import p_text
from core.rule.networks import NetworkDifference, corrected, on_counts, on_examples, smallest_told
from core.rule.place import Place
from core.rule.spending import CLAIM_SEEDS, Design
from core.rule.tuning import end_sentences, is_tuned, name_in_sentence, rate_choices, rate_words, reference_name
from core.store.judged import Judged
from core.study.arms.difference_tables import interval_text
from core.study.arms.fairness import TOO_FEW, comparable
from core.study.report.answer import place_of
from core.study.report.facts import WORDS
from core.study.report.parts import Section, Table
from core.study.report.report import Report
from core.study.report.sections import chapters_of
from core.study.report.shown import Shown
from core.wording.tasks import noun

REPORTED = "Reported by others, not measured here."
"""What every page, report and command says of such results."""

MAX_SEEN = 6
"""Maximum number of methods and ranks whose best mean a sentence names."""

TERMS = ("Full fine-tuning", "LoRA", "Seed", "95 % interval", "p", "Shown, leaning, seen, open", "Beats it")
"""Terms of the report that reported results need."""


@dataclass(frozen=True, eq=False)
class JudgedEvidence:
    """Results from elsewhere, and what their report is based on."""

    judged: Judged
    results: KeptResults
    measures: dict[str, Values]
    """The measure of each test example by run, where it is reported."""
    verdict: Place

    @property
    def measure(self) -> Measure:
        """The measure by which settings are compared."""
        return self.results.scale.primary

    @cached_property
    def arms(self) -> list[Arm]:
        """The settings that are shown: as the validation part chose them, or all where nothing ranks them."""
        return named(chosen_arms(self.verdict.rows) or averaged_arms(self.verdict.rows))

    @property
    def full(self) -> Arm | None:
        """The setting that others are compared with, if it is shown."""
        return next((arm for arm in self.arms if is_full(arm)), None)

    @property
    def reference(self) -> str:
        """What the others are compared with, in a sentence."""
        return reference_name(self.verdict.full or self.full)

    @property
    def examples(self) -> str:
        """What test examples are called, with their part, as in ``test questions``."""
        return f"{self.results.scale.part} {noun(self.results.noun)}"

    @cached_property
    def networks(self) -> list[tuple[Arm, NetworkDifference]]:
        """Each setting minus the reference on the test examples of one seed, where that is all there is."""
        full = self.full
        if full is None or max(len(arm.seeds) for arm in self.arms) > 1:
            return []
        values = {row.run: row.value for row in self.results.rows}
        found = []
        for arm in (arm for arm in self.arms if is_adapter(arm) and arm.seeds == full.seeds):
            own, other = arm.rows[0].id, full.rows[0].id
            a, b, examples = values[own], values[other], self.results.examples
            if own in self.measures and other in self.measures:
                found.append((arm, on_examples(self.measures[own], self.measures[other])))
            elif examples and self.measure.unit == "%" and a is not None and b is not None:
                found.append((arm, on_counts(a, b, examples)))
        adjusted = corrected([each for _, each in found])
        return [(arm, each) for (arm, _), each in zip(found, adjusted, strict=True)]


def judged_evidence(lab: Lab, judged: Judged) -> JudgedEvidence:
    """Read results from elsewhere and their answer, a look. Raises: JudgeError: a newer version kept them."""
    return JudgedEvidence(judged, results_of(judged.content), lab.judged.measures(judged.id), place_of(lab, judged))


def keep_results(lab: Lab, found: Gathered, name: str, before: Judged | None = None) -> Judged:
    """Keep what was read of some files, or return what was kept of the same files before.

    Args: lab: keeps it; found: what was read; name: of new results; before: results that the files are added to.
    Raises: LabError: something is open, the store cannot be written, or the name is none.
    """
    results = found.answered()
    content = results.to_json()
    if before is not None:
        known = {file.sha256 for file in before.files}
        new = [file for file in found.files if file.sha256 not in known]
        return lab.judged.grow(before, content, new, found.measures) if new else before
    keys = {row.id: row.setting.key for row in results.to_rows()}
    looks = [look.renamed(keys) for look in found.looks]
    return lab.judged.like(content, found.files) or lab.judged.add(name, content, found.files, found.measures, looks)


def carried(evidence: JudgedEvidence) -> list[str]:
    """What these results can carry and what they cannot, in sentences: no sentence says more than the table does."""
    results, measure = evidence.results, evidence.measure
    sentences = [REPORTED]
    if not results.scale.has_test_part:
        sentences.append(
            f"No measure on a test part is reported: {measure.noun} flatters what was tried most, and says little of "
            "new data."
        )
    elif all(row.validation is None for row in results.rows):
        sentences.append(
            f"No {measure.noun} on a validation part is reported: the learning rates were not chosen by us, and "
            "whoever chose them may have looked at the test part."
        )
    sentences += _seen_sentences(evidence)
    if missing := sorted({*results.seeds} - {row.seed for row in results.rows}):
        sentences.append(f"Planned and not there: {seeds_text(missing)}.")
    sentences += _seeds_sentences(evidence)
    if not evidence.measures:
        each = f"each run and {noun(results.noun, 1)}"
        sentences.append(f"A file with one row for {each}, with its answer, would tell more.")
    return [*sentences, *results.notes]


def _seen_sentences(evidence: JudgedEvidence) -> list[str]:
    """The best mean of each method and rank where nothing is compared: what was seen, of which nothing is claimed."""
    sign, several = evidence.measure.sign, is_tuned(row.setting for row in evidence.verdict.rows)
    tested = [arm for arm in evidence.arms if math.isfinite(arm.tested.mean)]
    if evidence.verdict.candidates or evidence.verdict.unread or not tested:
        return []
    best = [max(own, key=lambda arm: sign * arm.tested.mean) for own in by_group(tested)]
    best = sorted(best, key=lambda arm: -sign * arm.tested.mean)
    seen = [(evidence.measure.text(arm.tested.mean), name_in_sentence(arm.name), rate_words(arm)) for arm in best]
    names = [f"{value} ({name}{rate})" for value, name, rate in seen[:MAX_SEEN]]
    names += [f"{len(best) - MAX_SEEN:,} more"] * (len(best) > MAX_SEEN)
    many = ", the best of several by the same numbers, which flatters what was tried most" * several
    return [f"Best mean {evidence.measure.noun} seen: {listed(names)}{many}."]


def _seeds_sentences(evidence: JudgedEvidence) -> list[str]:
    """What the number of seeds can claim, and what a difference as large as the one that was seen would take."""
    counts, found = {len(arm.seeds) for arm in evidence.arms}, evidence.verdict
    if (most := max(counts, default=0)) >= CLAIM_SEEDS:
        return []
    have = "One seed each" if counts == {1} else f"{count_text(most)} seeds each" if len(counts) == 1 else "Few seeds"
    sentence = f"{have}: nothing can be claimed of methods, which takes at least {CLAIM_SEEDS} seeds."
    told = found.told or next(iter(found.candidates), None)
    if told is None or told.crossed.seeds <= 1 or not any(told.crossed.spreads):
        return [sentence]
    size, name = abs(told.crossed.mean), told.arm.name
    design = Design(*told.crossed.spreads, told.crossed.examples, max(len(found.candidates), 1))
    needed, amount = design.seeds_for(size) if size else None, evidence.measure.amount_text(size)
    takes = f"For a difference of {amount}, as seen with {name}, it takes about {needed} seeds."
    never = f"A difference of {amount}, as between {evidence.reference} and {name}, is out of reach."
    return [f"{sentence} {never if needed is None else takes}"]


def network_sentences(evidence: JudgedEvidence) -> list[str]:
    """Which settings of one seed can be told from the reference on these test examples, and which cannot."""
    if not evidence.networks:
        return []
    told, open_ = (
        [arm.name for arm, each in evidence.networks if each.is_told == is_told] for is_told in (True, False)
    )
    first, nouns, names = evidence.networks[0][1], noun(evidence.results.noun), listed(told) if told else "no setting"
    cannot = f"{'; ' if told else ': '}{listed(open_)} cannot" if open_ else ""
    on = f"On these {count_text(first.interval.n)} {evidence.examples}"
    sentences = [f"{on} {names} can be told from {evidence.reference}{cannot}."]
    share = math.nan if evidence.full is None else evidence.full.interval(evidence.full.primary).mean
    if not first.is_paired and math.isfinite(share):
        points = evidence.measure.amount_text(smallest_told(share, first.interval.n), 1)
        sentences.append(
            f"Two networks at {evidence.measure.text(share, 1)} differ by less than {points} too often by chance "
            f"on so many {nouns}; with the answers to single {nouns} smaller differences could be told."
        )
    many = f"corrected by Holm for {counted(len(evidence.networks), 'setting')}"
    about = f"This is about these networks on {nouns} like these, {many}, and not about the methods"
    return [*sentences, f"{about}: other seeds may give others."]


def judged_warnings(evidence: JudgedEvidence) -> list[str]:
    """What makes the comparison unfair, and rates at an end of those reported."""
    rows = evidence.verdict.rows
    several = is_tuned(row.setting for row in rows) and not evidence.verdict.withheld
    ends = end_sentences(rate_choices(rows)) if several else []
    fair = [each for each in comparable(rows) if not each.startswith(TOO_FEW)]  # said in carried()
    return [*ends, *dropped_sentences(rows), *fair]


def judged_report(evidence: JudgedEvidence) -> Report:
    """The whole report on reported results."""
    measure, found, judged = evidence.measure, evidence.verdict, evidence.judged
    short = "below" if measure.higher_is_better else "above"
    note = (f"Note: {judged.note}",) if judged.note else ()
    return Report(
        question=f"{judged.name}: which setting is as good as {evidence.reference}, by {measure.noun}? Good enough "
        f"here means: at most {measure.margin_text(found.margin)} of {measure.noun} {short} {evidence.reference}.",
        answer=(*three_lines(found), REPORTED),
        checks=tuple(checks_of(found).values()),
        notes=(*network_sentences(evidence), *carried(evidence)),
        scope="",
        level=level_words(found),
        warnings=tuple(judged_warnings(evidence)),
        experiment=judged.id,
        title=judged.name,
        sections=tuple(_sections(evidence)),
        facts=tuple(_facts(evidence)),
        file=None,
        specs=(),
        words=tuple(pair for pair in WORDS if pair[0] in TERMS),
        origin=(f"{REPORTED} LoRA Lab read the files named above, and trained nothing.", *note),
    )


def _sections(evidence: JudgedEvidence) -> Iterator[Section]:
    """Networks of one seed, settings, differences, and learning rates."""
    if evidence.verdict.unread or not evidence.arms:
        return
    if evidence.networks:
        lead = "Two networks on the same examples: an interval for other examples, and nothing about methods."
        yield Section(f"One seed on the same {evidence.examples}", lead, (networks_table(evidence),))
    yield from (chapter.make() for chapter in chapters_of(Shown.of(evidence.verdict, evidence.arms)))


def networks_table(evidence: JudgedEvidence) -> Table:
    """One row for each setting of one seed: its difference from the reference on the test examples."""
    what, found = evidence.arms[0].what(evidence.measure.name), evidence.networks
    columns = {
        "Setting": [arm.label for arm, _ in found],
        "Difference": [bare_text(what.change, each.interval.mean) for _, each in found],
        "95 % interval": [interval_text(each.interval, what) for _, each in found],
        "p": [p_text(each.p) for _, each in found],
        "Finding": ["Told apart" if each.is_told else "Not told apart" for _, each in found],
    }
    for row, (_, each) in enumerate(found):
        if len(found) > 1 and not (each.is_told or each.interval.low <= 0 <= each.interval.high):
            columns["Finding"][row] = f"Told apart alone, not among {len(found)}"
    title = f"{evidence.measure.title} minus that of {evidence.reference}"
    return Table(title, pd.DataFrame(columns, dtype=object))


def _facts(evidence: JudgedEvidence) -> Iterator[tuple[str, str]]:
    """Files with their SHA-256, settings, seeds and measure."""
    results, measure, examples = evidence.results, evidence.measure, evidence.examples.capitalize()
    for file in evidence.judged.files:
        when = datetime.fromtimestamp(file.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        yield file.name, f"SHA-256 {file.sha256}, {bytes_text(file.bytes)}, read {when}"
    yield "Runs", counted(len(results.rows), "run")
    yield "Settings", listed(list(dict.fromkeys(arm.setting.label for arm in evidence.arms)))
    yield "Seeds", seeds_text(sorted({row.seed for row in results.rows}))
    way = "higher" if measure.higher_is_better else "lower"
    yield "Measure", f"{measure.title}, {way} is better; margin {measure.margin_text(results.scale.within)}"
    each = list(evidence.measures.values())
    if size := len(each[0]) if each else results.examples:
        yield examples, count_text(size) + f", known singly for {counted(len(each), 'run')}" * bool(each)
