"""The choice of the layers that get an adapter, made from the network itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.forecast.forecast import chosen_for, target_layers
from core.methods.lora import LoRASpec
from core.networks.network import NetworkSpec
from core.spec import bounds
from core.wording.tasks import explained


def layer_form(key: str, network: NetworkSpec) -> tuple[str, ...]:
    """Draw pills for the layers, and for the blocks where a network has some; return the target modules.

    Args:
        key: prefix of the widget keys.
        network: whose layers are offered.
    """
    choices = target_layers(network)
    _forget_others(f"{key}-layers", choices.groups, choices.start)
    about = "Linear layers that get an adapter" + (": by role, or by name in every block." if choices.blocks else ".")
    names = st.pills(
        bounds(LoRASpec, "target_modules").title,
        list(choices.groups),
        selection_mode="multi",
        default=choices.start,
        key=f"{key}-layers",
        help=explained(about, choices.start, network.reasons.get("target_modules", "")),
        persist_state="session",
        wrap=True,
    )
    if not choices.blocks:
        return choices.targets(names) if names else ()
    _choose_all_of_another(f"{key}-blocks", list(choices.blocks))
    blocks = st.pills(
        "Blocks",
        list(choices.blocks),
        selection_mode="multi",
        default=list(choices.blocks),
        key=f"{key}-blocks",
        help="Blocks of the network, from the input to the output, whose layers get an adapter. What lies below the "
        "first of them is computed once per text.",
        persist_state="session",
        wrap=True,
    )
    return choices.targets(names, blocks)


def layer_values(network: NetworkSpec, targets: Sequence[str]) -> dict[str, Any]:
    """What the widgets of :func:`layer_form` show for target modules, by the ends of their keys."""
    names, blocks = chosen_for(network, targets)
    return {"layers": names, "blocks": blocks} if blocks else {"layers": names}


def _choose_all_of_another(key: str, offered: list[int]) -> None:
    """Choose all blocks where those that were offered before are of another network, which may have fewer."""
    former = st.session_state.setdefault(f"{key}-of", tuple(offered))
    if former != tuple(offered):
        st.session_state[key] = offered
        st.session_state[f"{key}-of"] = tuple(offered)
    _forget_others(key, offered, offered)


def _forget_others(key: str, known: Any, start: list[Any]) -> None:
    """Choose all again where the form still has the layers of another network."""
    if not set(st.session_state.get(key, ())) <= set(known):
        st.session_state[key] = start
