"""A verdict in sentences: the headline, what it rests on, and what the setting costs."""

from __future__ import annotations

from core.numbers import capitalized, count_text, counted, listed, percent
from core.results.arm import Arm
from core.results.intervals import ERROR_RATE
from core.rule.ahead import Ahead
from core.rule.candidate import Candidate, Claim, Rule
from core.rule.claims import Level
from core.rule.compared import base_sentence, frozen_head_sentence, paired_differences, rank_extremes
from core.rule.equal_epochs import equal_epochs_sentence
from core.rule.place import About, Place
from core.rule.settled import Course, course_of, course_sentences, updates_text
from core.rule.spending import CLAIM_SEEDS, level_of
from core.rule.tuning import name_in_sentence, rate_words, reference_name
from core.rule.withheld import NextStep
from core.rule.words import off_text
from core.study.arms.design_words import examples_sentence, level_text, power_sentences
from core.study.arms.outliers import median_sentence, outlier_sentence, outliers
from core.wording.tasks import examples_text, noun

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
"""Small numbers, as sentences write them."""

LEANS = {
    False: "one such experiment in twenty leans",
    True: "of those that are looked at again and again, one in eight leans at some time",
}
"""How often an experiment leans without any difference, at one look and at all that 3 to 6 seeds allow; simulated in
docs/measurements.
"""

MEANINGS = {
    Level.SHOWN: "The test over seeds and test examples rejects at the level of its look, corrected for all settings.",
    Level.LEANING: "All seeds point the same way, but 3 to 6 are too few for a claim: this decides nothing.",
    Level.OPEN: "These runs do not support a claim.",
}
"""What each level means, for a tooltip."""

ALL_MEANINGS = " ".join(f"**{level.capitalize()}**: {meaning}" for level, meaning in MEANINGS.items())
"""The same of all levels, for the heading of a column; Markdown."""

SCOPES = dict(zip(About, ("", " for this budget", " at these rates", " in the mean of these runs"), strict=True))
"""What a claim is limited to, as the end of a clause."""


def level_words(verdict: Place) -> str:
    """The level of a verdict, and what it is limited to, as in ``shown at these rates``; empty where there is none."""
    if verdict.reason or verdict.withheld:
        return ""
    return f"{verdict.level}{SCOPES[verdict.about] if verdict.claim is not None else ''}"


def headline(verdict: Place) -> str:
    """The verdict in one sentence."""
    told = verdict.told
    if told is None or verdict.reason:
        return verdict.reason
    if verdict.withheld:
        return verdict.withheld
    name, off = name_of(told.arm, verdict), off_text(told.difference)
    measure, full = told.arm.setting.objective.primary, full_name(verdict)
    match verdict.rule:
        case Rule.WITHIN:
            trained = _trained_words(verdict, told.arm)
            limit = f"is at most the margin of {measure.margin_text(verdict.margin)} {measure.worse} than {full}"
            words = f"{limit} (observed: {off_text(told.difference, in_brackets=True)}){trained}"
            if (claim := _said(verdict)) is not None and claim.rule is Rule.HIGHER:
                words = f"is {off} than {full}{trained}"
            return _claimed(verdict, f"Use {name}: it", name, words)
        case Rule.HIGHER:
            return _claimed(verdict, f"Use {name}: it", _best_of(verdict, name), f"is {off} than {full}")
        case Rule.LOWER:
            best = _best_of(verdict, name)
            than = "" if verdict.about is About.METHODS else f" than {full}"
            return _claimed(verdict, f"Use {full}: {best}", best, f"is {off}{than}")
        case _:
            if told.difference.holds_zero:
                among = f"in {measure.noun} is shown between {name} and {reference_name(verdict.full)}"
                return f"No choice yet: no difference {among}; {name} was {off}."
            return f"No choice yet: {name} was {off} in these runs, which is not enough for a claim."


