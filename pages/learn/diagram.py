"""The drawings of the Learn page: matrices to scale and the path of an input, as SVG; matrices of numbers, as LaTeX.

An SVG carries both themes: a browser matches ``prefers-color-scheme`` inside a picture against the
colour scheme of the page around it, also when that changes without a rerun.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.study.figures.palette import FULL, LORA

WIDTH = 360
"""Of every drawing, in its own units; shown at about this many pixels on a phone."""

SIDE = 88
"""Length of a matrix's longer side."""

THINNEST = 1.5
"""A strip is drawn at least this thick, or it could not be seen."""

PLUS = 36
"""Room for a plus sign between two matrices."""

STYLE = f"""<style>
text {{ font: 14px system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1b2430;
  text-anchor: middle; dominant-baseline: central }}
.large {{ font-size: 17px }} .faint {{ fill: #5d6b7a }}
.frozen {{ fill: #c3ccd6 }} .full {{ fill: {FULL} }} .lora {{ fill: {LORA[0]} }}
.none {{ fill: none }} .sum {{ stroke: {LORA[0]}; stroke-width: 1.5; stroke-dasharray: 4 3 }}
.line {{ fill: none; stroke: #1b2430; stroke-width: 1.5 }} .head {{ fill: #1b2430 }}
@media (prefers-color-scheme: dark) {{
  text, .head {{ fill: #e3e8ee }} .line {{ stroke: #e3e8ee }} .faint {{ fill: #9aa8b7 }} .frozen {{ fill: #46525f }}
}}
</style>"""


def matrices_full(in_features: int, out_features: int, rank: int) -> str:
    """W + ΔW to scale: both of shape (in, out). ``rank`` only gives it the height of its neighbour."""
    scale = _Scale(in_features, out_features, rank)
    shape = f"{in_features:,} × {out_features:,}"
    slot = max(scale.width, _length(shape))
    first = (WIDTH - slot - PLUS) / 2
    second = first + slot + PLUS
    return _svg(
        scale.height,
        _box(first - scale.width / 2, scale.top, scale.width, scale.tall, "frozen"),
        _text(first + (slot + PLUS) / 2, scale.middle, "+", "large"),
        _box(second - scale.width / 2, scale.top, scale.width, scale.tall, "full"),
        _text(first, scale.below, "W"),
        _text(first, scale.below + 18, shape),
        _text(second, scale.below, "ΔW"),
        _text(second, scale.below + 18, shape),
    )


def matrices_lora(in_features: int, out_features: int, rank: int) -> str:
    """W + A B to scale: B over the product and A to its left, as one multiplies on paper."""
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
    return _svg(
        scale.height,
        _box(first - scale.width / 2, scale.top, scale.width, scale.tall, "frozen"),
        _text(first + (slot + PLUS) / 2, scale.middle, "+", "large"),
        _box(left, scale.top, scale.strip, scale.tall, "lora"),
        _text(left - 10, scale.middle, "A"),
        _box(product, over, scale.width, scale.strip, "lora"),
        _text(product + scale.width / 2, over - 10, "B"),
        _box(product, scale.top, scale.width, scale.tall, "none sum"),
        _text(product + scale.width / 2, scale.middle, "AB" if roomy else "", "faint"),
        _text(first, scale.below, "W"),
        _text(first, scale.below + 18, shape),
        _text(second, scale.below, a),
        _text(second, scale.below + 18, b),
    )


def is_thinner_than_drawn(in_features: int, out_features: int, rank: int) -> bool:
    """Whether some side is drawn thicker than its scale, so that one can see it."""
    return SIDE * min(rank, in_features, out_features) / max(in_features, out_features) < THINNEST


def path_of_two_branches(base: int, adapter: int) -> str:
    """An input that goes through W and through A and B; ``base`` and ``adapter`` count multiplications."""
    return _svg(
        170,
        _text(16, 85, "x", "large"),
        _arrow("M 28 85 H 44 V 44 H 74"),
        _arrow("M 44 85 V 124 H 74"),
        _box(78, 22, 148, 44, "frozen"),
        _text(152, 44, "W", "large"),
        _box(78, 106, 20, 36, "lora"),
        _text(88, 95, "A"),
        _arrow("M 98 124 H 130"),
        _box(134, 116, 56, 16, "lora"),
        _text(162, 105, "B"),
        _arrow("M 190 124 H 208"),
        _circle(220, 124),
        _text(220, 123, "s"),
        _arrow("M 226 44 H 262 V 70"),
        _arrow("M 231 124 H 262 V 100"),
        _circle(262, 85),
        _text(262, 84, "+", "large"),
        _arrow("M 273 85 H 318"),
        _text(332, 85, "y", "large"),
        _text(152, 10, f"{base:,}", "faint"),
        _text(152, 158, f"{adapter:,}", "faint"),
    )


def path_of_one_product(base: int) -> str:
    """An input that goes through the sum; ``base`` counts multiplications."""
    return _svg(
        170,
        _text(16, 85, "x", "large"),
        _arrow("M 28 85 H 74"),
        _box(78, 63, 148, 44, "frozen sum"),
        _text(152, 85, "W + s AB", "large"),
        _arrow("M 226 85 H 318"),
        _text(332, 85, "y", "large"),
        _text(152, 51, f"{base:,}", "faint"),
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
        self.height = self.below + 32


def _length(words: str) -> float:
    """About how wide a text is, on the safe side."""
    return 8.5 * len(words)


def _svg(height: float, *parts: str) -> str:
    view = f"0 0 {WIDTH} {height:.0f}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">{STYLE}{"".join(parts)}</svg>'


def _box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{kind}"/>'


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{words}</text>'


def _circle(x: float, y: float) -> str:
    return f'<circle cx="{x}" cy="{y}" r="11" class="line"/>'


def _arrow(path: str) -> str:
    """A line of M, H and V that ends in a head."""
    *start, direction, last = path.split()
    x, y = _end([*start, direction, last])
    before = _end(start)
    along = (x > before[0]) - (x < before[0]), (y > before[1]) - (y < before[1])
    back, side = (x - 7 * along[0], y - 7 * along[1]), (4 * along[1], 4 * along[0])
    head = f"{x},{y} {back[0] + side[0]},{back[1] + side[1]} {back[0] - side[0]},{back[1] - side[1]}"
    return f'<path d="{path}" class="line"/><polygon points="{head}" class="head"/>'


def _end(path: list[str]) -> tuple[float, float]:
    """Where a path ends."""
    x = y = 0.0
    parts = iter(path)
    for command in parts:
        if command in "MH":
            x = float(next(parts))
        if command in "MV":
            y = float(next(parts))
    return x, y
