"""Measured times of a training step as a table and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from core.forecast.step_time import FULL, WAYS, StepTimes, StepTimeSpec, Way
from core.methods.method import MethodSpec, Role
from core.methods.registry import method_order
from core.numbers import NOTHING, count_text, listed, number_text
from core.study.arms.arm import Arm
from core.study.stats.intervals import Interval, median_interval, paired_ratio
from core.training.sharing import sharing

TITLES: dict[Way, str] = {
    "plain": "Plain PyTorch",
    "alone": "This engine, one run",
    "bank": "This engine, a bank, per run",
}
"""What the three ways are called."""


STEADY = 1.5
"""Maximum of an interval's upper over its lower end at which a ratio is put into words."""


def step_time_spec(arms: Sequence[Arm], device: str) -> StepTimeSpec | None:
    """What to measure for these arms: their network, images and batch size, and banks as they were.

    Adapters that differ only in what a step's time does not depend on, such as alpha, are measured once.

    Args:
        arms: of one experiment, with results.
        device: type of the torch device to measure on.

    Returns:
        None where full fine-tuning or LoRA is missing.
    """
    full = [arm for arm in arms if arm.role is Role.REFERENCE]
    adapters = [arm for arm in arms if arm.role is Role.ADAPTER]
    if not full or not adapters:
        return None
    shapes = {arm.spec.method.shape() for arm in adapters}
    full_bank, adapter_bank = (
        max(run.result.bank for arm in own for run in arm.runs if run.result) for own in (full, adapters)
    )
    first = full[0].spec
    return StepTimeSpec(
        first.trained_network,
        first.task,
        tuple(sorted(shapes, key=lambda shape: (method_order(shape.kind), shape.size or 0, shape.targets))),
        first.optim.batch_size,
        full_bank,
        adapter_bank,
        max(len(arm.runs) for arm in (*full, *adapters)),
        device,
        first.objective.without_choices(),
    )


def step_times_table(times: StepTimes) -> pd.DataFrame:
    """One row per method and way, as text: milliseconds per step with half of the rounds around them, ratio to full."""
    columns: dict[str, list[Any]] = {"Measured in": [], "Method": [], "ms per step": [], "Half of rounds": []}
    columns["Times full, 95 %"] = []
    shared = Counter(adapter.label for adapter in times.spec.adapters)
    for way in WAYS:
        for method in (FULL, *times.spec.adapters):
            seconds = times.of(way, method)
            if not seconds:
                continue
            middle = pd.Series(seconds).quantile([0.25, 0.75]) * 1000
            columns["Measured in"].append(TITLES[way])
            layers = ""
            if method.targets and shared[method.label] > 1:
                layers = f" on {listed(list(method.targets))}"
            columns["Method"].append(f"{method.label}{layers}")
            columns["ms per step"].append(_milliseconds(median_interval(seconds).mean * 1000))
            columns["Half of rounds"].append(f"{_milliseconds(middle.iloc[0])} to {_milliseconds(middle.iloc[1])}")
            ratio = _ratio(times, way, method)
            columns["Times full, 95 %"].append(NOTHING if ratio is None else _ratio_text(ratio))
    return pd.DataFrame(columns, dtype=object)


def step_times_sentence(times: StepTimes) -> str:
    """How long a step of each adapter method takes beside one of full fine-tuning, and what makes the difference.

    Where the rounds disagree, as when another program used the processor, no ratio is named.
    """
    adapters = times.spec.adapters
    kinds = list(dict.fromkeys(type(adapter) for adapter in adapters))
    ratios = [found for way in WAYS for method in adapters if (found := _ratio(times, way, method)) is not None]
    if not all(ratio.high <= STEADY * ratio.low for ratio in ratios):  # also where there is no interval
        names = " or ".join(kind.short for kind in kinds)
        return (
            f"The rounds differ too much to say how long {names} takes beside full fine-tuning, as when other programs "
            "use the processor: measure again when the machine is idle."
        )
    first, *others = [_range_text(times, "plain", kind) for kind in kinds]
    plain = [f"a step of {kinds[0].short} takes {first}"]
    plain += [f"one of {kind.short} {told}" for kind, told in zip(kinds[1:], others, strict=True)]
    sentences = [
        f"In plain PyTorch {listed(plain)} the time of a step of full fine-tuning: an adapter still needs the whole "
        "forward pass and gradients back through the frozen layers, and saves only the gradients and updates of the "
        "weights themselves."
    ]
    if len(kinds) == 1:
        return f"{sentences[0]} On this engine it {_engine_text(times, kinds[0])}."
    sentences += [f"On this engine a step of {kind.short} {_engine_text(times, kind)}." for kind in kinds]
    return " ".join(sentences)


