"""What the runs of an experiment cost, by arm, and warnings about how they are trained."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import streamlit as st

from core.engine.cost import frozen_sentence, plan
from core.engine.experiment import Setting
from core.engine.forecast import Forecast
from core.engine.launcher import Planned
from core.lab import Lab
from core.methods.method import Role
from core.run_spec import RunSpec
from core.wording.numbers import bytes_text, count_text, range_text, unbroken
from pages.shared.estimate import time_and_memory
from pages.shared.literal import literal


def price_table(lab: Lab, planned: Planned) -> None:
    """Show trainable parameters, time and memory of each method, rank and control, and the totals.

    Args:
        lab: forecasts the runs.
        planned: the runs, and the bases that are trained before them.

    Raises:
        LabError: a spec is invalid.
    """
    specs, bases = planned.runs, [spec for _, spec in planned.bases]
    seeds = {spec.seed for spec in specs}
    ways: dict[str, set[str]] = {}
    rates: dict[str, set[float]] = {}
    first: dict[str, RunSpec] = {}
    for spec in specs:
        rates.setdefault(spec.label, set()).add(spec.optim.learning_rate)
        ways.setdefault(spec.label, set()).add(spec.arm)
        first.setdefault(spec.label, spec)
    times: dict[str, Forecast] = {}
    for spec, forecast in zip(specs, lab.estimates.each(specs), strict=True):
        times.setdefault(spec.label, forecast)
    memory: dict[str, int] = {}
    for spec, alone in zip(specs, lab.estimates.alone(specs), strict=True):
        memory[spec.label] = max(alone, memory.get(spec.label, 0))
    table = {
        "Setting": list(first),
        "Rates": [f"{len(ways[label])} from {min(rates[label]):g} to {max(rates[label]):g}" for label in first],
        "Trainable": [count_text(plan(spec.network, spec.method).trainable_parameters) for spec in first.values()],
        "Time per run": [unbroken(range_text(time.seconds_low, time.seconds_high)) for time in times.values()],
        "Memory alone": [unbroken(bytes_text(alone)) for alone in memory.values()],
    }
    if len(specs) == len(first) * len(seeds):
        del table["Rates"]
    st.table(
        pd.DataFrame(table),
        border="horizontal",
        hide_index=True,
        alt="Trainable parameters, time and memory of each setting",
    )
    for label, spec in first.items():
        if frozen := frozen_sentence(spec.network, spec.method):
            st.caption(f"{literal(label)}: {frozen}")
    with st.grid(2, min_column_width=130):
        arms = sum(map(len, ways.values()))
        st.metric(
            "Runs",
            f"{len(specs)}",
            help=f"{arms} settings with {len(seeds)} seed{'' if len(seeds) == 1 else 's'} each.",
        )
        if bases or specs[0].own_base:
            many = "One for each seed; existing" if specs[0].own_base else "Existing"
            st.metric("Bases to train", f"{len(bases)}", help=f"{many} bases are reused.")
        st.metric("Steps per run", count_text(max(lab.estimates.steps(spec) for spec in first.values())))
        time_and_memory(lab, [*bases, *specs])


def rate_warning(settings: Iterable[Setting]) -> None:
    """Warn if full fine-tuning and adapters are trained at one learning rate."""
    compared = [(optim, method.role) for optim, method in settings if method.role is not Role.CONTROL]
    tried = {optim.learning_rate for optim, _ in compared}
    if {Role.REFERENCE, Role.ADAPTER} <= {role for _, role in compared} and len(tried) == 1:
        st.warning("One learning rate for both usually handicaps LoRA, whose best rate is often several times higher.")
