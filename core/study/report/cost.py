"""The section on what settings cost: time, memory, parameters and storage."""

from __future__ import annotations

import pandas as pd

from core.numbers import bytes_text, count_text, listed
from core.results.measures import MEMORY_NOTE, storage_note, time_note
from core.study.arms.tables import mean_text, storage_sentence
from core.study.arms.trained_memory import TRAINED_MEMORY_NOTE, memory_columns
from core.study.figures.curves import mean_curves
from core.study.figures.tradeoffs import accuracy_against
from core.study.report.parts import Plot, Section, Table
from core.study.report.shown import Shown

COST = "Cost"


def cost_section(shown: Shown) -> Section:
    """The primary measure against storage, parameters and time, and every cost in a table.

    Times are drawn only where no runs share the time of a bank: shares are no times of a method.
    """
    arms, colours, customers, measure = shown.arms, shown.colours, shown.customers, shown.objective.primary
    title, is_shared = measure.title, any(arm.shares_time for arm in arms)
    trained = memory_columns(arms, shown.forecasts())
    notes = [time_note(is_shared), MEMORY_NOTE, *([TRAINED_MEMORY_NOTE] if trained else [])]
    table = pd.DataFrame(
        {
            "Setting": [arm.label for arm in arms],
            "Trainable parameters": [count_text(arm.interval("trainable_parameters").mean) for arm in arms],
            "Time per run": [mean_text(arm, "seconds") for arm in arms],
            "Memory, counted": [bytes_text(arm.interval("memory").mean) for arm in arms],
            **trained,
            "To store, 1 customer": [bytes_text(arm.bytes_for(1)) for arm in arms],
            f"To store, {customers:,} customers": [bytes_text(arm.bytes_for(customers)) for arm in arms],
        },
        dtype=object,
    )
    stored = f"{title} on the test part against bytes to store for {customers:,} customers"
    parts: list[Plot | Table] = [
        Plot("storage", accuracy_against("storage", arms, colours, customers), stored),
        Plot(
            "parameters",
            accuracy_against("trainable_parameters", arms, colours),
            f"{title} on the test part against trainable parameters",
        ),
    ]
    if not is_shared:
        over_time = f"Validation {measure.noun} over training time"
        parts.append(Plot("time", mean_curves(arms, shown.curves(), colours, shown.masked, "seconds"), over_time))
    parts.append(Table("What each setting costs", table, " ".join(notes)))
    memory = listed([f"{arm.label} {bytes_text(arm.interval('memory').mean)}" for arm in arms])
    lead = f"{storage_sentence(arms, customers)} Memory to train one run, as counted: {memory}."
    return Section(COST, f"{lead} {storage_note(arms[0].interval('checkpoint_bytes').mean)}", tuple(parts))
