"""The experiment in which a method that only tests know stands beside full fine-tuning and LoRA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

from core.lab import Lab, close_lab, open_lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.registry import METHODS
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Experiment, Run
from tests.conftest import DIGITS, TURNED, finish, short
from tests.methods.rescaled import RescaledSpec

SLOW, FAST = short(epochs=2, rate=0.001), short(epochs=2, rate=0.02)
WIDE, SHARED = RescaledSpec.of(), RescaledSpec.of(group=16, spread=0.1, target_modules=("layers.0", "layers.2"))
ARMS = [(SLOW, FullSpec()), (FAST, LoRASpec.of(rank=2)), (FAST, WIDE), (FAST, SHARED)]


@pytest.fixture(scope="module")
def registered() -> Iterator[None]:
    METHODS.append(RescaledSpec)
    yield
    METHODS.remove(RescaledSpec)


@dataclass(frozen=True)
class Done:
    """A lab with the finished experiment."""

    lab: Lab
    base: Run
    experiment: Experiment
    runs: tuple[Run, ...]

    def of(self, label: str, seed: int = 0) -> Run:
        return next(run for run in self.runs if (run.spec.label, run.spec.seed) == (label, seed))

    def path(self, label: str, name: str) -> Path:
        return self.lab.artifacts.path(self.of(label).id, name)

    @property
    def pixels(self) -> Tensor:
        return self.lab.tasks.get(TURNED).test.all_pixels()


@pytest.fixture(scope="module")
def done(registered: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    close_lab()
    lab = open_lab(Settings(home=tmp_path_factory.mktemp("home"), max_waiting=40, threads=1))
    (base,) = finish(lab, lab.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=3))).id)
    experiment = lab.fine_tune(base, TURNED, ARMS, seeds=[0, 1])
    runs = finish(lab, *experiment.runs)
    assert [(run.state, run.cause) for run in runs] == [("finished", None)] * 8
    yield Done(lab, base, experiment, tuple(runs))
    close_lab()
