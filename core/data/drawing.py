"""Drawings of people as images like those of MNIST."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.data.dataset import SIDE, Images
from core.errors import DatasetError

DRAWN = 56
"""Side of a drawing as the page sends it, in pixels."""

MEASURED = 500
"""Images of a dataset whose ink is measured."""

PAPER = 32
"""Pixels up to this value are no ink."""


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


def box_of(images: Images) -> int:
    """Side of the square that the ink of a dataset's images usually fits into, in pixels: 20 for MNIST.

    Args:
        images: (n, 28, 28), at least one, 0 background to 255 ink.
    """
    ink = images[:MEASURED] > PAPER
    sides = [max(_extent(image.any(axis)) for axis in (0, 1)) for image in ink if image.any()]
    return round(float(np.median(sides))) if sides else SIDE


def _extent(lines: NDArray[np.bool_]) -> int:
    """Number of lines from the first to the last one with ink, of which there is at least one."""
    places = np.flatnonzero(lines)
    return int(places[-1] - places[0]) + 1


def centred(drawing: NDArray[np.uint8], box: int) -> NDArray[np.uint8]:
    """An image as MNIST's authors made theirs (LeCun, Cortes and Burges, "The MNIST database"): the ink is scaled to a
    square, keeping its aspect ratio, and its centre of mass is placed in the middle.

    Args:
        drawing: (h, w), 0 background to 255 ink.
        box: side of the square, at most 28; see :func:`box_of`.

    Returns:
        (28, 28); all background if there is no ink.
    """
    image = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = np.flatnonzero(drawing.any(1)), np.flatnonzero(drawing.any(0))
    if not len(rows):
        return image
    ink = drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = box / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR), np.uint8)
    top, left = (_start(small.sum(axis, dtype=np.float64)) for axis in (1, 0))
    image[top : top + height, left : left + width] = small
    return image


def _start(mass: NDArray[np.float64]) -> int:
    """Where ink begins along one side, so that its centre of mass is in the middle. Args: mass: (n,) of each line."""
    centre = float((np.arange(len(mass)) + 0.5) @ mass) / max(float(mass.sum()), 1.0)
    return min(max(round(SIDE / 2 - centre), 0), SIDE - len(mass))
