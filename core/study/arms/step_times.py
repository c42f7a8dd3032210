"""Measured times of a training step as a table and in words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from core.forecast.step_time import FULL, WAYS, StepTimes, Way
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.numbers import NOTHING, count_text, listed, number_text
from core.results.intervals import Interval, median_interval, paired_ratio
from core.training.sharing import sharing

TITLES: dict[Way, str] = {
    "plain": "Plain PyTorch",
    "alone": "This engine, one run",
    "bank": "This engine, a bank, per run",
}
"""What the three ways are called."""


STEADY = 1.5
"""Maximum of an interval's upper over its lower end at which a ratio is put into words."""


def step_times_table(times: StepTimes) -> pd.DataFrame:
    """One row per method and way, as text: milliseconds per step with half of the rounds around them, ratio to full."""
    columns: dict[str, list[Any]] = {"Measured in": [], "Method": [], "ms per step": [], "Half of rounds": []}
    columns["Times full, 95 %"] = []
    for way in WAYS:
        for method in (FULL, *times.spec.adapters):
            seconds = times.of(way, method)
            if not seconds:
                continue
            middle = pd.Series(seconds).quantile([0.25, 0.75]) * 1000
            columns["Measured in"].append(TITLES[way])
            columns["Method"].append(method.label)
            columns["ms per step"].append(_milliseconds(median_interval(seconds).mean * 1000))
            columns["Half of rounds"].append(f"{_milliseconds(middle.iloc[0])} to {_milliseconds(middle.iloc[1])}")
            ratio = _ratio(times, way, method)
            columns["Times full, 95 %"].append(NOTHING if ratio is None else _ratio_text(ratio))
    return pd.DataFrame(columns, dtype=object)


def step_times_sentence(times: StepTimes) -> str:
    """How long a step of LoRA takes beside one of full fine-tuning, and what makes the difference.

    Where the rounds disagree, as when another program used the processor, no ratio is named.
    """
    ratios = [found for way in WAYS for each in times.spec.adapters if (found := _ratio(times, way, each)) is not None]
    if not all(ratio.high <= STEADY * ratio.low for ratio in ratios):  # also where there is no interval
        return (
            "The rounds differ too much to say how long LoRA takes beside full fine-tuning, as when other programs use "
            "the processor: measure again when the machine is idle."
        )
    shared = sharing(LoRASpec.name(), times.spec.network.kind)
    is_closed_form = shared.step != "autograd"
    text = (
        f"In plain PyTorch a step of LoRA takes {_range_text(times, 'plain')} the time of a step of full fine-tuning: "
        "an adapter still needs the whole forward pass and gradients back through the frozen layers, and saves only "
        f"the gradients and updates of the weights themselves. On this engine it takes {_range_text(times, 'alone')}"
    )
    if is_closed_form:
        text += (
            ": gradients are in closed form, and the product of the first adapted layer's frozen weight with every "
            "image is computed only once"
        )
    if told := _range_text(times, "bank"):
        reason = ", since LoRA runs also share products" if is_closed_form else ""
        text += f"; in banks of up to {count_text(times.spec.bank)} runs it takes {told} per run{reason}"
    return f"{text}."


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


def _range_text(times: StepTimes, way: Way) -> str:
    """The ratios of all ranks, the ends of their intervals, and where 1 lies in one, so that no difference
    is shown; as in ``0.74 to 0.98 times (r = 1 to 16, 95 % intervals 0.70 to 1.03; at r = 16 no difference is shown)``.
    Empty where there are none.
    """
    found = {each.rank: ratio for each in times.spec.adapters if (ratio := _ratio(times, way, each)) is not None}
    if not found:
        return ""
    several = len(found) > 1
    values = [[number_text(value) for value in sorted(ratio.mean for ratio in found.values())][end] for end in (0, -1)]
    low, high = min(ratio.low for ratio in found.values()), max(ratio.high for ratio in found.values())
    ranks = f"r = {min(found)} to {max(found)}, " if several else ""
    same = [rank for rank, ratio in found.items() if ratio.low <= 1 <= ratio.high]
    where = f"at r = {listed([str(rank) for rank in same])} " if len(same) < len(found) else ""
    shown = f"; {where}no difference is shown" if same else ""
    ends = f"95 % interval{'s' if several else ''} {number_text(low)} to {number_text(high)}"
    return f"{' to '.join(dict.fromkeys(values))} times ({ranks}{ends}{shown})"


def _ratio_text(ratio: Interval) -> str:
    ends = f" ({number_text(ratio.low)} to {number_text(ratio.high)})" if ratio.low == ratio.low else ""
    return f"{number_text(ratio.mean)}{ends}"


def _milliseconds(value: float) -> str:
    return number_text(value, 3 if value < 1 else 2)
