"""Adapters in a line each, and what their experiment says of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from core.answer.lines import headline
from core.lab import Lab
from core.results.arm import Arm, averaged_arms
from core.results.row import rows_of
from core.results.setting import setting_of
from core.store.record import Experiment, Run
from core.study.arms.rates import setting_texts
from core.study.report.answer import answer_before, last_read
from pages.shared.experiment.verdict_view import offers_adapter
from pages.shared.ui.literal import literal


def adapter_texts(runs: Mapping[str, Run]) -> dict[str, str]:
    """Describe adapters of one experiment in a line each: setting, seed and score on the test part, by id."""
    names = setting_texts(setting_of(run.spec) for run in runs.values())
    return {id: f"{names[run.spec.arm]}, seed {run.spec.seed} · {run.score_text()}" for id, run in runs.items()}


@dataclass(frozen=True)
class Said:
    """What the experiment of a run says of the run's setting."""

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
        sentences = [literal(self.headline)]
        if not self.is_offered:
            sentences.append("So no adapter is offered above.")
        if self.is_first:
            sentences.append(
                "This adapter comes first, because its seed is the nearest to the mean of its setting on the "
                "validation part."
            )
        st.markdown(" ".join(sentences))


def said_of(lab: Lab, experiment: Experiment, members: Sequence[Run], run: Run) -> Said:
    """What the experiment of a run says. Args: members: its runs."""
    found = last_read(lab, experiment, members)
    arms = [] if found.unread else averaged_arms(rows_of(members))
    setting = next((arm for arm in arms if arm.key == run.spec.arm and len(arm.finished) > 1), None)
    is_first = setting is not None and found.offered is not None and found.offered.id == run.id
    is_first = is_first and run.validated is not None
    before = answer_before(lab, experiment, members) if found.unread else None
    is_offered = offers_adapter(found if before is None else before)
    return Said(headline(found), setting, is_first, is_offered)
