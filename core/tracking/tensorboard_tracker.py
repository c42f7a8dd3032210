"""TensorBoard: a folder of event files, one folder per run inside one per experiment.

Values are float32, the only numbers that the usual loader of TensorBoard shows. Training losses are float32 in the
store, so they are exact; of every other number the nearest one is kept. Steps, times and settings are exact.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import closing
from pathlib import Path

from core.errors import TrackerError, os_error_as
from core.files import write_atomically
from core.tracking.tracker import TrackedRun, Tracker

EVENTS = "events.out.tfevents."
"""Beginning of the name of an event file; when the run ended follows, in milliseconds."""


class TensorBoardTracker(Tracker):
    """A folder for ``tensorboard --logdir``. A run is one event file, moved into place, so it is whole or not there."""

    kind = "tensorboard"
    title = "TensorBoard"
    example = "/path/to/logs"

    def __init__(self, address: str) -> None:
        if not address or "\0" in address:
            raise TrackerError(f"TensorBoard needs a folder, as in tensorboard:{self.example}.")
        super().__init__(os.path.abspath(os.path.expanduser(address)))

    def write(self, run: TrackedRun, adapter: Path | None) -> bool:
        root = Path(self.address)
        self.package("tensorboard")
        with os_error_as(TrackerError, f"TensorBoard's folder {root} cannot be used"):
            root.mkdir(parents=True, exist_ok=True)
            folder = _folder(root, run)
            path = folder / f"{EVENTS}{run.ended * 1000:.0f}.{run.state}"
            part = folder / "run.part"  # TensorBoard reads every file with "tfevents" in its name
            if path.exists():
                return False
            with tempfile.TemporaryDirectory() as aside:
                self._write_events(aside, run)
                (events,) = Path(aside).iterdir()
                write_atomically(part, events.read_bytes())
            for earlier in folder.glob(f"{EVENTS}*"):
                earlier.unlink()
            part.replace(path)
        return True

    def _write_events(self, folder: str, run: TrackedRun) -> None:
        """Write the event file of a run into a folder: its settings, its points, its end."""
        summary = self.package("torch.utils.tensorboard.summary")
        # Of PyTorch's own hparams() only the end: it takes booleans for numbers, and knows no start.
        settings = {**run.settings, "run": run.id, "experiment": run.experiment.name if run.experiment else ""}
        begun = self.package("tensorboard.plugins.hparams.summary_v2").hparams_pb(settings, start_time_secs=run.started)
        _, _, succeeded = summary.hparams({}, {})
        with closing(self.package("torch.utils.tensorboard").FileWriter(folder)) as writer:
            writer.add_summary(begun, 0, run.started)
            for point in run.points.itertuples():
                writer.add_summary(summary.scalar(point.name, point.value), point.step, point.time)
            if run.state != "failed":
                writer.add_summary(succeeded, 0, run.ended)
            writer.event_writer.flush()  # raises what went wrong in its thread, which closing does not


def _folder(root: Path, run: TrackedRun) -> Path:
    """The folder of a run, wherever it is: the experiment may have had another name."""
    within = root / "No-experiment"
    if run.experiment is not None:
        own = f"_{run.experiment.id}"
        within = next(root.glob(f"*{own}"), root / f"{_readable(run.experiment.name)}{own}")
    return next(root.glob(f"*/*_{run.id}"), within / f"{_readable(run.name)}_{run.id}")


def _readable(name: str) -> str:
    """A name with nothing but letters, digits and ``. = -``, shortened to 80 characters."""
    return re.sub(r"[^A-Za-z0-9.=]+", "-", name).strip("-.")[:80]
