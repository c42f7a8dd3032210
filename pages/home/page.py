"""Home: what this is, and the one button that does the whole job."""

from __future__ import annotations

import streamlit as st

from core.data.presets import PRESETS
from core.engine.job import ADAPTER
from core.errors import LabError
from core.lab import current
from core.spec import LEARNING_RATES, LoRASpec, OptimSpec
from core.study.arms.choice import best_arm, chosen_arms, dropped_sentences, is_lora
from core.study.arms.verdict import verdict
from core.study.report.evidence import bases_of, named
from core.wording.numbers import count_text, number_text
from pages.shared.datasets import dataset_picker
from pages.shared.links import link
from pages.shared.literal import literal
from pages.shared.live import live_panel
from pages.shared.pickers import when
from pages.shared.primary import on_primary
from pages.shared.restore import offer_to_restore

SEEDS = 3
"""Runs per arm: the minimum for a useful interval."""

MAX_ARMS = 4
"""Maximum number of arms shown per experiment; Compare has them all."""

lab = current()

st.title("Full fine-tuning or LoRA?")
st.markdown(
    "LoRA Lab answers with evidence from your own machine: it pretrains a small network, fine-tunes it fully and with "
    "low-rank adapters, and compares accuracy, parameters, time, memory and forgetting."
)

offer_to_restore(lab)

with st.container(border=True):
    left, right = st.columns(2, gap="medium")
    with left:
        source = dataset_picker(lab, "Dataset", "home-dataset")
    with right:
        preset = st.selectbox(
            "What is new when fine-tuning",
            list(PRESETS),
            2,
            format_func=lambda name: PRESETS[name].title,
            key="home-preset",
            persist_state="session",
        )
        st.caption(PRESETS[preset].line)
    if st.button(
        on_primary("Run the comparison"),
        type="primary",
        icon=":material/play_arrow:",
        disabled=source is None,
        key="home-run",
    ):
        try:
            lab.compare(
                preset,
                str(source),
                None,
                OptimSpec.of(learning_rate=LEARNING_RATES["pretrain"]),
                [
                    (OptimSpec.of(learning_rate=LEARNING_RATES["full"]), None),
                    (OptimSpec.of(learning_rate=LEARNING_RATES["lora"]), LoRASpec.of()),
                ],
                seeds=range(SEEDS),
            )
            st.rerun()
        except LabError as error:
            st.error(literal(str(error)))
    st.caption(
        f"Pretrains for {OptimSpec.of().epochs} epochs, unless that base is there already; then fine-tunes fully and "
        f"with LoRA of rank {LoRASpec.of().rank}, {SEEDS} seeds each. Pretrain and Fine-tune have all the settings."
    )

experiments = lab.experiments(6)
running = [e for e in experiments if any(run.is_live for run in lab.members(e))]
if running:
    st.subheader("Running now")
    live = {run.id for run in lab.live()}
    bases = dict.fromkeys(id for e in running for id in bases_of(lab.members(e)) if id in live)
    live_panel(lab, [*bases, *(id for e in running[::-1] for id in e.runs)], "home-live")

st.subheader("Latest experiments")
done = [e for e in experiments if e not in running]
if not done:
    st.caption("Finished experiments are listed here, each with its answer.")
for experiment in done:
    members = lab.members(experiment)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{literal(experiment.name)}**", width="content")
            st.caption(when(experiment.created))
        with st.container(horizontal=True):
            for arm in named(chosen_arms(members))[:MAX_ARMS]:
                interval = arm.interval("accuracy")
                spread = f" ± {number_text(interval.half_width)}" if interval.n > 1 else ""
                trained = count_text(arm.interval("trainable_parameters").mean)
                st.metric(
                    arm.label,
                    f"{number_text(interval.mean)}{spread} %",
                    f"{trained} parameters trained",
                    delta_color="off",
                    delta_arrow="off",
                    border=True,
                    help="Accuracy on the target, test part.",
                )
        st.markdown(verdict(members))
        for sentence in dropped_sentences(members):
            st.warning(literal(sentence))
        with st.container(horizontal=True, vertical_alignment="center"):
            link(
                "compare",
                "Compare",
                {"experiment": experiment.id},
            )
            best = best_arm(members, is_lora)
            adapter = best.runs[0] if best is not None else next((r for r in members if r.spec.lora and r.result), None)
            if adapter is not None:
                st.download_button(
                    "Adapter for PEFT",
                    lambda id=adapter.id: lab.artifacts.read(id, ADAPTER),
                    f"{adapter.id}-adapter.zip",
                    "application/zip",
                    icon=":material/download:",
                    on_click="ignore",
                    key=f"home-adapter-{adapter.id}",
                )
