"""Alpha: a slider for the strength of ΔW."""

from __future__ import annotations

import streamlit as st

from core.numbers import number_text
from core.study.weights.curves import COARSE_STEP, MAX_STRENGTH, STRENGTH_STEP, StrengthCurve
from core.study.weights.figures import scores_over_strength
from core.study.weights.scores import Scores
from pages.experiment.weights.focus import Focus
from pages.experiment.weights.numbers import choose_limit, elsewhere_of, is_quick, strengths_of
from pages.shared.experiment.measured import measured
from pages.shared.ui.literal import literal
from pages.shared.ui.live_view import live_chart

CHART_HEIGHT = 380


def alpha_part(focus: Focus) -> None:
    """Draw the slider. All is measured here, because errors raised in a fragment would not reach the page."""
    if elsewhere := measured(elsewhere_of, focus.lab, focus.run)[1]:
        st.info(literal(f"{elsewhere} Choose a run with adapters above."), icon=":material/info:")
        return
    ready, limit = choose_limit(focus)
    if not ready:
        return
    step = STRENGTH_STEP if is_quick(focus) else COARSE_STEP
    tested, validated = (
        measured(strengths_of, focus.lab, focus.run, part, limit, step) for part in ("test", "validation")
    )
    head = " A new head keeps its trained weights." if focus.has_new_head else ""
    head += " The change of the head, which is trained whole, is scaled as well." if focus.run.spec.head else ""
    alpha_slider(focus, tested, validated.best, step)
    st.expander("Formulas", icon=":material/function:").markdown(
        r"In $W + t\,\Delta W$, $t = 0$ gives the base and $t = 1$ the trained network. For LoRA, scaling $\Delta W$ "
        r"by $t$ is the same as scaling alpha by $t$, since $\Delta W = s\,(AB)^\top$ and $s$ is proportional to "
        f"alpha. Nothing is retrained, so the result is not what training with that alpha would give.{head}"
    )
    st.caption(
        f"{focus.name}; {focus.measure.values_noun} on the test part{focus.among_own}. To *choose* a strength, use the "
        f"one with the best validation {focus.measure.noun}. On scaling ΔW, see Hu et al., arXiv 2106.09685, section "
        "4.1, and for full fine-tuning Ilharco et al., arXiv 2212.04089."
    )


@st.fragment
def alpha_slider(focus: Focus, curve: StrengthCurve, best: float, step: float) -> None:
    """Draw a slider for the strength of ΔW; the scores at all its positions are computed beforehand."""
    method = focus.run.spec.method
    scales = method.is_low_rank and not focus.run.spec.head  # which alpha does not scale
    strength = st.slider(
        "Alpha relative to the trained value" if scales else "Strength of ΔW",
        0.0,
        MAX_STRENGTH,
        1.0,
        step,
        format="%.1f ×",
        key="strength",
        bind="query-params",
        help="1.0 × is as trained, 0.0 × is the base.",
    )
    place, trained = curve.place(strength), curve.place(1.0)
    metrics(curve.scores, place, trained)
    words = f"Best on the validation part of the target: **{number_text(best, 1)} ×**."
    if scales:
        alpha = method.strength
        words = f"Alpha **{number_text(strength * alpha, 1)}** (trained with {alpha:g}). {words}"
    st.markdown(words)
    live_chart(
        scores_over_strength(curve, strength, focus.colour),
        f"strength-{focus.run.id}",
        CHART_HEIGHT,
        f"{focus.measure.title} on target and source against the strength of ΔW",
    )


def metrics(scores: Scores, place: int, reference: int) -> None:
    """Draw the scores of one network, each with its difference from the trained one."""
    measure = scores.measure
    with st.container(horizontal=True):
        for on, values in scores.lines.items():
            change = measure.change_text(float(values[place] - values[reference]))
            is_change = change[0] in "+−"
            st.metric(
                on.capitalize(),
                measure.text(float(values[place])),
                # Streamlit recognizes a decrease by its hyphen.
                change.replace("−", "-") if place != reference else "as trained",
                delta_color="off" if not is_change else "normal" if measure.higher_is_better else "inverse",
                delta_arrow="auto" if is_change else "off",
                border=True,
            )
