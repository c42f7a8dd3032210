"""Live view of queued and running runs: progress, speed, time left, Stop buttons and loss curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from core.lab import Lab
from core.store.record import Run
from core.study.arms.arm import labels_of
from core.study.figures.curves import NamedCurve, live_figure_data
from core.study.figures.palette import shades_of
from core.wording.numbers import count_text, left_text, seconds_text
from pages.shared.literal import literal
from pages.shared.live_chart import live_chart
from pages.shared.pickers import state_badge

TICK = 1.0
"""Seconds between two updates."""

MAX_ROWS = 4
"""Maximum number of running runs that are shown with details."""

MAX_FOLDED = 50
"""Maximum number of runs listed in an expander."""

MAX_CURVES = 12
"""Curves drawn at once; more would be hard to tell apart."""


def live_panel(lab: Lab, ids: Sequence[str], key: str) -> None:
    """Show these runs, and update the view every second while any of them is live.

    When the last run ends, the whole page is redrawn, because it then offers other actions.
    """
    live = any(run.is_live for run in lab.runs_of(ids))
    st.fragment(_panel, run_every=TICK if live else None)(lab, tuple(ids), key, live)


def _panel(lab: Lab, ids: tuple[str, ...], key: str, was_live: bool) -> None:
    runs = lab.runs_of(ids)
    live = [run for run in runs if run.is_live]
    if was_live and not live:
        st.rerun()
    if not runs:  # all of them have been deleted
        return
    labels = _labels(runs)
    _summary(lab, runs, live)
    running = [run for run in live if run.state == "running"]
    waiting = [run for run in live if run.state == "queued"]
    for run in running[:MAX_ROWS]:
        _running(lab, run, labels[run.spec.arm], key, alone=len(running) == 1)
    _folded(lab, "Also training", running[MAX_ROWS:], labels, f"{key}-beside")
    _folded(lab, "Queued", waiting, labels, f"{key}-waiting")
    _curves(lab, runs, labels, key)


def _labels(runs: list[Run]) -> dict[str, str]:
    """Return labels of arms, unique within an experiment; unique ones across experiments would be too long."""
    labels: dict[str, str] = {}
    for experiment in {run.experiment for run in runs}:
        labels |= labels_of(run.spec for run in runs if run.experiment == experiment)
    return labels


def _summary(lab: Lab, runs: list[Run], live: list[Run]) -> None:
    count = Counter(run.state for run in runs)
    words = [f"{count['finished']} of {len(runs)} finished"]
    words += [f"{count[state]} {state}" for state in ("stopped", "failed", "interrupted") if count[state]]
    if live:
        left = lab.estimates.remaining(live)
        words.append(left_text(left.seconds_low, left.seconds_high))
    # Runs that failed or were stopped count only with the steps that they took.
    share = sum(1.0 if run.state == "finished" else run.progress for run in runs) / len(runs)
    st.progress(share, " · ".join(words))


def _running(lab: Lab, run: Run, label: str, key: str, alone: bool) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"{key}-{run.id}"):
        state_badge(run)
        st.markdown(f"**{literal(label)}**, seed {run.spec.seed}", width="content")
        epochs = run.spec.optim.epochs
        words = [
            f"Epoch {min(epochs, 1 + int(run.progress * epochs))} of {epochs}",
            f"step {count_text(run.step)} of {count_text(run.steps)}",
        ]
        if run.examples_per_second:
            words.append(f"{count_text(run.examples_per_second)} examples/s")
        if run.eta is not None and alone:  # runs trained together wait for each other at every step
            words.append(f"{seconds_text(run.eta)} left")
        st.caption(" · ".join(words) if run.steps else "Preparing the data", width="stretch")
        _stop_button(lab, run, key)


def _folded(lab: Lab, title: str, runs: list[Run], labels: dict[str, str], key: str) -> None:
    """Draw an expander that lists runs; its content is drawn only while open, as there may be hundreds."""
    if not runs:
        return
    fold = st.expander(f"{title}: {len(runs)}", icon=":material/schedule:", key=key, on_change="rerun")
    if not fold.open:
        return
    with fold:
        for run in runs[:MAX_FOLDED]:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(literal(f"{labels[run.spec.arm]}, seed {run.spec.seed}"), width="stretch")
                _stop_button(lab, run, key)
        if len(runs) > MAX_FOLDED:
            st.caption(f"And {len(runs) - MAX_FOLDED} more; the Runs page lists them all.")


def _stop_button(lab: Lab, run: Run, key: str) -> None:
    st.button(
        "Stop",
        icon=":material/stop:",
        key=f"{key}-stop-{run.id}",
        on_click=lab.stop,
        args=(run.id,),
        help="Keeps what has been learnt so far.",
        disabled=run.stop_asked,
    )


def _curves(lab: Lab, runs: list[Run], labels: dict[str, str], key: str) -> None:
    begun = [run for run in runs if run.step][-MAX_CURVES:]
    if not begun:
        st.caption("Loss curves appear after the first steps.")
        return
    colours = shades_of(run.spec for run in runs)
    curves = [
        NamedCurve(
            run=run.id,
            label=f"{labels[run.spec.arm]}, seed {run.spec.seed}",
            colour=colours[run.spec.arm],
            curve=lab.curve(run.id),
            steps_per_epoch=run.steps / run.spec.optim.epochs,
        )
        for run in begun
    ]
    live_chart(
        live_figure_data(curves),
        key=f"{key}-chart",
        height=380,
        alt="Training and validation loss of these runs, by step",
    )
