"""Table of the probabilities that several networks give to the classes of one input, as data that a page draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.numbers import percent
from core.wording.tasks import class_name, shortened

MAX_CLASSES = 16
"""Maximum number of classes shown: those that any network gives the highest probabilities."""

NAME_LENGTH = 24
"""Maximum number of characters of a class."""

TOLD_FROM = 0.005
"""Lowest probability that is written as a number: less rounds to 0 percent."""


@dataclass(frozen=True)
class Probability:
    """The probability of one class."""

    share: float
    """From 0 to 1."""
    text: str
    """In percent, without a sign; empty below :data:`TOLD_FROM`."""
    label: str
    """Full description, for tooltips."""


@dataclass(frozen=True)
class Row:
    """The answer of one network."""

    network: str
    answer: str
    probability: str
    """Of the answer."""
    right: bool | None
    """None if the right answer is not known."""
    cells: tuple[Probability, ...]
    """One per class shown."""


@dataclass(frozen=True)
class Probabilities:
    """A row per network, a column per class."""

    heading: str
    """What the columns of the classes show."""
    classes: tuple[str, ...]
    rows: tuple[Row, ...]


def probabilities(
    found: Mapping[str, NDArray[np.floating]], names: Sequence[str], truth: int | None = None
) -> Probabilities:
    """Make the table of the answers to one input.

    Args:
        found: (outputs,) probabilities by label of the network, in the order of the rows; at least one.
        names: of the dataset's labels; may contain any text.
        truth: label of the input; None if it is not known.
    """
    values = np.stack([np.asarray(row, float) for row in found.values()])
    shown = np.sort(np.argsort(-values.max(0), kind="stable")[:MAX_CLASSES])
    classes = {int(label): shortened(class_name(int(label), names), NAME_LENGTH) for label in shown}
    more = f", the {len(shown)} highest of {values.shape[1]} classes" if len(shown) < values.shape[1] else ""
    rows = []
    for network, own in zip(found, values, strict=True):
        best = int(own.argmax())
        cells = tuple(_cell(network, name, float(own[label])) for label, name in classes.items())
        right = None if truth is None else best == truth
        rows.append(
            Row(
                network,
                shortened(class_name(best, names), NAME_LENGTH),
                percent(100 * float(own[best]), 1),
                right,
                cells,
            )
        )
    return Probabilities(f"Probability in percent{more}", tuple(classes.values()), tuple(rows))


def probabilities_alt(table: Probabilities) -> str:
    """A text alternative of the table: what each network finds most probable."""
    said = [f"{row.network}: {row.answer}, {row.probability}" for row in table.rows]
    return f"The most probable class for each network. {'; '.join(said)}."


def _cell(network: str, name: str, share: float) -> Probability:
    text = f"{100 * share:.0f}" if share >= TOLD_FROM else ""
    return Probability(share, text, f"{network}: {name} {percent(100 * share, 1)}")
