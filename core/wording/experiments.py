"""Names of experiments, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from core.methods.lora import LoRASpec
from core.methods.method import Role
from core.methods.registry import methods
from core.numbers import counted
from core.run_spec import RunSpec, inner_ranks
from core.wording.examples import shortened
from core.wording.tasks import changes_of

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
