"""Weights, second part: the rank that full fine-tuning's own ΔW suggests, and the accuracy it would give."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.store.record import Run
from core.study.arms.arm import Arm
from core.study.stats.intervals import t_interval
from core.study.stats.measures import spread_text
from core.study.weights.figures import TrainedRank, accuracy_of_cuts
from core.study.weights.rank import TOLERANCE, suggested_rank
from core.study.weights.scores import Scores
from core.wording.numbers import count_text, number_text
from pages.shared.figure_panel import show
from pages.weights.focus import Focus, make_more
from pages.weights.numbers import cut_on_test, cuts_of, validated


def rank_part(focus: Focus) -> None:
    """Draw accuracy over the rank that full fine-tuning is cut to, and say which rank holds the accuracy."""
    st.markdown(
        r"Take the $\Delta W$ that full fine-tuning found, keep only its $r$ strongest directions in every layer, "
        r"$W + \sum_{i \le r} \sigma_i\, u_i v_i^\top$, and measure the network. Where the curve becomes flat, the "
        "other directions were not needed. It does not say how well LoRA *trained* at that rank does, since training "
        "within $r$ directions may find better ones: the diamonds show that."
    )
    full = focus.full
    if full is None:
        st.info("This belongs to full fine-tuning, and the experiment has none.", icon=":material/info:")
        make_more(focus, "Fine-tune fully on the same base")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        tolerance = st.slider(
            "Points that may be lost",
            0.0,
            5.0,
            TOLERANCE,
            0.1,
            key="tolerance",
            bind="query-params",
            width=320,
            help="How far the accuracy on the target may lie below that of the whole ΔW, on the validation part.",
        )
        masked = focus.masked_differs and st.toggle(
            "On the source, choose only among its own classes",
            key="masked",
            bind="query-params",
            help="After a class split, plain accuracy mostly shows that the output layer prefers the new classes.",
        )
    curves = [cuts_of(focus.lab, run) for run in full.runs]
    rank = suggested_rank(curves, tolerance)
    loras = [arm for arm in focus.arms if arm.lora is not None]
    trained = {run.id: validated(focus.lab, run) for arm in loras for run in arm.runs}
    answer(full, rank, [suggested_rank([curve], tolerance) for curve in curves], tolerance, curves[0].ranks[-1])
    dots = [
        TrainedRank(arm.label, focus.colours[arm.key], arm.lora.rank, run.spec.seed, trained[run.id])
        for arm in loras
        if arm.lora is not None
        for run in arm.runs
    ]
    figure = accuracy_of_cuts(curves, focus.colours[full.key], dots, rank, masked)
    show(
        figure, focus.run.id, "cut-accuracy", "Accuracy of full fine-tuning cut to each rank, beside LoRA of that rank"
    )
    table(focus, full, loras, rank, masked)
    st.caption(
        "Vertical: the suggested rank. The cut is the nearest matrix of its rank (Eckart and Young 1936); biases stay "
        "as they were tuned, and a layer with fewer than $r$ directions keeps all of them. The rank is chosen on the "
        "validation part; the table is the test part, which took no part in that."
    )


def answer(full: Arm, rank: int, by_seed: Sequence[int], tolerance: float, limit: int) -> None:
    """The suggested rank in a sentence."""
    if rank >= limit:
        text = f"No cut comes within {number_text(tolerance, 1)} points: full fine-tuning used all {limit} directions."
    else:
        text = (
            f"**A change of rank {rank} holds the accuracy**: full fine-tuning, cut to rank {rank} after training, "
            f"stays within {number_text(tolerance, 1)} points of its accuracy on the target."
        )
    if len(by_seed) > 1:
        low, high = min(by_seed), max(by_seed)
        spread = f"{low} for each" if low == high else f"{low} to {high}"
        text += f" That is for the mean of {len(by_seed)} seeds; one by one they ask for {spread}."
    else:
        text += " That is one seed: another may ask for a different rank."
    st.markdown(f"{text} LoRA that is trained at a rank need not reach what the cut to it does; the table has both.")


def table(focus: Focus, full: Arm, loras: Sequence[Arm], rank: int, masked: bool) -> None:
    """What the chosen rank is worth on the test part, beside what was trained."""
    cut = [cut_on_test(focus.lab, run, rank) for run in full.runs]
    rows = [_row(f"Full, cut to rank {rank}", [s.target[0] for s in cut], _source(cut, masked))]
    for arm in (full, *loras):
        runs = [run for run in arm.runs if run.result]
        rows.append(_row(arm.label, [run.result.accuracy for run in runs if run.result], _trained(runs, masked)))
    frame = pd.DataFrame(rows, dtype=object)
    if cut[0].source is None:
        frame = frame.drop(columns="Source")
    st.dataframe(frame, hide_index=True, alt="Accuracy on the test part of the cut network and of each arm")


def _row(label: str, target: Sequence[float], source: Sequence[float]) -> dict[str, str]:
    return {
        "Network": label,
        "Seeds": count_text(len(target)),
        "Target": spread_text(t_interval(target)),
        "Source": spread_text(t_interval(source)),
    }


def _source(scores: Sequence[Scores], masked: bool) -> list[float]:
    return [float(found.line("source", masked)[0]) for found in scores]


def _trained(runs: Sequence[Run], masked: bool) -> list[float]:
    results = [run.result for run in runs if run.result]
    found = [result.source_accuracy_masked if masked else result.source_accuracy for result in results]
    return [value for value in found if value is not None]
