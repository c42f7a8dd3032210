"""The choice of the network to pretrain."""

from __future__ import annotations

import streamlit as st

from core.data.dataset import LANGUAGE
from core.data.sources.source import DatasetInfo
from core.lab import Lab
from core.networks.network import NetworkSpec
from core.networks.registry import families_for
from pages.shared.forms import widgets
from pages.shared.forms.datasets import follow
from pages.shared.ui.links import link
from pages.shared.ui.pickers import distinct, imported_for

QUERY = "network"
"""URL parameter of links that choose an imported network, by its digest."""


def network_form(lab: Lab, info: DatasetInfo, key: str) -> NetworkSpec | None:
    """Draw a choice among the networks that can learn a dataset; return None, and say why, where there is none.

    Args:
        lab: has the networks that were imported.
        info: the dataset.
        key: prefix of the widget keys.

    Raises:
        SpecError: a size is out of bounds.
    """
    families = {each.name(): each for each in families_for(info.kind) if not each.is_imported}
    if not families:
        return imported_form(lab, info, key)
    family = next(iter(families.values()))
    if len(families) > 1:
        titles = {kind: each.title.capitalize() for kind, each in families.items()}
        family = families[widgets.choice("Network", titles, family.name(), f"{key}-family")]
    with st.expander("Sizes of the network", icon=":material/account_tree:"):
        return family.of(**widgets.sizes(family, key), num_classes=info.num_outputs)


def default_network(lab: Lab, info: DatasetInfo, key: str, direct: bool) -> NetworkSpec | None:
    """The network of default size that learns a dataset; where none is made here, draw a choice of imported ones.

    Args:
        lab: has the networks that were imported.
        info: the dataset.
        key: prefix of the widget keys.
        direct: whether the network is fine-tuned as it was imported.
    """
    made = [family for family in families_for(info.kind) if not family.is_imported]
    return imported_form(lab, info, key) if direct or not made else made[0].of(num_classes=info.num_outputs)


def imported_form(lab: Lab, info: DatasetInfo, key: str) -> NetworkSpec | None:
    """Draw a choice among the networks that were imported, or a link to where they are; see :func:`network_form`."""
    continues = info.kind == LANGUAGE
    cards = {card.digest: card for card in imported_for(lab, info)}
    if not cards:
        st.info(
            "Classes of texts are learned by a network that you import; there is none yet, and language needs none.",
            icon=":material/info:",
        )
        link("networks", "Import a network")
        return None
    names = distinct({digest: card.title for digest, card in cards.items()})
    if wanted := st.query_params.get(QUERY):
        del st.query_params[QUERY]  # so that another choice stays
        if wanted in cards:
            st.session_state[f"{key}-network"] = wanted
        else:
            st.warning("That network is not here; it may have been deleted.", icon=":material/link_off:")
    follow(f"{key}-network", next(iter(cards)))
    digest = st.selectbox(
        "Network",
        list(cards),
        format_func=names.__getitem__,
        key=f"{key}-network",
        persist_state="session",
        help="Training starts from its weights." + ("" if continues else " The classifier on top of it is new."),
    )
    return lab.networks.spec(digest, info.num_outputs, info.kind)
