"""MLflow: a SQLite file or a server. Each run is a child of a run for its experiment."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.errors import TrackerError, os_error_as
from core.store.record import State
from core.tracking.content import Group, TrackedRun
from core.tracking.tracker import Tracker, package

EXPERIMENT = "LoRA Lab"
"""Name of the experiment of MLflow that all runs are in; what is called an experiment here is a parent run there."""

RUN, GROUP, STATE, COMPLETE, REPORT = (
    f"lora_lab.{name}" for name in ("run", "experiment", "state", "complete", "report")
)
"""Tags. MLflow is asked for a run by its id in :data:`RUN`; :data:`COMPLETE` has its version and is set last."""

KIND = "mlflow.experimentKind", "custom_model_development"
"""Tag of the experiment, by which MLflow's page shows runs and their metrics, not what it has for language models."""

SQLITE = "sqlite:///"

MAX_PARAMS, MAX_METRICS, MAX_RUNS = 100, 1000, 1000
"""Maximum number of params and metrics in one request, and of runs in one answer."""

HTTP_SECONDS, FILE_SECONDS = 10, 120
"""Timeouts of a request, and of one with a file. MLflow's own would try a server that is down for minutes."""

STATUS: dict[State, str] = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}

_importing = threading.Lock()


class MlflowTracker(Tracker):
    """MLflow 3 through its client, without the active run and the address that MLflow has for a whole process."""

    kind = "mlflow"
    title = "MLflow"
    example = "sqlite:////path/to/mlflow.db"

    @classmethod
    def clean(cls, address: str) -> str:
        if address.startswith(SQLITE) and len(address) > len(SQLITE):
            try:
                return SQLITE + str(Path(address.removeprefix(SQLITE)).expanduser().absolute())
            except RuntimeError:  # an unknown user after ~
                pass
        try:
            parts = urlsplit(address)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
                return address.rstrip("/")
        except ValueError:  # a port that is no number
            pass
        raise TrackerError(
            f"MLflow needs a SQLite file or a server, as in mlflow:{cls.example} or mlflow:http://localhost:5000."
        )

    def __init__(self, address: str) -> None:
        self._address, self._shown = address, without_password(address)
        mlflow = imported()
        self._entities = package("mlflow.entities", self.title)
        location = None
        if address.startswith(SQLITE):
            file = Path(address.removeprefix(SQLITE))
            # By default MLflow puts files into the folder where a process happens to be.
            location = (file.parent / f"{file.stem}-artifacts").as_uri()
            with os_error_as(TrackerError, f"MLflow's folder {file.parent} cannot be made"):
                file.parent.mkdir(parents=True, exist_ok=True)
        with self._asking():
            self._client = mlflow.MlflowClient(address)
            found = self._client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                id = self._client.create_experiment(EXPERIMENT, artifact_location=location, tags=dict([KIND]))
                found = self._client.get_experiment(id)
        if found.lifecycle_stage == "deleted":
            raise TrackerError(
                f"The experiment {EXPERIMENT!r} was deleted in MLflow at {self._shown}: restore it there, or rename it."
            )
        self._experiment = str(found.experiment_id)

    def write(self, run: TrackedRun, files: Sequence[Path]) -> bool:
        params = [self._entities.Param(name, str(value)) for name, value in run.settings.items()]
        metrics = [
            self._entities.Metric(point["name"], point["value"], round(point["time"] * 1000), point["step"])
            for point in run.points.to_dict("records")
        ]
        with self._asking():
            earlier = self._search(RUN, run.id)
            if any(known.data.tags.get(COMPLETE) == run.version for known in earlier):
                return False
            for known in earlier:
                self._client.delete_run(known.info.run_id)
            tags = {RUN: run.id, STATE: run.state, "mlflow.parentRunId": self._parent(run.group)}
            id = self._make(run.name, tags, run.started)
            for first in range(0, len(params), MAX_PARAMS):
                self._client.log_batch(id, params=params[first : first + MAX_PARAMS])
            for first in range(0, len(metrics), MAX_METRICS):
                self._client.log_batch(id, metrics=metrics[first : first + MAX_METRICS])
            for path in files:
                self._client.log_artifact(id, str(path))
            self._client.set_terminated(id, STATUS.get(run.state, "KILLED"), round(run.ended * 1000))
            self._client.set_tag(id, COMPLETE, run.version)
        return True

    def write_report(self, group: Group, version: str, content: bytes) -> bool:
        with self._asking():
            if any(known.data.tags.get(REPORT) == version for known in self._search(GROUP, group.id)):
                return False
            id = self._parent(group)
            if content:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "report.html"
                    path.write_bytes(content)
                    self._client.log_artifact(id, str(path))
            self._client.set_tag(id, REPORT, version)
        return True

    def _parent(self, group: Group) -> str:
        """Id of the run that stands for a group, with the name that the group has now."""
        for known in self._search(GROUP, group.id):
            if known.info.run_name != group.name:
                self._client.update_run(known.info.run_id, name=group.name)
            return str(known.info.run_id)
        made = self._make(group.name, {GROUP: group.id}, None)
        self._client.set_terminated(made, "FINISHED")
        return made

    def _make(self, name: str, tags: dict[str, str], started: float | None) -> str:
        at = None if started is None else round(started * 1000)
        return str(self._client.create_run(self._experiment, at, tags, name).info.run_id)

    def _search(self, tag: str, value: str) -> list[Any]:
        """The runs with this tag, the oldest first: one, or several where an answer was lost."""
        query = f"tags.`{tag}` = '{value}'"
        return list(self._client.search_runs([self._experiment], query, max_results=MAX_RUNS, order_by=["start_time"]))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn what MLflow, SQLAlchemy and the network raise into one sentence."""
        try:
            yield
        except Exception as error:  # they have no common base class
            reason = _reason(error).replace(self._address, self._shown)
            raise TrackerError(f"MLflow at {self._shown} cannot be used: {reason}.") from error


def without_password(address: str) -> str:
    """An address as it may be shown and logged."""
    scheme, found, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else address


def _reason(error: BaseException) -> str:
    """Why something failed, in a few words."""
    exceptions = package("requests.exceptions", MlflowTracker.title)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, exceptions.Timeout):
            return f"it does not answer within {HTTP_SECONDS} seconds"
        if isinstance(cause, exceptions.ConnectionError):
            return "there is no connection"
        cause = cause.__cause__ or cause.__context__
    return str(error).strip().partition("\n")[0][:300].rstrip(".")


def imported() -> Any:
    """MLflow without telemetry, without lines on stdout, without handlers for logs, and with short timeouts; what
    somebody has set otherwise stays as it is.
    """
    with _importing, _environment(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_CONFIGURE_LOGGING="false"):
        mlflow = package("mlflow", MlflowTracker.title)
        package("sqlalchemy", MlflowTracker.title)
        package("alembic", MlflowTracker.title)
        variables = package("mlflow.environment_variables", MlflowTracker.title)
    for name, default in (
        ("MLFLOW_DISABLE_TELEMETRY", True),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", True),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", HTTP_SECONDS),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", 0),
        ("MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", FILE_SECONDS),
    ):
        # The variables themselves would reach every process that this one starts.
        getattr(variables, name).default = default
    return mlflow


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables that are not set, for as long as something is imported."""
    added = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
