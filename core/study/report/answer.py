"""The answer of an experiment in the lab, and the record of every look at it.

Whoever reads it, in whatever process, is told the same: Home, Study, Compare, Report and commands call
:func:`answer_of`, which records a look when all runs have ended. A look counts once, however often it is read. Whoever
only mentions an experiment, such as a list, calls :func:`last_read`, which records none. Nothing else computes an
answer of an experiment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from cachetools import LRUCache

from core.engine.experiments import plan_of
from core.errors import LabError
from core.judge.beside import TRIVIAL
from core.judge.results import results_of
from core.lab import Lab
from core.numbers import counted
from core.results.results import Results
from core.results.row import Row, rows_of
from core.rule.answer import Answer
from core.rule.candidate import Rule
from core.rule.decide import decide
from core.rule.frontier import equal_to_full
from core.rule.place import Place
from core.rule.withheld import Reason
from core.store.judged import Judged
from core.store.looks import Look
from core.store.record import Experiment, Run, stages_of
from core.study.arms.study_words import study_headline, study_reason
from core.study.weights.predicted import tested_by, trivial_by

MAX_KEPT = 64
"""Maximum number of answers that are kept in memory: pages ask for the same ones at every click."""

READY = Reason(
    "Ready to read: all runs have ended.", more="Open its answer to read it, which is a look at the test part."
)
"""Why nothing is said of an experiment whose answer nobody has read as it is now."""

LATEST = 12
"""Number of experiments among which :func:`offered_adapter` looks for an answer."""


@dataclass(frozen=True)
class Asked:
    """An answer, and what it takes to read it."""

    found: Answer
    earlier: tuple[Look, ...] = ()
    """Looks of before that may be missing in the store."""


class Answers:
    """Answers that are kept in memory, the latest :data:`MAX_KEPT`, each while what it depends on is the same."""

    def __init__(self) -> None:
        self._kept: LRUCache[tuple[str, str], tuple[object, Asked]] = LRUCache(MAX_KEPT)
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget all of them, as a process that begins."""
        self._kept.clear()

    def read(self, lab: Lab, id: str, state: Callable[[], object], make: Callable[[], Asked]) -> Answer:
        """An answer whose looks are recorded.

        Args:
            lab: keeps the looks.
            id: of the experiment, or of judged results.
            state: returns what the answer depends on, looks included.
            make: returns the answer.
        """
        asked = self.known(lab, id, state, make)
        if new := _new_looks(lab, id, (*asked.earlier, *asked.found.looks)):
            try:
                lab.looks.record(id, new)
            except LabError as error:  # a look that leaves no trace would not count
                return unread(asked.found, Reason("No verdict yet: this look cannot be recorded.", more=str(error)))
            self._keep(lab, id, state(), asked)
        return asked.found

    def last(self, lab: Lab, id: str, state: Callable[[], object], make: Callable[[], Asked]) -> Answer:
        """The same where reading it is no look, as it has been read; else one that says only that it is ready."""
        found = self.known(lab, id, state, make).found
        return unread(found, READY) if _new_looks(lab, id, found.looks) else found

    def known(self, lab: Lab, id: str, state: Callable[[], object], make: Callable[[], Asked]) -> Asked:
        """What :meth:`read` would return, without a look."""
        now = state()
        with self._lock:
            before, known = self._kept.get((str(lab.settings.home), id), (None, None))
        if known is not None and before == now:
            return known
        asked = make()
        self._keep(lab, id, now, asked)
        return asked

    def _keep(self, lab: Lab, id: str, state: object, asked: Asked) -> None:
        with self._lock:
            self._kept[str(lab.settings.home), id] = state, asked


def results_in(lab: Lab, runs: Iterable[Run], bases: Iterable[Run] = ()) -> Results:
    """Runs of the lab as results. Args: bases: that count with them while some are to finish."""
    return Results(rows_of(runs), tested_by(lab), trivial_by(lab), rows_of(bases))


def answer_of(lab: Lab, of: Experiment | Judged, members: Sequence[Run] | None = None) -> Answer:
    """The answer of an experiment, or of results from elsewhere, whose look is recorded: for whoever reads it.

    Args:
        lab: has the experiment.
        of: which one; a further file of results with further seeds is a further look.
        members: the experiment's runs, where they were read already.

    Raises:
        JudgeError: a newer version kept the results.
    """
    return _answers.read(lab, of.id, *_asked(lab, of, members))


def place_of(lab: Lab, of: Experiment | Judged, members: Sequence[Run] | None = None) -> Place:
    """The answer where one place is shown, of a study what it says as a whole; see :func:`answer_of`."""
    return whole(answer_of(lab, of, members))


def last_read(lab: Lab, of: Experiment | Judged, members: Sequence[Run] | None = None) -> Place:
    """The same as it was last read, without a look; where runs have ended since, it says only that it can be read."""
    return whole(_answers.last(lab, of.id, *_asked(lab, of, members)))


def known_place(lab: Lab, experiment: Experiment, members: Sequence[Run]) -> Place:
    """What :func:`answer_of` would say, of a study at its first point, without a look: for whoever tells none of it."""
    return _answers.known(lab, experiment.id, *_asked(lab, experiment, members)).found.places[0]


