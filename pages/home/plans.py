"""How thoroughly Home compares: which settings are trained, and whether their learning rates are searched for."""

from __future__ import annotations

from dataclasses import dataclass

from core.networks.network import NetworkSpec
from core.numbers import counted
from core.plan.defaults import SIZES, default_settings, is_quick_first
from core.plan.experiment import Recipe
from core.plan.search import TuneSpec, default_search
from core.results.intervals import DEFAULT_SEEDS
from core.rule.spending import CLAIM_SEEDS


@dataclass(frozen=True)
class Plan:
    """Which settings the button compares."""

    title: str
    tuned: bool
    """Whether learning rates are searched for, each seed has a base of its own, and all train until they settle."""

    def caption(self, network: NetworkSpec) -> str:
        """What is compared, in a line."""
        if self.tuned:
            return "ranks 1, 4 and 16, the best learning rate and number of epochs found for each"
        count = self.seeds(network)
        seeds = "" if count == DEFAULT_SEEDS else f"{counted(count, 'seed')}, "
        few = f", and “probably” is the most that {count} seeds can say" if count < CLAIM_SEEDS else ""
        base = "" if network.brought is not None else "one base, "
        return f"rank {network.quick.rank}, {seeds}{base}default learning rates; the answer holds at these{few}"

    def seeds(self, network: NetworkSpec) -> int:
        """With how many seeds each setting is trained."""
        return DEFAULT_SEEDS if self.tuned else network.quick.seeds

    def settings(self, network: NetworkSpec) -> list[Recipe]:
        """Full fine-tuning and LoRA of each rank, at their default learning rates."""
        if self.tuned:
            return default_settings(network, SIZES)
        found = default_settings(network, (network.quick.rank,))
        return [(optim.but(epochs=round(network.quick.times * optim.epochs)), method) for optim, method in found]

    def search(self, network: NetworkSpec) -> TuneSpec | None:
        """How learning rates are found; None where they are the default ones."""
        return default_search(network) if self.tuned else None


PLANS = {"thorough": Plan("Thorough", True), "quick": Plan("Quick", False)}


def usual_plan(network: NetworkSpec) -> str:
    """Which of :data:`PLANS` is chosen at first."""
    return "quick" if is_quick_first(network) else "thorough"
