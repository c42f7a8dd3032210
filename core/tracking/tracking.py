"""Trackers of one home folder: those that follow all runs, and those that an experiment is sent to."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable

from core.artifacts.artifacts import Artifacts
from core.background import Background
from core.errors import LabError
from core.files import write_atomically
from core.settings import Settings
from core.store.record import Experiment
from core.store.store import Store
from core.tracking.delivery import Delivered, Delivery, ReportMaker
from core.tracking.follower import Followed, Follower
from core.tracking.registry import Target, targets_of
from core.tracking.source import Source

log = logging.getLogger(__name__)

SINCE = "since.json"
"""File with the moment since which each tracker follows runs, so that a later start catches up one that was down."""


class Tracking:
    """Sends runs to trackers. It reads the store and files of runs, and changes nothing for a run. Thread-safe."""

    def __init__(self, settings: Settings, store: Store, artifacts: Artifacts, is_busy: Callable[[], bool]) -> None:
        """Args:
        settings: name the trackers that follow all runs.
        store: has the runs.
        artifacts: their files.
        is_busy: whether anything trains.

        Raises:
            TrackerError: ``LORA_LAB_TRACK`` names something else than trackers.
        """
        self._settings = settings
        self._is_busy = is_busy
        self._targets = targets_of(settings.track)
        self._source = Source(store, artifacts)
        self._followers: list[Follower] = []
        self.sendings = Background()
        """What is sent in the background, or was, under names of :meth:`begin`."""
        self._delivered: dict[str, Delivered] = {}
        self.report_maker: ReportMaker | None = None
        """Makes reports for trackers that follow runs; None to send none. Whoever opens the lab sets it, since reports
        are made of the lab."""

    @property
    def targets(self) -> list[Target]:
        """The trackers that follow all runs."""
        return list(self._targets)

    def start(self) -> None:
        """Begin to follow, each tracker in a thread of its own, so that none waits for another."""
        if not self._targets:
            return
        since = self._since()
        self._followers = [
            Follower(
                self._source,
                Delivery(self._source, target, self._settings.tracking),
                Followed(target, since[target.shown]),
                self._settings.track_seconds,
                self._is_busy,
                lambda: self.report_maker,
            )
            for target in self._targets
        ]
        for follower in self._followers:
            follower.start()

    def close(self, timeout: float) -> None:
        """Have the trackers look at the store once more, and wait some seconds for them."""
        end = time.monotonic() + timeout
        self.sendings.close()
        for follower in self._followers:
            follower.ask_close(timeout)
        for follower in self._followers:
            follower.join(end - time.monotonic())

    def followed(self) -> list[Followed]:
        """Where each tracker that follows runs stands."""
        return [follower.state for follower in self._followers]

    def send(
        self,
        experiment: Experiment,
        target: Target,
        make_report: ReportMaker,
        progress: Callable[[float], None] = lambda share: None,
        stop: threading.Event | None = None,
    ) -> Delivered:
        """Send an experiment to a tracker, in this thread; see :meth:`core.tracking.delivery.Delivery.send_experiment`.

        Raises:
            TrackerError: the tracker cannot be reached; what was sent until then stays, and is not sent again.
        """
        delivery = Delivery(self._source, target, self._settings.tracking)
        try:
            must_stop = stop.is_set if stop else lambda: False
            return delivery.send_experiment(experiment, make_report, progress, must_stop)
        finally:
            delivery.close()

    def begin(self, experiment: Experiment, target: Target, make_report: ReportMaker) -> None:
        """Begin to send an experiment in the background, unless that is under way; see :meth:`sendings`."""
        name = f"{experiment.id} to {target.shown}"

        def work(progress: Callable[[float], None], stop: threading.Event) -> None:
            self._delivered[name] = self.send(experiment, target, make_report, progress, stop)

        self._delivered.pop(name, None)
        self.sendings.begin(name, work)

    def delivered(self, name: str) -> Delivered | None:
        """What was sent in the background under this name, once that has ended well."""
        return self._delivered.get(name)

    def _since(self) -> dict[str, float]:
        """Since when each tracker follows runs; new ones from now on, and for good."""
        path = self._settings.tracking / SINCE
        try:
            known = {str(name): float(at) for name, at in json.loads(path.read_bytes()).items()}
        except FileNotFoundError:
            known = {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read, so trackers follow runs from now on: %s", path, error)
            known = {}
        now = time.time()
        found = {target.shown: known.get(target.shown, now) for target in self._targets}
        if not found.keys() <= known.keys():
            try:
                write_atomically(path, (json.dumps(known | found, indent=2) + "\n").encode())
            except (OSError, LabError) as error:  # following is no reason not to start
                log.warning("%s cannot be written: %s", path, error)
        return found