def whole(found: Answer) -> Place:
    """An answer as one place: what a study says in one sentence is shown point by point elsewhere."""
    if found.vary is None:
        return found.place
    said = study_headline(found), study_reason(found)
    return Place(found.margin, reason=said[0], more=said[1], unread=found.unread)


def _asked(
    lab: Lab, of: Experiment | Judged, members: Sequence[Run] | None
) -> tuple[Callable[[], object], Callable[[], Asked]]:
    """What an answer depends on, and how it is made."""
    return _of_judged(lab, of) if isinstance(of, Judged) else _of_experiment(lab, of, members)


def _of_judged(lab: Lab, judged: Judged) -> tuple[Callable[[], object], Callable[[], Asked]]:
    def made() -> Asked:
        measures = lab.judged.measures(judged.id)
        rows = results_of(judged.content).to_rows()
        results = Results(rows, lambda row: measures.get(row.id), lambda row: measures.get(TRIVIAL))
        return Asked(decide(results, lab.looks.of(judged.id)))

    return lambda: (judged, [look.key for look in lab.looks.of(judged.id)]), made


def _of_experiment(
    lab: Lab, experiment: Experiment, members: Sequence[Run] | None
) -> tuple[Callable[[], object], Callable[[], Asked]]:
    runs = lab.store.members(experiment) if members is None else list(members)
    plan, bases = plan_of(experiment), _bases_beside(lab, runs)

    def made() -> Asked:
        results = results_in(lab, runs, bases)
        looks = _looks(
            lab,
            experiment,
            runs,
            lambda there, known: decide(replace(results, rows=there, bases=()), known, plan).looks,
        )
        found = _with_equal(lab, decide(results, looks, plan))
        return Asked(found, tuple(looks))

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


def answer_before(lab: Lab, experiment: Experiment, members: Sequence[Run]) -> Place | None:
    """The answer that an experiment had before the launches that have not ended, whose rows are those of the earlier
    ones; None where it had none.

    It was read already: all its looks are recorded, so that to show it again is no further look. It is that of the most
    launches of which this is so. An answer that was withheld had no look, and a study has its own.

    Args: see :func:`answer_of`.
    """
    looks = [] if is_study(experiment) else lab.looks.of(experiment.id)
    known, stages = {look.key for look in looks}, stages_of(members) if looks else []
    for last in range(len(stages) - 1, 0, -1):
        launched = [run if run.plan is None else replace(run, plan="complete") for own in stages[:last] for run in own]
        found = decide(results_in(lab, launched), looks)
        if found.looks and all(look.key in known for look in found.looks):
            return _with_equal(lab, found).place
    return None


def before_sentence(before: Place, runs: int) -> str:
    """Which answer was read before runs were added, and what is shown of these. Args: runs: number of all of them."""
    added, seeds = counted(runs - len(before.rows), "run"), counted(before.seeds, "seed")
    return (
        f"The answer as it was before {added} were added. It is over {seeds}, whose test part was read then; of the "
        "runs that were added only the validation part is compared. The next answer is about all of them."
    )


def _with_equal(lab: Lab, found: Answer) -> Answer:
    """An answer with what was forgotten at equal accuracy, for which only the curves of two methods are read."""
    if found.vary is not None:
        return found
    place = found.place
    if place.told is None or place.full is None or place.reason or place.withheld or place.full.setting.source is None:
        return found
    groups = {arm.setting.group for arm in place.compared}
    near = [row.id for row in place.rows if row.state == "finished" and row.setting.group in groups]
    arm, curves = place.told.arm, {id: lab.store.curve(id) for id in near}
    equal = equal_to_full(arm, place.full, place.rows, curves, arm.spec.is_split)
    return replace(found, places=(replace(place, at_equal=equal),))


def unread(found: Answer, why: Reason) -> Answer:
    """An answer that says nothing. Args: why: that is so."""
    places = tuple(unread_place(at, why) for at in found.places)
    return replace(found, places=places, reason=why.text, unread=True, looks=())


def unread_place(found: Place, why: Reason) -> Place:
    """The same of one place."""
    told = replace(found, reason=why.text, more=why.more, unread=True)
    return replace(told, candidates=(), best=None, rule=Rule.NONE, looks=())


def _new_looks(lab: Lab, id: str, looks: Iterable[Look]) -> list[Look]:
    """Those of some looks that are not recorded, or say more than what is."""
    known = {look.key: look for look in lab.looks.of(id)}
    return [look for look in looks if look.key not in known or look.claims != known[look.key].claims]


def is_study(experiment: Experiment) -> bool:
    """Whether an experiment varies an axis; see :mod:`core.rule.answer`."""
    plan = plan_of(experiment)
    return plan is not None and plan.configuration.vary is not None


_answers = Answers()


def offered_adapter(lab: Lab) -> Run | None:
    """The adapter to begin with: that of the latest answer that was read, else of the latest experiment that has one.

    See :attr:`core.rule.place.Place.offered`; None where no experiment of the latest ones has an adapter.
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
