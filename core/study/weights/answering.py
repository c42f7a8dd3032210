"""The networks of an experiment, ready to answer, and what is predicted for test examples and not kept anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from core.data.dataset import ImageDataset
from core.data.drawing import box_of
from core.data.task_spec import TaskSpec
from core.errors import DatasetError, LabError
from core.lab import Lab
from core.methods.method import Role
from core.serving.panes import Panes
from core.store.record import Run
from core.training.evaluation import predict

MERGED = "-merged"
"""End of the name of a merged network, behind the run's id."""


def panes_of(lab: Lab, runs: Sequence[Run], merged: bool = False) -> tuple[Panes, dict[str, str]]:
    """Read a base and the networks of some runs, each by the run's id.

    Args:
        lab: has the files.
        runs: at least one, all from one base and with one seed.
        merged: whether each adapter is there a second time, merged into the base, by its id with :data:`MERGED`.

    Returns:
        The networks, and by run why one cannot be read.

    Raises:
        LabError: the base is gone or damaged.
    """
    panes = Panes(lab.artifacts.base_network(runs[0]), lab.artifacts.base_network(runs[0]))
    problems: dict[str, str] = {}
    for run in runs:
        try:
            if run.spec.role is not Role.ADAPTER:
                panes.add(run.id, lab.artifacts.network(run.id))
                continue
            panes.add_adapter(run.id, lab.artifacts.adapter(run.id))
            if merged:
                panes.add_merged(run.id + MERGED, run.id)
        except LabError as error:
            problems[run.id] = str(error)
    return panes, problems


def drawn_box(lab: Lab, dataset: str) -> int:
    """Side of the square that drawings are scaled to for a dataset of images; see :func:`core.data.drawing.box_of`.

    Raises:
        DatasetError: the dataset is gone, or has no images.
    """
    found = lab.catalog.load(dataset)
    if not isinstance(found, ImageDataset):
        raise DatasetError(f"{dataset} has no images: type a text instead.")
    return box_of(found.test_images)


def base_predictions(lab: Lab, run: Run, on_source: bool = False) -> NDArray[np.int64]:
    """(n,) the label that a run's base predicts for each test example, among all outputs.

    Args:
        lab: has the base.
        run: was fine-tuned from it.
        on_source: whether the test examples are those of the run's source; else those of its task.

    Raises:
        LabError: the dataset or the base is gone or damaged, or the run has no source.
    """
    return _labels(lab, run, run.spec.source if on_source else run.spec.task, lab.artifacts.base_network(run))


def source_predictions(lab: Lab, run: Run) -> NDArray[np.int64]:
    """(n,) the label that a run's network predicts for each test example of its source, among all outputs.

    Raises:
        LabError: the dataset or a network is gone or damaged, or the run has no source.
    """
    return _labels(lab, run, run.spec.source, lab.artifacts.trained(run))


def _labels(lab: Lab, run: Run, task: TaskSpec | None, network: nn.Module) -> NDArray[np.int64]:
    """What a network predicts for the test examples of a task."""
    if task is None:
        raise DatasetError(f"Run {run.id} has no source: its base was not pretrained here.")
    test = lab.tasks.get(task, network=run.spec.network).test
    labels: NDArray[np.int64] = predict(network, test).argmax(1).numpy()
    return labels
