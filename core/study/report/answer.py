"""The answer of an experiment in the lab: its verdict, and the record of every look at it.

Whoever reads it, in whatever process, is told the same: Home, Study, Compare, Report and commands call
:func:`answer_of`, which records a look when all runs have ended. A look counts once, however often it is read. Whoever
only mentions an experiment, such as a list, calls :func:`last_read`, which records none. Nothing else computes a
verdict of an experiment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from cachetools import LRUCache

from core.engine.experiments import plan_of
from core.errors import LabError
from core.lab import Lab
from core.numbers import counted
from core.results.row import Row, rows_of
from core.store.looks import Look
from core.store.record import Experiment, Run, stages_of
from core.study.arms.candidate import Rule
from core.study.arms.frontier import equal_to_full
from core.study.arms.study import StudyAnswer, study
from core.study.arms.study_words import study_headline
from core.study.arms.tuning import rates_tried
from core.study.arms.verdict import Verdict, verdict
from core.study.weights.predicted import tested_by, trivial_by

MAX_KEPT = 64
"""Maximum number of answers that are kept in memory: pages ask for the same ones at every click."""

READY = "Ready to read: all runs have ended. Open its answer to read it, which is a look at the test part."
"""Why nothing is said of an experiment whose answer nobody has read as it is now."""

LATEST = 12
"""Number of experiments among which :func:`offered_adapter` looks for an answer."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Asked(Generic[Found]):
    """An answer, and what it takes to read it."""

    found: Found
    new: tuple[Look, ...]
    """The looks that it is."""
    earlier: tuple[Look, ...] = ()
    """Looks of before that may be missing in the store."""


