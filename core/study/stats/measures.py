"""The measures by which results are compared, with titles and units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from core.store.record import Result
from core.wording.numbers import bytes_text, count_text, percent, points_text, seconds_text

MeasureName = Literal[
    "accuracy",
    "gain",
    "source_accuracy",
    "source_accuracy_masked",
    "forgetting",
    "forgetting_masked",
    "trainable_parameters",
    "seconds",
    "examples_per_second",
    "memory",
    "adapter_bytes",
    "checkpoint_bytes",
    "stored_bytes",
]
"""Names of :data:`MEASURES`."""


@dataclass(frozen=True)
class Measure:
    """A number by which results are compared."""

    title: str
    unit: Literal["%", "points", "s", "images/s", "bytes", ""]
    of: Callable[[Result], float | None]
    """Returns the value of a result; None if it has none."""
    exact: bool = False
    """Whether it is counted instead of measured, so that all runs of an arm agree and one seed is enough."""
    timed: bool = False
    """Whether the clock measures it: runs of one bank share their time, so their values are not independent."""


def _lost(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after


MEASURES: dict[MeasureName, Measure] = {
    "accuracy": Measure("Accuracy on the target", "%", lambda r: r.accuracy),
    "gain": Measure("Gain on the target", "points", lambda r: _lost(r.accuracy, r.accuracy_before)),
    "source_accuracy": Measure("Accuracy on the source", "%", lambda r: r.source_accuracy),
    "source_accuracy_masked": Measure(
        "Accuracy on the source, its own classes only", "%", lambda r: r.source_accuracy_masked
    ),
    "forgetting": Measure("Forgetting", "points", lambda r: _lost(r.source_accuracy_before, r.source_accuracy)),
    "forgetting_masked": Measure(
        "Forgetting, source classes only",
        "points",
        lambda r: _lost(r.source_accuracy_masked_before, r.source_accuracy_masked),
    ),
    "trainable_parameters": Measure("Trainable parameters", "", lambda r: r.trainable_parameters, exact=True),
    "seconds": Measure("Training time", "s", lambda r: r.seconds, timed=True),
    "examples_per_second": Measure("Speed", "images/s", lambda r: r.examples_per_second, timed=True),
    "memory": Measure("Training memory, alone", "bytes", lambda r: r.memory, exact=True),
    "adapter_bytes": Measure("Adapter size", "bytes", lambda r: r.adapter_bytes, exact=True),
    "checkpoint_bytes": Measure("Checkpoint size", "bytes", lambda r: r.checkpoint_bytes, exact=True),
    "stored_bytes": Measure(
        "Stored size: adapter, or else checkpoint",
        "bytes",
        lambda r: r.checkpoint_bytes if r.adapter_bytes is None else r.adapter_bytes,
        exact=True,
    ),
}
"""All measures by name. Forgetting is source accuracy before minus after fine-tuning; negative if it improved."""


TIME_NOTE = (
    "Shared: runs of one bank divide its time equally. Such times say what the experiment took, and do not compare "
    "methods: these were not measured alike."
)
"""How to read training times."""

MEMORY_NOTE = (
    "Memory is what one run takes alone on this engine: weights, gradients, optimiser state, activations of a step, "
    "and for LoRA the product of the first adapted layer's frozen weight with every training image. Runs of one bank "
    "share that product, and plain PyTorch does not keep it. Runs of earlier versions count the first three only."
)
"""How to read training memory."""


def value_text(measure: Measure, value: float) -> str:
    """Format a value of a measure with its unit."""
    match measure.unit:
        case "%":
            return percent(value)
        case "points":
            return points_text(value)
        case "s":
            return seconds_text(value)
        case "bytes":
            return bytes_text(value)
        case "images/s":
            return f"{count_text(value)} images/s"
        case _:
            return count_text(value)
