"""The verdict on results that others report, by the rule for our own experiments, and the record of its looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from core.errors import JudgeError
from core.judge.results import Gathered, KeptResults, results_of
from core.lab import Lab
from core.numbers import count_text, counted, listed, seeds_text
from core.objectives.measure import Measure, Values
from core.results.arm import Arm, averaged_arms, named
from core.results.choice import by_group, chosen_arms, dropped_sentences, is_adapter, is_full
from core.results.row import Row
from core.results.scale import TEST
from core.rule.networks import NetworkDifference, corrected, on_counts, on_examples, smallest_told
from core.rule.place import Place
from core.rule.spending import CLAIM_SEEDS, Design
from core.rule.tuning import (
    end_sentences,
    is_tuned,
    name_in_sentence,
    rate_choices,
    rate_words,
    reference_name,
)
from core.store.judged import Judged
from core.study.arms.fairness import TOO_FEW, comparable
from core.study.figures.palette import colours_of
from core.study.report.answer import place_of
from core.wording.tasks import noun

REPORTED = "Reported by others, not measured here."
"""What every page, report and command says of such results."""

MAX_SEEN = 6
"""Maximum number of methods and ranks whose best mean a sentence names."""

MIN_SPREAD_SEEDS = 2
"""Minimum number of seeds from which a spread is guessed, roughly."""


@dataclass(frozen=True, eq=False)
class JudgedEvidence:
    """Results from elsewhere, and what their report is based on."""

    judged: Judged
    results: KeptResults
    measures: dict[str, Values]
    """The measure of each test example by run, where it is reported."""
    verdict: Place

    @property
    def rows(self) -> Sequence[Row]:
        """All rows that the verdict is computed of."""
        return self.verdict.rows

    @property
    def measure(self) -> Measure:
        """The measure by which settings are compared."""
        return self.results.scale.primary

    @cached_property
    def arms(self) -> list[Arm]:
        """The settings that are shown: as the validation part chose them, or all where nothing ranks them."""
        return named(chosen_arms(self.rows) or averaged_arms(self.rows))

    @cached_property
    def colours(self) -> dict[str, str]:
        """Color of each setting, by key."""
        return colours_of(row.setting for row in self.rows)

    @property
    def is_tuned(self) -> bool:
        """Whether a method or rank was reported in several ways."""
        return is_tuned(row.setting for row in self.rows)

    @property
    def reference(self) -> str:
        """What the others are compared with, in a sentence."""
        full = next((arm for arm in self.arms if is_full(arm)), None)
        return reference_name(self.verdict.full or full)

    @property
    def has_test_part(self) -> bool:
        """Whether the measure is of the test part; else it is of the validation part, and no other is reported."""
        return self.results.scale.part == TEST

    @property
    def has_validation(self) -> bool:
        """Whether some run has a measure on the validation part."""
        return any(row.validation is not None for row in self.results.rows)

    @property
    def has_both_parts(self) -> bool:
        """Whether the measure is reported on the validation part and on the test part."""
        return self.has_validation and self.has_test_part

    @cached_property
    def networks(self) -> list[tuple[Arm, NetworkDifference]]:
        """Each setting minus the reference on the test examples of one seed, where that is all there is."""
        full = next((arm for arm in self.arms if is_full(arm)), None)
        if full is None or max(len(arm.seeds) for arm in self.arms) > 1:
            return []
        rows = {row.run: row for row in self.results.rows}
        found = []
        for arm in self.arms:
            if not is_adapter(arm) or arm.seeds != full.seeds:
                continue
            own, other = arm.rows[0].id, full.rows[0].id
            if own in self.measures and other in self.measures:
                found.append((arm, on_examples(self.measures[own], self.measures[other])))
            elif self.results.examples and self.measure.unit == "%":
                a, b = rows[own].value, rows[other].value
                if a is not None and b is not None:
                    found.append((arm, on_counts(a, b, self.results.examples)))
        adjusted = corrected([each for _, each in found])
        return [(arm, each) for (arm, _), each in zip(found, adjusted, strict=True)]


def judged_evidence(lab: Lab, judged: Judged) -> JudgedEvidence:
    """Read results from elsewhere, and their answer, whose look is recorded.

    Raises:
        JudgeError: a newer version kept them.
    """
    return JudgedEvidence(judged, results_of(judged.content), lab.judged.measures(judged.id), place_of(lab, judged))


def keep_results(lab: Lab, found: Gathered, name: str, before: Judged | None = None) -> Judged:
    """Keep what was read of some files, or return what was kept of the same files before.

    Args:
        lab: keeps it.
        found: without open questions.
        name: of new results.
        before: results that these files are added to.

    Raises:
        LabError: the store cannot be written, or the name is none.
    """
    if found.results is None:
        raise JudgeError("Nothing can be judged while questions are open.")
    content = found.results.to_json()
    if before is not None:
        known = {file.sha256 for file in before.files}
        new = [file for file in found.files if file.sha256 not in known]
        return lab.judged.grow(before, content, new, found.measures) if new else before
    keys = {row.id: row.setting.key for row in found.results.to_rows()}
    looks = [look.renamed(keys) for look in found.looks]
    return lab.judged.like(content, found.files) or lab.judged.add(name, content, found.files, found.measures, looks)


def carried(evidence: JudgedEvidence) -> list[str]:
    """What these results can carry and what they cannot, in sentences: no sentence says more than the table does."""
    results, measure = evidence.results, evidence.measure
    seeds = sorted({row.seed for row in results.rows})
    sentences = [REPORTED]
    if not evidence.has_test_part:
        sentences.append(
            f"No measure on a test part is reported: {measure.noun} flatters what was tried most, and says little of "
            "new data."
        )
    elif not evidence.has_validation:
        sentences.append(
            f"No {measure.noun} on a validation part is reported: the learning rates were not chosen by us, and "
            "whoever chose them may have looked at the test part."
        )
    if seen := _seen_sentence(evidence):
        sentences.append(seen)
    if missing := sorted(set(results.seeds) - set(seeds)):
        sentences.append(f"Planned and not there: {seeds_text(missing)}.")
    sentences += _seeds_sentences(evidence)
    if not evidence.measures:
        each = f"each run and {noun(results.noun, 1)}"
        sentences.append(f"A file with one row for {each}, with its answer, would tell more.")
    return [*sentences, *results.notes]


def _seen_sentence(evidence: JudgedEvidence) -> str:
    """The best mean of each method and rank where nothing is compared: what was seen, of which nothing is claimed."""
    sign = evidence.measure.sign
    tested = [arm for arm in evidence.arms if math.isfinite(arm.tested.mean)]
    if evidence.verdict.candidates or evidence.verdict.unread or not tested:
        return ""
    best = [max(own, key=lambda arm: sign * arm.tested.mean) for own in by_group(tested)]
    ordered = sorted(best, key=lambda arm: -sign * arm.tested.mean)
    names = [
        f"{evidence.measure.text(arm.tested.mean)} ({name_in_sentence(arm.name)}{rate_words(arm)})"
        for arm in ordered[:MAX_SEEN]
    ]
    names += [f"{len(ordered) - MAX_SEEN:,} more"] * (len(ordered) > MAX_SEEN)
    many = ", the best of several by the same numbers, which flatters what was tried most" * evidence.is_tuned
    return f"Best mean {evidence.measure.noun} seen: {listed(names)}{many}."


def _seeds_sentences(evidence: JudgedEvidence) -> list[str]:
    """What the number of seeds can claim, and what a difference as large as the one that was seen would take."""
    counts = {len(arm.seeds) for arm in evidence.arms}
    most = max(counts, default=0)
    if most >= CLAIM_SEEDS:
        return []
    have = "One seed each" if counts == {1} else f"{count_text(most)} seeds each" if len(counts) == 1 else "Few seeds"
    sentence = f"{have}: nothing can be claimed of methods, which takes at least {CLAIM_SEEDS} seeds."
    told = evidence.verdict.told or next(iter(evidence.verdict.candidates), None)
    if told is None or told.crossed.seeds < MIN_SPREAD_SEEDS or not any(told.crossed.spreads):
        return [sentence]
    size = abs(told.crossed.mean)
    design = Design(*told.crossed.spreads, told.crossed.examples, max(len(evidence.verdict.candidates), 1))
    needed = design.seeds_for(size) if size else None
    amount = evidence.measure.amount_text(size)
    if needed is None:
        return [
            f"{sentence} A difference of {amount}, as between {evidence.reference} and {told.arm.name}, is out of "
            "reach."
        ]
    return [f"{sentence} For a difference of {amount}, as seen with {told.arm.name}, it takes about {needed} seeds."]


def network_sentences(evidence: JudgedEvidence) -> list[str]:
    """Which settings of one seed can be told from the reference on these test examples, and which cannot."""
    if not evidence.networks:
        return []
    told = [arm.name for arm, found in evidence.networks if found.is_told]
    open_ = [arm.name for arm, found in evidence.networks if not found.is_told]
    examples, nouns, part = evidence.networks[0][1].interval.n, noun(evidence.results.noun), evidence.results.scale.part
    sentences = [
        f"On these {count_text(examples)} {part} {nouns} {listed(told) if told else 'no setting'} can be told from "
        f"{evidence.reference}"
        + (f"; {listed(open_)} cannot." if open_ and told else "." if told else f": {listed(open_)} cannot.")
    ]
    if not evidence.networks[0][1].is_paired:
        full = next(arm for arm in evidence.arms if is_full(arm))
        share = full.interval(full.primary).mean
        if math.isfinite(share):
            points = evidence.measure.amount_text(smallest_told(share, examples), 1)
            sentences.append(
                f"Two networks at {evidence.measure.text(share, 1)} differ by less than {points} too often by chance "
                f"on so many {nouns}; with the answers to single {nouns} smaller differences could be told."
            )
    sentences.append(
        f"This is about these networks on {nouns} like these, corrected by Holm for "
        f"{counted(len(evidence.networks), 'setting')}, and not about the methods: other seeds may give others."
    )
    return sentences


def judged_warnings(evidence: JudgedEvidence) -> list[str]:
    """What makes the comparison unfair, and rates at an end of those reported."""
    ends = end_sentences(rate_choices(evidence.rows)) if evidence.is_tuned and not evidence.verdict.withheld else []
    fair = [each for each in comparable(evidence.rows) if not each.startswith(TOO_FEW)]  # said in carried()
    return [*ends, *dropped_sentences(evidence.rows), *fair]
