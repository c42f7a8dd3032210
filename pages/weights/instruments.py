"""The tab "Alpha and layers" of the Weights page: a slider for the strength of ΔW, and one switch per layer."""

from __future__ import annotations

import streamlit as st

from core.study.weights.figures import accuracy_over_strength
from core.study.weights.scores import Scores
from core.study.weights.strength import MAX_STRENGTH, MAX_SWITCHED, STRENGTH_STEP, StrengthCurve, Switches
from core.study.weights.tables import combinations_text, contributions_text, layer_text
from core.wording.numbers import number_text, percent, points_text
from pages.shared.literal import literal
from pages.shared.live_chart import live_chart
from pages.weights.focus import Focus
from pages.weights.numbers import elsewhere_of, strengths_of, switches_of

CHART_HEIGHT = 380


def instruments_part(focus: Focus) -> None:
    """Draw slider and switches. All is measured here, because errors raised in a fragment would not reach the page."""
    if elsewhere := elsewhere_of(focus.lab, focus.run):
        st.info(literal(f"{elsewhere} Choose a run with adapters above."), icon=":material/info:")
        return
    tested, validated = (strengths_of(focus.lab, focus.run, part) for part in ("test", "validation"))
    few = len(focus.shapes) <= MAX_SWITCHED
    combinations = switches_of(focus.lab, focus.run) if few else None
    st.subheader("Strength of ΔW")
    st.markdown(
        r"In $W + t\,\Delta W$, $t = 0$ gives the base and $t = 1$ the trained network. For LoRA, scaling $\Delta W$ "
        r"by $t$ is the same as scaling alpha by $t$, since $\Delta W = s\,(AB)^\top$ and $s$ is proportional to "
        "alpha. Nothing is retrained, so the result is not what training with that alpha would give."
    )
    alpha_slider(focus, tested, validated.best)
    st.subheader("Layers on and off")
    st.markdown(
        "Turn off ΔW of a layer to see how the accuracy depends on it. The contributions of the layers do not add up: "
        "a layer that achieves little alone may still be needed by the others."
    )
    if combinations is None:
        st.info(
            f"This network has {len(focus.shapes)} linear layers, and every combination of more than {MAX_SWITCHED} "
            "takes too long to evaluate.",
            icon=":material/info:",
        )
    else:
        layer_switches(focus, combinations)
    st.caption(
        f"{focus.name}; accuracies on the test part. To *choose* a strength, use the one with the best validation "
        "accuracy. On scaling ΔW, see Hu et al., arXiv 2106.09685, section 4.1, and for full fine-tuning Ilharco et "
        "al., arXiv 2212.04089."
    )


@st.fragment
def alpha_slider(focus: Focus, curve: StrengthCurve, best: float) -> None:
    """Draw a slider for the strength of ΔW; the accuracies at all its positions are computed beforehand."""
    adapter = focus.run.spec.adapter
    scales = adapter is not None and adapter.layer.is_low_rank
    strength = st.slider(
        "Alpha relative to the trained value" if scales else "Strength of ΔW",
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
    words = f"Best on the validation part of the target: **{number_text(best, 1)} ×**."
    if adapter is not None and scales:
        alpha = adapter.alpha
        words = f"Alpha **{number_text(strength * alpha, 1)}** (trained with {alpha:g}). {words}"
    st.markdown(words)
    live_chart(
        accuracy_over_strength(curve, strength, focus.colour, focus.masked_differs),
        f"strength-{focus.run.id}",
        CHART_HEIGHT,
        "Accuracy on target and source against the strength of ΔW",
    )


@st.fragment
def layer_switches(focus: Focus, found: Switches) -> None:
    """Draw one switch per layer; all combinations are computed beforehand."""
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
        contributions_text(found, focus.masked_differs),
        hide_index=True,
        alt="Accuracy without each layer, and with only that layer",
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
    """Draw the accuracies of one network, each with its difference from the trained one."""
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
            # Streamlit recognizes a decrease by its hyphen.
            change = points_text(difference).replace("−", "-") if place != reference else "as trained"
            st.metric(
                title,
                percent(float(values[place])),
                change,
                delta_color="normal" if abs(difference) >= 0.005 else "off",
                delta_arrow="auto" if abs(difference) >= 0.005 else "off",
                border=True,
            )
