"""What runs will cost: expected time and memory, as every form shows them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.engine.launcher import Planned
from core.forecast.forecast import Basis, Forecast
from core.lab import Lab
from core.numbers import bytes_text, range_text
from core.run_spec import RunSpec
from pages.shared.experiment.current import QUERY
from pages.shared.ui.literal import literal

TICK = 1.0
"""Seconds between two looks at whether the time has been measured."""

SEE_FORM = "See the message in the form."
"""What stands in place of a cost where the form holds no runs because of an error, which it shows."""

NOT_KNOWN = "not known yet"
"""What stands in place of a time that is measured once nothing trains."""

BASES: dict[Basis, str] = {
    "measured": "From runs like these that were trained on this machine.",
    "calibrated": "From a few steps that were timed on this machine.",
    "rough": "A rough range, from runs that differ somewhat or from steps timed while this machine was busy.",
    "unknown": "At least what the matrix products take. A few steps are timed as soon as nothing trains.",
}
"""What the expected time follows from, in a sentence."""


def time_and_memory(lab: Lab, planned: Planned) -> None:
    """Draw two metrics; if the time has to be measured first, the page is drawn again once it is known.

    Args:
        lab: makes the forecast.
        planned: all runs that will be trained, bases included.

    Raises:
        LabError: a spec is not valid, or its data is missing.
    """
    forecast = lab.estimates.between(planned.at_least, planned.at_most)
    time = time_text(lab, forecast)
    st.metric(
        "Time",
        time,
        "A few steps are timed as soon as nothing trains" if time == NOT_KNOWN else None,
        "off",
        delta_arrow="off",
        help=f"Training, evaluation and files, once these runs begin. {BASES[forecast.basis]}",
    )
    st.metric(
        "Memory",
        bytes_text(forecast.memory),
        help="Forecast of the process, at most at once, for the runs that are trained side by side: weights, "
        "gradients, Adam's two moments, activations, and the products that are kept of layers that no run trains. "
        "Images are left out.",
    )
    redraw_when_measured(lab, forecast, planned)


def fit_warning(lab: Lab, specs: Sequence[RunSpec]) -> bool:
    """Draw a warning if one of these runs does not fit in memory.

    Args:
        lab: knows what fits.
        specs: all runs that will be trained.

    Returns:
        Whether all runs fit.

    Raises:
        LabError: a task's data is missing, or adapters do not fit the network.
    """
    missing = lab.estimates.shortage(specs)
    if missing is not None:
        st.warning(literal(missing), icon=":material/memory:")
    return missing is None


def time_text(lab: Lab, forecast: Forecast) -> str:
    """The expected time as a range; where it is unknown, the least that it takes, or whether it is being measured,
    which waits for all runs.
    """
    if forecast.seconds_low is None and not lab.estimates.can_measure():
        return NOT_KNOWN
    return range_text(forecast.seconds_low, forecast.seconds_high)


def redraw_when_measured(lab: Lab, forecast: Forecast, planned: Planned) -> None:
    """Draw the page again once the time of these runs is known, if the forecast does not have it yet.

    While something trains nothing is measured, and the sidebar draws the page again at its end.
    """
    if forecast.basis == "unknown" and lab.estimates.can_measure():
        st.fragment(_poll, run_every=TICK)(lab, planned, st.query_params.get(QUERY), [])


def _poll(lab: Lab, planned: Planned, experiment: str | None, looked: list[bool]) -> None:
    looked.append(True)
    if len(looked) == 1:
        return  # the whole page is being drawn: to begin again here would lose a press on a button further down
    if st.query_params.get(QUERY) != experiment:
        return  # asked before the browser knew what a press has opened since: to begin again would open what was before
    if not lab.estimates.can_measure():
        return  # to ask for all runs again each second would cost the training what it needs
    if lab.estimates.between(planned.at_least, planned.at_most).basis != "unknown":
        st.rerun()
