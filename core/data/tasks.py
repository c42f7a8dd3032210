"""The tasks of specs, made by the view for the dataset's kind and kept while they are in use."""

from __future__ import annotations

import threading

import torch
from cachetools import LRUCache

from core.data.catalog import Catalog
from core.data.sources.source import Revision
from core.data.split import Outline
from core.data.task import Task
from core.data.task_spec import TaskSpec
from core.data.views.registry import view_of

MAX_OUTLINES = 16
"""Outlines to keep in memory; MNIST's takes half a megabyte."""


class Tasks:
    """Recently used tasks, kept in memory. Thread-safe."""

    def __init__(self, catalog: Catalog, keep: int = 4) -> None:
        """Args:
        catalog: where datasets come from.
        keep: number of tasks to keep in memory; MNIST takes 220 MB.
        """
        self._catalog = catalog
        self._tasks: LRUCache[tuple[TaskSpec, str, Revision], Task] = LRUCache(keep)
        self._outlines: LRUCache[tuple[TaskSpec, Revision], Outline] = LRUCache(MAX_OUTLINES)
        # Held while a task is made, so that threads that want the same one wait for it instead of making it twice.
        self._making_task, self._making_outline = threading.Lock(), threading.Lock()

    def get(self, spec: TaskSpec, device: torch.device | str = "cpu") -> Task:
        """The task of a spec on a device, made now unless it was used recently.

        Raises:
            DatasetError: see :meth:`core.data.catalog.Catalog.load` and :meth:`core.data.views.view.View.task`.
        """
        # The revision, because a name can be given to another dataset after the first one was removed.
        key = (spec, str(device), self._catalog.revision(spec.dataset))
        with self._making_task:
            if key not in self._tasks:
                dataset = self._catalog.load(spec.dataset)
                self._tasks[key] = view_of(dataset.kind).task(spec, dataset).to(device)
            return self._tasks[key]

    def outline(self, spec: TaskSpec) -> Outline:
        """What the task of a spec will contain; more of these are kept, since pages need one for every waiting run.

        Raises:
            DatasetError: see :meth:`get`.
        """
        key = (spec, self._catalog.revision(spec.dataset))
        with self._making_outline:
            if key not in self._outlines:
                dataset = self._catalog.load(spec.dataset)
                self._outlines[key] = view_of(dataset.kind).outline(spec, dataset)
            return self._outlines[key]
