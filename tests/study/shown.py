"""What is seen of colours, figures and pages."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import numpy as np
import plotly.graph_objects as go


def linear(parts: Any) -> np.ndarray:
    """Linear red, green and blue of those of sRGB, 0 to 255."""
    parts = np.asarray(parts) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def parts_of(colour: str) -> np.ndarray:
    """Red, green and blue of ``#RRGGBB``, 0 to 255."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def luminance(parts: Any) -> float:
    """Relative luminance of WCAG 2.2."""
    return float(linear(parts) @ [0.2126, 0.7152, 0.0722])


def contrast(one: Any, other: Any) -> float:
    """Contrast of WCAG 2.2; text of normal size takes 4.5 (SC 1.4.3) and drawings take 3 (SC 1.4.11)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def themed(figure: go.Figure) -> dict[str, Any]:
    """The layout of a figure, whose text has no colour of its own and which has no background."""
    layout = json.loads(figure.to_json())["layout"]
    layout.pop("template", None)
    assert '"font"' not in json.dumps(layout)
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0, 0, 0, 0)"
    return layout


class Reader(HTMLParser):
    """Elements with their attributes, and the text that people see."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._hidden = False

    def handle_data(self, data):
        if not self._hidden:
            self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader
