"""Run records of what others report: specs that name what was trained, and cannot be trained.

The rule for verdicts takes runs. A reported run is one whose spec has reported parts: a method with a name, a role and
what the table says of it, a measure, and training of which the learning rate may not be known. Whatever a table does
not say has a value here that no sentence reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from core.judge.grouping import Row
from core.judge.scale import TEST, Scale
from core.methods.method import MethodSpec, Role
from core.methods.registry import METHODS
from core.networks.network import NetworkSpec
from core.objectives.classification import ACCURACY, LARGEST_CLASS
from core.objectives.measure import VALIDATION, Measure
from core.objectives.objective import ObjectiveSpec
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Result, Run

UNKNOWN_RATE = 0.0
"""Learning rate of a run of which it is not reported; no run has it."""

UNKNOWN_DECAY = "not reported"

_KNOWN = {method.name(): method for method in METHODS}


class ReportedMethod(MethodSpec):
    """A method by its name, with rank, alpha and what else tells settings apart."""

    model_config = ConfigDict(extra="allow")

    kind: str
    is_reference: bool = Field(False, exclude=True)  # which no label says
    rank: int | None = Field(None, exclude_if=lambda rank: rank is None, title="Rank")
    alpha: float | None = Field(None, exclude_if=lambda alpha: alpha is None, title="Alpha")

    @property
    def role(self) -> Role:  # type: ignore[override]
        """A control where the method is one here; an adapter unless it is the reference."""
        if self.is_reference:
            return Role.REFERENCE
        known = _KNOWN.get(self.kind)
        return Role.CONTROL if known is not None and known.role is Role.CONTROL else Role.ADAPTER

    @property
    def short(self) -> str:  # type: ignore[override]
        known = _KNOWN.get(self.kind)
        return known.short if known is not None else self.kind

    @property
    def title(self) -> str:  # type: ignore[override]
        known = _KNOWN.get(self.kind)
        return known.title if known is not None else self.kind

    @property
    def label(self) -> str:
        return self.short if self.rank is None else f"{self.short} r={self.rank}"

    @property
    def size_field(self) -> str:  # type: ignore[override]
        return "" if self.rank is None else "rank"

    @property
    def strength_field(self) -> str:  # type: ignore[override]
        return "" if self.alpha is None else "alpha"

    @classmethod
    def varied(cls) -> tuple[str, ...]:
        return "rank", "alpha"

    @property
    def inner_rank(self) -> int | None:
        return self.rank


class ReportedNetwork(NetworkSpec):
    """A network of which nothing is known but what it was tested on."""

    kind: str = "reported"
    noun: str = Field("example", max_length=30)
    title = "network"

    @property
    def learns(self) -> str:  # type: ignore[override]
        """What one test example is called."""
        return self.noun

    @property
    def sizes(self) -> str:
        return "not reported"


class ReportedObjective(ObjectiveSpec):
    """A measure with its margin, of an objective that is not reported."""

    kind: str = "reported"
    title = "Reported"
    targets = "numbers"
    problem_type = ""
    watched = ()
    column: str
    shown: str
    unit: str
    higher: bool
    part: str = Field(TEST, exclude_if=lambda part: part == TEST)

    @model_validator(mode="before")
    @classmethod
    def _default_is_left_out(cls, values: object) -> object:
        return values

    @model_validator(mode="after")
    def _measure_is_known(self) -> Self:
        return self

    @property
    def measures(self) -> tuple[Measure, ...]:  # type: ignore[override]
        return (self.primary,)

    @property
    def all_measures(self) -> dict[str, Measure]:
        """Accuracy beside the measure: what has learned nothing is told by it."""
        return {ACCURACY.name: ACCURACY, self.primary.name: self.primary}

    @property
    def primary(self) -> Measure:
        return Scale(self.column, self.shown, self.unit, self.higher, self.margin, self.part).measure

    @property
    def has_test_part(self) -> bool:
        return self.part == TEST

    @property
    def margin(self) -> float:
        return self.within or 0.0


class ReportedOptim(OptimSpec):
    """Training, as far as it is reported."""

    learning_rate: float = Field(UNKNOWN_RATE, ge=0, title="Learning rate")
    epochs: int = Field(1, ge=1, title="Epochs")
    patience: int = Field(0, ge=0, title="Patience")
    decay: str = Field(UNKNOWN_DECAY, title="Decay")  # type: ignore[assignment]


class ReportedSpec(RunSpec):
    """What a table says of a run."""

    optim: ReportedOptim
    seed: int = Field(ge=0)

    @property
    def is_reported(self) -> bool:
        return True


def runs_of(rows: Sequence[Row], scale: Scale, reference: str, noun: str, searched: bool = False) -> list[Run]:
    """Run records of rows, in their order.

    Args:
        rows: each with a name of its own.
        scale: of the measure.
        reference: the method that the others are compared with.
        noun: what one test example is called.
        searched: whether a search of this lab found the learning rates.
    """
    objective = ReportedObjective(
        within=scale.within,
        column=scale.name,
        shown=scale.title,
        unit=scale.unit,
        higher=scale.higher,
        part=scale.part,
    )
    network = ReportedNetwork(noun=noun or "example")
    found = [_run(place, row, objective, network, reference) for place, row in enumerate(rows)]
    return [replace(run, plan="complete") for run in found] if searched else found


def _run(place: int, row: Row, objective: ReportedObjective, network: ReportedNetwork, reference: str) -> Run:
    method = ReportedMethod.model_validate(
        {
            **_others(row.settings),
            "kind": row.method,
            "is_reference": row.method == reference,
            "rank": row.rank,
            "alpha": row.alpha,
        }
    )
    optim = ReportedOptim(
        learning_rate=row.learning_rate or UNKNOWN_RATE,
        epochs=row.epochs or 1,
        patience=row.patience,
        decay=row.decay or UNKNOWN_DECAY,
    )
    spec = ReportedSpec(method=method, network=network, optim=optim, objective=objective, seed=row.seed)
    name = objective.primary.name
    measures = {ACCURACY.name: row.accuracy, name: row.value, VALIDATION + name: row.validation}
    if measures[ACCURACY.name] is not None:  # what is compared with the share
        measures[LARGEST_CLASS] = row.largest_class
    result = Result(
        measures={key: value for key, value in measures.items() if value is not None},
        parameters=0,
        trainable_parameters=row.trained or 0,
        seconds=0.0,
        examples_per_second=0.0,
        memory=0,
        checkpoint_bytes=0,
        adapter_bytes=None,
        epochs=row.epochs or 0,
        steps=row.steps or 0,
        kept_epoch=0,
        device="",
        threads=0,
        trends=None if row.trend is None else {VALIDATION + name: row.trend},
    )
    return Run(
        id=row.run,
        spec=spec,
        state="failed" if row.state == "incomplete" else row.state,
        experiment=None,
        created=float(place),
        started=None,
        ended=None,
        cause=row.cause or None,
        traceback=None,
        result=result if row.state == "finished" else None,
        step=0,
        steps=0,
        training_seconds=0.0,
        examples_per_second=None,
        archived=row.archived or row.state == "stopped",  # others have left it out
    )


def _others(settings: Mapping[str, str]) -> dict[str, str]:
    """Further settings under names that no field has."""
    own = ReportedMethod.model_fields
    return {f"{name} (column)" if name in own else name: text for name, text in settings.items()}