def _engine_text(times: StepTimes, kind: type[MethodSpec]) -> str:
    """How long a step of a method takes on this engine, alone and in banks, beginning with ``takes``."""
    shared = sharing(kind.name(), times.spec.network.kind)
    is_closed_form = shared.step != "autograd"
    text = f"takes {_range_text(times, 'alone', kind)}"
    if is_closed_form:
        text += (
            ": gradients are in closed form, and the product of the first adapted layer's frozen weight with every "
            "image is computed only once"
        )
    if told := _range_text(times, "bank", kind):
        own = min(times.spec.adapter_bank, shared.together)
        runs = f"{count_text(own)} runs against {count_text(times.spec.full_bank)} of full fine-tuning"
        reason = f", since {kind.short} runs also share products" if is_closed_form else ""
        text += f"; in banks ({runs}) it takes {told} per run{reason}"
    return text


def conditions_sentence(times: StepTimes) -> str:
    """Where and how it was measured."""
    spec, rounds = times.spec, len(times.rows[0].seconds)
    has_bank = any(row.way == "bank" for row in times.rows)
    threads = f"banks on {times.threads} threads, " if times.threads > 1 and has_bank else ""
    return (
        f"Medians of {rounds} rounds in which each was timed once, one after another, with nothing else training: "
        f"batches of {count_text(spec.batch_size)}, Adam, {threads}everything else on 1 thread; {times.machine}."
    )


def _ratio(times: StepTimes, way: Way, method: MethodSpec) -> Interval | None:
    """Ratio to full fine-tuning, measured in the same way; None for full fine-tuning itself."""
    mine, full = times.of(way, method), times.of(way, FULL)
    if way == "bank" and not full:
        full = times.of("alone", FULL)  # its runs were trained one by one
    return paired_ratio(mine, full) if method != FULL and mine and full else None


def _range_text(times: StepTimes, way: Way, kind: type[MethodSpec]) -> str:
    """The ratios of all ranks of a method, the ends of their intervals, and where 1 lies in one, so that no difference
    is shown; as in ``0.74 to 0.98 times (r = 1 to 16, 95 % intervals 0.70 to 1.03; at r = 16 no difference is shown)``.
    Empty where there are none.
    """
    own = [adapter for adapter in times.spec.adapters if type(adapter) is kind]
    found = {adapter: ratio for adapter in own if (ratio := _ratio(times, way, adapter)) is not None}
    if not found:
        return ""
    several = len(found) > 1
    values = [[number_text(value) for value in sorted(ratio.mean for ratio in found.values())][end] for end in (0, -1)]
    low, high = min(ratio.low for ratio in found.values()), max(ratio.high for ratio in found.values())
    sizes = sorted({adapter.inner_rank for adapter in found if adapter.inner_rank is not None})
    ranks = f"r = {sizes[0]}{f' to {sizes[-1]}' if len(sizes) > 1 else ''}, " if sizes and several else ""
    same = [adapter for adapter, ratio in found.items() if ratio.low <= 1 <= ratio.high]
    where = ""
    if len(same) < len(found):
        is_one_each = len(sizes) == len(found)
        of_same = listed([str(adapter.inner_rank) for adapter in same])
        where = f"at r = {of_same} " if is_one_each else f"for {len(same)} of {len(found)} settings "
    shown = f"; {where}no difference is shown" if same else ""
    ends = f"95 % interval{'s' if several else ''} {number_text(low)} to {number_text(high)}"
    return f"{' to '.join(dict.fromkeys(values))} times ({ranks}{ends}{shown})"


def _ratio_text(ratio: Interval) -> str:
    ends = f" ({number_text(ratio.low)} to {number_text(ratio.high)})" if ratio.low == ratio.low else ""
    return f"{number_text(ratio.mean)}{ends}"


def _milliseconds(value: float) -> str:
    return number_text(value, 3 if value < 1 else 2)
