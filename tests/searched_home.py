"""An experiment whose learning rates are searched for, and that trains longer since one epoch tells nothing of more."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.configuration import Configuration, preset_configuration
from core.plan.search import TuneSpec
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.settings import Settings
from core.store.record import Experiment, Run, is_under_way
from tests.conftest import short, training_lab, wait_until
from tests.launching import compare

SEEDS = 4
ARMS = [(short(rate=0.001), FullSpec()), (short(rate=0.00316), LoRASpec.of(rank=2))]
"""Rates from which full fine-tuning finds its best at once, and LoRA after some more."""


def asked(lab: Lab, **more: object) -> Configuration:
    values: dict[str, object] = {"tune": TuneSpec.of(longer=1)} | more
    return preset_configuration(
        lab.catalog, "rotation-45", "digits", None, short(epochs=3), ARMS, range(SEEDS), **values
    )


def ended(lab: Lab, experiment: Experiment) -> list[Run]:
    """The runs, once nothing more comes by itself."""
    wait_until(lambda: not is_under_way(lab.store.members(experiment)))
    return lab.store.members(experiment)


def trained(runs: list[Run]) -> Counter[tuple[str, int, float, int]]:
    """Method, number of epochs, learning rate and seed of each run that has finished."""
    return Counter(
        (run.spec.label, run.spec.optim.epochs, run.spec.optim.learning_rate, run.spec.seed)
        for run in runs
        if run.state == "finished"
    )


def chosen(runs: list[Run]) -> set[str]:
    return {arm.label for arm in chosen_arms(rows_of(runs))}


def check_found_the_same(runs: list[Run], undisturbed: tuple[Lab, Experiment]) -> None:
    """Assert that a search has ended, and has trained and chosen what one did that nothing disturbed."""
    there, experiment = undisturbed
    assert {run.plan for run in runs} == {"complete"}
    assert trained(runs) == trained(there.store.members(experiment))
    assert chosen(runs) == chosen(there.store.members(experiment))


@contextmanager
def trained_on(home: Path, of: tuple[Lab, Experiment]) -> Iterator[tuple[Lab, Experiment]]:
    """A lab that trains with a copy of the home folder of another lab. Args: home: where to copy it."""
    there, experiment = of
    shutil.copytree(there.settings.home, home)
    with training_lab(Settings(home, threads=1, settle_seconds=0.2)) as lab:
        yield lab, experiment


def search(folder: Path) -> None:
    with training_lab(Settings(folder / "home", threads=1)) as lab:
        ended(lab, compare(lab, asked(lab)))
