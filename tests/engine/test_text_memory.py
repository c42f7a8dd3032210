"""Memory of training transformers: what makes it grow, and what saves it."""

from __future__ import annotations

import pytest

from core.engine.jobs.text_memory import OVERHEAD, TextSizes, step_memory, text_memory
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.parameters import count_parameters
from core.run_spec import OptimSpec, RunSpec
from core.training.frozen import texts_of
from tests.training.tiny_texts import spec_of, task_of

NETWORK = spec_of("bert", layers=2, max_position_embeddings=512)
PLAIN = OptimSpec.of(batch_size=16)


def of(method: MethodSpec, optim: OptimSpec = PLAIN, longest: int = 64) -> int:
    return step_memory(NETWORK, method, optim, longest)


def test_longer_texts_and_larger_batches_need_more() -> None:
    assert of(FullSpec(), longest=32) < of(FullSpec(), longest=64) < of(FullSpec(), longest=128)
    assert of(FullSpec()) < of(FullSpec(), OptimSpec.of(batch_size=32))


def test_attention_is_quadratic_in_the_length() -> None:
    steps = [of(FullSpec(), longest=length) for length in (64, 128, 192)]
    assert steps[2] - steps[1] > steps[1] - steps[0]


def test_a_batch_in_parts_needs_what_a_part_needs() -> None:
    assert of(FullSpec(), OptimSpec.of(batch_size=32, accumulation=2)) == of(FullSpec(), OptimSpec.of(batch_size=16))


def test_what_lies_below_the_first_adapter_needs_no_activations() -> None:
    everywhere = of(LoRASpec.of(rank=2, target_modules=("query",)))
    last = of(LoRASpec.of(rank=2, target_modules=("bert.encoder.layer.1.attention.self.query",)))
    assert of(HeadSpec()) < last < everywhere


def test_side_by_side_every_run_needs_its_own() -> None:
    sizes = TextSizes(10_000, 64, 64)
    runs = [RunSpec.of(method="full", network=NETWORK, optim=PLAIN, seed=seed) for seed in range(3)]
    one, three = text_memory(runs[:1], sizes), text_memory(runs, sizes)
    assert three - one >= 2 * of(FullSpec()) - of(FullSpec()) // 2


@pytest.mark.parametrize("length", [None, 3])
def test_what_is_kept_is_of_the_texts_that_are_read_in_every_epoch(length: int | None) -> None:
    task, source = task_of(), task_of(20)
    sizes = TextSizes.of(task, source, length)
    assert sizes is not None
    parts = texts_of(task, source)
    assert source.validation in parts
    assert task.test not in parts
    own = length or task.train.longest
    read = [part.lengths.clamp(max=part.longest if part is source.validation else own) for part in parts]
    assert sizes.tokens == sum(int(part.sum()) for part in read)


def test_a_checkpoint_is_there_as_tensors_and_as_bytes() -> None:
    run = [RunSpec.of(method="full", network=NETWORK, optim=OptimSpec.of(batch_size=1))]
    weights = 4 * count_parameters(NETWORK.build())
    # Weights, gradients and both moments, and twice what a checkpoint has.
    assert text_memory(run, TextSizes(1, 1, 1)) - OVERHEAD >= (4 + 2 * 3) * weights


@pytest.mark.parametrize("method", [FullSpec(), LoRASpec.of(rank=2), HeadSpec()])
def test_what_is_kept_of_frozen_blocks_grows_with_the_texts(method: MethodSpec) -> None:
    run = [RunSpec.of(method=method, network=NETWORK, optim=PLAIN)]
    grows = text_memory(run, TextSizes(2_000_000, 64, 64)) - text_memory(run, TextSizes(1_000_000, 64, 64))
    assert grows == (1_000_000 * 4 * 16 if isinstance(method, HeadSpec) else 0)
