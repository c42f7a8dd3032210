"""The measures by which results are compared, with titles and units."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from core.store.record import Result
from core.study.stats.intervals import Interval
from core.wording.numbers import NOTHING, bytes_text, count_text, percent, points_text, seconds_text

MeasureName = Literal[
    "accuracy",
    "macro_f1",
    "largest_class",
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
    unit: Literal["%", "points", "s", "examples/s", "bytes", ""]
    of: Callable[[Result], float | None]
    """Returns the value of a result; None if it has none."""
    exact: bool = False
    """Whether it is counted instead of measured, so that all runs of an arm agree and one seed is enough."""
    timed: bool = False
    """Whether the clock measures it: runs of one bank share their time, so their values are not independent."""

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value that it can have."""
        return {"%": (0.0, 100.0), "points": (-100.0, 100.0)}.get(self.unit, (0.0, math.inf))


def _lost(result: Result, before: str, after: str) -> float | None:
    first, second = result.measures.get(before), result.measures.get(after)
    return None if first is None or second is None else first - second


MEASURES: dict[MeasureName, Measure] = {
    "accuracy": Measure("Accuracy on the target", "%", lambda r: r.measures.get("accuracy")),
    "macro_f1": Measure("Macro-F1 on the target", "%", lambda r: r.measures.get("macro_f1")),
    "largest_class": Measure("Share of the largest class", "%", lambda r: r.measures.get("largest_class"), exact=True),
    "gain": Measure("Gain on the target", "points", lambda r: _lost(r, "accuracy", "accuracy_before")),
    "source_accuracy": Measure("Accuracy on the source", "%", lambda r: r.measures.get("source_accuracy")),
    "source_accuracy_masked": Measure(
        "Accuracy on the source, its own classes only", "%", lambda r: r.measures.get("source_accuracy_masked")
    ),
    "forgetting": Measure(
        "Forgetting",
        "points",
        lambda r: _lost(r, "source_accuracy_before", "source_accuracy"),
    ),
    "forgetting_masked": Measure(
        "Forgetting, source classes only",
        "points",
        lambda r: _lost(r, "source_accuracy_masked_before", "source_accuracy_masked"),
    ),
    "trainable_parameters": Measure("Trainable parameters", "", lambda r: r.trainable_parameters, exact=True),
    "seconds": Measure("Training time", "s", lambda r: r.seconds, timed=True),
    "examples_per_second": Measure("Speed", "examples/s", lambda r: r.examples_per_second, timed=True),
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
    "Shared: runs of one bank divide its time equally. Such times say what the experiment took. They do not compare "
    "methods, which were not timed under the same conditions."
)
"""How to read training times."""

MEMORY_NOTE = (
    "Memory is what one run takes alone on this engine: weights, gradients, optimiser state, activations of a step, "
    "and for LoRA in a perceptron the product of the first adapted layer's frozen weight with every training example. "
    "Runs of one bank share that product, and plain PyTorch does not keep it. Runs of earlier versions count the first "
    "three only."
)
"""How to read training memory."""


def value_text(measure: Measure, value: float, digits: int = 2) -> str:
    """Format a value of a measure with its unit; ``digits`` is for percentages and points."""
    match measure.unit:
        case "%":
            return percent(value, digits)
        case "points":
            return points_text(value, digits)
        case "s":
            return seconds_text(value)
        case "bytes":
            return bytes_text(value)
        case "examples/s":
            return f"{count_text(value)} examples/s"
        case _:
            return count_text(value)


def bounded(interval: Interval, measure: Measure) -> Interval:
    """An interval of means of a measure, with ends that the measure can have: accuracies stay within 0 to 100."""
    low, high = (min(max(end, measure.limits[0]), measure.limits[1]) for end in (interval.low, interval.high))
    return replace(interval, low=low, high=high) if math.isfinite(interval.half_width) else interval


def spread_text(interval: Interval, measure: Measure = MEASURES["accuracy"]) -> str:
    """Format a mean with its interval, as in ``74.1 % (16.2 to 100)`` or ``97.31 % (97.19 to 97.43)``.

    Only the mean where there is no interval, or where both ends read alike, as they do if all seeds agree.
    """
    if not interval.n:
        return NOTHING
    mean, ends = value_text(measure, interval.mean, digits_of(interval)), ends_text(interval, measure)
    return f"{mean} ({ends})" if ends and not measure.exact else mean


def ends_text(interval: Interval, measure: Measure) -> str:
    """Format the ends of an interval, as in ``16.2 to 100``, without their unit if it is one word for both.

    Returns:
        Nothing where there is no interval, or where both ends read alike.
    """
    if not math.isfinite(interval.half_width):
        return ""
    inside, digits = bounded(interval, measure), digits_of(interval)
    low, high = (value_text(measure, end, 0 if end in measure.limits else digits) for end in (inside.low, inside.high))
    units = {low.partition(" ")[2], high.partition(" ")[2]}
    if len(units) == 1 and " " not in "".join(units):
        low, high = low.partition(" ")[0], high.partition(" ")[0]
    return "" if low == high else f"{low} to {high}"


def digits_of(interval: Interval) -> int:
    """Decimals that mean something for a percentage: one where the interval is wide, else two."""
    return 1 if interval.half_width >= 0.5 else 2
