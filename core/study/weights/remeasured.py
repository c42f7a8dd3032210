"""Further measurements of stored networks: example by example, and before training.

Nothing is trained here. If a dataset or a file is missing, a :class:`core.errors.LabError` is raised; only
:func:`remeasure` returns its sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from core.errors import LabError, RunStateError
from core.lab import Lab
from core.results.arm import Arm
from core.rule.networks import NetworkDifference, example_difference
from core.store.record import Run
from core.study.arms.accuracies import Accuracies
from core.study.weights.predicted import predictions, true_targets
from core.tasks.views.text import TextPreview, TextView
from core.training.evaluation import evaluate_both

P = ParamSpec("P")
T = TypeVar("T")


class Caller(Protocol):
    """Calls ``measure(lab, ...)``, or returns what the same call returned before."""

    def __call__(self, measure: Callable[Concatenate[Lab, P], T], lab: Lab, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``measure`` returns. Raises: LabError: what ``measure`` raises; errors are not kept."""


def called(measure: Callable[Concatenate[Lab, P], T], lab: Lab, /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``measure``: the :class:`Caller` that keeps nothing."""
    return measure(lab, *args, **kwargs)


@dataclass(frozen=True)
class Remeasured:
    """The measurements of stored networks that a report needs."""

    start: Accuracies | None = None
    """The base on the validation parts; the mean of the bases where each seed has one."""
    truncated: TextPreview | None = None
    """The lengths of the target's training texts, and how many are cut; None for other data."""
    missing: str = ""
    """Why the rest is missing, if a network or dataset is missing; empty otherwise."""


def remeasure(lab: Lab, arms: Sequence[Arm], call: Caller = called) -> Remeasured:
    """Evaluate the base, and count the tokens of texts.

    What could not be measured may be possible a moment later, so this is not for caching; ``call`` may be.

    Args:
        lab: has networks and datasets.
        arms: one for each method, rank and control; see :func:`core.results.choice.chosen_arms`.
        call: how the slow measurements are called.
    """
    try:
        spec = arms[0].spec if arms else None
        is_text = spec is not None and spec.network.learns == TextView().kind
        truncated = lab.text_preview(spec.task, spec.network, 1) if spec is not None and is_text else None
        return Remeasured(call(base_accuracies, lab, arms), truncated)
    except LabError as error:
        return Remeasured(missing=str(error))


def base_accuracies(lab: Lab, arms: Iterable[Arm]) -> Accuracies | None:
    """Evaluate what fine-tuning started from on the validation parts of target and source; the mean of several bases.

    Returns:
        None if no run has a source: a network that was imported is evaluated only where its forgetting is measured.

    Raises:
        LabError: a network or dataset is gone.
    """
    starts: dict[str, Run] = {}
    for run in (run for arm in arms for run in arm.runs if run.spec.source):
        starts.setdefault(str(run.spec.base or run.spec.network.brought), run)
    measured = [_before(lab, run) for run in starts.values()]
    if not measured:
        return None
    sources = [each.source for each in measured if each.source is not None]
    masked = [each.source_masked for each in measured if each.source_masked is not None]
    return Accuracies(
        fmean(each.target for each in measured),
        fmean(sources) if len(sources) == len(measured) else None,
        fmean(masked) if len(masked) == len(measured) else None,
    )


def _before(lab: Lab, run: Run) -> Accuracies:
    """The measure of what a run started from, on the validation parts of its target and source."""
    spec = run.spec
    target = lab.tasks.get(spec.task, network=spec.network)
    source = lab.tasks.get(spec.source, network=spec.network) if spec.source else None
    found, old = evaluate_both(lab.artifacts.base_network(run), target, source, "validation", objective=spec.objective)
    primary, masked = spec.objective.primary.name, spec.objective.masked
    return Accuracies(
        found.measures[primary],
        old.measures[primary] if old else None,
        old.measures[masked.name] if old and masked else None,
    )


def parallel(lab: Lab, a: Run, b: Run) -> NetworkDifference:
    """Compare the stored networks of two runs of one task on the same test examples.

    Raises:
        RunStateError: the runs have different tasks.
        LabError: a network or dataset is gone.
    """
    if a.spec.task != b.spec.task:
        raise RunStateError("These two runs learned different tasks: choose two of one experiment.")
    truth = true_targets(lab, a.spec)
    left, right = (predictions(lab, run).predicted == truth for run in (a, b))
    return example_difference(left.tolist(), right.tolist())
