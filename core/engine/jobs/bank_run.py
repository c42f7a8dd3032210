"""A bank in training: data and base are loaded, networks are built, trained and evaluated, and files are made."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from core.data.examples import EvaluationPart, Task, TextExamples, shapes_of
from core.engine.jobs.base_evaluations import Pair
from core.engine.jobs.choice import notes, proven, stepper_for
from core.engine.jobs.job import Commands, Dependencies, Job, Member, network_of
from core.engine.jobs.messages import Began, Ended, Failed, Fault, Left, Message, Noted, OfMember, Reported, Saved
from core.engine.jobs.run_files import PREDICTIONS, file_of, predictions_bytes, probe_of, stored
from core.engine.jobs.run_memory import run_memory
from core.errors import DivergedError, LabError, LeftError, SpecError
from core.memory import Growth, give_back, is_out_of_memory
from core.methods.linear import count_parameters
from core.methods.method import Role
from core.methods.pretrain import PretrainSpec
from core.methods.targets import head_state
from core.networks.file import base_fingerprint, read_network
from core.networks.new_rows import NewRows
from core.objectives.measure import BEFORE, SOURCE, VALIDATION
from core.run_spec import RunSpec
from core.settings import choose_device, device_name
from core.store.record import Result
from core.training.checkpoint import Checkpoint
from core.training.evaluation import Evaluation, evaluate_both
from core.training.loop import train
from core.training.schedule import examples_seen, steps_per_epoch, total_steps
from core.training.stepper import Diverged, Done, EpochEnd, StepLoss, Stopped
from core.training.threads import Threads


@dataclass(frozen=True)
class _Origin:
    """What a member starts from."""

    network: nn.Module
    """Its own, before the first step."""
    fingerprint: str
    """Of the base under its adapters; empty if it trains none."""
    head: dict[str, Tensor]
    """The base's head, where it is trained whole: tensors by their names."""
    before: Pair | None
    """Evaluations of its base on the test parts; None if it has none."""


