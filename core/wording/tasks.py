"""Descriptions of tasks, the same on every page and in reports."""

from __future__ import annotations

from core.data.task_spec import TaskSpec


def task_text(task: TaskSpec) -> str:
    """Describe a task in a few words, as in ``mnist, classes 0–4, rotated 45°``."""
    return ", ".join([task.dataset, *changes_of(task)])


def changes_of(task: TaskSpec) -> list[str]:
    """What a task changes in its dataset, as in ``["classes 0–4", "rotated 45°"]``."""
    words = []
    if task.classes:
        first, last = task.classes[0], task.classes[-1]
        run = task.classes == tuple(range(first, last + 1))
        words.append(f"classes {first}–{last}" if run else f"classes {', '.join(map(str, task.classes))}")
    if task.rotation:
        words.append(f"rotated {task.rotation:g}°")
    if task.invert:
        words.append("inverted")
    if task.permutation is not None:
        words.append("pixels shuffled")
    if task.length != TaskSpec.model_fields["length"].default:
        words.append(f"at most {task.length} tokens")
    if task.shots:
        words.append(f"{task.shots} per class")
    return words
