"""A verdict in sentences: the headline, what it rests on, and what the setting costs."""

from __future__ import annotations

import math

from core.numbers import bytes_text, count_text, counted, listed, times_text
from core.study.arms.arm import Arm
from core.study.arms.balance import unlearnt_sentence
from core.study.arms.forgetting_clause import forgetting_clause
from core.study.arms.settled import course_sentences
from core.study.arms.tuning import name_in_sentence
from core.study.arms.verdict import Candidate, Rule, Verdict
from core.study.stats.claims import Difference, Level
from core.study.stats.images import CrossedInterval
from core.study.stats.intervals import CLAIM_SEEDS, MIN_SEEDS
from core.study.stats.measures import bare_text, digits_of, value_text
from core.study.stats.outliers import outlying
from core.study.stats.words import off_text, p_words, span_text
from core.wording.examples import examples_text, noun

MEANINGS = {
    Level.SHOWN: "Two tests agree, one of which makes no assumption about the distribution.",
    Level.LEANING: "All seeds point the same way, but they are too few for the test that assumes nothing.",
    Level.OPEN: "These runs do not support a claim.",
}
"""What each level means, for a tooltip."""


def headline(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    told = verdict.told
    if told is None or verdict.reason:
        return verdict.reason
    name, off = name_of(told.arm, verdict), off_text(told.difference)
    shown, measure = verdict.level is Level.SHOWN, told.arm.spec.objective.primary
    all_seeds = "" if shown else f", in all {verdict.seeds} seeds"
    match verdict.rule:
        case Rule.WITHIN:
            many = count_text(verdict.full.trained if verdict.full else None)
            trained = f"{count_text(told.arm.trained)} instead of {many} trainable parameters"
            start = f"Use {name}: it is" if shown else f"{name} looks good enough: {_seen_within(verdict, told)} it was"
            limit = f"at most {measure.margin_text(verdict.margin)} {measure.worse} than full fine-tuning"
            return f"{start} {limit} ({_observed(told.difference)}), with {trained}."
        case Rule.HIGHER:
            return f"Use {name}: it is {off}." if shown else f"{name} looks better: it is {off}{all_seeds}."
        case Rule.LOWER:
            start = "Use full fine-tuning" if shown else "Full fine-tuning looks better"
            best = f"the best adapter setting, {name}," if len(verdict.candidates) > 1 else name
            return f"{start}: {best} is {off}{all_seeds}."
        case _:
            if told.difference.holds_zero:
                among = f"in {measure.noun} is shown between {name} and full fine-tuning"
                return f"No choice yet: no difference {among} ({_observed(told.difference)})."
            return f"No choice yet: {name} was {off}, which was seen but is not yet a claim."


def _seen_within(verdict: Verdict, told: Candidate) -> str:
    """Where a setting that leans was within the margin: what was seen, and no bound on what was not."""
    difference = told.difference
    every = min(difference.what.sign * value for value in difference.values) + verdict.margin >= 0
    return f"in all {verdict.seeds} seeds" if every else f"on average over {verdict.seeds} seeds"


def name_of(arm: Arm, verdict: Verdict) -> str:
    """An adapter setting in a sentence, as in ``LoRA r=1 on attention at 0.01``; see :attr:`Arm.name`.

    The learning rate is there where some method or rank was tuned.
    """
    return f"{arm.name} at {arm.learning_rate:g}" if verdict.rates.several else arm.name


LOOKED_AGAIN = (
    "The experiment grew after an earlier look that showed nothing. Each further look makes false claims more likely: "
    "in a simulation with looks at 8 and 16 seeds 7.8 % instead of 5 %, and with a third one at 32 seeds 10.4 %."
)
"""Of an experiment that was looked at several times; the simulation is in ``docs/statistics.md``."""


STOPPED_EARLY = (
    "Some of its seeds were stopped before they had finished. To stop after a look at the results makes false claims "
    "more likely, as each further look does."
)
"""Of an experiment of which somebody stopped seeds."""


SELECTED = (
    "These runs were selected: the tests are corrected for the settings among them, but not for those that were left "
    "out, nor for earlier looks."
)
"""Of runs that are not all of one experiment."""


def explanation(verdict: Verdict, over_images: CrossedInterval | None = None) -> list[str]:
    """What the verdict rests on, in sentences: what is still to finish, seeds and tests, other looks, images,
    rates, and unusual runs.

    Args:
        verdict: of an experiment.
        over_images: the same difference over seeds and test images; None where the predictions are not known.
    """
    told = verdict.told
    if told is None or verdict.reason:
        return []
    compared = list(filter(None, (verdict.full, told.arm)))
    sentences = [*filter(None, [unlearnt_sentence(compared)]), _basis(verdict, told)]
    more = " More may follow, until the best learning rates are found." if verdict.searching else ""
    if verdict.pending or more:
        are = "is" if verdict.pending == 1 else "are"
        sentences.insert(0, f"Interim: {counted(verdict.pending, 'run')} {are} still to finish.{more}")
    if verdict.selected:
        sentences.append(SELECTED)
    if verdict.looks > 1:
        sentences.append(LOOKED_AGAIN)
    if verdict.stopped and verdict.level is not Level.OPEN:
        sentences.append(STOPPED_EARLY)
    if over_images is not None:
        sentences.append(_images_sentence(verdict, told, over_images))
    if sentence := _one_rate_sentence(verdict):
        sentences.append(sentence)
    if verdict.ends:
        sentences.append(
            f"At an end of the rates tried, so that a better one may lie beyond: {listed(list(verdict.ends))}."
        )
    sentences += course_sentences(compared, verdict.holds_on)
    for arm in compared:
        sentences += outlier_sentences(arm)
    return sentences


def _one_rate_sentence(verdict: Verdict) -> str:
    one = verdict.rates.one
    if not verdict.rates.several:
        return "Each method was trained at one learning rate, so this holds at these rates."
    if not one:
        return ""
    names = listed([name_in_sentence(label) for label in one])
    were, that = ("was", "that rate") if len(one) == 1 else ("were each", "these rates")
    return f"{names[0].upper()}{names[1:]} {were} trained at one learning rate, so this holds at {that}."


def _images_sentence(verdict: Verdict, told: Candidate, over_images: CrossedInterval) -> str:
    kind, what = told.arm.spec.network.learns, told.difference.what
    nouns = noun(kind)
    where = "Measured on" if verdict.level is Level.OPEN else "It holds for these"
    holds = f"{where} {examples_text(kind, over_images.images, 'test')}"
    if not 0 < over_images.crossed.half_width < math.inf:
        return f"{holds}."
    span = span_text(over_images.crossed, what)
    worst = over_images.crossed.low if what.sign > 0 else -over_images.crossed.high
    if verdict.rule is Rule.WITHIN and worst <= -verdict.margin:
        limit = f"below −{verdict.margin:g}" if what.sign > 0 else f"above +{verdict.margin:g}"
        return (
            f"{holds}: over seeds and {nouns}, {span} reaches {limit}, so on other test {nouns} it "
            "might not be good enough."
        )
    if verdict.rule is not Rule.WITHIN and over_images.might_reverse:
        return f"{holds}: over seeds and {nouns}, {span} contains 0, so other test {nouns} might reverse it."
    return f"{holds}; over seeds and {nouns}, {span}."


def _basis(verdict: Verdict, told: Candidate) -> str:
    difference, seeds = told.difference, verdict.seeds
    many = difference.comparisons
    corrected = f" after Holm's correction for {many} settings" if many > 1 else ""
    if verdict.level is Level.SHOWN and verdict.rule is Rule.WITHIN:
        return (
            f"Shown with {seeds} seeds, paired: the one-sided t and sign-flip tests at 2.5 % reject, in a fixed order "
            "from the most expensive setting to the cheapest."
        )
    if verdict.level is Level.SHOWN:
        return (
            f"Shown with {seeds} seeds, paired: {p_words(difference.p)}{corrected}, the larger of the t test's and the "
            "sign-flip test's."
        )
    if verdict.level is Level.LEANING and verdict.rule is Rule.WITHIN and seeds >= CLAIM_SEEDS:
        return (
            "Leaning, not shown: both tests reject for this setting, but a more expensive one has too few seeds for "
            "the sign-flip test, and in the fixed order no setting has a higher level than the one before it. "
            f"{_more(verdict)}"
        ).strip()
    if verdict.level is Level.LEANING:
        enough = CLAIM_SEEDS if verdict.rule is Rule.WITHIN else difference.least_seeds
        rejects = "" if verdict.rule is Rule.WITHIN else f" ({p_words(difference.p_t)}{corrected})"
        return (
            f"Leaning, not shown: all {seeds} seeds point the same way and the t test rejects{rejects}, which assumes "
            f"that differences are about normal. The sign-flip test does not, and needs at least {enough} seeds. "
            f"{_more(verdict)}"
        ).strip()
    return f"{_why_open(difference, corrected)} {_more(verdict)}".strip()


def _why_open(difference: Difference, corrected: str) -> str:
    seeds = len(difference.seeds)
    if seeds < MIN_SEEDS:
        return f"A claim takes at least {MIN_SEEDS} seeds, and there {'is 1' if seeds == 1 else f'are {seeds}'}."
    if difference.holds_zero:
        return "The interval contains 0. Not shown is not the same as equal."
    if seeds < difference.least_seeds and not difference.agree:
        return f"The {seeds} seeds do not all point the same way."
    if seeds < difference.least_seeds:
        return f"The t test does not reject{corrected} ({p_words(difference.p_t)})."
    return f"The t test and the sign-flip test do not both reject{corrected} ({p_words(difference.p)})."


def _more(verdict: Verdict) -> str:
    if not (more := verdict.seeds_to_add):
        return ""
    seeds = counted(more, "more seed")
    if verdict.level is Level.LEANING:
        return f"About {seeds} would settle it."
    if verdict.told is None or verdict.told.difference.seeds_needed is None:
        return ""
    return f"A difference of this size would take about {seeds} to show."


def outlier_sentences(arm: Arm) -> list[str]:
    """A sentence for each run of an arm that lies far from its other runs."""
    what, values = arm.what(arm.primary), arm.by_seed(arm.primary)
    found = outlying(values)
    rest = [value for seed, value in values.items() if seed not in found]
    return [
        f"{arm.name} reached {value_text(what, values[seed])} with seed {seed}, far from its other seeds "
        f"({bare_text(what, min(rest))} to {value_text(what, max(rest))}): look at that run, since the tests "
        "assume that runs do not fail now and then."
        for seed in found
    ]


def costs(verdict: Verdict) -> str:
    """What the setting of the verdict costs beside full fine-tuning: parameters, storage, forgetting; else empty."""
    told, full = verdict.told, verdict.full
    if told is None or full is None:
        return ""
    arm, many, few = told.arm, full.trained, told.arm.trained
    ratio = f"{times_text(many / few)} times fewer" if few < many else f"{times_text(few / many)} times as many"
    clauses = [f"{arm.name} trains {ratio} parameters ({count_text(few)} instead of {count_text(many)})"]
    if arm.values("adapter_bytes"):
        adapter, checkpoint = arm.interval("adapter_bytes").mean, full.interval("checkpoint_bytes").mean
        clauses.append(f"is stored as a {bytes_text(adapter)} adapter instead of a {bytes_text(checkpoint)} checkpoint")
    forgot = forgetting_clause(arm, full, [candidate.arm for candidate in verdict.candidates])
    return f"{listed(clauses)}." + (f" Forgetting: {forgot}." if forgot else "")


def _observed(difference: Difference) -> str:
    interval, what = difference.interval, difference.what
    seeds = counted(len(difference.seeds), "seed")
    words = [f"observed {value_text(what.change, interval.mean, digits_of(interval, what.change))}"]
    if math.isfinite(interval.half_width):
        words.append(span_text(interval, what))
    return ", ".join([*words, seeds])
