"""How long a setting trains: numbers of epochs a factor of three apart, the one that is chosen, what more would add."""

from __future__ import annotations

import math
from collections.abc import Mapping

from core.results.rates import SETTLED_DIGITS
from core.results.row import Row
from core.run_spec import OptimSpec
from core.spec import bounds

LONGER = 3
"""Factor between two numbers of epochs that are tried."""

MIN_EPOCHS = 10
"""Minimum number of epochs whose trend says something: fewer were not simulated."""


def third(epochs: int) -> int:
    """A third of a number of epochs, rounded, at least one."""
    return max(1, round(epochs / LONGER))


def is_third(fewer: int, more: int) -> bool:
    """Whether one number of epochs is about a third of another, as far as whole numbers can be."""
    return fewer < more and (more == LONGER * fewer or fewer == third(more))


def fewest_good(means: Mapping[int, float], margin: float, sign: float) -> int | None:
    """The number of epochs that is chosen: the fewest within half a margin of the best; None without any.

    Args:
        means: of the primary measure on the validation part, by number of epochs.
        margin: of the experiment.
        sign: 1 where a higher measure is better, −1 where a lower one is.
    """
    best = max((sign * mean for mean in means.values()), default=math.inf)
    good = [epochs for epochs, mean in means.items() if round(best - sign * mean - margin / 2, SETTLED_DIGITS) <= 0]
    return min(good, default=None)


def can_be_longer(epochs: int) -> bool:
    """Whether runs can take three times as many epochs."""
    return LONGER * epochs <= (bounds(OptimSpec, "epochs").high or math.inf)


def gain(row: Row, shorter: Row | None = None) -> float | None:
    """What three times the epochs would add to the primary measure on the validation part, positive where it gets
    better; None where that is not known.

    Where the learning rate is constant, the run's own curve says it: its trend over the last two thirds of the epochs.
    A rate that decays to zero belongs to its number of epochs, so that its curve says nothing of longer ones: there a
    run with a third of the epochs does. A run that stopped by its own patience stopped where its curve happened to be
    flat, which says nothing either.

    Args:
        row: finished.
        shorter: of a learning rate that decays, a finished row of the same seed with a third of the epochs.
    """
    setting, objective = row.setting, row.objective
    if not row.has_result or setting.patience:
        return None
    if setting.decay == "constant":
        if setting.epochs < MIN_EPOCHS:
            return None
        known = row.trends.get(objective.validated)
    else:
        values = row.validated, shorter.validated if shorter is not None else None
        known = values[0] - values[1] if values[0] is not None and values[1] is not None else None
    return objective.primary.sign * known if known is not None and math.isfinite(known) else None
