"""The verdict of an experiment: full fine-tuning or LoRA, which setting, and how much that may claim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from core.methods.method import Role
from core.numbers import counted
from core.objectives.measure import Measure
from core.store.record import Run
from core.store.stages import stages_of
from core.study.arms.arm import Arm, judged_by
from core.study.arms.balance import unlearnt
from core.study.arms.choice import (
    best_arm,
    best_run,
    chosen_arms,
    comparisons_of,
    is_adapter,
    is_full,
    no_choice_sentence,
)
from core.study.arms.pairs import against_full, paired_differences
from core.study.arms.settled import holds_on
from core.study.arms.tuning import RatesTried, name_in_sentence, rate_choices, rates_tried
from core.study.stats.claims import Difference, Level, within_margin
from core.study.stats.intervals import CLAIM_SEEDS, seeds_needed


def no_ranking(measure: Measure) -> str:
    """Why nothing ranks settings whose finished seeds have no value on the validation part."""
    article = "an" if measure.noun[:1].lower() in "aeiou" else "a"
    return (
        "No verdict: nothing ranks these settings, since they have no finished seed in common with "
        f"{article} {measure.noun} on the validation part."
    )


class Rule(StrEnum):
    """The part of the rule that decided."""

    WITHIN = "within the margin"
    """The choice is the cheapest adapter setting that is within the margin of full fine-tuning."""
    HIGHER = "higher"
    """The choice is the adapter setting that is best on the validation part; it is better than full fine-tuning."""
    LOWER = "lower"
    """The choice is full fine-tuning: the adapter setting that is best on the validation part is worse."""
    NONE = "none"
    """No choice."""


@dataclass(frozen=True)
class Candidate:
    """An adapter setting that is compared with full fine-tuning."""

    arm: Arm
    difference: Difference
    """Its primary measure on the test part minus that of full fine-tuning."""
    within: Level
    """The level at which it falls short by less than the margin."""


@dataclass(frozen=True)
class Verdict:
    """The answer of an experiment, as far as its runs can give one."""

    margin: float
    """How much worse than full fine-tuning a setting may be and still be good enough."""
    rates: RatesTried
    """Which methods and ranks were trained at several learning rates, among which the validation part chose."""
    full: Arm | None = None
    """Full fine-tuning as the validation part chose it."""
    candidates: tuple[Candidate, ...] = ()
    """One adapter setting per method and rank, as the validation part chose it; the cheapest first."""
    best: Candidate | None = None
    """The candidate that is best on the validation part."""
    rule: Rule = Rule.NONE
    level: Level = Level.OPEN
    """Level of the test behind the choice; *open* without one."""
    reason: str = ""
    """Why nothing could be compared; empty where something was."""
    looks: int = 1
    """How many times these runs could be looked at, including now: one more for every time that the experiment grew
    after a verdict that was open although it had enough seeds for a claim."""
    pending: int = 0
    """Number of runs that are still to finish: until then the verdict is interim."""
    ends: tuple[str, ...] = ()
    """Labels of the compared settings whose rate is the first or last of those tried, with the rate."""
    searching: bool = False
    """Whether more runs will be queued, since the best learning rates are not found yet."""
    stopped: tuple[int, ...] = ()
    """Seeds of the two settings that the verdict is about which somebody stopped before they had finished."""
    answerable: int = 0
    """Number of seeds of a verdict that waits for runs that were stopped, and could be given without them."""
    selected: bool = False
    """Whether the runs were selected: what was left out, and how often they were looked at, is then not known."""

    @property
    def told(self) -> Candidate | None:
        """The candidate that the verdict is about: the choice if that is an adapter, else the best one."""
        if self.rule is Rule.WITHIN:
            return next(candidate for candidate in self.candidates if candidate.within is not Level.OPEN)
        return self.best

    @property
    def choice(self) -> Arm | None:
        """The setting to use; None where the rule makes no choice."""
        if self.rule is Rule.LOWER:
            return self.full
        return self.told.arm if self.told is not None and self.rule is not Rule.NONE else None

    @property
    def offered(self) -> Run | None:
        """The run whose adapter to take: of :attr:`told`, the one that is best on the validation part."""
        return best_run(self.told.arm) if self.told is not None else None

    @property
    def holds_on(self) -> bool | None:
        """Whether the difference behind the choice would be there with three times the epochs; see
        :func:`core.study.arms.settled.holds_on`. None without a choice, and where it is not known.
        """
        told, full = self.told, self.full
        if told is None or full is None or self.rule is Rule.NONE:
            return None
        return holds_on(told.difference, told.arm, full, self.margin if self.rule is Rule.WITHIN else None)

    @property
    def seeds(self) -> int:
        """Number of seeds behind the difference that the verdict is about; 0 without one."""
        return len(self.told.difference.seeds) if self.told is not None else 0

    @property
    def seeds_to_add(self) -> int:
        """Number of further seeds that would about settle it.

        0 where it is settled, no number is known, or a setting is not shown to have learnt anything, so that longer
        training comes first.
        """
        told = self.told
        if told is None or self.level is Level.SHOWN or not self.seeds:
            return 0
        if unlearnt(filter(None, (self.full, told.arm))):
            return 0
        if self.rule is Rule.WITHIN:
            # No setting can have a higher level than the more expensive ones, which were tested before it.
            place = next(place for place, candidate in enumerate(self.candidates) if candidate is told)
            return max(self._seeds_within(candidate) for candidate in self.candidates[place:])
        needed = max(told.difference.seeds_needed or 0, told.difference.least_seeds)
        return max(0, needed - self.seeds)

    def _seeds_within(self, candidate: Candidate) -> int:
        """Number of further seeds that would about show that a candidate is within the margin."""
        sign, values = candidate.difference.what.sign, candidate.difference.values
        if candidate.within is Level.SHOWN or len(values) >= CLAIM_SEEDS:
            return 0
        needed = seeds_needed([sign * value + self.margin for value in values]) or 0
        return max(needed, CLAIM_SEEDS) - len(values)


def verdict(runs: Iterable[Run], selected: bool = False) -> Verdict:
    """Decide between full fine-tuning and adapters, as far as these runs allow.

    The settings are those that :mod:`core.study.arms.choice` picks on the validation part, one for each method and
    rank; controls take no part. The choice is

    1. the cheapest adapter setting that is within the margin of full fine-tuning, see
       :func:`core.study.stats.claims.within_margin`;
    2. else the adapter setting that is best on the validation part, if it is better in the primary measure than full
       fine-tuning, see :func:`core.study.stats.claims.differences_of`;
    3. else full fine-tuning, if that setting is worse;
    4. else none.

    While runs of the experiment are stopped there is no verdict: to look at the results and then to stop what does not
    please would make false claims more likely. Archived runs were left out by somebody who knew that.

    Args:
        runs: all of one experiment, or those that somebody selected; in any state. The margin is that of
            :func:`core.study.arms.arm.judged_by`.
        selected: whether somebody selected the runs; of several experiments they always are.
    """
    everything = list(runs)
    margin = judged_by(everything).margin
    found = _decided(everything, margin)
    pending = sum(run.is_live or run.state == "interrupted" for run in everything)
    selected = selected or len({run.experiment for run in everything}) > 1
    if not selected and (reason := _waits_for(everything, found)):
        answerable = 0 if found.reason else found.seeds
        return Verdict(margin, found.rates, reason=reason, pending=pending, answerable=answerable)
    searching = any(run.plan == "open" for run in everything)
    stopped = _stopped(found, everything)
    found = replace(found, pending=pending, searching=searching, stopped=stopped, selected=selected)
    if found.level is not Level.SHOWN or selected:
        return found
    # Each number of epochs is a question of its own, with looks of its own.
    compared = {arm.key for arms in comparisons_of(everything) for arm in arms}
    stages = stages_of(run for run in everything if run.spec.arm in compared)
    earlier = (_decided([run for stage in stages[:last] for run in stage], margin) for last in range(1, len(stages)))
    return replace(found, looks=1 + sum(look.level is Level.OPEN and look.seeds >= CLAIM_SEEDS for look in earlier))


def _waits_for(everything: Sequence[Run], found: Verdict) -> str:
    """Why a verdict waits for stopped runs that nobody has archived; empty where it waits for none."""
    finished = {(run.spec.arm, run.spec.seed) for run in everything if run.state == "finished"}
    left = [run for run in everything if run.state == "stopped" and not run.archived]
    missing = [run for run in left if (run.spec.arm, run.spec.seed) not in finished]
    if not missing:
        waits = any(run.plan == "waiting" for run in everything)
        return "No verdict yet: the search for learning rates has not ended. Finish the experiment." if waits else ""
    were = f"{len(missing)} of {counted(len(everything), 'run')} {'was' if len(missing) == 1 else 'were'} stopped"
    or_ = f", or answer with the {counted(found.seeds, 'seed')} that finished" if not found.reason else ""
    return f"No verdict yet: {were}. Finish the experiment{or_}."


def _stopped(found: Verdict, everything: Sequence[Run]) -> tuple[int, ...]:
    arms = [arm for arm in (found.full, found.told.arm if found.told is not None else None) if arm is not None]
    finished = {arm.key: set(arm.seeds) for arm in arms}
    stopped = {
        run.spec.seed
        for run in everything
        if run.state == "stopped" and run.spec.seed not in finished.get(run.spec.arm, {run.spec.seed})
    }
    return tuple(sorted(stopped))


def _decided(everything: Sequence[Run], margin: float) -> Verdict:
    """The verdict, whatever was looked at before."""
    rates = rates_tried(run.spec for run in everything if run.spec.role in (Role.REFERENCE, Role.ADAPTER))
    full, pairs, reason = _pairs(everything)
    if not pairs:
        return Verdict(margin, rates, full, reason=reason)
    pairs.sort(key=lambda pair: pair[0].trained)
    differences = paired_differences(pairs, judged_by(everything).primary.name)
    within = within_margin(differences[::-1], margin)[::-1]
    candidates = tuple(
        Candidate(lora, d, level) for (lora, _), d, level in zip(pairs, differences, within, strict=True)
    )
    keys = {candidate.arm.key: candidate for candidate in candidates if candidate.difference.seeds}
    picked = best_arm(everything, lambda setting: is_adapter(setting) and setting.key in keys)
    best = keys[picked.key] if picked is not None else None
    rule, level = _decide(candidates, best)
    reason = "" if best is not None or rule is Rule.WITHIN else no_ranking(judged_by(everything).primary)
    compared = {arm.key for arm in (full, *(candidate.arm for candidate in candidates)) if arm is not None}
    at_ends = [choice.arm for choice in rate_choices(everything) if choice.arm.key in compared and choice.at_end]
    ends = tuple(f"{name_in_sentence(arm.spec.label)} ({arm.learning_rate:g})" for arm in at_ends)
    return Verdict(margin, rates, full, candidates, best, rule, level, reason, ends=ends)


def _decide(candidates: Sequence[Candidate], best: Candidate | None) -> tuple[Rule, Level]:
    near = next((candidate for candidate in candidates if candidate.within is not Level.OPEN), None)
    if near is not None:
        return Rule.WITHIN, near.within
    if best is None or best.difference.level is Level.OPEN:
        return Rule.NONE, Level.OPEN
    return (Rule.HIGHER if best.difference.is_better else Rule.LOWER), best.difference.level


def _pairs(runs: Sequence[Run]) -> tuple[Arm | None, list[tuple[Arm, Arm]], str]:
    """Full fine-tuning, each adapter setting with it, and why there is none."""
    if not runs:
        return None, [], "No verdict yet: it takes finished runs of full fine-tuning and of LoRA."
    if reason := no_choice_sentence(runs):
        return None, [], reason
    chosen = chosen_arms(runs)
    full = best_arm(runs, is_full)
    adapters = [pair for pair in against_full(chosen) if is_adapter(pair[0])]
    pairs = [pair for pair in adapters if full is not None and pair[1].key == full.key]
    if pairs and any(set(lora.seeds) & set(other.seeds) for lora, other in pairs):
        return full, pairs, ""
    if pairs:
        return full, [], "No verdict: full fine-tuning and LoRA have no finished seed in common."
    if {Role.REFERENCE, Role.ADAPTER} <= {arm.role for arm in chosen}:
        if full is None:
            return full, [], no_ranking(judged_by(runs).primary)
        return full, [], "No verdict: full fine-tuning and LoRA started from different bases or learnt different tasks."
    return full, [], "No verdict yet: it takes results of full fine-tuning and of LoRA on the same base and task."
