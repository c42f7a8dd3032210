"""Live view of runs: how far they are, loss beside accuracy with one line per arm, and buttons that stop them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from core.lab import Lab
from core.methods.method import Role
from core.results.arm import Arm, all_arms, judged_by
from core.results.row import rows_of
from core.results.setting import labels_of, setting_of
from core.store.record import Curve, Run, is_under_way
from core.study.figures.live import latest_text, live_loss, live_measure
from pages.shared.experiment.state import (
    finish_button,
    followed,
    interrupted_bases,
    is_stopping,
    known_bars,
    left_of,
    shown_left,
    state_text,
)
from pages.shared.experiment.stop import stop_button
from pages.shared.ui.literal import literal
from pages.shared.ui.live_view import View, live_view

TICK = 1.0
"""Seconds between two updates of a few settings."""

FEW = 6
"""Settings beyond which updates come less often: curves of 24 take a browser half a second, of cores that train."""

WATCHED = "watched-runs"
"""Session state key: ids of the runs of each panel that has been live and was not dismissed, by the panel's key."""


def live_panel(lab: Lab, ids: Sequence[str], key: str, title: str = "") -> None:
    """Show these runs if one of them is live, updated every second or so, and after their end until they are dismissed.

    When the last run ends, the whole page is redrawn, because it then offers other actions.

    Args:
        lab: has the runs.
        ids: what to show, with the other runs of the same experiments.
        key: of the panel, unique in the session.
        title: what is trained, as plain text; by default that it is.
    """
    watched: dict[str, tuple[str, ...]] = st.session_state.setdefault(WATCHED, {})
    if is_under_way(lab.store.runs_of(ids)):
        # What has ended makes room for what was started since.
        before = watched.get(key, ())
        before = before if is_under_way(lab.store.runs_of(before)) else ()
        watched[key] = tuple(dict.fromkeys([*before, *_with_experiments(lab, ids)]))
    elif key in watched:  # what a search added while nobody looked
        watched[key] = tuple(dict.fromkeys([*watched[key], *ids]))
    runs = lab.store.runs_of(watched.get(key, ()))
    if not runs:
        return
    with st.container(border=True):
        if is_under_way(runs):
            st.fragment(_update)(lab, key, title)
        else:
            _panel(lab, runs, key, title)


def interval(settings: int) -> float:
    """Seconds between two updates of a panel with this many settings."""
    return TICK * max(1.0, settings / FEW)


def is_watched(key: str) -> bool:
    """Whether a panel is shown although none of its runs need be live any more."""
    return key in st.session_state.get(WATCHED, {})


def _with_experiments(lab: Lab, ids: Sequence[str]) -> list[str]:
    # What has ended may also belong to an experiment of which nothing trains.
    going = [run for run in lab.store.runs_of(ids) if run.is_live or run.plan == "open"]
    names = dict.fromkeys(run.experiment for run in going if run.experiment)
    members = [run for name in names for run in lab.store.members(name)]
    return list(dict.fromkeys([*ids, *(run.id for run in (*interrupted_bases(lab, members), *members))]))


def _update(lab: Lab, key: str, title: str) -> None:
    watched: dict[str, tuple[str, ...]] = st.session_state[WATCHED]
    # With what a search has added since, also after its end.
    watched[key] = tuple(_with_experiments(lab, watched[key]))
    runs = lab.store.runs_of(watched[key])
    if not is_under_way(runs):
        st.rerun()
    _panel(lab, runs, key, title)


def _panel(lab: Lab, runs: list[Run], key: str, title: str) -> None:
    """Draw the buttons of a panel, and what fetches its own news while it trains."""
    going, ids = is_under_way(runs), [run.id for run in runs]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{literal(title) or ('In training' if going else 'Ended')}**", width="stretch")
        if going:
            finish_button(lab, runs, key)  # afterwards the page offers it beside the result
            lists_runs = stop_button(lab, runs, _labels(lab, runs), key)
        else:
            st.button("Dismiss", icon=":material/close:", key=f"{key}-dismiss", on_click=_dismiss, args=(key,))
            lists_runs = False
    bars = known_bars()

    def view() -> View:
        return _view(lab, lab.store.runs_of(_with_experiments(lab, ids)), bars, key, lists_runs)

    live_view(view, f"{key}-curves", interval(len(all_arms(rows_of(runs)))) if going else None)


