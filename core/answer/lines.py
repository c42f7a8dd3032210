"""An answer in three lines: a sentence, the one number or reason that matters, and the next step."""

from __future__ import annotations

from core.answer.check import names
from core.answer.design import examples_needed
from core.answer.gain import gain_sentence
from core.answer.levels import level_text, p_percent, said
from core.numbers import capitalized, count_text, counted, listed, times_text
from core.results.arm import Arm
from core.rule.candidate import Rule
from core.rule.claims import off_text, size_span_text, size_text
from core.rule.place import About, Place
from core.rule.settled import Course, by_course, updates_text
from core.rule.spending import CLAIM_SEEDS
from core.rule.tuning import name_in_sentence, rate_words, reference_name
from core.rule.withheld import NextStep
from core.wording.tasks import examples_text, noun

MAX_WORDS = 20
"""Maximum number of words of the first line, where a setting is called by its method and rank."""

STEPS = {
    NextStep.FINISH: "Finish the experiment",
    NextStep.RATES: "Find the learning rates",
    NextStep.SETTINGS: "Find the learning rates",
    NextStep.LONGER: "Train longer",
    NextStep.EPOCHS: "Find the epochs",
}
"""The next steps that are called alike in every experiment, as buttons have them."""


def headline(found: Place) -> str:
    """The first line: what to use, or why there is no answer, in at most :data:`MAX_WORDS` words."""
    told = found.told
    if told is None or found.reason or found.withheld:
        return found.reason or found.withheld
    name, full = _name(told.arm, found), _name(found.full, found)
    measure, size = told.arm.setting.objective.primary, size_text(told.difference)
    off = f"{size} {measure.better if told.difference.is_better else measure.worse}"
    if found.claim is None:
        return _unshown(found, name, full, off)
    limit = f"at most {measure.margin_text(found.margin)} {measure.worse}"
    claim = said(found)
    off = limit if claim is not None and claim.rule is Rule.WITHIN else off
    match found.about:
        case About.METHODS | About.BUDGET:
            use = "Use" if found.about is About.METHODS else "At this budget, use"
            return (
                f"{use} {full}: {name} is {off}." if found.rule is Rule.LOWER else f"{use} {name}: {off} than {full}."
            )
        case About.RUNS:
            return f"In the mean, {name} is {off} than {full}; the median says otherwise."
        case About.RATES:
            return f"{_at_rates(found)} {name} is {off} than {full}."


def reason(found: Place) -> str:
    """The second line: the number behind the first, or what stands against more; may be empty."""
    told = found.told
    if told is None or found.reason or found.withheld:
        alone = found.full if found.leading is None else found.leading
        gained = gain_sentence(alone) if alone is not None and not found.unread and told is None else ""
        return " ".join(filter(None, [gained, found.more]))
    if found.claim is None:
        return _why_unshown(found)
    if found.about is About.BUDGET:
        return _why_budget(found)
    if found.about is About.RATES:
        return _why_rates(found)
    if found.about is About.RUNS:
        return "A few runs decide the mean: look at those that are far off."
    claim, off = said(found), off_text(told.difference)
    if claim is not None and claim.rule is Rule.WITHIN:
        return f"{capitalized(told.arm.name)} was {off}{_trained(found, told.arm)}."
    return f"{_span(found)}{_selected(found)}{_trained(found, told.arm) if found.rule is Rule.HIGHER else ''}."


def next_step(found: Place) -> str:
    """The third line: what a person can do next, as its button says it; empty where nothing is proposed."""
    match found.step:
        case None:
            return ""
        case NextStep.SEEDS:
            return f"Add {counted(found.seeds_to_add, 'seed')}" if found.seeds_to_add else "Add seeds"
        case NextStep.OTHER_SIDE:
            return f"Add {'LoRA' if found.leading is None else 'full fine-tuning'}"
        case step:
            return STEPS[step]


def three_lines(found: Place) -> list[str]:
    """The answer for a terminal or a file, without empty lines."""
    step = next_step(found) if not found.is_reported else ""
    return [line for line in (headline(found), reason(found), f"Next: {step}." if step else "") if line]


def _unshown(found: Place, name: str, full: str, off: str) -> str:
    """The first line where nothing is claimed."""
    told = found.told
    if told is not None and found.is_probable:
        start = "At these rates, probably" if found.is_given else "Probably"
        if told.difference.is_better:
            return f"{start} {name}: {off} than {full}, not yet shown."
        return f"{start} {full}: {name} was {off}, not yet shown."
    if told is not None and not told.difference.holds_zero:
        return f"No verdict yet: {name} was {off}, with too few seeds for a claim."
    if found.is_saturated:
        return f"No verdict: these test examples do not tell {name} and {full} apart."
    return f"No verdict yet: {name} and {full} are not told apart."


