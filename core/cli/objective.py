"""The options ``--objective``, ``--measure`` and ``--within``: what is learned, and by what an experiment is judged."""

from __future__ import annotations

import argparse

from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION, OBJECTIVES, measures_by_name, objective_of
from core.spec import bounds


def add_objective(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    lines = ", ".join(f"{objective.title} ({objective.name()})" for objective in OBJECTIVES)
    parser.add_argument(
        "--objective",
        choices=[objective.name() for objective in OBJECTIVES],
        default=CLASSIFICATION.kind,
        help=f"what is learned: {lines} (default: %(default)s)",
    )
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
    return objective_of(options.objective).but(measure=options.measure or "", within=options.within)
