"""The runs of an experiment: every arm with every seed, from one base or from a base for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.errors import SpecError
from core.spec import Control, Device, LoRASpec, OptimSpec, RunSpec, TaskSpec

Setting = tuple[OptimSpec, LoRASpec | Control | None]
"""An arm: how it is trained, and with which adapters or as which control; None for full fine-tuning."""


def arm_specs(
    base: str | Mapping[int, str],
    base_spec: RunSpec,
    task: TaskSpec,
    arms: Sequence[Setting],
    seeds: Sequence[int],
    device: Device,
) -> list[RunSpec]:
    """Specs of every arm with every seed; seed by seed, so that all arms have something to show early.

    Args:
        base: id of the run that all start from, or of one for each seed.
        base_spec: of that run; of any of them where there are several.
        task: what to fine-tune on.
        arms: what to compare.
        seeds: one run an arm each.
        device: where to train.

    Raises:
        SpecError: nothing to train, two arms or seeds that are the same, or a setting out of bounds.
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
