"""The numbers by which results are compared: the measures of an objective, and what training costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from core.numbers import NOTHING, bytes_text, count_text, percent, seconds_text
from core.objectives.classification import LARGEST_CLASS
from core.objectives.measure import BEFORE, SOURCE, Measure
from core.objectives.registry import CLASSIFICATION
from core.results.intervals import Interval
from core.results.row import Row
from core.results.scale import Objective

GAIN, FORGETTING, FORGETTING_MASKED = "gain", "forgetting", "forgetting_masked"
"""Names of what was gained in the primary measure on the target, and lost on the source."""


@dataclass(frozen=True)
class Quantity:
    """A number by which results are compared."""

    name: str
    title: str
    unit: str
    """``%``, ``points``, ``s``, ``examples/s``, ``bytes``, another unit of a measure, or empty for a plain number."""
    of: Callable[[Row], float | None]
    """Returns the value of a row; None if it has none."""
    exact: bool = False
    """Whether it is counted instead of measured, so that all runs of an arm agree and one seed is enough."""
    timed: bool = False
    """Whether the clock measures it: runs of one bank share their time, so their values are not independent."""
    measure: Measure | None = None
    """The measure that it is of; None for costs."""
    is_change: bool = False
    """Whether it is a difference of two values of the measure, written with its sign."""

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value that it can have."""
        if self.measure is None:
            return (0.0, 100.0) if self.unit == "%" else (0.0, math.inf)
        low, high = self.measure.limits
        return (low - high, high - low) if self.is_change else (low, high)

    @property
    def change(self) -> Quantity:
        """The difference of two values of it; itself for what is a difference already."""
        if self.measure is None or self.is_change:
            return self
        return replace(self, unit=self.measure.difference_unit, is_change=True)

    @property
    def sign(self) -> float:
        """1 where more is better, −1 where less is; costs and forgetting are compared without a direction: 1."""
        return self.measure.sign if self.measure is not None and not self.is_change else 1.0


def _value(row: Row, name: str) -> float | None:
    return row.measures.get(name)


def _lost(row: Row, before: str, after: str, sign: float) -> float | None:
    first, second = row.measures.get(before), row.measures.get(after)
    return None if first is None or second is None else sign * (first - second)


def _taken(row: Row, name: str) -> float | None:
    """What a run of this lab took, by the name of a field of its result."""
    return None if row.result is None else getattr(row.result, name)


def _stored_bytes(row: Row) -> float | None:
    own = _taken(row, "adapter_bytes")
    return _taken(row, "checkpoint_bytes") if own is None else own


def _cost(name: str, title: str, unit: str, exact: bool = False) -> Quantity:
    return Quantity(name, title, unit, partial(_taken, name=name), exact=exact, timed=not exact)


COSTS: dict[str, Quantity] = {
    cost.name: cost
    for cost in (
        Quantity("trainable_parameters", "Trainable parameters", "", lambda row: row.trained, exact=True),
        _cost("seconds", "Training time", "s"),
        _cost("examples_per_second", "Speed", "examples/s"),
        _cost("memory", "Memory, counted", "bytes", exact=True),
        _cost("adapter_bytes", "Adapter size", "bytes", exact=True),
        _cost("checkpoint_bytes", "Checkpoint size", "bytes", exact=True),
        Quantity("stored_bytes", "Stored size: adapter, or else checkpoint", "bytes", _stored_bytes, exact=True),
        Quantity(LARGEST_CLASS, "Share of the largest class", "%", partial(_value, name=LARGEST_CLASS), exact=True),
    )
}
"""What is the same for every objective, by name."""


@lru_cache(maxsize=256)
def quantity(name: str, objective: Objective = CLASSIFICATION) -> Quantity:
    """The quantity of a name: a cost, a measure of the objective, such a measure after ``source_``, or what was gained
    or forgotten, which is positive where the target is learned and the source forgotten.

    Raises:
        LookupError: there is no such quantity.
    """
    if name in COSTS:
        return COSTS[name]
    primary, sign = objective.primary, objective.primary.sign
    if name == GAIN:
        of = partial(_lost, before=primary.name, after=primary.name + BEFORE, sign=sign)
        return Quantity(name, "Gain on the target", primary.difference_unit, of, measure=primary, is_change=True)
    if name in (FORGETTING, FORGETTING_MASKED):
        masked = name == FORGETTING_MASKED
        told = objective.on_source(masked)
        of = partial(_lost, before=told + BEFORE, after=told, sign=sign)
        title = f"Forgetting{', source classes only' if masked else ''}"
        return Quantity(name, title, primary.difference_unit, of, measure=primary, is_change=True)
    measure = objective.all_measures[name.removeprefix(SOURCE)]
    among = f", {measure.among}" if measure.among else ""
    where = "source" if name.startswith(SOURCE) else "target"
    of = partial(_value, name=name)
    return Quantity(name, f"{measure.title} on the {where}{among}", measure.unit, of, measure=measure)


