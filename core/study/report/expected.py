"""What an experiment can be expected to show, before it is trained: from the spread of earlier runs of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.answer.design import TOO_FEW, examples_sentence, power_sentences
from core.errors import LabError
from core.lab import Lab
from core.methods.method import Role
from core.results.intervals import MIN_SEEDS
from core.results.setting import setting_of
from core.rule.spending import Design
from core.rule.tuning import rates_tried
from core.run_spec import RunSpec
from core.store.record import Experiment
from core.study.report.answer import answer_before, known_place
from core.study.report.example import example, example_verdict

MAX_LOOKED_AT = 20
"""Maximum number of experiments, the newest first, among which those of the same kind are looked for."""


@dataclass(frozen=True)
class Expected:
    """What a design can show, and from whose spread that is known."""

    design: Design
    like: str
    """Whose spread was taken: an earlier experiment or the example."""
    more: str
    """The same in a sentence, with its name."""


def expected_design(lab: Lab, specs: Sequence[RunSpec]) -> Expected | None:
    """What runs can be expected to show; None where nothing tells.

    It is known from an earlier experiment of their kind: on the same dataset, with the same kind of network, judged by
    the same measure. Of several the one that is most alike counts, by :func:`_likeness`, and of these the newest.
    Before there is one, the example that ships with the project says what is usual for perceptrons judged by accuracy.

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
    examples, tuned = len(lab.tasks.outline(own.task).test), bool(rates_tried(map(setting_of, specs)).several)
    firsts = [
        (experiment, lab.store.run(experiment.runs[0]).spec) for experiment in lab.store.experiments(MAX_LOOKED_AT)
    ]
    alike = [
        (_likeness(spec, own, (experiment.plan is not None) is tuned), experiment)
        for experiment, spec in firsts
        if _kind_of(spec) == _kind_of(own)
    ]
    for _, experiment in sorted(alike, key=lambda pair: pair[0], reverse=True):
        design = _design_of(lab, experiment)
        if design is not None:
            # Where the answers to single examples are not known, so few test examples can be out of reach all the same.
            count = examples if design.examples > 1 or own.objective.primary.whole is None else 1
            return Expected(
                replace(design, examples=count, settings=len(settings)),
                "an earlier experiment",
                f"The spread is that of {experiment.name}.",
            )
    shown, like = example_verdict().design, example().runs[0].spec
    if shown is None or (type(own.network), own.objective.primary) != (type(like.network), like.objective.primary):
        return None
    whose = "none of your experiments of this kind can take" if alike else "your first experiment of this kind takes"
    more = (
        f"The spread is that of the example ({example().name}): {whose} its place, which needs an answer from at least "
        f"{MIN_SEEDS} seeds that differ."
    )
    return Expected(replace(shown, examples=examples, settings=len(settings)), "the example", more)


def expected_sentences(lab: Lab, specs: Sequence[RunSpec]) -> list[str]:
    """What runs can be expected to show, for people: the two that matter most, then how that is known. Where no spread
    tells, that test examples are too few for any; empty where they are not.

    Args: see :func:`expected_design`.
    """
    full = [spec for spec in specs if spec.role is Role.REFERENCE]
    try:
        expected = expected_design(lab, specs)
        examples = len(lab.tasks.outline(full[0].task).test) if full else 0
    except LabError:
        return []
    if not full or all(spec.role is not Role.ADAPTER for spec in specs):
        return []
    spec, seeds = full[0], len({spec.seed for spec in full})
    measure, margin, kind = spec.objective.primary, spec.objective.margin, spec.network.learns
    if expected is None:
        alike = Design(0, 0, 0, examples, 1, measure.width)
        return [examples_sentence(alike, measure, margin, kind)] if alike.is_out_of_reach(margin) else []
    found = power_sentences(expected.design, measure, margin, kind, seeds, like=expected.like)
    return found if found == [TOO_FEW] else [*found, expected.more]


def _kind_of(spec: RunSpec) -> tuple[object, ...]:
    return spec.task.dataset, type(spec.network), spec.objective.primary


def _likeness(spec: RunSpec, own: RunSpec, is_tuned_alike: bool) -> tuple[bool, ...]:
    """How alike two experiments of one kind are, the most important first: task, network, whether each seed has a base
    of its own, how rates are found, and for how long rates that are given are trained.
    """
    return (
        (spec.task, spec.source) == (own.task, own.source),
        spec.trained_network == own.trained_network,
        spec.own_base is own.own_base,
        is_tuned_alike,
        spec.optim.epochs == own.optim.epochs,
    )


def _design_of(lab: Lab, experiment: Experiment) -> Design | None:
    """The design of an experiment, from the spread of its runs; None where these tell nothing."""
    members = lab.store.members(experiment)
    found = known_place(lab, experiment, members)
    if found.unread and (before := answer_before(lab, experiment, members)) is not None:
        found = before  # what was added since does not hide the spread of what was there
    own = found.design
    return own if own is not None and own.varies else None
