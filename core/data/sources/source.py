"""A source: something that has datasets, by name."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from core.data.dataset import LANGUAGE, USUAL_OBJECTIVE, Dataset
from core.errors import DatasetError
from core.objectives.registry import objective_of
from core.settings import Settings

State = Literal["ready", "absent", "damaged"]

Revision = tuple[int | str, ...]
"""Distinguishes datasets that had the same name at different times; caches of what was made of one depend on it."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a dataset without reading it."""

    name: str
    title: str
    line: str
    """One-line description, including the size."""
    num_classes: int
    """Number of classes; 0 for targets that are none."""
    state: State
    download_bytes: int = 0
    """Size of the download; 0 if none is needed."""
    is_own: bool = False
    """Whether a user uploaded it; such a dataset can be removed."""
    kind: str = "image"
    """What its examples are; see :class:`core.tasks.views.view.View`."""
    licence: str = ""
    """Name of the licence; empty if it is not known."""
    link: str = ""
    """Address of a page about the dataset; empty if there is none."""
    as_source: int = 0
    """Of the datasets that are ready, the one with the highest value is suggested to pretrain on; 0 for none."""
    as_target: int = 0
    """Of the datasets that are ready, the one with the highest value is suggested as a target; 0 for none."""
    class_names: tuple[str, ...] = ()
    """One per class; empty if they are not known without reading the dataset."""
    objective: str = USUAL_OBJECTIVE
    """Kind of the objective that its targets are for; see :mod:`core.objectives`."""

    @property
    def has_classes(self) -> bool:
        """Whether its targets are classes."""
        return self.num_classes > 0

    @property
    def num_outputs(self) -> int:
        """Number of outputs of a network that learns it. Raises: SpecError: this version has no such objective."""
        return objective_of(self.objective).outputs_for(self.num_classes)

    def seen_by(self, learns: str) -> DatasetInfo:
        """What it is for a network that learns a kind of data: one that continues texts takes labelled ones, too.

        Args:
            learns: see :attr:`core.networks.network.NetworkSpec.learns`; empty for the dataset as it is.
        """
        continued = learns == LANGUAGE and self.kind == "text"
        return replace(self, kind=LANGUAGE, objective=LANGUAGE) if continued else self

    def is_like(self, other: DatasetInfo) -> bool:
        """Whether a network that learns one of both can learn the other: examples and targets are of one kind."""
        return (self.kind, self.objective) == (other.kind, other.objective)


class Source(ABC):
    """Some datasets of one kind. Thread-safe."""

    kind: ClassVar[str] = "image"
    """What the examples of its datasets are."""
    is_own: ClassVar[bool] = False
    """Whether its datasets are those of the people who use the dashboard, who may add and remove some."""
    comes_along: ClassVar[bool] = False
    """Whether its datasets are on every machine that has LoRA Lab."""

    def __init__(self, settings: Settings) -> None:  # noqa: B027 - what comes along needs none
        """Args: settings: the home folder, which sources that come along do not need."""

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Names of its datasets, in the order in which they are shown."""

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    @abstractmethod
    def info(self, name: str) -> DatasetInfo:
        """Describe one of its datasets; one that cannot be read is ``damaged``."""

    @abstractmethod
    def load(self, name: str) -> Dataset:
        """Read one of its datasets. Raises: DatasetError: it is not on this machine, or damaged."""

    def revision(self, name: str) -> Revision:
        """A value that changes when the dataset of this name is replaced by another one; constant by default."""
        return ()

    def download(
        self, name: str, progress: Callable[[float], None] | None = None, stop: threading.Event | None = None
    ) -> None:
        """Download one of its datasets; by default there is nothing to do.

        Args:
            name: the dataset.
            progress: called with the fraction of bytes received, 0 to 1.
            stop: once set, the download ends at the next chunk.

        Raises:
            DownloadError: it could not be downloaded, is already being downloaded, or was stopped.
        """
        return

    def keep(self, dataset: Dataset, name: str) -> None:
        """Save a dataset under a name, completely or not at all. Raises: DatasetError: it cannot be saved here."""
        raise DatasetError(f"{name[:64]!r} cannot be saved here.")

    def remove(self, name: str) -> None:
        """Delete a dataset; does nothing if it no longer exists.

        Raises:
            DatasetError: it is not an uploaded dataset, or cannot be deleted.
        """
        raise DatasetError(f"{name[:64]!r} is not an uploaded dataset: only those can be deleted.")
