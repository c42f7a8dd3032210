"""Experiments, planned and started by one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.networks.network import NetworkSpec
from core.plan.configuration import Configuration
from core.plan.experiment import Recipe
from core.store.record import Experiment, Run


def compare(lab: Lab, configuration: Configuration) -> Experiment:
    """Plan an experiment, and start it."""
    return lab.experiments.start(lab.launcher.plan(configuration), trim=configuration.trim)


def fine_tune(
    lab: Lab,
    base: Run | NetworkSpec,
    task: TaskSpec,
    arms: Sequence[Recipe],
    seeds: Sequence[int],
    name: str = "",
    **more: Any,
) -> Experiment:
    """Plan an experiment on one base, and start it.

    Args:
        lab: where it is trained.
        base: a pretrain run, finished or not; or a network that was imported, to fine-tune it as it is.
        task: what to fine-tune on.
        arms: training settings and method of each.
        seeds: one run per arm and seed.
        name: title of the experiment; empty for the one that it has by itself.
        more: the other fields of a configuration, by their names.
    """
    run = base if isinstance(base, Run) else None
    start = base.spec if isinstance(base, Run) else base
    configuration = Configuration.on(start, task, arms, seeds, **more)
    return lab.experiments.start(lab.launcher.plan(configuration, run), name, configuration.trim)