class BankRun:
    """The members of one job with their data, bases and networks, loaded and ready to train.

    A base that cannot be used fails the members that start from it, and the others train without them. So inside, a
    member has the number that the stepper knows it by; only messages and commands name it by its place in the job.
    """

    def __init__(self, job: Job, starts: Sequence[Checkpoint], dependencies: Dependencies, commands: Commands) -> None:
        """Load data and base, build the networks and choose threads.

        Args:
            job: the members.
            starts: the checkpoint of each; empty if all start at the first step.
            dependencies: what the job refers to.
            commands: taken between two parts of this.

        Raises:
            SpecError: the task does not fit the network.
            LeftError: the job was told to leave.
            LabError: data, or each of the bases, cannot be used; the message says why.
            MemoryError, RuntimeError: out of memory, see :func:`core.memory.is_out_of_memory`.
        """
        self.job, self.starts, self.dependencies, self.commands = job, starts, dependencies, commands
        self.specs = specs = job.specs
        spec = specs[0]
        self.device = choose_device(spec.device)
        self.task = dependencies.tasks.get(spec.task, self.device, spec.network)
        self._check()
        self.source = dependencies.tasks.get(spec.source, self.device, spec.network) if spec.source else None
        self.growth = Growth()
        inputs = shapes_of(self.task.train.batch(slice(0, 1)))
        for task in (spec.task, *([spec.source] if spec.source else [])):
            info = dependencies.tasks.catalog.info(task.dataset, spec.network.learns)
            spec.objective.check_dataset(task.dataset, info.objective)
        spec.network.check_fit(self.task.spec.dataset, inputs, self.task.classes)
        self.refused: dict[int, Fault] = {}
        """Why members of the job are not trained."""
        found = self._origins()
        self.places = sorted(found)
        """Place in the job of each member that is trained."""
        self.specs = specs = [job.specs[place] for place in self.places]
        self.starts = [starts[place] for place in self.places] if starts else []
        self.networks = [found[place].network for place in self.places]
        self.fingerprints = [found[place].fingerprint for place in self.places]
        self.heads = [found[place].head for place in self.places]
        self.before = [found[place].before for place in self.places]
        self.new_rows = [
            NewRows.of(network, own.network, self.task.classes) if own.method == PretrainSpec(new_rows=True) else None
            for network, own in zip(self.networks, specs, strict=True)
        ]
        self._check()
        start = time.perf_counter()
        stepper = stepper_for(self.networks, specs, self.task, self.source, self._check)
        self.seconds = time.perf_counter() - start
        self.stepper, self.note = proven(stepper, specs)  # not counted as training
        del stepper  # free the bank if it is not used
        self._check()
        self.threads = Threads(
            self.stepper,
            spec.optim.batch_size,
            self._threads(job.threads),
            steps=total_steps(spec.optim, self.task.num_train),
            look=self._check,
        )

    def _check(self) -> None:
        """Take commands. Raises: LeftError: the job is to be left."""
        self.commands.check(range(len(self.job.members)))

    def _origins(self) -> dict[int, _Origin]:
        """Build networks, by place in the job: from a base, of which one is in memory at a time, or one of their own.

        Raises:
            LabError: none of the bases can be used.
        """
        found: dict[int, _Origin] = {}
        errors: list[LabError] = []
        for id in dict.fromkeys(spec.base for spec in self.specs):
            own = [place for place, spec in enumerate(self.specs) if spec.base == id]
            try:
                base = _base_of(self.specs[own[0]], self.job.members[own[0]].base, self.dependencies)
            except LabError as error:
                errors.append(error)
                self.refused |= dict.fromkeys(own, Fault.of(error))
                continue
            found |= self._origins_on(base, own)
            del base  # free its memory before the next one is read
        if not found:
            raise errors[0]
        return found

    def _origins_on(self, base: nn.Module | None, places: Sequence[int]) -> dict[int, _Origin]:
        """The same for members that start from one base, or all from no base."""
        specs, first = [self.specs[place] for place in places], self.job.members[places[0]]
        # A network that was imported is read for each run, and becomes the run's network itself.
        starts = [base or _imported(spec, self.dependencies) for spec in specs]
        fingerprint = base_fingerprint(starts[0]) if first.spec.role is Role.ADAPTER and starts[0] else ""
        networks = [
            network_of(spec, start, base is not None).to(self.device) for spec, start in zip(specs, starts, strict=True)
        ]
        del starts
        self._check()
        # Every method is compared with the base, so one evaluation of the base serves all its runs. A network that
        # was imported is a base, too, unless its head is new: then it has learned nothing of the task.
        has_learned = base is not None or (first.spec.is_direct and not first.spec.has_new_head)
        before = self._evaluated(base, networks[0], first) if has_learned else None
        self._check()
        state = head_state(networks[0]) if base and first.spec.head else {}
        head = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
        return {
            place: _Origin(network, fingerprint, head, before) for place, network in zip(places, networks, strict=True)
        }

    def _evaluated(self, base: nn.Module | None, network: nn.Module, member: Member) -> Pair:
        """How well a base does on the test parts, or a network that was imported if there is none; ``network`` is that
        of a member before its first step.
        """
        spec, tasks = member.spec, self.dependencies.tasks
        key, start = None, member.base if spec.base else spec.network.brought
        if start:
            parts = tuple((task, tasks.revision(task)) for task in (spec.task, spec.source) if task)
            key = start, parts, f"{self.device} {spec.objective.kind}"

        def evaluate() -> Pair:
            own = network if spec.method.starts_from_base else copy.deepcopy(base)
            own = own or _untouched(spec, self.dependencies)
            return evaluate_both(own.to(self.device), self.task, self.source, "test", self._check, spec.objective)

        return self.dependencies.bases.get(key, evaluate)

    def _threads(self, wanted: int | None) -> int | None:
        """Resume on one thread what was trained on one: only then are the results bit-identical."""
        split = self.stepper.shards == 1 and self.starts
        return 1 if wanted is None and split and self.starts[0].position.threads == 1 else wanted

    def messages(self) -> Iterator[Message]:
        """Train until every member has ended, and yield what happens.

        Raises:
            MemoryError, RuntimeError: out of memory, see :func:`core.memory.is_out_of_memory`; some members may have
                ended.
        """
        for place, fault in self.refused.items():
            yield Failed(place, fault)
        for message in self._messages():
            told = replace(message, member=self.places[message.member])
            del message  # it may hold a checkpoint, and the next one needs the memory
            yield told
            del told

    def _messages(self) -> Iterator[OfMember]:
        commands, optims = self.commands, [spec.optim for spec in self.specs]
        for member, spec in enumerate(self.specs):
            seconds = self.starts[member].position.seconds if self.starts else 0.0
            for sentence in [self.note, *notes(self.stepper, member, spec)]:
                if sentence:
                    yield Noted(member, sentence)
            yield Began(member, total_steps(spec.optim, self.task.num_train), seconds)
        done: dict[int, tuple[int, float]] = dict.fromkeys(range(len(self.specs)), (0, 0.0))
        done |= {k: (start.position.step, start.position.seconds) for k, start in enumerate(self.starts)}
        validated: dict[tuple[int, int], dict[str, float]] = {}
        events = train(self.stepper, optims, self._is_stopping, self.seconds, commands.is_due, self.starts)
        for member, event in events:
            match event:
                case Checkpoint(position=position):
                    commands.saved()
                    content = event.to_bytes()
                    del event  # free its memory before the next checkpoint is made
                    yield Saved(member, position.step, content)
                    del content
                case StepLoss():
                    self.growth.sample()
                    done[member] = event.first_step + len(event.losses) - 1, float(event.seconds[-1])
                    yield Reported(member, event)
                case EpochEnd():
                    validated[member, event.epoch] = {
                        name: value for name, value in event.measures.items() if name.startswith(VALIDATION)
                    }
                    yield Reported(member, event)
                case Diverged():
                    yield Failed(member, Fault.of(DivergedError(event.step)))
                case Stopped() if self._is_left(member):
                    yield Left(member)
                case Done() | Stopped():
                    kept = event.kept_epoch if isinstance(event, Done) else 0
                    yield self._finished(member, event, *done[member], validated.get((member, kept)))

    def _finished(
        self, member: int, event: Done | Stopped, step: int, seconds: float, validated: Mapping[str, float] | None
    ) -> Ended | Left | Failed:
        """Evaluate a member's network and make its files; what an epoch's end has ``validated`` is not measured again.

        Returns:
            Its end; an error fails this member only. Out of memory is raised, so that the bank is split.
        """
        try:
            spec, network, new_rows = self.specs[member], self.networks[member], self.new_rows[member]
            if new_rows is not None:
                new_rows.put_into(network)
                validated = None  # an epoch's end has found them with the rows that were trained
            target, old = self._judged(member, "test")
            if validated is None:
                found, _ = self._judged(member, "validation", source=False)
                validated = {VALIDATION + name: value for name, value in found.measures.items()}
            result = self._result(member, event, step, seconds, target, old, validated)
            probe = probe_of(self.task.test, spec.network)
            if spec.network.brought is not None:
                give_back()  # what steps and evaluations took, before the network is copied
            run = self.job.members[self.places[member]].run
            catalog, dataset = self.dependencies.tasks.catalog, spec.task.dataset
            own = catalog.load(dataset) if catalog.info(dataset).is_own else None
            result, files = file_of(
                run,
                spec,
                network,
                self.fingerprints[member],
                self.heads[member],
                result,
                probe,
                self.task.class_names,
                uploaded=own,
            )
            self.growth.sample()
            result = replace(result, peak_memory=self.growth.peak)
            files[PREDICTIONS] = predictions_bytes(stored(target))
        except LeftError:
            return Left(member)
        except (LabError, OSError, MemoryError, RuntimeError) as error:
            if is_out_of_memory(error) and len(self.specs) > 1:
                raise  # a smaller bank may have enough
            return Failed(member, Fault.of(error))
        return Ended(member, result, files, stopped=isinstance(event, Stopped))

    def _judged(self, member: int, part: EvaluationPart, source: bool = True) -> Pair:
        """Evaluate a member after its last step; see :meth:`core.training.stepper.Stepper.evaluate`."""
        look, new_rows = partial(self._look, member), self.new_rows[member]
        if new_rows is None:
            return self.stepper.evaluate(member, part, source, look)
        # The stepper may hold a copy of what was trained, without the new rows.
        other = self.source if source else None
        return evaluate_both(self.networks[member], self.task, other, part, look, self.specs[member].objective)

    def _look(self, member: int) -> None:
        """Say that the run goes on. Raises: LeftError: it is to be left, and evaluated by whoever resumes it."""
        self.commands.is_due()
        if self._is_left(member):
            raise LeftError

    def _is_stopping(self, member: int) -> bool:
        return self.commands.is_stopping(self.places[member])

    def _is_left(self, member: int) -> bool:
        return self.commands.is_left(self.places[member])

    def _result(
        self,
        member: int,
        event: Done | Stopped,
        step: int,
        seconds: float,
        target: Evaluation,
        old: Evaluation | None,
        validated: Mapping[str, float],
    ) -> Result:
        """The result of a run, evaluated on the test parts of its target and, if it has one, its source."""
        spec, network = self.specs[member], self.networks[member]
        target_before, old_before = self.before[member] or (None, None)
        self.growth.sample()
        completed = step // steps_per_epoch(self.task.num_train, spec.optim.batch_size)
        seen = examples_seen(self.task.num_train, spec.optim.batch_size, step)
        return Result(
            measures={
                **_measured(spec.objective.at_end(source=False), target, target_before, ""),
                **_measured(spec.objective.at_end(source=True), old, old_before, SOURCE),
                **validated,
                **spec.objective.facts(self.task.test.labels),
            },
            parameters=count_parameters(network),
            trainable_parameters=count_parameters(network, trainable=True),
            seconds=seconds,
            examples_per_second=seen / seconds if seconds else 0.0,
            memory=_memory_of(spec, self.task),
            checkpoint_bytes=0,
            adapter_bytes=None,
            epochs=completed,
            steps=step,
            kept_epoch=event.kept_epoch if isinstance(event, Done) else 0,
            device=device_name(self.device),
            threads=self.threads.count,
            bank=max([len(self.specs), *(start.position.bank for start in self.starts[member : member + 1])]),
            peak_memory=self.growth.peak,
        )


