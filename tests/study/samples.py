"""Runs and curves made of numbers that a test chooses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from core.answer.checks.registry import checks_of
from core.answer.lines import three_lines
from core.data.task_spec import TaskSpec
from core.objectives.registry import CLASSIFICATION
from core.results.arm import Arm
from core.results.measures import COSTS
from core.results.results import Outcomes, Results, untested
from core.results.row import Row
from core.rule.claims import Difference
from core.rule.decide import decide
from core.rule.place import Place
from core.rule.withheld import paired_differences
from core.run_spec import OptimSpec, RunSpec
from core.store.looks import Look
from core.store.record import EPOCH_COLUMNS, Curve, Result, Run, State

SOURCE = TaskSpec.of(dataset="digits")
TARGET = TaskSpec.of(dataset="digits", rotation=45.0)

RESULT = Result(
    measures={
        "accuracy": 90.0,
        "accuracy_before": 40.0,
        "source_accuracy": 80.0,
        "source_accuracy_before": 97.0,
        "source_accuracy_masked": 85.0,
        "source_accuracy_masked_before": 98.0,
        "macro_f1": 88.0,
        "largest_class": 10.4,
    },
    parameters=136_074,
    trainable_parameters=136_074,
    seconds=10.0,
    examples_per_second=5e4,
    memory=2_177_184,
    checkpoint_bytes=545_000,
    adapter_bytes=None,
    epochs=2,
    steps=100,
    kept_epoch=2,
    device="cpu",
    threads=1,
)


QUANTITIES = (
    "accuracy",
    "macro_f1",
    "gain",
    "source_accuracy",
    "source_accuracy_masked",
    "forgetting",
    "forgetting_masked",
    *COSTS,
)
"""Names of quantities that :data:`RESULT` has, but for an adapter's size."""


def measured(result: Result, **values: Any) -> Result:
    """The same result with other measures, or other values of its fields."""
    own = {name: values.pop(name) for name in list(values) if name in Result.__dataclass_fields__}
    return replace(result, measures={**result.measures, **values}, **own)


def decided_on(
    rows: Iterable[Row],
    tested: Outcomes = untested,
    looks: Sequence[Look] = (),
    selected: bool = False,
    trivial: Outcomes = untested,
    bases: Sequence[Row] = (),
) -> Place:
    """What is decided of the rows of an experiment without an axis."""
    return decide(Results(tuple(rows), tested, trivial, bases, selected), looks).place


def make_run(
    method: str = "full",
    seed: int = 0,
    accuracy: float = 90.0,
    rank: int = 4,
    state: State = "finished",
    spec: dict[str, Any] | None = None,
    optim: dict[str, Any] | None = None,
    created: float = 0.0,
    **result: Any,
) -> Run:
    base = {} if method == "pretrain" else {"base": "base", "source": SOURCE}
    rate = 0.005 if method == "lora" else 0.001
    made = RunSpec.of(
        **{
            "method": {"kind": method, **({"rank": rank} if method == "lora" else {})},
            "task": TARGET,
            "seed": seed,
            **base,
            "optim": OptimSpec.of(**{"epochs": 2, "learning_rate": rate} | (optim or {})),
            **(spec or {}),
        }
    )
    extra = {"trainable_parameters": 1562 * rank, "adapter_bytes": 24_900, "seconds": 8.0} if method == "lora" else {}
    done = state in ("finished", "stopped")
    return Run(
        id=f"{made.arm}-{seed}-{created:g}",
        spec=made,
        state=state,
        experiment="e",
        created=created,
        started=0.0,
        ended=1.0,
        cause=None,
        traceback=None,
        result=measured(RESULT, **{"accuracy": accuracy, **extra, **result}) if done else None,
        step=100,
        steps=100,
        training_seconds=10.0,
        examples_per_second=None,
    )


def make_arm_runs(method: str, accuracies: list[float], **settings: Any) -> list[Run]:
    return [make_run(method, seed, accuracy, **settings) for seed, accuracy in enumerate(accuracies)]


SPREAD = np.array([0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.08, -0.08, 0.03, -0.03])
"""Noise of ten seeds, in points."""


def settled(method: str, accuracies: Iterable[float], rate: float, validation: float, **settings: Any) -> list[Run]:
    """Runs at one learning rate, to which longer training is projected to add nothing."""
    optim, trends = {"learning_rate": rate, "epochs": 10}, {"validation_accuracy": 0.0}
    return make_arm_runs(
        method, list(accuracies), optim=optim, trends=trends, validation_accuracy=validation, **settings
    )


def tuned(
    method: str, accuracies: list[float], rank: int = 4, validation: float | None = None, gap: float = 0.2
) -> list[Run]:
    """Runs of a method that is settled, at three learning rates of which validation chooses the middle one.

    Args:
        method: as of :func:`make_run`.
        accuracies: on the test part, of each seed at the chosen rate.
        rank: of LoRA.
        validation: mean on the validation part at the chosen rate; that of the test part by default.
        gap: points by which both parts are worse at the other two rates.
    """
    runs, middle = [], 0.01 if method == "lora" else 0.001
    reached = float(np.mean(accuracies)) if validation is None else validation
    for rate in (float(f"{middle / 10**0.5:.3g}"), middle, float(f"{middle * 10**0.5:.3g}")):
        worse = 0.0 if rate == middle else gap
        runs += settled(method, [value - worse for value in accuracies], rate, reached - worse, rank=rank)
    return runs


def within(runs: Iterable[Run], margin: float | None, measure: str = "") -> list[Run]:
    """The same runs in an experiment with this margin and primary measure; None for the measure's own margin."""
    objective = CLASSIFICATION.but(measure=measure, within=margin)
    return [replace(run, spec=run.spec.but(objective=objective)) for run in runs]


def make_curve(loss: Any, epochs: int = 2, source: bool = True) -> Curve:
    values = np.asarray(loss, dtype=np.float32)
    step = np.arange(1, len(values) + 1)
    number = np.arange(1, epochs + 1)
    measures = ["validation_loss", "validation_accuracy", "source_accuracy", "source_accuracy_masked"]
    table = pd.DataFrame(np.nan, index=range(epochs), columns=[*EPOCH_COLUMNS, *measures])
    table[["epoch", "step"]] = np.stack([number, number * max(1, len(values) // max(1, epochs))], axis=1)
    table[["seconds", "validation_loss", "validation_accuracy"]] = np.stack([number * 1.0, 1 / number, 90 + number], 1)
    if source:
        table["source_accuracy"] = 97.0 - number
    return Curve(step, step * 0.01, values, table.astype({"epoch": "int64", "step": "int64"}))


def paired_difference(a: Arm, b: Arm, measure: str) -> Difference:
    """One difference that stands alone."""
    return paired_differences([(a, b)], measure)[0]


def said_of(found: Place) -> list[str]:
    """All that an answer says: its lines, and those of its checks."""
    return [*three_lines(found), *(check.words for check in checks_of(found).values())]
