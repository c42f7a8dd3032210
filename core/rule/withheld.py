"""What is compared, why an answer may have to wait, and what would let there be one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.methods.method import Role
from core.numbers import counted, listed
from core.results.arm import Arm, grouped, judged_by
from core.results.choice import best_arm, chosen_arms, is_adapter, is_full, no_choice_sentence
from core.results.measures import quantity
from core.results.row import Row
from core.rule.claims import Difference, difference_of
from core.rule.spending import CLAIM_SEEDS
from core.rule.tuning import RateChoice, is_tuned, name_in_sentence, rate_choices, rates_beside


class NextStep(StrEnum):
    """What a person can do so that there is a verdict, or one that says more."""

    FINISH = "finish"
    """Train what was stopped to its end."""
    RATES = "find rates"
    """Find the learning rates by a search, where they were given."""
    LONGER = "train longer"
    """Train for three times as many epochs."""
    EPOCHS = "find epochs"
    """Train with all seeds for the number of epochs that was better with the seeds of the search."""
    SEEDS = "add seeds"
    """Train every setting with more seeds."""
    SETTINGS = "other rates"
    """The same, where nothing was learned at the one rate that each method was given."""
    OTHER_SIDE = "add settings"
    """Train full fine-tuning beside adapters, or an adapter beside it."""


@dataclass(frozen=True)
class Reason:
    """Why there is no verdict."""

    text: str
    """In one sentence."""
    next_step: NextStep | None = None
    answerable: int = 0
    """Number of seeds of the verdict that there could be without the runs that were stopped."""
    more: str = ""
    """What to know beside it, and what to do."""


NOT_YET = "No verdict yet: "
"""How a reason begins that names what can be done."""

NUMBERS = dict(enumerate(["two", "three", "four", "five", "six", "seven", "eight", "nine"], 2))
"""Small numbers, as sentences write them."""

SELECTED = Reason(
    "No verdict: these runs were selected, and what was left out is not known.",
    more="Open an experiment for its verdict.",
)
"""Of runs that are not all of one experiment."""


def waiting_reason(rows: Sequence[Row], seeds: int, bases: Sequence[Row] = ()) -> Reason | None:
    """Why a verdict waits for runs that have not ended, or that somebody stopped and nobody has archived.

    To look at the results and then to stop what does not please would make false claims more likely, so nothing of the
    test part is read until then. Archived runs were left out by somebody who knew that.

    Args:
        rows: all of the experiment.
        seeds: number of seeds that all settings have finished.
        bases: that count with them.
    """
    everything = [*bases, *rows]
    pending = sum(row.is_live or (row.state == "interrupted" and not row.archived) for row in everything)
    searching = any(row.plan == "open" for row in everything)
    if pending or searching:
        left = "runs are still to finish"  # a panel beside this counts them
        waiting = sum(row.state == "interrupted" and not row.archived for row in everything)
        left += f", {waiting} of them interrupted" if waiting else ""
        text = left if pending else "runs follow, until the best learning rates are found"
        follow = "More follow, until the best learning rates are found. " if pending and searching else ""
        return Reason(f"{NOT_YET}{text}.", more=f"{follow}Until then only the validation part is compared.")
    finished = {(row.setting.key, row.seed) for row in everything if row.state == "finished"}
    left_out = [row for row in everything if row.state == "stopped" and not row.archived]
    missing = [row for row in left_out if (row.setting.key, row.seed) not in finished]
    if missing:
        were = f"{len(missing)} of {counted(len(everything), 'run')} {'was' if len(missing) == 1 else 'were'} stopped"
        or_ = f", or answer with the {counted(seeds, 'seed')} that finished" if seeds else ""
        return Reason(f"{NOT_YET}{were}.", NextStep.FINISH, seeds, f"Finish the experiment{or_}.")
    if any(row.plan == "waiting" for row in everything):
        text = f"{NOT_YET}the search for learning rates has not ended."
        return Reason(text, NextStep.FINISH, more="Finish the experiment.")
    return None


def ends_reason(everything: Sequence[Row], compared: Sequence[Arm]) -> Reason | None:
    """Why a verdict waits for further learning rates: one that was chosen for a compared setting is the first or last
    of those tried.
    """
    keys = {arm.key for arm in compared}
    choices = [choice for choice in rate_choices(everything) if choice.arm.key in keys and choice.at_end]
    if not choices:
        return None
    can_extend = bool(rates_beside(everything)) and not any(choice.is_searched for choice in choices)
    what = "" if can_extend else " No other rate can be tried."
    if everything[0].run is None:
        can_extend, what = True, " Add results at such rates."
    return Reason(
        f"{NOT_YET}{_ends_words(choices, len(compared))}.",
        NextStep.RATES if can_extend else None,
        more=f"A better rate may lie {_ends(choices)}.{what}",
    )


def _ends(choices: Sequence[RateChoice]) -> str:
    """Rates at an end and whose they are, as in ``above 0.01 (full fine-tuning) and above 0.03 (LoRA r=2)``."""
    names: dict[str, list[str]] = {}
    for each in choices:
        side = "above" if each.at_end == "highest" else "below"
        rate = f"{side} {each.arm.learning_rate:g}{each.epochs_words}"
        names.setdefault(rate, []).append(name_in_sentence(each.arm.setting.label))
    return listed([f"{rate} ({listed(own)})" for rate, own in names.items()])


def _ends_words(choices: Sequence[RateChoice], compared: int) -> str:
    """Whose best rates are at an end, as in ``all seven best rates were the highest tried``."""
    sides = {choice.at_end for choice in choices}
    where = f"the {sides.pop()} tried" if len(sides) == 1 else "at an end of those tried"
    if len(choices) == 1:
        return f"the best rate of {name_in_sentence(choices[0].arm.setting.label)} was {where}"
    many = NUMBERS.get(len(choices), str(len(choices)))
    all_ = "both" if compared == 2 else f"all {many}"
    return f"{all_ if len(choices) == compared else many} best rates were {where}"


def paired_differences(pairs: Sequence[tuple[Arm, Arm]], name: str) -> list[Difference]:
    """For each pair of arms the first minus the second in a quantity; see :func:`core.rule.claims.difference_of`."""
    if not pairs:
        return []
    what = quantity(name, pairs[0][0].setting.objective)
    return [difference_of(a.label, b.label, a.by_seed(name), b.by_seed(name), what) for a, b in pairs]


def against_full(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Every LoRA arm and every control, each with every full arm on the same base and task, in the order of arms."""
    return [
        (other, full)
        for full in arms
        for other in arms
        if full.role is Role.REFERENCE and other.role in (Role.ADAPTER, Role.CONTROL)
        if full.setting.comparison == other.setting.comparison
    ]


