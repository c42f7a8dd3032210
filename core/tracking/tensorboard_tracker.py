"""TensorBoard: a folder of event files, one folder per run inside one per experiment.

Values are float32, the only numbers that the usual loader of TensorBoard shows. Training losses are float32 in the
store, so they are exact; of every other number the nearest one is kept. Steps, times and settings are exact.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import TrackerError
from core.files import write_atomically
from core.store.record import State
from core.tracking.content import Series, TrackedRun
from core.tracking.tracker import Points, Tracker, package

MARK = "lora-lab.json"
"""File in the folder of a run of which everything is there, with the state in which it ended."""

EVENTS = "events.out.tfevents."
"""Beginning of the name of an event file; a number follows, since TensorBoard reads them in order of their names."""

MAX_NAME = 80
"""Maximum number of characters of a name in the name of a folder."""

STATUS: dict[State, str] = {
    "finished": "STATUS_SUCCESS",
    "stopped": "STATUS_SUCCESS",
    "failed": "STATUS_FAILURE",
}
"""What the HParams page says of runs that are over; that of a run that was stopped has its result."""


class TensorBoardTracker(Tracker):
    """A folder for ``tensorboard --logdir``.

    A process that is killed while it writes leaves a record of which the end is missing. TensorBoard skips it and goes
    on with the next file, and so does this class: each process begins files of its own, with what is missing, and
    another one where somebody else has written meanwhile.
    """

    kind = "tensorboard"
    title = "TensorBoard"
    example = "/path/to/logs"
    batch = 5000
    is_single = True

    @classmethod
    def clean(cls, address: str) -> str:
        try:
            folder = Path(address).expanduser()
            if not address or "\0" in address:
                raise ValueError
            return str(folder.absolute())
        except (ValueError, RuntimeError) as error:  # an unknown user after ~
            raise TrackerError(f"TensorBoard needs a folder, as in tensorboard:{cls.example}.") from error

    def __init__(self, address: str) -> None:
        self._events = package("tensorboard.compat.proto.event_pb2", self.title)
        self._summary = package("tensorboard.compat.proto.summary_pb2", self.title)
        self._hparams = package("tensorboard.plugins.hparams.metadata", self.title)
        self._plugin = package("tensorboard.plugins.hparams.plugin_data_pb2", self.title)
        self._records = package("tensorboard.summary.writer.record_writer", self.title)
        self._loader = package("tensorboard.backend.event_processing.event_file_loader", self.title)
        self._root = Path(address)
        self._open: dict[str, Path] = {}
        """The file that this process has begun for each run."""
        self._tags: dict[str, set[str]] = {}
        """Names of what is known to be in the files of each run, by run id."""
        self._folders: dict[str, Path] = {}
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            os.listdir(self._root)
        except OSError as error:
            raise _unusable(self._root, error) from error

    def complete(self) -> set[str]:
        marks = self._root.glob(f"*/*/{MARK}")
        return {path.parent.name.rpartition("_")[2] for path in marks if _end_in(path) == "finished"}

    def end(self, run: TrackedRun) -> str:
        return _end_in(self._folder(run) / MARK)

    def points(self, run: TrackedRun) -> dict[str, Points]:
        found: dict[str, tuple[list[int], list[float]]] = {}
        # Whoever asks does not know what others have written since. If they have, the steps that follow come after
        # theirs, and so into a new file: readers take one file after the other.
        self._open.pop(run.id, None)
        self._folders.pop(run.id, None)
        try:
            for event, value in self._values(self._folder(run)):
                if value.tag.startswith("_hparams_/"):
                    found.setdefault(value.tag, ([], []))
                    continue
                steps, values = found.setdefault(value.tag, ([], []))
                steps.append(event.step)
                values.append(value.simple_value)
        except OSError as error:
            raise _unusable(self._root, error) from error
        self._tags[run.id] = set(found)
        return {
            tag: Points(np.array(steps, np.int64), np.array(values, np.float64))
            for tag, (steps, values) in found.items()
            if steps
        }

    def begin(self, run: TrackedRun) -> None:
        start = self._plugin.SessionStartInfo(start_time_secs=run.started)
        for name, setting in {**run.settings, "experiment": run.group.name, "run": run.id}.items():
            kind = "bool" if isinstance(setting, bool) else "string" if isinstance(setting, str) else "number"
            setattr(start.hparams[name], f"{kind}_value", setting)
        content = self._plugin.HParamsPluginData(session_start_info=start)
        self._once(run, self._hparams.SESSION_START_INFO_TAG, content, run.started)

    def write(self, run: TrackedRun, parts: Mapping[str, Series]) -> None:
        events = []
        for tag, series in parts.items():
            for step, number, time in zip(series.step, series.value, series.time, strict=True):
                value = self._summary.Summary.Value(tag=tag, simple_value=number)
                events.append(self._event(time, int(step), value))
        self._append(run, events)

    def finish(self, run: TrackedRun, files: Mapping[str, Path]) -> None:
        ended = run.ended or run.started
        end = self._plugin.SessionEndInfo(status=self._status(run), end_time_secs=ended)
        content = self._plugin.HParamsPluginData(session_end_info=end)
        self._once(run, self._hparams.SESSION_END_INFO_TAG, content, ended)
        folder = self._folder(run)
        try:
            for path in _event_files(folder):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            write_atomically(folder / MARK, (json.dumps({"run": run.id, "state": run.state}) + "\n").encode())
        except OSError as error:
            raise _unusable(folder, error) from error
        for known in (self._open, self._tags, self._folders):
            known.pop(run.id, None)

    def discard(self, run: TrackedRun) -> None:
        folder = self._folder(run)
        try:
            for path in (folder / MARK, *_event_files(folder)):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(folder, error) from error
        self._open.pop(run.id, None)
        self._tags[run.id] = set()

    def _status(self, run: TrackedRun) -> int:
        api = package("tensorboard.plugins.hparams.api_pb2", self.title)
        return int(api.Status.Value(STATUS.get(run.state, "STATUS_UNKNOWN")))

    def _once(self, run: TrackedRun, tag: str, content: Any, time: float) -> None:
        """Append the settings or the end of a run, unless they are there."""
        if tag in self._tags.setdefault(run.id, set()):
            return
        metadata = self._hparams.create_summary_metadata(content)
        value = self._summary.Summary.Value(tag=tag, metadata=metadata, tensor=self._hparams.NULL_TENSOR)
        self._append(run, [self._event(time, 0, value)])
        self._tags[run.id].add(tag)

    def _event(self, time: float, step: int, value: Any) -> Any:
        return self._events.Event(wall_time=time, step=step, summary=self._summary.Summary(value=[value]))

    def _append(self, run: TrackedRun, events: list[Any]) -> None:
        """Append records to the file of this process; where that fails, the file ends as before."""
        path, content = self._open.get(run.id), io.BytesIO()
        records = self._records.RecordWriter(content)
        folder = self._folder(run)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if path is None:
                path = folder / f"{EVENTS}{len(_event_files(folder)) + 1:06d}.lora-lab"
                records.write(
                    self._events.Event(wall_time=run.started, file_version="brain.Event:2").SerializeToString()
                )
            for event in events:
                records.write(event.SerializeToString())
            _append(path, content.getvalue(), is_new=run.id not in self._open)
        except OSError as error:
            self._open.pop(run.id, None)
            raise _unusable(folder, error) from error
        self._open[run.id] = path

    def _values(self, folder: Path) -> Iterator[tuple[Any, Any]]:
        """Each value in the event files of a folder, with its event."""
        for path in _event_files(folder):
            for event in self._loader.LegacyEventFileLoader(str(path)).Load():
                for value in event.summary.value:
                    yield event, value

    def _folder(self, run: TrackedRun) -> Path:
        if run.id not in self._folders:
            self._folders[run.id] = self._find_folder(run)
        return self._folders[run.id]

    def _find_folder(self, run: TrackedRun) -> Path:
        """The folder of a run, wherever it is: the experiment may have had another name."""
        own = f"{_readable(run.name)}_{run.id}"
        for found in self._root.glob(f"*/*_{run.id}"):
            return found
        for found in self._root.glob(f"*_{run.group.id}"):
            return found / own
        name = _readable(run.group.name)
        return self._root / (name if name.lower() == run.group.id else f"{name}_{run.group.id}") / own


def _event_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{EVENTS}*"))


def _append(path: Path, content: bytes, is_new: bool) -> None:
    with path.open("xb" if is_new else "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
        except OSError:
            file.truncate(size)
            raise


def _readable(name: str) -> str:
    """A name with nothing but letters, digits and ``. = -``, shortened."""
    return re.sub(r"[^A-Za-z0-9.=]+", "-", name).strip("-.")[:MAX_NAME]


def _unusable(folder: Path, error: OSError) -> TrackerError:
    return TrackerError(f"TensorBoard's folder {folder} cannot be used: {error.strerror or error}.")


def _end_in(mark: Path) -> str:
    """The state in the file of a run of which everything is there; empty if there is no such file."""
    try:
        return str(json.loads(mark.read_bytes())["state"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""
