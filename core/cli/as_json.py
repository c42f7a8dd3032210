"""The object that ``--json`` prints of a comparison: settings, the verdict with its checks, and points of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from statistics import fmean, median
from typing import Any

from core.answer.checks.registry import checks_of
from core.answer.lines import headline, reason
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.errors import LabError
from core.forecast.forecast import plan
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.method import Role
from core.networks.library.files import INDEX, WEIGHTS
from core.objectives.measure import VALIDATION
from core.results.arm import Arm, averaged_arms, judged_by
from core.results.choice import chosen_arms, comparisons_of
from core.results.row import Row, rows_of
from core.results.setting import labels_of
from core.rule.answer import Answer
from core.rule.candidate import Candidate, Rule
from core.rule.differences import AtEpochs
from core.rule.place import Place
from core.rule.settled import all_settled, updates_of
from core.rule.tuning import is_tuned, rate_choices
from core.store.record import Experiment, Run
from core.study.arms.fairness import missing_rows
from core.study.arms.study_words import study_headline, study_level, study_reason
from core.study.report.answer import answer_of, is_study, place_of


def as_json(lab: Lab, experiment: Experiment, bases: Sequence[Run], runs: list[Run]) -> dict[str, Any]:
    """The object that ``--json`` prints.

    Args:
        lab: has the files.
        experiment: which one.
        bases: the pretrain runs that the experiment starts from; none for a network that is fine-tuned as imported.
        runs: of the experiment.
    """
    found = place_of(lab, experiment, runs)
    values = comparison_as_json(
        rows_of(runs), found, _base_as_json(lab, bases, runs), lambda arm: _adapter_of(lab, arm)
    )
    return values | ({"study": _study_as_json(answer_of(lab, experiment, runs))} if is_study(experiment) else {})


def comparison_as_json(
    rows: list[Row], found: Place, base: Mapping[str, Any] | None, adapter_of: Callable[[Arm], str | None]
) -> dict[str, Any]:
    """The object of a comparison.

    Args:
        rows: all of an experiment, or of what others report.
        found: the verdict on them.
        base: what they start from, if that is known.
        adapter_of: has the path of a setting's adapter file.
    """
    arms, objective = [], judged_by(rows)
    chosen = {arm.key for arm in chosen_arms(rows)}
    compared = {arm.key: arm for group in comparisons_of(rows) for arm in group}
    ends = {choice.arm.key: choice.at_end for choice in rate_choices(rows)}
    for arm in averaged_arms(rows):
        own = arm.rows
        arms.append(
            {
                "label": arm.label,
                "method": FullSpec.name() if arm.role is Role.CONTROL else arm.setting.method,
                "control": arm.setting.method if arm.role is Role.CONTROL else None,
                "learning_rate": arm.learning_rate or None,
                "epochs": arm.setting.epochs or None,
                "chosen": arm.key in chosen,
                "rate_at_end": ends.get(arm.key),
                "settled": all_settled([compared.get(arm.key, arm)]),
                "rank": arm.setting.rank,
                "trainable_parameters": own[0].trained or (None if own[0].run is None else 0),
                "validation_accuracy": [row.measures.get("validation_accuracy") for row in own],
                "accuracy": [None if found.unread else row.measures.get("accuracy") for row in own],
                "source_accuracy": [None if found.unread else row.measures.get("source_accuracy") for row in own],
                "measures": _measures_as_json(arm, found.unread),
                "seconds": None if own[0].run is None else fmean(arm.values("seconds")),
                "adapter": adapter_of(arm) if arm.role is Role.ADAPTER else None,
                "runs": [row.id for row in arm.rows],
            }
        )
    return {
        "device": next((row.result.device for row in rows if row.result), None) or None,
        "base": base,
        "arms": arms,
        "missing": _missing_as_json(rows),
        "objective": {"kind": objective.kind, "measure": objective.primary.name, "within": objective.margin},
        "verdict": _verdict_as_json(found) | {"rates": _rates_as_json(rows)},
    }


def _measures_as_json(arm: Arm, unread: bool) -> dict[str, list[float | None]]:
    """Every measure of each run of an arm by name, where some run has it; ``unread`` leaves the test part out."""
    rows = [row for row in arm.rows if row.has_result]
    names = dict.fromkeys(name for row in rows for name, value in row.measures.items() if value is not None)
    if unread:
        names = {name: None for name in names if name.startswith(VALIDATION)}
    return {name: [row.measures.get(name) for row in rows] for name in names}


def _rates_as_json(rows: Sequence[Row]) -> str:
    """How the learning rates came about: searched for, some given ones tried, or one given for each setting."""
    if any(row.plan is not None for row in rows):
        return "searched"
    return "tried" if is_tuned(row.setting for row in rows) else "given"


def _missing_as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The runs that the answer lacks."""
    labels = labels_of(row.setting for row in rows)
    return [
        {
            "run": row.id,
            "label": labels[row.setting.key],
            "seed": row.seed,
            "state": row.state,
            "diverged": row.has_diverged,
            "cause": row.cause,
        }
        for row in missing_rows(rows)
    ]


def _adapter_of(lab: Lab, arm: Arm) -> str | None:
    """The adapter file of an arm's first seed; None if it is damaged or gone, which costs nobody the answer."""
    try:
        return str(lab.artifacts.path(arm.runs[0].id, ADAPTER))
    except LabError:
        return None


