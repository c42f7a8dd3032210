"""Transformers that train side by side have the bits that each has alone, on one thread."""

from __future__ import annotations

import math
import random
import threading
import time
from dataclasses import replace

import pytest
import torch

from core.engine.jobs.choice import stepper_of
from core.errors import LeftError
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.registry import method_of
from core.run_spec import OptimSpec
from core.training.autograd import AutogradStepper
from core.training.checkpoint import Checkpoint
from core.training.evaluation import batch_of, predict
from core.training.loop import data_order, train
from core.training.parallel import ParallelSteppers
from core.training.stepper import Done, EpochEnd, StepLoss, Stepper, Stopped
from core.training.threads import Threads
from tests.training.conftest import equal
from tests.training.tiny_texts import network_of, spec_of, task_of, texts

LONG = replace(task_of(), validation=texts(150, 1))
"""Its validation part is evaluated in several batches."""

METHODS: dict[str, MethodSpec] = {"full": method_of("full"), "lora": LoRASpec.of(rank=2)}
OPTIMS = [
    OptimSpec.of(batch_size=8, epochs=2, learning_rate=0.01 / (1 + k), warmup=0.1, decay="linear", clip=1.0)
    for k in range(3)
]


def stepper(kind: str, members: list[int]) -> Stepper:
    """Members with these numbers, from new networks."""
    method = METHODS[kind]
    networks = [
        method.prepare(network_of(spec_of("bert", dropout=0.2), member), torch.Generator().manual_seed(member))
        for member in members
    ]
    return stepper_of(networks, kind, [OPTIMS[member] for member in members], members, task_of(50))


def history(made: Stepper, members: list[int], **options) -> dict[int, list]:
    """For each member its losses and validation losses."""
    found: dict[int, list] = {member: [] for member in members}
    for k, event in train(made, [OPTIMS[member] for member in members], **options):
        if isinstance(event, StepLoss):
            found[members[k]].extend(event.losses.tolist())
        if isinstance(event, EpochEnd):
            found[members[k]].append(event.measures["validation_loss"])
        if isinstance(event, Done | Stopped):
            found[members[k]].append(made.trained(k))
    return found


def same(one: list, other: list) -> bool:
    return one[:-1] == other[:-1] and equal(one[-1], other[-1])


def long_pair() -> ParallelSteppers:
    """Two members whose validation part is evaluated in several batches."""
    return ParallelSteppers([AutogradStepper(network_of(spec_of("bert"), k), OPTIMS[k], LONG, k) for k in range(2)])


@pytest.mark.parametrize("kind", ["lora", pytest.param("full", marks=pytest.mark.minutes)])
def test_members_have_the_bits_of_a_run_alone(kind: str) -> None:
    alone = {}
    for member in range(3):
        made = stepper(kind, [member])
        made.use_threads(1)
        alone |= history(made, [member])
    for threads in (1, 2):
        together = stepper(kind, [0, 1, 2])
        assert Threads(together, 8, limit=threads).count == threads
        found = history(together, [0, 1, 2])
        assert all(same(found[member], alone[member]) for member in range(3))


def test_three_members_keep_two_threads_busy_to_the_last_step() -> None:
    """Every step waits until another one is computed beside it, so that one that is left over would wait in vain;
    whichever thread is the quicker one."""
    pair, delays = threading.Barrier(2, timeout=60), random.Random(0)

    class Paired(AutogradStepper):
        def advance(self, rows: torch.Tensor) -> torch.Tensor:
            pair.wait()
            time.sleep(delays.choice([0, 0.002]))
            return torch.ones(1, 1)

    members = ParallelSteppers([Paired(network_of(spec_of("bert"), k), OPTIMS[k], task_of(50), k) for k in range(3)])
    members.use_threads(2)
    for _ in range(20):
        assert members.advance(torch.zeros(3, 4, 8, dtype=torch.int64)).tolist() == 4 * [3 * [1.0]]


