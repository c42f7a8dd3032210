"""Full fine-tuning cut to a rank after training, measured for as many seeds as there is time and memory for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import torch
from torch import nn

from core.data.examples import EvaluationPart, Examples, Task, TextExamples
from core.engine.jobs.run_files import NETWORK
from core.errors import ShortOfMemoryError
from core.lab import Lab
from core.memory import free_bytes
from core.numbers import bytes_text, count_text
from core.objectives.objective import ObjectiveSpec
from core.results.arm import Arm
from core.run_spec import RunSpec
from core.study.arms.cut import Accuracies, CutArm
from core.study.weights.change import read_change
from core.study.weights.spectrum import cut_networks
from core.training.evaluation import evaluate_both

MAX_PRODUCTS = 6_000_000_000_000
"""Multiplications that cutting and evaluating may take in all: about a minute or two on two cores. A perceptron on
10,000 images takes two billion per seed and rank, MiniLM on 2,400 definitions 400 billion."""

DECOMPOSITION = 20
"""Multiplications of a singular value decomposition of an (m, n) matrix, m ≥ n, divided by m n² (Golub and Van Loan,
"Matrix Computations", 4th ed., §8.6.3, for U, Σ and V: between 14 and 21 for m from n to infinity)."""


@dataclass(frozen=True)
class Cuts:
    """Full fine-tuning cut to several ranks."""

    arms: tuple[CutArm, ...]
    """One per rank, ascending; empty where none could be measured."""
    left_out: str = ""
    """A sentence on seeds that were not measured; empty if all were."""


def cuts_of(lab: Lab, full: Arm, ranks: Iterable[int], limit: int = MAX_PRODUCTS) -> Cuts:
    """Cut full fine-tuning to each rank, with the first seeds for which time and memory suffice.

    Args:
        lab: has the networks.
        full: an arm that was trained from a base.
        ranks: each at least 1.
        limit: multiplications that it may take in all.

    Raises:
        ShortOfMemoryError: there is too little free memory now.
        LabError: a network or dataset is gone.
    """
    wanted = sorted(set(ranks))
    if not wanted:
        return Cuts(())
    target, source = tasks_of(lab, full.spec)
    layers = list(full.spec.network.linear_layers().values())
    numbers = sum(map(prod, layers))
    # In float64: W, ΔW and both factors of its decomposition; in float32: base, tuned and cut network.
    needed, free = numbers * (4 * 8 + 3 * 4), free_bytes(torch.device("cpu"))
    if needed > free:
        sizes = f"it takes {bytes_text(needed)} of memory, and {bytes_text(free)} are free"
        raise ShortOfMemoryError(f"Full fine-tuning was not cut to a rank: {sizes}.")
    rows = sum(_rows(task.part("test")) for task in (target, source) if task)
    decomposed = sum(DECOMPOSITION * max(shape) * min(shape) ** 2 for shape in layers)
    affordable = limit // (decomposed + len(wanted) * numbers * rows)
    if not affordable:
        return Cuts((), "Full fine-tuning was not cut to a rank: on this network it would take many minutes.")
    arms = tuple(cut_arms(lab, full, wanted, affordable))
    if affordable >= len(full.runs):
        return Cuts(arms)
    return Cuts(
        arms,
        f"Full fine-tuning was cut to a rank for {count_text(affordable)} of {count_text(len(full.runs))} seeds: on "
        "this network all of them would take many minutes.",
    )


def cut_arms(lab: Lab, full: Arm, ranks: Iterable[int], seeds: int | None = None) -> list[CutArm]:
    """Cut ΔW of every layer of full fine-tuning to each rank by SVD, and measure the accuracy.

    The cut is the best approximation of ΔW of that rank (Eckart and Young, Psychometrika 1, 1936) but not the best
    network of that rank: training at that rank, as LoRA does, may find a better one.

    Args:
        lab: has the networks.
        full: an arm that was trained from a base.
        ranks: each at least 1.
        seeds: how many of its first seeds; None for all.

    Raises:
        LabError: a network or dataset is gone.
    """
    cuts = {rank: CutArm(rank, full.spec.objective) for rank in sorted(set(ranks))}
    for run in full.runs[:seeds]:  # before minutes of work: a file that is gone is asked for again at every call
        lab.artifacts.path(run.id, NETWORK)
        if not run.spec.is_direct:
            lab.artifacts.base(run)
    for run in full.runs[:seeds]:
        change = read_change(lab, run)
        target, source = tasks_of(lab, run.spec)
        for cut, network in zip(
            cuts.values(), cut_networks(change.base, change.tuned, list(cuts), change.whole), strict=True
        ):
            cut.by_seed[run.spec.seed] = accuracies_of(network, target, source, "test", run.spec.objective)
    return list(cuts.values())


def tasks_of(lab: Lab, spec: RunSpec) -> tuple[Task, Task | None]:
    """Target and source of a run, as its network reads them. Raises: LabError: a dataset or the tokenizer is gone."""
    source = lab.tasks.get(spec.source, network=spec.network) if spec.source else None
    return lab.tasks.get(spec.task, network=spec.network), source


def accuracies_of(
    network: nn.Module, task: Task, source: Task | None, part: EvaluationPart, objective: ObjectiveSpec
) -> Accuracies:
    """The primary measure of a network on one part of its tasks."""
    target, old = evaluate_both(network, task, source, part, objective=objective)
    masked = objective.masked
    return Accuracies(
        target.measures[objective.primary.name],
        old.measures[objective.primary.name] if old else None,
        old.measures[masked.name] if old and masked else None,
    )


def _rows(examples: Examples) -> int:
    """How often each linear layer is applied: once per image, once per token of a text."""
    return len(examples.tokens) if isinstance(examples, TextExamples) else len(examples)
