"""What longer training would add to a run: the evidence on which a setting counts as trained well, or trains longer.

Where the learning rate is constant, the run's own curve says it: its trend over the last two thirds of the epochs. A
rate that decays to zero belongs to its number of epochs, so that its curve says nothing of longer ones: there a run
with a third of the epochs does. Where a run stopped by its own patience, it stopped where its curve happened to be
flat, which says nothing either.
"""

from __future__ import annotations

import math

from core.run_spec import OptimSpec
from core.spec import bounds
from core.store.record import Run

LONGER = 3
"""Factor on the number of epochs by which training is made longer."""

MIN_EPOCHS = 10
"""Minimum number of epochs whose trend says something: fewer were not simulated."""


def can_be_longer(optim: OptimSpec) -> bool:
    """Whether runs can take three times as many epochs. Args: optim: of the runs."""
    return LONGER * optim.epochs <= (bounds(OptimSpec, "epochs").high or math.inf)


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
