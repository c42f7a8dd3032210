"""The question on the first page: what was pretrained, what is to be learnt, and how thoroughly to compare."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.data.presets import preset_tasks, presets_for, suggested_preset
from core.engine.configuration import preset_configuration
from core.engine.experiment import Setting
from core.engine.launcher import Planned
from core.engine.rate_grid import TuneSpec, tuned_arms
from core.errors import LabError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.pretrain import PretrainSpec
from core.networks.network import NetworkSpec
from core.run_spec import default_optim
from core.store.record import Experiment
from core.study.stats.claims import DEFAULT_SEEDS
from core.wording.numbers import bytes_text, range_text
from pages.shared.datasets import dataset_picker
from pages.shared.estimate import redraw_when_measured
from pages.shared.fit import fit_warning
from pages.shared.keep import keep_networks
from pages.shared.links import link
from pages.shared.literal import literal
from pages.shared.network_form import default_network
from pages.shared.primary import on_primary
from pages.shared.task_preview import before_and_after
from pages.shared.view_form import length

DATASET = "data:"
"""Prefix of the choices that learn another dataset; the others are names of presets."""

ANSWERED = "home-answered"
"""Session state key: id of the experiment that had already answered the question when its button was pressed."""


@dataclass(frozen=True)
class Plan:
    """Which settings the button compares."""

    title: str
    caption: str
    ranks: tuple[int, ...]
    tuned: bool

    def settings(self, network: NetworkSpec) -> list[Setting]:
        """Full fine-tuning and LoRA of each rank, at their default learning rates or at several around them."""
        lora = default_optim(LoRASpec, network)
        settings: list[Setting] = [
            (default_optim(FullSpec, network), FullSpec()),
            *((lora, LoRASpec.of(rank=rank)) for rank in self.ranks),
        ]
        return tuned_arms(settings, TuneSpec.of()) if self.tuned else settings


PLANS = {
    "thorough": Plan("Thorough", "ranks 1, 4 and 16, learning rates tuned for each", (1, 4, 16), tuned=True),
    "quick": Plan("Quick", "rank 4 at its default learning rate; the answer holds at that rate", (4,), tuned=False),
}


def question(lab: Lab) -> Experiment | None:
    """Draw the question and its button; return the experiment that was just started, if any."""
    left, right = st.columns(2, gap="medium")
    with left:
        source = dataset_picker(lab, "Pretrained on", "home-dataset")
    with right:
        kind = lab.catalog.info(source or lab.catalog.best()).kind
        choices = _targets(lab, source, kind)
        target = st.selectbox(
            "Learn",
            list(choices),
            list(choices).index(suggested_preset(kind) or next(iter(choices))),
            format_func=choices.__getitem__,
            key="home-target",
            persist_state="session",
        )
        st.caption(_line(lab, target, kind))
    if source is None:
        return None
    preset, other = ("transfer", target.removeprefix(DATASET)) if target.startswith(DATASET) else (target, None)
    try:
        before, after = preset_tasks(preset, source, lab.catalog, other)
        before_and_after(lab, before, after)
        network = default_network(lab, lab.catalog.info(source), "home")
    except LabError as error:
        st.error(literal(str(error)))
        return None
    if network is None:
        return None
    longest = length(kind, "home-length", network) if network.learns == "text" else None
    pretraining, seeds = default_optim(PretrainSpec, network), range(DEFAULT_SEEDS)
    asked = (lab.catalog, preset, source, other, pretraining)
    try:
        planned = {
            name: lab.planned(preset_configuration(*asked, plan.settings(network), seeds, network, length=longest))
            for name, plan in PLANS.items()
        }
        captions = [_caption(lab, PLANS[name], known) for name, known in planned.items()]
        name = st.radio(
            "How thoroughly",
            list(PLANS),
            format_func=lambda name: PLANS[name].title,
            captions=captions,
            key="home-plan",
            persist_state="session",
            horizontal=True,
            label_visibility="collapsed",
        )
        chosen = planned[name]
        trim = keep_networks(lab, chosen.runs, "home")
        if not fit_warning(lab, chosen.specs, "home"):
            link("finetune", "Choose other settings on Fine-tune")
        if not st.button(
            on_primary("Run the comparison"), type="primary", icon=":material/play_arrow:", key="home-run"
        ):
            return None
        # The same question again has the same answer: its runs would be trained from the same seeds.
        known = lab.find_experiment(chosen.runs)
        st.session_state[ANSWERED] = known and known.id
        return known or lab.queue(chosen, trim=trim)
    except LabError as error:
        st.error(literal(str(error)))
        return None


def _caption(lab: Lab, plan: Plan, planned: Planned) -> str:
    everything = planned.specs
    forecast = lab.estimates.whole(everything)
    redraw_when_measured(lab, forecast, everything)
    time = range_text(forecast.seconds_low, forecast.seconds_high)
    memory = bytes_text(forecast.memory)
    return f"{len(planned.runs)} runs, {time}, {memory} of memory: {plan.caption}"


def _targets(lab: Lab, source: str | None, kind: str) -> dict[str, str]:
    """What can be learnt: every preset on the same dataset, and every other dataset of its kind that is ready."""
    infos = lab.catalog.list()
    found = {name: preset.title for name, preset in presets_for(kind).items() if not preset.other_dataset}
    others = [info for info in infos if (info.state, info.kind) == ("ready", kind) and info.name != source]
    return found | {f"{DATASET}{info.name}": f"{info.title}, another dataset" for info in others}


def _line(lab: Lab, target: str, kind: str) -> str:
    if target.startswith(DATASET):
        return literal(lab.catalog.info(target.removeprefix(DATASET)).line)
    return presets_for(kind)[target].line_for(kind)
