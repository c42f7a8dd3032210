"""How what an experiment is judged by is written for people."""

from __future__ import annotations

from core.objectives.objective import ObjectiveSpec


def judged_text(objective: ObjectiveSpec) -> str:
    """What an experiment is judged by, as in ``macro-F1, margin 1 point``."""
    if not objective.is_known:
        return "a measure of a newer version"
    return f"{objective.primary.noun}, margin {objective.primary.margin_text(objective.margin)}"
