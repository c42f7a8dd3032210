"""The networks of an experiment, ready to answer, and what the base predicts for the test part of their task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import ImageDataset
from core.data.drawing import box_of
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


def base_predictions(lab: Lab, run: Run) -> NDArray[np.int64]:
    """(n,) the label that a run's base predicts for each example of the run's test part.

    Raises:
        LabError: the dataset or the base is gone or damaged.
    """
    test = lab.tasks.get(run.spec.task, network=run.spec.network).test
    labels: NDArray[np.int64] = predict(lab.artifacts.base_network(run), test).argmax(1).numpy()
    return labels
