"""What the store knows of runs, as numbers by name; the only module here that reads classes of the lab.

If a class changes, this module is told where the same numbers are now, and the numbers stay.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from core.lab import Lab
from core.settings import Settings
from core.store.record import Curve, Run
from core.tracking.tracker import tracked_run

ENDS = 10
"""Losses at the beginning and at the end of a curve that a golden file has as they are."""


def stored(home: Path) -> dict[str, Any]:
    """All that a home folder has of each run: state and result, curve, recipe, and what trackers are told."""
    lab = Lab(Settings(home))
    try:
        found = {}
        for run in lab.store.runs():
            tracked = tracked_run(lab.store, run.id)
            told = tracked.points.groupby("name")["value"]
            found[run.id] = {
                "run": run_values(run),
                "result": result_values(run),
                "curve": curve_values(lab.store.curve(run.id)),
                "recipe": lab.recipe(run.id).model_dump(mode="json"),
                "tracked": {
                    "name": tracked.name,
                    "settings": dict(tracked.settings),
                    "last": {name: float(value) for name, value in told.last().items()},
                    "points": {name: int(count) for name, count in told.size().items()},
                },
            }
        return found
    finally:
        lab.close()


def run_values(run: Run) -> dict[str, Any]:
    """What is known of a run beside its result."""
    return {
        "label": run.spec.label,
        "state": run.state,
        "experiment": run.experiment,
        "step": run.step,
        "steps": run.steps,
        "training_seconds": run.training_seconds,
        "examples_per_second": run.examples_per_second,
    }


def result_values(run: Run) -> dict[str, Any] | None:
    """The numbers of a run's result by name; None where there is no result."""
    unknown = {"macro_f1": None, "largest_class": None}  # of runs of the first version
    return unknown | run.result.to_dict() if run.result else None


MEASURES = ("validation_loss", "validation_accuracy", "source_accuracy", "source_accuracy_masked")
"""Measures of an epoch that golden files name also where a run has none of them."""


def curve_values(curve: Curve) -> dict[str, Any]:
    """A curve: the ends of its losses, the digest of all, and its epochs."""
    columns = {str(name): column for name, column in curve.epochs.items()}
    columns |= {name: curve.measured(name) for name in MEASURES}
    epochs = {name: [number(value) for value in column] for name, column in columns.items()}
    digest = hashlib.sha256()
    for values in (curve.step, curve.seconds, curve.loss):
        digest.update(np.ascontiguousarray(values).tobytes())
    losses = curve.loss.tolist()
    return {
        "steps": len(curve.step),
        "first": losses[:ENDS],
        "last": losses[-ENDS:],
        "digest": digest.hexdigest(),
        "epochs": epochs,
    }


def number(value: Any) -> float | None:
    """A number of a table; None where there is none."""
    return None if value is None or math.isnan(value) else float(value)
