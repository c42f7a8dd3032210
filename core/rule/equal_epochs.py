"""An adapter setting beside full fine-tuning at equal numbers of epochs, where the chosen ones differ.

The answer compares each method at its own number of epochs. What is left of the difference where both have as many, the
more and the fewer of the two, is described here and never tested.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.results.arm import Arm
from core.results.epochs import at_epochs, common_seeds
from core.results.results import Outcomes
from core.rule.claims import Difference
from core.rule.differences import differences_between, seen_difference
from core.rule.tuning import name_in_sentence


@dataclass(frozen=True, eq=False)
class AtEpochs:
    """Both after one number of epochs, each at its best learning rate there."""

    epochs: int
    missing: tuple[str, ...]
    """Names of those that were not trained for as many."""
    difference: Difference | None
    """The setting minus full fine-tuning; None where one is missing or they share no seed."""


def at_equal_epochs(arm: Arm, full: Arm, tested: Outcomes) -> tuple[AtEpochs, ...]:
    """Both at the fewer and at the more epochs of the two; none where they have as many.

    Args:
        arm: the adapter setting, as it was chosen.
        full: full fine-tuning, also chosen.
        tested: has the measure of each test example of a run.
    """
    both = sorted({arm.setting.epochs, full.setting.epochs})
    return tuple(_at(epochs, arm, full, tested) for epochs in both) if len(both) > 1 else ()


def _at(epochs: int, arm: Arm, full: Arm, tested: Outcomes) -> AtEpochs:
    ours, theirs = at_epochs(arm, epochs), at_epochs(full, epochs)
    pairs = ((arm, ours), (full, theirs))
    missing = tuple(name_in_sentence(own.setting.label) for own, found in pairs if found is None)
    if ours is None or theirs is None or not (seeds := common_seeds([ours, theirs])):
        return AtEpochs(epochs, missing, None)
    return AtEpochs(epochs, (), seen_difference(ours, theirs, seeds, differences_between(ours, theirs, seeds, tested)))
