"""MLflow: a SQLite file or a server. Each run is a child of a run for its experiment."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from core.errors import TrackerError, os_error_as
from core.store.record import State
from core.tracking.content import ALONE, Group, Series, TrackedRun
from core.tracking.tracker import Points, Tracker, package

EXPERIMENT = "LoRA Lab"
"""Name of the experiment of MLflow that all runs are in; what is called an experiment here is a parent run there."""

RUN, GROUP, STATE, COMPLETE, REPORT = (
    f"lora_lab.{name}" for name in ("run", "experiment", "state", "complete", "report")
)
"""Tags. MLflow is asked for a run by its id in :data:`RUN`."""

KIND = "mlflow.experimentKind", "custom_model_development"
"""Tag of the experiment, by which MLflow's page shows runs and their metrics, not what it has for language models."""

SQLITE = "sqlite:///"

MAX_PARAMS = 100
"""Maximum number of params in one request."""

PAGE = 1000
"""Maximum number of runs in one answer."""

HTTP_SECONDS, FILE_SECONDS = 10, 120
"""Timeouts of a request, and of one with a file. MLflow's own would try a server that is down for minutes."""

STATUS: dict[State, str] = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}

_importing = threading.Lock()


class MlflowTracker(Tracker):
    """MLflow 3 through its client, without the active run and the address that MLflow has for a whole process.

    A metric is the same if its name, step, time and value are: MLflow stores it once, however often it is sent.
    """

    kind = "mlflow"
    title = "MLflow"
    example = "sqlite:////path/to/mlflow.db"
    batch = 1000
    takes_files = True

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
        self._mlflow = imported()
        self._entities = package("mlflow.entities", self.title)
        self._ids: dict[str, str] = {}
        """Ids in MLflow by run id here."""
        location = None
        if address.startswith(SQLITE):
            file = Path(address.removeprefix(SQLITE))
            # By default MLflow puts files into the folder where a process happens to be.
            location = (file.parent / f"{file.stem}-artifacts").as_uri()
            with os_error_as(TrackerError, f"MLflow's folder {file.parent} cannot be made"):
                file.parent.mkdir(parents=True, exist_ok=True)
        with self._asking():
            self._client = self._mlflow.MlflowClient(address)
            self._experiment: str = self._find_experiment() or self._make_experiment(location)

    def _find_experiment(self) -> str | None:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None and found.lifecycle_stage == "deleted":
            raise TrackerError(
                f"The experiment {EXPERIMENT!r} was deleted in MLflow at {self._shown}: restore it there, or rename it."
            )
        return found and str(found.experiment_id)

    def _make_experiment(self, location: str | None) -> str:
        try:
            return str(self._client.create_experiment(EXPERIMENT, artifact_location=location, tags=dict([KIND])))
        except self._mlflow.MlflowException:  # another process was faster
            found = self._find_experiment()
            if found is None:
                raise
            return found

    def complete(self) -> set[str]:
        with self._asking():
            tags = [run.data.tags for run in self._search(COMPLETE, "yes")]
        return {own[RUN] for own in tags if RUN in own and own.get(STATE) == "finished"}

    def end(self, run: TrackedRun) -> str:
        with self._asking():
            known = self._find(RUN, run.id)
        return str(known.data.tags.get(STATE, "")) if known and known.data.tags.get(COMPLETE) == "yes" else ""

    def points(self, run: TrackedRun) -> dict[str, Points]:
        with self._asking():
            known = self._find(RUN, run.id)
            if known is None:
                self._ids.pop(run.id, None)
                return {}
            self._ids[run.id] = known.info.run_id
            found = {name: self._client.get_metric_history(known.info.run_id, name) for name in known.data.metrics}
        return {name: _points(metrics) for name, metrics in found.items()}

    def begin(self, run: TrackedRun) -> None:
        with self._asking():
            if run.id not in self._ids:
                tags = {RUN: run.id, STATE: run.state, "mlflow.parentRunId": self._parent(run.group)}
                self._ids[run.id] = self._make(run.name, tags, run.started)
            params = [self._entities.Param(name, str(value)) for name, value in run.settings.items()]
            for first in range(0, len(params), MAX_PARAMS):
                self._client.log_batch(self._ids[run.id], params=params[first : first + MAX_PARAMS])

    def write(self, run: TrackedRun, parts: Mapping[str, Series]) -> None:
        metrics = [
            self._entities.Metric(name, float(value), round(time * 1000), int(step))
            for name, series in parts.items()
            for step, value, time in zip(series.step, series.value, series.time, strict=True)
        ]
        with self._asking():
            self._client.log_batch(self._ids[run.id], metrics=metrics)

    def finish(self, run: TrackedRun, files: Mapping[str, Path]) -> None:
        id = self._ids[run.id]
        with self._asking():
            there = {item.path for item in self._client.list_artifacts(id)}
            for name, path in files.items():
                if name not in there:
                    self._client.log_artifact(id, str(path))
            self._client.set_tag(id, STATE, run.state)
            ended = round((run.ended or run.started) * 1000)
            self._client.set_terminated(id, STATUS.get(run.state, "KILLED"), ended)
            self._client.set_tag(id, COMPLETE, "yes")
        self._ids.pop(run.id, None)

    def discard(self, run: TrackedRun) -> None:
        with self._asking():
            for known in list(self._search(RUN, run.id)):
                self._client.delete_run(known.info.run_id)
        self._ids.pop(run.id, None)

    def report_version(self, group: Group) -> str:
        with self._asking():
            known = self._find(GROUP, group.id)
            return str(known.data.tags.get(REPORT, "")) if known is not None else ""

    def write_report(self, group: Group, content: bytes, version: str) -> None:
        with self._asking():
            id = self._parent(group)
            if content:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "report.html"
                    path.write_bytes(content)
                    self._client.log_artifact(id, str(path))
            self._client.set_terminated(id, "FINISHED")
            self._client.set_tag(id, REPORT, version)

    def _parent(self, group: Group) -> str:
        """Id of the run that stands for a group, with the name that the group has now."""
        known = self._find(GROUP, group.id)
        if known is None:
            made = self._make(group.name, {GROUP: group.id}, None)
            if group == ALONE:
                self._client.set_terminated(made, "FINISHED")
            return made
        if known.info.run_name != group.name:
            self._client.update_run(known.info.run_id, name=group.name)
        return str(known.info.run_id)

    def _make(self, name: str, tags: dict[str, str], started: float | None) -> str:
        at = None if started is None else round(started * 1000)
        return str(self._client.create_run(self._experiment, at, tags, name).info.run_id)

    def _find(self, tag: str, value: str) -> Any | None:
        """The run with this tag. Where an answer was lost there may be a second one, which is deleted."""
        first, *others = sorted(self._search(tag, value), key=lambda run: run.info.start_time) or [None]
        for other in others:
            self._client.delete_run(other.info.run_id)
        return first

    def _search(self, tag: str, value: str) -> Iterator[Any]:
        token = None
        while True:
            found = self._client.search_runs(
                [self._experiment], f"tags.`{tag}` = '{value}'", max_results=PAGE, page_token=token
            )
            yield from found
            token = found.token
            if not token:
                return

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn what MLflow, SQLAlchemy and the network raise into one sentence."""
        try:
            yield
        except TrackerError:
            raise
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


def _points(metrics: list[Any]) -> Points:
    metrics = sorted(metrics, key=lambda metric: metric.step)
    values = np.array([metric.value for metric in metrics], np.float64)
    largest = np.finfo(np.float64).max  # SQL has no infinity, and MLflow stores this
    values = np.where(np.abs(values) == largest, np.sign(values) * np.inf, values)
    return Points(np.array([metric.step for metric in metrics], np.int64), values)


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
