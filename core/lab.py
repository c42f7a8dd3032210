"""The lab: the one object through which pages and the command line use the library."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable

from torch import nn

from core.adapter import read_adapter
from core.artifacts.artifacts import Artifacts
from core.artifacts.exports import Exports
from core.artifacts.recipe import Recipe, weights_digest
from core.artifacts.trial import BaseFinder
from core.data.dataset import Dataset, Images, Targets
from core.data.sources.catalog import Catalog, Downloads
from core.data.task_spec import TaskSpec
from core.engine.executors import Executors
from core.engine.experiments import Experiments
from core.engine.jobs.job import Dependencies
from core.engine.jobs.run_files import NETWORK
from core.engine.launcher import Launcher
from core.engine.processes import Process, Watchdog, is_living, living
from core.engine.progress import Progress
from core.engine.usage import DiskUsage
from core.engine.workers import Workers
from core.engine.writes import Trim
from core.errors import LabError
from core.forecast.estimates import Estimates
from core.forecast.step_time import StepTimes, StepTimeSpec, time_steps
from core.methods.method import Role
from core.methods.registry import methods
from core.networks.library.arrivals import Arrivals
from core.networks.library.networks import Networks
from core.networks.network import NetworkSpec
from core.results.choice import unchosen
from core.results.row import rows_of
from core.serving.predictor import Predictor
from core.settings import Settings
from core.store.judged import JudgedResults
from core.store.looks import Looks
from core.store.notes import RunNotes
from core.store.record import Run
from core.store.recovery import Backups, adopt, open_store
from core.store.search import Search
from core.tasks.tasks import Tasks
from core.tasks.views.image import ImageView
from core.tasks.views.language import PassagePreview, passage_preview
from core.tasks.views.text import TextPreview, text_preview
from core.tracking.tracking import Tracking

log = logging.getLogger(__name__)


class Lab:
    """One home folder, opened by this process.

    Its parts have methods of their own: :attr:`store` (what runs and experiments are and were),
    :attr:`launcher` (plans experiments, queues runs), :attr:`experiments` (start, and grow), :attr:`search`,
    :attr:`notes`, :attr:`looks` (how often results were read), :attr:`judged` (results that others report),
    :attr:`artifacts` (files of runs), :attr:`exports` (files for other tools), :attr:`origins` (the base of an
    adapter), :attr:`executors` (where runs train), :attr:`usage` (disk space), :attr:`estimates` (time and memory),
    :attr:`predictor` (answers with adapters), :attr:`tracking` (what is sent to TensorBoard and MLflow),
    :attr:`catalog` (datasets), :attr:`tasks`, :attr:`downloads`, :attr:`networks` (imported ones) and :attr:`arrivals`
    (networks that arrive in the background). Pages and commands only read the store, and only tests use the workers.
    """

    def __init__(self, settings: Settings) -> None:
        """Open the home folder; training begins with :meth:`start`."""
        settings.make_home()
        self.settings = settings
        self.catalog = Catalog(settings)
        self.networks = Networks(
            settings, users=self._starting_from, check_room=lambda size: self.usage.check_bytes(size)
        )
        self.arrivals = Arrivals(self.networks)
        self.tasks = Tasks(self.catalog, tokenizer=self.networks.tokenizer)
        self.downloads = Downloads(self.catalog)
        self.store, self.notice = open_store(settings.store, settings.backups, lambda: bool(living(settings.processes)))
        """What came back if the store was lost or damaged, in words; empty once somebody has read it."""
        self._process = Process(settings.processes, settings.runs, self.store, settings.hang_seconds)
        self.owner = self._process.name
        self.search = Search(self.store)
        self.looks = Looks(self.store)
        self.judged = JudgedResults(self.store)
        self.notes = RunNotes(self.store, settings.home, self._trim_soon)
        self.artifacts = Artifacts(self.store, settings.runs, self.networks)
        self.origins = BaseFinder(self.store, self.artifacts, self.networks)
        self.exports = Exports(settings, self.store, self.artifacts, self.catalog, self.tasks)
        self.usage = DiskUsage(settings, self.store, self.tasks)
        self.progress = Progress(self.store, self.tasks)
        self.estimates = Estimates(
            settings, self.store, self.tasks, machines=lambda: self.executors.current.machines.count()
        )
        self._backups = Backups(self.store, settings.backups)
        self.store.back_up = self._backups.at_once
        self.predictor = Predictor(self.store, self.artifacts, self.catalog, self.networks.tokenizer_of)
        self.tracking = Tracking(settings, self.store, self.artifacts)
        dependencies = Dependencies(self.tasks, self.networks, lambda run: settings.runs / run / NETWORK)
        self.executors = Executors(settings.executor, dependencies)
        self.workers = Workers(
            settings,
            self.store,
            self.tasks,
            self.executors,
            self.owner,
            self._trim,
            lambda: self.experiments.extend_plans(),
        )
        self.launcher = Launcher(
            settings,
            self.catalog,
            self.networks,
            self.tasks,
            self.store,
            self.artifacts,
            self.usage,
            self.estimates,
            self.workers,
            self.executors,
            self.owner,
        )
        self.experiments = Experiments(self.launcher, self.store, self.workers)
        self._watchdog = Watchdog(self._process, self.workers, settings.settle_seconds, settings.hang_seconds)

    def start(self) -> None:
        """Recover the runs of processes that died, and start the workers.

        Raises:
            StoreError: the store is damaged, or cannot be written.
        """
        self._process.enter()
        self.networks.clean()
        # Before runs of dead processes are recovered: if an older store was put back, the folders are newer.
        if adopted := adopt(self.store, self.settings.home):
            self.notice = f"{self.notice} {adopted}".strip()
            log.warning("%s", self.notice)
        self.notes.finish_deletions()  # afterwards: a run that was deleted meanwhile may have come back
        self._process.settle()
        for experiment in self.store.untrimmed():  # as after a process that was killed at the end of the last run
            self._trim_soon(experiment)
        self.usage.measure()  # fills its cache, so that the first page opens quickly
        self.executors.current.machines.open()
        self.workers.start()
        self._watchdog.start()
        self._backups.start()
        self.tracking.start()

    def close(self, timeout: float = 4.0) -> None:
        """Interrupt what trains within ``timeout`` seconds, each run with a checkpoint; release the home folder."""
        end = time.monotonic() + timeout
        self._watchdog.close()
        if not self.workers.close(timeout):
            log.warning("A run did not stop within %g s; the next start marks it as interrupted.", timeout)
        self.executors.close(max(1.0, end - time.monotonic()))
        self.downloads.close()
        self.arrivals.close()
        self.predictor.close()
        self.estimates.close(end - time.monotonic())
        self._backups.close(end - time.monotonic())
        self.tracking.close(end - time.monotonic())
        self._process.leave()
        self.store.close()

    # Following runs

    def live(self) -> list[Run]:
        """Running and queued runs, in the order of training."""
        return sorted(
            self.store.runs(states=["queued", "running"]), key=lambda run: (run.state == "queued", run.created)
        )

    def bases(self) -> list[Run]:
        """Pretrain runs whose network can be fine-tuned, the newest first."""
        return [
            run
            for run in self.store.runs(methods=list(methods(Role.BASE)), states=["finished", "stopped"])
            if run.result
        ]

    def stop(self, *ids: str) -> None:
        """Stop runs, all at once, and keep what they have learned. Raises: UnknownRunError."""
        experiments = self.store.experiments_of([run.id for run in self.store.runs_of(ids) if not run.is_over])
        self.store.ask_stop(*ids, owner=self.owner)
        self.workers.wake()
        for experiment in experiments:
            self._trim_soon(experiment)  # where no run of it is left that a worker ends

    def train_on(self, executor: str) -> None:
        """Have the next jobs run on another executor; see :meth:`core.engine.executors.Executors.choose`."""
        self.executors.choose(executor)
        self.workers.wake()

    def recipe(self, id: str) -> Recipe:
        """A file from which a run can be trained again anywhere. Raises: UnknownRunError: there is no such run."""
        run = self.store.run(id)
        bases = self.store.runs_of([run.spec.base] if run.spec.base else [])
        base = [Recipe.of_run(run, self._weights(run)) for run in bases]
        return Recipe.of_run(run, self._weights(run), *base)

    def _is_anything_training(self) -> bool:
        """Whether runs train, or will without anybody's action. What processes have left that are gone does not."""
        return self.store.is_busy() and any(is_living(self.settings.processes, owner) for owner in self.store.owners())

    def _starting_from(self, digest: str) -> list[str]:
        """Ids of the runs whose network has the weights of this digest, the oldest first."""
        query = "SELECT id FROM runs WHERE json_extract(spec, '$.network.weights') = ? ORDER BY created"
        return [row["id"] for row in self.store.rows(query, digest)]

    def _weights(self, run: Run) -> str | None:
        """SHA-256 of a run's trained weights, if it has a result; see :func:`core.artifacts.recipe.weights_digest`."""
        return weights_digest(self.settings.runs / run.id, self.store.files(run.id)) if run.result else None

    def _trim_soon(self, id: str) -> None:
        """Like :meth:`_trim`, once the store can be written."""
        self.workers.writes.put(Trim(id))

    def _trim(self, id: str) -> None:
        """Delete the networks that an experiment was launched not to keep, once all of its runs have ended.

        A worker calls this, and no error may end that: a file that cannot be deleted stays until its run is deleted.

        Raises: sqlite3.Error: the store cannot be used now; it is to be tried again.
        """
        try:
            for one in map(self.store.experiment, self.store.experiments_of(self.store.experiment(id).runs)):
                shared = self.store.shared(one.id)  # what another experiment has may be chosen there
                for row in unchosen(rows_of(self.store.members(one))) if one.trim else []:
                    if row.id not in shared:
                        self.artifacts.drop_network(row.id)
        except sqlite3.Error:
            raise
        except (LabError, OSError) as error:  # such as an experiment that somebody has deleted meanwhile
            log.warning("Networks of experiment %s were not deleted: %s", id, error)

    # The store

    def dismiss_notice(self) -> None:
        """Forget :attr:`notice`, which somebody has read."""
        self.notice = ""

    def check(self) -> None:
        """Check that the store can be read. Raises: StoreError: it cannot; the message says what to do."""
        self.store.check()

    # Tasks and estimates

    def preview(self, task: TaskSpec) -> tuple[Images, Targets]:
        """Images of a task, (k, 28, 28), and their targets: one per class, or the first ones. Raises: DatasetError."""
        return ImageView().preview(task, self.catalog.load(task.dataset))

    def text_preview(
        self, task: TaskSpec, network: NetworkSpec, batch: int, dataset: Dataset | None = None
    ) -> TextPreview:
        """The first training texts of a task as a network reads them, and the lengths of all.

        Args:
            task: what is learned.
            network: what learns it.
            batch: number of texts.
            dataset: the task's, where it is not kept yet.

        Raises: LabError: the dataset has no texts, or it or the network is not on this machine.
        """
        tokenizer = self.networks.tokenizer(network.brought or "")
        return text_preview(task, dataset or self.catalog.load(task.dataset), tokenizer, batch)

    def passage_preview(
        self, task: TaskSpec, network: NetworkSpec, batch: int, dataset: Dataset | None = None
    ) -> PassagePreview:
        """The same for a network that continues texts; see :meth:`text_preview`."""
        tokenizer = self.networks.tokenizer_of(network)
        return passage_preview(task, dataset or self.catalog.load(task.dataset), tokenizer, batch)

    def base_for(self, base: Run | NetworkSpec, adapter: bytes) -> nn.Module:
        """The network to try an adapter file on; one that was imported has as many outputs as the head in the file.

        Args:
            base: a pretrain run, or a network that was imported.
            adapter: the adapter zip.

        Raises: LabError: the file or the network cannot be read.
        """
        if isinstance(base, Run):
            return self.artifacts.network(base.id)
        classes = read_adapter(adapter).num_classes(base)
        return self.networks.start(base.but(num_classes=classes) if classes else base, seed=0)

    def time_steps(self, spec: StepTimeSpec, waits: Callable[[], None]) -> StepTimes:
        """Time steps while nothing trains; see :func:`core.forecast.step_time.time_steps`."""
        return time_steps(spec, self.tasks, self.settings.threads, self._is_anything_training, waits)

    def devices(self) -> list[str]:
        """Devices to choose from, ``auto`` first."""
        return ["auto", *self.executors.current.machines.devices()]


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