def rank_extremes(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """The highest rank and the lowest one of each method that has several, where ranks alone tell its arms apart."""
    sized = sorted((arm for arm in arms if arm.setting.size is not None), key=lambda arm: arm.setting.size)
    return [
        (own[-1], own[0])
        for own in grouped(sized, lambda arm: arm.setting.method).values()
        if len({arm.setting.size for arm in own}) == len(own) > 1
    ]


def no_ranking(rows: Sequence[Row]) -> Reason:
    """Why nothing ranks settings whose finished seeds have no value on the validation part. Args: rows: all of them."""
    measure = judged_by(rows).primary
    if all(row.run is None and row.validated is None for row in rows):
        text = f"No verdict: no column has the {measure.noun} on a validation part, to choose one of each."
        return Reason(text, more=_lacking(rows, f"validation_{measure.name}"))
    return Reason("No verdict: the settings have no finished seed in common that validation measured.")


def _lacking(rows: Sequence[Row], column: str) -> str:
    """What a verdict on reported results takes beside what there is: a column, and seeds where these are too few."""
    if len({row.seed for row in rows}) >= CLAIM_SEEDS:
        return f"A column {column} would make it one."
    return f"A verdict takes a column {column}, and at least {CLAIM_SEEDS} seeds of each setting."


def compared_settings(rows: Sequence[Row]) -> tuple[Arm | None, list[Arm], Reason | None]:
    """Full fine-tuning, each adapter setting that is compared with it, and why there is none."""
    sides = "full fine-tuning and LoRA"
    if reported := [row for row in rows if row.run is None and row.setting.role is Role.REFERENCE]:
        sides = f"{name_in_sentence(reported[0].setting.label)} and the others"
    if not rows:
        return None, [], Reason("No verdict yet: it takes finished runs of full fine-tuning and of LoRA.")
    if reason := no_choice_sentence(rows):
        return None, [], Reason(reason)
    chosen = chosen_arms(rows)
    full = best_arm(rows, is_full)
    adapters = [pair for pair in against_full(chosen) if is_adapter(pair[0])]
    pairs = [lora for lora, other in adapters if full is not None and other.key == full.key]
    if full is not None and pairs and any(set(lora.seeds) & set(full.seeds) for lora in pairs):
        objective = judged_by(rows)
        if not objective.has_test_part and is_tuned(row.setting for row in rows):
            measure = objective.primary
            text = f"No verdict: no column has the {measure.noun} on a test part, by which nothing was chosen."
            return full, [], Reason(text, more=_lacking(rows, f"test_{measure.name}"))
        return full, pairs, None
    if pairs:
        return full, [], Reason(f"No verdict: {sides} have no finished seed in common.")
    if {Role.REFERENCE, Role.ADAPTER} <= {arm.role for arm in chosen}:
        if full is None:
            return full, [], no_ranking(rows)
        return full, [], Reason(f"No verdict: {sides} started from different bases or learned different tasks.")
    return (
        full,
        [],
        Reason("No verdict yet: it takes results of full fine-tuning and of LoRA on the same base and task."),
    )