STEPS = "The time of a step alone does, which python -m core time measures."
"""Where times are measured that compare methods."""


def time_note(is_shared: bool) -> str:
    """How to read training times. Args: is_shared: whether some are shares of the time of a bank."""
    if not is_shared:
        once = "A time is that of one training run as it happened: beside other loads they do not compare methods."
        return f"{once} {STEPS}"
    return (
        "Times are shared: runs that are trained together, a bank, divide its time equally. They say what the "
        f"experiment took and do not compare methods. {STEPS}"
    )


MEMORY_NOTE = (
    "Memory is counted from shapes, for one run alone on this engine: weights, gradients, optimizer state, activations "
    "of a step, and for LoRA in a perceptron the product of the first adapted layer's frozen weight with every "
    "training example. Runs of one bank share that product, and plain PyTorch does not keep it. Runs of earlier "
    "versions count the first three only."
)
"""How to read the memory of a run. It is the one that settings are compared by; see
:mod:`core.study.arms.trained_memory` for that of the process."""


EACH = "Where each customer has a network of their own"
"""Who the customers are for whom storage is counted, as the beginning of a sentence."""


def storage_note(checkpoint: float) -> str:
    """How to read bytes to store for customers. Args: checkpoint: bytes of a whole network."""
    return (
        f"LoRA is stored as one base of {bytes_text(checkpoint)} and one adapter per customer, head only and biases "
        "only as that base and the trained values, everything else as one checkpoint per customer."
    )


def value_text(what: Quantity, value: float, digits: int = 2) -> str:
    """Format a value of a quantity with its unit; ``digits`` is for percentages and points."""
    if what.measure is not None:
        measure = what.measure
        return measure.change_text(value, digits) if what.is_change else measure.text(value, digits)
    match what.unit:
        case "%":
            return percent(value, digits)
        case "s":
            return seconds_text(value)
        case "bytes":
            return bytes_text(value)
        case "examples/s":
            return f"{count_text(value)} examples/s"
        case _:
            return count_text(value)


def bare_text(what: Quantity, value: float, digits: int = 2) -> str:
    """Format a value without its unit, as in ``97.31`` or, for a difference, ``−0.31``; see :func:`value_text`."""
    text = value_text(what, value, digits)
    return text.removesuffix(f" {what.unit}") if what.unit else text


def bounded(interval: Interval, what: Quantity) -> Interval:
    """An interval of means of a quantity, with ends that it can have: accuracies stay within 0 to 100."""
    low, high = (min(max(end, what.limits[0]), what.limits[1]) for end in (interval.low, interval.high))
    return replace(interval, low=low, high=high) if math.isfinite(interval.half_width) else interval


IN_BRACKETS = "In brackets: the 95 % interval over seeds."
"""Says what :func:`spread_text` has in brackets; what is tested is over test examples, too."""


def spread_text(interval: Interval, what: Quantity) -> str:
    """Format a mean with its interval, as in ``74.1 % (16.2 to 100)`` or ``97.31 % (97.19 to 97.43)``.

    Only the mean where there is no interval, or where both ends read alike, as they do if all seeds agree.
    """
    if not interval.n:
        return NOTHING
    mean, ends = value_text(what, interval.mean, digits_of(interval, what)), ends_text(interval, what)
    return f"{mean} ({ends})" if ends and not what.exact else mean


def ends_text(interval: Interval, what: Quantity) -> str:
    """Format the ends of an interval, as in ``16.2 to 100``, without their unit if it is one word for both; empty where
    there is no interval, or where both ends read alike.
    """
    if not math.isfinite(interval.half_width):
        return ""
    inside, digits = bounded(interval, what), digits_of(interval, what)
    low, high = (_end_text(what, end, digits) for end in (inside.low, inside.high))
    units = {low.partition(" ")[2], high.partition(" ")[2]}
    if len(units) == 1 and " " not in "".join(units):
        low, high = low.partition(" ")[0], high.partition(" ")[0]
    return "" if low == high else f"{low} to {high}"


def _end_text(what: Quantity, end: float, digits: int) -> str:
    """One end of an interval: a limit of percentages is a whole number."""
    is_limit = what.unit in ("%", "points") and end in what.limits
    return value_text(what, end, 0 if is_limit else digits)


def digits_of(interval: Interval, what: Quantity) -> int:
    """Decimals that mean something for a percentage: one where the interval is wide, else two. Plain numbers have
    :data:`core.objectives.measure.PLAIN_DIGITS` more, and a wide interval is one of that many digits less.
    """
    wide = 0.5 if what.unit in ("%", "points") else 0.005
    return 1 if interval.half_width >= wide else 2