def _said(verdict: Place) -> Claim | None:
    """The claim of the headline: that a setting is better rather than good enough, where that is shown as far."""
    better = verdict.told.claim(Rule.HIGHER) if verdict.told is not None and verdict.claim is not None else None
    return better if better and (better.about_methods or verdict.about is About.RATES) else verdict.claim


def _claimed(verdict: Place, use: str, subject: str, words: str) -> str:
    """A claim about methods, or about the budget or the rates that limit it.

    Args:
        verdict: with a claim.
        use: how a sentence about methods begins, up to the verb.
        subject: of any other sentence.
        words: the verb and what is claimed.
    """
    match verdict.about:
        case About.METHODS:
            return f"{use} {words}."
        case About.BUDGET if len({arm.setting.epochs for arm in verdict.compared}) > 1:
            return f"{capitalized(subject)} {words}."
        case About.BUDGET:
            return f"After {updates_text(verdict.compared)} {subject} {words}."
        case About.RUNS:
            return f"In the mean of these runs {subject} {words}. Their median says otherwise: no choice of a method."
        case _:
            rates = listed([f"{name_in_sentence(a.setting.label)} {a.learning_rate:g}" for a in verdict.compared])
            if verdict.is_given and is_reported(verdict):
                return _at_reported_rates(verdict, rates, f"{subject} {words}.")
            start = "At the learning rates given" if verdict.is_given else "At the chosen learning rates"
            return f"{start} ({rates}), {subject} {words}. {_why_rates(verdict)}"


def _why_rates(verdict: Place) -> str:
    """Why a claim chooses no method, and what to do."""
    if verdict.is_given and Ahead(verdict).step is NextStep.RATES:
        return "To choose a method, find the learning rates."
    if not (lacking := [name_in_sentence(arm.setting.label) for arm in verdict.lacking]):
        where = verdict.told.neighbors if verdict.told is not None else ""
        return f"That is not shown at the {where}, so it is no choice of a method."
    ask = ""
    if Ahead(verdict).step is NextStep.RATES:
        ask = ": add the results of rates beside them" if is_reported(verdict) else ": find the learning rates"
    return f"Neighboring rates of {listed(lacking)} were not trained, so it is no choice of a method{ask}."


def _at_reported_rates(verdict: Place, rates: str, words: str) -> str:
    """A claim about reported settings of which one has one learning rate. Args: rates: of both; words: the claim."""
    if all(arm.learning_rate for arm in verdict.compared):
        return f"At the learning rates reported ({rates}), {words} Whether others were tried is not known."
    return f"In the runs reported, {words} Their learning rates are not known."


def _trained_words(verdict: Place, arm: Arm) -> str:
    """How many parameters a setting trains, as the end of a clause; empty where that is not reported."""
    many = verdict.full.trained if verdict.full is not None else 0
    if not (many and arm.trained):
        return ""
    return f", with {count_text(arm.trained)} instead of {count_text(many)} trainable parameters"


def is_reported(verdict: Place) -> bool:
    """Whether a verdict is about what others report."""
    return verdict.full is not None and verdict.full.setting.spec is None


def _best_of(verdict: Place, name: str) -> str:
    """The best setting with the number of those it was the best of: to choose it flatters it a little."""
    many = len(verdict.candidates)
    if many < 2:
        return name
    kinds = {candidate.arm.setting.method for candidate in verdict.candidates}
    return f"the best of {NUMBERS.get(many, str(many))} {'ranks' if len(kinds) == 1 else 'adapter settings'}, {name},"


def name_of(arm: Arm, verdict: Place) -> str:
    """An adapter setting in a sentence, as in ``LoRA r=1 on attention at learning rate 0.01``; see :attr:`Arm.name`.

    The learning rate is there where some method or rank was tuned, unless the sentence names the rates anyway.
    """
    return f"{arm.name}{rate_words(arm) if _names_have_rates(verdict) else ''}{_epochs_words(arm, verdict)}"


