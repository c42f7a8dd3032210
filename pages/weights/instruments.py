"""The tab "Alpha and layers" of the Weights page: a slider for the strength of ΔW, and switches of layers."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.numbers import counted, number_text
from core.study.weights.figures import scores_over_strength
from core.study.weights.scores import Scores
from core.study.weights.strength import COARSE_STEP, MAX_STRENGTH, STRENGTH_STEP, StrengthCurve, Switches
from core.study.weights.tables import combinations_text, contributions_text, layer_text
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.literal import literal
from pages.shared.ui.live_view import live_chart
from pages.weights.effort import choose_limit, is_quick
from pages.weights.focus import Focus
from pages.weights.formulas import formulas
from pages.weights.numbers import alone_of, elsewhere_of, strengths_of, switches_of

CHART_HEIGHT = 380


def instruments_part(focus: Focus) -> None:
    """Draw slider and switches. All is measured here, because errors raised in a fragment would not reach the page."""
    if elsewhere := elsewhere_of(focus.lab, focus.run):
        st.info(literal(f"{elsewhere} Choose a run with adapters above."), icon=":material/info:")
        return
    ready, limit = choose_limit(focus)
    if not ready:
        return
    step = STRENGTH_STEP if is_quick(focus) else COARSE_STEP
    tested, validated = (strengths_of(focus.lab, focus.run, part, limit, step) for part in ("test", "validation"))
    combinations = switches_of(focus.lab, focus.run, limit)
    alone = alone_of(focus.lab, focus.run, focus.layer, limit) if focus.has_map else None
    head = " The new head, which the base does not have, keeps its trained weights." if focus.has_new_head else ""
    head += " The change of the head, which is trained whole, is scaled as well." if focus.run.spec.head else ""
    st.subheader("Strength of ΔW")
    alpha_slider(focus, tested, validated.best, step)
    formulas(
        r"In $W + t\,\Delta W$, $t = 0$ gives the base and $t = 1$ the trained network. For LoRA, scaling $\Delta W$ "
        r"by $t$ is the same as scaling alpha by $t$, since $\Delta W = s\,(AB)^\top$ and $s$ is proportional to "
        f"alpha. Nothing is retrained, so the result is not what training with that alpha would give.{head}"
    )
    st.subheader("Layers on and off")
    st.markdown(
        f"Turn off ΔW of a layer to see how the {focus.measure.noun} depends on it. The contributions of the layers do "
        "not add up: a layer that achieves little alone may still be needed by the others."
        + (" With so many layers, those of a role are switched together." if focus.has_map else "")
    )
    layer_switches(focus, combinations)
    if alone is not None:
        chosen_layer(focus, alone)
    st.caption(
        f"{focus.name}; {focus.measure.values_noun} on the test part. To *choose* a strength, use the one with the "
        f"best validation {focus.measure.noun}. On scaling ΔW, see Hu et al., arXiv 2106.09685, section 4.1, and for "
        "full fine-tuning Ilharco et al., arXiv 2212.04089."
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
    metrics(curve.scores, place, trained, focus.masked_differs)
    words = f"Best on the validation part of the target: **{number_text(best, 1)} ×**."
    if scales:
        alpha = method.strength
        words = f"Alpha **{number_text(strength * alpha, 1)}** (trained with {alpha:g}). {words}"
    st.markdown(words)
    live_chart(
        scores_over_strength(curve, strength, focus.colour, focus.masked_differs),
        f"strength-{focus.run.id}",
        CHART_HEIGHT,
        f"{focus.measure.title} on target and source against the strength of ΔW",
    )


@st.fragment
def layer_switches(focus: Focus, found: Switches) -> None:
    """Draw one switch per group of layers; all combinations are computed beforehand."""
    if not found.groups:
        st.caption("Training changed no layer of this network.")
        return
    with st.container(horizontal=True):
        on = tuple(
            st.toggle(_group_text(focus, name, parts), True, key=f"layer-on-{focus.run.id}-{name}")
            for name, parts in found.groups.items()
        )
    place = found.place(on)
    metrics(found.scores, place, found.everything, focus.masked_differs)
    dataframe(
        contributions_text(found, focus.masked_differs),
        hide_index=True,
        alt=f"{focus.measure.title} without each layer, and with only that layer",
    )
    dataframe(
        combinations_text(found, focus.masked_differs, place),
        hide_index=True,
        height="content",
        alt=f"{focus.measure.title} with every combination of layers on and off",
    )
    switched = {part for parts in found.groups.values() for part in parts}
    unchanged = [path for path in focus.shapes if path not in switched]
    if unchanged and focus.has_map:
        st.caption(f"{len(unchanged)} of {len(focus.shapes)} layers were not changed by training; see the map.")
    elif unchanged:
        st.caption(f"Not changed by training: {', '.join(unchanged)}.")


def chosen_layer(focus: Focus, scores: Scores) -> None:
    """Draw the scores without the chosen layer's ΔW, and with nothing but that."""
    st.markdown(f"**Only {layer_text(focus.layer, focus.shapes[focus.layer])}**")
    names = ("As trained", "Without this layer's ΔW", "With only this layer's ΔW", "Without any ΔW")
    lines = {"Target": scores.target}
    if scores.source is not None:
        lines["Source"] = scores.line("source", focus.masked_differs)
    columns = {title: [focus.measure.text(float(value)) for value in lines[title]] for title in lines}
    dataframe(
        pd.DataFrame({"Network": names, **columns}, dtype=object),
        hide_index=True,
        alt=f"{focus.measure.title} with and without the change of {focus.layer}",
    )


def _group_text(focus: Focus, name: str, parts: tuple[str, ...]) -> str:
    """Name of a group of layers: a single layer has its shape with it, several their number."""
    if name in focus.shapes:
        return layer_text(name, focus.shapes[name])
    layers = [part for part in parts if part in focus.shapes]
    return f"{name} · {counted(len(layers), 'layer')}" if layers else name


def metrics(scores: Scores, place: int, reference: int, masked: bool) -> None:
    """Draw the scores of one network, each with its difference from the trained one."""
    measure = scores.measure
    with st.container(horizontal=True):
        for line in scores.lines(masked):
            change = measure.change_text(float(line.values[place] - line.values[reference]))
            is_change = change[0] in "+−"
            st.metric(
                line.title,
                measure.text(float(line.values[place])),
                # Streamlit recognizes a decrease by its hyphen.
                change.replace("−", "-") if place != reference else "as trained",
                delta_color="off" if not is_change else "normal" if measure.higher_is_better else "inverse",
                delta_arrow="auto" if is_change else "off",
                border=True,
            )
