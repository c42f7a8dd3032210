"""Accuracies of networks that are measured again, and arms cut to a rank."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.objectives.objective import ObjectiveSpec
from core.results.intervals import Interval, t_interval


@dataclass(frozen=True)
class Accuracies:
    """The primary measure of one network on target and source; of the source None where it was not measured."""

    target: float
    source: float | None
    source_masked: float | None
    """Choosing only among the source's classes."""


@dataclass
class CutArm:
    """Full fine-tuning whose ΔW was cut to a rank after training, one value per seed; a reference, not a run."""

    rank: int
    objective: ObjectiveSpec
    """Of the runs that were cut."""
    by_seed: dict[int, Accuracies] = field(default_factory=dict)
    """On the test parts, by seed."""

    @property
    def label(self) -> str:
        """Name of the reference, as in ``Full, ΔW cut to r=4``."""
        return f"Full, ΔW cut to r={self.rank}"

    @property
    def target(self) -> Interval:
        """The primary measure on the target, mean and 95 % interval over the seeds."""
        return t_interval([found.target for found in self.by_seed.values()])

    def source(self, masked: bool) -> Interval:
        """The same on the source, mean and 95 % interval over the seeds; n = 0 where there is none."""
        found = [s.source_masked if masked else s.source for s in self.by_seed.values()]
        return t_interval([value for value in found if value is not None])
