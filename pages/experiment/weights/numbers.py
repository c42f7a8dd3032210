"""Numbers of weights; slow ones are asked for through :func:`pages.shared.experiment.measured.measured`."""

from __future__ import annotations

import streamlit as st

from core.forecast.forecast import plan
from core.lab import Lab
from core.methods.full import FullSpec
from core.numbers import count_text
from core.objectives.classification import ACCURACY
from core.store.record import Run
from core.study.weights.change import WeightChange, read_change
from core.study.weights.curves import CutCurve, StrengthCurve, cut_curves, strength_curve
from core.study.weights.scores import PartName, Scores, evaluator_for
from core.study.weights.spectrum import Array, Spectrum, singular_values
from core.study.weights.subspace import MAX_DIRECTIONS, Side, directions, drawn_alike
from pages.experiment.weights.focus import Focus

MAX_AT_ONCE = 2_000_000
"""Parameters up to which a network is evaluated on all examples without being asked."""

ALL = "All"


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs={Run: lambda run: (run.id, run.ended)})
def change_of(_lab: Lab, run: Run) -> WeightChange:
    """The weight change of a run, read from its files; the latest ones are kept, since networks are large."""
    return read_change(_lab, run)


def spectrum_of(lab: Lab, run: Run, layer: str) -> Spectrum:
    """The spectrum of a layer's ΔW."""
    return change_of(lab, run).spectrum(layer)


def values_before(lab: Lab, run: Run, layer: str) -> Array:
    """Singular values of W before training."""
    return singular_values(change_of(lab, run).weight(layer))


def directions_of(lab: Lab, run: Run, layer: str, side: Side) -> Array:
    """The strongest directions of a layer's ΔW, (d, k)."""
    return directions(change_of(lab, run).delta(layer), side, MAX_DIRECTIONS)


def began_alike(lab: Lab, first: Run, second: Run, layer: str) -> bool:
    """Whether two runs of an experiment drew A of a layer from the same random numbers."""
    return drawn_alike(change_of(lab, first).base, first.spec, second.spec, layer)


def elsewhere_of(lab: Lab, run: Run) -> tuple[bool, str]:
    """Whether training changed more than linear layers and a new head; and a sentence on statistics among that."""
    change = change_of(lab, run)
    return bool(change.changed_elsewhere), change.elsewhere_text


def cuts_of(lab: Lab, run: Run, limit: int | None) -> tuple[CutCurve, CutCurve]:
    """Scores of a run with its ΔW cut to each rank, on the validation part and on the test part."""
    validation, test = (evaluator_for(lab, run, part, limit) for part in ("validation", "test"))
    first, second = cut_curves(change_of(lab, run), [validation, test])
    return first, second


def scores_of(lab: Lab, run: Run, part: PartName, limit: int | None) -> Scores:
    """Scores of a run as it was trained."""
    return evaluator_for(lab, run, part, limit).of_networks([change_of(lab, run).plain])


def strengths_of(lab: Lab, run: Run, part: PartName, limit: int | None, step: float) -> StrengthCurve:
    """Scores of a run with its ΔW rescaled."""
    return strength_curve(change_of(lab, run), evaluator_for(lab, run, part, limit), step)


def is_quick(focus: Focus) -> bool:
    """Whether the network is small enough to be evaluated many times while a page waits."""
    return plan(focus.run.spec.network, FullSpec()).parameters <= MAX_AT_ONCE


def choose_limit(focus: Focus) -> tuple[bool, int | None]:
    """Draw a choice of how many examples to evaluate on, if the network is large; at first none is evaluated.

    Returns:
        Whether to evaluate; and the maximum number of examples of each part, None for all.
    """
    if is_quick(focus):
        return True, None
    known = " With 100 examples, an accuracy near 80 % is known to about 8 points, with 400 to about 4."
    chosen = st.segmented_control(
        "Examples to evaluate on",
        ("100", "400", ALL),
        key="examples",
        bind="query-params",
        persist_state="session",
        help=f"Drawn at random from each part, always the same ones.{known if focus.measure == ACCURACY else ''}",
    )
    size = count_text(plan(focus.run.spec.network, FullSpec()).parameters)
    if chosen is None:
        st.caption(
            f"A network of {size} parameters takes seconds for each hundred examples, and this needs many "
            "evaluations: choose how many examples to use. Nothing is evaluated until then."
        )
        return False, None
    if chosen == ALL:
        return True, None
    st.caption(f"All {focus.measure.values_noun} that are measured here are on {chosen} examples of each part.")
    return True, int(chosen)
