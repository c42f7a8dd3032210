"""The lab: the one object through which pages and the command line use the library."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence

from core.data.catalog import Catalog
from core.data.downloads import Downloads
from core.data.idx import Images, Labels
from core.data.presets import PRESETS, preset_tasks
from core.data.tasks import Tasks, preview
from core.engine.artifacts import Artifacts
from core.engine.cost import Cost, cost, plan
from core.engine.experiment import Setting, arm_specs
from core.engine.job import NETWORK, check_fit
from core.engine.processes import Process, living
from core.engine.recipe import Recipe, weights_digest
from core.engine.usage import DiskUsage
from core.engine.watchdog import Watchdog
from core.engine.workers import Workers
from core.errors import LabError
from core.settings import Settings, available_devices, choose_device
from core.spec import Device, ModelSpec, OptimSpec, RunSpec, TaskSpec
from core.store.backups import Backups
from core.store.copies import Copies
from core.store.database import store_error
from core.store.notes import RunNotes
from core.store.record import Curve, Experiment, Run, State
from core.store.restore import Restored, Restorer
from core.store.search import Search
from core.store.store import Store

log = logging.getLogger(__name__)

IMAGE_PIXELS = 28 * 28


class Lab:
    """One home folder, opened by this process.

    Methods launch, follow and control runs. Everything else is a part with methods of its own: :attr:`search`,
    :attr:`notes`, :attr:`artifacts` (files of runs), :attr:`usage` (disk space), :attr:`catalog` (datasets),
    :attr:`tasks` and :attr:`downloads`. Only tests use the store and the workers directly.
    """

    def __init__(self, settings: Settings) -> None:
        """Open the home folder; training begins with :meth:`start`."""
        settings.make_home()
        self.settings = settings
        self.catalog = Catalog(settings)
        self.tasks = Tasks(self.catalog)
        self.downloads = Downloads(self.catalog)
        self.store = Store(settings.store)
        self._process = Process(settings.processes, settings.runs, self.store, settings.hang_seconds)
        self.owner = self._process.name
        self.search = Search(self.store)
        self.notes = RunNotes(self.store, settings.home)
        self.artifacts = Artifacts(self.store, settings.runs)
        self.usage = DiskUsage(settings, self.store, self.tasks)
        self._copies = Copies(self.store, settings.runs, self.owner)
        self._backups = Backups(self.store, settings.backups)
        self._restorer = Restorer(self.store, settings.home, self._copies, self._backups, self.owner)
        self._unlisted: list[str] = []
        self.workers = Workers(settings, self.store, self._copies, self.tasks, self.owner)
        self._watchdog = Watchdog(self._process, self.workers, settings.settle_seconds, settings.hang_seconds)

    def start(self) -> None:
        """Recover the runs of processes that died, and start the workers.

        Raises:
            StoreError: the store is damaged, or cannot be written.
        """
        self.store.verify()
        self._process.enter()
        self.notes.finish_deletions()
        # Before runs of dead processes are recovered: if an older store was put back, the folders are newer.
        left = self.store.runs(states=["queued", "running", "interrupted"])
        self._copies.catch_up([run.id for run in left])
        self._process.settle()
        self._unlisted = self._restorer.unlisted()
        if self._unlisted:
            log.warning(
                "%d folders in %s belong to runs that are not in the store: `python -m core restore`, or the button on "
                "the first page, restores them.",
                len(self._unlisted),
                self.settings.runs,
            )
        self.usage.measure()  # fills its cache, so that the first page opens quickly
        self.workers.start()
        self._watchdog.start()
        self._copies.start(living(self.settings.processes))
        self._backups.start()

    def close(self, timeout: float = 4.0) -> None:
        """Interrupt what trains within ``timeout`` seconds, each run with a checkpoint; release the home folder."""
        end = time.monotonic() + timeout
        self._watchdog.close()
        if not self.workers.close(timeout):
            log.warning("A run did not stop within %g s; the next start marks it as interrupted.", timeout)
        self.downloads.close()
        self._backups.close(end - time.monotonic())
        self._copies.close(end - time.monotonic())
        self._process.leave()
        self.store.close()

    # Starting runs

    def launch(self, spec: RunSpec) -> Run:
        """Queue one run.

        Raises:
            LabError: the spec is not valid, the dataset is missing, or the queue is full.
        """
        id = _new_id("r")
        self._queue([(id, spec)])
        return self.run(id)

    def find_base(self, spec: RunSpec) -> Run | None:
        """A finished pretrain run with exactly this spec, whose network can be used instead of training it again."""
        for run in self.store.runs(methods=["pretrain"], states=["finished"]):
            if run.spec == spec:
                try:
                    self.artifacts.path(run.id, NETWORK)
                except (LabError, OSError) as error:
                    log.warning("Run %s cannot be used as a base: %s", run.id, error)
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
        """Queue an experiment: every arm with every seed, on one task.

        Args:
            base: a pretrain run, finished or not.
            task: what to fine-tune on.
            arms: training settings, with LoRA settings or a control, or None for full fine-tuning.
            seeds: one run per arm and seed.
            name: title of the experiment.
            device: where to train.
            own_bases: whether each seed starts from its own base, pretrained like this one with that seed.

        Raises:
            LabError: a spec is not valid, the dataset is missing, or the queue is full; nothing was queued.
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
        """Queue a base, or one per seed, and an experiment on it.

        A base that was trained with the same spec before is reused.

        Raises:
            LabError: see :meth:`fine_tune`; nothing was queued.
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
        """Ids of a base like ``spec`` for each seed, and ids and specs of the bases that must be trained first."""
        specs = {seed: spec.but(seed=seed) for seed in seeds}
        known = {seed: self.find_base(own) for seed, own in specs.items()}
        ids = {seed: base.id if base else _new_id("r") for seed, base in known.items()}
        return ids, [(ids[seed], specs[seed]) for seed, base in known.items() if base is None]

    def _launch(self, before: list[tuple[str, RunSpec]], specs: list[RunSpec], name: str) -> Experiment:
        """Queue new bases and the runs of an experiment, all or none."""
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
        self.usage.check(spec for _, spec in runs)
        self.store.add(runs, self.owner, self.settings.max_waiting, experiment)
        self.workers.wake()

    # Following runs

    def run(self, id: str) -> Run:
        """One run. Raises: UnknownRunError: there is no run with this id."""
        return self.store.run(id)

    def runs(self, **filters: Sequence[State] | Sequence[str] | str | None) -> list[Run]:
        """Runs that match all filters, the newest first; see :meth:`core.store.store.Store.runs`."""
        return self.store.runs(**filters)  # type: ignore[arg-type]

    def runs_of(self, ids: Sequence[str]) -> list[Run]:
        """These runs, in this order; unknown ids are skipped."""
        return self.store.runs_of(ids)

    def live(self) -> list[Run]:
        """Running and queued runs, in the order of training."""
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
        """The states that a run has entered, with times."""
        return self.store.transitions(id)

    def experiment(self, id: str) -> Experiment:
        """One experiment. Raises: UnknownRunError: there is no experiment with this id."""
        return self.store.experiment(id)

    def experiments(self, limit: int = 100) -> list[Experiment]:
        """Experiments, the newest first."""
        return self.store.experiments(limit)

    def members(self, experiment: Experiment) -> list[Run]:
        """An experiment's runs, in the order in which they were queued."""
        return self.store.runs(experiment=experiment.id)[::-1]

    def stop(self, *ids: str) -> None:
        """Stop runs, all at once, and keep what they have learnt. Raises: UnknownRunError."""
        self.store.ask_stop(*ids, owner=self.owner)
        self.workers.wake()

    def resume(self, ids: Sequence[str] | None = None) -> int:
        """Resume all interrupted runs, or those among ``ids``, from their checkpoints or else from their first steps.

        Runs that were trained in one bank are resumed in one bank, if they are resumed by one call.

        Returns:
            The number of runs that were resumed.
        """
        wanted = None if ids is None else set(ids)
        runs = self.store.runs(states=["interrupted"])[::-1]
        chosen = [run.id for run in runs if wanted is None or run.id in wanted]
        self.store.requeue(chosen, self.owner)
        self.workers.wake()
        return len(chosen)

    def log(self, id: str) -> list[tuple[float, str]]:
        """A run's log as times and sentences: interruptions, and checkpoints that could not be written."""
        return self.store.log(id)

    def repeat(self, *ids: str) -> list[str]:
        """Queue new runs with the specs of these, all or none. Returns: their ids. Raises: see :meth:`fine_tune`."""
        new = [(_new_id("r"), self.run(id).spec) for id in ids]
        self._queue(new)
        return [id for id, _ in new]

    def recipe(self, id: str) -> Recipe:
        """A file from which a run can be trained again anywhere. Raises: UnknownRunError: there is no such run."""
        run = self.run(id)
        bases = self.runs_of([run.spec.base] if run.spec.base else [])
        base = [Recipe.of_run(run, self._weights(run)) for run in bases]
        return Recipe.of_run(run, self._weights(run), *base)

    def _weights(self, run: Run) -> str | None:
        """SHA-256 of a run's trained weights, if it has a result; see :func:`core.engine.recipe.weights_digest`."""
        return weights_digest(self.settings.runs / run.id, self.store.files(run.id)) if run.result else None

    # Restoring the store

    def unlisted(self) -> list[str]:
        """Ids of runs that had a folder but were not in the store when the lab was started, and still are not."""
        known = {run.id for run in self.store.runs_of(self._unlisted)}
        return [id for id in self._unlisted if id not in known]

    def restore(self) -> Restored:
        """Restore every run that has a folder; folders without a readable copy are moved to ``strays``.

        Raises:
            StoreError: the store cannot be written.
            OSError: a folder cannot be moved.
        """
        try:
            restored = self._restorer.restore()
        except sqlite3.Error as error:
            raise store_error(error, self.settings.store) from error
        self._unlisted = []
        return restored

    def check(self, whole: bool = False) -> None:
        """Check that the store can be read, or that the whole of it is intact.

        Raises:
            StoreError: it cannot be read, or is damaged; the message says what to do.
        """
        return self.store.verify() if whole else self.store.check()

    # Tasks and estimates

    def preview(self, task: TaskSpec) -> tuple[Images, Labels]:
        """One image per class of a task, of shape (k, 28, 28), with labels. Raises: DatasetError."""
        return preview(self.tasks.get(task), per_class=1)

    def cost(self, spec: RunSpec) -> Cost:
        """Estimated cost of a run. Raises: LabError: the spec is not valid."""
        examples = len(self.tasks.outline(spec.task).train)
        return cost(spec, examples, choose_device(spec.device).type)

    def remaining(self, runs: Sequence[Run]) -> float:
        """Estimated seconds until these runs have ended, from their own pace or else a short calibration."""
        return sum(
            run.eta if run.eta is not None else self.cost(run.spec).seconds * (1 - run.progress)
            for run in runs
            if run.is_live
        )

    def devices(self) -> list[str]:
        """Devices to choose from, ``auto`` first."""
        return ["auto", *available_devices()]


def _new_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}"


_lab: Lab | None = None
_closed = False
_lock = threading.Lock()


def open_lab(settings: Settings | None = None) -> Lab:
    """The lab of this process; the first call opens and starts it."""
    global _lab, _closed
    with _lock:
        if _lab is None:
            lab = Lab(settings or Settings.from_environment())
            lab.start()
            _lab, _closed = lab, False
        return _lab


def current() -> Lab:
    """The lab of this process; opened with the environment's settings if it is not open yet.

    Raises:
        LabError: it has been closed. A page that is still running while the server stops must not open it again.
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
