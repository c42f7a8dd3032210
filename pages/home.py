"""Home: what this is, and the one button that does the whole job."""

from __future__ import annotations

import streamlit as st

from core.data.presets import PRESETS
from core.errors import LabError
from core.lab import current
from core.runs.execute import ADAPTER
from core.spec import LEARNING_RATES, LoRASpec, OptimSpec
from core.study.compare import arms_of, verdict
from pages.parts.datasets import dataset_picker
from pages.parts.live import live_panel
from pages.parts.pickers import when

lab = current()

st.title("Full fine-tuning or LoRA?")
st.markdown(
    "LoRA Lab answers with evidence from your own machine: it pretrains a small network, fine-tunes it fully and with "
    "low-rank adapters, and compares accuracy, parameters, time, memory and forgetting."
)

with st.container(border=True):
    source, preset, choose = lab.catalog.best(), "rotation-45", st.container(horizontal=True, vertical_alignment="bottom")
    with choose:
        source = dataset_picker(lab, "Dataset", "home-dataset")
        preset = st.selectbox(
            "What is new when fine-tuning", list(PRESETS), 2, format_func=lambda name: PRESETS[name].title,
            key="home-preset", persist_state="session",
        )  # fmt: skip
    st.caption(PRESETS[preset].line)
    if st.button(
        "Run the comparison", type="primary", icon=":material/play_arrow:", disabled=source is None, key="home-run"
    ):
        try:
            lab.compare(
                preset, str(source), None, OptimSpec.of(learning_rate=LEARNING_RATES["pretrain"]),
                [(OptimSpec.of(learning_rate=LEARNING_RATES["full"]), None),
                 (OptimSpec.of(learning_rate=LEARNING_RATES["lora"]), LoRASpec.of())],
                seeds=range(3),
            )  # fmt: skip
        except LabError as error:
            st.error(str(error))
    st.caption("Pretrains once for 10 epochs, then fine-tunes fully and with LoRA of rank 4, three seeds each.")

experiments = lab.experiments(6)
running = [e for e in experiments if any(run.is_live for run in lab.members(e))]
if running:
    st.subheader("Running now")
    live = {run.id for run in lab.live()}
    bases = [e.base for e in running if e.base in live]
    live_panel(lab, [*dict.fromkeys(bases), *(id for e in running[::-1] for id in e.runs)], "home-live")

st.subheader("Latest experiments")
done = [e for e in experiments if e not in running]
if not done:
    st.caption("Finished experiments are listed here, each with its answer.")
for experiment in done:
    members = lab.members(experiment)
    arms = arms_of(members)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{experiment.name}**", width="content")
            st.caption(when(experiment.created))
        st.markdown(verdict(arms) if arms else "No run of it came to a result.")
        with st.container(horizontal=True):
            st.page_link(
                "compare.py", label="Compare", icon=":material/compare_arrows:",
                query_params={"experiment": experiment.id},
            )  # fmt: skip
            adapter = next((run for run in members if run.spec.lora and run.result), None)
            if adapter is not None:
                st.download_button(
                    "Adapter for PEFT", lambda id=adapter.id: lab.content(id, ADAPTER), f"{adapter.id}-adapter.zip",
                    "application/zip", icon=":material/download:", on_click="ignore", key=f"home-adapter-{adapter.id}",
                )  # fmt: skip
