"""What changes where a target has classes that its base was not trained on: the one place that decides it.

The base's file has new rows for classes of its own dataset that its task leaves out (:mod:`core.networks.new_rows`),
and every method trains the head whole. Runs of earlier versions, whose heads were frozen below adapters, keep that.
"""

from __future__ import annotations

from core.data.dataset import LANGUAGE
from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.methods.pretrain import PretrainSpec
from core.networks.network import NetworkSpec
from core.objectives.objective import ObjectiveSpec
from core.run_spec import Head


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
