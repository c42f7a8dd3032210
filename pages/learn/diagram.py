"""Drawings of the Learn page as SVG: the matrices of one layer to scale, and the layers of a network.

Each SVG contains both themes: inside an image, browsers evaluate ``prefers-color-scheme`` with the color scheme of
the surrounding page, even if that changes without a rerun.
"""

from __future__ import annotations

from collections.abc import Collection

from core.study.figures.palette import LORA
from core.study.learn.counting import KindOfLayer, LayerCount, Network

WIDTH = 360
"""Width of every drawing in SVG units; on a phone, about one pixel per unit."""

SIDE = 88
"""Length of the longer side of a matrix."""

MIN_THICKNESS = 1.5
"""Matrices are drawn at least this thick, so that they are visible."""

PLUS = 36
"""Space for the plus sign between W and ΔW."""

LAYER = 30
"""Height of a layer, with the space below it."""

EDGE, INSET = 8, 22
"""Distance of a block, and of the layers in it, from the frame of the drawing."""

STYLE = f"""<style>
text {{ font: 14px system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1b2430;
  text-anchor: middle; dominant-baseline: central }}
.large {{ font-size: 17px }} .faint {{ fill: #5d6b7a }} .left {{ text-anchor: start }} .right {{ text-anchor: end }}
.frozen {{ fill: #c3ccd6 }} .lora {{ fill: {LORA} }}
.new {{ fill: none; stroke: {LORA}; stroke-width: 1.5; stroke-dasharray: 4 3 }}
.block {{ fill: none; stroke: #808080; stroke-width: 1.5 }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e3e8ee }} .faint {{ fill: #9aa8b7 }} .frozen {{ fill: #46525f }}
}}
text.light {{ fill: #fff }}
</style>"""


def matrices(count: LayerCount) -> str:
    """Draw W + ΔW to scale, with A to the left of the product ΔW and B above it, as in multiplication on paper."""
    unit = SIDE / max(count.in_features, count.out_features)
    wide, tall, strip = (
        max(size * unit, MIN_THICKNESS) for size in (count.out_features, count.in_features, count.used_rank)
    )
    shape = f"{count.in_features:,} × {count.out_features:,}"
    a, b = f"A {count.in_features:,} × {count.used_rank:,}", f"B {count.used_rank:,} × {count.out_features:,}"
    top = strip + 28
    middle, below = top + tall / 2, top + tall + 20
    group = 18 + strip + 6 + wide  # with the letter A before its strip
    slot, slots = max(wide, _length(shape)), max(group, _length(a), _length(b))
    first = (WIDTH - slots - PLUS) / 2
    second = first + slot / 2 + PLUS + slots / 2
    left = second - group / 2 + 18
    product = left + strip + 6
    return _svg(
        below + 32,
        _box(first - wide / 2, top, wide, tall, "frozen"),
        _text(first + (slot + PLUS) / 2, middle, "+", "large"),
        _box(left, top, strip, tall, "lora"),
        _text(left - 10, middle, "A"),
        _box(product, top - 6 - strip, wide, strip, "lora"),
        _text(product + wide / 2, top - 16 - strip, "B"),
        _box(product, top, wide, tall, "new"),
        _text(product + wide / 2, middle, "ΔW = AB" if wide > _length("ΔW = AB") and tall > 18 else "", "faint"),
        _text(first, below, "W"),
        _text(first, below + 18, shape),
        _text(second, below, a),
        _text(second, below + 18, b),
    )


def blocks(network: Network, chosen: Collection[KindOfLayer]) -> str:
    """Draw the layers of one block, what repeats it, and the layers outside of the blocks, from the input down.

    Args:
        network: what to draw.
        chosen: the kinds of layers with adapters, which are drawn in LoRA's color.
    """
    parts = [_text(WIDTH / 2, 14, "tokens"), _text(WIDTH / 2, 34, "embeddings: frozen", "faint")]
    top, y, role = 52.0, 76.0, ""
    parts.append(_text(WIDTH - INSET, y - 8, f"{network.blocks} blocks like this", "faint right"))
    for kind in (kind for kind in network.kinds if kind.is_in_blocks):
        title = (kind.role or "other").capitalize()
        if title != role:
            parts.append(_text(INSET, y + 16, title, "left"))
            role, y = title, y + 28
        parts += _layer(kind, y, kind in chosen)
        y += LAYER
    parts.append(_box(EDGE, top, WIDTH - 2 * EDGE, y + 6 - top, "block"))
    y += 18
    for kind in (kind for kind in network.kinds if not kind.is_in_blocks):
        parts += _layer(kind, y, kind in chosen)
        y += LAYER
    look, what = ("new", "new head: trained whole") if network.head else ("frozen", "output layer: frozen")
    parts += [_box(INSET, y, WIDTH - 2 * INSET, LAYER - 6, look), _text(WIDTH / 2, y + 12, what)]
    return _svg(y + LAYER + 4, *parts)


def _layer(kind: KindOfLayer, y: float, is_chosen: bool) -> list[str]:
    """Draw one layer as a bar with its name and its shape."""
    middle, ink = y + (LAYER - 6) / 2, "light" if is_chosen else ""
    shape = f"{kind.in_features:,} → {kind.out_features:,}"
    return [
        _box(INSET, y, WIDTH - 2 * INSET, LAYER - 6, "lora" if is_chosen else "frozen"),
        _text(INSET + 10, middle, kind.label, f"left {ink}"),
        _text(WIDTH - INSET - 10, middle, shape, f"right {ink}"),
    ]


def _length(words: str) -> float:
    """Return an upper estimate of the width of a text."""
    return 8.5 * len(words)


def _svg(height: float, *parts: str) -> str:
    """Return a drawing of the usual width with these parts."""
    view = f"0 0 {WIDTH} {height:.0f}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">{STYLE}{"".join(parts)}</svg>'


def _box(x: float, y: float, width: float, height: float, kind: str) -> str:
    """Draw a rectangle; ``kind`` holds classes of :data:`STYLE`."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{kind}"/>'


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    """Write words, centered on (x, y) unless a class says otherwise."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{words}</text>'
