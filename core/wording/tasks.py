"""How experiments, tasks, what they are judged by, examples, and answers to them are called: the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from core.data.dataset import LANGUAGE
from core.data.task_spec import TaskSpec
from core.methods.lora import LoRASpec
from core.methods.method import Role
from core.methods.registry import methods
from core.numbers import count_text, counted, listed, number_text
from core.objectives.objective import ObjectiveSpec, Targets
from core.objectives.registry import CLASSIFICATION
from core.run_spec import RunSpec, inner_ranks


def noun(kind: str, count: float = 2) -> str:
    """The word for this many examples of a kind of data, as in ``image`` for 1 and ``texts`` for 12.

    Args:
        kind: of a dataset, or what a network learns; the kinds are named after one example, but for language.
        count: how many; several by default.
    """
    one = "text" if kind == LANGUAGE else kind
    return one if count == 1 else f"{one}s"


def examples_text(kind: str, count: float, part: str = "") -> str:
    """A number of examples with their word, as in ``1,200 test texts``.

    Args:
        kind: see :func:`noun`.
        count: how many.
        part: ``training``, ``validation`` or ``test``; empty for none.
    """
    return " ".join(filter(None, (count_text(count), part, noun(kind, count))))


def class_name(label: int, names: Sequence[str]) -> str:
    """The name of a label; an output of the network that its dataset has no name for is called by its number."""
    return names[label] if label < len(names) else f"output {label}"


def shortened(text: str, length: int) -> str:
    """A text of at most this many characters, as in ``Dinosaurs of th…``."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def target_text(target: float, names: Sequence[str]) -> str:
    """A target or an answer in words: the name of a class for a label, else the number itself.

    Args:
        target: a label as an integer, or a number as a float.
        names: of the classes.
    """
    return class_name(target, names) if isinstance(target, int) else number_text(target, 3)


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


MAX_NAMED = 3
"""Networks that are named for one answer; more are counted."""

MAX_ANSWERS = 3
"""Answers that are told beside the most frequent one; networks with others are counted."""


def answers_text(answers: Mapping[str, str], truth: str | None = None) -> str:
    """Say who answers what, as in ``7 of 9 networks answer 3; LoRA r=1 and Base answer 8, which is right.``

    Args:
        answers: of each network, by what it is called; at least one.
        truth: the right answer; None if it is not known.
    """
    by_answer: dict[str, list[str]] = {}
    for network, answer in answers.items():
        by_answer.setdefault(answer, []).append(network)
    groups = sorted(by_answer.items(), key=lambda group: -len(group[1]))
    told = groups[: 1 + MAX_ANSWERS]
    parts = [
        f"{_all(networks, len(answers)) if place == 0 else _who(networks)} {_verb(networks)} {answer}"
        f"{', which is right' if answer == truth else ''}"
        for place, (answer, networks) in enumerate(told)
    ]
    if rest := sum(len(networks) for _, networks in groups[len(told) :]):
        parts.append(f"{count_text(rest)} {'has another answer' if rest == 1 else 'have other answers'}")
    if truth is not None and truth not in dict(told):
        parts.append(f"the right answer is {truth}")
    return f"{'; '.join(parts)}."


def _all(networks: Sequence[str], count: int) -> str:
    """The networks with the most frequent answer, of this many."""
    if len(networks) == 1:
        return _who(networks)
    if len(networks) == count:
        return "Both networks" if count == 2 else f"All {count_text(count)} networks"
    return f"{count_text(len(networks))} of {count_text(count)} networks"


def _who(networks: Sequence[str]) -> str:
    """The names of networks; those with a comma in quotation marks, since commas separate them."""
    named = [f"“{name}”" if "," in name else name for name in networks[:MAX_NAMED]]
    more = len(networks) - len(named)
    return listed([*named, *([f"{count_text(more)} more"] if more else [])])


def _verb(networks: Sequence[str]) -> str:
    return "answers" if len(networks) == 1 else "answer"


