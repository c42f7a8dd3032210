"""How thoroughly Home compares: which settings are trained, and whether their learning rates are searched for."""

from __future__ import annotations

from dataclasses import dataclass

from core.networks.network import NetworkSpec
from core.plan.course import LONGER
from core.plan.defaults import SIZES, default_settings
from core.plan.experiment import Setting
from core.plan.rate_grid import TuneSpec, default_search


@dataclass(frozen=True)
class Plan:
    """Which settings the button compares."""

    title: str
    caption: str
    ranks: tuple[int, ...]
    tuned: bool
    """Whether learning rates are searched for, each seed has a base of its own, and all train until they settle."""

    def settings(self, network: NetworkSpec) -> list[Setting]:
        """Full fine-tuning and LoRA of each rank, at their default learning rates."""
        longer = 1 if self.tuned or network.brought is not None else LONGER
        found = default_settings(network, self.ranks)
        return [(optim.but(epochs=longer * optim.epochs), method) for optim, method in found]

    def search(self, network: NetworkSpec) -> TuneSpec | None:
        """How learning rates are found; None where they are the default ones."""
        return default_search(network) if self.tuned else None


PLANS = {
    "thorough": Plan(
        "Thorough", "ranks 1, 4 and 16, the best learning rate found for each, trained until settled", SIZES, True
    ),
    "quick": Plan("Quick", "rank 4, one base, default learning rates; the answer holds at these", (4,), False),
}
