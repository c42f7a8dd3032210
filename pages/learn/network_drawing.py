"""The drawing of a transformer's linear layers, with those that have an adapter in colour."""

from __future__ import annotations

from core.study.figures.palette import LORA
from core.study.learn.architectures import Adapted
from core.study.learn.counting import KindOfLayer
from pages.learn.diagram import WIDTH, box, svg, text

LAYER = 30
"""Height of a layer, with the space below it."""

EDGE, INSET = 8, 22
"""Distance of boxes from the frame, and of layers in a block."""

STYLE = f"""<style>
.left {{ text-anchor: start }} .right {{ text-anchor: end }}
.block {{ fill: none; stroke: #808080; stroke-width: 1.5 }}
.light {{ fill: #fff }} .new {{ fill: none; stroke: {LORA}; stroke-width: 1.5; stroke-dasharray: 4 3 }}
@media (prefers-color-scheme: dark) {{ .light {{ fill: #fff }} }}
</style>"""


def network_drawing(found: Adapted) -> str:
    """Draw the layers of one block, what repeats it, and the layers outside of the blocks, from the input down."""
    parts: list[str] = [STYLE, text(WIDTH / 2, 14, "tokens"), text(WIDTH / 2, 34, "embeddings: frozen", "faint")]
    top, y = 52.0, 52.0 + 24
    inside = [kind for kind in found.kinds if kind.is_in_blocks]
    parts.append(text(WIDTH - INSET, y - 8, f"{found.blocks} blocks like this", "faint right"))
    role = ""
    for kind in inside:
        title = (kind.role or "other").capitalize()
        if title != role:
            y += 16
            parts.append(text(INSET, y, title, "left"))
            role, y = title, y + 12
        parts += _layer(kind, y)
        y += LAYER
    parts.append(box(EDGE, top, WIDTH - 2 * EDGE, y + 6 - top, "block"))
    y += 18
    for kind in (kind for kind in found.kinds if not kind.is_in_blocks):
        parts += _layer(kind, y)
        y += LAYER
    parts += [box(INSET, y, WIDTH - 2 * INSET, LAYER - 6, "new"), text(WIDTH / 2, y + 12, "new head: trained whole")]
    return svg(y + LAYER + 4, *parts)


def _layer(kind: KindOfLayer, y: float) -> list[str]:
    """One layer as a bar with its name, its shape, and in how many blocks it has an adapter if not in all."""
    ink = "light" if kind.chosen else ""
    some = 0 < len(kind.chosen) < len(kind.paths)
    count = f"{len(kind.chosen)} of {len(kind.paths)} · " if some else ""
    middle = y + (LAYER - 6) / 2
    return [
        box(INSET, y, WIDTH - 2 * INSET, LAYER - 6, "lora" if kind.chosen else "frozen"),
        text(INSET + 10, middle, kind.label, f"left {ink}"),
        text(WIDTH - INSET - 10, middle, f"{count}{kind.shape}", f"right {ink}"),
    ]