def explained(description: str, start: Any, reason: str, lead: str = "Default") -> str:
    """The help of a field: what it means and, where there is a reason, why it starts as it does.

    Args:
        description: what it means.
        start: its value at first.
        reason: a clause; empty for none, which leaves the description.
        lead: what comes before the value.
    """
    values = start if isinstance(start, list | tuple) else [start]
    shown = ", ".join(value if isinstance(value, str) else f"{value:g}" for value in values)
    return f"{description} {lead} {shown}: {reason}." if reason else description


MAX_NAME = 120
"""Maximum number of characters in an experiment's name."""

MAX_RANKS = 8
"""Maximum number of ranks that a name lists; more are counted."""


def experiment_name(specs: Iterable[RunSpec], searched: int = 0, varied: str = "") -> str:
    """The name of an experiment that nobody has named, as in ``Digits → rotated 45° · r 1, 4, 16 · 8 seeds``.

    Args:
        specs: of all its runs, at least one.
        searched: number of seeds with which learning rates are trained that were searched for; 0 where all runs were
            known when they were launched.
        varied: what a study varies, in a few words; empty where it is none.
    """
    everything = list(specs)
    adapters = [spec for spec in everything if spec.role is Role.ADAPTER]
    ranks = inner_ranks(everything)
    controls = {spec.kind for spec in everything if spec.role is Role.CONTROL}
    words = []
    if adapters:
        kinds = {spec.kind for spec in adapters}
        # LoRA alone goes without saying.
        named = [method.short for kind, method in methods(Role.ADAPTER).items() if kind in kinds]
        which = ", ".join(named) if kinds != {LoRASpec.name()} else ""
        listed = f"r {', '.join(map(str, ranks))}" if len(ranks) <= MAX_RANKS else f"{len(ranks)} ranks"
        words.append(" ".join(filter(None, [which, listed if ranks else ""])))
    elif not controls:
        words.append("full")
    if controls:
        words.append(
            ", ".join(control.short.lower() for kind, control in methods(Role.CONTROL).items() if kind in controls)
        )
    rates = _most(everything, lambda spec: spec.optim.learning_rate)
    alphas = _most(adapters, lambda spec: spec.method.strength)
    words += [varied] if varied else []
    words += ["rates found"] if searched else [f"{rates} rates"] if rates > 1 else []
    words += [f"{alphas} alphas"] if alphas > 1 else []
    seeds = searched or len({spec.seed for spec in everything})
    words.append(counted(seeds, "seed"))
    rest = " · ".join(["", *words])
    return shortened(_what_is_new(everything[0]), MAX_NAME - len(rest)) + rest


def _what_is_new(spec: RunSpec) -> str:
    """Source and target, as in ``Digits → rotated 45°``: of the target only what is not so in the source.

    Before them the network, where somebody imported one, without its owner at Hugging Face; a network that is
    fine-tuned as it is has no source, as in ``minilm → Definitions``.
    """
    source, target = spec.task if spec.is_direct else spec.source or spec.task, spec.task
    old, new = (changes_of(task, spec.objective) for task in (source, target))
    start = ", ".join([_title(source.dataset), *old])
    if spec.network.brought is not None:
        start = f"{spec.network.sizes.rpartition('/')[2]} → {start}"
    if spec.is_direct:
        return start
    if target.dataset != source.dataset:
        return f"{start} → {', '.join([_title(target.dataset), *new])}"
    if old == new:
        return f"{start} → same task"
    return f"{start} → {', '.join(word for word in new if word not in old) or _title(target.dataset)}"


def _title(dataset: str) -> str:
    """A dataset's name with its capitals, as in ``Digits`` or ``Fashion-MNIST``."""
    return re.sub(r"[a-z]*mnist|^[a-z]", lambda found: found[0].upper(), dataset)


def _most(specs: list[RunSpec], read: Callable[[RunSpec], object]) -> int:
    """The largest number of values of one setting with which one method, rank or control was trained."""
    values: dict[str, set[object]] = {}
    for spec in specs:
        values.setdefault(spec.label, set()).add(read(spec))
    return max(map(len, values.values()), default=0)
