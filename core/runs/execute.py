"""A spec made into a result: load, build, train, evaluate, write. Nothing here knows who asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from core.adapter import Card, write_adapter
from core.data.tasks import Task, Tasks
from core.errors import SpecError
from core.lora import count_parameters, merged_copy
from core.model import MultilayerPerceptron, fingerprint
from core.network_file import network_bytes, read_network, write_network
from core.runs.plan import network_of
from core.runs.record import Result
from core.settings import choose_device, device_name
from core.spec import ModelSpec, RunSpec
from core.training.evaluation import Evaluation, evaluate
from core.training.loop import Done, Event, StepLoss, steps_per_epoch, train
from core.training.stepper import AutogradStepper

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
    threads: int


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
    """Train one run and write its files.

    Args:
        spec: what to train.
        place: data, base and folder.
        sink: told of every event.
        stop: asked after every event; a stopped run keeps what it has learnt.
        started: told the number of steps once the data is there.

    Raises:
        SpecError: the task does not fit the network.
        DivergedError: a loss was not finite.
        LabError: data, base or adapter cannot be used; the message says why.
        OSError: a file cannot be written.
    """
    torch.set_num_threads(place.threads)
    device = choose_device(spec.device)
    task = place.tasks.get(spec.task, device)
    source = place.tasks.get(spec.source, device) if spec.source else None
    check_fit(spec.model, task.spec.dataset, task.train_x.shape[1], task.classes)
    base = read_network(place.base) if place.base else None
    network = network_of(spec, base).to(device)
    before = _evaluate_tests(network, task, source)
    stepper = AutogradStepper(network, spec.optim.learning_rate)
    started(total_steps(spec, task))

    step, seconds, done = 0, 0.0, None
    for event in train(stepper, task, spec.optim, spec.seed, source):
        sink(event)
        if isinstance(event, StepLoss):
            step, seconds = event.first_step + len(event.losses) - 1, float(event.seconds[-1])
        if isinstance(event, Done):
            done = event
        elif stop():
            break

    target, old = _evaluate_tests(network, task, source)
    result = Result(
        accuracy=target.accuracy,
        accuracy_before=before[0].accuracy if base else None,
        source_accuracy=old.accuracy if old else None,
        source_accuracy_before=before[1].accuracy if before[1] else None,
        source_accuracy_masked=old.masked_accuracy if old else None,
        source_accuracy_masked_before=before[1].masked_accuracy if before[1] else None,
        parameters=count_parameters(network),
        trainable_parameters=count_parameters(network, trainable=True),
        seconds=seconds,
        examples_per_second=step * spec.optim.batch_size / seconds if seconds else 0.0,
        memory=stepper.memory(),
        checkpoint_bytes=0,
        adapter_bytes=None,
        epochs=done.epochs if done else step // steps_per_epoch(len(task.train_x), spec.optim.batch_size),
        steps=step,
        kept_epoch=done.kept_epoch if done else 0,
        device=device_name(device),
        threads=place.threads,
    )
    result, files = _write(spec, place, network, base, result, task.test_x[:PROBE])
    return Outcome(result, files, stopped=done is None)


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
