"""Convert numbers to pixels, with one scale per dataset, determined from its smallest and largest value."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import Images
from core.data.uploads.images import check_size, resized
from core.errors import DatasetError

WHITE = 255


class Range:
    """The smallest and the largest value seen so far; values that cannot be pixels are refused."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf

    def take(self, values: NDArray[np.generic], what: str) -> None:
        """Include some values.

        Args:
            values: numbers of any type and shape.
            what: name for error messages.

        Raises:
            DatasetError: a value is not finite, or not from 0 to 255.
        """
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise DatasetError(f"{what} has values that are not finite numbers: remove NaN and infinity.")
        if low < 0 or high > WHITE:
            odd = low if low < 0 else high
            raise DatasetError(f"{what} has the value {odd:g}: pixels range from 0 to 255, or from 0 to 1.")
        self.low, self.high = min(self.low, low), max(self.high, high)

    @property
    def factor(self) -> int:
        """Factor that scales the values to 0 to 255."""
        return WHITE if self.high <= 1 else 1


def to_pixels(values: NDArray[np.generic], factor: int) -> NDArray[np.uint8]:
    """Convert checked values of any shape to pixels from 0 to 255."""
    if values.dtype == np.uint8 and factor == 1:
        return values  # type: ignore[return-value]
    return (values.astype(np.float32) * np.float32(factor)).round().astype(np.uint8)


def to_images(values: NDArray[np.generic], height: int, width: int, factor: int) -> Images:
    """Convert checked values of shape (n, height · width) or (n, height, width) to images of shape (n, 28, 28)."""
    return resized(to_pixels(values, factor).reshape(len(values), height, width))


def square_side(pixels: int, what: str) -> int:
    """Side of a square image of so many pixels. Raises: DatasetError: it is not square, too large or too small."""
    side = math.isqrt(max(pixels, 0))
    if pixels < 1 or side * side != pixels:
        raise DatasetError(f"{what} has {pixels} pixels per image, which is not a square such as 784 = 28 × 28.")
    check_size(side, side, f"An image of {what}")
    return side
