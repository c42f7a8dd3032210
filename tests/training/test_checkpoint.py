"""Checkpoints: training that goes on from one ends where it would have ended without a break, to the last bit."""

from __future__ import annotations

import copy
import json
import math
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, product

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from core.data.examples import Task
from core.errors import CheckpointError
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.perceptron import PerceptronSpec
from core.run_spec import OptimSpec
from core.training.autograd import AutogradStepper
from core.training.bank.bank import Bank
from core.training.checkpoint import Checkpoint, checkpoint_of
from core.training.loop import train
from core.training.schedule import steps_per_epoch
from core.training.stepper import Done, EpochEnd, StepLoss, Stepper, Stopped
from tests.pairs import pairwise
from tests.training.conftest import equal, tensors_of
from tests.training.test_modes import network

BATCH = 100
"""Leaves a smaller last batch."""


@pytest.fixture(scope="module")
def epoch(task: Task) -> int:
    """Steps of one."""
    assert task.num_train % BATCH
    return steps_per_epoch(task.num_train, BATCH)


def networks(kind: str) -> list[nn.Module]:
    """The members of a bank, or the one network that autograd trains."""
    if "statistics" in kind:
        return [network(adapted=kind.endswith("lora"))]
    base = PerceptronSpec.of().build(1)
    ranks = {"lora": [4], "bank": [4, 2, 16], "autograd, lora": [4]}.get(kind)
    if ranks is None:
        return [base] * (2 if kind == "full bank" else 1)
    return [
        add_lora(copy.deepcopy(base), LoRASpec.of(rank=rank), torch.Generator().manual_seed(rank)) for rank in ranks
    ]


def stepper_of(kind: str, task: Task, optims: Sequence[OptimSpec], only: Sequence[int] = ()) -> Stepper:
    """Args: only: which members; all if empty."""
    members = dict(enumerate(copy.deepcopy(network) for network in networks(kind)))
    if kind.startswith("autograd"):
        return AutogradStepper(members[0], optims[0], task, 7)
    own = only or list(members)
    rates = [optim.learning_rate for optim in optims]
    return Bank([members[k] for k in own], rates, [7 + k % 2 for k in own], task)


def optims_of(kind: str, keep: str, epochs: int = 3) -> list[OptimSpec]:
    return [
        OptimSpec.of(epochs=epochs, batch_size=BATCH, learning_rate=0.02 / (k + 1), keep=keep)
        for k in range(len(networks(kind)))
    ]


class Session:
    """What one process sees of a training."""

    def __init__(
        self,
        kind: str,
        task: Task,
        optims: Sequence[OptimSpec],
        starts: Sequence[Checkpoint] = (),
        only: Sequence[int] = (),
    ) -> None:
        self.stepper = stepper_of(kind, task, optims, only)
        self.events: list[tuple[int, object]] = []
        self._train = (self.stepper, optims)
        self._starts = starts

    def until(self, step: int | None = None, kind: type = StepLoss) -> list[Checkpoint]:
        """Train to the first report at or after a step, and give the checkpoints that were due then."""
        kept: dict[int, Checkpoint] = {}

        def due() -> bool:
            return step is not None and any(isinstance(e, kind) and last_step(e) >= step for _, e in self.events)

        for member, event in train(*self._train, due=due, starts=self._starts):
            if isinstance(event, Checkpoint):
                kept[member] = checkpoint_of(event.to_bytes())  # as from a file
                if len(kept) == self.stepper.members:
                    break
            else:
                self.events.append((member, event))
        return [kept[member] for member in sorted(kept)]

    def losses(self, member: int = 0) -> dict[int, float]:
        found: dict[int, float] = {}
        for k, event in self.events:
            if k == member and isinstance(event, StepLoss):
                found |= dict(enumerate(event.losses.tolist(), event.first_step))
        return found

    def epochs(self, member: int = 0) -> dict[int, EpochEnd]:
        # Seconds are the machine's own and never the same twice.
        return {
            event.epoch: replace(event, seconds=0.0, examples_per_second=0.0)
            for k, event in self.events
            if k == member and isinstance(event, EpochEnd)
        }

    def done(self, member: int = 0) -> object:
        return next(event for k, event in self.events if k == member and isinstance(event, Done))

    def weights(self, member: int = 0) -> list[torch.Tensor]:
        return self.stepper.trained(member)


