"""How long a method trains: which numbers of epochs are tried, and which one is chosen.

Epochs are found as learning rates are, for each method and rank by itself, by the mean of the primary measure on the
validation part over the seeds of the search, each number of epochs at its own best rate. Chosen are the fewest epochs
that are within half a margin of the best. While these are the most or the fewest that were tried, three times as many,
or a third of them, are tried as well. The best epoch of one long run is no number of epochs that was tried: the maximum
over more evaluations can only rise with their noise, so that longer runs would always win.

Where three times as many were not tried, the trend of the runs bounds what they would add (:func:`gain`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from core.plan.search import SETTLED_DIGITS
from core.run_spec import OptimSpec
from core.spec import bounds
from core.store.record import Run

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


def next_epochs(tried: Collection[int], chosen: int, asked: int, thirds: int, times: int) -> int | None:
    """The number of epochs to be tried next; None where the chosen one lies between others, or no other may be tried.

    Args:
        tried: all that were tried.
        chosen: of these, by :func:`fewest_good`.
        asked: number of epochs that the search began with.
        thirds: how many times it may train for a third of that.
        times: how many times it may triple that.
    """
    more, fewer, least = LONGER * chosen, third(chosen), asked
    for _ in range(thirds):
        least = third(least)
    if chosen == max(tried) and more <= asked * LONGER**times and can_be_longer(chosen):
        return more
    return fewer if chosen == min(tried) and least <= fewer < chosen else None


def can_be_longer(epochs: int) -> bool:
    """Whether runs can take three times as many epochs."""
    return LONGER * epochs <= (bounds(OptimSpec, "epochs").high or math.inf)


def can_tell(optim: OptimSpec, has_shorter: bool) -> bool:
    """Whether runs with these settings tell what longer ones would gain.

    Args:
        optim: of the runs.
        has_shorter: whether there are others with a third of their epochs.
    """
    if optim.patience:
        return False
    return optim.epochs >= MIN_EPOCHS if optim.decay == "constant" else has_shorter


def gain(run: Run, shorter: Run | None = None) -> float | None:
    """What three times the epochs would add to the primary measure on the validation part, positive where it gets
    better; None where that is not known.

    Where the learning rate is constant, the run's own curve says it: its trend over the last two thirds of the epochs.
    A rate that decays to zero belongs to its number of epochs, so that its curve says nothing of longer ones: there a
    run with a third of the epochs does. A run that stopped by its own patience stopped where its curve happened to be
    flat, which says nothing either.

    Args:
        run: finished.
        shorter: of a learning rate that decays, a finished run of the same seed with a third of the epochs.
    """
    optim, objective = run.spec.optim, run.spec.objective
    if run.result is None or not can_tell(optim, shorter is not None):
        return None
    if optim.decay == "constant":
        known = (run.result.trends or {}).get(objective.validated)
    else:
        values = run.validated, shorter.validated if shorter is not None else None
        known = values[0] - values[1] if values[0] is not None and values[1] is not None else None
    return objective.primary.sign * known if known is not None and math.isfinite(known) else None
