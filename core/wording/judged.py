"""How what an experiment is judged by is written for people."""

from __future__ import annotations

from core.objectives.objective import ObjectiveSpec
from core.wording.numbers import exact_text


def judged_text(objective: ObjectiveSpec) -> str:
    """What an experiment is judged by, as in ``macro-F1, margin 1 point``."""
    if not objective.is_known:
        return "a measure of a newer version"
    unit = objective.primary.difference_unit
    unit = unit.removesuffix("s") if objective.margin == 1 else unit
    return " ".join(filter(None, [f"{objective.primary.noun}, margin {exact_text(objective.margin)}", unit]))
