"""Bases: networks that were pretrained here, and the form that pretrains another."""

from __future__ import annotations

import streamlit as st

from core.data.task_spec import TaskSpec
from core.engine.launcher import Planned
from core.errors import LabError
from core.forecast.forecast import plan
from core.lab import Lab
from core.methods.method import Role
from core.methods.pretrain import PretrainSpec
from core.networks.network import NetworkSpec
from core.numbers import count_text
from core.plan.configuration import objective_for
from core.plan.experiment import pretraining_for
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Run
from core.wording.tasks import task_text
from pages.shared.experiment.estimate import SEE_FORM, fit_warning, time_and_memory
from pages.shared.experiment.live import live_panel
from pages.shared.forms import widgets
from pages.shared.forms.datasets import dataset_picker, learned, take_dataset
from pages.shared.forms.network import network_form
from pages.shared.forms.optim import family_key, optim_form
from pages.shared.forms.task_preview import task_preview
from pages.shared.forms.view import own_task
from pages.shared.ui.links import link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import base_facts
from pages.shared.ui.primary import on_primary

DATASET = "pretrain-dataset"
"""Key of the choice of the dataset."""


def asked_for(lab: Lab, model: NetworkSpec, task: TaskSpec) -> RunSpec:
    """Draw how a network is pretrained; return the run. Raises: SpecError: the settings contradict each other."""
    optim = optim_form("pretrain", model)
    left, right = st.columns(2, gap="medium")
    with left:
        rate = widgets.learning_rate(PretrainSpec, model, f"{family_key('pretrain', model)}-rate")
    with right:
        device = widgets.device(lab, "pretrain-device")
    with st.expander("Early stopping and seed", icon=":material/tune:"):
        patience = widgets.whole(OptimSpec, "patience", "pretrain-patience", maximum=20)
        keep = widgets.word(OptimSpec, "keep", "pretrain-keep")
        seed = widgets.whole(RunSpec, "seed", "pretrain-seed", maximum=100)
    return RunSpec.of(
        method=pretraining_for(lab.catalog, task, model),
        network=model,
        task=task,
        seed=seed,
        device=device,
        optim=optim.but(learning_rate=rate, patience=patience, keep=keep),
        objective=objective_for(lab.catalog, task, model.learns),
    )


def same_base(lab: Lab, spec: RunSpec) -> Run | None:
    """The newest run of these settings that has, or will have, a result: another one would be trained like it."""
    there = lab.store.runs(methods=[spec.kind], states=["queued", "running", "interrupted", "finished"])
    return next((run for run in there if run.spec == spec), None)


def bases_part(lab: Lab) -> None:
    """Draw the bases that there are, and the form that pretrains another."""
    live_panel(lab, [run.id for run in lab.live() if run.spec.role is Role.BASE], "pretrain-live")

    take_dataset(lab, DATASET)
    spec, needed = None, ""
    settings, cost = st.columns([3, 2], gap="large")
    with settings:
        dataset = dataset_picker(lab, "Dataset", DATASET)
        if dataset is None:
            needed = "Choose a dataset that is available on this machine."
        else:
            try:
                info = learned(lab, lab.catalog.info(dataset), "pretrain-learned")
                settings_of_task = st.expander("Task: classes, rotation, validation part", icon=":material/transform:")
                model = network_form(lab, info, "pretrain")
                with settings_of_task:
                    task = own_task(info, "pretrain", model)
                task_preview(lab, task, "pretrain", model)
                if model is None:
                    needed = "Import a network first."
                else:
                    spec = asked_for(lab, model, task)
            except LabError as error:
                needed = SEE_FORM
                st.error(literal(str(error)))

    with cost, st.container(border=True):
        st.subheader("Estimated cost")
        if spec is None:
            st.caption(needed)
        else:
            with errors_shown():
                with st.grid(2, min_column_width=130):
                    st.metric("Trainable parameters", count_text(plan(spec.network, spec.method).trainable_parameters))
                    st.metric("Steps", count_text(lab.estimates.steps(spec)))
                    time_and_memory(lab, Planned((spec,)))
                fit_warning(lab, [spec])
                if st.button(
                    on_primary("Start pretraining"), type="primary", icon=":material/play_arrow:", width="stretch"
                ):
                    known = same_base(lab, spec)
                    if known is None:
                        lab.launcher.launch(spec)
                        st.rerun()
                    st.info(f"This base is there already: {known.id}. Another seed gives another one.")
                    link("runs", "Open it", {"run": known.id})
    st.subheader("Bases")
    bases = lab.bases()
    if not bases:
        st.caption("The networks that you pretrain are listed here, ready for fine-tuning.")
    for base in bases[:10]:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{literal(task_text(base.spec.task, base.spec.objective))}**")
            st.caption(literal(base_facts(base)))
            link("new", "Fine-tune", {"base": base.id})
