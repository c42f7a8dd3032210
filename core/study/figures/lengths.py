"""A figure of the lengths of texts."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.study.figures.palette import NEUTRAL
from core.study.figures.style import layout_of

BARS = 40
"""Maximum number of bars."""


def length_histogram(lengths: NDArray[np.int64], kept: int) -> go.Figure:
    """Draw how many texts have how many tokens.

    Args:
        lengths: (n,) tokens of each text.
        kept: tokens that are kept; a line marks it where a text is longer.
    """
    longest = int(lengths.max()) if len(lengths) else 1
    width = max(1, -(-longest // BARS))
    counts, edges = np.histogram(lengths, bins=np.arange(0, longest + width + 1, width))
    bars = {
        "type": "bar",
        "x": (edges[:-1] + width / 2).tolist(),
        "y": counts.tolist(),
        "marker": {"color": NEUTRAL},
        "hovertemplate": "%{y:,} texts of about %{x:.0f} tokens<extra></extra>",
    }
    figure = go.Figure([bars], layout_of("Length of the training texts", None, "Tokens", "Texts", height=260))
    figure.update_layout(bargap=0.05)
    if longest > kept:
        figure.add_vline(x=kept, line={"dash": "dot", "color": NEUTRAL}, annotation_text=f"cut at {kept}")
    return figure
