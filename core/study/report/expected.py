"""What an experiment can be expected to show, before it is trained: from the spread of earlier runs of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.errors import LabError
from core.lab import Lab
from core.methods.method import Role
from core.run_spec import RunSpec
from core.study.arms.design_words import power_sentences
from core.study.arms.verdict import verdict
from core.study.report.example import example, example_verdict
from core.study.stats.power import Design
from core.study.weights.predicted import tested_by, trivial_by

MAX_LOOKED_AT = 20
"""Maximum number of experiments, the newest first, among which one of the same kind is looked for."""

_designs: dict[tuple[object, ...], Design | None] = {}
"""Designs of experiments by home folder, and by what became of their runs."""


@dataclass(frozen=True)
class Expected:
    """What a design can show, and from whose spread that is known."""

    design: Design
    like: str
    """Name of the experiment whose spread was taken."""


def expected_design(lab: Lab, specs: Sequence[RunSpec]) -> Expected | None:
    """What runs can be expected to show; None where no earlier ones are of their kind.

    Of the same kind are runs of one network on one task, judged by the same measure. Before the first of them, the
    example that ships with the project stands for perceptrons on images that are judged by accuracy.

    Args:
        lab: has earlier experiments.
        specs: of all runs that will have been trained; see :attr:`core.engine.launcher.Planned.at_least`.

    Raises:
        LabError: the dataset is gone.
    """
    own = next((spec for spec in specs if spec.role is Role.REFERENCE), None)
    settings = {(spec.kind, spec.method.size) for spec in specs if spec.role is Role.ADAPTER}
    if own is None or not settings:
        return None
    examples = len(lab.tasks.outline(own.task).test)
    for experiment in lab.experiments(MAX_LOOKED_AT):
        if _kind_of(lab.run(experiment.runs[0]).spec) == _kind_of(own):
            members = lab.members(experiment)
            key = (str(lab.settings.home), *((run.id, run.state, run.archived) for run in members))
            if key not in _designs:
                found = verdict(members, tested_by(lab), trivial=trivial_by(lab))
                _designs[key] = None if found.withheld else found.design
            if (design := _designs[key]) is not None:
                return Expected(replace(design, settings=len(settings)), experiment.name)
    shown, like = example_verdict().design, example().runs[0].spec
    if shown is None or (type(own.network), own.objective.primary) != (type(like.network), like.objective.primary):
        return None
    return Expected(replace(shown, examples=examples, settings=len(settings)), f"the example ({example().name})")


def expected_sentences(lab: Lab, specs: Sequence[RunSpec]) -> list[str]:
    """What runs can be expected to show, for people; empty where that is not known.

    Args: see :func:`expected_design`.
    """
    try:
        expected = expected_design(lab, specs)
    except LabError:
        return []
    if expected is None:
        return []
    tuned = [spec for spec in specs if spec.role is Role.REFERENCE]
    spec, seeds = tuned[0], len({spec.seed for spec in tuned})
    objective, kind = spec.objective, spec.network.learns
    found = power_sentences(expected.design, objective.primary, objective.margin, kind, seeds)
    return [*found, f"By the spread of {expected.like}."]


def _kind_of(spec: RunSpec) -> tuple[object, ...]:
    return spec.network, spec.task, spec.source, spec.objective.primary
