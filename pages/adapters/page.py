"""Adapters: what LoRA runs trained, as files to take home; and files from elsewhere, checked."""

from __future__ import annotations

import streamlit as st

from core.engine.artifacts import MERGED
from core.engine.job import ADAPTER, NETWORK
from core.errors import LabError
from core.lab import current
from core.store.record import Result, Run
from core.wording.numbers import bytes_text, count_text, percent
from pages.adapters.upload import upload_adapter
from pages.shared.links import link
from pages.shared.literal import literal
from pages.shared.pickers import pick, task_text, when

LOADING = """\
from pathlib import Path
from zipfile import ZipFile

from peft import PeftModel

from core.networks.file import read_network

base = read_network(Path("{base}.safetensors"))
ZipFile("{run}-adapter.zip").extractall("adapter")
model = PeftModel.from_pretrained(base, "adapter").eval()
"""

lab = current()


def adapter_of_a_run() -> None:
    """Choose a run, download its files, see what was checked."""
    runs = {run.id: run for run in lab.runs(methods=["lora"], states=["finished", "stopped"], limit=500) if run.result}
    if not runs:
        st.info("Adapters are listed here once a LoRA run has finished.", icon=":material/info:")
        link("finetune", "Fine-tune with LoRA")
        return
    names = {
        id: f"{run.spec.label}, seed {run.spec.seed} · {task_text(run.spec.task)} · "
        f"{percent(run.result.accuracy)} · {when(run.created)}"
        for id, run in runs.items()
        if run.result
    }
    run = runs[pick("Adapter", names, "adapter")]
    if run.result is not None:
        show(run, run.result)


def show(run: Run, result: Result) -> None:
    """A run's files, certificate, and how to load them."""
    with st.container(horizontal=True):
        st.metric("Adapter", bytes_text(result.adapter_bytes), border=True)
        st.metric("Full checkpoint", bytes_text(result.checkpoint_bytes), border=True)
        st.metric("Trainable parameters", count_text(result.trainable_parameters), border=True)
        st.metric("Accuracy", percent(result.accuracy), border=True, help="Target task, test part.")
    try:
        lab.artifacts.path(run.id, ADAPTER), lab.artifacts.base(run)  # or the sentence that says what is gone
        with st.container(horizontal=True):
            st.download_button(
                "Adapter for PEFT",
                lambda: lab.artifacts.read(run.id, ADAPTER),
                f"{run.id}-adapter.zip",
                "application/zip",
                type="primary",
                icon=":material/download:",
                on_click="ignore",
                key="adapter-download",
            )
            st.download_button(
                "Merged network",
                lambda: lab.artifacts.read(run.id, MERGED),
                f"{run.id}-merged.safetensors",
                icon=":material/download:",
                on_click="ignore",
                help="Base and adapter added up: a plain network.",
                key="merged-download",
            )
            st.download_button(
                "Base",
                lambda: lab.artifacts.read(str(run.spec.base), NETWORK),
                f"{run.spec.base}.safetensors",
                icon=":material/download:",
                on_click="ignore",
                help="The network that the adapter goes onto.",
                key="base-download",
            )
    except LabError as error:
        st.error(literal(str(error)))
        return
    checked, loading = st.columns(2, gap="large")
    with checked:
        show_certificate(run)
    with loading:
        show_loading(run)


def show_certificate(run: Run) -> None:
    """What was checked when the adapter was written."""
    st.subheader("Certificate")
    try:
        certificate = lab.artifacts.certificate(run.id)
    except LabError as error:
        st.error(literal(str(error)))
        return
    st.markdown(
        f"When the file was made, it was read back in full and put on a fresh copy of the base. "
        f"On {certificate['probe_rows']} inputs with logits up to {certificate['largest_logit']:.1f}:"
    )
    st.dataframe(
        {
            "Checked": [
                "Logits, reloaded against trained",
                "Logits, merged against unmerged",
                "Trained parameters",
                *(f"Rank on {layer}" for layer in certificate["layers"]),
            ],
            "Found": [
                f"up to {certificate['reloaded_difference']:.1e} apart",
                f"up to {certificate['merged_difference']:.1e} apart",
                count_text(certificate["parameters"]),
                *map(str, certificate["layers"].values()),
            ],
        },
        hide_index=True,
        alt="What was checked when the adapter file was made",
    )
    with st.expander("The certificate as it stands in the file", icon=":material/description:"):
        st.json(certificate)
    if st.button("Check it again now", icon=":material/verified:"):
        try:
            st.success(literal(str(lab.artifacts.verify(run.id))), icon=":material/verified:")
        except LabError as error:
            st.error(literal(str(error)))


def show_loading(run: Run) -> None:
    """Lines that load the adapter elsewhere."""
    st.subheader("Load it")
    st.caption("With the adapter and the base in one folder. The model card in the zip has it without LoRA Lab, too.")
    st.code(LOADING.format(run=run.id, base=run.spec.base), language="python", wrap_lines=True)
    st.caption("Or check the file without a browser:")
    st.code(
        f"python -m core verify {run.id}-adapter.zip --base {run.spec.base}.safetensors",
        language="bash",
        wrap_lines=True,
    )


st.title("Adapters")
st.markdown("Each LoRA run leaves an **adapter**: a small zip that Hugging Face PEFT loads onto the base.")

of_runs, of_files = st.tabs(["From runs", "From a file"], key="adapters-from", on_change="rerun")
if of_runs.open:
    with of_runs:
        adapter_of_a_run()
if of_files.open:
    with of_files:
        upload_adapter(lab)