def _view(lab: Lab, runs: list[Run], bars: dict[str, tuple[str, ...]], key: str, lists_runs: bool) -> View:
    """How far runs are: a bar, and for each setting a line in both charts and a row."""
    launched = followed(lab, bars, key, runs)
    share = lab.progress.share_done(launched) if launched else None
    words, version = _words(lab, runs, launched), _version(lab, runs, lists_runs)
    # A base is of interest until what is built on it begins, also where it was interrupted or stopped.
    runs = [run for run in runs if run.spec.role is not Role.BASE or run.state != "finished"] or runs
    labels = _labels(lab, runs)
    rows = rows_of(runs)
    arms = [replace(arm, label=labels[arm.key]) for arm in all_arms(rows)]
    curves = {run.id: _curve(lab, run) for run in runs if run.step}
    measure, loss = judged_by(rows).primary, live_loss(arms, curves)
    return View(
        words=words,
        share=share,
        charts={
            f"{key}-loss": (loss, "Training loss of each setting, by epoch"),
            f"{key}-accuracy": (live_measure(arms, curves), f"Validation {measure.noun} of each setting, by epoch"),
        },
        height=loss["layout"]["height"],
        # Of one setting, everything else says the same.
        table=_table_of(arms, curves) if len(arms) > 1 else {},
        about_table=f"Every setting with its progress, its latest validation {measure.noun} and its runs",
        version=version,
    )


def _version(lab: Lab, runs: Sequence[Run], lists_runs: bool) -> str:
    """Differs where buttons of a panel, or how often it is looked at, are no longer what they were."""
    states = [run.state for run in runs] if lists_runs else []
    return repr(
        (is_under_way(runs), is_stopping(runs), len(all_arms(rows_of(runs))), left_of(lab, runs) is not None, states)
    )


def _words(lab: Lab, runs: Sequence[Run], launched: Sequence[Run]) -> str:
    """States of runs, and when they and what was launched with them will have ended."""
    words = state_text(runs)
    if any(run.plan == "open" for run in runs):
        words += ", more may follow while learning rates are searched for"
    return " · ".join(filter(None, [words, shown_left(lab, launched)]))


def _dismiss(key: str) -> None:
    st.session_state[WATCHED].pop(key, None)


def _share(run: Run) -> float:
    return 1.0 if run.state == "finished" else run.progress


def _labels(lab: Lab, runs: list[Run]) -> dict[str, str]:
    """Return labels of arms, unique within an experiment; unique ones across experiments would be too long.

    An arm of several has the label of the one with the most runs here: others gave it runs that they had trained.
    """
    groups = [[run for run in runs if run.experiment is None]]
    for name in {run.experiment for run in runs if run.experiment is not None}:
        members = set(lab.store.experiment(name).runs)
        groups.append([run for run in runs if run.experiment == name or run.id in members])
    labels: dict[str, str] = {}
    for group in sorted(groups, key=len):
        labels |= labels_of(setting_of(run.spec) for run in group)
    return labels


def _curve(lab: Lab, run: Run) -> Curve:
    return lab.store.curve(run.id) if run.is_live else _ended_curve(lab, run.id, run.ended)


@st.cache_resource(show_spinner=False, max_entries=400)
def _ended_curve(_lab: Lab, id: str, ended: float | None) -> Curve:
    """The curve of a run that ended then: it changes only if the run goes on."""
    return _lab.store.curve(id)


def _table_of(arms: list[Arm], curves: Mapping[str, Curve]) -> dict[str, list[str]]:
    """One row per arm: how far its runs are, their primary measure so far, and their states."""
    return {
        "Setting": [arm.label for arm in arms],
        "Progress": [f"{100 * sum(map(_share, arm.runs)) / len(arm.runs):.0f} %" for arm in arms],
        f"Validation {judged_by(arms).primary.noun}, mean of the seeds": [latest_text(arm, curves) for arm in arms],
        "Runs": [state_text(arm.runs) for arm in arms],
    }
