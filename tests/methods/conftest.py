"""The experiment in which a method that only tests know stands beside full fine-tuning and LoRA."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.registry import METHODS
from core.run_spec import RunSpec
from tests.conftest import DIGITS, short
from tests.extended import Done, experiment_done
from tests.methods.rescaled import RescaledSpec
from tests.registered import with_entry

SLOW, FAST = short(epochs=2, rate=0.001), short(epochs=2, rate=0.02)
WIDE, SHARED = RescaledSpec.of(), RescaledSpec.of(group=16, spread=0.1, target_modules=("layers.0", "layers.2"))
ARMS = [(SLOW, FullSpec()), (FAST, LoRASpec.of(rank=2)), (FAST, WIDE), (FAST, SHARED)]


@pytest.fixture(scope="module")
def registered() -> Iterator[None]:
    with with_entry(METHODS, RescaledSpec):
        yield


@pytest.fixture(scope="module")
def done(registered: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    base = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=3))
    yield from experiment_done(tmp_path_factory.mktemp("method"), base, ARMS)
