"""The drawings of the Learn page: matrices to scale and the path of an input, as SVG; matrices of numbers, as LaTeX."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.study.palette import FULL, LORA

WIDTH = 360
"""Of every drawing, in its own units; shown at about this many pixels on a phone."""

SIDE = 88
"""Length of a matrix's longer side."""

THINNEST = 1.5
"""A strip is drawn at least this thick, or it could not be seen."""


@dataclass(frozen=True)
class Palette:
    """Colours that read on one background."""

    ink: str
    faint: str
    frozen: str
    full: str = FULL
    lora: str = LORA[0]


PALETTES = {
    "light": Palette(ink="#1b2430", faint="#5d6b7a", frozen="#c3ccd6"),
    "dark": Palette(ink="#e3e8ee", faint="#9aa8b7", frozen="#46525f"),
}


def palette(theme: str | None) -> Palette:
    """The palette of a theme; the light one where the browser has not said which it shows."""
    return PALETTES.get(theme or "light", PALETTES["light"])


def matrices_full(in_features: int, out_features: int, rank: int, colours: Palette) -> str:
    """W + ΔW to scale: both of shape (in, out). ``rank`` only gives it the height of its neighbour."""
    scale = _Scale(in_features, out_features, rank)
    left = (WIDTH - 2 * scale.width - 36) / 2
    shape = f"{in_features:,} × {out_features:,}"
    return _svg(
        scale.height,
        _box(left, scale.top, scale.width, scale.tall, colours.frozen),
        _text(left + scale.width + 18, scale.middle, "+", colours.ink, 20),
        _box(left + scale.width + 36, scale.top, scale.width, scale.tall, colours.full),
        *_legend(left + scale.width / 2, scale.below, "W", shape, colours),
        *_legend(left + scale.width * 1.5 + 36, scale.below, "ΔW", shape, colours),
    )


def matrices_lora(in_features: int, out_features: int, rank: int, colours: Palette) -> str:
    """W + A B to scale: B over the product and A to its left, as one multiplies on paper."""
    scale = _Scale(in_features, out_features, rank)
    left = (WIDTH - 2 * scale.width - 36 - scale.strip - 24) / 2
    a = left + scale.width + 36 + 18
    product = a + scale.strip + 6
    return _svg(
        scale.height,
        _box(left, scale.top, scale.width, scale.tall, colours.frozen),
        _text(left + scale.width + 18, scale.middle, "+", colours.ink, 20),
        _box(a, scale.top, scale.strip, scale.tall, colours.lora),
        _text(a - 10, scale.middle, "A", colours.ink, 15),
        _box(product, scale.top - 6 - scale.strip, scale.width, scale.strip, colours.lora),
        _text(product + scale.width / 2, scale.top - 6 - scale.strip - 10, "B", colours.ink, 15),
        _box(product, scale.top, scale.width, scale.tall, "none", colours.lora),
        _text(product + scale.width / 2, scale.middle, "AB", colours.faint, 15),
        *_legend(left + scale.width / 2, scale.below, "W", f"{in_features:,} × {out_features:,}", colours),
        *_legend(
            product + scale.width / 2 - scale.strip / 2,
            scale.below,
            f"A {in_features:,} × {rank:,}",
            f"B {rank:,} × {out_features:,}",
            colours,
        ),
    )


def is_thinner_than_drawn(in_features: int, out_features: int, rank: int) -> bool:
    """Whether some side is drawn thicker than its scale, so that one can see it."""
    return SIDE * min(rank, in_features, out_features) / max(in_features, out_features) < THINNEST


