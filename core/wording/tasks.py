"""Descriptions of tasks and of what they are judged by, the same on every page and in reports."""

from __future__ import annotations

from collections.abc import Mapping

from core.data.task_spec import TaskSpec
from core.objectives.objective import ObjectiveSpec, Targets
from core.objectives.registry import CLASSIFICATION
from core.run_spec import RunSpec

SHOTS: Mapping[Targets, str] = {"classes": "per class", "texts": "shots"}
"""What follows a number of shots where it is of each class, or may be of each topic."""


def task_text(task: TaskSpec, objective: ObjectiveSpec = CLASSIFICATION) -> str:
    """Describe a task in a few words, as in ``mnist, classes 0–4, rotated 45°``. Args: objective: it is learned for."""
    return ", ".join([task.dataset, *changes_of(task, objective)])


def changes_of(task: TaskSpec, objective: ObjectiveSpec = CLASSIFICATION) -> list[str]:
    """What a task changes in its dataset, as in ``["classes 0–4", "rotated 45°"]``; see :func:`task_text`."""
    words = []
    if task.classes:
        first, last = task.classes[0], task.classes[-1]
        run = task.classes == tuple(range(first, last + 1))
        what = "topics" if objective.targets == "texts" else "classes"
        words.append(f"{what} {first}–{last}" if run else f"{what} {', '.join(map(str, task.classes))}")
    if task.rotation:
        words.append(f"rotated {task.rotation:g}°")
    if task.invert:
        words.append("inverted")
    if task.permutation is not None:
        words.append("pixels shuffled")
    if task.length != TaskSpec.model_fields["length"].default:
        words.append(f"at most {task.length} tokens")
    if task.shots:
        words.append(f"{task.shots} {SHOTS.get(objective.targets, 'examples')}")
    return words


def bases_text(spec: RunSpec) -> str:
    """Whether the seeds of an experiment share what they are fine-tuned from, which decides how much they differ."""
    if spec.is_direct:
        return "the imported network for all seeds"
    return "a base for each seed" if spec.own_base else "one base for all seeds"


def judged_text(objective: ObjectiveSpec) -> str:
    """What an experiment is judged by, as in ``macro-F1, margin 1 point``."""
    return f"{objective.primary.noun}, margin {objective.primary.margin_text(objective.margin)}"
