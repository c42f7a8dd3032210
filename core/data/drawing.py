"""Drawings of people as images like those of MNIST."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.data.dataset import SIDE
from core.errors import DatasetError

DRAWN = 56
"""Side of a drawing as the page sends it, in pixels."""

BOX = 20
"""Side of the square that a digit of MNIST fits into, in pixels."""


def drawing_of(text: str) -> NDArray[np.uint8]:
    """A drawing from base64.

    Args:
        text: one byte per pixel, row by row, 0 background to 255 ink.

    Returns:
        (56, 56).

    Raises:
        DatasetError: it is something else.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DatasetError("The drawing did not arrive: draw again.") from error
    if len(content) != DRAWN * DRAWN:
        raise DatasetError("The drawing did not arrive: draw again.")
    return np.frombuffer(content, np.uint8).reshape(DRAWN, DRAWN)


def centred(drawing: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image as MNIST's authors made theirs (LeCun, Cortes and Burges, "The MNIST database"): the ink is scaled to a
    square of 20 pixels, keeping its aspect ratio, and its centre of mass is placed in the middle.

    Args:
        drawing: (h, w), 0 background to 255 ink.

    Returns:
        (28, 28); all background if there is no ink.
    """
    image = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = np.flatnonzero(drawing.any(1)), np.flatnonzero(drawing.any(0))
    if not len(rows):
        return image
    ink = drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR), np.uint8)
    top, left = (_start(small.sum(axis, dtype=np.float64)) for axis in (1, 0))
    image[top : top + height, left : left + width] = small
    return image


def _start(mass: NDArray[np.float64]) -> int:
    """Where ink begins along one side, so that its centre of mass is in the middle. Args: mass: (n,) of each line."""
    centre = float((np.arange(len(mass)) + 0.5) @ mass) / max(float(mass.sum()), 1.0)
    return min(max(round(SIDE / 2 - centre), 0), SIDE - len(mass))