def path_of_two_branches(base: int, adapter: int, colours: Palette) -> str:
    """An input that goes through W and through A and B; ``base`` and ``adapter`` count multiplications."""
    return _svg(
        170,
        _text(16, 85, "x", colours.ink, 17),
        _arrow("M 28 85 H 44 V 44 H 74", colours),
        _arrow("M 44 85 V 124 H 74", colours),
        _box(78, 22, 148, 44, colours.frozen),
        _text(152, 44, "W", colours.ink, 16),
        _box(78, 106, 20, 36, colours.lora),
        _arrow("M 98 124 H 130", colours),
        _box(134, 116, 56, 16, colours.lora),
        _arrow("M 190 124 H 208", colours),
        _circle(220, 124, 11, colours),
        _text(220, 123.5, "s", colours.ink, 15),
        _text(88, 96, "A", colours.ink, 15),
        _text(162, 105, "B", colours.ink, 15),
        _arrow("M 226 44 H 262 V 70", colours),
        _arrow("M 231 124 H 262 V 100", colours),
        _circle(262, 85, 11, colours),
        _text(262, 84.5, "+", colours.ink, 17),
        _arrow("M 273 85 H 318", colours),
        _text(332, 85, "y", colours.ink, 17),
        _text(152, 10, f"{base:,}", colours.faint, 12),
        _text(152, 158, f"{adapter:,}", colours.faint, 12),
    )


def path_of_one_product(base: int, colours: Palette) -> str:
    """An input that goes through the sum; ``base`` counts multiplications."""
    return _svg(
        170,
        _text(16, 85, "x", colours.ink, 17),
        _arrow("M 28 85 H 74", colours),
        _box(78, 63, 148, 44, colours.frozen, colours.lora),
        _text(152, 85, "W + s AB", colours.ink, 16),
        _arrow("M 226 85 H 318", colours),
        _text(332, 85, "y", colours.ink, 17),
        _text(152, 51, f"{base:,}", colours.faint, 12),
    )


def matrix(values: NDArray[np.floating], decimals: int = 1) -> str:
    """A matrix as LaTeX, every number with the same decimals; a rounded −0 is 0."""
    rows = (" & ".join(f"{number + 0.0:.{decimals}f}" for number in row) for row in np.round(values, decimals))
    return r"\begin{bmatrix}" + r" \\ ".join(rows) + r"\end{bmatrix}"


class _Scale:
    """Sizes on the drawing: one scale for all matrices, so that areas compare."""

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        unit = SIDE / max(in_features, out_features)
        self.width = max(out_features * unit, THINNEST)
        self.tall = max(in_features * unit, THINNEST)
        self.strip = max(min(rank, in_features, out_features) * unit, THINNEST)
        self.top = self.strip + 28
        self.middle = self.top + self.tall / 2
        self.below = self.top + self.tall + 20
        self.height = self.below + 30


def _svg(height: float, *parts: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif">{"".join(parts)}</svg>'
    )


def _box(x: float, y: float, width: float, height: float, fill: str, dashed: str | None = None) -> str:
    edge = f' stroke="{dashed}" stroke-width="1.5" stroke-dasharray="4 3"' if dashed else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"{edge}/>'


def _text(x: float, y: float, words: str, colour: str, size: int) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" '
        f'text-anchor="middle" dominant-baseline="central">{words}</text>'
    )


def _legend(x: float, y: float, name: str, shape: str, colours: Palette) -> tuple[str, str]:
    """Two lines under a drawing."""
    return _text(x, y, name, colours.ink, 14), _text(x, y + 18, shape, colours.ink, 14)


def _circle(x: float, y: float, radius: float, colours: Palette) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="none" stroke="{colours.ink}" stroke-width="1.5"/>'


def _arrow(path: str, colours: Palette) -> str:
    """A line that ends in a head; its last stretch is horizontal or vertical."""
    *_, direction, last = path.split()
    x, y = _end(path)
    before = _end(path.rsplit(f" {direction} {last}", 1)[0])
    along = (x > before[0]) - (x < before[0]), (y > before[1]) - (y < before[1])
    back, side = (x - 7 * along[0], y - 7 * along[1]), (4 * along[1], 4 * along[0])
    head = f"{x},{y} {back[0] + side[0]},{back[1] + side[1]} {back[0] - side[0]},{back[1] - side[1]}"
    return (
        f'<path d="{path}" fill="none" stroke="{colours.ink}" stroke-width="1.5"/>'
        f'<polygon points="{head}" fill="{colours.ink}"/>'
    )


def _end(path: str) -> tuple[float, float]:
    """Where a path of M, H and V ends."""
    x = y = 0.0
    parts = path.split()
    while parts:
        command = parts.pop(0)
        if command in "MH":
            x = float(parts.pop(0))
        if command in "MV":
            y = float(parts.pop(0))
    return x, y