def full_name(verdict: Place) -> str:
    """Full fine-tuning in a sentence, with its learning rate where :func:`name_of` has that of the setting."""
    name = reference_name(verdict.full)
    if verdict.full is None:
        return name
    rate = rate_words(verdict.full) if _names_have_rates(verdict) else ""
    return f"{name}{rate}{_epochs_words(verdict.full, verdict)}"


def _epochs_words(arm: Arm, verdict: Place) -> str:
    """A setting's number of epochs behind its name where those of the compared settings differ; else empty."""
    differ = len({other.setting.epochs for other in verdict.compared}) > 1
    return f" for {counted(arm.setting.epochs, 'epoch')}" if differ else ""


def _names_have_rates(verdict: Place) -> bool:
    """Whether some method or rank was tuned, and the sentence does not name the rates anyway."""
    return bool(verdict.rates.several) and not (verdict.claim is not None and verdict.about is About.RATES)


def explanation(verdict: Place) -> list[str]:
    """What to know beside the headline, in sentences: :func:`caveats`, then :func:`basis`."""
    return [*caveats(verdict), *basis(verdict)]


def caveats(verdict: Place) -> list[str]:
    """What changes how the headline is read, in sentences: what the base had, why nothing is claimed, longer training,
    what pretraining was worth, and unusual runs. Where one method alone was trained it is what the base had.
    """
    told = verdict.told
    setting = verdict.leading if told is None else told.arm
    base = "" if verdict.unread else base_sentence([arm for arm in (verdict.full, setting) if arm is not None])
    if told is None or verdict.reason:
        return [base] if base else []
    sentences = [base]
    if not verdict.withheld:
        sentences.append(_why_open(verdict, told))
        if not Ahead(verdict).is_saturated:
            at_rates = verdict.about is About.RATES
            sentences += course_sentences(verdict.compared, verdict.holds_on, at_rates)
            sentences.append(_longer_sentence(verdict))
    sentences += [verdict.pretraining, frozen_head_sentence(told.arm.setting)]
    sentences += [outlier_sentence(arm, row) for arm, row in outliers(verdict)]
    sentences.append(median_sentence(told))
    return [sentence for sentence in sentences if sentence]


def _longer_sentence(verdict: Place) -> str:
    """To train longer, where that is the next step, or why not, where settings may improve; else empty."""
    if (step := Ahead(verdict).step) in (NextStep.LONGER, NextStep.EPOCHS) and not is_reported(verdict):
        return "Train longer." if step is NextStep.LONGER else "Find the epochs."
    improving = [arm for arm in verdict.compared if course_of(arm) is Course.IMPROVING]
    if not improving or verdict.holds_on or Ahead(verdict).can_be_longer:
        return ""
    names = listed([name_in_sentence(arm.name) for arm in improving])
    were = "was" if len(improving) == 1 else "were"
    return f"{capitalized(names)} {were} trained as long as this experiment may."


def basis(verdict: Place) -> list[str]:
    """What the headline rests on, in sentences: tests, examples, looks, a further look, ranks, and rates."""
    told = verdict.told
    if told is None or verdict.reason or verdict.withheld:
        return []
    equal = equal_epochs_sentence(told.arm, verdict.at_equal_epochs)
    sentences = [
        equal,
        _tests(verdict, told),
        _examples_sentence(told),
        *_looks(verdict),
        *_further(verdict, told),
    ]
    return [sentence for sentence in [*sentences, *rank_sentences(verdict), _rates_sentence(verdict)] if sentence]


