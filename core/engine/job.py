"""A spec made into a result: load, build, train, evaluate, write. Nothing here knows who asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from core.adapter import Card, write_adapter
from core.data.tasks import Task, Tasks
from core.engine.build import network_of
from core.errors import CheckpointError, DivergedError, LabError, LeftError, SpecError
from core.memory import is_out_of_memory, training_bytes
from core.methods.lora import count_parameters, merged_copy
from core.networks.file import network_bytes, read_network, write_network
from core.networks.perceptron import MultilayerPerceptron, fingerprint
from core.settings import choose_device, device_name
from core.spec import ModelSpec, RunSpec
from core.store.record import Result
from core.training.autograd import AutogradStepper
from core.training.bank.bank import Bank, can_bank
from core.training.bank.shard import no_denormals
from core.training.checkpoint import Checkpoint
from core.training.evaluation import evaluate_both
from core.training.events import Diverged, Done, Event, StepLoss, Stopped
from core.training.loop import steps_per_epoch, train
from core.training.stepper import Stepper
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
    """CPU threads to train on; None finds the count by a short trial."""
    start: Checkpoint | None = None
    """Where it goes on; None begins with its first step."""
    base_sha256: str | None = None
    """Of the base's file, where that is known: another content is refused."""


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    result: Result
    files: dict[str, str]
    """Names in the run's folder, with the SHA-256 of each."""
    stopped: bool
    """Whether it was stopped before its last step."""


class Attendant:
    """Whoever has an eye on a bank: what it is told and asked. This one lets everything be."""

    def begin(self, member: int, steps: int) -> None:
        """The data is there: the run has so many steps."""

    def take(self, member: int, event: Event) -> None:
        """Something happened to a run."""

    def look(self) -> None:
        """Called often before the first step; may raise, and ends the bank by that."""

    def wants_stop(self, member: int) -> bool:
        """Asked of every run often: one that shall stop keeps what it has learnt."""
        return False

    def leaves(self, member: int) -> bool:
        """Asked of a run that stops: whether to leave it as it is, without a result."""
        return False

    def due(self) -> bool:
        """Asked often: whether it is time for a checkpoint of every run."""
        return False

    def keep(self, member: int, checkpoint: Checkpoint) -> None:
        """A run's checkpoint, when it is due."""

    def end(self, member: int, outcome: Outcome | Exception) -> None:
        """What came of a run, as soon as it is known; others may still train."""


class _Asker(Attendant):
    """Somebody with one run."""

    def __init__(self, sink: Sink, stop: Callable[[], bool], started: Callable[[int], None]) -> None:
        self._sink, self._stop, self._started = sink, stop, started

    def begin(self, member: int, steps: int) -> None:
        self._started(steps)

    def take(self, member: int, event: Event) -> None:
        self._sink(event)

    def wants_stop(self, member: int) -> bool:
        return self._stop()


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
    (outcome,) = execute_bank([spec], [place], _Asker(sink, stop, started))
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def execute_bank(
    specs: Sequence[RunSpec], places: Sequence[Workplace], attendant: Attendant
) -> list[Outcome | Exception]:
    """Train runs together and write their files.

    Args:
        specs: what to train; their ``bank_key`` is one.
        places: data, base and folder of each; all start at the first step, or go on from one.
        attendant: is told and asked.

    Returns:
        What came of each run: its outcome, or the error that ended it and left the others alone;
        LeftError for one that was left without a result.

    Raises:
        SpecError: the runs cannot be trained together, or their task does not fit the network.
        CheckpointError: the runs do not fit the checkpoints that they are to go on from.
        LabError: data or base cannot be used; the message says why. No run was trained.
        MemoryError, RuntimeError: out of memory, as of :func:`core.memory.is_out_of_memory`; some may have ended.
    """
    if len({spec.bank_key for spec in specs}) > 1:
        raise SpecError("Runs of a bank share base, task, method, batch size and epochs: train the others apart.")
    if len({place.start is None for place in places}) > 1:
        raise CheckpointError("Runs of a bank go on from one step: train these apart.")
    with no_denormals():  # from the start, before torch makes threads to help this one
        return _Crew(specs, places, attendant).train()


