"""Rank: how many directions of full fine-tuning's ΔW its results need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from core.methods.method import Role
from core.numbers import count_text
from core.objectives.measure import Measure
from core.results.intervals import t_interval
from core.results.measures import quantity, spread_text
from core.store.record import Run
from core.study.weights.curves import rank_sentence, suggested_rank
from core.study.weights.figures import TrainedRank, scores_of_cuts
from core.study.weights.scores import Scores
from pages.experiment.weights.focus import Focus, make_more
from pages.experiment.weights.numbers import choose_limit, cuts_of, elsewhere_of, scores_of
from pages.shared.experiment.measured import measured
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import show


def rank_part(focus: Focus) -> None:
    """Draw the scores of full fine-tuning cut to each rank, and state which rank is enough."""
    measure = focus.measure
    noun = measure.noun
    full = focus.full
    if full is None:
        st.info("This analysis needs full fine-tuning, and the experiment has none.", icon=":material/info:")
        make_more(focus, "Run full fine-tuning on the same base")
        return
    tolerance = tolerance_slider(measure)
    ready, limit = choose_limit(focus)
    if not ready:
        return
    cuts = [measured(cuts_of, focus.lab, run, limit) for run in full.runs]
    curves, tested = [validation for validation, _ in cuts], [test for _, test in cuts]
    rank = suggested_rank(curves, tolerance)
    loras = [arm for arm in focus.arms if arm.role is Role.ADAPTER]
    runs = [(arm, run) for arm in loras for run in arm.runs]
    trained = [measured(scores_of, focus.lab, run, "validation", limit) for _, run in runs]
    validation = len(focus.lab.tasks.outline(full.spec.task).validation)
    examples = validation if limit is None else min(validation, limit)
    by_seed = [suggested_rank([curve], tolerance) for curve in curves]
    change = float(np.mean([each.at(rank).target - each.scores.target[-1] for each in tested]))
    kind = full.spec.network.learns
    told = rank_sentence(rank, by_seed, tolerance, curves[0].ranks, examples, kind, measure, change)
    st.markdown(told)
    dots = [
        TrainedRank(arm.label, focus.colours[arm.key], rank_of_arm, run.spec.seed, scores)
        for (arm, run), scores in zip(runs, trained, strict=True)
        if (rank_of_arm := arm.spec.method.inner_rank) is not None
    ]
    figure = scores_of_cuts(curves, focus.colours[full.key], dots, rank)
    alt = f"{measure.title} of full fine-tuning cut to each rank, and of LoRA at that rank"
    show(figure, focus.run.id, "cut-accuracy", alt)
    rows = [_row(f"Full, cut to rank {rank}", [test.at(rank) for test in tested])]
    rows += [
        _row(arm.label, [tested_of(focus, run, limit) for run in arm.runs if run.result]) for arm in (full, *loras)
    ]
    frame = pd.DataFrame(rows, dtype=object)
    if tested[0].scores.source is None:
        frame = frame.drop(columns="Source")
    alt = f"{measure.title} on the test part of the cut network and of each setting"
    dataframe(frame, hide_index=True, alt=alt)
    elsewhere = any(measured(elsewhere_of, focus.lab, run)[0] for run in full.runs) or focus.has_new_head
    kept = "Biases and all that is no linear layer" if elsewhere else "Biases"
    kept += ", and the head, which every method trains whole," if full.spec.head else ""
    st.caption(
        "Vertical line: the rank chosen on the validation part. Diamonds: trained LoRA runs. The table shows "
        f"{measure.values_noun} on the test part{focus.among_own}."
    )
    st.expander("Formulas", icon=":material/function:").markdown(
        r"Only the $r$ strongest directions of full fine-tuning's $\Delta W$ are kept in every layer, "
        rf"$W + \sum_{{i \le r}} \sigma_i\, u_i v_i^\top$, and the {noun} is measured again. Where the curve is flat, "
        f"the remaining directions are not needed. This is not the {noun} of LoRA at that rank: training with only $r$ "
        "directions may find better ones.\n\n"
        "The cut is the best approximation of that rank (Eckart and Young 1936). "
        f"{kept} keep their trained values, and a layer with fewer than $r$ directions keeps all of them."
    )


def tolerance_slider(measure: Measure) -> float:
    """Draw the choice of how much worse the cut network may be; the start is the measure's margin."""
    points = measure.difference_unit == "points"
    return st.slider(
        f"Tolerance in {measure.difference_unit or measure.noun}",
        0.0,
        measure.max_margin / 2,
        measure.margin,
        measure.margin / 5,
        # The steps of a plain number are small, and Streamlit shows two decimals.
        format=None if points else "%.4f",
        key="tolerance" if points else f"tolerance-{measure.name}",
        bind="query-params",
        width=320,
        help=f"How much worse the validation {measure.noun} of the cut network on the target may be.",
    )


def tested_of(focus: Focus, run: Run, limit: int | None) -> Scores:
    """Scores of a run on the test part: those of its result, or where not all examples are used, on the same ones as
    the cut network.
    """
    result, objective = run.result, run.spec.objective
    if limit is not None or result is None or run.score is None:
        return measured(scores_of, focus.lab, run, "test", limit)
    own = result.measures.get(objective.on_source(run.spec.is_split))
    return Scores(np.array([run.score]), None if own is None else np.array([own]), objective)


def _row(label: str, scores: Sequence[Scores]) -> dict[str, str]:
    source = [float(each.source[0]) for each in scores if each.source is not None]
    what = quantity(scores[0].measure.name, scores[0].objective)
    return {
        "Network": label,
        "Seeds": count_text(len(scores)),
        "Target": spread_text(t_interval([float(each.target[0]) for each in scores]), what),
        "Source": spread_text(t_interval(source), what),
    }