def test_a_member_that_ends_changes_nothing_for_the_others() -> None:
    together, asked = stepper("lora", [0, 1]), iter(range(100))
    together.use_threads(2)
    found = history(together, [0, 1], stop=lambda member: member == 0 and next(asked) > 2)
    whole = history(stepper("lora", [1]), [1])
    assert len(found[0]) < len(found[1])
    assert same(found[1], whole[1])
    assert isinstance(together, ParallelSteppers)
    assert math.isnan(together.advance(torch.arange(16).view(2, 1, 8))[0, 0])


def test_members_resume_from_checkpoints_to_the_last_bit() -> None:
    whole = history(stepper("full", [0, 1]), [0, 1])
    asked, stopping = iter([False, False, True]), iter([False] * 6)
    events = train(
        stepper("full", [0, 1]), OPTIMS[:2], stop=lambda _: next(stopping, True), due=lambda: next(asked, False)
    )
    saved = {k: event for k, event in events if isinstance(event, Checkpoint)}
    resumed = stepper("full", [0, 1])
    resumed.use_threads(2)
    found = history(resumed, [0, 1], starts=[saved[0], saved[1]])
    assert saved[0].position.threads == 1  # a member that is resumed alone has the same products
    for member in (0, 1):
        assert found[member][-2] == whole[member][-2]
        assert equal(found[member][-1], whole[member][-1])


def test_runs_with_other_seeds_have_batches_of_equal_length_at_each_step() -> None:
    examples = texts(400)
    orders = [examples.batched(data_order(400, seed, 1), 8, 1) for seed in (0, 1)]
    assert all(sorted(order.tolist()) == list(range(400)) for order in orders)
    widths = torch.stack([examples.lengths[order].view(50, 8).amax(1) for order in orders])
    assert not torch.equal(orders[0], orders[1])
    assert (widths[0] - widths[1]).abs().max() <= 2
    assert widths.float().std() > 2
    other = examples.batched(data_order(400, 0, 2), 8, 2)
    assert not torch.equal(examples.lengths[other].view(50, 8).amax(1), widths[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_an_evaluation_looks_before_every_batch_and_ends_where_it_is_told_to(threads: int) -> None:
    made = AutogradStepper(network_of(spec_of("bert")), OPTIMS[0], LONG)
    batches, looks = -(-150 // batch_of(made.network)), 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == end:
            raise LeftError

    made.use_threads(threads)
    end = 0
    made.evaluate(0, look=look)
    assert looks == batches > 2
    looks, end = 0, 2
    with pytest.raises(LeftError):
        made.evaluate(0, look=look)
    assert looks == 2


def test_a_run_that_is_stopped_while_it_is_evaluated_ends_and_the_other_goes_on() -> None:
    made = long_pair()
    asked = 0

    def stop(member: int) -> bool:
        nonlocal asked
        asked += member == 0 and evaluating
        return member == 0 and asked > 3  # after the loop has asked for it, and before its last batch

    evaluating = False
    found: list[tuple[int, object]] = []
    for member, event in train(made, OPTIMS[:2], stop):
        found.append((member, event))
        steps = [e for m, e in found if m == 0 and isinstance(e, StepLoss)]
        evaluating = steps[-1].first_step + len(steps[-1].losses) > made.task.num_train // 8
    assert [event for member, event in found if member == 0 and isinstance(event, EpochEnd | Done)] == []
    assert isinstance([event for member, event in found if member == 0][-1], Stopped)
    assert isinstance([event for member, event in found if member == 1][-1], Done)


def test_members_are_evaluated_on_the_threads_that_train_them() -> None:
    made = long_pair()
    seen: set[int] = set()
    made._steppers[0].network.register_forward_pre_hook(lambda *_: seen.add(threading.get_ident()))
    made.use_threads(2)
    found = made.evaluate(0)
    assert threading.get_ident() not in seen
    assert torch.get_num_threads() == 1
    made.use_threads(1)
    seen.clear()
    assert made.evaluate(0) == found
    assert seen == {threading.get_ident()}


def test_batches_evaluated_side_by_side_have_the_bits_of_one_after_the_other() -> None:
    network, many = network_of(spec_of("bert")), texts(150, 1)
    one = predict(network, many)
    torch.set_num_threads(2)
    two = predict(network, many)
    assert torch.equal(one, two)
    assert not two.requires_grad
