"""The options ``--measure`` and ``--within``: by what an experiment is judged, fixed before anything is trained."""

from __future__ import annotations

import argparse

from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION, measures_by_name
from core.spec import bounds


def add_objective(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    known = measures_by_name()
    about = bounds(ObjectiveSpec, "measure")
    parser.add_argument(
        "--measure",
        choices=list(known),
        help=f"{about.title}: {about.description} (default: {CLASSIFICATION.primary.name})".replace("%", "%%"),
    )
    about = bounds(ObjectiveSpec, "within")
    limits = "; ".join(
        " ".join(filter(None, [f"of {name}: 0 to {measure.max_margin:g}", measure.difference_unit]))
        + f", default {measure.margin:g}"
        for name, measure in known.items()
    )
    parser.add_argument(
        "--within", type=float, metavar="X", help=f"{about.title}: {about.description} ({limits})".replace("%", "%%")
    )


def objective_asked(options: argparse.Namespace) -> ObjectiveSpec:
    """The objective that the options ask for. Raises: SpecError: the margin is out of bounds for the measure."""
    return CLASSIFICATION.but(measure=options.measure or "", within=options.within)
