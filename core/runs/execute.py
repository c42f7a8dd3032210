"""A spec made into a result: load, build, train, evaluate, write. Nothing here knows who asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from core.adapter import Card, write_adapter
from core.data.tasks import Task, Tasks
from core.errors import DivergedError, LabError, SpecError
from core.lora import count_parameters, merged_copy
from core.model import MultilayerPerceptron, fingerprint
from core.network_file import network_bytes, read_network, write_network
from core.runs.plan import network_of
from core.runs.record import Result
from core.settings import choose_device, device_name
from core.spec import ModelSpec, RunSpec
from core.training.bank import Bank, can_bank
from core.training.evaluation import Evaluation, evaluate
from core.training.loop import Diverged, Done, Event, StepLoss, Stopped, steps_per_epoch, train
from core.training.shard import no_denormals
from core.training.stepper import AutogradStepper, Stepper
from core.training.threads import Threads

NETWORK = "network.safetensors"
ADAPTER = "adapter.zip"

PROBE = 512
"""Test images on which an adapter file is checked when it is written."""

Sink = Callable[[Event], None]
"""Takes what happens, as it happens."""


@dataclass(frozen=True)
class Workplace:
    """What a run is given to work with."""

    run: str
    """Its id, for the model card."""
    folder: Path
    """Where its files go."""
    tasks: Tasks
    base: Path | None
    """The base's weights; None for a pretrain run."""
    threads: int | None
    """CPU threads to train on, as when a run is resumed; None finds the count by a short trial."""


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    result: Result
    files: dict[str, str]
    """Names in the run's folder, with the SHA-256 of each."""
    stopped: bool
    """Whether it was stopped before its last step."""


def total_steps(spec: RunSpec, task: Task) -> int:
    """Optimiser steps of the whole run, if nothing stops it early."""
    return spec.optim.epochs * steps_per_epoch(len(task.train_x), spec.optim.batch_size)


def execute(
    spec: RunSpec,
    place: Workplace,
    sink: Sink,
    stop: Callable[[], bool] = lambda: False,
    started: Callable[[int], None] = lambda steps: None,
) -> Outcome:
    """Train one run and write its files: a bank of one.

    Args:
        spec: what to train.
        place: data, base and folder.
        sink: told of every event.
        stop: asked after every report; a stopped run keeps what it has learnt.
        started: told the number of steps once the data is there.

    Raises:
        SpecError: the task does not fit the network.
        DivergedError: a loss was not finite.
        LabError: data, base or adapter cannot be used; the message says why.
        OSError: a file cannot be written.
    """
    (outcome,) = execute_bank(
        [spec], [place], lambda _, event: sink(event), lambda _: stop(), lambda _, steps: started(steps)
    )
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def execute_bank(
    specs: Sequence[RunSpec],
    places: Sequence[Workplace],
    sink: Callable[[int, Event], None],
    stop: Callable[[int], bool] = lambda member: False,
    started: Callable[[int, int], None] = lambda member, steps: None,
    ended: Callable[[int, Outcome | Exception], None] = lambda member, outcome: None,
) -> list[Outcome | Exception]:
    """Train runs together and write their files.

    Args:
        specs: what to train; their ``bank_key`` is one.
        places: data, base and folder of each.
        sink: told of every run's every event.
        stop: asked of every run after each report; a stopped run keeps what it has learnt.
        started: told every run's number of steps once the data is there.
        ended: told what came of a run as soon as it is known, while others may still train.

    Returns:
        What came of each run: its outcome, or the error that ended it and left the others alone.

    Raises:
        SpecError: the runs cannot be trained together, or their task does not fit the network.
        LabError: data or base cannot be used; the message says why. No run was trained.
    """
    if len({spec.bank_key for spec in specs}) > 1:
        raise SpecError("Runs of a bank share base, task, method, batch size and epochs: train the others apart.")
    with no_denormals():  # from the start, before torch makes threads to help this one
        return _Crew(specs, places).train(sink, stop, started, ended)


