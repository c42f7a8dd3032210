"""A study of epochs that was trained to its end, and an axis that only tests know."""

from __future__ import annotations

from pathlib import Path

from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.network import NetworkSpec
from core.plan.axes import Axis, Point, VarySpec
from core.plan.configuration import Configuration, preset_configuration
from core.plan.search import TuneSpec
from core.run_spec import OptimSpec
from core.settings import Settings
from tests.conftest import short, training_lab
from tests.launching import compare
from tests.searched_home import ended

SEEDS = 7
"""Number of seeds: the fewest that a claim takes."""

POINTS = (1, 2)
ARMS = [(short(rate=0.00316), FullSpec()), (short(rate=0.01), LoRASpec.of(rank=2))]


class RotationAxis(Axis):
    """How far images are rotated: an axis that only tests know."""

    name, question, title = "rotation", "How far?", "Rotation"
    line = "The rotation of every image, in degrees."
    replaces = "rotation"

    def usual(self, network: NetworkSpec, optim: OptimSpec) -> tuple[Point, ...]:
        return 15, 45

    def point(self, text: str, network: NetworkSpec) -> Point:
        return int(text)

    def text(self, point: Point) -> str:
        return f"{point} degrees"

    def task(self, task: TaskSpec, point: Point) -> TaskSpec:
        return task.but(rotation=float(point))


def study_asked(
    lab: Lab, name: str = "epochs", points: tuple[Point, ...] = POINTS, seeds: int = SEEDS
) -> Configuration:
    """A study on a few digits."""
    more = {"tune": TuneSpec.of(), "vary": VarySpec.of(name=name, points=points), "shots": 20}
    return preset_configuration(lab.catalog, "rotation-45", "digits", None, short(epochs=3), ARMS, range(seeds), **more)


def make_study(folder: Path) -> None:
    """Train the study in a home folder within this one."""
    with training_lab(Settings(folder / "home", threads=1)) as lab:
        ended(lab, compare(lab, study_asked(lab)))
