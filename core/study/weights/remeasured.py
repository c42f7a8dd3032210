"""Further measurements of stored networks: example by example, cut to a rank, and before training.

Nothing is trained here. If a dataset or a file is missing, a :class:`core.errors.LabError` is raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import nn

from core.data.task import EvaluationPart, Task
from core.errors import LabError, RunStateError
from core.lab import Lab
from core.methods.method import Role
from core.run_spec import RunSpec
from core.store.record import Run
from core.study.arms.arm import Arm
from core.study.arms.cut import CutArm, Standing
from core.study.stats.claims import ExampleDifference, example_difference
from core.study.weights.predicted import predictions, true_labels
from core.study.weights.spectrum import cut_networks
from core.training.evaluation import evaluate_both


def cut_arms(lab: Lab, full: Arm, ranks: Iterable[int]) -> list[CutArm]:
    """Cut ΔW of every layer of full fine-tuning to each rank by SVD, and measure the accuracy.

    The cut is the best approximation of ΔW of that rank (Eckart and Young, Psychometrika 1, 1936) but not the best
    network of that rank: training at that rank, as LoRA does, may find a better one.

    Args:
        lab: has the networks.
        full: an arm that was trained from a base.
        ranks: each at least 1.

    Raises:
        LabError: a network or dataset is gone.
    """
    cuts = {rank: CutArm(rank) for rank in sorted(set(ranks))}
    for run in full.runs:
        base, tuned = lab.artifacts.base_network(run), lab.artifacts.network(run.id)
        target, source = _tasks(lab, run.spec)
        for cut, network in zip(cuts.values(), cut_networks(base, tuned, list(cuts)), strict=True):
            cut.by_seed[run.spec.seed] = _standing(network, target, source, "test")
    return list(cuts.values())


@dataclass(frozen=True)
class Remeasured:
    """The measurements of stored networks that a report needs."""

    cuts: tuple[CutArm, ...] = ()
    start: Standing | None = None
    """The base on the validation parts; the mean of the bases where each seed has one."""
    images: tuple[int, int, int] | None = None
    """Number of the target's training, validation and test images."""
    missing: str = ""
    """Why the rest is missing, if a network or dataset is missing; empty otherwise."""


def remeasure(lab: Lab, arms: Sequence[Arm]) -> Remeasured:
    """Cut full fine-tuning to the ranks of the LoRA arms, and evaluate the base.

    Args:
        lab: has networks and datasets.
        arms: one for each method, rank and control; see :func:`core.study.arms.choice.chosen_arms`.
    """
    full = next((arm for arm in arms if arm.role is Role.REFERENCE), None)
    try:
        start = mean_standing(list(base_standings(lab, arms).values()))
        ranks = sorted({arm.adapter.rank for arm in arms if arm.adapter})
        cuts = tuple(cut_arms(lab, full, ranks)) if full else ()
        outline = lab.tasks.outline(arms[0].spec.task) if arms else None
    except LabError as error:
        return Remeasured(missing=str(error))
    images = (len(outline.train), len(outline.validation), len(outline.test)) if outline else None
    return Remeasured(cuts, start, images)


def mean_standing(standings: Sequence[Standing]) -> Standing | None:
    """Return the mean of several; that of the source only if all have it."""
    if not standings:
        return None
    sources = [s.source for s in standings if s.source is not None]
    masked = [s.source_masked for s in standings if s.source_masked is not None]
    whole = len(sources) == len(masked) == len(standings)
    return Standing(
        fmean(s.target for s in standings), fmean(sources) if whole else None, fmean(masked) if whole else None
    )


def base_standings(lab: Lab, arms: Iterable[Arm]) -> dict[str, Standing]:
    """Evaluate each base on the validation parts of target and source before fine-tuning, by its id.

    Raises:
        LabError: a network or dataset is gone.
    """
    found: dict[str, Standing] = {}
    for run in (run for arm in arms for run in arm.runs if run.spec.base):
        if str(run.spec.base) not in found:
            target, source = _tasks(lab, run.spec)
            found[str(run.spec.base)] = _standing(lab.artifacts.base_network(run), target, source, "validation")
    return found


def image_by_image(lab: Lab, a: Run, b: Run) -> ExampleDifference:
    """Compare the stored networks of two runs of one task on the same test images.

    Raises:
        RunStateError: the runs have different tasks.
        LabError: a network or dataset is gone.
    """
    if a.spec.task != b.spec.task:
        raise RunStateError("These two runs learnt different tasks: choose two of one experiment.")
    truth = true_labels(lab, a.spec.task)
    left, right = (predictions(lab, run) == truth for run in (a, b))
    return example_difference(left.tolist(), right.tolist())


def _tasks(lab: Lab, spec: RunSpec) -> tuple[Task, Task | None]:
    network = spec.network
    source = lab.tasks.get(spec.source, network=network) if spec.source else None
    return lab.tasks.get(spec.task, network=network), source


def _standing(network: nn.Module, task: Task, source: Task | None, part: EvaluationPart) -> Standing:
    target, old = evaluate_both(network, task, source, part)
    return Standing(target.accuracy, old.accuracy if old else None, old.masked_accuracy if old else None)
