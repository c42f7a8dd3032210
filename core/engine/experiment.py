"""Specs of the runs of an experiment: every arm with every seed, from one base or from one base per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.errors import SpecError
from core.spec import Control, Device, LoRASpec, OptimSpec, RunSpec, TaskSpec

Setting = tuple[OptimSpec, LoRASpec | Control | None]
"""An arm: its optimiser settings, and its adapters or control; None for full fine-tuning."""


def arm_specs(
    base: str | Mapping[int, str],
    base_spec: RunSpec,
    task: TaskSpec,
    arms: Sequence[Setting],
    seeds: Sequence[int],
    device: Device,
) -> list[RunSpec]:
    """Specs of every arm with every seed, ordered by seed, so that all arms have first results early.

    Args:
        base: id of the base, or the id of the base for each seed.
        base_spec: spec of the base, or of any one of several.
        task: what to fine-tune on.
        arms: what to compare.
        seeds: one run per arm and seed.
        device: where to train.

    Raises:
        SpecError: there is nothing to train, an arm or seed occurs twice, or a setting is out of bounds.
    """
    if not arms or not seeds:
        raise SpecError("An experiment needs at least one method and one seed.")
    if len(set(arms)) < len(arms) or len(set(seeds)) < len(seeds):
        raise SpecError("Two arms or seeds of this experiment are the same: change one, or leave one out.")
    shared = {"model": base_spec.model, "task": task, "source": base_spec.task, "device": device}
    return [
        RunSpec.of(
            base=base if isinstance(base, str) else base[seed],
            own_base=not isinstance(base, str),
            optim=optim,
            seed=seed,
            **_kind(kind),
            **shared,
        )
        for seed in seeds
        for optim, kind in arms
    ]


def _kind(kind: LoRASpec | Control | None) -> dict[str, object]:
    if isinstance(kind, LoRASpec):
        return {"method": "lora", "lora": kind}
    return {"method": "full", "control": kind}
