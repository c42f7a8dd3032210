"""MLflow: a SQLite file or a server. Each run is a child of a run for its experiment."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import TrackerError
from core.store.record import Experiment
from core.tracking.tracker import TrackedRun, Tracker

EXPERIMENT = "LoRA Lab"
"""Name of the experiment of MLflow that all runs are in; what is called an experiment here is a parent run there."""

RUN, PARENT, STATE, COMPLETE = (f"lora_lab.{name}" for name in ("run", "experiment", "state", "complete"))
"""Tags. MLflow is asked for runs by our ids in the first two; :data:`COMPLETE` has a run's end, and is set last."""

SQLITE = "sqlite:///"

SERVER = re.compile(r"https?://(.*@)?([^][/:@]+|\[[\da-fA-F:.]+\])(:\d+)?(/.*)?")
"""Addresses of servers, with a user and a password or without."""

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tag of the experiment, by which MLflow's page shows runs and their metrics, not what it has for language models."""

VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": True,
    "MLFLOW_CONFIGURE_LOGGING": False,
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": True,
    "MLFLOW_HTTP_REQUEST_TIMEOUT": 10,
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": 0,
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": 120,
}
"""Settings of MLflow where somebody has not set them: by default it would try a server that is down for minutes."""


_importing = threading.Lock()


class MlflowTracker(Tracker):
    """MLflow 3 through its client, without the active run and the address that MLflow has for a whole process."""

    kind = "mlflow"
    title = "MLflow"
    example = "sqlite:////path/to/mlflow.db"

    def __init__(self, address: str) -> None:
        file = address.removeprefix(SQLITE) if address.startswith(SQLITE) else ""
        self._file = Path(os.path.abspath(os.path.expanduser(file))) if file else None
        if not file and not SERVER.fullmatch(address):
            raise TrackerError(
                f"MLflow needs a SQLite file or a server, as in mlflow:{self.example} or mlflow:http://localhost:5000."
            )
        super().__init__(f"{SQLITE}{self._file}" if file else address.rstrip("/"))

    def write(self, run: TrackedRun, adapter: Path | None) -> bool:
        with self._opened() as (client, experiment):
            end = f"{run.state} at {run.ended:.3f}"
            earlier = _search(client, experiment, RUN, run.id)
            if any(known.data.tags.get(COMPLETE) == end for known in earlier):
                return False
            for known in earlier:
                client.delete_run(known.info.run_id)
            tags = {RUN: run.id, STATE: run.state}
            if run.experiment is not None:
                tags["mlflow.parentRunId"] = _parent(client, experiment, run.experiment)
            id = client.create_run(experiment, round(run.started * 1000), tags, run.name).info.run_id
            entities = self.package("mlflow.entities")
            params = [entities.Param(name, str(value)) for name, value in run.settings.items()]
            metrics = [
                entities.Metric(point["name"], point["value"], round(point["time"] * 1000), point["step"])
                for point in run.points.to_dict("records")
            ]
            client.log_batch(id, metrics, params)
            if adapter is not None:
                client.log_artifact(id, str(adapter))
            client.set_terminated(id, "FAILED" if run.state == "failed" else "FINISHED", round(run.ended * 1000))
            client.set_tag(id, COMPLETE, end)
        return True

    def write_report(self, experiment: Experiment, report: str) -> None:
        with self._opened() as (client, all):
            client.log_text(_parent(client, all, experiment), report, "report.html")

    def _imported(self) -> Any:
        """MLflow with its settings. The environment has them only meanwhile: every process that this one starts would
        have them, too.
        """
        with _importing:
            missing = {name: str(value).lower() for name, value in VARIABLES.items() if name not in os.environ}
            os.environ.update(missing)
            try:
                mlflow, variables = self.package("mlflow"), self.package("mlflow.environment_variables")
            finally:
                for name in missing:
                    del os.environ[name]
        for name, value in VARIABLES.items():
            getattr(variables, name).default = value
        return mlflow

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, str]]:
        """A client, and MLflow's id of :data:`EXPERIMENT`, which is made where it is missing.

        What MLflow, SQLAlchemy and the network raise meanwhile becomes one sentence.
        """
        mlflow, requests = self._imported(), self.package("requests")
        location = None
        try:
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                # By default MLflow puts files into the folder where a process happens to be.
                location = (self._file.parent / f"{self._file.stem}-artifacts").as_uri()
            client = mlflow.MlflowClient(self.address)
            found = client.get_experiment_by_name(EXPERIMENT)
            id = found.experiment_id if found else client.create_experiment(EXPERIMENT, location, KIND)
            yield client, str(id)
        except Exception as error:  # they have no common base class
            reason = str(error).strip().partition("\n")[0][:300].rstrip(".").replace(self.address, self.shown)
            if isinstance(error.__context__, requests.RequestException):
                reason = "there is no connection, or no answer in time"
            raise TrackerError(f"{self.shown} cannot be used: {reason}.") from error


def _parent(client: Any, all: str, experiment: Experiment) -> str:
    """Id of the run that stands for an experiment, with the name that the experiment has now."""
    known = _search(client, all, PARENT, experiment.id)
    run = known[0] if known else client.create_run(all, tags={PARENT: experiment.id}, run_name=experiment.name)
    client.update_run(run.info.run_id, "FINISHED", experiment.name)
    return str(run.info.run_id)


def _search(client: Any, experiment: str, tag: str, value: str) -> list[Any]:
    """The runs with this tag: one, or several where an answer was lost."""
    return list(client.search_runs([experiment], f"tags.`{tag}` = '{value}'"))
