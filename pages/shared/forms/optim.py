"""The form for how a network is trained, with the defaults of its family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.run_spec import BEYOND_PLAIN_ADAM, OptimSpec, default_training, head_rate_of
from pages.shared.forms import widgets

MAX_EPOCHS = 50
"""Limit of the slider for epochs."""

DECIMALS = {
    "weight_decay": [0.0, 0.001, 0.01, 0.05, 0.1],
    "warmup": [0.0, 0.03, 0.06, 0.1, 0.2],
    "clip": [0.0, 1.0, 5.0],
}
"""Values to choose from, for fields that are numbers."""

PARTS = [1, 2, 4, 8, 16, 32]
"""Numbers of parts that a batch can be computed in."""


def family_key(key: str, network: NetworkSpec) -> str:
    """Prefix of the widget keys of a form, by the family of its network: another family has other defaults."""
    return key if network.kind == FAMILIES[0].name() else f"{key}-{network.kind}"


def optim_form(key: str, network: NetworkSpec, without: str = "") -> OptimSpec:
    """Draw epochs and batch size, and what else the network's family is trained with.

    Args:
        key: prefix of the widget keys.
        network: what is trained, and whether its head is trained whole.
        without: name of a field that is not asked for, of epochs and batch size.

    Returns:
        The settings, at a learning rate that is not chosen here.

    Raises:
        SpecError: the settings contradict each other.
    """
    own, start = family_key(key, network), default_training(network)
    reasons = {name: network.reasons.get(name, "") for name in OptimSpec.model_fields}
    left, right = st.columns(2, gap="medium")
    passes, batch = start.epochs, start.batch_size
    if without != "epochs":
        with left:
            passes = widgets.whole(OptimSpec, "epochs", f"{own}-epochs", MAX_EPOCHS, start.epochs, reasons["epochs"])
    if without != "batch_size":
        with right if without != "epochs" else left:
            batch = widgets.batch_size(f"{own}-batch", start.batch_size, reasons["batch_size"])
    more = _more(own, start, reasons) if start.beyond_plain_adam else {}
    if head_rate_of(network) is not None:
        rates = [*([0.0] if network.has_head else []), *widgets.LEARNING_RATE_CHOICES]
        more["head_rate"] = _one_of("head_rate", rates, own, start, reasons) or None
    return OptimSpec.of(epochs=passes, batch_size=batch, **more)


def optim_values(optim: OptimSpec, network: NetworkSpec) -> dict[str, Any]:
    """What the widgets of :func:`optim_form` show for settings, by the ends of their keys."""
    values = {name.replace("_", "-"): getattr(optim, name) for name in BEYOND_PLAIN_ADAM}
    if optim.head_rate is not None or network.has_head:
        values["head-rate"] = optim.head_rate or 0.0
    return values | {"epochs": min(optim.epochs, MAX_EPOCHS), "batch": optim.batch_size}


def _more(key: str, start: OptimSpec, reasons: Mapping[str, str]) -> dict[str, Any]:
    """Draw the settings of the optimizer beyond Adam at constant rates on whole batches."""
    with st.expander(
        "Optimizer: decay, warm-up, clipping, accumulation, precision, recomputed activations", icon=":material/tune:"
    ):
        values = {name: _one_of(name, choices, key, start, reasons) for name, choices in DECIMALS.items()}
        values["decay"] = widgets.word(OptimSpec, "decay", f"{key}-decay", start.decay, reasons["decay"])
        values["accumulation"] = _one_of("accumulation", PARTS, key, start, reasons)
        values["precision"] = widgets.word(
            OptimSpec, "precision", f"{key}-precision", start.precision, reasons["precision"]
        )
        values["recompute"] = widgets.field(OptimSpec, "recompute", f"{key}-recompute")
    return values


def _one_of(name: str, choices: list[Any], key: str, start: OptimSpec, reasons: Mapping[str, str]) -> Any:
    own = f"{key}-{name.replace('_', '-')}"
    return widgets.one_of(OptimSpec, name, choices, own, getattr(start, name) or 0.0, reason=reasons[name])
