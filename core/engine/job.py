"""Running jobs: load data and base, build networks, train, evaluate and write files, independent of store and queue."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from torch import nn

from core.data.examples import shapes_of
from core.data.task import Task
from core.data.tasks import Tasks
from core.engine.base_evaluations import BaseEvaluations, Pair
from core.engine.build import network_of
from core.engine.predictions import PREDICTIONS, write_predictions
from core.engine.run_files import probe_of, write_run
from core.engine.run_memory import run_memory
from core.engine.text_memory import TextSizes, step_memory
from core.errors import CheckpointError, DivergedError, LabError, LeftError, SpecError
from core.memory import Growth, freed_memory_kept, give_back, is_out_of_memory
from core.methods.parameters import count_parameters
from core.networks.file import read_network
from core.networks.fingerprint import base_fingerprint
from core.networks.library.networks import Networks
from core.run_spec import RunSpec
from core.settings import choose_device, device_name
from core.store.record import Result
from core.training.bank.choice import notes, proven, stepper_for
from core.training.bank.shard import no_denormals
from core.training.checkpoint import Checkpoint
from core.training.evaluation import Evaluation, evaluate_both, largest_share, macro_f1
from core.training.events import Diverged, Done, EpochEnd, Event, StepLoss, Stopped
from core.training.loop import train
from core.training.schedule import steps_per_epoch, total_steps
from core.training.sharing import bank_key
from core.training.threads import Threads

Sink = Callable[[Event], None]
"""Receives the events of a run."""


@dataclass(frozen=True)
class RunContext:
    """Inputs of a run besides its spec."""

    run: str
    """Id of the run, for the model card."""
    folder: Path
    """Folder that its files are written to."""
    tasks: Tasks
    base: Path | None
    """File of the base's weights; None for a pretrain run."""
    threads: int | None
    """Number of CPU threads to train on; None chooses it by a short trial."""
    start: Checkpoint | None = None
    """Checkpoint to resume from; None starts at the first step."""
    base_sha256: str | None = None
    """Expected hash of the base's file; None skips the check."""
    networks: Networks | None = None
    """The networks that somebody brought; None if there are none."""
    bases: BaseEvaluations = field(default_factory=BaseEvaluations)
    """What is known of bases already."""


@dataclass(frozen=True)
class Outcome:
    """Result and files of a run that has ended."""

    result: Result
    files: dict[str, str]
    """SHA-256 of each file in the run's folder, by name."""
    stopped: bool
    """Whether it was stopped before its last step."""


class BankCallbacks:
    """Callbacks of a bank in training. Runs are named by their index in the bank; these defaults do nothing."""

    def on_begin(self, member: int, steps: int) -> None:
        """Called once the data is loaded, with the number of steps of the run."""

    def on_note(self, member: int, text: str) -> None:
        """Called with a sentence for the run's log."""

    def on_event(self, member: int, event: Event) -> None:
        """Called with every event of a run."""

    def poll(self) -> None:
        """Called often before the first step; may raise an exception to end the bank."""

    def should_stop(self, member: int) -> bool:
        """Called often for every run: whether to stop it and keep what it has learnt."""
        return False

    def should_leave(self, member: int) -> bool:
        """Called for a run that stops: whether to leave it without a result, to be resumed later."""
        return False

    def checkpoint_due(self) -> bool:
        """Called often: whether to make a checkpoint of every run now."""
        return False

    def on_checkpoint(self, member: int, checkpoint: Checkpoint) -> None:
        """Called with a run's checkpoint after :meth:`checkpoint_due` returned True."""

    def on_end(self, member: int, outcome: Outcome | Exception) -> None:
        """Called as soon as a run has ended; others may still train."""


class _SingleRunCallbacks(BankCallbacks):
    """The callbacks of :func:`execute`, for a bank of one run."""

    def __init__(self, sink: Sink, started: Callable[[int], None]) -> None:
        self._sink, self._started = sink, started

    def on_begin(self, member: int, steps: int) -> None:
        self._started(steps)

    def on_event(self, member: int, event: Event) -> None:
        self._sink(event)