def last_step(event: object) -> int:
    return event.first_step + len(event.losses) - 1 if isinstance(event, StepLoss) else event.step  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def one_step_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports come when they come; here after each step, so that a test can name its position."""
    monkeypatch.setattr("core.training.loop.FLUSH_STEPS", 1)


@pytest.fixture(scope="module")
def undisturbed(task: Task) -> Callable[[str, str], Session]:
    """Training without a break, once for each kind."""

    @lru_cache
    def trained(kind: str, keep: str) -> Session:
        session = Session(kind, task, optims_of(kind, keep))
        session.until()
        return session

    return trained


STEPS = ("bank", "autograd", "autograd with statistics")
PLACES = ("first", "middle", "before the last batch", "after the last batch", "in the last epoch")
CASES = pairwise(STEPS, ("full", "lora"), ("last", "best"), PLACES)


def test_every_two_values_of_the_cases_meet() -> None:
    every = product(STEPS, ("full", "lora"), ("last", "best"), PLACES)
    met, wanted = ({pair for case in cases for pair in combinations(case, 2)} for cases in (CASES, every))
    assert met == wanted
    assert len(CASES) == len(STEPS) * len(PLACES)


@pytest.mark.parametrize(("step", "method", "keep", "place"), CASES)
def test_one_run_goes_on_to_the_same_end_to_the_last_bit(
    task: Task,
    epoch: int,
    undisturbed: Callable[[str, str], Session],
    step: str,
    method: str,
    keep: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = method if step == "bank" else f"{step}, {method}"
    optims, whole = optims_of(kind, keep), undisturbed(kind, keep)
    last = dict(zip(PLACES, (1, epoch + 5, 2 * epoch - 1, 2 * epoch, 2 * epoch + 1), strict=True))[place]
    broken = Session(kind, task, optims)
    kept = broken.until(last)
    position = kept[0].position
    assert (position.step, position.epoch, position.done) == (last, (last - 1) // epoch + 1, (last - 1) % epoch + 1)

    monkeypatch.setattr("core.training.loop.FLUSH_STEPS", 4)  # another pace: it must not show
    resumed = Session(kind, task, optims, kept)
    resumed.until()
    before = {at: loss for at, loss in broken.losses().items() if at <= last}
    assert before | resumed.losses() == whole.losses()
    assert not before.keys() & resumed.losses().keys()
    ended = {number: end for number, end in broken.epochs().items() if end.step < last}
    assert ended | resumed.epochs() == whole.epochs()
    assert not ended.keys() & resumed.epochs().keys()
    assert resumed.done() == whole.done()
    assert equal(resumed.weights(), whole.weights())


@pytest.mark.parametrize(("kind", "only"), [("bank", [0, 1, 2]), ("full bank", [0, 1]), ("bank", [2])])
@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_bank_goes_on_as_a_bank_and_a_member_alone(
    task: Task, epoch: int, kind: str, only: list[int], keep: str
) -> None:
    optims = optims_of(kind, keep)
    whole, broken = Session(kind, task, optims), Session(kind, task, optims)
    whole.until()
    kept = broken.until(epoch + 3)
    resumed = Session(kind, task, [optims[k] for k in only], [kept[k] for k in only], only)
    resumed.until()
    for number, member in enumerate(only):
        both = {at: loss for at, loss in broken.losses(member).items() if at <= epoch + 3} | resumed.losses(number)
        assert both.keys() == whole.losses(member).keys()
        np.testing.assert_allclose(list(both.values()), list(whole.losses(member).values()), rtol=1e-4, atol=1e-6)
        for own, other in zip(resumed.weights(number), whole.weights(member), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)


def test_patience_goes_on_counting(task: Task, epoch: int) -> None:
    optims = [OptimSpec.of(epochs=200, batch_size=BATCH, learning_rate=0.05, patience=2, keep="best")]
    whole = Session("full", task, optims)
    whole.until()
    end = whole.done()
    assert end.kept_epoch == end.epochs - 2
    # In the last epoch: one without progress lies behind, and the best weights are of an epoch before that.
    kept = Session("full", task, optims).until((end.epochs - 1) * epoch + 2)
    assert kept[0].position.stale == 1
    assert kept[0].position.kept_epoch == end.kept_epoch
    resumed = Session("full", task, optims, kept)
    resumed.until()
    assert resumed.done() == end
    assert equal(resumed.weights(), whole.weights())


def test_a_checkpoint_that_is_due_while_a_bank_is_evaluated_is_of_one_moment_for_all(task: Task, epoch: int) -> None:
    optims = optims_of("bank", "best")
    broken = Session("bank", task, optims)
    kept = broken.until(2 * epoch, EpochEnd)
    assert {len(broken.epochs(member)) for member in range(3)} == {1, 2}  # some had been evaluated, some had not
    assert {(c.position.step, c.position.epoch, c.position.done) for c in kept} == {(2 * epoch, 2, epoch)}
    whole, resumed = Session("bank", task, optims), Session("bank", task, optims, kept)
    whole.until()
    resumed.until()
    for member in range(3):
        assert resumed.epochs(member).keys() == {2, 3}
        assert resumed.epochs(member)[2].measures["validation_accuracy"] == pytest.approx(
            whole.epochs(member)[2].measures["validation_accuracy"], abs=1.0
        )


def test_seconds_go_on_and_only_grow(task: Task, epoch: int) -> None:
    optims = optims_of("full", "last")
    broken = Session("full", task, optims)
    kept = broken.until(epoch + 1)
    stepper = stepper_of("full", task, optims)
    events = [event for _, event in train(stepper, optims, spent=5.0, starts=kept)]
    seconds = np.concatenate([event.seconds for event in events if isinstance(event, StepLoss)])
    assert seconds[0] > kept[0].position.seconds + 5
    assert (np.diff(seconds) > 0).all()
    rates = [event.examples_per_second for event in events if isinstance(event, EpochEnd)]
    assert min(rates) > task.num_train / 5  # preparing is no part of an epoch


def test_a_run_that_is_stopped_as_it_goes_on_keeps_what_the_checkpoint_had(task: Task, epoch: int) -> None:
    optims = optims_of("full", "last")
    kept = Session("full", task, optims).until(epoch + 1)
    stepper = stepper_of("full", task, optims)
    assert list(train(stepper, optims, stop=lambda _: True, starts=kept)) == [(0, Stopped(epoch + 1))]
    assert equal(stepper.networks[0].parameters(), kept[0].train_state.values)  # type: ignore[attr-defined]


def test_checkpoints_change_nothing_of_the_training(task: Task) -> None:
    optims = optims_of("full", "best")
    quiet = Session("full", task, optims)
    quiet.until()
    kept = 0
    disturbed: list[float] = []
    for _, event in train(stepper_of("full", task, optims), optims, due=lambda: True):
        kept += isinstance(event, Checkpoint)
        disturbed += event.losses.tolist() if isinstance(event, StepLoss) else []
    assert kept >= len(disturbed)
    assert disturbed == list(quiet.losses().values())


def test_a_checkpoint_comes_back_from_its_file_as_it_was_infinity_included(task: Task) -> None:
    (kept,) = Session("full", task, optims_of("full", "best")).until(2)
    assert kept.position.best_loss == math.inf
    again = checkpoint_of(kept.to_bytes())
    assert again.position == kept.position
    assert again.train_state.updates == 2
    assert equal(tensors_of(again.train_state), tensors_of(kept.train_state))
    assert again.best == kept.best == []


def test_a_header_that_is_larger_than_any_is_refused_before_it_is_parsed() -> None:
    """A home folder that was copied may have a checkpoint of somebody else; a million empty tensors took gigabytes."""
    one = json.dumps({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})
    header = ("{" + ",".join(f'"value.{number}": {one}' for number in range(100_000)) + "}").encode()
    content = len(header).to_bytes(8, "little") + header
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="has a header of more than 4 MiB"):
            checkpoint_of(content)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_what_is_no_checkpoint_is_refused(task: Task, epoch: int) -> None:
    optims = optims_of("full", "last")
    (kept,) = Session("full", task, optims).until(2)
    content = kept.to_bytes()
    other = safetensors.torch.save({"value.0": torch.ones(2)}, metadata={"format": "lora-lab-checkpoint-9"})
    for damaged in (b"", content[:-1], content[: len(content) // 2], content[:8], b"\xff" * 100, other):
        with pytest.raises(CheckpointError):
            checkpoint_of(damaged)
    (wrong,) = Session("lora", task, optims_of("lora", "last")).until(2)
    for kind in ("full", "autograd, full"):
        with pytest.raises(CheckpointError, match="another network"):
            list(train(stepper_of(kind, task, optims), optims, starts=[wrong]))
    bank = optims_of("bank", "last")
    early, late = (Session("bank", task, bank).until(step) for step in (2, epoch + 2))
    with pytest.raises(CheckpointError, match="the same step"):
        list(train(stepper_of("bank", task, bank), bank, starts=[early[0], late[1], early[2]]))