class _Crew:
    """Everything that the runs of a bank need, loaded and built."""

    def __init__(self, specs: Sequence[RunSpec], places: Sequence[Workplace], attendant: Attendant) -> None:
        """Load data and base, build the networks, choose threads. Raises: as of :func:`execute_bank`."""
        self.specs, self.places, self.attendant = specs, places, attendant
        spec, place = specs[0], places[0]
        self.device = choose_device(spec.device)
        self.task = place.tasks.get(spec.task, self.device)
        attendant.look()
        self.source = place.tasks.get(spec.source, self.device) if spec.source else None
        check_fit(spec.model, self.task.spec.dataset, self.task.train_x.shape[1], self.task.classes)
        self.base = read_network(place.base, place.base_sha256) if place.base else None
        self.networks = [network_of(spec, self.base).to(self.device) for spec in specs]
        attendant.look()
        # Fine-tuning is measured against the base, whatever the method: one evaluation serves all.
        first = self.networks[0] if spec.control != "scratch" else network_of(spec.but(control=None), self.base)
        self.before = evaluate_both(first.to(self.device), self.task, self.source, "test") if self.base else None
        attendant.look()
        start = time.perf_counter()
        self.stepper = stepper_for(self.networks, specs, self.task, self.source)
        self.seconds = time.perf_counter() - start
        self.starts = [place.start for place in places if place.start]
        self.threads = Threads(
            self.stepper,
            spec.optim.batch_size,
            self._threads(place.threads),
            steps=total_steps(spec, self.task),
            look=attendant.look,
        )

    def _threads(self, wanted: int | None) -> int | None:
        """What was on one thread goes on with one: only then its numbers are those it had without a break."""
        split = self.stepper.shards == 1 and self.starts
        return 1 if wanted is None and split and self.starts[0].position.threads == 1 else wanted

    def train(self) -> list[Outcome | Exception]:
        """Train to every run's end; what came of each, as of :func:`execute_bank`."""
        attendant, optims = self.attendant, [spec.optim for spec in self.specs]
        for member, spec in enumerate(self.specs):
            attendant.begin(member, total_steps(spec, self.task))
        outcomes: dict[int, Outcome | Exception] = {}
        done: dict[int, tuple[int, float]] = dict.fromkeys(range(len(self.specs)), (0, 0.0))
        done |= {k: (start.position.step, start.position.seconds) for k, start in enumerate(self.starts)}
        events = train(self.stepper, optims, attendant.wants_stop, self.seconds, attendant.due, self.starts)
        for member, event in events:
            if isinstance(event, Checkpoint):
                attendant.keep(member, event)
                del event  # or it would be there until the next one has been made
                continue
            if isinstance(event, StepLoss):
                done[member] = event.first_step + len(event.losses) - 1, float(event.seconds[-1])
            if isinstance(event, Diverged):
                outcomes[member] = DivergedError(event.step)
            elif isinstance(event, Stopped) and attendant.leaves(member):
                outcomes[member] = LeftError()
            elif not isinstance(event, Stopped):
                attendant.take(member, event)
            if member not in outcomes and isinstance(event, Done | Stopped):
                outcomes[member] = self.finish(member, event, *done[member])
            if member in outcomes:
                attendant.end(member, outcomes[member])
        return [outcomes[member] for member in range(len(self.specs))]

    def finish(self, member: int, event: Done | Stopped, step: int, seconds: float) -> Outcome | Exception:
        """Evaluate a run's network and write its files; what goes wrong is this run's own, but for want of memory."""
        try:
            spec, place, network = self.specs[member], self.places[member], self.networks[member]
            result = self._result(member, event, step, seconds)
            result, files = _write(spec, place, network, self.base, result, self.task.test_x[:PROBE])
        except (LabError, OSError, MemoryError, RuntimeError) as error:
            if is_out_of_memory(error) and len(self.specs) > 1:
                raise  # a smaller bank may have enough
            return error
        return Outcome(result, files, stopped=isinstance(event, Stopped))

    def _result(self, member: int, event: Done | Stopped, step: int, seconds: float) -> Result:
        spec, network = self.specs[member], self.networks[member]
        target, old = self.stepper.evaluate(member, "test")
        validation, _ = self.stepper.evaluate(member, source=False)
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
            memory=training_bytes(network),
            checkpoint_bytes=0,
            adapter_bytes=None,
            epochs=completed,
            steps=step,
            kept_epoch=event.kept_epoch if isinstance(event, Done) else 0,
            device=device_name(self.device),
            threads=self.threads.count,
            bank=len(self.specs),
            validation_accuracy=validation.accuracy,
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
