"""Two stored networks of one seed on the same test examples."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.methods.method import Role
from core.numbers import count_text, points_text
from core.results.arm import Arm
from core.rule.claims import p_words
from core.rule.networks import corrected
from core.rule.spending import CLAIM_SEEDS
from core.store.record import Run
from core.study.weights.remeasured import parallel
from core.wording.tasks import noun
from pages.experiment.comparison import Comparison
from pages.shared.experiment.measured import measured
from pages.shared.ui.literal import literal


def single_pair(shown: Comparison) -> None:
    """Two stored networks on the same test examples; at once where there is one seed, else on demand."""
    lab, arms = shown.lab, shown.chosen
    full = next((arm for arm in arms if arm.role is Role.REFERENCE), None)
    others = [arm for arm in arms if arm is not full and full and set(arm.seeds) & set(full.seeds)]
    if full is None or not others or not full.spec.objective.has_classes:
        return
    one = noun(full.spec.network.learns, 1)
    if max(len(arm.seeds) for arm in arms) < 2:
        st.markdown(f"**One seed: {one} by {one}**")
        _pairs(lab, full, others, full.seeds[0])
        return
    fold = st.expander(f"One seed, {one} by {one}", icon=":material/image_search:", key="pair", on_change="rerun")
    if fold.open:
        with fold:
            seed = st.segmented_control(
                "Seed", list(full.seeds), default=full.seeds[0], key="pair-seed", required=True, bind="query-params"
            )
            _pairs(lab, full, others, int(seed))


def _pairs(lab: Lab, full: Arm, others: Sequence[Arm], seed: int) -> None:
    nouns = noun(full.spec.network.learns)
    st.caption(
        f"The networks of one seed on the same test {nouns}: bootstrap over the {nouns} and McNemar's exact test, "
        "corrected by Holm for all settings of this seed, but not for other seeds. This compares only these networks: "
        f"to show a difference between methods takes at least {CLAIM_SEEDS} seeds."
    )
    runs = {arm.label: run for arm in others if (run := _of_seed(arm, seed)) is not None}
    left = _of_seed(full, seed)
    if left is None:
        return
    try:
        alone = [measured(parallel, lab, run, left) for run in runs.values()]
    except LabError as error:
        st.error(literal(str(error)))
        return
    for label, found in zip(runs, corrected(alone), strict=True):
        side = "better" if found.interval.mean > 0 else "worse"
        words = (
            f"{label} is {side} than {full.label} on {nouns} like these"
            if found.is_told
            else f"No difference between {label} and {full.label} is shown"
        )
        span = f"{points_text(found.interval.low)} to {points_text(found.interval.high)}".replace(" points to", " to")
        st.markdown(
            f"{words}: {points_text(found.interval.mean)} (95 % interval {span}, {p_words(found.p)}); of "
            f"{count_text(found.interval.n)} {nouns} {count_text(found.only_a)} are right only with {label} and "
            f"{count_text(found.only_b)} only with {full.label}."
        )


def _of_seed(arm: Arm, seed: int) -> Run | None:
    return next((run for run in arm.runs if run.spec.seed == seed), None)
