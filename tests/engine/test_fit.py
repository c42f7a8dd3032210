"""Runs that do not fit in memory: which, and what would make them fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from core.data.dataset import TextDataset
from core.data.task_spec import TaskSpec
from core.forecast.fit import shortage
from core.forecast.memory import memory_of
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.perceptron import PerceptronSpec
from core.plan.configuration import Configuration
from core.reader import reading_here
from core.run_spec import RunSpec
from core.settings import Settings
from tests.conftest import DIGITS, short
from tests.networks.tiny import save_tiny

TASK = TaskSpec.of(dataset="long", length=64)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """With a tiny network and texts of sixty words; it trains nothing."""
    folder = tmp_path_factory.mktemp("fit")
    lab = Lab(Settings(home=folder / "home"))
    texts, labels = ("cat " * 60, "dog " * 60) * 10, np.array([0, 1] * 10)
    lab.catalog.keep(TextDataset("upload", texts, labels, texts, labels, ("cat", "dog")), "long")
    with reading_here():
        lab.networks.import_folder(save_tiny(folder / "tiny", max_position_embeddings=128), "tiny")
        yield lab
    lab.store.close()


def runs(lab: Lab, *methods: MethodSpec, batch: int = 128) -> list[RunSpec]:
    network = lab.networks.spec(lab.networks.list()[0].digest)
    arms = [(short(batch_size=batch), method) for method in methods]
    return list(lab.planned(Configuration.on(network, TASK, arms, range(2), device="cpu")).runs)


def test_what_fits_is_not_spoken_of(lab: Lab) -> None:
    specs = runs(lab, FullSpec(), LoRASpec.of(rank=2))
    assert shortage(specs, lab.tasks, max(memory_of([spec], lab.tasks) for spec in specs)) is None


def test_every_change_that_is_named_makes_all_runs_fit(lab: Lab) -> None:
    specs = runs(lab, LoRASpec.of(rank=2), LoRASpec.of(rank=8))
    needed = max(memory_of([spec], lab.tasks) for spec in specs)
    found = shortage(specs, lab.tasks, needed - 1)
    assert found is not None
    assert (found.label, found.memory, found.free) == ("LoRA r=8", needed, needed - 1)
    assert {change.field for change in found.changes} == {"accumulation", "length", "blocks"}
    for change in found.changes:
        assert change.memory <= needed - 1
        assert change.clause in found.advice
    parts = next(change.value for change in found.changes if change.field == "accumulation")
    changed = [spec.but(optim=spec.optim.but(accumulation=parts)) for spec in specs]
    assert shortage(changed, lab.tasks, needed - 1) is None
    length = next(change.value for change in found.changes if change.field == "length")
    changed = [spec.but(task=spec.task.but(length=length)) for spec in specs]
    assert shortage(changed, lab.tasks, needed - 1) is None


def test_arms_that_fit_as_they_are_are_named(lab: Lab) -> None:
    specs = runs(lab, FullSpec(), LoRASpec.of(rank=1))
    full, lora = (memory_of([spec], lab.tasks) for spec in specs[:2])
    assert lora < full
    found = shortage(specs, lab.tasks, lora)
    assert found is not None
    assert found.label == "Full"
    assert found.fitting == ("LoRA r=1",)


def test_where_nothing_is_enough_nothing_is_named(lab: Lab) -> None:
    found = shortage(runs(lab, FullSpec()), lab.tasks, 1)
    assert found is not None
    assert found.changes == found.fitting == ()


def test_a_perceptron_is_offered_no_parts_of_a_batch(lab: Lab) -> None:
    spec = RunSpec.of(method="pretrain", network=PerceptronSpec.of(num_classes=10), task=DIGITS)
    found = shortage([spec], lab.tasks, 1000)
    assert found is not None
    assert found.changes == ()
