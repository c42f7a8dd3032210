"""Peak memory of runs that are trained together: what makes it grow, and how many fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_memory import step_bytes
from core.forecast import memory, packing
from core.forecast.memory import OVERHEAD, Sizes, memory_for, memory_of
from core.forecast.packing import FREE_SHARE
from core.methods.adapted import adapted_layers
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.linear import count_parameters
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.perceptron import PerceptronSpec
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from core.training.frozen import frozen_blocks, texts_of
from core.training.sharing import FULL_BANK, LORA_BANK
from core.training.threads import available_cores
from tests.conftest import DIGITS, TURNED
from tests.training.tiny_texts import spec_of, task_of

MNIST = Sizes(54_000, (6_000, 10_000) * 2)
BERT = spec_of("bert", layers=2, max_position_embeddings=512)


def runs(count: int, rank: int | None, hidden: tuple[int, int] = (128, 256), batch: int = 64) -> list[RunSpec]:
    model = PerceptronSpec.of(num_hidden_1=hidden[0], num_hidden_2=hidden[1])
    method, optim = LoRASpec.of(rank=rank) if rank else "full", OptimSpec.of(batch_size=batch)
    spec = RunSpec.of(method=method, network=model, task=TURNED, source=DIGITS, base="r-base", optim=optim)
    return [spec.but(seed=seed) for seed in range(count)]


def bank_size(settings: Settings, specs: Sequence[RunSpec]) -> int:
    return packing.bank_size(specs, Tasks(Catalog(settings)), settings)


def test_usual_runs_are_trained_in_full_banks(settings: Settings) -> None:
    assert bank_size(settings, runs(40, 4)) == LORA_BANK
    assert bank_size(settings, runs(40, None)) == FULL_BANK
    for specs in (runs(LORA_BANK, 4), runs(FULL_BANK, None)):
        assert memory_for(specs, MNIST) < settings.bank_bytes / 10


@pytest.mark.parametrize(("rank", "batch"), [(4, 64), (16, 8192), (None, 64), (None, 8192)])
def test_a_bank_is_cut_to_what_fits(settings: Settings, rank: int | None, batch: int) -> None:
    specs, tasks = runs(40, rank, (512, 512), batch), Tasks(Catalog(settings))
    for limit in (2**20, 120 * 2**20, 250 * 2**20):
        count = bank_size(replace(settings, bank_bytes=limit), specs)
        assert count == 1 or memory_of(specs[:count], tasks) <= limit
        full = LORA_BANK if rank else FULL_BANK
        assert count == full or memory_of(specs[: count + 1], tasks) > limit


def test_a_bank_is_cut_to_the_memory_that_is_free(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    specs, tasks = runs(40, 4, (512, 512), 1024), Tasks(Catalog(settings))
    free = 600 * 2**20
    monkeypatch.setattr(packing, "free_bytes", lambda device: free)
    count = bank_size(settings, specs)
    assert 1 < count < LORA_BANK
    assert memory_of(specs[:count], tasks) <= FREE_SHARE * free
    assert 1 <= bank_size(replace(settings, workers=2), specs) < count
    monkeypatch.setattr(packing, "free_bytes", lambda device: 0)
    assert bank_size(settings, specs) == 1


def test_the_largest_rank_in_a_bank_counts(settings: Settings) -> None:
    low, high = (memory_for(runs(8, rank, (512, 512)), MNIST) for rank in (4, 256))
    mixed = memory_for(runs(7, 4, (512, 512)) + runs(8, 256, (512, 512))[7:], MNIST)
    assert low < mixed < high


def test_a_bank_keeps_for_each_base_what_its_members_share(settings: Settings) -> None:
    """Frozen outputs of the first layer for every image, W in the order of its transpose, buffers of a shard."""
    one = [spec.but(own_base=True, seed=0) for spec in runs(8, 4)]
    kept = [memory_for([spec.but(seed=k % bases) for k, spec in enumerate(one)], MNIST) for bases in (1, 2, 4)]
    images = MNIST.train + sum(MNIST.held_out)
    outputs = 4 * images * PerceptronSpec.of().num_hidden_1
    assert outputs < kept[1] - kept[0] < 1.2 * outputs
    assert kept[2] - kept[1] == pytest.approx(2 * (kept[1] - kept[0]), rel=0.1)
    full = memory_for([spec.but(own_base=True, seed=k) for k, spec in enumerate(runs(4, None))], MNIST)
    assert full == pytest.approx(memory_for(runs(4, None), MNIST), rel=0.1)


def test_a_shard_may_leave_the_first_adapted_layer_of_its_bank_as_it_is() -> None:
    first = runs(1, 1)[0]
    specs = [
        first.but(method=LoRASpec.of(rank=rank, target_modules=(targets,)))
        for targets in ("layers.4", "all-linear")
        for rank in (1, 2, 4, 8)
    ]
    assert memory_for(specs, MNIST) == pytest.approx(memory_for(specs[::-1], MNIST), rel=0.1)


def test_runs_of_a_dataset_that_is_not_there_are_taken_and_fail_later(settings: Settings) -> None:
    specs = [spec.but(task=TURNED.but(dataset="gone")) for spec in runs(3, 4)]
    assert bank_size(settings, specs) == 3


def on_texts(count: int, method: MethodSpec, tokens: int = 10_000, longest: int = 64) -> int:
    """Peak memory of runs on BERT."""
    optim = OptimSpec.of(batch_size=16)
    specs = [RunSpec.of(method=method, network=BERT, optim=optim, seed=seed) for seed in range(count)]
    return memory_for(specs, Sizes(100, (10, 10), tokens, longest, (longest,)))


def test_side_by_side_every_run_keeps_its_own_and_steps_are_of_one_run_per_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available_cores", lambda: 2)
    step, kept = step_bytes(BERT, FullSpec(), OptimSpec.of(batch_size=16), 16, 64)
    one, two, three = (on_texts(count, FullSpec()) for count in (1, 2, 3))
    assert two - one == pytest.approx(kept + step, rel=0.1)
    assert three - two == pytest.approx(kept, rel=0.1)


def test_a_checkpoint_cannot_use_the_memory_that_other_threads_have_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_cores", lambda: 2)
    step, kept = step_bytes(BERT, FullSpec(), OptimSpec.of(batch_size=16), 16, 64)
    assert on_texts(2, FullSpec()) - OVERHEAD >= 2 * (step + kept) + 6 * 4 * count_parameters(BERT.build())


def test_runs_on_one_base_share_what_its_frozen_blocks_give_and_those_on_two_do_not() -> None:
    texts, tokens = TaskSpec.of(dataset="digits", length=32), 1_000_000
    spec = RunSpec.of(method="head", network=BERT, base="b", own_base=True, source=texts, task=texts)
    sizes = Sizes(100, (10, 10), tokens, 64, (64,))
    one, two = (memory_for([spec, spec.but(seed=seed)], sizes) for seed in (0, 1))
    assert two - one == pytest.approx(frozen_blocks(BERT, HeadSpec()).kept_bytes(tokens), rel=0.1)


def test_what_is_kept_is_of_the_texts_that_are_read_in_every_epoch() -> None:
    task, source = task_of(), task_of(20)
    sizes = Sizes.of_texts(task, source)
    parts = texts_of(task, source)
    assert source.validation in parts
    assert task.test not in parts
    assert sizes.tokens == sum(int(part.lengths.sum()) for part in parts)
    # Texts of like length are evaluated together, so that a second core has shorter ones than the first.
    batches = Sizes.of_texts(task, source, 8)
    widths = task.test.lengths.sort(descending=True).values[::8][: available_cores()].tolist()
    assert sum(batches.widest) >= sum(widths)
    assert len(batches.widest) == len(widths)


def test_an_adapter_file_is_checked_with_two_more_copies_of_what_is_adapted() -> None:
    few, every = (LoRASpec.of(rank=2, target_modules=(name,)) for name in ("attention", "all-linear"))
    weights = [
        sum(layer.linear.weight.nbytes for layer in adapted_layers(method.prepare(BERT.build())).values())
        for method in (few, every)
    ]
    adapters = [12 * count_parameters(method.prepare(BERT.build()), trainable=True) for method in (few, every)]
    grows = on_texts(1, every, 1, longest=1) - on_texts(1, few, 1, longest=1)
    assert grows >= 2 * (weights[1] - weights[0])
    assert grows <= 2 * (weights[1] - weights[0]) + 2 * (adapters[1] - adapters[0])


def test_a_checkpoint_is_there_as_tensors_and_as_bytes() -> None:
    weights = 4 * count_parameters(BERT.build())
    # Weights, gradients and both moments, and twice what a checkpoint has.
    assert on_texts(1, FullSpec(), 1, longest=1) - OVERHEAD >= (4 + 2 * 3) * weights


@pytest.mark.parametrize("method", [FullSpec(), LoRASpec.of(rank=2), HeadSpec()])
def test_what_is_kept_of_frozen_blocks_grows_with_the_texts(method: MethodSpec) -> None:
    grows = on_texts(1, method, 2_000_000) - on_texts(1, method, 1_000_000)
    assert grows == (1_000_000 * 4 * 16 if isinstance(method, HeadSpec) else 0)