def _why_open(verdict: Place, told: Candidate) -> str:
    """Why nothing is claimed; empty where something is, or where :func:`_tests` says it."""
    seeds = verdict.seeds
    if verdict.claim is not None:
        return ""
    is_easy = verdict.full is not None and told.is_easy(verdict.full)
    if Ahead(verdict).is_saturated:
        examples = examples_text(told.arm.setting.learns, told.crossed.examples, "test")
        are, harder = ("too easy, or too few,", " or harder ones") if is_easy else ("too few", "")
        return (
            f"These {examples} are {are} to tell {told.arm.name} and {reference_name(verdict.full)} apart: that takes "
            f"more of them{harder}, not more seeds or longer training."
        )
    if told.leans:
        return (
            f"Leaning: all {seeds} seeds point the same way. That decides nothing: {LEANS[bool(verdict.before)]} "
            f"without any difference. {_too_few(verdict, told)}".strip()
        )
    if seeds < CLAIM_SEEDS:
        there = "is 1" if seeds == 1 else f"are {seeds}"
        return f"A claim takes at least {CLAIM_SEEDS} seeds, and there {there}. {_too_few(verdict, told)}".strip()
    if not told.difference.holds_zero:
        return ""
    are = "too few, or too easy" if is_easy else "too few"
    few = f" More seeds hardly help: these test examples are {are}." if Ahead(verdict).needs_examples else ""
    return f"The interval contains 0. Not shown is not the same as equal.{few}"


def _too_few(verdict: Place, told: Candidate) -> str:
    """That "good enough" takes more test examples, and how many; empty where it does not."""
    ahead = Ahead(verdict)
    if not ahead.needs_examples or ahead.limits is None:
        return ""
    setting = told.arm.setting
    return examples_sentence(ahead.limits, setting.objective.primary, verdict.margin, setting.learns)


def _tests(verdict: Place, told: Candidate) -> str:
    claim, seeds, many, level = _said(verdict), verdict.seeds, told.among, told.at
    corrected = f", corrected for the {many} settings tested together" if many > 1 else ""
    if claim is not None and told.found is not None:
        p, at = (told.found.within, level / 2) if claim.rule is Rule.WITHIN else (told.found.differs, level)
        if p > at:
            agrees = f"with {seeds} the interval agrees" if claim.seeds < seeds else "the difference still has its sign"
            return f"Shown with {claim.seeds} seeds at an earlier look; {agrees}."
        beside = "" if verdict.is_given or not claim.about_methods else f", also at the {told.neighbors}"
        return f"Shown with {seeds} seeds: {_p_words(p)}{corrected}, and this look allows {level_text(at)}{beside}."
    if told.leans:
        return f"The t test over seeds rejects at 5 %{corrected}, which a claim takes more than."
    if seeds < CLAIM_SEEDS:
        return ""
    if not level:
        return f"A look at {seeds} seeds after one at {max(verdict.before, default=0)} can show nothing."
    if told.is_again:
        return (
            f"These {seeds} seeds were looked at before, with other settings or without the answers to single "
            "examples, and nothing is tested twice with the same number of seeds."
        )
    p = told.found.differs if told.found is not None else 1.0
    return f"Not shown: {_p_words(p)}{corrected}, and this look allows {level_text(level)}."


def _p_words(p: float) -> str:
    """A p-value in the unit of the levels that it is compared with, as in ``p = 0.8 %``."""
    return "p < 0.1 %" if p < 0.001 else f"p = {level_text(p)}"


def _chance(verdict: Place) -> str:
    """The chance of any false claim that all looks so far come to, over all that was tested; empty where none was."""
    used = verdict.used
    if not sum(used):
        return ""
    earlier = [seeds for seeds in verdict.before if seeds >= CLAIM_SEEDS]
    over = f", over looks at {listed([str(n) for n in (*earlier, verdict.seeds)])} seeds," if earlier else ""
    now, most = level_text(sum(used)), percent(100 * ERROR_RATE * len(used), 0)
    apart = ""
    if verdict.later:
        were = "was" if len(verdict.later) == 1 else "were"
        apart = f": {listed([*verdict.later])} {were} added after a look and tested apart, as a question of its own"
    elif len(used) > 1:
        apart = ": each number of epochs is a question of its own"
    start = f"The chance of any false claim so far{over} is at most {now}"
    return f"{start}, and {most} with all looks that may follow{apart}."


