"""What a number of test images, and of their classes, can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.numbers import count_text, number_text, percent
from core.wording.tasks import examples_text, noun

MIN_IMAGES = 1000
"""Number of test images below which a page warns that other images may give other differences."""


@dataclass(frozen=True)
class ImageFacts:
    """What the number of test images, and of their classes, means for an accuracy."""

    images: int
    classes: int
    chance: float
    """Percent that the best guess without looking reaches: the share of the largest class."""
    worth: float
    """Points of accuracy that one image is worth; infinite without images."""
    kind: str = "image"
    """What the data consist of; see :func:`core.wording.tasks.noun`."""

    @property
    def sentence(self) -> str:
        """Number of images, what one is worth, and the chance level."""
        if not self.images:
            return f"There are no test {noun(self.kind)}."
        even = math.isclose(self.chance * self.classes, 100)
        guess = f"Guessing among {self.classes} classes" if even else "Always naming the most frequent class"
        # Two significant digits, and at least two decimals.
        worth = number_text(self.worth, max(2, 1 - math.floor(math.log10(self.worth))))
        return (
            f"{examples_text(self.kind, self.images, 'test')}: one is worth {worth} points. "
            f"{guess} reaches {percent(self.chance, 1)}."
        )

    @property
    def warning(self) -> str:
        """Why a difference may not hold for other images; empty from :data:`MIN_IMAGES` on."""
        if self.images >= MIN_IMAGES:
            return ""
        return (
            f"There are only {examples_text(self.kind, self.images, 'test')}. Intervals over seeds hold for these "
            f"{noun(self.kind)}; with fewer than {count_text(MIN_IMAGES)}, other {noun(self.kind)} may give a "
            "noticeably different result."
        )


def image_facts(labels: Sequence[int] | NDArray[np.integer], kind: str = "image") -> ImageFacts:
    """State what the test images of a task can tell.

    Args:
        labels: (n,) true label of each test image.
        kind: what the data consist of.
    """
    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    images = int(counts.sum())
    if not images:
        return ImageFacts(0, 0, math.nan, math.inf, kind)
    return ImageFacts(images, len(counts), 100 * int(counts.max()) / images, 100 / images, kind)
