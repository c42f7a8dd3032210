"""A sweep's heat map, which opens runs in Compare, and the panel around it while the sweep waits and trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import streamlit as st

from core.lab import Lab
from core.methods.method import Role
from core.results.arm import Arm, judged_by
from core.results.row import rows_of
from core.results.setting import labels_of, setting_of
from core.store.record import Experiment, Run, is_under_way
from core.study.arms.sweep import chosen, setting_text, sweep_arms
from core.study.figures.sweep import heat_map
from pages.shared.experiment.state import finish_button, followed, interrupted_bases, known_bars, shown_left, state_text
from pages.shared.experiment.stop import stop_button
from pages.shared.ui.links import go
from pages.shared.ui.literal import literal
from pages.shared.ui.live_view import View, live_view
from pages.shared.ui.tile_map import tile_map

TICK = 1.0
"""Seconds between two reads of the store."""

MAX_NAMED = 4
"""Maximum number of runs in training that are named; more are counted."""


def measure_map(experiment: Experiment, arms: Sequence[Arm], alpha: float | None, marked: bool = False) -> None:
    """The heat map; a press on a tile opens its runs in Compare, beside full fine-tuning at its best rate.

    Args:
        experiment: the sweep.
        arms: of it.
        alpha: as of :func:`core.study.figures.sweep.heat_map`.
        marked: whether what validation chooses is framed.
    """
    full, lora = chosen(arms)
    measure = judged_by(arms).primary
    st.markdown(f"**{measure.title} on the validation part, by rank and learning rate**")
    words = ["Mean of the seeds.", "" if alpha is not None else "Adapters at their best alpha in each place."]
    words += ["Framed: chosen." if marked else "", "A tile opens its runs in Compare."]
    st.caption(" ".join(filter(None, words)))
    alt = f"Mean {measure.noun} on the validation part of each rank and learning rate; a tile opens its runs in Compare"
    pressed = tile_map(heat_map(arms, alpha, (full, lora) if marked else ()), f"study-map-{experiment.id}", alt)
    if pressed in {arm.key for arm in arms}:
        go("compare", comparison(experiment, [pressed, *([full.key] if full else [])]))


def comparison(experiment: Experiment, arms: Iterable[str]) -> dict[str, str]:
    """The address of Compare with some arms of a sweep."""
    return {"experiment": experiment.id, "arms": ",".join(dict.fromkeys(arms))}


def sweep_live(lab: Lab, experiment: Experiment, alpha: float | None) -> None:
    """Show a sweep that is live, with its heat map so far."""
    live_part(lab, experiment, lambda members: measure_map(experiment, sweep_arms(rows_of(members)), alpha))


def live_part(lab: Lab, experiment: Experiment, draw: Callable[[Sequence[Run]], None], every: float = TICK) -> None:
    """Show an experiment that is live; when its last run ends, the whole page is drawn again with the results.

    Args:
        lab: trains it.
        experiment: what is shown.
        draw: draws what is known so far of its runs.
        every: seconds between two reads of the store.
    """
    st.fragment(_panel, run_every=every)(lab, experiment, draw)


def _panel(lab: Lab, experiment: Experiment, draw: Callable[[Sequence[Run]], None]) -> None:
    members = lab.store.members(experiment)
    live = [run for run in members if run.is_live]
    if not is_under_way(members):
        st.rerun()
    runs = [*interrupted_bases(lab, live), *members]
    left, right = st.columns([5, 1], vertical_alignment="center")
    with left:
        _progress(lab, runs, f"study-{experiment.id}")
    with right:
        finish_button(lab, runs, f"study-{experiment.id}")
        stop_button(lab, runs, labels_of(setting_of(run.spec) for run in runs), f"study-{experiment.id}")
    draw(members)


def _progress(lab: Lab, runs: Sequence[Run], key: str) -> None:
    bars, ids = known_bars(), [run.id for run in runs]

    def view() -> View:
        now = lab.store.runs_of(ids)
        launched = followed(lab, bars, key, now)
        words = filter(None, [state_text(now), shown_left(lab, launched)])
        return View(words=" · ".join(words), share=lab.progress.share_done(launched))

    live_view(view, f"{key}-bar", TICK)
    live = [run for run in runs if run.is_live]
    running = [run for run in live if run.state == "running"]
    if len(running) > MAX_NAMED:
        st.caption(f"Training now: {len(running)} runs side by side.")
    elif running:
        names = [f"{setting_text(setting_of(run.spec))}, seed {run.spec.seed}" for run in running]
        st.caption(f"Training now: {literal('; '.join(names))}.")
    elif any(run.spec.role is Role.BASE for run in runs):
        st.caption("Waiting for the base, whose training was interrupted.")
    else:
        st.caption("Waiting for the runs before it in the queue.")
