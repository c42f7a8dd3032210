"""Workers train as many runs together as are efficient and fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from core.data.sources.catalog import Catalog
from core.forecast import packing
from core.forecast.bank_memory import Sizes, bank_memory
from core.forecast.packing import FREE_SHARE
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from core.training.sharing import FULL_BANK, LORA_BANK
from tests.conftest import DIGITS, TURNED

CLASSES = tuple(range(10))
MNIST = Sizes(54_000, 6_000, 10_000, CLASSES)


def runs(count: int, rank: int | None, hidden: tuple[int, int] = (128, 256), batch: int = 64) -> list[RunSpec]:
    model = PerceptronSpec.of(num_hidden_1=hidden[0], num_hidden_2=hidden[1])
    optim, lora = OptimSpec.of(batch_size=batch), LoRASpec.of(rank=rank) if rank else None
    return [
        RunSpec.of(
            method=lora or "full", network=model, task=TURNED, source=DIGITS, base="r-base", optim=optim, seed=seed
        )
        for seed in range(count)
    ]


def bank_size(settings: Settings, specs: Sequence[RunSpec]) -> int:
    return packing.bank_size(specs, Tasks(Catalog(settings)), settings)


def sizes(settings: Settings) -> list[Sizes]:
    tasks = Tasks(Catalog(settings))
    return [Sizes.of(tasks.outline(spec)) for spec in (TURNED, DIGITS)]


def test_usual_runs_are_trained_in_full_banks(settings: Settings) -> None:
    assert bank_size(settings, runs(40, 4)) == LORA_BANK
    assert bank_size(settings, runs(40, None)) == FULL_BANK
    for specs in (runs(LORA_BANK, 4), runs(FULL_BANK, None)):
        assert bank_memory(specs, MNIST, MNIST) < settings.bank_bytes / 10


@pytest.mark.parametrize(("rank", "batch"), [(4, 64), (16, 8192), (None, 64), (None, 8192)])
def test_a_bank_is_cut_to_what_fits(settings: Settings, rank: int | None, batch: int) -> None:
    specs = runs(40, rank, (512, 512), batch)
    for limit in (2**20, 120 * 2**20, 250 * 2**20):
        count = bank_size(replace(settings, bank_bytes=limit), specs)
        assert count == 1 or bank_memory(specs[:count], *sizes(settings)) <= limit
        full = LORA_BANK if rank else FULL_BANK
        assert count == full or bank_memory(specs[: count + 1], *sizes(settings)) > limit


def test_a_bank_is_cut_to_the_memory_that_is_free(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = runs(40, 4, (512, 512), 1024)
    free = 600 * 2**20
    monkeypatch.setattr(packing, "free_bytes", lambda device: free)
    count = bank_size(settings, specs)
    assert 1 < count < LORA_BANK
    assert bank_memory(specs[:count], *sizes(settings)) <= FREE_SHARE * free
    assert 1 <= bank_size(replace(settings, workers=2), specs) < count
    monkeypatch.setattr(packing, "free_bytes", lambda device: 0)
    assert bank_size(settings, specs) == 1


def test_the_largest_rank_in_a_bank_counts(settings: Settings) -> None:
    low, high = (bank_memory(runs(8, rank, (512, 512)), MNIST, MNIST) for rank in (4, 256))
    mixed = bank_memory(runs(7, 4, (512, 512)) + runs(8, 256, (512, 512))[7:], MNIST, MNIST)
    assert low < mixed < high


def test_a_shard_may_leave_the_first_adapted_layer_of_its_bank_as_it_is() -> None:
    first = runs(1, 1)[0]
    specs = [
        first.but(method=LoRASpec.of(rank=rank, target_modules=(targets,)))
        for targets in ("layers.4", "all-linear")
        for rank in (1, 2, 4, 8)
    ]
    assert bank_memory(specs, MNIST, MNIST) == pytest.approx(bank_memory(specs[::-1], MNIST, MNIST), rel=0.1)


def test_runs_of_a_dataset_that_is_not_there_are_taken_and_fail_later(settings: Settings) -> None:
    specs = [spec.but(task=TURNED.but(dataset="gone")) for spec in runs(3, 4)]
    assert bank_size(settings, specs) == 3
