"""Parts of the Fine-tune form: settings of the methods, and the options for a fair comparison."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.methods.method import Role
from core.methods.registry import method_of
from core.networks.network import NetworkSpec
from core.plan.experiment import Setting
from core.plan.rate_grid import TuneSpec
from core.run_spec import OptimSpec, default_rate, optim_for
from core.store.record import Run
from pages.shared.forms import widgets
from pages.shared.forms.adapter import adapter_form
from pages.shared.forms.optim import family_key
from pages.shared.forms.search import is_searched, own_bases_form, search_form


def settings_of(kinds: Sequence[str], controls: Sequence[str], network: NetworkSpec, optim: OptimSpec) -> list[Setting]:
    """Draw the learning rate of each method, and the settings that adapters share.

    Args:
        kinds: of the methods, full fine-tuning and those with adapters.
        controls: kinds of the controls, which are trained at their default rates.
        network: of the base.
        optim: what all are trained with, but for the learning rate.

    Returns:
        Every method, those with adapters at each chosen size, then every control.

    Raises:
        SpecError: a setting is out of bounds, or no size is chosen for methods that have one.
    """
    chosen, columns = [method_of(kind) for kind in kinds], st.columns(2, gap="medium")
    rates: dict[str, float] = {}
    for number, method in enumerate(chosen):
        title = f"Learning rate of {method.title.replace('Full', 'full')}"
        with columns[number % 2]:
            key = f"{family_key('finetune', network)}-rate-{method.kind}"
            rates[method.kind] = widgets.learning_rate(type(method), network, key, title)
    adapters = adapter_form("finetune", network, [type(method) for method in chosen if method.role is Role.ADAPTER])
    found: list[Setting] = []
    for method in chosen:
        own = adapters.get(method.kind, [method])
        found += [(optim.but(learning_rate=rates[method.kind]), each) for each in own]
    return found + [
        (optim_for(control, optim.but(learning_rate=default_rate(control, network))), control)
        for control in map(method_of, controls)
    ]


def fairness(base: Run | NetworkSpec, optim: OptimSpec) -> tuple[TuneSpec | None, bool]:
    """Draw the options that make a comparison fairer.

    Args:
        base: the network to fine-tune.
        optim: what all are trained with.

    Returns:
        How learning rates are tuned, or None; and whether each seed gets its own base.
    """
    network = base if isinstance(base, NetworkSpec) else base.spec.network
    tune = search_form("finetune", network, optim) if is_searched("finetune") else None
    return tune, own_bases_form("finetune", base)