def _examples_sentence(told: Candidate) -> str:
    kind, examples = told.arm.setting.learns, told.difference.examples
    if len(told.difference.seeds) < 2:
        return ""
    if examples:
        return f"The interval is over seeds and {examples_text(kind, examples, 'test')}."
    nouns = noun(kind)
    return (
        f"The answers to single test {nouns} are not known for all of these runs: the interval and the tests are over "
        f"seeds alone, and hold for these test {nouns}."
    )


def _looks(verdict: Place) -> list[str]:
    """What chance of a false claim all looks come to, and what is no longer so."""
    found = [_chance(verdict)]
    for candidate in verdict.candidates:
        for claim in candidate.claims:
            if not claim.holds:
                what = {Rule.WITHIN: "within the margin", Rule.HIGHER: "better", Rule.LOWER: "worse"}[claim.rule]
                found.append(
                    f"{candidate.arm.name} was shown to be {what} with {claim.seeds} seeds, no longer with "
                    f"{len(candidate.difference.seeds)}."
                )
    return found


def _further(verdict: Place, told: Candidate) -> list[str]:
    """What a further look can show; nothing where something is shown."""
    seeds, design, objective = Ahead(verdict).look, Ahead(verdict).design, told.arm.setting.objective
    kind, measure = told.arm.setting.learns, objective.primary
    few = _too_few(verdict, told)
    if not seeds:  # with few seeds it was said before
        return [few] if few and (verdict.seeds >= CLAIM_SEEDS or Ahead(verdict).is_saturated) else []
    spent = verdict.spent
    start = f"A further look is proposed at {seeds} seeds, which allows {level_text(level_of(seeds, spent))}"
    one_more = verdict.seeds + 1
    is_told = verdict.seeds >= CLAIM_SEEDS and one_more < seeds
    later = f"; one at {one_more} would allow {level_text(level_of(one_more, spent))}" if is_told else ""
    if design is None:
        return [f"{start}{later}."]
    found = power_sentences(design, measure, verdict.margin, kind, seeds, spent)
    if verdict.seeds < CLAIM_SEEDS:  # which is said first then
        found = [sentence for sentence in found if sentence != few]
    return [f"{start}{later}.", *found, *(["This is estimated from the spread of these runs."] if found else [])]


def rank_sentences(verdict: Place) -> list[str]:
    """Whether the rank mattered, or that nothing tells it, as a description: no test is about it."""
    if verdict.told is None or verdict.reason or verdict.withheld:
        return []
    sizes = {each.arm.setting.size for each in verdict.candidates if each.arm.setting.size is not None}
    if len(sizes) == 1:
        return ["Rank: only one was trained, so nothing tells whether it matters."]
    pairs = rank_extremes([candidate.arm for candidate in verdict.candidates])
    return [
        f"Rank: beside {low.name}, {high.name} was {off_text(difference)}. No test is about that: the tests are about "
        f"differences from {reference_name(verdict.full)}."
        for high, low in pairs
        if len((difference := paired_differences([(high, low)], high.primary)[0]).seeds) > 1
    ]


def _rates_sentence(verdict: Place) -> str:
    one = verdict.rates.one
    if is_reported(verdict) and not any(arm.validation for arm in verdict.compared):
        return "The learning rates were not chosen by us, because no measure on a validation part is reported."
    if not verdict.rates.several:
        return "Each method was trained at one learning rate, so this holds at these rates."
    if not one:
        return ""
    names = listed([name_in_sentence(label) for label in one])
    were, that = ("was", "that rate") if len(one) == 1 else ("were each", "these rates")
    return f"{capitalized(names)} {were} trained at one learning rate, so this holds at {that}."
