"""More settings for an experiment: ranks, methods and learning rates beside those that it has."""

from __future__ import annotations

from collections.abc import Sequence

from core.methods.method import Role
from core.methods.registry import method_of
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.plan.experiment import Recipe, with_ranks
from core.plan.search import tuned_arms
from core.results.choice import comparisons_of, winners
from core.results.epochs import most_epochs
from core.results.length import LONGER
from core.results.rates import are_neighbors, grid_rate, neighbors_of
from core.results.row import Row
from core.rule.tuning import rate_choices
from core.run_spec import default_rate, optim_for

RATES_OFFERED = tuple(grid_rate(k) for k in range(-12, 0))
"""Learning rates that sweeps try and experiments can be grown by: the points of the grid from 0.0000316 to 0.316."""


def longer(rows: Sequence[Row]) -> list[Recipe]:
    """The settings of an answer and their neighboring learning rates, for three times as many epochs as the most that
    were tried.

    Args:
        rows: of an experiment; where its rates are searched for, a search finds the neighbors.

    Returns:
        Settings that are to be added; none where nothing was chosen.

    Raises:
        SpecError: that many epochs are out of bounds.
    """
    found: list[Recipe] = []
    for arms in comparisons_of(rows):
        for arm in winners(arms):
            alike = [other for other in arms if other.setting.group == arm.setting.group]
            group = sorted(alike, key=lambda other: other.learning_rate)
            place = [other.key for other in group].index(arm.key)
            around = [arm] if arm.rows[0].plan is not None else group[max(0, place - 1) : place + 2]
            if arm.role in (Role.REFERENCE, Role.ADAPTER):
                epochs = LONGER * most_epochs(arm)
                found += [(other.spec.optim.but(epochs=epochs, patience=0), other.spec.method) for other in around]
    return list(dict.fromkeys(found))


def rates_beside(rows: Sequence[Row]) -> tuple[float, ...]:
    """The neighbors of chosen learning rates that were not tried, ascending: beyond a chosen one that is the first or
    last of those tried, and where none of these is half a decade away. What is searched for is found by the search.
    """
    found = set[float]()
    for choice in rate_choices(rows):
        if choice.ranked and not choice.is_searched and choice.arm.role in (Role.REFERENCE, Role.ADAPTER):
            rate = choice.arm.learning_rate
            above = {other > rate for other in choice.tried if are_neighbors(other, rate)}
            found |= {beside for beside in neighbors_of(rate) if (beside > rate) not in above}
    return tuple(sorted(found))


def extended(
    settings: Sequence[Recipe],
    ranks: Sequence[int] = (),
    kinds: Sequence[str] = (),
    rates: Sequence[float] = (),
    network: NetworkSpec | None = None,
) -> list[Recipe]:
    """The settings of an experiment with more ranks, methods and learning rates, each budget kept equal.

    A new rank gets every alpha and learning rate that adapters have, and so does a new method with adapters at every
    rank; full fine-tuning and a new control get as many rates as the first setting's method has, of the grid around
    their own; a new learning rate is tried by every method and rank.

    Args:
        settings: of the experiment, at least one.
        ranks: to add for adapters.
        kinds: of methods and controls to add, full fine-tuning among them.
        rates: learning rates to add.
        network: the base's, whose family has default rates of its own; None for the first family.

    Returns:
        The old settings first; no setting occurs twice.

    Raises:
        SpecError: a rank or rate is out of bounds.
    """
    known = [*settings, *with_ranks(settings, ranks, network)]
    optim = settings[0][0]
    tried = len({optim.learning_rate for optim, method in settings if method == settings[0][1]})
    for kind in kinds:
        method = method_of(kind)
        rate = default_rate(method, network or FAMILIES[0])
        own: list[Recipe] = [(optim_for(method, optim.but(learning_rate=rate)), method)]
        like = [(optim, adapter) for optim, adapter in known if adapter.role is Role.ADAPTER]
        if method.role is Role.ADAPTER and like:
            known += [(optim, method.with_settings_of(adapter)) for optim, adapter in like]
        else:
            known += tuned_arms(own, tried) if tried > 1 else own
    known += [(optim.but(learning_rate=rate), method) for rate in rates for optim, method in known]
    return list(dict.fromkeys(known))
