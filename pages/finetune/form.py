"""Parts of the Fine-tune form: the options for a fair comparison, and the estimated cost."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.engine.cost import frozen_sentence, plan
from core.engine.experiment import Setting
from core.engine.forecast import Forecast
from core.engine.rate_grid import TuneSpec
from core.lab import Lab
from core.methods.registry import adapter_methods, method_of
from core.networks.network import NetworkSpec
from core.run_spec import OptimSpec, RunSpec, default_rate
from core.store.record import Run
from core.wording.numbers import bytes_text, count_text, range_text, unbroken
from pages.shared import forms
from pages.shared.estimate import time_and_memory
from pages.shared.literal import literal
from pages.shared.optim_form import family_key

MUCH_SPACE = 500_000_000
"""Bytes of files from which on a form asks which networks are to be kept."""


def settings_of(kinds: Sequence[str], controls: Sequence[str], network: NetworkSpec, optim: OptimSpec) -> list[Setting]:
    """Draw the learning rate of each method, and the settings that adapters share.

    Args:
        kinds: of the methods, full fine-tuning and those with adapters.
        controls: kinds of the controls, which are trained at their default rates.
        network: of the base.
        optim: what all are trained with, but for the learning rate.

    Returns:
        Every method, those with adapters at each chosen rank, then every control.

    Raises:
        SpecError: a setting is out of bounds.
    """
    chosen, adapters, columns = [method_of(kind) for kind in kinds], adapter_methods(), st.columns(2, gap="medium")
    rates: dict[str, float] = {}
    for number, method in enumerate(chosen):
        title = f"Learning rate of {method.title.replace('Full', 'full')}"
        with columns[number % 2]:
            key = f"{family_key('finetune', network)}-rate-{method.kind}"
            rates[method.kind] = forms.learning_rate(type(method), network, key, title)
    shared = forms.adapters("finetune", network) if adapters.keys() & rates.keys() else []
    found: list[Setting] = []
    for method in chosen:
        own = [adapters[method.kind].of(**each) for each in shared] if method.kind in adapters else [method]
        found += [(optim.but(learning_rate=rates[method.kind]), each) for each in own]
    return found + [
        (optim.but(learning_rate=default_rate(control, network)), control) for control in map(method_of, controls)
    ]


def fairness(base: Run | NetworkSpec) -> tuple[TuneSpec | None, bool]:
    """Draw the two options that make a comparison fairer.

    Args:
        base: the network to fine-tune.

    Returns:
        How learning rates are tuned, or None; and whether each seed gets its own base.
    """
    tune = None
    if st.toggle(
        "Tune learning rates",
        key="finetune-tune",
        persist_state="session",
        help="Trains every method, rank and control at the learning rates nearest its own on one grid "
        "(…, 0.001, 0.00316, 0.01, …), with every seed. Validation accuracy picks the best rate of each, and these are "
        "compared.",
    ):
        tune = TuneSpec.of(rates=forms.whole(TuneSpec, "rates", "finetune-tune-rates"))
    if isinstance(base, NetworkSpec):
        return tune, False
    own_bases = st.toggle(
        "A base for each seed",
        key="finetune-own-bases",
        persist_state="session",
        help=f"Pretrains a base like {base.id} with every seed that has none yet, and starts the runs of each seed "
        "from its own base. The intervals then cover the randomness of both pretraining and fine-tuning.",
    )
    return tune, own_bases


def keep_networks(lab: Lab, specs: Sequence[RunSpec]) -> bool:
    """Where whole networks take much space, draw the choice to keep only some; return whether only the chosen ones.

    Args:
        lab: knows how much runs store.
        specs: of all runs.
    """
    size = lab.usage.expected(specs)
    if size < MUCH_SPACE:
        return False
    return st.toggle(
        f"Keep only the networks of chosen settings, of {bytes_text(size)} in all",
        key="finetune-trim",
        persist_state="session",
        help="A run that trains the whole network stores it. Once all runs have ended, the networks of settings that "
        "validation did not choose are deleted; their results, curves and predictions stay, and so do all adapters.",
    )


def price_table(lab: Lab, specs: Sequence[RunSpec], seeds: Sequence[int], own_base: Run | None) -> None:
    """Show trainable parameters and time of each method, rank and control, and the totals.

    Args:
        lab: forecasts the runs.
        specs: of all runs.
        seeds: of each arm.
        own_base: model for the base of each seed; None if all runs start from one base.

    Raises:
        LabError: a spec is invalid.
    """
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
    table = {
        "Arm": list(first),
        "Rates": [f"{len(ways[label])} from {min(rates[label]):g} to {max(rates[label]):g}" for label in first],
        "Trainable": [count_text(plan(spec.network, spec.method).trainable_parameters) for spec in first.values()],
        "Time per run": [unbroken(range_text(time.seconds_low, time.seconds_high)) for time in times.values()],
    }
    if len(specs) == len(first) * len(seeds):
        del table["Rates"]
    st.table(
        pd.DataFrame(table),
        border="horizontal",
        hide_index=True,
        alt="Trainable parameters and time of each arm",
    )
    for label, spec in first.items():
        if frozen := frozen_sentence(spec.network, spec.method):
            st.caption(f"{literal(label)}: {frozen}")
    bases: list[RunSpec] = []
    if own_base is not None:
        own = [own_base.spec.but(seed=seed) for seed in seeds]
        bases = [spec for spec in own if lab.find_base(spec) is None]
    with st.grid(2, min_column_width=130):
        arms = sum(map(len, ways.values()))
        st.metric(
            "Runs", f"{len(specs)}", help=f"{arms} arms with {len(seeds)} seed{'' if len(seeds) == 1 else 's'} each."
        )
        if own_base is not None:
            st.metric("Bases to train", f"{len(bases)}", help="One for each seed; existing bases are reused.")
        st.metric("Steps per run", count_text(max(lab.estimates.steps(spec) for spec in first.values())))
        time_and_memory(lab, [*bases, *specs])
