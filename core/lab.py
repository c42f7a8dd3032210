"""The one object that pages and the command line talk to."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.adapter import AdapterFile, Verification, apply_adapter, read_adapter, verify_adapter
from core.data.catalog import Catalog, DatasetInfo
from core.data.downloads import Downloads
from core.data.idx import Images, Labels
from core.data.presets import PRESETS, preset_tasks
from core.data.tasks import Tasks, preview
from core.engine.cost import Cost, cost, plan
from core.engine.experiment import Setting, arm_specs
from core.engine.job import ADAPTER, NETWORK, check_fit
from core.engine.processes import Owner, living
from core.engine.recipe import Recipe, weights_digest
from core.engine.usage import Space
from core.engine.watchdog import Watchdog
from core.engine.workers import Workers
from core.errors import LabError, RunStateError, UnknownRunError
from core.files import check_sha256
from core.methods.lora import merged_copy
from core.networks.file import read_network, write_network
from core.settings import Settings, available_devices, choose_device
from core.spec import Device, ModelSpec, OptimSpec, RunSpec, TaskSpec
from core.store.backups import Backups
from core.store.copies import Copies
from core.store.database import explained
from core.store.deletions import Deletions
from core.store.notes import Shelf
from core.store.record import Curve, Experiment, Run, State
from core.store.restore import Restored, Restoring
from core.store.search import Search
from core.store.store import Store

log = logging.getLogger(__name__)

LAST_COPIES_SECONDS = 0.5
"""Given to the copies of what changed last, even where the runs took all the time there was."""

MERGED = "merged.safetensors"
IMAGE_PIXELS = 28 * 28


class Lab:
    """Store, datasets and workers of one home folder, in one process."""

    def __init__(self, settings: Settings) -> None:
        """Open the home folder; :meth:`start` lets it train."""
        settings.make_home()
        self.settings = settings
        self.catalog = Catalog(settings)
        self.tasks = Tasks(self.catalog)
        self.downloads = Downloads(self.catalog)
        self.store = Store(settings.store)
        self._process = Owner(settings.processes, settings.runs, self.store, settings.hang_seconds)
        self.owner = self._process.name
        self.search = Search(self.store)
        self.shelf = Shelf(self.store, settings.home)
        self.space = Space(settings, self.store, self.tasks)
        self._copies = Copies(self.store, settings.runs, self.owner)
        self._backups = Backups(self.store, settings.backups)
        self._restoring = Restoring(
            self.store, settings.home, self._copies, Deletions(settings.home), self._backups, self.owner
        )
        self._unlisted: list[str] = []
        self.workers = Workers(settings, self.store, self._copies, self.tasks, self.owner)
        self._watchdog = Watchdog(self._process, self.workers, settings.settle_seconds, settings.hang_seconds)

    def start(self) -> None:
        """Settle what dead processes left behind, and begin to take runs. Nothing that was trained is deleted.

        Raises:
            StoreError: the store is damaged, or cannot be written.
        """
        self.store.verify()
        self._process.enter()
        self.shelf.finish_deletions()
        # Before the runs of dead processes are settled: an older store that was put back knows less than their folders.
        left = self.store.runs(states=["queued", "running", "interrupted"])
        self._copies.catch_up([run.id for run in left])
        self._process.settle()
        self._unlisted = self._restoring.unlisted()
        if self._unlisted:
            log.warning(
                "%d folders in %s are of runs that the store does not know: `python -m core restore`, or the button on "
                "the first page, lists them again.",
                len(self._unlisted),
                self.settings.runs,
            )
        self.space.usage()  # reads every folder once, so that the first page need not
        self.workers.start()
        self._watchdog.start()
        self._copies.start(living(self.settings.processes))
        self._backups.start()

    def close(self, timeout: float = 4.0) -> None:
        """Interrupt what runs, each with a checkpoint, and let go of the home folder.

        Args:
            timeout: seconds in which all threads together are waited for.
        """
        end = time.monotonic() + timeout
        self._watchdog.close()
        if not self.workers.close(timeout):
            log.warning("A run did not let go in %g s; it is found interrupted at the next start.", timeout)
        self.downloads.close()
        self._backups.close(end - time.monotonic())
        self._copies.close(max(LAST_COPIES_SECONDS, end - time.monotonic()))
        self._process.leave()
        self.store.close()

    # Starting runs

    def launch(self, spec: RunSpec) -> Run:
        """Queue one run.

        Raises:
            LabError: the spec does not hold, the dataset is not there, or the queue is full.
        """
        id = _new_id("r")
        self._queue([(id, spec)])
        return self.run(id)

    def find_base(self, spec: RunSpec) -> Run | None:
        """A finished run of exactly this spec: training it again would give the same network."""
        for run in self.store.runs(methods=["pretrain"], states=["finished"]):
            if run.spec == spec:
                try:
                    self.file(run.id, NETWORK)
                except (LabError, OSError) as error:
                    log.warning("Run %s is no base for others: %s", run.id, error)
                else:
                    return run
        return None

    def fine_tune(
        self,
        base: Run,
        task: TaskSpec,
        arms: Sequence[Setting],
        seeds: Sequence[int],
        name: str,
        device: Device = "auto",
        own_bases: bool = False,
    ) -> Experiment:
        """Queue an experiment: every arm with every seed, from one base on one task.

        Args:
            base: a pretrain run, finished or still to come.
            task: what to fine-tune on.
            arms: training settings, with LoRA settings or a control, or None for full fine-tuning.
            seeds: one run an arm each.
            name: what people see.
            device: where to train.
            own_bases: whether each seed starts from a base like this one that was pretrained with that seed.

        Raises:
            LabError: a spec does not hold, the dataset is not there, or the queue is full; nothing was queued.
        """
        bases, new = self._bases(base.spec, seeds) if own_bases else (base.id, [])
        return self._launch(new, arm_specs(bases, base.spec, task, arms, seeds, device), name)

    def compare(
        self,
        preset: str,
        source: str,
        target: str | None,
        pretraining: OptimSpec,
        arms: Sequence[Setting],
        seeds: Sequence[int],
        device: Device = "auto",
        own_bases: bool = False,
    ) -> Experiment:
        """The whole job: a base, or one for each seed, then every arm with every seed.

        A base that was trained with the same spec before is used again.

        Raises:
            LabError: as of :meth:`fine_tune`; nothing was queued.
        """
        source_task, target_task = preset_tasks(preset, source, self.catalog, target)
        classes = max(self.catalog.info(task.dataset).num_classes for task in (source_task, target_task))
        spec = RunSpec.of(
            method="pretrain",
            model=ModelSpec.of(num_classes=classes),
            task=source_task,
            optim=pretraining,
            device=device,
        )
        bases, new = self._bases(spec, seeds if own_bases else [spec.seed])
        title = source if target_task.dataset == source else f"{source} → {target_task.dataset}"
        return self._launch(
            new,
            arm_specs(bases if own_bases else bases[spec.seed], spec, target_task, arms, seeds, device),
            f"{title}, {PRESETS[preset].title.lower()}",
        )

    def _bases(self, spec: RunSpec, seeds: Sequence[int]) -> tuple[dict[int, str], list[tuple[str, RunSpec]]]:
        """Ids of a base like ``spec`` for each seed, and those among them that are still to be trained."""
        specs = {seed: spec.but(seed=seed) for seed in seeds}
        known = {seed: self.find_base(own) for seed, own in specs.items()}
        ids = {seed: base.id if base else _new_id("r") for seed, base in known.items()}
        return ids, [(ids[seed], specs[seed]) for seed, base in known.items() if base is None]

    def _launch(self, before: list[tuple[str, RunSpec]], specs: list[RunSpec], name: str) -> Experiment:
        """Queue the runs of an experiment, and the base before them where it is new; all or nothing."""
        members = [(_new_id("r"), spec) for spec in specs]
        base = str(specs[0].base)
        experiment = Experiment(_new_id("e"), name, time.time(), base, tuple(id for id, _ in members))
        self._queue([*before, *members], experiment)
        return experiment

    def _queue(self, runs: list[tuple[str, RunSpec]], experiment: Experiment | None = None) -> None:
        specs = {spec for _, spec in runs}
        for device in {spec.device for spec in specs}:
            choose_device(device)
        for model, lora in {(spec.model, spec.lora) for spec in specs}:
            plan(model, lora)
        for model, task in {(spec.model, task) for spec in specs for task in (spec.task, spec.source)}:
            if task is not None:
                check_fit(model, task.dataset, IMAGE_PIXELS, self.tasks.outline(task).classes)
        self.space.check(spec for _, spec in runs)
        self.store.add(runs, self.owner, self.settings.max_waiting, experiment)
        self.workers.wake()

    # Following runs

    def run(self, id: str) -> Run:
        """One run. Raises: UnknownRunError: there is none of that id."""
        return self.store.run(id)

    def runs(self, **filters: Sequence[State] | Sequence[str] | str | None) -> list[Run]:
        """Runs, the newest first; filters as of :meth:`core.store.store.Store.runs`."""
        return self.store.runs(**filters)  # type: ignore[arg-type]

    def runs_of(self, ids: Sequence[str]) -> list[Run]:
        """These runs, in this order; ids that name none are left out."""
        return self.store.runs_of(ids)

    def live(self) -> list[Run]:
        """Runs that train or wait, in the order they will be trained."""
        return sorted(
            self.store.runs(states=["queued", "running"]), key=lambda run: (run.state == "queued", run.created)
        )

    def bases(self) -> list[Run]:
        """Pretrain runs whose network can be fine-tuned, the newest first."""
        return [run for run in self.store.runs(methods=["pretrain"], states=["finished", "stopped"]) if run.result]

    def curve(self, id: str) -> Curve:
        """A run's losses and epochs so far."""
        return self.store.curve(id)

    def history(self, id: str) -> list[tuple[float, State]]:
        """When a run entered which state."""
        return self.store.transitions(id)

    def experiment(self, id: str) -> Experiment:
        """One experiment. Raises: UnknownRunError: there is none of that id."""
        return self.store.experiment(id)

    def experiments(self, limit: int = 100) -> list[Experiment]:
        """Experiments, the newest first."""
        return self.store.experiments(limit)

    def members(self, experiment: Experiment) -> list[Run]:
        """An experiment's runs, in the order they were queued."""
        return self.store.runs(experiment=experiment.id)[::-1]

    def stop(self, id: str) -> None:
        """Stop a run; what it has learnt is kept. Raises: UnknownRunError."""
        self.store.ask_stop(id, self.owner)
        self.workers.wake()

    def resume(self, id: str) -> None:
        """Train an interrupted run on from its checkpoint; from its first step where it has none.

        Raises:
            RunStateError: the run is not interrupted.
        """
        self.store.requeue([id], self.owner)
        self.workers.wake()

    def resume_all(self, ids: Sequence[str] | None = None) -> int:
        """Train all interrupted runs on, or those among ``ids``; gives their number.

        Those of one bank go on as one, which a resume of each in turn does not promise.
        """
        wanted = None if ids is None else set(ids)
        runs = self.store.runs(states=["interrupted"])[::-1]
        chosen = [run.id for run in runs if wanted is None or run.id in wanted]
        self.store.requeue(chosen, self.owner)
        self.workers.wake()
        return len(chosen)

    def log(self, id: str) -> list[tuple[float, str]]:
        """Sentences about a run's life, each with its moment: interruptions, checkpoints that went wrong."""
        return self.store.log(id)

    def repeat(self, *ids: str) -> list[str]:
        """Queue new runs of the same specs, all or none; give their ids. Raises: LabError: as of :meth:`fine_tune`."""
        new = [(_new_id("r"), self.run(id).spec) for id in ids]
        self._queue(new)
        return [id for id, _ in new]

    def recipe(self, id: str) -> Recipe:
        """What it takes to train a run again, anywhere. Raises: UnknownRunError: there is none of that id."""
        run = self.run(id)
        bases = self.runs_of([run.spec.base] if run.spec.base else [])
        base = [Recipe.of_run(run, self._weights(run)) for run in bases]
        return Recipe.of_run(run, self._weights(run), *base)

    def _weights(self, run: Run) -> str | None:
        """What :func:`core.engine.recipe.weights_digest` says of a run that has a result."""
        return weights_digest(self.settings.runs / run.id, self.store.files(run.id)) if run.result else None

    # What the store has lost

    def unlisted(self) -> list[str]:
        """Ids of runs that had a folder but no place in the store when the lab was opened, and still have none."""
        known = {run.id for run in self.store.runs_of(self._unlisted)}
        return [id for id in self._unlisted if id not in known]

    def restore(self) -> Restored:
        """List again every run that has a folder; what cannot be placed goes to a folder for strays.

        Raises:
            StoreError: the store cannot be written.
            OSError: a folder cannot be moved.
        """
        try:
            restored = self._restoring.restore()
        except sqlite3.Error as error:
            raise explained(error, self.settings.store) from error
        self._unlisted = []
        return restored

    def check(self) -> None:
        """See that the store answers. Raises: StoreError: it does not; the message says what to do."""
        self.store.check()

    # Datasets and plans

    def datasets(self) -> list[DatasetInfo]:
        """All datasets, on this machine or not."""
        return self.catalog.list()

    def preview(self, task: TaskSpec, per_class: int = 1) -> tuple[Images, Labels]:
        """What a task looks like: images of shape (k, 28, 28) and their labels. Raises: DatasetError."""
        return preview(self.tasks.get(task), per_class)

    def cost(self, spec: RunSpec) -> Cost:
        """What a run will take, before it is started. Raises: LabError: the spec does not hold."""
        examples = len(self.tasks.outline(spec.task).train)
        return cost(spec, examples, choose_device(spec.device).type)

    def remaining(self, runs: Sequence[Run]) -> float:
        """Seconds of training until these runs have ended, from their own pace or a short calibration."""
        return sum(
            run.eta if run.eta is not None else self.cost(run.spec).seconds * (1 - run.progress)
            for run in runs
            if run.is_live
        )

    def devices(self) -> list[str]:
        """Devices to choose from, ``auto`` first."""
        return ["auto", *available_devices()]

    # Files

    def file(self, run: str, name: str) -> Path:
        """A file that a run left: ``network.safetensors``, ``adapter.zip``, or ``merged.safetensors``.

        The merged network of a LoRA run is made when it is first asked for.

        Raises:
            UnknownRunError: there is no such run, or it makes no such file.
            RunStateError: the run has not made it yet.
            DamagedFileError: its content is not what was written.
        """
        record = self.run(run)
        made = {"lora": (ADAPTER, MERGED)}.get(record.spec.method, (NETWORK,))
        if name not in made:
            raise UnknownRunError(f"Run {run} makes no file {name!r}; it makes: {', '.join(made)}.")
        if record.result is None:
            raise RunStateError(f"Run {run} is {record.state}: it has made no files.")
        path = self.settings.runs / run / name
        known = self.store.files(run).get(name)
        if name == MERGED and (known is None or not path.exists()):
            merged = merged_copy(apply_adapter(read_network(self.base_file(record)), self.adapter(run)))
            known = write_network(path, merged)
            self.store.add_file(run, name, known)
        if not path.exists():
            raise UnknownRunError(f"The file {name} of run {run} is gone from {path.parent}.")
        if known is not None:
            check_sha256(path, known, f"The file {name} of run {run}")
        return path

    def content(self, run: str, name: str) -> bytes:
        """The bytes of :meth:`file`. Raises: as of :meth:`file`."""
        return self.file(run, name).read_bytes()

    def base_file(self, run: Run) -> Path:
        """The weights that a fine-tune run started from. Raises: as of :meth:`file`."""
        if run.spec.base is None:
            raise UnknownRunError(f"Run {run.id} started from no base.")
        return self.file(run.spec.base, NETWORK)

    def adapter(self, run: str) -> AdapterFile:
        """A LoRA run's adapter, read and checked. Raises: AdapterError: the file is damaged."""
        return read_adapter(self.file(run, ADAPTER))

    def certificate(self, run: str) -> dict[str, Any]:
        """What was checked when a LoRA run's adapter was written. Raises: AdapterError: the file is damaged."""
        certificate = self.adapter(run).certificate
        return asdict(certificate) if certificate else {}

    def verify(self, run: str) -> Verification:
        """Check a LoRA run's adapter file against its base. Raises: AdapterError: it does not hold."""
        return verify_adapter(self.file(run, ADAPTER), self.base_file(self.run(run)))


def _new_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}"


_lab: Lab | None = None
_closed = False
_lock = threading.Lock()


def open_lab(settings: Settings | None = None) -> Lab:
    """The lab of this process, opened and started once."""
    global _lab, _closed
    with _lock:
        if _lab is None:
            lab = Lab(settings or Settings.from_environment())
            lab.start()
            _lab, _closed = lab, False
        return _lab


def current() -> Lab:
    """The lab of this process; opened with the environment's settings where nobody has opened it yet.

    Raises:
        LabError: it has been closed. A page that is still drawn while the server stops must not open it again.
    """
    if _closed:
        raise LabError("LoRA Lab is stopping; start it again to go on.")
    return open_lab()


def close_lab(timeout: float = 4.0) -> None:
    """Close the lab of this process, if it is open."""
    global _lab, _closed
    with _lock:
        if _lab is not None:
            _lab.close(timeout)
            _lab, _closed = None, True
