"""What is shown of an experiment: its runs, the arms among them, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.objectives.objective import ObjectiveSpec
from core.results.arm import Arm, arms_of, averaged_arms, named
from core.results.choice import chosen_arms, dropped_sentences
from core.results.results import Results
from core.results.row import Row, rows_of
from core.results.setting import labels_of, setting_of
from core.rule.decide import decide
from core.rule.place import Place
from core.rule.tuning import is_tuned
from core.store.record import Curve, Experiment, Run
from core.study.arms.accuracies import Accuracies
from core.study.arms.fairness import comparable
from core.study.figures.palette import colours_of
from core.study.report.answer import answer_before, place_of
from core.study.report.evidence import epochs_of, overlaps_of
from core.study.report.shown import Shown
from core.study.weights.predicted import tested_by
from core.study.weights.remeasured import base_accuracies
from pages.experiment.selected import SELECTION
from pages.shared.experiment.measured import measured
from pages.shared.ui.literal import literal


@dataclass(frozen=True)
class Comparison:
    """The runs that are compared, and two choices of the reader."""

    lab: Lab
    experiment: Experiment
    everything: tuple[Run, ...]
    """All runs of the experiment."""
    members: tuple[Run, ...]
    """The runs that are shown."""
    bases: tuple[Run, ...]
    all_tried: bool
    """Whether every setting of the runs is drawn, instead of those that the validation part chose."""
    masked: bool
    """Whether accuracy on the source is judged among its own classes."""
    at: Place | None = None
    """The point of a study whose runs these are; None for an experiment without an axis."""

    @cached_property
    def rows(self) -> list[Row]:
        """All runs of the experiment as rows."""
        return rows_of(self.everything)

    @cached_property
    def verdict(self) -> Place:
        """The verdict of all runs: to show fewer settings makes no claim more certain."""
        if self.experiment.id == SELECTION:
            return decide(Results(self.rows, tested_by(self.lab), is_selection=True)).place
        if self.at is not None:
            return self.at
        return place_of(self.lab, self.experiment, self.everything)

    @cached_property
    def before(self) -> Place | None:
        """The answer that was read before runs were added that are to finish; None where there is none."""
        return answer_before(self.lab, self.experiment, self.everything) if self.verdict.unread else None

    @property
    def read(self) -> list[Arm]:
        """The settings whose test part was read."""
        if self.verdict.unread:
            return named(chosen_arms(self.before.rows)) if self.before is not None else []
        return self.shown

    @property
    def warnings(self) -> list[str]:
        """What makes the comparison unfair, where there is one to be read, and examples that are in both parts."""
        overlaps = overlaps_of(self.lab, [run.spec for run in self.members])
        return [] if self.verdict.unread else [*overlaps, *dropped_sentences(self.rows), *comparable(self.rows)]

    @property
    def narrowed(self) -> bool:
        """Whether the reader asked for some settings alone."""
        return self.members != self.everything

    @cached_property
    def arms(self) -> list[Arm]:
        """All arms with results among the runs that are shown, with their finished runs where they have any."""
        return averaged_arms(rows_of(self.members))

    @cached_property
    def stopped(self) -> list[Row]:
        """Stopped rows that no mean counts, since their arms have finished ones."""
        counted = {row.id for arm in self.arms for row in arm.rows}
        return [row for arm in arms_of(rows_of(self.members)) for row in arm.rows if row.id not in counted]

    @cached_property
    def tuned(self) -> bool:
        """Whether there was anything to choose among in the experiment."""
        return is_tuned(row.setting for row in self.rows)

    @cached_property
    def chosen(self) -> list[Arm]:
        """One arm of the experiment for each method, rank and control; what is tested together."""
        return named(chosen_arms(self.rows))

    @cached_property
    def shown(self) -> list[Arm]:
        """The arms that are drawn. Stopped runs take no part in a choice, and are drawn where none was made."""
        if self.all_tried:
            return self.arms
        return self.chosen if self.tuned and self.chosen and not self.narrowed else named(self.arms)

    @cached_property
    def colours(self) -> Mapping[str, str]:
        """Colour of each arm of the experiment, by key."""
        specs = [run.spec for run in self.everything]
        return colours_of(specs, by_rate=self.all_tried)

    @cached_property
    def drawn(self) -> list[Run]:
        """Runs with a curve, in the order of training."""
        keys, live = {arm.key for arm in self.shown}, self.narrowed or not self.tuned
        return [r for r in self.members if r.step and (r.spec.arm in keys or (r.is_live and live))]

    @cached_property
    def labels(self) -> dict[str, str]:
        """Label of each arm that has a curve, by key."""
        return labels_of(setting_of(run.spec) for run in self.drawn)

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """Curves by run id."""
        return {run.id: self.lab.store.curve(run.id) for run in self.drawn}

    @property
    def has_source(self) -> bool:
        """Whether the primary measure on the source was measured."""
        return any(
            run.result and run.result.measures.get(self.objective.on_source()) is not None for run in self.members
        )

    @property
    def sections(self) -> Shown:
        """What the sections of the answer are made of; the test part is not in those that can be made while it is not
        to be read.
        """
        return Shown(
            self.shown,
            self.verdict,
            self.rows,
            self.colours,
            compared=self.chosen,
            stopped=self.stopped,
            masked=self.masked,
            tested=tested_by(self.lab),
            curves=lambda: measured(epochs_of, self.lab, [run for run in self.everything if run.state == "finished"]),
            base=self._base,
            forecasts=lambda: self.lab.estimates.at_launch([run.id for arm in self.shown for run in arm.runs]),
        )

    def _base(self) -> Accuracies | None:
        """The base on the validation parts; None where it is gone, of which this says why."""
        try:
            return measured(base_accuracies, self.lab, self.shown)
        except LabError as error:
            st.caption(f"Where the base stood is not shown: {literal(str(error))}")
            return None

    @property
    def objective(self) -> ObjectiveSpec:
        """What the runs learn, and by which measure they are judged."""
        return self.everything[0].spec.objective
