"""A heat map of tiles that can be pressed, as data that a page draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SCALE = "Viridis"
"""Colour scale of heat maps: perceptually uniform, also for people with colour vision deficiency."""


@dataclass(frozen=True)
class Tile:
    """One tile of a heat map."""

    column: int
    row: int
    key: str
    """Tells what it shows, when it is pressed."""
    text: str
    """Text in the tile; empty without a result."""
    label: str
    """Full description, for tooltips and screen readers."""
    colour: str | None
    """None without a result."""
    ink: str | None
    """``black`` or ``white``, whichever is more readable on the colour."""
    frame: str | None
    """Colour of the frame if the tile is marked."""


@dataclass(frozen=True)
class HeatMap:
    """Tiles in columns and rows; places without a tile stay empty."""

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    """Labels of the rows, from the bottom to the top."""
    tiles: tuple[Tile, ...]
    scale: tuple[str, ...]
    """Colours from the lowest to the highest value."""
    low: str
    high: str
    groups: tuple[tuple[str, int], ...] = ()
    """Headings above the columns, each with the number of columns below it; empty for none."""
    slim: bool = False
    """Whether rows are low, so that many of them fit on a screen."""


def ink_on(colour: str) -> str:
    """Return black or white, whichever has more contrast on ``colour``, given as ``rgb(r, g, b)``.

    Source: relative luminance and contrast in WCAG 2.2; both have the same contrast at a luminance of 0.179.
    """
    parts = np.array([float(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ [0.2126, 0.7152, 0.0722] > 0.179 else "white"
