"""The decision: the cheapest setting that is shown to come within a margin of full fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field

from core.spec import Spec
from core.store.record import Run
from core.study.arms.arm import Arm
from core.study.arms.choice import best_arm, chosen_arms, is_full, is_lora
from core.study.arms.pairs import against_full, paired_difference, paired_differences
from core.study.stats.claims import Difference, Finding, falls_short_by_less, more_or_less, span_text
from core.study.stats.intervals import Interval
from core.wording.numbers import bytes_text, count_text, number_text, percent, points_text


class DecisionSpec(Spec):
    """What counts as good enough."""

    within: float = Field(
        0.5,
        ge=0,
        le=10,
        title="Margin",
        description="Points of accuracy that a setting may fall short of full fine-tuning and still be good enough.",
    )


@dataclass(frozen=True)
class Candidate:
    """A setting that trains fewer parameters than full fine-tuning."""

    arm: Arm
    difference: Difference
    """Its accuracy minus that of full fine-tuning."""
    holds: bool
    """Whether it is shown to fall short by less than the margin."""

    @property
    def trained(self) -> float:
        """Parameters that it trains."""
        return self.arm.interval("trainable_parameters").mean


@dataclass(frozen=True)
class Decision:
    """The answer about settings that are cheaper than full fine-tuning."""

    margin: float
    full: Arm | None
    candidates: tuple[Candidate, ...]
    """The one with the fewest trainable parameters first."""
    closest: Candidate | None
    """The LoRA setting that is best on the validation part; where there is none, the best control."""

    @property
    def choice(self) -> Candidate | None:
        """The cheapest one within the margin; None where none is shown to be."""
        return next((candidate for candidate in self.candidates if candidate.holds), None)

    @property
    def sentence(self) -> str:
        """The answer."""
        if self.full is None or not self.candidates:
            return "There is no answer yet: it takes results of full fine-tuning and of a cheaper setting."
        margin = f"{self.margin:g} point" + ("" if self.margin == 1 else "s")
        if (choice := self.choice) is not None:
            many = count_text(_trained(self.full))
            return (
                f"The cheapest setting within {margin} of full fine-tuning at 95 % is {name_of(choice.arm)}, which "
                f"trains {count_text(choice.trained)} parameters instead of {many}: its accuracy is "
                f"{_off(choice.difference)}."
            )
        minimum = max(candidate.difference.min_seeds for candidate in self.candidates)
        seeds = max(len(candidate.difference.seeds) for candidate in self.candidates)
        if seeds < minimum:
            word = "seed" if seeds == 1 else "seeds"
            settings = "1 setting" if len(self.candidates) == 1 else f"{len(self.candidates)} settings"
            return (
                f"No setting can be shown to be within {margin} of full fine-tuning with {seeds} {word}: comparing "
                f"{settings} takes at least {minimum}."
            )
        closest = self.closest
        best = "the best on the validation part"
        words = f"; {best}, {name_of(closest.arm)}, is {_off(closest.difference)}" if closest else ""
        return f"No setting is shown to be within {margin} of full fine-tuning at 95 %{words}."

    @property
    def second_sentence(self) -> str:
        """What the setting of the answer reached, forgot and takes to store, beside full fine-tuning."""
        told = self.choice or self.closest
        if self.full is None or told is None:
            return ""
        arm, full = told.arm, self.full
        words = [
            f"{_first_upper(name_of(arm))} reached {_level(arm.interval('accuracy'))} on the test part and full "
            f"fine-tuning {_level(full.interval('accuracy'))}, so that a run of the former beats a run of the latter "
            f"in {round(100 * told.difference.win)} % of cases"
        ]
        if forgot := _forgetting(arm, full):
            words.append(forgot)
        if arm.values("adapter_bytes"):
            words.append(
                f"its adapter takes {bytes_text(arm.interval('adapter_bytes').mean)} instead of a checkpoint's "
                f"{bytes_text(full.interval('checkpoint_bytes').mean)}"
            )
        return f"{'; '.join(words)}."


def cheapest_within(runs: Iterable[Run], margin: float) -> Decision:
    """Compare every setting that trains fewer parameters with full fine-tuning, all together.

    A setting is within the margin where the sign-flip test and the BCa interval both say that it falls short by less,
    after Holm's correction for all that are looked at; see :func:`core.study.stats.claims.falls_short_by_less`.
    Accuracies are those of the test part.

    Args:
        runs: of one experiment; each method, rank and control is represented as :mod:`core.study.arms.choice` picks.
        margin: in points, 0 or above.
    """
    everything = list(runs)
    chosen = chosen_arms(everything)
    full = best_arm(everything, is_full)
    pairs = [(arm, other) for arm, other in against_full(chosen) if full is not None and other.key == full.key]
    cheaper = [(arm, other) for arm, other in pairs if _trained(arm) < _trained(other)]
    differences = paired_differences(cheaper, "accuracy")
    holds = falls_short_by_less(differences, margin)
    found = [Candidate(pair[0], d, ok) for pair, d, ok in zip(cheaper, differences, holds, strict=True)]
    known = {c.arm.key: c for c in found if math.isfinite(c.difference.interval.mean)}
    best = best_arm(everything, lambda setting: is_lora(setting) and setting.key in known)
    best = best or best_arm(everything, lambda setting: setting.key in known)
    ordered = sorted(found, key=lambda candidate: candidate.trained)
    return Decision(margin, full, tuple(ordered), known[best.key] if best is not None else None)


def name_of(arm: Arm) -> str:
    """An arm in a sentence, without the rate that was chosen for it."""
    return arm.spec.label if arm.method == "lora" else arm.spec.label.replace("Full", "full fine-tuning", 1).lower()


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _trained(arm: Arm) -> float:
    return arm.interval("trainable_parameters").mean


def _off(difference: Difference) -> str:
    seeds = f"{len(difference.seeds)} seed" + ("" if len(difference.seeds) == 1 else "s")
    mean = difference.interval.mean
    if not round(mean, 2):
        return f"the same on average ({span_text(difference.interval)}, {seeds})"
    side = "above" if mean > 0 else "below"
    return f"{number_text(abs(mean))} points {side} it ({span_text(difference.interval)}, {seeds})"


def _level(interval: Interval) -> str:
    if interval.n < 2:
        return percent(interval.mean)
    return f"{percent(interval.mean)} (95 % interval {number_text(interval.low)} to {number_text(interval.high)})"


def _forgetting(arm: Arm, full: Arm) -> str:
    """A clause on forgetting; empty where it was not measured or the source is the target."""
    masked = bool(arm.spec.source and arm.spec.source.classes)
    difference = paired_difference(arm, full, "forgetting_masked" if masked else "forgetting")
    if arm.spec.source == arm.spec.task or not math.isfinite(difference.interval.half_width):
        return ""
    among = ", judged among the source's classes" if masked else ""
    if difference.finding is Finding.NOT_SHOWN:
        observed = f"observed {points_text(difference.interval.mean)}, {span_text(difference.interval)}"
        return f"no difference in forgetting is shown{among} ({observed})"
    return f"it forgot {more_or_less(difference, 'of the source')}{among} ({span_text(difference.interval)})"
