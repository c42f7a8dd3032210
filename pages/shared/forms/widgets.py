"""Form fields for specs, with labels, limits and help taken from the spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import streamlit as st

from core.answer.design import seeds_line
from core.data.task_spec import TaskSpec
from core.errors import SpecError
from core.lab import Lab
from core.methods.method import MethodSpec
from core.networks.network import NetworkSpec
from core.results.intervals import DEFAULT_SEEDS
from core.rule.claims import MAX_FORM_SEEDS
from core.run_spec import OptimSpec, default_rate, rate_reason
from core.spec import Device, Spec, bounds
from core.wording.tasks import explained
from pages.shared.ui.literal import literal

LEARNING_RATE_CHOICES = [round(digit * 10.0**power, 7) for power in (-6, -5, -4, -3, -2, -1) for digit in (1, 2, 5)]
T = TypeVar("T")

MAX_WIDTH = 1024
"""Limit of sliders for the sizes of a network."""


def offer(key: str, value: Any) -> None:
    """Let the widget with this key offer these numbers besides its own choices, for the rest of the session."""
    numbers = value if isinstance(value, list) else [value]
    st.session_state[f"{key}-offered"] = [number for number in numbers if isinstance(number, int | float)]


def fill(values: Mapping[str, Any]) -> None:
    """Choose values in widgets before they are drawn, by the keys of the widgets; see :func:`offer`.

    The session may keep under ``KEY-of`` what a choice was made for, so that it is made anew for something else; it is
    forgotten, since these values are for what is drawn next.
    """
    for key, value in values.items():
        st.session_state[key] = value
        st.session_state.pop(f"{key}-of", None)
        offer(key, value)


def offered(choices: list[Any], key: str) -> list[Any]:
    """The choices of a widget, ascending, with those of :func:`offer`."""
    more = set(st.session_state.get(f"{key}-offered", ())) - set(choices)
    return sorted([*choices, *more]) if more else choices


def whole(
    spec: type[Spec], field: str, key: str, maximum: int | None = None, value: int | None = None, reason: str = ""
) -> int:
    """Draw a slider for a whole number.

    Args:
        spec: has the field.
        field: its name.
        key: of the widget.
        maximum: lowers the spec's own limit to a range that suits a slider.
        value: chosen at first; None for the spec's default.
        reason: why that value; see :func:`core.wording.tasks.explained`.
    """
    about = bounds(spec, field)
    low, high = int(about.low or 0), int(about.high or 0)
    start = about.default if value is None else value
    return st.slider(
        about.title,
        low,
        min(high, maximum or high),
        start,
        help=explained(about.description, start, reason),
        key=key,
        persist_state="session",
    )


def one_of(
    spec: type[Spec],
    field: str,
    choices: list[Any],
    key: str,
    value: Any = None,
    title: str = "",
    reason: str = "",
) -> Any:
    """Draw a slider over fixed choices, such as a logarithmic scale, and the value that it starts at.

    Args:
        spec: has the field.
        field: its name.
        choices: the values.
        key: of the widget.
        value: chosen at first; None for the spec's default.
        title: of the widget; empty for the spec's.
        reason: why that value; see :func:`core.wording.tasks.explained`.
    """
    about = bounds(spec, field)
    start = about.default if value is None else value
    return st.select_slider(
        title or about.title,
        sorted({*offered(choices, key), start}),
        start,
        format_func=lambda choice: f"{choice:g}",
        help=explained(about.description, start, reason),
        key=key,
        persist_state="session",
    )


def choice(title: str, options: Mapping[T, str], default: T, key: str, help: str | None = None) -> T:
    """Draw a choice of one among a few, which is always made, and which the session keeps.

    Args:
        title: of the widget.
        options: what each is called, in their order.
        default: chosen at first.
        key: of the widget.
        help: tooltip of the title.
    """
    picked: T = st.segmented_control(
        title,
        list(options),
        default=default,
        format_func=options.__getitem__,
        help=help,
        key=key,
        persist_state="session",
        required=True,
    )
    return picked


def word(spec: type[Spec], field: str, key: str, value: str | None = None, reason: str = "") -> Any:
    """Draw a choice among the words of a field.

    Args:
        spec: has the field.
        field: its name.
        key: of the widget.
        value: chosen at first; None for the spec's default.
        reason: why that value; see :func:`core.wording.tasks.explained`.
    """
    about = bounds(spec, field)
    start = about.default if value is None else value
    words = {each: each for each in get_args(spec.model_fields[field].annotation)}
    return choice(about.title, words, start, key, explained(about.description, start, reason))


def learning_rate(
    method: type[MethodSpec], network: type[NetworkSpec] | NetworkSpec, key: str, title: str = ""
) -> float:
    """Draw a logarithmic slider for the learning rate, starting at the method's default for the network's family."""
    start, reason = default_rate(method, network), rate_reason(method, network)
    rate: float = one_of(OptimSpec, "learning_rate", LEARNING_RATE_CHOICES, key, start, title, reason)
    return rate


def learning_rates(method: type[MethodSpec], network: NetworkSpec, key: str) -> list[float]:
    """Draw a field for several learning rates, at first the default one; any can be typed.

    Raises:
        SpecError: none is chosen, or one is no number or out of bounds.
    """
    start, reason = default_rate(method, network), rate_reason(method, network)
    about = bounds(OptimSpec, "learning_rate")
    choices = dict.fromkeys(f"{rate:g}" for rate in sorted({*LEARNING_RATE_CHOICES, start}))
    chosen = [str(each) for each in st.session_state.get(key, ())]
    picked = st.multiselect(
        f"Learning rates of {method.title.replace('Full', 'full')}",
        [*choices, *(each for each in chosen if each not in choices)],
        [f"{start:g}"],
        key=key,
        help=f"{explained(about.description, start, reason)} Each becomes a setting; type a number to add it.",
        accept_new_options=True,
        persist_state="session",
    )
    if not picked:
        raise refuse(f"Choose at least one learning rate for {method.title}.")
    try:
        return sorted({OptimSpec.of(learning_rate=float(each)).learning_rate for each in picked})
    except SpecError as error:
        raise refuse(str(error)) from error
    except ValueError:
        raise refuse("A learning rate is a number, as in 0.001.") from None


def sizes(spec: type[NetworkSpec], key: str) -> dict[str, Any]:
    """Draw a field for each size of a network that does not follow from the dataset; return them by name."""
    asked = [name for name in spec.model_fields if name != "kind" and name not in spec.given_by_data]
    return {name: field(spec, name, f"{key}-{spec.name()}-{name.replace('_', '-')}") for name in asked}


def field(spec: type[Spec], name: str, key: str) -> Any:
    """Draw a field as its type wants it: a toggle, a slider, or a choice of words; return its value.

    A field of another type is not drawn, and has its default.
    """
    about = bounds(spec, name)
    if get_origin(spec.model_fields[name].annotation) is Literal:
        return word(spec, name, key)
    if isinstance(about.default, bool):
        return st.toggle(about.title, about.default, key=key, help=about.description, persist_state="session")
    if isinstance(about.default, int):
        return whole(spec, name, key, maximum=MAX_WIDTH)
    if isinstance(about.default, float):
        low, high = float(about.low or 0), float(about.high or 1)
        return st.slider(
            about.title, low, high, about.default, help=about.description, key=key, persist_state="session"
        )
    return about.default


def batch_size(key: str, value: int, reason: str) -> int:
    """Draw a slider for the batch size, in powers of two; ``value`` is chosen at first, for a reason or none."""
    choices = [2**power for power in range(3, 11)]
    size: int = one_of(OptimSpec, "batch_size", choices, key, value, reason=reason)
    return size


def device(lab: Lab, key: str) -> Device:
    """Draw a choice of devices."""
    return choice(
        "Device", {each: each for each in lab.devices()}, "auto", key, "auto uses the fastest device available."
    )


class ShownError(SpecError):
    """A choice that was refused beside its field already, so that nobody needs to say it again."""


def refuse(sentence: str) -> ShownError:
    """Draw an error beside the field that was drawn last; return it to be raised when the other fields are drawn."""
    st.error(literal(sentence))
    return ShownError(sentence)


def seeds(key: str, start: int = DEFAULT_SEEDS) -> range:
    """Draw a slider for the number of seeds, at first ``start``; each arm has one run per seed."""
    count = st.slider(
        "Seeds",
        1,
        MAX_FORM_SEEDS,
        start,
        key=key,
        persist_state="session",
        help="Runs per setting, each with another order of the data and other initial adapters.",
    )
    st.caption(seeds_line(count))
    return range(count)


def validation_part(key: str) -> float:
    """Draw a slider for the share of the training part that is held out for validation."""
    about = bounds(TaskSpec, "validation")
    return st.slider(
        about.title,
        about.low,
        about.high,
        about.default,
        0.01,
        format="percent",
        help=about.description,
        key=key,
        persist_state="session",
    )
