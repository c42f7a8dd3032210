"""What an experiment compares, and on how many examples, where nobody says otherwise: Home, Fine-tune and Sweep begin
with it. Number of seeds: :data:`core.results.intervals.DEFAULT_SEEDS`; how rates are found:
:func:`core.plan.search.default_search`.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.data.task_spec import TaskSpec
from core.errors import DatasetError
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.network import NetworkSpec
from core.plan.experiment import Recipe
from core.run_spec import default_optim
from core.tasks.tasks import Tasks

SIZES = (1, 4, 16)
"""Ranks of LoRA, and values of whatever is the size of another method."""

SHOTS = 100
"""Images of each class to learn from, where there are more: fine-tuning is for few examples, and what is learned from
so many settles within a minute or two of training."""


def default_settings(network: NetworkSpec, sizes: Sequence[int] = SIZES) -> list[Recipe]:
    """Full fine-tuning and LoRA at each size, with what suits them on a network before anything was tried."""
    full, lora = default_optim(FullSpec, network), default_optim(LoRASpec, network)
    return [(full, FullSpec()), *((lora, LoRASpec.of(rank=size)) for size in sizes)]


def default_shots(tasks: Tasks, task: TaskSpec) -> int | None:
    """How many examples of each class to learn from, of a task that takes all of them; None for all.

    Args:
        tasks: knows how many there are.
        task: whose own number of shots does not count.
    """
    try:
        if tasks.catalog.info(task.dataset).kind != "image":
            return None
        tasks.outline(task.but(shots=SHOTS))
    except DatasetError:  # there are fewer
        return None
    return SHOTS


def is_quick_first(network: NetworkSpec) -> bool:
    """Whether forms begin with what :attr:`core.networks.network.NetworkSpec.quick` says: a thorough comparison of
    networks that read tokens may take hours.
    """
    return network.reads_tokens


def has_own_bases(network: NetworkSpec) -> bool:
    """Whether each seed starts from a base of its own: one that is pretrained here from its beginning costs little."""
    return network.brought is None
