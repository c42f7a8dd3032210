"""A figure on a page, with a menu that downloads it, and the sections of a report."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.study.figures.style import chart_config, export_html
from core.study.report.parts import Plot, Section
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import offered
from pages.shared.ui.literal import literal

START = '<span style="color: currentColor; stroke: Canvas; stroke-width: 3px; paint-order: stroke">'
END = "</span>"
"""Around text in the color of the page's text, with an edge in the color of a page: black and white in a file."""


def show(figure: go.Figure, owner: str, key: str, alt: str) -> None:
    """Draw a figure and a menu that downloads it as PNG, SVG or HTML.

    Args:
        figure: what to draw.
        owner: id of the run or experiment that it shows; file names begin with it.
        key: name of the figure, unique on the page; file names end with it.
        alt: text alternative for screen readers.
    """
    name = f"{owner}-{key}"
    chart(figure, f"figure-{key}", alt, name)
    file = offered(f"figure-{key}", lambda: export_html(figure, name), f"{name}.html", "text/html")
    with st.popover("Download chart", icon=":material/download:", type="tertiary", key=f"figure-{key}-download"):
        st.link_button("PNG", f"{file}?as=png", help="An image; a tab opens that saves it.")
        st.link_button("SVG", f"{file}?as=svg", help="A drawing for print; a tab opens that saves it.")
        st.link_button("HTML", file, help="An interactive file that works offline.")


def chart(figure: go.Figure, key: str, alt: str, name: str = "") -> None:
    """Draw a figure without a link.

    Args:
        figure: what to draw.
        key: of the chart, unique on the page.
        alt: text alternative for screen readers.
        name: file name of the PNG that the figure's toolbar saves; empty for a figure without a toolbar.
    """
    config = chart_config(name) if name else {"displayModeBar": False}
    st.plotly_chart(readable(figure), key=key, alt=alt, config=config)


def section_view(section: Section, owner: str, without: str = "") -> None:
    """Draw what a section says, its figures and its tables.

    Args:
        section: what to draw.
        owner: id of what it is about.
        without: key of a figure that the page has drawn already.
    """
    st.markdown(literal(section.lead))
    for part in section.parts:
        if isinstance(part, Plot) and part.key == without:
            continue
        if isinstance(part, Plot):
            show(part.figure, owner, part.key, part.alt)
        else:
            st.markdown(f"**{literal(part.title)}**", help=literal(part.note) or None)
            dataframe(part.frame, hide_index=True, alt=part.title)


def readable(figure: go.Figure) -> dict[str, Any]:
    """Return a copy for ``st.plotly_chart`` that can be read in both themes, on the page and in the PNG of its toolbar.

    Streamlit draws ticks, titles of axes and subtitles in a fixed gray whose contrast with white is 3.8:1, and no color
    has 4.5:1 in both themes. ``currentColor`` is the browser's name for the color of the surrounding text. In a file,
    which has no surroundings, it is black; the background of a PNG is transparent, and may be shown on any color.

    It is a dictionary: of a figure, Plotly checks every change, which takes longer than drawing up the figure itself.
    """
    shown: dict[str, Any] = figure.to_dict()
    layout: dict[str, Any] = shown["layout"]
    for axis in (value for name, value in layout.items() if name.startswith(("xaxis", "yaxis"))):
        axis["tickprefix"] = START + axis.get("tickprefix", "")
        axis["ticksuffix"] = axis.get("ticksuffix", "") + END
        if "ticktext" in axis:  # prefixes are only put before numbers
            axis["ticktext"] = [_inked(text) for text in axis["ticktext"]]
        _wrap(axis.get("title"))
    for trace in shown["data"]:
        bar = trace.get("colorbar", {})
        if bar.get("title", {}).get("text"):
            bar |= {"tickprefix": START, "ticksuffix": END}
            _wrap(bar["title"])
        if "name" in trace and trace.get("showlegend") is not False:
            trace["name"] = _inked(trace["name"])
        if _writes(trace):
            trace["texttemplate"] = _inked("%{text}")
    title = layout.get("title", {})
    for part in (title, title.get("subtitle"), layout.get("legend", {}).get("title"), *layout.get("annotations", ())):
        _wrap(part)
    return shown


def _inked(text: str) -> str:
    """A text in the color of the page's text."""
    return START + text + END


def _wrap(part: dict[str, Any] | None) -> None:
    """Ink the text of a part of a figure, where it has one."""
    if part and part.get("text"):
        part["text"] = _inked(part["text"])


def _writes(trace: dict[str, Any]) -> bool:
    """Whether a trace writes its text beside its marks."""
    if trace["type"] == "scatter":
        return "text" in trace.get("mode", "")
    if trace["type"] == "heatmap":
        return "texttemplate" in trace
    return bool(trace["type"] == "bar" and trace.get("textposition") == "outside")
