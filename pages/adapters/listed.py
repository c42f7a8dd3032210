"""The adapters of runs to choose from, that of the answer first, and what their experiments say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from core.answer.lines import headline
from core.lab import Lab
from core.methods.method import Role
from core.methods.registry import methods
from core.numbers import count_text
from core.results.arm import Arm, averaged_arms
from core.results.row import rows_of
from core.results.setting import Setting, setting_of
from core.store.record import Experiment, Run
from core.study.arms.rates import setting_texts
from core.study.report.answer import answer_before, last_read
from core.wording.tasks import task_text
from pages.shared.experiment.current import (
    QUERY,
    asked_for,
    experiment_with,
    known,
    missing_sentence,
    offered_here,
    remember,
)
from pages.shared.experiment.verdict_view import offers_adapter
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import experiment_text, pick, when

ALONE = "none"
"""In place of an experiment's id in the address: runs that are of none, or of one that is not listed."""

LISTED = 500
"""Maximum number of adapters to choose from, the newest."""


def listed_adapters(lab: Lab, asked: str | None) -> dict[str, Run]:
    """The runs with an adapter, by id, that of the answer first; say where there are more of them than are listed.

    Args:
        lab: has the runs.
        asked: id of a run that is listed in any case, if it exists and has an adapter.
    """
    found = lab.store.runs(methods=list(methods(Role.ADAPTER)), states=["finished", "stopped"], limit=LISTED + 1)
    if len(found) > LISTED:
        st.caption(f"Only the newest {count_text(LISTED)} adapters are listed; the Runs page links to older ones.")
    listed = found[:LISTED]
    older = lab.store.runs_of([asked]) if asked and asked not in {run.id for run in listed} else []
    offered = offered_here(lab)
    everything = [*([offered] if offered else []), *listed, *older]
    return {run.id: run for run in everything if run.result is not None and run.spec.role is Role.ADAPTER}


def of_an_experiment(lab: Lab, runs: Mapping[str, Run], asked: str | None) -> dict[str, Run]:
    """Draw a choice of experiments where these runs are of several; return the runs of the chosen one.

    Args:
        lab: has the runs.
        runs: as :func:`listed_adapters` returns them.
        asked: id of a run whose experiment is chosen at first; else the current one is, or that of the first run.
    """
    own = experiment_with(lab, runs.get(asked or "") or next(iter(runs.values())))
    wanted = asked_for(lab)
    named = known(lab, wanted or "")
    known_ones = {each.id: each for each in (own, named, *lab.store.experiments()) if each is not None}
    begin = [own.id if own is not None else ALONE]
    begin = [*begin, wanted] if asked in runs else [wanted, *begin]
    groups = {id: {run: runs[run] for run in runs if run in set(each.runs)} for id, each in known_ones.items()}
    groups[ALONE] = {id: run for id, run in runs.items() if not any(id in group for group in groups.values())}
    order = [id for id in dict.fromkeys([*begin, *groups]) if id and groups.get(id)]
    if len(order) < 2:
        return dict(runs)
    names = {id: experiment_text(lab, known_ones[id]) if id != ALONE else "Other runs" for id in order}
    chosen = pick("Experiment", names, QUERY, missing=missing_sentence(wanted or ""))
    if chosen != ALONE:
        remember(chosen)
    return groups[chosen]


def adapter_texts(runs: Mapping[str, Run]) -> dict[str, str]:
    """Describe adapters in one line each: setting, seed, score on the test part, task and time.

    Settings that would read alike on one task also have what they differ in, such as their epochs.

    Args:
        runs: with a result each, by id.

    Returns:
        The texts, by id.
    """
    tasks = {id: task_text(run.spec.task, run.spec.objective) for id, run in runs.items()}
    on: dict[str, list[Setting]] = {}
    for id, run in runs.items():
        on.setdefault(tasks[id], []).append(setting_of(run.spec))
    names = {task: setting_texts(settings) for task, settings in on.items()}
    return {
        id: f"{names[tasks[id]][run.spec.arm]}, seed {run.spec.seed} · {run.score_text()} · {tasks[id]} · "
        f"{when(run.created)}"
        for id, run in runs.items()
    }


@dataclass(frozen=True)
class Said:
    """What the experiment of a run says of the run's setting."""

    experiment: Experiment
    headline: str
    """Its answer, or why it has none."""
    setting: Arm | None
    """The run's setting where several of its seeds have finished; None while the test part is not to be read."""
    is_first: bool
    """Whether the run is offered, of all seeds of its setting."""
    is_offered: bool
    """Whether other pages offer an adapter of the experiment."""

    def show_mean(self) -> None:
        """Draw the mean over the seeds on the test part, to be read beside the value of the run."""
        if self.setting is not None:
            measure = self.setting.spec.objective.primary
            st.metric(
                f"Mean of {len(self.setting.runs)} seeds",
                measure.text(self.setting.interval(measure.name).mean, 1),
                border=True,
                help=f"{measure.title} on the test part, over all seeds of this setting that have finished.",
            )

    def show_answer(self) -> None:
        """Draw the answer of the experiment, and why this run is the first."""
        sentences = [f"**{literal(self.experiment.name)}:** {literal(self.headline)}"]
        if not self.is_offered:
            sentences.append("So no other page offers an adapter of it.")
        if self.is_first:
            sentences.append(
                "This adapter comes first, because its seed is the nearest to the mean of its setting on the "
                "validation part."
            )
        st.markdown(" ".join(sentences))


def said_of(lab: Lab, run: Run) -> Said | None:
    """What the experiment of a run says; None for a run that is of none."""
    experiment = experiment_with(lab, run)
    if experiment is None:
        return None
    members = lab.store.members(experiment)
    found = last_read(lab, experiment, members)
    arms = [] if found.unread else averaged_arms(rows_of(members))
    setting = next((arm for arm in arms if arm.key == run.spec.arm and len(arm.finished) > 1), None)
    is_first = setting is not None and found.offered is not None and found.offered.id == run.id
    is_first = is_first and run.validated is not None
    before = answer_before(lab, experiment, members) if found.unread else None
    is_offered = offers_adapter(found if before is None else before)
    return Said(experiment, headline(found), setting, is_first, is_offered)
