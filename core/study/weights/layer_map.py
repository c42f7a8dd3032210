"""A map of a transformer's linear layers, by block and role, coloured by what fine-tuning did to each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from plotly.colors import sample_colorscale

from core.methods.roles import OUTSIDE, Layers
from core.numbers import count_text, number_text, percent
from core.study.figures.style import SCALE, HeatMap, Tile, ink_on
from core.study.weights.decomposition import Array
from core.study.weights.directions import count_new
from core.study.weights.spectrum import ENERGY, Spectrum
from core.study.weights.subspace import INTRUDER_THRESHOLD, INTRUDER_TOP

MAX_ROOMY = 12
"""Number of rows up to which tiles have their usual height."""


@dataclass(frozen=True)
class MapMeasure:
    """A number of each layer that the map can show."""

    title: str
    reading: str
    """How to read it, in a sentence."""
    of: Callable[[Array, Array, Spectrum], float]
    """The number, of a layer's W, ΔW and the spectrum of ΔW."""
    short: Callable[[float], str]
    """The number in a tile."""
    long: Callable[[float], str]
    """The number in a sentence."""
    slow: bool = False
    """Whether it takes more than the spectrum."""


MAP_MEASURES: Mapping[str, MapMeasure] = {
    "rank": MapMeasure(
        f"Rank for {percent(100 * ENERGY, 0)}",
        f"How many directions hold {percent(100 * ENERGY, 0)} of the energy of ΔW, which is the sum of all σᵢ². An "
        "adapter of rank r has at most r.",
        lambda weight, delta, found: float(found.rank_holding(ENERGY)),
        count_text,
        lambda value: f"rank {count_text(value)} holds {percent(100 * ENERGY, 0)} of the energy",
    ),
    "change": MapMeasure(
        "‖ΔW‖ / ‖W‖ in %",
        "The size of the change relative to the weight, in percent: where training moved the network most.",
        lambda weight, delta, found: 100 * found.relative_norm,
        lambda value: number_text(value, 1 if value >= 1 else 2),
        lambda value: f"the change is {percent(value)} of the weight",
    ),
    "new": MapMeasure(
        "New directions",
        f"How many of the {INTRUDER_TOP} strongest directions of W + ΔW are similar to none of W (largest cosine below "
        f"{INTRUDER_THRESHOLD}). The New directions tab compares that with chance.",
        lambda weight, delta, found: float(count_new(weight, delta)),
        count_text,
        lambda value: f"{count_text(value)} of the {INTRUDER_TOP} strongest directions are new",
        slow=True,
    ),
}
"""What the map shows, by name in addresses."""


def layer_map(
    layers: Layers,
    shapes: Mapping[str, tuple[int, int]],
    measure: MapMeasure,
    values: Mapping[str, float],
    chosen: str,
    frame: str,
) -> HeatMap:
    """Return the map, the first block at the top.

    Args:
        layers: all that the map shows.
        shapes: (out, in) of each layer, by its path.
        measure: what is shown.
        values: of each layer that training changed, by its path.
        chosen: path of the layer to frame.
        frame: its colour.
    """
    low, high = min(values.values(), default=0.0), max(values.values(), default=0.0)
    shares = {path: (value - low) / (high - low) if high > low else 0.0 for path, value in values.items()}
    colours = dict(zip(shares, sample_colorscale(SCALE, list(shares.values())), strict=True))
    kinds, tiles = list(layers.by_kind), []
    for path, (row, column) in layers.places.items():
        block = "" if layers.rows[row] == OUTSIDE else f"block {layers.rows[row]}, "
        outputs, inputs = shapes[path]
        found = measure.long(values[path]) if path in values else "training did not change it"
        tiles.append(
            Tile(
                column,
                len(layers.rows) - 1 - row,
                path,
                measure.short(values[path]) if path in values else "",
                f"{block}{kinds[column].text}, {inputs:,} → {outputs:,}: {found} ({path})",
                colours.get(path),
                ink_on(colours[path]) if path in colours else None,
                frame if path == chosen else None,
            )
        )
    roles = [kind.role or "other" for kind in kinds]
    return HeatMap(
        columns=tuple(kind.label for kind in kinds),
        rows=tuple(reversed(layers.rows)),
        tiles=tuple(tiles),
        scale=tuple(sample_colorscale(SCALE, 9)) if values else (),
        low=measure.short(low) if values else "",
        high=measure.short(high) if values else "",
        groups=tuple((role.capitalize(), roles.count(role)) for role in dict.fromkeys(roles)),
        slim=len(layers.rows) > MAX_ROOMY,
    )


def map_sentence(measure: MapMeasure, values: Mapping[str, float]) -> str:
    """Say in a sentence where a measure is highest and what it mostly is; empty if no layer was changed."""
    if not values:
        return ""
    if len(set(values.values())) == 1:
        return f"The same in all {len(values)} layers: {measure.long(next(iter(values.values())))}."
    path = max(values, key=lambda each: values[each])
    middle = float(np.median(list(values.values())))
    return f"Highest in {path}: {measure.long(values[path])}. Median of {len(values)} layers: {measure.short(middle)}."


def map_numbers(layers: Layers, values: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """One row per layer, with all measures as numbers.

    Args:
        layers: all that the map shows.
        values: by title of the measure, then by the layer's path.
    """
    kinds = list(layers.by_kind)
    rows = [
        {
            "Layer": path,
            "Block": layers.rows[row],
            "Role": kinds[column].role or "",
            "Kind": kinds[column].label,
            **{title: found.get(path) for title, found in values.items()},
        }
        for path, (row, column) in layers.places.items()
    ]
    return pd.DataFrame(rows)
