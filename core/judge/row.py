"""What a verdict needs of a training run, as tables of results say it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

RowState = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class Row:
    """One training run as it was reported. What nobody reported is None, or empty."""

    run: str
    """Its name among the rows, by which files beside the table refer to it."""
    method: str
    """Kind of a method of this lab, such as ``lora``, or any other name."""
    seed: int
    rank: int | None = None
    alpha: float | None = None
    learning_rate: float | None = None
    settings: dict[str, str] = field(default_factory=dict)
    """Further settings that tell it from others, by the names of their columns."""
    epochs: int | None = None
    """Number of epochs that were asked for: runs with different numbers are never compared."""
    patience: int = 0
    """Epochs without a lower loss after which it would have stopped by itself; then its curve says nothing of longer
    training."""
    decay: str = ""
    """How its learning rate fell, as in ``constant`` or ``cosine``."""
    state: RowState = "finished"
    cause: str = ""
    """Why it failed."""
    archived: bool = False
    """Whether somebody left it out who knew what that means; see :attr:`core.store.record.Run.archived`."""
    validation: float | None = None
    """The measure on the validation part, by which settings are chosen, in the measure's unit."""
    value: float | None = None
    """The measure on the test part."""
    trend: float | None = None
    """What three times the epochs would add at most; see :func:`core.store.curves.trends_of`."""
    trained: int | None = None
    """Number of trainable parameters."""
    steps: int | None = None
    """Number of updates."""
    accuracy: float | None = None
    """Percent of the test part that is right, where the measure is another one: it tells what has learned nothing."""
    largest_class: float | None = None
    """Percent of the test part that is of its most frequent class."""
