"""What the runs of an experiment cost, by arm, and warnings about how they are trained."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import pandas as pd
import streamlit as st

from core.engine.launcher import Planned
from core.forecast.forecast import Forecast, frozen_sentence, plan
from core.forecast.products import faster_precision
from core.lab import Lab
from core.numbers import bytes_text, count_text, counted, listed, unbroken
from core.plan.experiment import Recipe
from core.plan.search import FIRST_POINTS, MOST, SEARCH_SEEDS
from core.results.grid import LONGER
from core.run_spec import RunSpec
from core.study.arms.fairness import RATE_SHARED, is_rate_shared
from pages.shared.experiment.estimate import time_and_memory, time_text
from pages.shared.ui.literal import literal


def searched_sentence(planned: Planned) -> str:
    """How rates are found, and for how many epochs, before the start; see :mod:`core.plan.search`; empty without a
    search.
    """
    tune = planned.plan.configuration.tune if planned.plan is not None else None
    if tune is None:
        return ""
    first = sorted({spec.optim.epochs for spec in planned.runs})
    most = max(spec.optim.epochs for spec in (*planned.runs, *planned.most))
    low = f"{count_text(first[0])} to " if first[0] < first[-1] else ""
    found = (
        f"Learning rates are searched for, in runs of {low}{counted(first[-1], 'epoch')}: {FIRST_POINTS} around the "
        f"method's own with {SEARCH_SEEDS} seeds, more while the best is at an end, {MOST} at most; then the "
        "best and its neighbors with all seeds."
    )
    longer = f" {LONGER} times the epochs are tried while a method gets better, {most} at most"
    shorter = "a third of them while that is as good"
    both = f"{longer}, and {shorter}." if most > first[-1] else " A third of the epochs is tried while that is as good."
    return found + (both if planned.plan is not None and planned.plan.finds_epochs else "")


def price_table(lab: Lab, planned: Planned) -> None:
    """Show trainable parameters, time and memory of each method, rank and control, and the totals.

    Args:
        lab: forecasts the runs.
        planned: the runs, and the bases that are trained before them.

    Raises:
        LabError: a spec is invalid.
    """
    specs, bases = planned.runs, planned.bases
    seeds = {spec.seed for spec in specs}
    ways: dict[str, set[str]] = {}
    rates: dict[str, set[float]] = {}
    first: dict[str, RunSpec] = {}
    for spec in specs:
        rates.setdefault(spec.label, set()).add(spec.optim.learning_rate)
        ways.setdefault(spec.label, set()).add(spec.arm)
        first.setdefault(spec.label, spec)
    times: dict[str, Forecast] = {}
    for spec, forecast in zip(specs, lab.estimates.each(specs, training=False), strict=True):
        times.setdefault(spec.label, forecast)
    memory: dict[str, int] = {}
    for spec, alone in zip(specs, lab.estimates.alone(specs), strict=True):
        memory[spec.label] = max(alone, memory.get(spec.label, 0))
    table = {
        "Setting": list(first),
        "Trainable": [
            count_text(plan(spec.trained_network, spec.method).trainable_parameters) for spec in first.values()
        ],
        "Time per run": [unbroken(time_text(lab, time)) for time in times.values()],
        "Memory alone": [unbroken(bytes_text(alone)) for alone in memory.values()],
    }
    st.table(
        pd.DataFrame(table),
        border="horizontal",
        hide_index=True,
        alt="Trainable parameters, time and memory of each setting",
    )
    if planned.plan is not None:
        st.caption(searched_sentence(planned))
    elif len(specs) > len(first) * len(seeds):
        # Not in the table, whose last column would not be seen beside a form.
        st.caption(literal(_rates_sentence({label: (len(ways[label]), set(found)) for label, found in rates.items()})))
    for label, spec in first.items():
        if frozen := frozen_sentence(spec.trained_network, spec.method):
            st.caption(f"{literal(label)}: {frozen}")
    with st.grid(2, min_column_width=130):
        st.metric("Runs", count_of(planned), help=_count_help(planned, sum(map(len, ways.values())), len(seeds)))
        if bases or specs[0].own_base:
            many = "One for each seed; existing" if specs[0].own_base else "Existing"
            st.metric("Bases to train", f"{len(bases)}", help=f"{many} bases are reused.")
        st.metric("Steps per run", count_text(max(lab.estimates.steps(spec) for spec in first.values())))
        time_and_memory(lab, planned)
    if faster := faster_precision(specs[0]):
        (st.warning if "precision" in specs[0].optim.beyond_plain_adam else st.caption)(faster)


def count_of(planned: Planned) -> str:
    """How many runs are trained, without bases, as in ``16`` or ``31 to 67``."""
    low, high = (len(specs) - len(planned.bases) for specs in (planned.at_least, planned.at_most))
    return f"{low}" if low == high else f"{low} to {high}"


def _count_help(planned: Planned, arms: int, seeds: int) -> str:
    if planned.plan is None:
        return f"{arms} settings with {counted(seeds, 'seed')} each."
    return f"{len(planned.runs)} at first; how many follow depends on where the best learning rates lie."


def _rates_sentence(tried: Mapping[str, tuple[int, Collection[float]]]) -> str:
    """What is tried of each setting, as in ``Learning rates: 5 from 0.0001 to 0.01 for Full.``; equal ones together."""
    alike: dict[str, list[str]] = {}
    for label, (count, rates) in tried.items():
        low, high = min(rates), max(rates)
        words = f"{len(rates)} from {low:g} to {high:g}" if low < high else f"{low:g}"
        settings = f" in {count} settings" if count > len(rates) else ""
        alike.setdefault(f"{words}{settings}", []).append(label)
    return f"Learning rates: {'; '.join(f'{words} for {listed(labels)}' for words, labels in alike.items())}."


def rate_warning(settings: Iterable[Recipe]) -> None:
    """Warn if full fine-tuning and adapters are trained at one learning rate."""
    if is_rate_shared((optim.learning_rate, method.role) for optim, method in settings):
        st.warning(RATE_SHARED)