class Answers(Generic[Found]):
    """Answers of one kind, kept in memory, the latest :data:`MAX_KEPT`, each while what it depends on is the same."""

    def __init__(self, unread: Callable[[Found, str], Found]) -> None:
        """Args: unread: makes of an answer one that says nothing but why."""
        self._unread = unread
        self._kept: LRUCache[tuple[str, str], tuple[object, Asked[Found]]] = LRUCache(MAX_KEPT)
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget all of them, as a process that begins."""
        self._kept.clear()

    def read(self, lab: Lab, id: str, state: Callable[[], object], make: Callable[[], Asked[Found]]) -> Found:
        """An answer whose looks are recorded.

        Args:
            lab: keeps the looks.
            id: of the experiment, or of judged results.
            state: returns what the answer depends on, looks included.
            make: returns the answer.
        """
        asked = self._known(lab, id, state, make)
        if new := _new_looks(lab, id, (*asked.earlier, *asked.new)):
            try:
                lab.looks.record(id, new)
            except LabError as error:  # a look that leaves no trace would not count
                return self._unread(asked.found, f"No verdict yet: this look cannot be recorded. {error}")
            self._keep(lab, id, state(), asked)
        return asked.found

    def last(self, lab: Lab, id: str, state: Callable[[], object], make: Callable[[], Asked[Found]]) -> Found:
        """The same where reading it is no look, as it has been read; else one that says only that it is ready."""
        asked = self._known(lab, id, state, make)
        return self._unread(asked.found, READY) if _new_looks(lab, id, asked.new) else asked.found

    def _known(self, lab: Lab, id: str, state: Callable[[], object], make: Callable[[], Asked[Found]]) -> Asked[Found]:
        now = state()
        with self._lock:
            before, known = self._kept.get((str(lab.settings.home), id), (None, None))
        if known is not None and before == now:
            return known
        asked = make()
        self._keep(lab, id, now, asked)
        return asked

    def _keep(self, lab: Lab, id: str, state: object, asked: Asked[Found]) -> None:
        with self._lock:
            self._kept[str(lab.settings.home), id] = state, asked


def answer_of(lab: Lab, experiment: Experiment, members: Sequence[Run] | None = None) -> Verdict:
    """The verdict of an experiment, whose look is recorded: for whoever reads it.

    Args:
        lab: has the experiment.
        experiment: which one.
        members: its runs, where they were read already.
    """
    if is_study(experiment):
        return _plain(study_of(lab, experiment, members))
    return _verdicts.read(lab, experiment.id, *_verdict_of(lab, experiment, members))


def last_read(lab: Lab, experiment: Experiment, members: Sequence[Run] | None = None) -> Verdict:
    """The verdict of an experiment as it was last read, without a look; see :func:`answer_of`.

    Where runs have ended since, it says only that it is ready to read.
    """
    if is_study(experiment):
        return _plain(_studies.last(lab, experiment.id, *_study_of(lab, experiment, members)))
    return _verdicts.last(lab, experiment.id, *_verdict_of(lab, experiment, members))


def _verdict_of(
    lab: Lab, experiment: Experiment, members: Sequence[Run] | None
) -> tuple[Callable[[], object], Callable[[], Asked[Verdict]]]:
    """What the verdict of an experiment depends on, and how it is made."""
    runs = lab.store.members(experiment) if members is None else list(members)
    bases = _bases_beside(lab, runs)

    def made() -> Asked[Verdict]:
        tested, trivial = tested_by(lab), trivial_by(lab)
        rows = rows_of(runs)
        looks = _looks(lab, experiment, runs, lambda there, known: verdict(there, tested, known, trivial=trivial).looks)
        found = _with_equal(lab, verdict(rows, tested, looks, trivial=trivial, bases=rows_of(bases)), rows)
        return Asked(found, found.looks, tuple(looks))

    return lambda: _state(lab, experiment, [*bases, *runs]), made


def with_bases(lab: Lab, runs: Sequence[Run]) -> list[Run]:
    """These runs, and before them the bases that count with them: those launched with them, and those not finished."""
    bases = lab.store.runs_of(bases_of(runs))
    own = {run.id for run in runs}
    launched = {run.id for stage in stages_of([*bases, *runs]) if any(run.id in own for run in stage) for run in stage}
    return [*(base for base in bases if base.state != "finished" or base.id in launched), *runs]


def bases_of(members: Sequence[Run]) -> list[str]:
    """Ids of what these runs start from, each once."""
    return list(dict.fromkeys(run.spec.base for run in members if run.spec.base))


def _bases_beside(lab: Lab, runs: Sequence[Run]) -> list[Run]:
    """The bases that count with these runs while some are to finish."""
    return [] if all(run.is_over for run in runs) else with_bases(lab, runs)[: -len(runs)]


@dataclass(frozen=True)
class Before:
    """What was last read of an experiment that has got runs since."""

    found: Verdict
    runs: tuple[Run, ...]
    """The runs that it is about, those of the earlier launches."""

    def sentence(self, members: Sequence[Run]) -> str:
        """Which answer this is, and what is shown of the runs since. Args: members: all runs of the experiment."""
        added, seeds = counted(len(members) - len(self.runs), "run"), counted(self.found.seeds, "seed")
        return (
            f"The answer as it was before {added} were added. It is over {seeds}, whose test part was read then; of "
            "the runs that were added only the validation part is compared. The next answer is about all of them."
        )


def answer_before(lab: Lab, experiment: Experiment, members: Sequence[Run]) -> Before | None:
    """The answer that an experiment had before the launches that have not ended; None where it had none.

    It was read already: all its looks are recorded, so that to show it again is no further look. It is that of the most
    launches of which this is so. An answer that was withheld had no look, and a study has its own.

    Args: see :func:`answer_of`.
    """
    looks = [] if is_study(experiment) else lab.looks.of(experiment.id)
    known, stages = {look.key for look in looks}, stages_of(members) if looks else []
    for last in range(len(stages) - 1, 0, -1):
        launched = [run if run.plan is None else replace(run, plan="complete") for own in stages[:last] for run in own]
        rows = rows_of(launched)
        found = verdict(rows, tested_by(lab), looks, trivial=trivial_by(lab))
        if found.looks and all(look.key in known for look in found.looks):
            return Before(_with_equal(lab, found, rows), tuple(launched))
    return None


def _with_equal(lab: Lab, found: Verdict, rows: Sequence[Row]) -> Verdict:
    """A verdict with what was forgotten at equal accuracy, for which only the curves of two methods are read."""
    if found.told is None or found.full is None or found.reason or found.withheld or found.full.setting.source is None:
        return found
    groups = {arm.setting.group for arm in found.compared}
    near = [row.id for row in rows if row.state == "finished" and row.setting.group in groups]
    arm, curves = found.told.arm, {id: lab.store.curve(id) for id in near}
    return replace(found, at_equal=equal_to_full(arm, found.full, rows, curves, arm.spec.is_split))


def unread_verdict(found: Verdict, reason: str) -> Verdict:
    """A verdict that says nothing. Args: reason: why its look cannot be recorded."""
    return replace(found, reason=reason, unread=True, candidates=(), best=None, rule=Rule.NONE, looks=())


def _new_looks(lab: Lab, id: str, looks: Iterable[Look]) -> list[Look]:
    """Those of some looks that are not recorded, or say more than what is."""
    known = {look.key: look for look in lab.looks.of(id)}
    return [look for look in looks if look.key not in known or look.claims != known[look.key].claims]


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
    return _studies.read(lab, experiment.id, *_study_of(lab, experiment, members))


def _study_of(
    lab: Lab, experiment: Experiment, members: Sequence[Run] | None
) -> tuple[Callable[[], object], Callable[[], Asked[StudyAnswer]]]:
    """What the answer of a study depends on, and how it is made. Raises: ValueError: the experiment is none."""
    runs = lab.store.members(experiment) if members is None else list(members)
    plan, bases = plan_of(experiment), _bases_beside(lab, runs)
    if plan is None:
        raise ValueError("This experiment is no study.")

    def made() -> Asked[StudyAnswer]:
        tested, trivial = tested_by(lab), trivial_by(lab)
        looks = _looks(lab, experiment, runs, lambda there, known: study(plan, there, tested, known, trivial).looks)
        found = study(plan, rows_of(runs), tested, looks, trivial, rows_of(bases))
        return Asked(found, found.looks, tuple(looks))

    return lambda: _state(lab, experiment, [*bases, *runs]), made


_verdicts: Answers[Verdict] = Answers(unread_verdict)
_studies: Answers[StudyAnswer] = Answers(lambda found, reason: replace(found, reason=reason, unread=True, looks=()))


def _plain(found: StudyAnswer) -> Verdict:
    """A verdict that says what a study says, where one of any experiment is shown: Study shows it point by point."""
    return Verdict(found.margin, rates_tried([]), reason=study_headline(found), unread=found.unread)


def offered_adapter(lab: Lab) -> Run | None:
    """The adapter to begin with: that of the latest answer that was read, else of the latest experiment that has one.

    See :attr:`core.study.arms.verdict.Verdict.offered`; None where no experiment of the latest ones has an adapter.
    """
    first = None
    for experiment in lab.store.experiments(LATEST):
        found = last_read(lab, experiment)
        if found.offered is not None and not (found.reason or found.withheld):
            return found.offered.run
        first = first or found.offered
    return None if first is None else first.run


def _state(lab: Lab, experiment: Experiment, runs: Sequence[Run]) -> object:
    """What the answer of an experiment depends on."""
    answered = lab.artifacts.answered([run.id for run in runs])
    looks = [look.key for look in lab.looks.of(experiment.id)]
    return experiment.plan, answered, looks, [(run.id, run.state, run.archived, run.plan) for run in runs]


def _looks(
    lab: Lab, experiment: Experiment, runs: Sequence[Run], take: Callable[[list[Row], list[Look]], Iterable[Look]]
) -> list[Look]:
    """Looks at an experiment. Where claims were kept without their settings, the look is taken again, at its level and
    of the runs that there were. Where looks may be missing, as in a store that was restored, there was one at the end
    of each launch but the last. Args: runs: all; take: returns the looks at some rows, after other looks.
    """

    def again(runs: Iterable[Run], known: list[Look]) -> Iterable[Look]:
        return take(rows_of(replace(run, plan=run.plan and "complete") for run in runs), known)

    found: list[Look] = []
    for look in lab.looks.of(experiment.id):
        if look.claims is None:
            there = again((run for run in runs if run.created <= look.at), [*found, look])
            look = replace(look, claims={each.key: each.claims for each in there}.get(look.key, ()))
        found.append(look)
    stages = [] if lab.looks.are_kept(experiment.id) else stages_of(runs)
    for last in range(1, len(stages)):
        known = {look.key for look in found}
        missing = again((run for stage in stages[:last] for run in stage), found)
        found += [look for look in missing if look.key not in known]
    return found
