"""The Map tab of the Weights page: every layer of a transformer, by block and role."""

from __future__ import annotations

import streamlit as st

from core.study.weights.layer_map import MAP_MEASURES, layer_map, map_numbers, map_sentence
from core.wording.csv_file import csv_of
from pages.shared.ui.download import download
from pages.shared.ui.literal import literal
from pages.shared.ui.tabs import VIEW
from pages.shared.ui.tile_map import tile_map
from pages.weights.focus import Focus
from pages.weights.numbers import each, map_value

MAP = "Map"
"""Title of the tab."""

OPENED = "Spectrum"
"""Title of the tab that a press on a tile opens."""


def map_part(focus: Focus) -> None:
    """Draw the map of the chosen run; a press on a tile chooses that layer."""
    st.markdown(
        "One tile per linear layer: rows are blocks, from the input at the top to the output, columns are what a layer "
        "does in its block. **Press a tile to open its layer.**"
    )
    name = st.segmented_control(
        "Measure",
        list(MAP_MEASURES),
        default=next(iter(MAP_MEASURES)),
        format_func=lambda name: MAP_MEASURES[name].title,
        key="measure",
        required=True,
        bind="query-params",
    )
    measure = MAP_MEASURES[name]
    values = _values(focus, name)
    key = f"weights-map-{focus.run.id}"

    def open_layer(tile: str) -> None:
        if tile in focus.shapes:
            st.query_params["layer"] = tile
            st.session_state[VIEW] = OPENED

    tile_map(
        layer_map(focus.layers, focus.shapes, measure, values, focus.layer, focus.colour),
        key,
        f"{measure.title} of each layer of {focus.name}, by block and role",
        open_layer,
    )
    st.caption(literal(f"{focus.name}. {measure.reading} {map_sentence(measure, values)}"))
    empty = len(focus.shapes) - len(values)
    head = " The new head is not shown: it has no base to differ from." if focus.has_new_head else ""
    framed = "Framed: the chosen layer."
    st.caption(f"{framed} {f'{empty} tiles are empty: training did not change these layers.' if empty else ''}{head}")
    download(
        "Download CSV",
        lambda: csv_of(map_numbers(focus.layers, {MAP_MEASURES[name].title: values})),
        f"{focus.run.id}-map.csv",
        "text/csv",
        "map-csv",
        help="One row per layer, with the measure that is shown.",
    )


def _values(focus: Focus, name: str) -> dict[str, float]:
    doing = "Comparing directions" if MAP_MEASURES[name].slow else "Reading the weights"
    found = each(list(focus.shapes), lambda path: map_value(focus.lab, focus.run, path, name), doing)
    return {path: value for path, value in zip(focus.shapes, found, strict=True) if value is not None}