def _base_as_json(lab: Lab, bases: Sequence[Run], runs: Sequence[Run]) -> dict[str, Any]:
    """The first base that has a result; where a network is fine-tuned as it was imported, there is no run."""
    network = runs[0].spec.network
    folder = None if network.brought is None else lab.networks.folder(network.brought)
    found: dict[str, Any] = {"run": None, "accuracy": None, "parameters": plan(network, FullSpec()).parameters}
    found |= {"weights": None, "network": None if folder is None else str(folder)}
    base = next((run for run in bases if run.result is not None), None)
    if base is not None and base.result is not None:
        found |= {
            "run": base.id,
            "accuracy": base.result.measures.get("accuracy"),
            "parameters": base.result.parameters,
        }
        with suppress(LabError):  # damaged or gone, which costs nobody the answer
            found["weights"] = str(lab.artifacts.path(base.id, NETWORK))
    elif folder is not None:
        found["weights"] = str(next(folder / name for name in (WEIGHTS, INDEX) if (folder / name).exists()))
    return found


def _verdict_as_json(found: Place) -> dict[str, Any]:
    told = found.told if not found.reason else None
    # Full fine-tuning minus itself is nothing: the difference is then that of the best adapter setting.
    numbers = ("difference", "interval", "p", "p_within")
    seen = _candidate_as_json(told) if told is not None else dict.fromkeys(numbers)
    return {
        "level": str(found.level),
        "sentence": headline(found),
        "reason": reason(found) or None,
        "checks": checks_as_json(found),
        "about": str(found.about) if found.claim is not None else None,
        "choice": found.choice.label if found.choice is not None else None,
        **{name: seen[name] for name in numbers},
        "seeds": found.seeds,
        "examples": told.difference.examples or None if told is not None else None,
        "withheld": found.withheld or None,
        "looks": [{"seeds": look.seeds, "level": look.level, "family": list(look.family)} for look in found.looks],
        "earlier_looks": list(found.before),
        "seeds_needed": found.proposed or None,
        "settings": [] if found.unread else [_candidate_as_json(candidate) for candidate in found.candidates],
        "next_step": str(found.step) if found.step is not None else None,
        "adapter_run": found.offered.id if found.offered is not None else None,
        "settled": all_settled(found.compared),
        "holds_on": found.holds_on,
        "at_equal_epochs": [_at_epochs_as_json(at) for at in found.at_equal_epochs],
        "updates": updates_of(found.compared),
    }


def checks_as_json(found: Place | Answer) -> list[dict[str, Any]]:
    """What could undo an answer, what fails first."""
    return [
        {
            "name": name,
            "outcome": str(check.outcome),
            "value": check.value,
            "line": check.line,
            "where": check.where,
            "step": check.step,
        }
        for name, check in checks_of(found).items()
    ]


def _at_epochs_as_json(at: AtEpochs) -> dict[str, Any]:
    """The difference after one number of epochs for both; null where one was not trained for as many."""
    found = at.difference
    interval = found.interval if found is not None and isfinite(found.interval.half_width) else None
    return {
        "epochs": at.epochs,
        "difference": None if found is None else found.interval.mean,
        "interval": None if interval is None else [interval.low, interval.high],
        "seeds": 0 if found is None else len(found.seeds),
    }


def _study_as_json(found: Answer) -> dict[str, Any]:
    """What a study found at each point of its axis."""
    return {
        "axis": found.axis.name,
        "points": [at.point for at in found.places],
        "level": study_level(found) or None,
        "sentence": study_headline(found),
        "reason": study_reason(found) or None,
        "checks": checks_as_json(found),
        "looks": [{"seeds": look.seeds, "level": look.level, "family": list(look.family)} for look in found.looks],
        "earlier_looks": sorted({seeds for candidate in found.candidates for seeds in candidate.before}),
        "at": [
            {
                "point": at.point,
                "full": None if at.full is None or found.unread else _point_arm_as_json(at.full),
                "settings": [
                    _point_arm_as_json(candidate.arm)
                    | _candidate_as_json(candidate)
                    | {"lines": (lines := [line for line, own in at.by_line.items() if own is candidate])}
                    | {"standing": "open" if candidate.standing is Rule.NONE else str(candidate.standing)}
                    | {"settled": at.settled(lines[0])}
                    | {"withheld": at.not_tested.get(lines[0])}
                    for candidate in at.candidates
                ],
            }
            for at in found.places
        ],
    }


def _point_arm_as_json(arm: Arm) -> dict[str, Any]:
    """A setting of a study: its values by seed on both parts, and what it cost."""
    done = arm.finished_only
    results = [run.result for run in done.runs if run.result]
    return {
        "label": arm.label,
        "learning_rate": arm.learning_rate,
        "rank": arm.spec.method.inner_rank,
        "layers": list(arm.spec.method.targets),
        "trainable_parameters": done.trained,
        "updates": updates_of([arm]),
        "memory": fmean(result.memory for result in results),
        "seconds": fmean(result.seconds for result in results),
        "seeds": list(done.seeds),
        "values": list(done.values(arm.primary)),
        "runs": [run.id for run in done.runs],
    }


def _candidate_as_json(candidate: Candidate) -> dict[str, Any]:
    """What was found of a setting: p-values are corrected for all settings, those of ``within`` are one-sided."""
    interval, tests = candidate.difference.interval, candidate.found
    return {
        "label": candidate.arm.label,
        "difference": interval.mean,
        "interval": [interval.low, interval.high] if isfinite(interval.half_width) else None,
        "median": median(candidate.difference.values),
        "p": tests.differs if tests is not None else None,
        "p_methods": tests.methods_differ if tests is not None else None,
        "p_within": tests.within if tests is not None else None,
        "p_within_methods": tests.methods_within if tests is not None else None,
        "leaning": candidate.leans,
        "is_again": candidate.is_again,
        "claims": [
            {"rule": str(c.rule), "seeds": c.seeds, "about_methods": c.about_methods, "holds": c.holds}
            for c in candidate.claims
        ],
    }
