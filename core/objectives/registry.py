"""All objectives."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationInfo

from core.objectives.classification import ClassificationSpec
from core.objectives.language import LanguageSpec
from core.objectives.measure import Measure
from core.objectives.objective import ObjectiveSpec, Targets
from core.spec import by_kind, class_of

OBJECTIVES: list[type[ObjectiveSpec]] = [
    ClassificationSpec,
    LanguageSpec,
]
"""One line per objective."""

CLASSIFICATION = ClassificationSpec()
"""What runs learn unless their spec says otherwise."""


def objective_of(kind: str) -> ObjectiveSpec:
    """The objective of this kind with its default measure and margin. Raises: SpecError: there is none."""
    return class_of(kind, OBJECTIVES, "objective").of()


def objectives_for(targets: Targets) -> list[ObjectiveSpec]:
    """The objectives that datasets with such targets can be for, each with its default measure and margin."""
    return [objective.of() for objective in OBJECTIVES if objective.targets == targets]


def measures_by_name() -> dict[str, Measure]:
    """Every measure that can be the primary one, by name; of one name the first in :data:`OBJECTIVES`."""
    found: dict[str, Measure] = {}
    for objective in OBJECTIVES:
        for measure in objective.measures:
            found.setdefault(measure.name, measure)
    return found


def _objective(value: Any, info: ValidationInfo) -> ObjectiveSpec:
    return by_kind(value, info, ObjectiveSpec, OBJECTIVES)


AnyObjective = Annotated[SerializeAsAny[ObjectiveSpec], BeforeValidator(_objective)]
"""Type of a field that holds an objective; the name of a kind stands for its defaults."""
