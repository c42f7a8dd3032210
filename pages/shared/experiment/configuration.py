"""Experiments as files: saving what a form or an experiment says, and opening a file in place of filling in a form."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from core.engine.launcher import Planned
from core.errors import LabError
from core.lab import Lab
from core.numbers import counted, seeds_text
from core.plan.configuration import Configuration
from core.plan.configuration_file import MAX_FILE, read_configuration, write_configuration
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Experiment
from core.study.arms.tables import settings_table
from core.wording.tasks import judged_text, task_text
from pages.shared.experiment.estimate import fit_warning
from pages.shared.experiment.like import fill_from, settle_like
from pages.shared.experiment.price import price_table, rate_warning
from pages.shared.experiment.start import start_button
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import base_text

SAVE = "Save experiment as file"
"""Label of the link, wherever it is."""

TYPE = "application/json"

State = Literal["filled", "shown", "beyond"]
"""What has become of an open file: the form was just filled from it, shows all of it, or cannot."""


def save_button(configuration: Configuration, key: str, name: str = "experiment") -> None:
    """Draw a link that downloads a configuration.

    Args:
        configuration: what to download.
        key: of the link.
        name: of the file, without ending.
    """
    download(
        SAVE,
        lambda: write_configuration(configuration),
        f"{name}.json",
        TYPE,
        key,
        help="The experiment as a JSON file: edit it, open it here or on another machine, or run it with "
        "`python -m core compare --config FILE`.",
    )


def save_experiment(lab: Lab, experiment: Experiment, key: str) -> None:
    """Draw a link that downloads the configuration of an experiment; none where its base is gone."""
    try:
        save_button(lab.experiments.configuration(experiment), key, experiment.id)
    except LabError:
        return


def open_file(lab: Lab, key: str) -> Configuration | None:
    """Draw an uploader for a configuration, and fill a form from it before the form is drawn.

    Args:
        lab: has datasets, networks and bases.
        key: prefix of the form's widget keys.

    Returns:
        The configuration if the form cannot show all of it, to draw :func:`opened_experiment` instead; else None.
    """
    turn = st.session_state.setdefault(f"{key}-open-turn", 0)
    with st.popover("Open file", icon=":material/folder_open:"):
        file = st.file_uploader(
            "An experiment as a JSON file", max_upload_size=MAX_FILE // 2**20, type="json", key=f"{key}-open-{turn}"
        )
        st.caption(f"A file that *{SAVE}* has written, here or elsewhere, or that you have edited.")
    if file is None:
        st.session_state.pop(f"{key}-open-state", None)
        return None
    try:
        configuration = read_configuration(file.getvalue(), lab.catalog, lab.networks)
        planned = lab.launcher.plan(configuration)
        lab.launcher.check_runs(planned.specs)
    except LabError as error:
        st.error(literal(f"{file.name}: {error}"))
        return None
    known: tuple[str, State] | None = st.session_state.get(f"{key}-open-state")
    if known is None or known[0] != file.file_id:
        start = _start_of(lab, configuration)
        if start is not None:
            search = configuration.tune if configuration.is_search else None
            plain = planned if configuration.vary is None else lab.launcher.plan(configuration.but(vary=None))
            fill_from(lab, plain.least or plain.runs, start, search, configuration.vary)
            st.session_state[f"{key}-trim"] = configuration.trim
        known = file.file_id, "filled" if start is not None else "beyond"
        st.session_state[f"{key}-open-state"] = known
    st.session_state[f"{key}-open"] = configuration
    return configuration if known[1] == "beyond" else None


def settle(lab: Lab, key: str, shown: Configuration | None) -> None:
    """Say, after a form was drawn that was just filled, whether it shows all that it was filled from.

    Args:
        lab: has the experiment that it was filled from, if it was none in a file.
        key: prefix of the form's widget keys.
        shown: what the form says; None while it says nothing that could be trained.
    """
    settle_file(key, shown)
    settle_like(lab, shown)


def settle_file(key: str, shown: Configuration | None) -> None:
    """Decide, after a form was drawn that was just filled from a file, whether it shows all that the file says.

    Args:
        key: prefix of the form's widget keys.
        shown: what the form says; None while it says nothing that could be trained.
    """
    known: tuple[str, State] | None = st.session_state.get(f"{key}-open-state")
    if known is None or known[1] != "filled":
        return
    opened: Configuration = st.session_state[f"{key}-open"]
    same = shown is not None and shown.asks_the_same(opened)
    st.session_state[f"{key}-open-state"] = known[0], "shown" if same else "beyond"
    if not same:
        st.rerun()
    st.toast("The form has all that the file says.", icon=":material/tune:")


def opened_experiment(lab: Lab, configuration: Configuration, key: str) -> Experiment | None:
    """Draw what a file says that a form cannot show, what it costs, and a button that starts it.

    Args:
        lab: forecasts and queues the runs.
        configuration: what the file says.
        key: prefix of the widget keys.

    Returns:
        The experiment that was just started, or that has these runs already; None otherwise.
    """
    st.info("The form cannot show all that this file says, so here it is as a whole.", icon=":material/description:")
    about, cost = st.columns([3, 2], gap="large")
    with errors_shown():
        planned = lab.launcher.plan(configuration)
        with about:
            st.subheader("What the file says")
            for title, line in _lines(lab, configuration, planned).items():
                st.markdown(f"**{title}:** {literal(line)}")
            dataframe(settings_table(configuration.settings), hide_index=True, alt="Every setting that is trained")
            st.button("Close the file", icon=":material/close:", key=f"{key}-close", on_click=close_file, args=(key,))
        with cost, st.container(border=True):
            st.subheader("Estimated cost")
            price_table(lab, planned)
            fit_warning(lab, planned.specs)
            rate_warning(configuration.settings)
            button = f"{key}-start-file"
            experiment = start_button(lab, planned, configuration.trim, "Start the experiment", button, wide=True)
            if experiment is not None:
                close_file(key)
            return experiment
    return None


def close_file(key: str) -> None:
    """Forget the open file, so that the form is drawn again, and keeps every network unless somebody says so."""
    st.session_state[f"{key}-trim"] = False
    st.session_state[f"{key}-open-turn"] = st.session_state.get(f"{key}-open-turn", 0) + 1
    st.session_state.pop(f"{key}-open-state", None)


def _start_of(lab: Lab, configuration: Configuration) -> str | None:
    """What a form can choose so that runs start as a file says; None where there is nothing like it here yet."""
    wanted = configuration.base
    if wanted is None:
        return configuration.start.brought
    alike = [run for run in lab.bases() if run.state == "finished" and _is_like(run.spec, wanted, configuration)]
    return max(alike, key=lambda run: run.spec == wanted).id if alike else None


def _is_like(spec: RunSpec, wanted: RunSpec, configuration: Configuration) -> bool:
    return (spec.but(seed=wanted.seed) if configuration.own_bases else spec) == wanted


def _lines(lab: Lab, configuration: Configuration, planned: Planned) -> dict[str, str]:
    """What a configuration says, by titles."""
    base, first = configuration.base, planned.runs[0]
    lines: dict[str, str] = {}
    if base is None:
        lines["Base"] = base_text(lab, configuration.start)
    else:
        start = configuration.start
        each = "one for each seed, " if configuration.own_bases else ""
        lines["Base"] = (
            f"{each}{start.title} {lab.networks.title_of(start)} · {task_text(base.task, base.objective)} · "
            f"{_trained(base.optim)}"
        )
    lines["Task"] = task_text(configuration.task)
    lines["Judged by"] = judged_text(configuration.objective)
    if configuration.vary is not None:
        axis = configuration.vary.axis
        lines["Study"] = f"{axis.question} {axis.texts(configuration.vary.points)}"
    lines["Seeds"] = seeds_text(configuration.seeds).removeprefix("seeds ").removeprefix("seed ")
    lines["Device"] = first.device
    if configuration.trim:
        lines["Kept"] = "only the networks of chosen settings, and all adapters"
    return lines


def _trained(optim: OptimSpec) -> str:
    """How a base is trained, as in ``10 epochs at learning rate 0.001``."""
    return f"{counted(optim.epochs, 'epoch')} at learning rate {optim.learning_rate:g}"
