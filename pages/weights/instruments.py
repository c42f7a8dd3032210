"""Weights, third part: an alpha slider and one switch per layer, which respond at once."""

from __future__ import annotations

import streamlit as st

from core.study.weights.figures import accuracy_over_strength
from core.study.weights.scores import Scores
from core.study.weights.strength import MAX_STRENGTH, STRENGTH_STEP, StrengthCurve, Switches
from core.study.weights.tables import combinations_text, layer_text, worth_text
from core.wording.numbers import number_text, percent, points_text
from pages.shared.live_chart import live_chart
from pages.weights.focus import Focus
from pages.weights.numbers import strengths_of, switches_of

CHART_HEIGHT = 380


def instruments_part(focus: Focus) -> None:
    """Draw both. Errors are raised here, since a fragment would not pass them on."""
    tested, validated = (strengths_of(focus.lab, focus.run, part) for part in ("test", "validation"))
    combinations = switches_of(focus.lab, focus.run)
    st.subheader("How much of it?")
    st.markdown(
        r"$W + t\,\Delta W$ with $t = 0$ is the base, with $t = 1$ the network as it was trained. For LoRA, $t$ times "
        r"$\Delta W$ is what $t$ times alpha would give, since $\Delta W = s\,(AB)^\top$ and $s$ grows with alpha. "
        "Nothing is trained again: it shows how the trained change behaves, not what training with that alpha would "
        "have found."
    )
    alpha_slider(focus, tested, validated.best)
    st.subheader("Which layers?")
    st.markdown(
        "Turn off what training did to a layer and see what is left. A layer that costs much when it is off was "
        "needed; one that does little alone may still be needed by the others, so the three worths do not add up."
    )
    layer_switches(focus, combinations)
    st.caption(
        f"{focus.name}, test part. It explains a network that is trained already; to *choose* a strength, take the one "
        "that is best on the validation part. Scaling ΔW: Hu et al., arXiv 2106.09685, section 4.1, and for full "
        "fine-tuning Ilharco et al., arXiv 2212.04089."
    )


@st.fragment
def alpha_slider(focus: Focus, curve: StrengthCurve, best: float) -> None:
    """A slider for the strength of ΔW; everything it can show is known before it is moved."""
    strength = st.slider(
        "Alpha, as a multiple of the trained one" if focus.run.spec.lora else "Strength of the change",
        0.0,
        MAX_STRENGTH,
        1.0,
        STRENGTH_STEP,
        format="%.1f ×",
        key="strength",
        bind="query-params",
        help="1.0 × is as trained, 0.0 × is the base.",
    )
    place, trained = curve.place(strength), curve.place(1.0)
    metrics(curve.scores, place, trained, focus.masked_differs)
    words = f"Best on the target's validation part: **{number_text(best, 1)} ×**."
    if focus.run.spec.lora is not None:
        alpha = focus.run.spec.lora.alpha
        words = f"Alpha **{number_text(strength * alpha, 1)}**, trained with {alpha:g}. {words}"
    st.markdown(words)
    live_chart(
        accuracy_over_strength(curve, strength, focus.colour, focus.masked_differs),
        f"strength-{focus.run.id}",
        CHART_HEIGHT,
        "Accuracy on target and source over the multiple of the trained ΔW",
    )


@st.fragment
def layer_switches(focus: Focus, found: Switches) -> None:
    """Draw one switch per layer; all combinations are computed before any is flipped."""
    if not found.layers:
        st.caption("Training changed no layer of this network.")
        return
    with st.container(horizontal=True):
        on = tuple(
            st.toggle(layer_text(path, focus.shapes[path]), True, key=f"layer-on-{focus.run.id}-{path}")
            for path in found.layers
        )
    place = found.place(on)
    metrics(found.scores, place, found.everything, focus.masked_differs)
    st.dataframe(
        worth_text(found, focus.masked_differs),
        hide_index=True,
        alt="What each layer is worth: without it, and with it alone",
    )
    st.dataframe(
        combinations_text(found, focus.masked_differs, place),
        hide_index=True,
        height="content",
        alt="Accuracy with every combination of layers on and off",
    )
    unchanged = [path for path in focus.shapes if path not in found.layers]
    if unchanged:
        st.caption(f"Not changed by training: {', '.join(unchanged)}.")


def metrics(scores: Scores, place: int, reference: int, masked: bool) -> None:
    """Accuracies of one network, each with its difference from the trained one."""
    shown = [("Target", scores.target)]
    if masked:
        shown.append(("Target, own classes", scores.target_masked))
    if scores.source is not None and scores.source_masked is not None:
        shown.append(("Source", scores.source))
        if masked:
            shown.append(("Source, own classes", scores.source_masked))
    with st.container(horizontal=True):
        for title, values in shown:
            difference = float(values[place] - values[reference])
            # Streamlit knows a fall by its hyphen.
            change = points_text(difference).replace("−", "-") if place != reference else "as trained"
            st.metric(
                title,
                percent(float(values[place])),
                change,
                delta_color="normal" if abs(difference) >= 0.005 else "off",
                delta_arrow="auto" if abs(difference) >= 0.005 else "off",
                border=True,
            )
