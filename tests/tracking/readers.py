"""What TensorBoard's and MLflow's own readers give back, to be compared with the store."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from core.lab import Lab
from core.store.record import Experiment
from core.tracking.mlflow_tracker import MlflowTracker

Curves = dict[str, dict[str, list[tuple[int, float]]]]
"""Steps and values by id of the run and name of the series."""


def stored(lab: Lab, experiment: Experiment) -> Curves:
    """Every curve and measure of an experiment and its base, as the store has them."""
    found: Curves = {}
    for run in lab.store.runs_of([experiment.base, *experiment.runs]):
        curve = lab.store.curve(run.id)
        own = {"loss": list(zip(curve.step.tolist(), curve.loss.tolist(), strict=True))}
        for name in curve.epochs.columns:
            pairs = [(int(s), float(v)) for s, v in zip(curve.epochs["step"], curve.epochs[name], strict=True)]
            pairs = [(step, value) for step, value in pairs if not np.isnan(value)]
            if name != "step" and pairs:
                own[f"epoch/{name}"] = pairs
        if run.result:
            for name, value in run.result.to_dict().items():
                if isinstance(value, int | float):
                    own[f"result/{name}"] = [(run.result.steps, float(value))]
        found[run.id] = own
    return found


def single(curves: Curves) -> Curves:
    """The same with every value as the nearest float32, as TensorBoard keeps them; losses are so in the store."""
    return {
        run: {name: [(step, float(np.float32(value))) for step, value in points] for name, points in own.items()}
        for run, own in curves.items()
    }


def tensorboard_provider(folder: Path) -> MultiplexerDataProvider:
    """What TensorBoard itself reads a folder with; it keeps every point."""
    size = {"scalars": 0, "tensors": 0}
    multiplexer = EventMultiplexer(size_guidance=size, tensor_size_guidance={"scalars": 0})
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    return MultiplexerDataProvider(multiplexer, str(folder))


def in_tensorboard(folder: Path) -> Curves:
    """All scalars that TensorBoard shows."""
    provider, ask = tensorboard_provider(folder), context.RequestContext()
    found: Curves = defaultdict(dict)
    scalars = provider.read_scalars(ask, experiment_id="", plugin_name="scalars", downsample=10**7)
    for run, tags in scalars.items():
        for tag, points in tags.items():
            own = found[run.rpartition("_")[2]]
            assert tag not in own, f"{run} has {tag} twice"
            own[tag] = [(point.step, point.value) for point in points]
    return dict(found)


def mlflow() -> Any:
    """MLflow with the settings that the tracker gives it, which it reads when it is imported."""
    return MlflowTracker("sqlite:////of/no/use")._imported()


def mlflow_client(file: Path) -> Any:
    return mlflow().MlflowClient(f"sqlite:///{file}")


def mlflow_runs(file: Path) -> list[Any]:
    """All runs that MLflow lists."""
    client = mlflow_client(file)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, max_results=10_000))


def in_mlflow(file: Path) -> Curves:
    """The whole history of all metrics of the runs that have some."""
    client, found = mlflow_client(file), {}
    for run in mlflow_runs(file):
        if id := run.data.tags.get("lora_lab.run"):
            assert id not in found, f"{id} is there twice"
            found[id] = {
                name: sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name))
                for name in run.data.metrics
            }
    return found
