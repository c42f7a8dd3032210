"""The settings in which runs differ, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from core.methods.method import MethodSpec, Role
from core.numbers import NOTHING, exact_text
from core.objectives.objective import ObjectiveSpec
from core.run_spec import RunSpec
from core.spec import KindSpec, Spec
from core.store.record import Run

_PARTS = {"task": "Task: ", "source": "Source task: "}
"""Parts of a spec whose fields need the part's name; those of the others say enough by themselves."""


def settings_of(spec: RunSpec) -> dict[str, str]:
    """Every setting of a run as people read it, by its title, in the order of the spec.

    Fields that only programs can read, such as the config of a network, are left out: others tell them apart.
    """
    found: dict[str, str] = {}
    left_out = {"head_rate": not (spec.network.has_head or spec.head), "recompute": not spec.optim.recompute}
    for name, info in RunSpec.model_fields.items():
        value = getattr(spec, name)
        if isinstance(value, ObjectiveSpec):
            found |= _judged_by(value)
            continue
        if isinstance(value, KindSpec):
            found[info.title or name] = value.title if isinstance(value, MethodSpec) else value.kind
        if isinstance(value, Spec):
            for field, about in type(value).model_fields.items():
                title = spec.objective.title_of(field, about.title or field)
                if left_out.get(field):
                    continue
                if field != "kind" and about.repr and title:
                    found[f"{_PARTS.get(name, '')}{title}"] = _text(getattr(value, field))
        elif name != "source" and (name != "head" or spec.head):  # parts that this run does not have
            found[info.title or name] = _text(value)
    return found


def differences(runs: Sequence[Run]) -> pd.DataFrame:
    """The settings in which runs differ: one row per setting and one column per run, as text.

    A setting that a run's method does not have is shown as such. Runs of one spec give a table without rows.

    Args:
        runs: with ids of their own.

    Returns:
        Columns ``Setting`` and one per run, named ``LoRA r=4, seed 0 (r-…)``.
    """
    settings = {run.id: settings_of(run.spec) for run in runs}
    titles = dict.fromkeys(title for own in settings.values() for title in own)
    rows = [(title, [own.get(title, NOTHING) for own in settings.values()]) for title in titles]
    different = [(title, texts) for title, texts in rows if len(set(texts)) > 1]
    columns = {"Setting": [title for title, _ in different]} | {
        f"{run.spec.label}, seed {run.spec.seed} ({run.id})": [texts[place] for _, texts in different]
        for place, run in enumerate(runs)
    }
    return pd.DataFrame(columns, dtype="string")


def share_base_and_task(runs: Sequence[Run]) -> bool:
    """Whether runs can be compared: all fine-tuned, from one base, or one for each seed, and on one task."""
    tuned = all(run.spec.role is not Role.BASE for run in runs)
    origins = {(run.spec.start, run.spec.source, run.spec.network, run.spec.task) for run in runs}
    return bool(runs) and tuned and len(origins) == 1


def _judged_by(objective: ObjectiveSpec) -> dict[str, str]:
    """An objective with the measure and the margin that hold, also where they are the default ones."""
    fields = type(objective).model_fields
    return {
        "Objective": objective.title,
        str(fields["measure"].title): objective.primary.title,
        str(fields["within"].title): exact_text(objective.margin),
    }


def _text(value: Any) -> str:
    """A setting's value; the same text for equal values only."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return exact_text(value) if isinstance(value, float) else str(value)
