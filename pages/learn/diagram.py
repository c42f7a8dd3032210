"""Drawings of the Learn page: matrices to scale and data flow as SVG, and matrices of numbers as LaTeX.

Each SVG contains both themes: inside an image, browsers evaluate ``prefers-color-scheme`` with the colour scheme of
the surrounding page, even if that changes without a rerun.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.study.figures.palette import FULL, LORA

WIDTH = 360
"""Width of every drawing in SVG units; on a phone, about one pixel per unit."""

SIDE = 88
"""Length of the longer side of a matrix."""

MIN_THICKNESS = 1.5
"""Strips are drawn at least this thick, so that they are visible."""

PLUS = 36
"""Space for a plus sign between two matrices."""

STYLE = f"""<style>
text {{ font: 14px system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1b2430;
  text-anchor: middle; dominant-baseline: central }}
.large {{ font-size: 17px }} .faint {{ fill: #5d6b7a }}
.frozen {{ fill: #c3ccd6 }} .full {{ fill: {FULL} }} .lora {{ fill: {LORA} }}
.none {{ fill: none }} .sum {{ stroke: {LORA}; stroke-width: 1.5; stroke-dasharray: 4 3 }}
.line {{ fill: none; stroke: #1b2430; stroke-width: 1.5 }} .head {{ fill: #1b2430 }}
@media (prefers-color-scheme: dark) {{
  text, .head {{ fill: #e3e8ee }} .line {{ stroke: #e3e8ee }} .faint {{ fill: #9aa8b7 }} .frozen {{ fill: #46525f }}
}}
</style>"""


def matrices_full(in_features: int, out_features: int, rank: int) -> str:
    """Draw W + ΔW to scale, both of shape (in, out); ``rank`` only matches the height to :func:`matrices_lora`."""
    scale = _Scale(in_features, out_features, rank)
    shape = f"{in_features:,} × {out_features:,}"
    slot = max(scale.width, _length(shape))
    first = (WIDTH - slot - PLUS) / 2
    second = first + slot + PLUS
    return svg(
        scale.height,
        box(first - scale.width / 2, scale.top, scale.width, scale.tall, "frozen"),
        text(first + (slot + PLUS) / 2, scale.middle, "+", "large"),
        box(second - scale.width / 2, scale.top, scale.width, scale.tall, "full"),
        text(first, scale.below, "W"),
        text(first, scale.below + 18, shape),
        text(second, scale.below, "ΔW"),
        text(second, scale.below + 18, shape),
    )


def matrices_lora(in_features: int, out_features: int, rank: int) -> str:
    """Draw W + AB to scale, with B above the product and A to its left, as in matrix multiplication on paper."""
    scale = _Scale(in_features, out_features, rank)
    shape, a, b = (
        f"{in_features:,} × {out_features:,}",
        f"A {in_features:,} × {rank:,}",
        f"B {rank:,} × {out_features:,}",
    )
    group = 18 + scale.strip + 6 + scale.width
    slot, slots = max(scale.width, _length(shape)), max(group, _length(a), _length(b))
    first = (WIDTH - slots - PLUS) / 2
    second = first + slot / 2 + PLUS + slots / 2
    left = second - group / 2 + 18
    product = left + scale.strip + 6
    over = scale.top - 6 - scale.strip
    roomy = scale.width > 28 and scale.tall > 18
    return svg(
        scale.height,
        box(first - scale.width / 2, scale.top, scale.width, scale.tall, "frozen"),
        text(first + (slot + PLUS) / 2, scale.middle, "+", "large"),
        box(left, scale.top, scale.strip, scale.tall, "lora"),
        text(left - 10, scale.middle, "A"),
        box(product, over, scale.width, scale.strip, "lora"),
        text(product + scale.width / 2, over - 10, "B"),
        box(product, scale.top, scale.width, scale.tall, "none sum"),
        text(product + scale.width / 2, scale.middle, "AB" if roomy else "", "faint"),
        text(first, scale.below, "W"),
        text(first, scale.below + 18, shape),
        text(second, scale.below, a),
        text(second, scale.below + 18, b),
    )


def has_widened_strips(in_features: int, out_features: int, rank: int) -> bool:
    """Return whether the strips would be too thin to see and are drawn thicker than to scale."""
    return SIDE * min(rank, in_features, out_features) / max(in_features, out_features) < MIN_THICKNESS


def path_of_two_branches(base: int, adapter: int) -> str:
    """Draw an input that goes through W and through A and B, with the number of multiplications in each branch."""
    return svg(
        170,
        text(16, 85, "x", "large"),
        _arrow("M 28 85 H 44 V 44 H 74"),
        _arrow("M 44 85 V 124 H 74"),
        box(78, 22, 148, 44, "frozen"),
        text(152, 44, "W", "large"),
        box(78, 106, 20, 36, "lora"),
        text(88, 95, "A"),
        _arrow("M 98 124 H 130"),
        box(134, 116, 56, 16, "lora"),
        text(162, 105, "B"),
        _arrow("M 190 124 H 208"),
        _circle(220, 124),
        text(220, 123, "s"),
        _arrow("M 226 44 H 262 V 70"),
        _arrow("M 231 124 H 262 V 100"),
        _circle(262, 85),
        text(262, 84, "+", "large"),
        _arrow("M 273 85 H 318"),
        text(332, 85, "y", "large"),
        text(152, 10, f"{base:,}", "faint"),
        text(152, 158, f"{adapter:,}", "faint"),
    )


def path_of_one_product(base: int) -> str:
    """Draw an input that goes through the merged weight, with the number of multiplications."""
    return svg(
        170,
        text(16, 85, "x", "large"),
        _arrow("M 28 85 H 74"),
        box(78, 63, 148, 44, "frozen sum"),
        text(152, 85, "W + s AB", "large"),
        _arrow("M 226 85 H 318"),
        text(332, 85, "y", "large"),
        text(152, 51, f"{base:,}", "faint"),
    )


def matrix(values: NDArray[np.floating], decimals: int = 1) -> str:
    """Format a matrix as LaTeX with a fixed number of decimals; a rounded −0 becomes 0."""
    rows = (" & ".join(f"{number + 0.0:.{decimals}f}" for number in row) for row in np.round(values, decimals))
    return r"\begin{bmatrix}" + r" \\ ".join(rows) + r"\end{bmatrix}"


class _Scale:
    """Sizes in a drawing, with one scale for all matrices so that areas are comparable."""

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        unit = SIDE / max(in_features, out_features)
        self.width = max(out_features * unit, MIN_THICKNESS)
        self.tall = max(in_features * unit, MIN_THICKNESS)
        self.strip = max(min(rank, in_features, out_features) * unit, MIN_THICKNESS)
        self.top = self.strip + 28
        self.middle = self.top + self.tall / 2
        self.below = self.top + self.tall + 20
        self.height = self.below + 32


def _length(words: str) -> float:
    """Return an upper estimate of the width of a text."""
    return 8.5 * len(words)


def svg(height: float, *parts: str) -> str:
    """Return a drawing of the usual width with these parts."""
    view = f"0 0 {WIDTH} {height:.0f}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">{STYLE}{"".join(parts)}</svg>'


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    """Draw a rectangle; ``kind`` holds classes of :data:`STYLE`."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{kind}"/>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Write words, centred on (x, y) unless a class says otherwise."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{words}</text>'


def _circle(x: float, y: float) -> str:
    return f'<circle cx="{x}" cy="{y}" r="11" class="line"/>'


def _arrow(path: str) -> str:
    """Draw a path of M, H and V commands that ends in an arrowhead."""
    *start, direction, last = path.split()
    x, y = _end([*start, direction, last])
    before = _end(start)
    along = (x > before[0]) - (x < before[0]), (y > before[1]) - (y < before[1])
    back, side = (x - 7 * along[0], y - 7 * along[1]), (4 * along[1], 4 * along[0])
    head = f"{x},{y} {back[0] + side[0]},{back[1] + side[1]} {back[0] - side[0]},{back[1] - side[1]}"
    return f'<path d="{path}" class="line"/><polygon points="{head}" class="head"/>'


def _end(path: list[str]) -> tuple[float, float]:
    """Return the end point of a path."""
    x = y = 0.0
    parts = iter(path)
    for command in parts:
        if command in "MH":
            x = float(next(parts))
        if command in "MV":
            y = float(next(parts))
    return x, y
