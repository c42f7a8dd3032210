"""Fields of methods that train adapters: each drawn once for all methods that have it, from its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.methods.method import MethodSpec, OwnField, TimesSize, own_fields, with_values
from core.methods.roles import ALL
from core.networks.network import NetworkSpec
from core.numbers import capitalized, listed
from core.plan.defaults import SIZES, is_quick_first
from core.run_spec import RunSpec
from core.wording.tasks import explained
from pages.shared.forms import widgets
from pages.shared.forms.layers import layer_form, layer_values

RANK_CHOICES = [1, 2, 4, 8, 16, 32, 64, 128]
ALPHA_CHOICES = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
FOLLOWS = {"rank": TimesSize(1), "2 × rank": TimesSize(2)}
"""Choices of a strength that follow the size."""


def adapter_form(
    key: str, network: NetworkSpec, methods: Sequence[type[MethodSpec]], has_layers: bool = True
) -> dict[str, list[MethodSpec]]:
    """Draw the fields of adapter methods; return each method, by its kind, once for each of its sizes and strengths.

    Args:
        key: prefix of the widget keys.
        network: whose layers are offered.
        methods: what is asked for; without any, nothing is drawn.
        has_layers: whether layers are asked for; else adapters are on all of them.

    Raises:
        SpecError: a setting is out of bounds, or nothing is chosen where several values can be.
    """
    if not methods:
        return {}
    fields, values = own_fields(methods), dict[str, Any]()
    refused: list[widgets.ShownError] = []
    for field in (field for field in fields if field.is_size or field.is_strength):
        own = f"{key}-{field.key}"
        values[field.key] = _sizes(own, field, network) if field.is_size else _strengths(own, field, network)
        if not values[field.key]:
            names = listed([method.title for method in field.methods])
            refused.append(widgets.refuse(f"Choose at least one {field.about.title.lower()} for {names}."))
    others = [field for field in fields if field.key not in values]
    with st.expander(expander_title(others, *(["layers"] if has_layers else [])), icon=":material/tune:"):
        values |= draw_all(key, others)
        targets = layer_form(key, network) if has_layers else (ALL,)
        if not targets:
            refused.append(widgets.refuse("Choose at least one layer."))
    if refused:
        raise refused[0]
    made = {method.name(): with_values(method, fields, values, targets) for method in methods}
    # An alpha may be one that follows the rank, too.
    return {kind: list(dict.fromkeys(settings)) for kind, settings in made.items()}


def draw_all(key: str, fields: Sequence[OwnField]) -> dict[str, Any]:
    """Draw fields one below the other; return their values by :attr:`core.methods.method.OwnField.key`."""
    return {field.key: widgets.field(field.methods[0], field.name, f"{key}-{field.key}") for field in fields}


def choices_of(field: OwnField) -> list[Any]:
    """Values of a size or a strength that forms offer: powers of two within its limits."""
    about, choices = field.about, RANK_CHOICES if isinstance(field.about.default, int) else ALPHA_CHOICES
    low = -float("inf") if about.low is None else about.low
    high = float("inf") if about.high is None else about.high
    return [choice for choice in choices if low <= choice <= high]


def sizes_at_first(field: OwnField, network: NetworkSpec | None = None) -> list[Any]:
    """Values of a size that forms begin with: the usual ones, or where none of them can be, the default.

    Args:
        field: the size.
        network: whose quick comparison the form begins with, if it has one; None to leave that out.
    """
    choices, usual = choices_of(field), SIZES
    if network is not None and is_quick_first(network):
        usual = (network.quick.rank,)
    return [size for size in usual if size in choices] or [field.about.default]


def field_values(specs: Sequence[RunSpec]) -> dict[str, Any]:
    """What the widgets of :func:`adapter_form` show for runs with adapters, by the ends of their keys."""
    if not specs:
        return {}
    values: dict[str, Any] = {}
    for field in own_fields({type(spec.method): None for spec in specs}):
        methods = [spec.method for spec in specs if type(spec.method) in field.methods]
        own = [getattr(method, field.name) for method in methods]
        if field.is_strength:
            values[field.key] = _following(methods) or sorted(set(own))
        else:
            values[field.key] = sorted(set(own)) if field.is_size else own[0]
    return values | layer_values(specs[0].network, specs[0].method.targets)


def _following(methods: Sequence[MethodSpec]) -> list[str]:
    """How the strength of methods with several sizes follows their size; empty where it does not."""
    for name, times in FOLLOWS.items():
        if len({method.size for method in methods}) > 1 and all(
            method.strength == times.factor * (method.size or 0) for method in methods
        ):
            return [name]
    return []


def _strengths(key: str, field: OwnField, network: NetworkSpec) -> list[float | TimesSize]:
    """Pills for the values of a strength, numbers and those that follow the size."""
    about = field.about
    follows = FOLLOWS if field.methods[0].size_field else {}
    picked: list[float | str] = st.pills(
        about.title,
        [*widgets.offered(choices_of(field), key), *follows],
        selection_mode="multi",
        default=[about.default],
        format_func=lambda choice: choice if isinstance(choice, str) else f"{choice:g}",
        key=key,
        help=explained(
            f"{about.description} Each selected {about.title.lower()} becomes a setting.",
            about.default,
            network.reasons.get(field.name, ""),
        ),
        persist_state="session",
        wrap=True,
    )
    numbers = sorted(each for each in picked if not isinstance(each, str))
    return [*numbers, *(times for name, times in follows.items() if name in picked)]


def _sizes(key: str, field: OwnField, network: NetworkSpec) -> list[Any]:
    about, start = field.about, sizes_at_first(field, network)
    picked: list[Any] = st.pills(
        about.title,
        widgets.offered(choices_of(field), key),
        selection_mode="multi",
        default=start,
        key=key,
        help=explained(
            f"{about.description} Each selected {about.title.lower()} becomes a setting.",
            start,
            network.reasons.get(field.name, ""),
        ),
        persist_state="session",
        wrap=True,
    )
    return sorted(picked)


def expander_title(fields: Sequence[OwnField], *others: str) -> str:
    """What an expander is called, as in ``Scaling, initialization and layers``."""
    words = [*(field.about.title.split(" of ")[0].lower() for field in fields), *others]
    return capitalized(listed(words))