class _Crew:
    """Everything that the runs of a bank need, loaded and built."""

    def __init__(self, specs: Sequence[RunSpec], places: Sequence[Workplace]) -> None:
        """Load data and base, build the networks, choose threads. Raises: as of :func:`execute_bank`."""
        self.specs, self.places = specs, places
        spec, place = specs[0], places[0]
        self.device = choose_device(spec.device)
        self.task = place.tasks.get(spec.task, self.device)
        self.source = place.tasks.get(spec.source, self.device) if spec.source else None
        check_fit(spec.model, self.task.spec.dataset, self.task.train_x.shape[1], self.task.classes)
        self.base = read_network(place.base) if place.base else None
        self.networks = [network_of(spec, self.base).to(self.device) for spec in specs]
        # Fine-tuning is measured against the base, whatever the method: one evaluation serves all.
        first = self.networks[0] if spec.control != "scratch" else network_of(spec.but(control=None), self.base)
        self.before = _evaluate_tests(first.to(self.device), self.task, self.source) if self.base else None
        start = time.perf_counter()
        self.stepper = stepper_for(self.networks, specs, self.task, self.source)
        self.seconds = time.perf_counter() - start
        self.threads = Threads(self.stepper, spec.optim.batch_size, place.threads, steps=total_steps(spec, self.task))

    def train(
        self,
        sink: Callable[[int, Event], None],
        stop: Callable[[int], bool],
        started: Callable[[int, int], None],
        ended: Callable[[int, Outcome | Exception], None],
    ) -> list[Outcome | Exception]:
        """Train to every run's end; arguments and result as of :func:`execute_bank`."""
        for member, spec in enumerate(self.specs):
            started(member, total_steps(spec, self.task))
        outcomes: dict[int, Outcome | Exception] = {}
        done: dict[int, tuple[int, float]] = dict.fromkeys(range(len(self.specs)), (0, 0.0))
        for member, event in train(self.stepper, [spec.optim for spec in self.specs], stop, self.seconds):
            if isinstance(event, StepLoss):
                done[member] = event.first_step + len(event.losses) - 1, float(event.seconds[-1])
            if isinstance(event, Diverged):
                outcomes[member] = DivergedError(event.step)
            elif not isinstance(event, Stopped):
                sink(member, event)
            if isinstance(event, Done | Stopped):
                outcomes[member] = self.finish(member, event, *done[member])
            if member in outcomes:
                ended(member, outcomes[member])
        return [outcomes[member] for member in range(len(self.specs))]

    def finish(self, member: int, event: Done | Stopped, step: int, seconds: float) -> Outcome | Exception:
        """Evaluate a run's network and write its files; what goes wrong is this run's own."""
        try:
            spec, place, network = self.specs[member], self.places[member], self.networks[member]
            result = self._result(member, event, step, seconds)
            result, files = _write(spec, place, network, self.base, result, self.task.test_x[:PROBE])
        except (LabError, OSError, MemoryError, RuntimeError) as error:
            return error
        return Outcome(result, files, stopped=isinstance(event, Stopped))

    def _result(self, member: int, event: Done | Stopped, step: int, seconds: float) -> Result:
        spec, network = self.specs[member], self.networks[member]
        target, old = _evaluate_tests(network, self.task, self.source)
        target_before, old_before = self.before or (None, None)
        completed = step // steps_per_epoch(len(self.task.train_x), spec.optim.batch_size)
        return Result(
            accuracy=target.accuracy,
            accuracy_before=target_before.accuracy if target_before else None,
            source_accuracy=old.accuracy if old else None,
            source_accuracy_before=old_before.accuracy if old_before else None,
            source_accuracy_masked=old.masked_accuracy if old else None,
            source_accuracy_masked_before=old_before.masked_accuracy if old_before else None,
            parameters=count_parameters(network),
            trainable_parameters=count_parameters(network, trainable=True),
            seconds=seconds,
            examples_per_second=step * spec.optim.batch_size / seconds if seconds else 0.0,
            memory=self.stepper.memory(member),
            checkpoint_bytes=0,
            adapter_bytes=None,
            epochs=completed,
            steps=step,
            kept_epoch=event.kept_epoch if isinstance(event, Done) else 0,
            device=device_name(self.device),
            threads=self.threads.count,
            bank=len(self.specs),
            validation_accuracy=_accuracy(network, self.task.validation_x, self.task.validation_y, self.task),
        )


def stepper_for(networks: Sequence[nn.Module], specs: Sequence[RunSpec], task: Task, source: Task | None) -> Stepper:
    """The fast step where the networks allow it, autograd for one of any other kind.

    Raises:
        SpecError: several networks that no bank can train.
    """
    perceptrons = [network for network in networks if isinstance(network, MultilayerPerceptron) and can_bank(network)]
    if len(perceptrons) == len(networks):
        rates, seeds = [spec.optim.learning_rate for spec in specs], [spec.seed for spec in specs]
        return Bank(perceptrons, rates, seeds, task, source)
    if len(networks) > 1:
        raise SpecError("Only multilayer perceptrons can be trained together: train these runs one by one.")
    return AutogradStepper(networks[0], specs[0].optim.learning_rate, task, specs[0].seed, source)


def check_fit(model: ModelSpec, dataset: str, pixels: int, classes: Sequence[int]) -> None:
    """See that a network can take a task's images and name its classes.

    Raises:
        SpecError: it cannot.
    """
    if pixels != model.num_features:
        raise SpecError(
            f"The network takes {model.num_features} pixels, but images of {dataset} have {pixels}: "
            f"choose {pixels} input features."
        )
    if max(classes) >= model.num_classes:
        raise SpecError(
            f"The network has {model.num_classes} outputs, but {dataset} has labels up to {max(classes)}: "
            f"choose a base with at least {max(classes) + 1} classes."
        )


@torch.no_grad()
def _accuracy(network: nn.Module, x: Tensor, y: Tensor, task: Task) -> float:
    return evaluate(network, x, y, task.classes).accuracy


def _evaluate_tests(network: nn.Module, task: Task, source: Task | None) -> tuple[Evaluation, Evaluation | None]:
    with torch.no_grad():
        target = evaluate(network, task.test_x, task.test_y, task.classes)
        return target, evaluate(network, source.test_x, source.test_y, source.classes) if source else None


def _write(
    spec: RunSpec,
    place: Workplace,
    network: nn.Module,
    base: MultilayerPerceptron | None,
    result: Result,
    probe: Tensor,
) -> tuple[Result, dict[str, str]]:
    """Write the run's one file; give the result with its sizes and the file's hash."""
    network.to("cpu")
    if spec.lora is None or base is None:
        path = place.folder / NETWORK
        digest = write_network(path, network)
        return replace(result, checkpoint_bytes=path.stat().st_size), {NETWORK: digest}
    path = place.folder / ADAPTER
    checkpoint = len(network_bytes(merged_copy(network)))
    card = Card.of(place.run, spec, result)
    digest = write_adapter(
        path, network, spec.lora, base_fingerprint=fingerprint(base.state_dict()), card=card, probe=probe.cpu()
    )
    return replace(result, checkpoint_bytes=checkpoint, adapter_bytes=path.stat().st_size), {ADAPTER: digest}
