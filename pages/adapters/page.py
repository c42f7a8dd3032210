"""The Adapters page: download the adapters that LoRA runs trained, and verify adapter files from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping

import streamlit as st

from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.errors import LabError
from core.lab import current
from core.numbers import bytes_text, count_text, listed
from core.store.record import Result, Run
from pages.adapters.listed import adapter_texts, listed_adapters, of_an_experiment, said_of
from pages.adapters.upload import upload_adapter
from pages.shared.experiment.exports import export_files
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download_of_run
from pages.shared.ui.links import link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import pick
from pages.shared.ui.primary import on_primary

LOADING = """\
from pathlib import Path
from zipfile import ZipFile

from core.network_file import read_network
from peft import PeftModel

base = read_network(Path("{base}-network.safetensors"))
ZipFile("{run}-adapter.zip").extractall("adapter")
model = PeftModel.from_pretrained(base, "adapter").eval()
"""

MAX_LAYERS = 3
"""Maximum number of layers of one rank that are named."""

lab = current()


def adapter_of_a_run() -> None:
    """Draw a choice of runs with the files of the chosen one."""
    asked = st.query_params.get("adapter")
    everything = listed_adapters(lab, asked)
    if not everything:
        st.info("Adapters are listed here once a run that trains one has finished.", icon=":material/info:")
        link("new", "New experiment")
        return
    runs = of_an_experiment(lab, everything, asked)
    if asked in everything and asked not in runs:  # another experiment was chosen since
        del st.query_params["adapter"]
    run = runs[pick("Adapter", adapter_texts(runs), "adapter")]
    if run.result is not None:
        show(run, run.result)


def show(run: Run, result: Result) -> None:
    """Show sizes, downloads, certificate and loading instructions of a run's adapter."""
    said = said_of(lab, run)
    with st.container(horizontal=True):
        st.metric("Adapter", bytes_text(result.adapter_bytes), border=True)
        st.metric("Full checkpoint", bytes_text(result.checkpoint_bytes), border=True)
        st.metric("Trainable parameters", count_text(result.trainable_parameters), border=True)
        title = run.spec.objective.primary.title
        about = f"Of this adapter alone, seed {run.spec.seed}, on the test part of the target task."
        st.metric(title, run.score_text(), border=True, help=about)
        if said is not None:
            said.show_mean()
    if said is not None:
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
            if said is not None:
                link("experiment", "Compare", {"experiment": said.experiment.id})
    except LabError as error:
        st.error(literal(str(error)))
        return
    checked, loading = st.columns(2, gap="large")
    with checked:
        show_certificate(run)
    with loading:
        show_loading(run)
    st.subheader("Files for other tools")
    export_files(lab, run)


def show_certificate(run: Run) -> None:
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


def show_loading(run: Run) -> None:
    """Show code that loads the adapter without this app."""
    st.subheader("Load the adapter")
    if run.spec.base is None:
        name = literal(lab.networks.title_of(run.spec.network))
        head = "" if run.spec.objective.targets == "texts" else "The trained head is in the zip. "
        st.caption(
            f"The base is the network {name} as it was imported: its details on Networks say in which folder its files "
            f"are. {head}This is from the model card in the zip:"
        )
        st.code(_code_of_card(run), language="python", wrap_lines=True)
        return
    st.caption(
        "Put adapter and base into the current folder. The model card in the zip shows how to load the adapter without "
        "LoRA Lab."
    )
    st.code(LOADING.format(run=run.id, base=run.spec.base), language=None, wrap_lines=True)
    st.caption("Verify the file from the command line:")
    st.code(
        f"python -m core verify {run.id}-adapter.zip --base {run.spec.base}-network.safetensors",
        language=None,
        wrap_lines=True,
    )


def _code_of_card(run: Run) -> str:
    """The first code in the model card of an adapter."""
    return lab.artifacts.card(run.id).partition("```python\n")[2].partition("```")[0]


st.title("Adapters")
st.markdown(
    "Each run of LoRA or a variant of it saves an **adapter**: a small zip file that Hugging Face PEFT can load onto "
    "the base."
)

of_runs, of_files = st.tabs(["From runs", "From a file"], key="adapters-from", on_change="rerun", bind="query-params")
if of_runs.open:
    with of_runs:
        adapter_of_a_run()
if of_files.open:
    with of_files:
        upload_adapter(lab)