def _measured(
    names: Sequence[str], after: Evaluation | None, before: Evaluation | None, prefix: str
) -> dict[str, float | None]:
    """Measures after fine-tuning and before it, by their names in results; None for what there is not."""
    found: dict[str, float | None] = {}
    for name in names:
        found[prefix + name] = after.measures[name] if after else None
        found[prefix + name + BEFORE] = before.measures[name] if before else None
    return found


def _memory_of(spec: RunSpec, task: Task) -> int:
    """Bytes that a run takes in training, alone."""
    train = task.train
    longest = int(train.lengths.max()) if isinstance(train, TextExamples) else None
    objective = spec.objective.without_choices()
    return run_memory(spec.trained_network, spec.method, spec.optim, task.num_train, longest, objective)


def _base_of(spec: RunSpec, sha256: str | None, dependencies: Dependencies) -> nn.Module | None:
    """The base that a run starts from, if it has one. Raises: LabError: its file is damaged, or not here."""
    if spec.base is None:
        return None
    if dependencies.base is None:
        raise SpecError(f"This run starts from the base {spec.base}: train it where the weights of that are.")
    return read_network(dependencies.base(spec.base), sha256)


def _imported(spec: RunSpec, dependencies: Dependencies) -> nn.Module | None:
    """The network that a run without a base starts from, if it has weights that somebody imported."""
    if spec.network.brought is None or not spec.method.starts_from_base:
        return None
    return _untouched(spec, dependencies)


def _untouched(spec: RunSpec, dependencies: Dependencies) -> nn.Module:
    """The network that somebody imported, before a run. Raises: LabError: it cannot be read, or is not here."""
    if dependencies.networks is None:
        raise SpecError("This run starts from a network that somebody imported: train it where that network is.")
    return dependencies.networks.start(spec.network, spec.seed)
