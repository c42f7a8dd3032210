"""One experiment, trained once for all tests that only read it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.search import tuned_arms
from core.settings import Settings
from core.store.record import Experiment
from tests.conftest import compared, short, wait_until


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Experiment]]:
    """Full, two ranks and all controls, at two learning rates each, with three seeds that have bases of their own."""
    lab = Lab(Settings(home=tmp_path_factory.mktemp("studied")))
    lab.start()
    arms = [
        (short(rate=0.001), FullSpec()),
        (short(), LoRASpec.of(rank=1)),
        (short(), LoRASpec.of(rank=4)),
        (short(), "head"),
        (short(rate=0.01), "biases"),
        (short(rate=0.001), "scratch"),
    ]
    asked = ("rotation-45", "digits", None, short(rate=0.001), tuned_arms(arms, 2), range(3))
    experiment = compared(lab, *asked, own_bases=True)
    wait_until(lambda: not lab.live())
    # Its threads end here; what lies in the store is read without them.
    lab.close()
    yield lab, experiment
    lab.store.close()