def execute(
    spec: RunSpec,
    context: RunContext,
    sink: Sink,
    started: Callable[[int], None] = lambda steps: None,
) -> Outcome:
    """Train one run and write its files.

    Args:
        spec: the run.
        context: its data, base and folder.
        sink: called with every event.
        started: called with the number of steps once the data is loaded.

    Raises:
        SpecError: the task does not fit the network.
        DivergedError: a loss was not finite.
        LabError: data, base or adapter cannot be used; the message says why.
        OSError: a file cannot be written.
    """
    (outcome,) = execute_bank([spec], [context], _SingleRunCallbacks(sink, started))
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def execute_bank(
    specs: Sequence[RunSpec], contexts: Sequence[RunContext], callbacks: BankCallbacks
) -> list[Outcome | Exception]:
    """Train runs together and write their files.

    Args:
        specs: the runs, all with the same :func:`core.training.sharing.bank_key`.
        contexts: data, base and folder of each; all start at the first step, or all resume from the same one.
        callbacks: called while the runs train.

    Returns:
        For each run its outcome, or the error that ended it while the others went on; LeftError for a run that was
        left without a result.

    Raises:
        SpecError: the runs cannot be trained together, or their task does not fit the network.
        CheckpointError: the runs do not fit their checkpoints.
        LabError: data or base cannot be used; the message says why. No run was trained.
        MemoryError, RuntimeError: out of memory, see :func:`core.memory.is_out_of_memory`; some runs may have ended.
    """
    if len({bank_key(spec) for spec in specs}) > 1:
        raise SpecError("Runs of a bank share base, task, method, batch size and epochs: train the others separately.")
    if len({context.start is None for context in contexts}) > 1:
        raise CheckpointError("Runs of a bank resume from the same step: train these separately.")
    # A bank of perceptrons allocates once; only autograd on a large network allocates and frees in each step.
    memory = freed_memory_kept() if specs[0].network.brought else nullcontext()
    with no_denormals(), memory:  # before torch starts the threads that inherit the first setting
        return BankRun(specs, contexts, callbacks).train()


