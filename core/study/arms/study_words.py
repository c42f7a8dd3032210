"""A study in sentences and as a table: what was shown of each method and rank at which points, and where they part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from core.answer.levels import level_text
from core.answer.lines import MAX_WORDS
from core.methods.method import Role
from core.numbers import bytes_text, capitalized, count_text, listed
from core.objectives.measure import Measure
from core.plan.axes import EpochsAxis, Point
from core.results.arm import Arm, judged_by
from core.results.measures import digits_of, spread_text, value_text
from core.rule.answer import Answer
from core.rule.candidate import Candidate, Rule
from core.rule.claims import Difference, Level, off_text, p_text
from core.rule.place import Place
from core.rule.settled import Course, course_of, updates_of
from core.study.arms.difference_tables import interval_text
from core.study.arms.tables import mean_text
from core.wording.tasks import examples_text

ALIKE = 0.8
"""Share of the largest number of updates above which numbers of updates are called equal."""

SCOPE = ", at the chosen learning rates"
"""Of a difference that was not shown at the neighboring rates: it is one of settings, not of methods."""

FEW = ", in the mean and not in the median of these runs"
"""Of a difference that few seeds decide: it is one of these runs, not of methods."""


def study_headline(found: Answer) -> str:
    """The first line: what a study says, or why it says nothing; see :data:`core.answer.lines.MAX_WORDS`."""
    if found.reason:
        return found.reason
    whole = _whole(found)
    if len(whole.split()) <= MAX_WORDS:
        return whole
    if found.level is not Level.SHOWN:
        return "No difference from full fine-tuning is shown at any point."
    points = sum(any(each.standing is not Rule.NONE for each in at.candidates) for at in found.places)
    return f"Differences from full fine-tuning are shown at {points} of {len(found.places)} points."


def study_reason(found: Answer) -> str:
    """The second line: what to know beside a reason, or all that was shown where the first line is too short for it."""
    if found.reason:
        return found.more
    measure, whole = _measure(found), _whole(found)
    if found.level is not Level.SHOWN:
        seen = listed(list(_seen(found, measure)))
        return f"In these runs {seen}, which is not enough for a claim." if seen else ""
    return "" if len(whole.split()) <= MAX_WORDS else capitalized(whole)


def _whole(found: Answer) -> str:
    """All that a study shows, in one sentence."""
    measure = _measure(found)
    if found.level is not Level.SHOWN:
        sides = f"full fine-tuning and {listed(list(found.lines))}"
        return f"No difference in {measure.noun} between {sides} is shown at any point."
    alike: dict[str, list[str]] = {}
    for line in found.lines:
        alike.setdefault(_line_finding(found, line, measure), []).append(line)
    sentences = [
        f"{listed(lines)} {'is' if len(lines) == 1 else 'are'} {words}"
        if words
        else f"nothing is shown of {listed(lines)}"
        for words, lines in alike.items()
    ]
    return capitalized("; ".join(sentences) + ".")


def _seen(found: Answer, measure: Measure) -> Iterator[str]:
    """Of each method and rank, at which points its interval leaves out 0, as in ``LoRA r=8 was less accurate at 3 and
    10 epochs``.
    """
    for line in found.lines:
        points: dict[str, list[Point]] = {}
        for at in found.places:
            candidate = at.by_line.get(line)
            if candidate is not None and not candidate.difference.holds_zero:
                is_better = (candidate.difference.interval.mean > 0) is measure.higher_is_better
                points.setdefault(measure.better if is_better else measure.worse, []).append(at.point)
        if points:
            yield f"{line} was {listed([f'{word} {_where(found, own)}' for word, own in points.items()])}"


def study_level(found: Answer) -> str:
    """The level of a study; empty where nothing was compared."""
    return "" if found.reason or not found.candidates else str(found.level)


def _measure(found: Answer) -> Measure:
    return judged_by(row for at in found.places for row in at.rows).primary


def _line_finding(found: Answer, line: str, measure: Measure) -> str:
    """What one method and rank was shown to be along the axis, with where it meets full fine-tuning or parts from it;
    empty where nothing is shown.
    """
    points: dict[Rule, list[Point]] = {}
    for at, standing in zip(found.places, found.standings(line), strict=True):
        points.setdefault(standing, []).append(at.point)
    margin = measure.margin_text(found.margin)
    words = {
        Rule.HIGHER: f"{measure.better} than full fine-tuning",
        Rule.WITHIN: f"within the margin of {margin} of full fine-tuning",
        Rule.LOWER: f"{measure.worse} than full fine-tuning",
    }
    clauses = [f"{words[each]} {_where(found, points[each])}" for each in words if each in points]
    if not clauses:
        return ""
    own = [at.by_line[line] for at in found.places if line in at.by_line]
    held = [(each, claim) for each in own for claim in each.claims if claim.holds]
    is_rates = any(not claim.about_methods for _, claim in held)
    few = any(each.few_decide(claim.rule, found.margin) for each, claim in held)
    turns = [_turn(found, *turn) for turn in found.turns(line)]
    return f"{listed(clauses)}{SCOPE if is_rates else ''}{FEW if few else ''}{''.join(turns)}"


def _where(found: Answer, points: Sequence[Point]) -> str:
    return "at every point" if len(points) == len(found.places) else f"at {found.axis.texts(points)}"


def _turn(found: Answer, one: Point, two: Point, before: Rule, after: Rule) -> str:
    word = "they part" if after is Rule.LOWER else "they meet" if before is Rule.LOWER else "it gets ahead"
    if (before, after) == (Rule.HIGHER, Rule.WITHIN):
        word = "they meet"
    between = found.axis.texts([one, two])
    return f" ({word} between {between})"


def study_basis(found: Answer) -> list[str]:
    """What a study rests on, in sentences: tests, family, looks, what was not tested, and longer training."""
    if found.reason or not found.candidates:
        return []
    first, seeds = found.candidates[0], found.seeds
    sentences = []
    for look in found.looks:
        many = f"One family of {len(look.family)} comparisons, every point and rank, at {seeds} seeds"
        half = "half of that for each “within the margin”"
        can = f"the limit of p is {level_text(look.level)}, and {half}" if look.level else "nothing can be shown yet"
        sentences.append(f"{many}: {can}.")
    if first.difference.examples:
        examples = examples_text(first.arm.setting.learns, first.difference.examples, "test")
        sentences.append(f"Intervals are over seeds and {examples}, one by one at 95 %.")
    sentences.append("Learning rates were found at each point, for every method and rank alike.")
    updates = sorted(updates_of([at.full]) for at in found.places if at.full)
    if found.axis.equal_updates and updates[0] < ALIKE * updates[-1]:
        sentences.append(
            f"Updates are not equal: {count_text(updates[0])} to {count_text(updates[-1])}. A batch has at most all "
            "training examples, and epochs are whole."
        )
    elif updates and found.axis.name != EpochsAxis.name and updates[0] < ALIKE * updates[-1]:
        sentences.append(
            f"Epochs are the same at every point, and updates are not: {count_text(updates[0])} to "
            f"{count_text(updates[-1])}. How much of a change is theirs is open."
        )
    if not found.axis.is_scale:
        sentences.append("Points are compared with full fine-tuning and not with each other: which is best is open.")
    if any(own.arm.setting.label != line for at in found.places for line, own in at.by_line.items()):
        sentences.append("Ranks are chosen so that every point trains about as many parameters.")
    if changes := [change for line in found.lines if (change := found.change(line))]:
        ends = f"{found.places[0].point} to {found.places[-1].point} ({found.axis.title.lower()})"
        each = [f"{_change_text(change)} for {change.a}" for change in changes]
        sentences.append(
            f"From {ends}, the difference from full fine-tuning changes by {listed(each)}: seen, not tested, with 95 % "
            "intervals over seeds."
        )
    for line in found.lines:
        if crossings := found.crossings(line):
            between = listed([found.axis.texts(pair) for pair in crossings])
            sentences.append(f"The mean difference of {line} changes its sign between {between}: seen, not shown.")
    for place in found.places:
        where = found.axis.text(place.point)
        for line, why in place.not_tested.items():
            sentences.append(f"{line} at {where} was not tested. {why.removeprefix('No verdict: ')}")
    return sentences


def _change_text(change: Difference) -> str:
    """A change of a difference with its interval, as in ``+6.3 points (+4.1 to +8.5)``."""
    what = change.what.change
    mean = value_text(what, change.interval.mean, digits_of(change.interval, what))
    return f"{mean} ({interval_text(change.interval, change.what)})"


def study_table(found: Answer) -> pd.DataFrame:
    """One row per point and method or rank, as texts: what it reached, its difference, and what that cost."""
    rows = [row for at in found.places for row in _rows(found, at)]
    return pd.DataFrame(rows, dtype="string")


def _rows(found: Answer, at: Place) -> Iterator[dict[str, str]]:
    measure = _measure(found)
    if at.full is not None:
        yield _row(found, at, at.full, None, measure)
    for candidate in at.candidates:
        yield _row(found, at, candidate.arm, candidate, measure)


def _row(found: Answer, at: Place, arm: Arm, candidate: Candidate | None, measure: Measure) -> dict[str, str]:
    done, course = arm.finished_only, course_of(arm)
    shown, tests = ("", None) if candidate is None else (_shown(candidate), candidate.found)
    texts = {
        found.axis.title: found.axis.tick(at.point),
        "Setting": arm.setting.label if arm.role is Role.REFERENCE else arm.name,
        "Learning rate": f"{arm.learning_rate:g}",
        measure.axis: spread_text(done.interval(measure.name), done.what()),
        "Difference from full": off_text(candidate.difference) if candidate is not None else "",
        "Shown": shown,
        "p": "" if tests is None else p_text(tests.within if shown == Rule.WITHIN else tests.differs),
        "Longer training": "settled" if course is Course.SETTLED else str(course),
        "Updates": count_text(updates_of([arm])),
        "Trainable": count_text(done.trained),
        "Memory": bytes_text(done.interval("memory").mean),
        "Time per run": mean_text(done, "seconds"),
        "Seeds": str(len(done.rows)),
    }
    return texts


def _shown(candidate: Candidate) -> str:
    standing = candidate.standing
    return "" if standing is Rule.NONE else str(standing)
