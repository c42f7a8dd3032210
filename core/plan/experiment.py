"""Specs of the runs of an experiment: every arm with every seed, from one base, one base per seed, or a network that
was imported.

Where a target has classes that its base was not trained on, the base's file has new rows for classes of its own dataset
that its task leaves out (:mod:`core.networks.new_rows`), and every method trains the head whole. Runs of earlier
versions, whose heads were frozen below adapters, keep that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from core.data.dataset import LANGUAGE
from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.errors import SpecError
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.pretrain import PretrainSpec
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import Head, OptimSpec, RunSpec, default_rate
from core.spec import Device


def pretraining_for(catalog: Catalog, task: TaskSpec, network: NetworkSpec) -> PretrainSpec:
    """Pretraining on a task, with new rows where they mean something: where the task leaves outputs out.

    Args:
        catalog: all datasets.
        task: what the base learns.
        network: that learns it.

    Raises:
        DatasetError: there is no such dataset.
    """
    info = catalog.info(task.dataset, network.learns)
    classes = range(info.num_classes) if task.classes is None else task.classes
    has_others = bool(classes) and info.kind != LANGUAGE and bool(set(range(network.num_classes)).difference(classes))
    return PretrainSpec(new_rows=has_others)


def head_for(network: NetworkSpec, source: TaskSpec, target: TaskSpec, objective: ObjectiveSpec) -> Head | None:
    """How the head of a base is trained on a target: whole where there are classes that it was not trained on.

    The classes of another dataset are others, even where their labels are the same numbers.

    Args:
        network: the base's. One whose weights came without a head trains it whole in any case.
        source: what the base has learned.
        target: what is learned by fine-tuning.
        objective: what both learn.
    """
    if network.has_head or not objective.has_classes:
        return None
    known, wanted = (range(network.num_classes) if task.classes is None else task.classes for task in (source, target))
    return "whole" if source.dataset != target.dataset or set(wanted).difference(known) else None


MAX_NEW_SEEDS = 42
"""Maximum number of seeds that are added to an experiment at once."""

Recipe = tuple[OptimSpec, MethodSpec]
"""An arm: how it is trained, and its method with the method's settings."""


Wanted = tuple[TaskSpec, Recipe, int]
"""A run that is to be trained: its task, its arm and its seed."""


def every(arms: Sequence[Recipe], seeds: Sequence[int], task: TaskSpec) -> list[Wanted]:
    """Every arm with every seed on a task, ordered by seed, so that all arms have first results early.

    Raises:
        SpecError: there is nothing to train, or an arm or seed occurs twice.
    """
    if not arms or not seeds:
        raise SpecError("An experiment needs at least one method and one seed.")
    if len(set(arms)) < len(arms) or len(set(seeds)) < len(seeds):
        raise SpecError("Two arms or seeds of this experiment are the same: change one, or leave one out.")
    return [(task, arm, seed) for seed in seeds for arm in arms]


def arm_specs(
    base: str | Mapping[int, str] | None,
    start: RunSpec | NetworkSpec,
    asked: Iterable[Wanted],
    device: Device,
    objective: ObjectiveSpec = CLASSIFICATION,
    forgetting: TaskSpec | None = None,
    head: Head | None = None,
) -> list[RunSpec]:
    """Specs of the runs of an experiment.

    Args:
        base: id of the base, or the id of the base for each seed; None to fine-tune a network as it was imported.
        start: spec of the base, or of any one of several; or the network that was imported.
        asked: what each run is fine-tuned on, its arm and its seed.
        device: where to train.
        objective: what is learned, with the measure and the margin of the experiment.
        forgetting: on what that of an imported network is measured; a base has its task for it.
        head: how the head of the base is trained.

    Raises:
        SpecError: a setting is out of bounds.
    """
    network, source = (start.network, start.task) if isinstance(start, RunSpec) else (start, forgetting)
    shared = {"network": network, "source": source, "device": device, "objective": objective, "head": head}
    return [
        RunSpec.of(
            base=base[seed] if isinstance(base, Mapping) else base,
            own_base=isinstance(base, Mapping),
            task=task,
            optim=optim,
            seed=seed,
            method=method,
            **shared,
        )
        for task, (optim, method), seed in asked
    ]


def settings_of(specs: Iterable[RunSpec]) -> list[Recipe]:
    """The arms of an experiment as settings, in the order of their first runs."""
    return list(dict.fromkeys((spec.optim, spec.method) for spec in specs))


def next_seeds(specs: Iterable[RunSpec], count: int) -> range:
    """The seeds after the highest one of an experiment.

    Args:
        specs: of all its runs, at least one.
        count: how many.

    Raises:
        SpecError: the count is not 1 to :data:`MAX_NEW_SEEDS`.
    """
    if not 1 <= count <= MAX_NEW_SEEDS:
        raise SpecError(f"The number of seeds to add must be 1 to {MAX_NEW_SEEDS}, not {count}.")
    first = max(spec.seed for spec in specs) + 1
    return range(first, first + count)


def with_ranks(settings: Sequence[Recipe], ranks: Sequence[int], network: NetworkSpec | None = None) -> list[Recipe]:
    """The adapters of an experiment at other ranks: every alpha, rate and so on that it has at some rank.

    Args:
        settings: of the experiment; if it has no adapters, its batch size and epochs, with LoRA's defaults, are used.
        ranks: the other ranks.
        network: the base's, whose family has default rates of its own; None for the first family.

    Raises:
        SpecError: a rank is out of bounds.
    """
    known = [(optim, method) for optim, method in settings if method.inner_rank is not None]
    known = known or [(settings[0][0].but(learning_rate=default_rate(LoRASpec, network or FAMILIES[0])), LoRASpec.of())]
    return list(dict.fromkeys((optim, adapter.of_size(rank)) for rank in ranks for optim, adapter in known))