class BankRun:
    """One bank with its data, base and networks, loaded and ready to train."""

    def __init__(self, specs: Sequence[RunSpec], contexts: Sequence[RunContext], callbacks: BankCallbacks) -> None:
        """Load data and base, build the networks and choose threads. Raises: see :func:`execute_bank`."""
        self.specs, self.contexts, self.callbacks = specs, contexts, callbacks
        spec, context = specs[0], contexts[0]
        self.device = choose_device(spec.device)
        self.task = context.tasks.get(spec.task, self.device, spec.network)
        callbacks.poll()
        self.source = context.tasks.get(spec.source, self.device, spec.network) if spec.source else None
        self.growth = Growth()
        inputs = shapes_of(self.task.train.batch(slice(0, 1)))
        spec.network.check_fit(self.task.spec.dataset, inputs, self.task.classes)
        self.base = read_network(context.base, context.base_sha256) if context.base else None
        starts = [self.base or _brought(own, context) for own in specs]
        self.fingerprint = base_fingerprint(starts[0]) if spec.adapter and starts[0] else ""
        fresh = self.base is None  # a network that was brought is read for each run
        self.networks = [
            network_of(own, start, not fresh).to(self.device) for own, start in zip(specs, starts, strict=True)
        ]
        del starts
        callbacks.poll()
        # Every method is compared with the base, so one evaluation of the base serves all runs. A network that was
        # brought has no classifier yet, so there is nothing to evaluate.
        self.before = self._evaluated(self.base) if self.base else None
        callbacks.poll()
        start = time.perf_counter()
        stepper = stepper_for(self.networks, specs, self.task, self.source, callbacks.poll)
        self.seconds = time.perf_counter() - start
        self.stepper, note = proven(stepper, specs)  # not counted as training
        del stepper  # free the bank if it is not used
        for member, own in enumerate(specs):
            for sentence in [note, *notes(self.stepper, member, own)]:
                if sentence:
                    callbacks.on_note(member, sentence)
        callbacks.poll()
        self.starts = [context.start for context in contexts if context.start]
        self.threads = Threads(
            self.stepper,
            spec.optim.batch_size,
            self._threads(context.threads),
            steps=total_steps(spec.optim, self.task.num_train),
            look=callbacks.poll,
        )

    def _evaluated(self, base: nn.Module) -> Pair:
        spec, context = self.specs[0], self.contexts[0]
        key = None
        if context.base_sha256:
            parts = tuple((task, context.tasks.revision(task)) for task in (spec.task, spec.source) if task)
            key = context.base_sha256, parts, str(self.device)

        def evaluate() -> Pair:
            own = self.networks[0] if spec.method.starts_from_base else copy.deepcopy(base)
            return evaluate_both(own.to(self.device), self.task, self.source, "test", self.callbacks.poll)

        return context.bases.get(key, evaluate)

    def _threads(self, wanted: int | None) -> int | None:
        """Resume on one thread what was trained on one: only then are the results bit-identical."""
        split = self.stepper.shards == 1 and self.starts
        return 1 if wanted is None and split and self.starts[0].position.threads == 1 else wanted

    def train(self) -> list[Outcome | Exception]:
        """Train until every run has ended. Returns: see :func:`execute_bank`."""
        callbacks, optims = self.callbacks, [spec.optim for spec in self.specs]
        for member, spec in enumerate(self.specs):
            callbacks.on_begin(member, total_steps(spec.optim, self.task.num_train))
        outcomes: dict[int, Outcome | Exception] = {}
        done: dict[int, tuple[int, float]] = dict.fromkeys(range(len(self.specs)), (0, 0.0))
        done |= {k: (start.position.step, start.position.seconds) for k, start in enumerate(self.starts)}
        validated: dict[tuple[int, int], float] = {}
        events = train(self.stepper, optims, callbacks.should_stop, self.seconds, callbacks.checkpoint_due, self.starts)
        for member, event in events:
            if isinstance(event, Checkpoint):
                callbacks.on_checkpoint(member, event)
                del event  # free its memory before the next checkpoint is made
                continue
            if isinstance(event, StepLoss):
                self.growth.sample()
                done[member] = event.first_step + len(event.losses) - 1, float(event.seconds[-1])
            if isinstance(event, EpochEnd):
                validated[member, event.epoch] = event.validation_accuracy
            if isinstance(event, Diverged):
                outcomes[member] = DivergedError(event.step)
            elif isinstance(event, Stopped) and callbacks.should_leave(member):
                outcomes[member] = LeftError()
            elif not isinstance(event, Stopped):
                callbacks.on_event(member, event)
            if member not in outcomes and isinstance(event, Done | Stopped):
                kept = event.kept_epoch if isinstance(event, Done) else 0
                outcomes[member] = self.finish(member, event, *done[member], validated.get((member, kept)))
            if member in outcomes:
                callbacks.on_end(member, outcomes[member])
        return [outcomes[member] for member in range(len(self.specs))]

    def finish(
        self, member: int, event: Done | Stopped, step: int, seconds: float, validated: float | None = None
    ) -> Outcome | Exception:
        """Evaluate a run's network and write its files.

        Args:
            member: index of the run in the bank.
            event: how its training ended.
            step: its last step.
            seconds: its training time.
            validated: accuracy of these weights on the validation part, where an epoch's end has found it.

        Returns:
            The outcome, or the error that fails this run only. Out of memory is raised, so that the bank is split.
        """
        try:
            spec, context, network = self.specs[member], self.contexts[member], self.networks[member]
            target, old = self.stepper.evaluate(member, "test", look=partial(self._look, member))
            if validated is None:
                found, _ = self.stepper.evaluate(member, source=False, look=partial(self._look, member))
                validated = found.accuracy
            result = self._result(member, event, step, seconds, target, old, validated)
            probe = probe_of(self.task.test, spec.network)
            if len(self.specs) == 1:
                give_back()  # what a step took, before the network is copied
            result, files = write_run(
                context.run, context.folder, spec, network, self.fingerprint, result, probe, self.task.class_names
            )
            self.growth.sample()
            result = replace(result, peak_memory=self.growth.peak)
            files[PREDICTIONS] = write_predictions(context.folder / PREDICTIONS, target.predicted)
        except (LabError, OSError, MemoryError, RuntimeError) as error:
            if is_out_of_memory(error) and len(self.specs) > 1:
                raise  # a smaller bank may have enough
            return error
        return Outcome(result, files, stopped=isinstance(event, Stopped))

    def _look(self, member: int) -> None:
        """Say that the run goes on. Raises: LeftError: it is to be left, and evaluated by whoever resumes it."""
        self.callbacks.checkpoint_due()
        if self.callbacks.should_leave(member):
            raise LeftError

    def _result(
        self,
        member: int,
        event: Done | Stopped,
        step: int,
        seconds: float,
        target: Evaluation,
        old: Evaluation | None,
        validated: float,
    ) -> Result:
        """The result of a run, evaluated on the test parts of its target and, if it has one, its source."""
        spec, network = self.specs[member], self.networks[member]
        target_before, old_before = self.before or (None, None)
        self.growth.sample()
        completed = step // steps_per_epoch(self.task.num_train, spec.optim.batch_size)
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
            memory=_memory_of(spec, self.task),
            checkpoint_bytes=0,
            adapter_bytes=None,
            epochs=completed,
            steps=step,
            kept_epoch=event.kept_epoch if isinstance(event, Done) else 0,
            device=device_name(self.device),
            threads=self.threads.count,
            bank=len(self.specs),
            validation_accuracy=validated,
            peak_memory=self.growth.peak,
            macro_f1=macro_f1(target.predicted, self.task.test.labels),
            largest_class=largest_share(self.task.test.labels),
        )


def _memory_of(spec: RunSpec, task: Task) -> int:
    """Bytes that a run takes in training, alone."""
    texts = TextSizes.of(task)
    if texts is not None:
        return step_memory(spec.network, spec.method, spec.optim, texts.trained)
    return run_memory(spec.network, spec.method, spec.optim.part_size, task.num_train)


def _brought(spec: RunSpec, context: RunContext) -> nn.Module | None:
    """The network that a run without a base starts from, if it has weights that somebody brought."""
    if spec.network.brought is None or not spec.method.starts_from_base:
        return None
    if context.networks is None:
        raise SpecError("This run starts from a network that somebody brought: train it where that network is.")
    return context.networks.start(spec.network, spec.seed)
