"""What a form does not show of an experiment that it was filled from, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.methods.registry import method_of
from core.numbers import seeds_text
from core.plan.configuration import Configuration
from core.plan.experiment import Recipe
from core.plan.search import TuneSpec
from core.run_spec import OptimSpec
from core.spec import Spec, bounds
from core.wording.tasks import judged_text, task_text


def left_out(wanted: Configuration, shown: Configuration) -> list[str]:
    """Name the settings of a configuration that another one does not have, as in ``Alpha 16``.

    Args:
        wanted: all that is asked for.
        shown: what a form made of it.

    Returns:
        Nothing where every value is there, even if they are combined in other ways.
    """
    found = _of_methods(wanted.settings, shown.settings, {"head_rate"} if wanted.head != shown.head else set())
    if wanted.head != shown.head:
        found.append("a head that only full fine-tuning trains" if shown.head else "a head that is trained whole")
    if wanted.task != shown.task:
        found.append(f"{_title(Configuration, 'task')} {task_text(wanted.task)}")
    if wanted.forgetting is not None and wanted.forgetting != shown.forgetting:
        found.append(f"{_title(Configuration, 'forgetting')} {task_text(wanted.forgetting)}")
    if seeds := [seed for seed in wanted.seeds if seed not in shown.seeds]:
        found.append(seeds_text(seeds))
    if wanted.device != shown.device:
        found.append(f"{_title(Configuration, 'device')} {wanted.device}")
    if shown.is_search and not wanted.is_search:
        found.append("learning rates that are given")
    if wanted.tune and shown.tune and wanted.is_search and wanted.tune != shown.tune:
        found.append(f"{_title(TuneSpec, 'longer')} {wanted.tune.longer}")
    if wanted.objective != shown.objective:
        found.append(f"judged by {judged_text(wanted.objective)}")
    if wanted.vary is not None and wanted.vary != shown.vary:
        found.append(f"{_title(Configuration, 'vary')} {wanted.vary.short}")
    for name in ("own_bases", "trim"):
        if getattr(wanted, name) and not getattr(shown, name):
            found.append(_title(Configuration, name))
    return found


def _of_methods(wanted: Sequence[Recipe], shown: Sequence[Recipe], without: set[str]) -> list[str]:
    """Methods that are missing, and by field, but for some, the values that the others lack, each once."""
    titles, there = {method.kind: method.title for _, method in wanted}, {method.kind for _, method in shown}
    values: dict[str, list[object]] = {}
    for kind in filter(there.__contains__, titles):
        mine, others = ([each for each in settings if each[1].kind == kind] for settings in (wanted, shown))
        for part, spec in enumerate((OptimSpec, type(method_of(kind)))):
            for name in (name for name in spec.model_fields if name not in without):
                known = {getattr(each[part], name) for each in others}
                new = [value for each in mine if (value := getattr(each[part], name)) not in known]
                if new:
                    values.setdefault(_title(spec, name), []).extend(new)
    return [title for kind, title in titles.items() if kind not in there] + [
        f"{title} {', '.join(_once(map(_text, found)))}" for title, found in values.items()
    ]


def _once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _title(spec: type[Spec], name: str) -> str:
    return bounds(spec, name).title


def _text(value: object) -> str:
    """A value of a field in words."""
    if isinstance(value, tuple):
        return " + ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
