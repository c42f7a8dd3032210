"""What of an experiment is shown: one of its runs, and one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from core.lab import Lab
from core.methods.method import Role
from core.objectives.measure import Measure
from core.results.arm import Arm, arms_of
from core.results.row import row_of
from core.store.record import Experiment, Run
from core.study.figures.palette import colours_of
from core.study.weights.change import layer_shapes, main_arms, main_run
from pages.shared.ui.links import link
from pages.shared.ui.pickers import pick, start_id


@dataclass(frozen=True)
class Focus:
    """The chosen experiment, run and layer, and what is shown with them."""

    lab: Lab
    experiment: Experiment
    arms: tuple[Arm, ...]
    """The arms that are shown: full fine-tuning and each rank at its best learning rate, and the chosen run's arm."""
    run: Run
    arm: Arm
    """The arm of the chosen run."""
    layer: str
    shapes: Mapping[str, tuple[int, int]]
    """(out, in) of each layer, by its path."""
    colours: Mapping[str, str]
    """Colour of each arm of the experiment, by its key."""

    @property
    def measure(self) -> Measure:
        """What the runs are judged by."""
        return self.run.spec.objective.primary

    @property
    def seed(self) -> int:
        """Seed of the chosen run; other arms are shown with the same seed."""
        return self.run.spec.seed

    @property
    def colour(self) -> str:
        """Colour of the chosen run's arm."""
        return self.colours[self.arm.key]

    @property
    def among_own(self) -> str:
        """How the source is judged where its classes are only some of the network's, as the end of a clause."""
        return ", the source among its own classes" if self.run.spec.is_split else ""

    @property
    def has_new_head(self) -> bool:
        """Whether the base came without a head, which is then not among the layers."""
        return len(self.shapes) < len(self.run.spec.network.linear_layers())

    @property
    def full(self) -> Arm | None:
        """Full fine-tuning; None where the experiment has none."""
        return next((arm for arm in self.arms if arm.role is Role.REFERENCE), None)

    @property
    def name(self) -> str:
        """The chosen run in a few words."""
        return f"{self.arm.label}, seed {self.seed}"


def choose_focus(lab: Lab, experiment: Experiment, members: Sequence[Run]) -> Focus | None:
    """Draw the choices of run and layer, which are kept in the URL; return None if no run has a result yet."""
    # Controls are judged by their scores: from scratch has no ΔW from the base, and head only has one by design.
    everything = arms_of(row_of(run) for run in members if run.spec.role is not Role.CONTROL)
    if not everything:
        return None
    runs = {run.id: (arm, run) for arm in everything for run in arm.runs}
    names = {
        id: f"{arm.label}, seed {run.spec.seed}" + (f" · {run.score_text()}" if run.result else "")
        for id, (arm, run) in runs.items()
    }
    asked = st.query_params.get("run", "")
    # A run of the experiment that was shown before, or none; a run that does not exist is told of by the choice below.
    if asked not in names and (not asked or lab.store.runs_of([asked])):
        first = main_run(members)
        start = first.id if first is not None else next(iter(names))
        st.query_params["run"] = start
        # The layer is of the run that was shown before, too, and this network may have none of that name.
        if asked and st.query_params.get("layer") not in layer_shapes(runs[start][1].spec.network):
            st.query_params.pop("layer", None)
    left, right = st.columns(2, gap="medium")
    with left:
        arm, run = runs[pick("Run", names, "run", "The trained network to analyse, shown beside other settings.")]
    shapes = layer_shapes(run.spec.network)
    with right:
        layers = {path: f"{path} · {inputs:,} → {outputs:,}" for path, (outputs, inputs) in shapes.items()}
        layer = pick("Layer", layers, "layer", "Each layer with its number of inputs and outputs.")
    shown = tuple(main_arms(members, always=run))
    colours = colours_of(run.spec for run in members)
    return Focus(lab, experiment, shown, run, arm, layer, shapes, colours)


def make_more(focus: Focus, label: str) -> None:
    """Draw a link to the Fine-tune page with the same base."""
    link("new", label, {"base": start_id(focus.run.spec)})
