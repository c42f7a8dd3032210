"""How a form compares fairly: whether learning rates are searched for, and whether each seed has a base of its own."""

from __future__ import annotations

import streamlit as st

from core.networks.network import NetworkSpec
from core.plan.defaults import has_own_bases, is_quick_first
from core.plan.search import TuneSpec, default_search
from core.results.grid import LONGER
from core.run_spec import OptimSpec
from core.spec import bounds
from core.store.record import Run
from pages.shared.forms import widgets
from pages.shared.forms.optim import family_key


def is_searched(key: str, start: bool = True) -> bool:
    """Draw whether learning rates are searched for, at first ``start``. Args: key: prefix of the form's widget keys."""
    return st.toggle(
        "Find the learning rates",
        value=start,
        key=f"{key}-found",
        persist_state="session",
        help="Finds the learning rate of every method, rank and control on one grid (…, 0.001, 0.00316, 0.01, …). "
        "Rates are tried with a few seeds until the best lies between two others; it and its neighbors are then "
        "trained with all seeds. The number of epochs is found alike. The validation part picks the best of each, and "
        "these are compared. Off: all are "
        "trained at the rates that you choose, in a fraction of the runs.",
    )


def search_form(key: str, network: NetworkSpec, optim: OptimSpec) -> TuneSpec:
    """Draw how long a search may train.

    Args:
        key: prefix of the form's widget keys.
        network: which one is fine-tuned.
        optim: how long it trains at first.
    """
    usual = default_search(network)
    about = bounds(TuneSpec, "longer")
    most = bounds(OptimSpec, "epochs").high or optim.epochs
    choices = [times for times in range(int(about.high or 0) + 1) if optim.epochs * LONGER**times <= most]
    words = {times: f"{optim.epochs * LONGER**times} epochs" if times else "No" for times in choices}
    own = f"{family_key(key, network)}-longer"
    return usual.but(longer=widgets.choice(about.title, words, min(usual.longer, choices[-1]), own, about.description))


def own_bases_form(key: str, base: Run | NetworkSpec) -> bool:
    """Draw whether each seed has a base of its own; a network that was imported is one for all.

    Args:
        key: prefix of the form's widget keys.
        base: the network to fine-tune.
    """
    return isinstance(base, Run) and st.toggle(
        "A base for each seed",
        value=has_own_bases(base.spec.network) and not is_quick_first(base.spec.network),
        key=f"{family_key(key, base.spec.network)}-own-bases",
        persist_state="session",
        help=f"Pretrains a base like {base.id} with every seed that has none yet, and starts the runs of each seed "
        "from its own base. The intervals then cover the randomness of both pretraining and fine-tuning.",
    )
