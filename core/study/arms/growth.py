"""More settings for an experiment: ranks, controls and learning rates beside those that it has."""

from __future__ import annotations

from collections.abc import Sequence

from core.engine.experiment import Setting, with_ranks
from core.spec import CONTROL_RATES, Control
from core.study.arms.tuning import TuneSpec, grid_rate, tuned_arms

RATES_OFFERED = tuple(grid_rate(k) for k in range(-9, 0))
"""Learning rates that can be added: the points of the grid from 0.0000316 to 0.316."""


def extended(
    settings: Sequence[Setting],
    ranks: Sequence[int] = (),
    controls: Sequence[Control] = (),
    rates: Sequence[float] = (),
) -> list[Setting]:
    """The settings of an experiment with more ranks, controls and learning rates, each budget kept equal.

    A new rank gets every alpha and learning rate that LoRA has; a new control as many rates as full fine-tuning has, of
    the grid around its own; a new learning rate is tried by every method and rank.

    Args:
        settings: of the experiment, at least one.
        ranks: to add for LoRA.
        controls: to add.
        rates: learning rates to add.

    Returns:
        The old settings first; no setting occurs twice.

    Raises:
        SpecError: a rank or rate is out of bounds.
    """
    known = [*settings, *with_ranks(settings, ranks)]
    optim = settings[0][0]
    tried = len({optim.learning_rate for optim, kind in settings if kind == settings[0][1]})
    for control in controls:
        own: list[Setting] = [(optim.but(learning_rate=CONTROL_RATES[control]), control)]
        known += tuned_arms(own, TuneSpec.of(rates=tried)) if tried > 1 else own
    known += [(optim.but(learning_rate=rate), kind) for rate in rates for optim, kind in known]
    return list(dict.fromkeys(known))
