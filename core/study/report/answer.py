"""The answer of an experiment in the lab: its verdict, and the record of every look at it.

Whoever asks, in whatever process, is told the same: Home, Sweep, Compare, Report and the command line call
:func:`answer_of`, and nothing else computes a verdict of an experiment. A look is recorded when its verdict is first
computed with all runs at their ends, and counts once, however often it is read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from core.engine.growing import plan_of
from core.errors import LabError
from core.lab import Lab
from core.store.looks import Look
from core.store.record import Experiment, Run
from core.store.stages import stages_of
from core.study.arms.candidate import Rule
from core.study.arms.family import Tested
from core.study.arms.study import StudyAnswer, study
from core.study.arms.study_words import study_headline
from core.study.arms.tuning import rates_tried
from core.study.arms.verdict import Verdict, verdict
from core.study.weights.predicted import tested_by, trivial_by

MAX_KEPT = 64
"""Maximum number of verdicts that are kept in memory: pages ask for the same ones at every click."""

LATEST = 12
"""Number of experiments among which :func:`offered_adapter` looks for an answer."""

_Key = tuple[str, str]
_State = tuple[object, ...]
_kept: OrderedDict[_Key, tuple[_State, Verdict]] = OrderedDict()
_studies: OrderedDict[_Key, tuple[_State, StudyAnswer]] = OrderedDict()
_lock = threading.Lock()


def answer_of(lab: Lab, experiment: Experiment, members: Sequence[Run] | None = None) -> Verdict:
    """The verdict of an experiment, whose look is recorded.

    Args:
        lab: has the experiment.
        experiment: which one.
        members: its runs, where they were read already.
    """
    runs = lab.members(experiment) if members is None else list(members)
    if is_study(experiment):
        return _plain(study_of(lab, experiment, runs))
    key = str(lab.settings.home), experiment.id
    looks = lab.looks.of(experiment.id)
    with _lock:
        state, found = _kept.get(key, (None, None))
        if found is not None and state == _state(lab, runs, looks):
            _kept.move_to_end(key)
            return found
    tested, trivial = tested_by(lab), trivial_by(lab)
    if not looks and not lab.looks.are_kept(experiment.id):
        looks = _from_launches(runs, tested, trivial)
    found = verdict(runs, tested, looks, trivial=trivial)
    if reason := recording_reason(lab, experiment.id, (*looks, *found.looks)):
        return replace(found, reason=reason, unread=True, candidates=(), best=None, rule=Rule.NONE, looks=())
    with _lock:
        _kept[key] = _state(lab, runs, lab.looks.of(experiment.id)), found
        while len(_kept) > MAX_KEPT:
            _kept.popitem(last=False)
    return found


def recording_reason(lab: Lab, id: str, looks: Iterable[Look]) -> str:
    """Record looks that are not there yet.

    Args:
        lab: keeps them.
        id: of the experiment, or of judged results.
        looks: at it.

    Returns:
        Why they cannot be recorded, so that nothing is said; empty where they are.
    """
    known = {look.key: look for look in lab.looks.of(id)}
    if new := [look for look in looks if _says_more(look, known.get(look.key))]:
        try:
            lab.looks.record(id, new)
        except LabError as error:  # a look that leaves no trace would not count
            return f"No verdict yet: this look cannot be recorded. {error}"
    return ""


def _says_more(look: Look, known: Look | None) -> bool:
    """Whether a look was not recorded, or tests what was not tested when it was."""
    return known is None or (known.is_open and look.claims != known.claims)


def is_study(experiment: Experiment) -> bool:
    """Whether an experiment varies an axis; see :mod:`core.study.arms.study`."""
    plan = plan_of(experiment)
    return plan is not None and plan.configuration.vary is not None


def study_of(lab: Lab, experiment: Experiment, members: Sequence[Run] | None = None) -> StudyAnswer:
    """The answer of a study, whose look is recorded as that of any experiment.

    Args:
        lab: has the experiment.
        experiment: which one.
        members: its runs, where they were read already.

    Raises:
        ValueError: the experiment is no study.
    """
    runs = lab.members(experiment) if members is None else list(members)
    key = str(lab.settings.home), experiment.id
    state = experiment.plan, *_state(lab, runs, lab.looks.of(experiment.id))
    with _lock:
        before, known = _studies.get(key, (None, None))
        if known is not None and before == state:
            _studies.move_to_end(key)
            return known
    plan = plan_of(experiment)
    if plan is None:
        raise ValueError("This experiment is no study.")
    looks = lab.looks.of(experiment.id)
    found = study(plan, runs, tested_by(lab), looks, trivial_by(lab))
    if reason := recording_reason(lab, experiment.id, found.looks):
        return replace(found, reason=reason, unread=True, looks=())
    with _lock:
        _studies[key] = (experiment.plan, *_state(lab, runs, lab.looks.of(experiment.id))), found
        while len(_studies) > MAX_KEPT:
            _studies.popitem(last=False)
    return found


def _plain(found: StudyAnswer) -> Verdict:
    """A verdict that says what a study says, where one of any experiment is shown: Study shows it point by point."""
    return Verdict(found.margin, rates_tried([]), reason=study_headline(found), unread=found.unread)


def offered_adapter(lab: Lab) -> Run | None:
    """The adapter to begin with: that of the latest answer, else of the latest experiment that has one.

    See :attr:`core.study.arms.verdict.Verdict.offered`; None where no experiment of the latest ones has an adapter.
    """
    first = None
    for experiment in lab.experiments(LATEST):
        found = answer_of(lab, experiment)
        if found.offered is not None and not found.unread and not found.withheld:
            return found.offered
        first = first or found.offered
    return first


def _state(lab: Lab, runs: Sequence[Run], looks: Sequence[Look]) -> _State:
    """What a verdict depends on."""
    answered = lab.artifacts.answered([run.id for run in runs])
    return (answered, *(look.key for look in looks), *((run.id, run.state, run.archived, run.plan) for run in runs))


def _from_launches(runs: Sequence[Run], tested: Tested, trivial: Tested) -> list[Look]:
    """Looks at an experiment of a version that kept none: at the end of each launch but the last."""
    stages, looks = stages_of(runs), list[Look]()
    for last in range(1, len(stages)):
        launched = [run for stage in stages[:last] for run in stage]
        looks += verdict(launched, tested, looks, trivial=trivial).looks
    return looks