def _why_unshown(found: Place) -> str:
    """The second line where nothing is claimed."""
    told, seeds = found.told, found.seeds
    if told is None:
        return ""
    off = f"{capitalized(told.arm.name)} was {off_text(told.difference)}"
    seen = off if told.difference.holds_zero else _span(found)  # the first line tells how far it is off
    if found.is_saturated:
        return f"{seen}. To tell them apart takes more or harder test examples, not more seeds."
    if told.difference.holds_zero and found.needs_examples and found.limits is not None:
        needed = count_text(examples_needed(found.limits, found.margin))
        return f"{seen}. Showing “good enough” would take about {needed} test {noun(told.arm.setting.learns)}."
    if seeds < CLAIM_SEEDS:
        agree = f"All {seeds} seeds agree, but a" if told.leans else "A"
        return f"{seen}. {agree} claim takes at least {CLAIM_SEEDS} seeds."
    if found.is_probable and told.found is not None and told.at:
        return f"{seen}: {p_percent(told.found.differs)}, above this look's limit of {level_text(told.at)}."
    return f"{seen}. Not shown is not the same as equal."


def _why_budget(found: Place) -> str:
    """The second line of a claim that longer or shorter training may change."""
    courses = by_course(found.compared)
    if over := courses.get(Course.OVERTRAINED):
        return f"{capitalized(names(over))} did better on validation with a third of the epochs."
    if improving := courses.get(Course.IMPROVING):
        were, after = "was" if len(improving) == 1 else "were", updates_text(improving)
        return f"{capitalized(names(improving))} {were} still improving after {after}: longer training may change this."
    return "What longer training would bring is not known, and may change this."


def _why_rates(found: Place) -> str:
    """The second line of a claim that other learning rates may change."""
    if found.is_given and found.is_reported:
        known = all(arm.learning_rate for arm in found.compared)
        return "Whether other rates were tried is not known." if known else "Their learning rates are not known."
    rates = listed([f"{name_in_sentence(arm.setting.label)} {arm.learning_rate:g}" for arm in found.compared])
    if found.is_given:
        return f"The learning rates were given ({rates}): others may change this."
    if found.lacking:
        return f"Rates beside those chosen for {names(found.lacking)} were not trained: others may change this."
    where = found.told.neighbors if found.told is not None else ""
    return f"At the {where} it is not shown ({rates} were chosen): others may change this."


def _at_rates(found: Place) -> str:
    """How a sentence begins that holds at its learning rates alone."""
    if not found.is_given:
        return "At the chosen rates,"
    if not found.is_reported:
        return "At these rates,"
    return "At the rates reported," if all(arm.learning_rate for arm in found.compared) else "In the runs reported,"


def _span(found: Place) -> str:
    """The interval behind a difference and what it is over, as in ``95 % interval 0.3 to 1.2, over 8 seeds``."""
    told = found.told
    if told is None:
        return ""
    kind, examples = told.arm.setting.learns, told.difference.examples
    over = f" and {examples_text(kind, examples, 'test')}" if examples else ""
    return (
        f"{capitalized(size_span_text(told.difference.interval, told.difference.what))}, over {found.seeds} seeds{over}"
    )


def _selected(found: Place) -> str:
    """That the setting is the best of several, which flatters it a little; empty for one."""
    many = len(found.candidates)
    if many < 2 or found.told is None:
        return ""
    kinds = {candidate.arm.setting.method for candidate in found.candidates}
    return f"; {found.told.arm.name} is the best of {many} {'ranks' if len(kinds) == 1 else 'adapter settings'}"


def _trained(found: Place, arm: Arm) -> str:
    """How many parameters a setting trains, as the end of a clause; empty where that is not reported."""
    many, few = found.full.trained if found.full is not None else 0, arm.trained
    if not (many and few) or few >= many:
        return ""
    return f", and trains {times_text(many / few)} times fewer parameters ({count_text(few)})"


def _name(arm: Arm | None, found: Place) -> str:
    """A setting in the first line, with its number of epochs where those of the compared settings differ."""
    name = reference_name(arm) if arm is None or arm is found.full else arm.name
    return name if arm is None else f"{name}{_epochs_words(arm, found)}"


def name_of(arm: Arm, found: Place) -> str:
    """A setting with its learning rate where some were tuned, as in ``LoRA r=1 on attention at learning rate 0.01``."""
    name = reference_name(arm) if arm is found.full else arm.name
    return f"{name}{rate_words(arm) if found.rates.several else ''}{_epochs_words(arm, found)}"


def _epochs_words(arm: Arm, found: Place) -> str:
    """A setting's number of epochs behind its name where those of the compared settings differ; else empty."""
    differ = len({other.setting.epochs for other in found.compared}) > 1
    return f" for {counted(arm.setting.epochs, 'epoch')}" if differ else ""
