"""A page as text and figures: every element that Streamlit's ``AppTest`` finds, in its order, in a few lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df
from streamlit.testing.v1 import AppTest

from pages.shared.ui.download import OFFERS
from tests.same_numbers.figures import unpacked
from tests.same_numbers.volatile import parted, settled

SAID = (
    *("label", "body", "text", "code_text", "delta", "caption", "value", "raw_value", "options", "help", "alt"),
    *("page", "query_string"),
)
"""Fields of elements that people read, or that say where a link leads."""

FIGURES = {"plotly_chart": "spec", "bidi_component": "json"}
"""The field that has all of a figure, by kind of element: one of Plotly, or one that we draw ourselves."""

TABLES = ("dataframe", "table")
READ = (".csv", ".json")
"""Endings of the files that are read where a page offers them; charts are the figures of the page again."""


def drawn(app: AppTest, home: Path) -> dict[str, Any]:
    """What a page shows.

    Args:
        app: has drawn it.
        home: the folder whose path may stand on it.
    """
    lines: list[str] = []
    figures: dict[str, Any] = {}
    for element in elements(app.main):
        if getattr(element.proto, "component_name", "").endswith("in_view"):
            continue  # scrolls, and shows nothing
        if element.type in FIGURES:
            key = f"{len(figures)} {element.proto.id.partition('-figure-')[2]}".strip()
            figures[key] = unpacked(json.loads(getattr(element.proto, FIGURES[element.type]) or "null"))
            lines.append(f"figure {key}")
        else:
            lines += lines_of(element, app)
    rest, objects = parted(lines)
    return {"lines": settled(rest, home), "figures": figures, "objects": objects}


def elements(node: Any) -> Iterator[Any]:
    """The elements of a part of a page, from top to bottom."""
    children = getattr(node, "children", None)
    if children is None:
        yield node
        return
    label = getattr(getattr(node, "proto", None), "label", "")
    if label:
        yield node
    for child in children.values():
        yield from elements(child)


def lines_of(element: Any, app: AppTest) -> Iterator[str]:
    """The lines of an element: its kind with each field that says something, then what lies in it."""
    proto = element.proto
    for field, value in proto.ListFields():
        if field.name in SAID:
            for text in [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value:
                first, *others = str(getattr(text, "content", text)).splitlines() or [""]
                yield f"{element.type} {field.name}: {first}" if not first.startswith("{") else first
                yield from others
    if element.type in TABLES:
        frame = convert_arrow_bytes_to_pandas_df(proto.arrow_data.data)
        yield from (f"  {line}" for line in frame.to_csv(index=False).splitlines())
    if element.type == "link_button":
        yield from offered(proto.url, app)


def offered(url: str, app: AppTest) -> Iterator[str]:
    """The address of a file, and its lines if it is one that is made by the page, and read here."""
    yield f"  {url}"
    if OFFERS in app.session_state:
        offer = app.session_state[OFFERS].get(unquote(url.rpartition("/")[2]))
        if offer is not None and offer.name.endswith(READ):
            content = offer.content()
            text = content if isinstance(content, str) else content.decode()
            yield from [json.dumps(json.loads(text))] if offer.name.endswith(".json") else text.splitlines()
