"""The adapter of a run: its sizes, files, certificate, and the code that loads it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import streamlit as st

from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.errors import LabError
from core.lab import Lab
from core.methods.method import Role
from core.numbers import bytes_text, count_text, listed
from core.store.record import Experiment, Result, Run
from core.study.report.answer import last_read
from pages.experiment.use.said import Said, adapter_texts, said_of
from pages.shared.experiment.exports import export_files
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download_of_run
from pages.shared.ui.links import link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import pick
from pages.shared.ui.primary import on_primary

MAX_LAYERS = 3
"""Maximum number of layers of one rank that are named."""


def adapter_part(lab: Lab, experiment: Experiment) -> None:
    """Draw a choice of the experiment's adapters, that of its answer first, with the files of the chosen one."""
    members = lab.store.members(experiment)
    found = last_read(lab, experiment, members)
    first = [] if found.offered is None or found.offered.run is None else [found.offered.run]
    runs = {run.id: run for run in (*first, *members) if run.result is not None and run.spec.role is Role.ADAPTER}
    if not runs:
        st.info("An adapter is here once a run that trains one has ended.", icon=":material/info:")
        return
    run = runs[pick("Adapter", adapter_texts(runs), "adapter")]
    if run.result is not None:
        show(lab, run, run.result, said_of(lab, experiment, members, run))


def show(lab: Lab, run: Run, result: Result, said: Said) -> None:
    """Show sizes, downloads, certificate and loading instructions of a run's adapter."""
    with st.container(horizontal=True):
        st.metric("Adapter", bytes_text(result.adapter_bytes), border=True)
        st.metric("Full checkpoint", bytes_text(result.checkpoint_bytes), border=True)
        st.metric("Trainable parameters", count_text(result.trainable_parameters), border=True)
        title = run.spec.objective.primary.title
        about = f"Of this adapter alone, seed {run.spec.seed}, on the test part of the target task."
        st.metric(title, run.score_text(), border=True, help=about)
        said.show_mean()
    said.show_answer()
    try:
        lab.artifacts.path(run.id, ADAPTER)  # raises LabError if the file is missing, as the next line does
        if run.spec.base is not None:
            lab.artifacts.base(run)
        with st.container(horizontal=True):
            download_of_run(on_primary("Adapter for PEFT"), run.id, ADAPTER, "adapter-download", kind="primary")
            if run.spec.base is None:
                link("networks", "Base: a network that was imported")
            else:
                help = "The network that the adapter applies to."
                download_of_run("Base", run.spec.base, NETWORK, "base-download", help=help)
    except LabError as error:
        st.error(literal(str(error)))
        return
    checked, loading = st.columns(2, gap="large")
    with checked:
        show_certificate(lab, run)
    with loading:
        show_loading(lab, run)
    st.subheader("Files for other tools")
    export_files(lab, run)


def show_certificate(lab: Lab, run: Run) -> None:
    """Show what was checked when the adapter was written."""
    st.subheader("Certificate")
    try:
        certificate = lab.artifacts.certificate(run.id)
    except LabError as error:
        st.error(literal(str(error)))
        return
    st.markdown(
        "After the file was written, it was read back and applied to a fresh copy of the base. Results on "
        f"{certificate['probe_rows']} inputs with logits up to {certificate['largest_logit']:.1f}:"
    )
    ranks = _by_rank(certificate["layers"])
    dataframe(
        {
            "Check": [
                "Logits, reloaded vs. trained",
                "Logits, merged vs. unmerged",
                "Trained parameters",
                *(f"Rank of {layers}" if rank else "Layers" for rank, layers in ranks.items()),
            ],
            "Result": [
                _difference(certificate["reloaded_difference"]),
                _difference(certificate["merged_difference"]),
                count_text(certificate["parameters"]),
                *(str(rank) if rank else layers for rank, layers in ranks.items()),
            ],
        },
        hide_index=True,
        alt="Results of the checks that were made when the adapter file was written",
    )
    with st.expander("Certificate as JSON", icon=":material/description:"):
        st.code(json.dumps(certificate, indent=2), language=None, wrap_lines=True)
    if st.button("Verify again", icon=":material/verified:"):
        with errors_shown():
            st.success(literal(str(lab.artifacts.verify(run.id))), icon=":material/verified:")


def _by_rank(ranks: Mapping[str, int]) -> dict[int, str]:
    """Name the layers of each rank, or count them where they are many: a transformer has dozens, mostly of one rank."""
    layers: dict[int, list[str]] = {}
    for layer, rank in ranks.items():
        layers.setdefault(rank, []).append(layer)
    return {
        rank: listed(names) if len(names) <= MAX_LAYERS else f"{len(names)} layers" for rank, names in layers.items()
    }


def _difference(value: float) -> str:
    """Format the largest difference between two sets of logits."""
    return f"within {value:.1e}" if value else "identical"


def show_loading(lab: Lab, run: Run) -> None:
    """Show code that loads the adapter without this project, as it stands in the model card in the zip."""
    st.subheader("Load the adapter")
    if run.spec.base is None:
        name = literal(lab.networks.title_of(run.spec.network))
        head = "" if run.spec.objective.targets == "texts" else " The trained head is in the zip."
        st.caption(
            f"The base is the network {name} as it was imported: its details in the Library say where its files are."
            f"{head}"
        )
    else:
        st.caption("In a folder that has the unpacked adapter and the base; it needs torch, peft and safetensors.")
    st.code(_code_of_card(lab, run), language=None, wrap_lines=True)
    if run.spec.base is not None:
        st.caption("Verify the file from the command line:")
        verify = f"python -m core verify {run.id}-adapter.zip --base {run.spec.base}-network.safetensors"
        st.code(verify, language=None, wrap_lines=True)


def _code_of_card(lab: Lab, run: Run) -> str:
    """The first code in the model card of an adapter."""
    return lab.artifacts.card(run.id).partition("```python\n")[2].partition("```")[0]
