"""The tasks of specs, made by the view for the dataset's kind and kept while they are in use."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from cachetools import LRUCache

from core.data.dataset import LANGUAGE
from core.data.examples import Task
from core.data.sources.catalog import Catalog
from core.data.sources.source import Revision
from core.data.task_spec import TaskSpec
from core.networks.network import NetworkSpec
from core.tasks.views.registry import view_of
from core.tasks.views.view import Outline, TextTokenizer

MAX_OUTLINES = 16
"""Outlines to keep in memory; MNIST's takes half a megabyte."""


class Tasks:
    """Recently used tasks, kept in memory. Thread-safe."""

    def __init__(
        self, catalog: Catalog, keep: int = 4, tokenizer: Callable[[str], TextTokenizer] | None = None
    ) -> None:
        """Args:
        catalog: where datasets come from.
        keep: number of tasks to keep in memory; MNIST takes 220 MB.
        tokenizer: gives the tokenizer of texts of a network that was imported, by its digest.
        """
        self.catalog, self._tokenizer = catalog, tokenizer
        self._tasks: LRUCache[tuple[TaskSpec, str, Revision, str | None, bool], Task] = LRUCache(keep)
        self._outlines: LRUCache[tuple[TaskSpec, Revision], Outline] = LRUCache(MAX_OUTLINES)
        # Held while a task is made, so that threads that want the same one wait for it instead of making it twice.
        self._making_task, self._making_outline = threading.Lock(), threading.Lock()

    def get(self, spec: TaskSpec, device: torch.device | str = "cpu", network: NetworkSpec | None = None) -> Task:
        """The task of a spec on a device, made now unless it was used recently.

        Args:
            spec: what to make.
            device: where its tensors are.
            network: the one that learns it; needed where the dataset consists of texts.

        Raises:
            NetworkFileError: the network is not on this machine, or has no tokenizer that can be read.
            DatasetError: see :meth:`core.data.sources.catalog.Catalog.load` and
                :meth:`core.tasks.views.view.View.task`.
        """
        # The revision, because the file of a dataset can be replaced while its tasks are kept.
        digest, own = (network.brought, network.tokenizer) if network else (None, None)
        continued = network is not None and network.learns == LANGUAGE
        key = (spec, str(device), self.revision(spec), own.digest if own else digest, continued)
        with self._making_task:
            if key not in self._tasks:
                dataset = self.catalog.load(spec.dataset)
                tokenizer = self._tokenizer(digest) if digest and self._tokenizer else own
                kind = LANGUAGE if continued else dataset.kind
                self._tasks[key] = view_of(kind).task(spec, dataset, tokenizer).to(device)
            return self._tasks[key]

    def revision(self, spec: TaskSpec) -> Revision:
        """A value that changes when the file of the spec's dataset is replaced."""
        return self.catalog.revision(spec.dataset)

    def outline(self, spec: TaskSpec) -> Outline:
        """What the task of a spec will contain; more of these are kept, since pages need one for every waiting run.

        Raises:
            DatasetError: see :meth:`get`.
        """
        key = (spec, self.revision(spec))
        with self._making_outline:
            if key not in self._outlines:
                dataset = self.catalog.load(spec.dataset)
                self._outlines[key] = view_of(dataset.kind).outline(spec, dataset)
            return self._outlines[key]
