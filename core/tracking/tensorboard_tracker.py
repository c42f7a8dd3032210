"""TensorBoard: a folder of event files, one folder per run inside one per experiment.

Values are float32, the only numbers that the usual loader of TensorBoard shows. Training losses are float32 in the
store, so they are exact; of every other number the nearest one is kept. Steps, times and settings are exact.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import TrackerError, os_error_as
from core.files import write_atomically
from core.store.record import State
from core.tracking.content import TrackedRun
from core.tracking.tracker import Tracker, package

EVENTS = "events.out.tfevents."
"""Beginning of the name of an event file; when the run ended follows, in milliseconds."""

PART = "run.part"
"""Name of such a file on its way; TensorBoard reads every file with *tfevents* in its name."""

MAX_NAME = 80
"""Maximum number of characters of a name in the name of a folder."""

STATUS: dict[State, str] = {"finished": "STATUS_SUCCESS", "stopped": "STATUS_SUCCESS", "failed": "STATUS_FAILURE"}
"""What the HParams page says of runs that are over; that of a run that was stopped has its result."""


class TensorBoardTracker(Tracker):
    """A folder for ``tensorboard --logdir``. A run is one event file, moved into place, so it is whole or not there."""

    kind = "tensorboard"
    title = "TensorBoard"
    example = "/path/to/logs"

    @classmethod
    def clean(cls, address: str) -> str:
        try:
            if not address or "\0" in address:
                raise ValueError
            return str(Path(address).expanduser().absolute())
        except (ValueError, RuntimeError) as error:  # an unknown user after ~
            raise TrackerError(f"TensorBoard needs a folder, as in tensorboard:{cls.example}.") from error

    def __init__(self, address: str) -> None:
        self._event = package("tensorboard.compat.proto.event_pb2", self.title).Event
        self._summary = package("tensorboard.compat.proto.summary_pb2", self.title).Summary
        self._hparams = package("tensorboard.plugins.hparams.metadata", self.title)
        self._plugin = package("tensorboard.plugins.hparams.plugin_data_pb2", self.title)
        self._status = package("tensorboard.plugins.hparams.api_pb2", self.title).Status
        self._writer = package("tensorboard.summary.writer.record_writer", self.title).RecordWriter
        self._root = Path(address)
        self._unusable = f"TensorBoard's folder {self._root} cannot be used"
        with os_error_as(TrackerError, self._unusable):
            self._root.mkdir(parents=True, exist_ok=True)
            os.listdir(self._root)

    def write(self, run: TrackedRun, files: Sequence[Path]) -> bool:
        with os_error_as(TrackerError, self._unusable):
            folder = self._folder(run)
            path = folder / f"{EVENTS}{run.ended * 1000:.0f}.{run.state}"
            if path.exists():
                return False
            content = io.BytesIO()
            records = self._writer(content)
            for event in self._events(run):
                records.write(event.SerializeToString())
            write_atomically(folder / PART, content.getvalue())
            for earlier in folder.glob(f"{EVENTS}*"):
                earlier.unlink()
            (folder / PART).replace(path)
        return True

    def _events(self, run: TrackedRun) -> Iterator[Any]:
        """The events of a run: its settings, its points, its end."""
        yield self._event(wall_time=run.started, file_version="brain.Event:2")
        start = self._plugin.SessionStartInfo(start_time_secs=run.started)
        for name, setting in {**run.settings, "experiment": run.group.name, "run": run.id}.items():
            kind = "bool" if isinstance(setting, bool) else "string" if isinstance(setting, str) else "number"
            setattr(start.hparams[name], f"{kind}_value", setting)
        tag, content = self._hparams.SESSION_START_INFO_TAG, self._plugin.HParamsPluginData(session_start_info=start)
        yield self._session(tag, content, run.started)
        with np.errstate(over="ignore"):
            points = run.points.assign(value=run.points["value"].astype(np.float32))
        for point in points.itertuples():
            value = self._summary.Value(tag=point.name, simple_value=point.value)
            yield self._event(wall_time=point.time, step=point.step, summary=self._summary(value=[value]))
        status = self._status.Value(STATUS.get(run.state, "STATUS_UNKNOWN"))
        end = self._plugin.SessionEndInfo(status=status, end_time_secs=run.ended)
        tag, content = self._hparams.SESSION_END_INFO_TAG, self._plugin.HParamsPluginData(session_end_info=end)
        yield self._session(tag, content, run.ended)

    def _session(self, tag: str, content: Any, time: float) -> Any:
        """An event for the HParams page."""
        metadata = self._hparams.create_summary_metadata(content)
        value = self._summary.Value(tag=tag, metadata=metadata, tensor=self._hparams.NULL_TENSOR)
        return self._event(wall_time=time, step=0, summary=self._summary(value=[value]))

    def _folder(self, run: TrackedRun) -> Path:
        """The folder of a run, wherever it is: the experiment may have had another name."""
        own = f"{_readable(run.name)}_{run.id}"
        for found in self._root.glob(f"*/*_{run.id}"):
            return found
        for found in self._root.glob(f"*_{run.group.id}"):
            return found / own
        name = _readable(run.group.name)
        return self._root / (name if name.lower() == run.group.id else f"{name}_{run.group.id}") / own


def _readable(name: str) -> str:
    """A name with nothing but letters, digits and ``. = -``, shortened."""
    return re.sub(r"[^A-Za-z0-9.=]+", "-", name).strip("-.")[:MAX_NAME]
