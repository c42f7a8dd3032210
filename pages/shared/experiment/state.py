"""What became of runs, in the same words on every page, and the buttons that stop and finish all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import streamlit as st

from core.answer.design import look_line
from core.engine.launcher import Rest
from core.errors import LabError
from core.lab import Lab
from core.numbers import counted, left_text, range_text, seeds_text
from core.plan.experiment import settings_of
from core.results.setting import labels_of, setting_of
from core.rule.place import Place
from core.run_spec import RunSpec
from core.store.record import Experiment, Run, State, is_under_way
from core.study.report.answer import bases_of, with_bases
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.primary import on_primary

FOLLOWED = "followed-runs"
"""Session state key: ids of the runs that each bar is of, by the key of the bar."""


def known_bars() -> dict[str, tuple[str, ...]]:
    """What the bars of this session are of: ids of runs by the key of the bar."""
    found: dict[str, tuple[str, ...]] = st.session_state.setdefault(FOLLOWED, {})
    return found


def followed(lab: Lab, bars: dict[str, tuple[str, ...]], key: str, runs: Sequence[Run]) -> list[Run]:
    """What a bar is of: those of these runs that are live, what was launched with them, and what the bar was of before;
    nothing once all of it has ended.

    Args:
        lab: has the runs.
        bars: of the session, as :func:`known_bars` returns them; what this bar is of is kept there.
        key: of the bar, unique in the session.
        runs: what is looked at.
    """
    before = lab.store.runs_of(bars.get(key, ()))
    found = {run.id: run for run in before} if is_under_way(before) else {}
    if new := [run for run in runs if run.is_live and run.id not in found]:
        found |= {run.id: run for run in lab.progress.launched_with(new)}
    bars[key] = tuple(found)
    return list(found.values())


STATES: tuple[State, ...] = ("running", "queued", "stopped", "failed", "interrupted")

MAX_DELETED = 3
"""Maximum number of settings with deleted runs that are named; others are counted."""


def state_text(runs: Sequence[Run]) -> str:
    """Describe the states of runs, as in ``12 of 20 finished, 8 interrupted``."""
    return counts_text(Counter(run.state for run in runs))


def counts_text(counts: Mapping[State, int]) -> str:
    """The text of :func:`state_text` for so many runs in each state."""
    words = [f"{counts.get('finished', 0)} of {sum(counts.values())} finished"]
    return ", ".join(words + [f"{counts[state]} {state}" for state in STATES if counts.get(state)])


def state_line(lab: Lab, runs: Sequence[Run], key: str, found: Place | None = None) -> None:
    """Say how many runs are not finished, and offer to finish them; draw nothing if all are.

    Args:
        lab: has the runs.
        runs: of one experiment, or those that are looked at.
        key: prefix of the widget keys.
        found: the verdict on an experiment, which may wait for stopped runs.
    """
    if all(run.state == "finished" and run.plan != "waiting" for run in runs):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(state_text(with_bases(lab, runs)), width="content")
        finish_button(lab, runs, key)
        if found is not None and found.answerable:
            left = [run.id for run in runs if run.state == "stopped"]
            st.button(
                f"Answer with the {counted(found.answerable, 'seed')} that finished",
                icon=":material/done_all:",
                key=f"{key}-answer",
                on_click=lab.notes.archive,
                args=(left,),
                help="Archives the runs that were stopped; they can still be finished. "
                + look_line(found.answerable, found.before),
            )


def left_of(lab: Lab, runs: Sequence[Run]) -> Rest | None:
    """What a person can have trained to its end; empty where only a search waits for somebody, None for nothing."""
    rest = lab.launcher.rest([run.id for run in runs]) if any(run.is_unfinished for run in runs) else Rest()
    return rest if rest or any(run.plan == "waiting" for run in runs) else None


def finish_words(rest: Rest, runs: Sequence[Run]) -> str:
    """What finishing these runs takes, as in ``Finish: at least 69 runs``; without runs it is the search that goes on.

    Args:
        rest: what is left of them.
        runs: those of an experiment whose search has not ended may be followed by others.
    """
    least = "at least " * any(run.plan in ("open", "waiting") for run in runs)
    return f"Finish: {least}{counted(len(rest.everything), 'run')}" if rest else "Go on with the search"


def finish_text(lab: Lab, rest: Rest, runs: Sequence[Run]) -> str:
    """The same with the time, as in ``Finish: 69 runs, 20 to 40 s``. Args: see :func:`finish_words`."""
    words = [finish_words(rest, runs)]
    if not rest:
        return words[0]
    try:
        left = lab.estimates.rest(rest.everything)
    except LabError:  # A dataset is gone, which the button says when it is pressed.
        return words[0]
    if left.seconds is not None:
        words.append(range_text(left.seconds_low, left.seconds_high))
    return ", ".join(words)


def finish_button(lab: Lab, runs: Sequence[Run], key: str) -> None:
    """Draw a button that trains those of these runs to their ends that ended before, in one call; else nothing."""
    rest = left_of(lab, runs)
    if rest is not None and st.button(
        on_primary(finish_text(lab, rest, runs)),
        type="primary",
        icon=":material/play_arrow:",
        key=f"{key}-finish",
        help="Each run goes on from where it was, or from its first step where that is not known any more.",
    ):
        with errors_shown():
            lab.launcher.finish([run.id for run in runs])
            st.rerun()


def deleted_line(lab: Lab, experiment: Experiment, members: Sequence[Run], key: str) -> None:
    """Name the settings and seeds of an experiment whose runs were deleted, and offer to train them again.

    Args:
        lab: has the experiment.
        experiment: which one.
        members: its runs.
        key: prefix of the widget keys.
    """
    specs = [run.spec for run in members]
    places, seeds = {(spec.arm, spec.seed) for spec in specs}, {spec.seed for spec in specs}
    if experiment.plan is None and len(places) == len(settings_of(specs)) * len(seeds):
        return
    try:
        missing = lab.experiments.deleted(experiment).runs
    except LabError:  # its base has no result, so there is nothing to add to
        return
    if not missing:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(literal(f"Deleted: {_named(missing, specs)}."), width="content")
        if st.button(f"Train {counted(len(missing), 'run')} again", icon=":material/replay:", key=f"{key}-deleted"):
            with errors_shown():
                lab.experiments.restore_deleted(experiment)
                st.rerun()


def _named(missing: Sequence[RunSpec], others: Sequence[RunSpec]) -> str:
    """Settings with their seeds, as in ``Full, seeds 0 and 1``; a few of them."""
    labels = labels_of(map(setting_of, [*others, *missing]))
    seeds: dict[str, list[int]] = {}
    for spec in missing:
        seeds.setdefault(spec.arm, []).append(spec.seed)
    words = [f"{labels[arm]}, {seeds_text(own)}" for arm, own in seeds.items()]
    rest = len(words) - MAX_DELETED
    return "; ".join(words[:MAX_DELETED]) + (f"; and of {counted(rest, 'other setting')}" if rest > 0 else "")


def interrupted_bases(lab: Lab, runs: Sequence[Run]) -> list[Run]:
    """Bases that were interrupted, and for which live ones of these runs wait until somebody finishes them."""
    bases = lab.store.runs_of(bases_of([run for run in runs if run.is_live]))
    return [base for base in bases if base.state == "interrupted"]


MIN_BOUND = 60.0
"""Seconds below which a lower bound of the time left is not worth showing."""


def is_stopping(runs: Iterable[Run]) -> bool:
    """Whether some of these runs still train, all of which somebody has stopped."""
    live = [run for run in runs if run.is_live]
    return bool(live) and all(run.stop_asked for run in live)


MOMENT = 0.5
"""Seconds within which all parts of a page are told the same time left."""


def shown_left(lab: Lab, runs: Sequence[Run]) -> str:
    """The text of :func:`time_left` as of one moment, so that no two parts of a page round it differently."""
    live = tuple((run.id, run.stop_asked) for run in runs if run.is_live)
    return _left_at_a_moment(lab, str(lab.settings.home), live)


@st.cache_data(show_spinner=False, ttl=MOMENT)
def _left_at_a_moment(_lab: Lab, home: str, live: Sequence[tuple[str, bool]]) -> str:
    return time_left(_lab, _lab.store.runs_of([id for id, _ in live]))


def time_left(lab: Lab, runs: Sequence[Run]) -> str:
    """The time that live runs will still take, with what searches are expected to add, as in ``5 to 10 s left``; where
    that of some is not known, a lower bound of a minute or more, as in ``more than 5 min left: …``, or the time without
    what a search may add; else that it is not known yet. Forecasts are of training, and measuring on many test texts
    takes long, too, which is said instead. Empty where none is live.

    Args:
        lab: trains the runs.
        runs: what a bar is of, as :func:`followed` returns it: two bars of the same launch then say the same.
    """
    live = [run for run in runs if run.is_live]
    if not live:
        return ""
    if is_stopping(live):
        return "stopping …"
    if all(run.state == "running" and run.progress >= 1 for run in live):
        return "trained, being measured on the test part"
    try:
        coming = lab.progress.coming(live)
        left = lab.estimates.remaining(live, coming)
        if left.seconds is not None:
            return left_text(left.seconds_low, left.seconds_high)
        bound = left.seconds_low or 0.0
        if bound < MIN_BOUND and coming:
            own = lab.estimates.remaining(live)
            ends = (own.seconds_low, own.seconds_high) if own.seconds is not None else (bound or None, None)
            return f"{left_text(*ends)}, the search may add runs"
    except LabError:
        return left_text(None, None)  # A dataset is gone: its runs will fail, and say so.
    return left_text(bound if bound >= MIN_BOUND else None, None)
