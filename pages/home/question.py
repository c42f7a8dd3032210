"""The question on the first page: what was pretrained, what is to be learnt, and how thoroughly to compare."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.data.sources.catalog import Catalog
from core.data.sources.source import DatasetInfo
from core.engine.launcher import Planned
from core.errors import DatasetError, LabError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.pretrain import PretrainSpec
from core.networks.network import NetworkSpec
from core.networks.registry import families_for
from core.numbers import bytes_text, range_text
from core.plan.configuration import Configuration, preset_configuration, preset_task
from core.plan.course import LONGER
from core.plan.experiment import Setting
from core.plan.rate_grid import default_search
from core.run_spec import default_optim
from core.store.record import Experiment
from core.study.report.expected import expected_sentences
from core.study.stats.claims import DEFAULT_SEEDS
from core.tasks.presets import preset_tasks, presets_for, suggested_preset
from pages.shared.experiment.estimate import redraw_when_measured
from pages.shared.experiment.keep import keep_networks
from pages.shared.experiment.start import runs_text, start_button
from pages.shared.forms.datasets import dataset_picker
from pages.shared.forms.fit import fit_warning
from pages.shared.forms.network import default_network
from pages.shared.forms.task_preview import before_and_after
from pages.shared.forms.view import length
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal

DATASET = "data:"
"""Prefix of the choices that learn another dataset; the others are names of presets."""

DIRECT = "home-direct"
"""Key of the choice to fine-tune a network as it was brought."""


SHOTS = 100
"""Images of each class that are learnt from, where there are more: fine-tuning is for few examples, and what is learnt
from so many settles within a minute or two of training."""


@dataclass(frozen=True)
class Plan:
    """Which settings the button compares."""

    title: str
    caption: str
    ranks: tuple[int, ...]
    tuned: bool
    """Whether learning rates are searched for, each seed has a base of its own, and all train until they settle."""

    def settings(self, network: NetworkSpec) -> list[Setting]:
        """Full fine-tuning and LoRA of each rank, at their default learning rates."""
        longer = 1 if self.tuned or network.brought is not None else LONGER
        full, lora = (
            optim.but(epochs=longer * optim.epochs)
            for optim in (default_optim(FullSpec, network), default_optim(LoRASpec, network))
        )
        return [(full, FullSpec()), *((lora, LoRASpec.of(rank=rank)) for rank in self.ranks)]


PLANS = {
    "thorough": Plan(
        "Thorough", "ranks 1, 4 and 16, the best learning rate found for each, trained until settled", (1, 4, 16), True
    ),
    "quick": Plan("Quick", "rank 4, one base, default learning rates; the answer holds at these", (4,), False),
}


def question(lab: Lab) -> Experiment | None:
    """Draw the question and its button; return the experiment that was just started, if any."""
    left, right = st.columns(2, gap="medium")
    with left:
        source = dataset_picker(lab, "Dataset" if _is_direct(lab) else "Pretrained on", "home-dataset")
        info = lab.catalog.info(source or lab.catalog.best())
        kind = info.kind
        direct = _choose_start(kind)
    with right:
        choices = _targets(lab, info, direct)
        target = st.selectbox(
            "Learn",
            list(choices),
            list(choices).index(suggested_preset(kind, direct, info.has_classes) or next(iter(choices))),
            format_func=choices.__getitem__,
            key="home-target",
            persist_state="session",
        )
        st.caption(_line(lab, target, info, direct))
    if source is None:
        return None
    shots = None
    try:
        if not direct:
            before_and_after(lab, *preset_tasks(*_preset(target, source, lab)))
            if shots := _shots(lab, target, source):
                st.caption(f"Learnt from {shots} images of each class; Fine-tune also takes all of them.")
        network = default_network(lab, lab.catalog.info(source), "home")
    except LabError as error:
        st.error(literal(str(error)))
        return None
    if network is None:
        return None
    longest = length(kind, "home-length", network) if network.learns == "text" else None
    try:
        planned = {
            name: lab.planned(_configuration(lab, source, target, direct, network, longest, shots, plan))
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
        if sentences := expected_sentences(lab, chosen.at_least):
            st.caption(literal(" ".join(sentences)))
        trim = keep_networks(lab, chosen.at_most, "home")
        if not fit_warning(lab, chosen.specs, "home"):
            link("finetune", "Choose other settings on Fine-tune")
        return start_button(lab, chosen, trim, "Run the comparison", "home-run")
    except LabError as error:
        st.error(literal(str(error)))
        return None


def _is_direct(lab: Lab) -> bool:
    """Whether the choice of :func:`_choose_start` was made, and is drawn for the dataset that was chosen."""
    kinds = {info.name: info.kind for info in lab.catalog.list()}
    return bool(st.session_state.get(DIRECT)) and _is_imported(kinds.get(st.session_state.get("home-dataset", ""), ""))


def _is_imported(kind: str) -> bool:
    """Whether people bring the networks for datasets of a kind."""
    return any(family.is_imported for family in families_for(kind))


def _choose_start(kind: str) -> bool:
    """Where people bring networks, draw the choice to fine-tune one as it is; return whether that is chosen."""
    return _is_imported(kind) and st.toggle(
        "Fine-tune the network as it was brought",
        key=DIRECT,
        persist_state="session",
        help="Without pretraining it on a source task first, so that there is nothing whose forgetting could be "
        "measured.",
    )


def _configuration(
    lab: Lab,
    source: str,
    target: str,
    direct: bool,
    network: NetworkSpec,
    longest: int | None,
    shots: int | None,
    plan: Plan,
) -> Configuration:
    """What is asked for.

    Args:
        lab: has the datasets.
        source: dataset to pretrain on, or to fine-tune the network on directly.
        target: what is learnt, from :func:`_targets`.
        direct: whether the network is fine-tuned as it was brought.
        network: which one.
        longest: longest input, in tokens; None for images.
        shots: training examples of each class; None for as many as the target has.
        plan: which settings are compared.

    Raises:
        LabError: a dataset is missing, or not for the preset.
    """
    settings, seeds = plan.settings(network), range(DEFAULT_SEEDS)
    tune = default_search(network) if plan.tuned else None
    if direct:
        task = preset_task(lab.catalog, target, None, network, source)
        return Configuration.on(network, task.but(length=longest or task.length), settings, seeds, tune=tune)
    preset, _, _, other = _preset(target, source, lab)
    own_bases = plan.tuned and network.brought is None
    more = {"shots": shots, "length": longest, "tune": tune, "own_bases": own_bases}
    pretraining = default_optim(PretrainSpec, network)
    return preset_configuration(lab.catalog, preset, source, other, pretraining, settings, seeds, network, **more)


def _shots(lab: Lab, target: str, source: str) -> int | None:
    """Images of each class that are learnt from; None for as many as the target has, where it says so or has fewer."""
    _, task = preset_tasks(*_preset(target, source, lab))
    if task.shots is not None or lab.catalog.info(task.dataset).kind != "image":
        return None
    try:
        lab.tasks.outline(task.but(shots=SHOTS))
    except DatasetError:
        return None
    return SHOTS


def _preset(target: str, source: str, lab: Lab) -> tuple[str, str, Catalog, str | None]:
    """Arguments of :func:`core.tasks.presets.preset_tasks` for a choice of :func:`_targets`."""
    if target.startswith(DATASET):
        return "transfer", source, lab.catalog, target.removeprefix(DATASET)
    return target, source, lab.catalog, None


def _caption(lab: Lab, plan: Plan, planned: Planned) -> str:
    forecast = lab.estimates.between(planned.at_least, planned.at_most)
    redraw_when_measured(lab, forecast, planned)
    time = range_text(forecast.seconds_low, forecast.seconds_high)
    memory = bytes_text(forecast.memory)
    return f"{runs_text(planned)}, {time}, {memory} of memory: {plan.caption}"


def _targets(lab: Lab, source: DatasetInfo, direct: bool) -> dict[str, str]:
    """What can be learnt: every preset on the same dataset, and every other dataset like it that is ready.

    Without pretraining there is no other dataset: the one that is learnt is the one that was chosen.
    """
    presets = presets_for(source.kind, direct, source.has_classes).items()
    found = {name: preset.title for name, preset in presets if not preset.other_dataset}
    ready = [info for info in lab.catalog.list() if info.state == "ready" and info.is_like(source)]
    others = [info for info in ready if info.name != source.name]
    return found | {f"{DATASET}{info.name}": f"{info.title}, another dataset" for info in others if not direct}


def _line(lab: Lab, target: str, source: DatasetInfo, direct: bool) -> str:
    if target.startswith(DATASET):
        return literal(lab.catalog.info(target.removeprefix(DATASET)).line)
    return presets_for(source.kind, direct, source.has_classes)[target].line_for(source.kind)
