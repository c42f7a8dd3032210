"""Experiments: how they start, and how they grow by what people add and by what their plans find to be next."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, count
from typing import Any

from core.engine.launcher import Launcher, Planned, Queued, is_usable, new_id
from core.engine.workers import Workers
from core.engine.writes import Trim
from core.errors import LabError, QueueFullError, RunStateError
from core.networks.network import NetworkSpec
from core.plan.configuration import Configuration, with_head
from core.plan.experiment import Recipe, Wanted, arm_specs, every, settings_of
from core.plan.plan import Plan
from core.run_spec import RunSpec, with_head_rate
from core.store.notes import clean_name
from core.store.record import Experiment, PlanState, Run
from core.store.store import Store
from core.wording.tasks import experiment_name

log = logging.getLogger(__name__)

AGAIN = r" \(\d+\)"
"""Pattern of the number behind the name of an experiment that other experiments have, too."""


def is_numbered(name: str, own: str) -> bool:
    """Whether a name is this one, or this one with a number because other experiments have it, too."""
    return re.fullmatch(f"{re.escape(own)}({AGAIN})?", name) is not None


def plan_of(experiment: Experiment) -> Plan | None:
    """The plan of an experiment; None where all its runs were known when they were launched."""
    return None if experiment.plan is None else _parsed(experiment.plan)


@lru_cache(maxsize=256)
def _parsed(text: str) -> Plan:
    """A stored plan; cached, since each redraw of a form asks all experiments whether they are what it asks for."""
    return Plan.from_json(text)


@dataclass(frozen=True)
class Experiments:
    """Starts experiments, and adds runs to them."""

    launcher: Launcher
    store: Store
    workers: Workers

    def configuration(self, experiment: Experiment) -> Configuration:
        """The configuration that gives the runs of an experiment again, every arm with every seed; of a search that by
        which it was started, with what was added since.

        A base that was stopped early is pretrained in full by it.

        Raises:
            UnknownRunError: the experiment or its base is gone.
        """
        if (plan := plan_of(experiment)) is not None:
            return plan.configuration.but(trim=experiment.trim)
        specs = [run.spec for run in self._members(experiment.id)]
        first = specs[0]
        start = first.network if first.is_direct else self.store.run(str(first.base)).spec
        seeds = sorted({spec.seed for spec in specs})
        more: dict[str, Any] = {"device": first.device, "own_bases": first.own_base, "trim": experiment.trim}
        more |= {"objective": first.objective, "forgetting": first.source if first.is_direct else None}
        return Configuration.on(start, first.task, settings_of(specs), seeds, head=first.head, **more)

    def settings(self, experiment: Experiment) -> list[Recipe]:
        """The settings that an experiment is grown from: those of its runs, or of a search what it was asked for, each
        at the learning rate that it begins around. Raises: UnknownRunError: the experiment is gone.
        """
        if (plan := plan_of(experiment)) is not None:
            return [(arm.optim, arm.method) for arm in plan.configuration.arms]
        return settings_of(run.spec for run in self._members(experiment.id))

    def find(self, planned: Planned) -> Experiment | None:
        """The newest experiment that has, or will have, all that is planned trained to its end; else the newest one
        that has it, of which some can be finished.
        """
        wanted, left = set(planned.runs), None
        for experiment in self.store.experiments(base=planned.runs[0].base or ""):
            if (experiment.plan is None) is not (planned.plan is None) or len(experiment.runs) < len(wanted):
                continue
            plan = plan_of(experiment)
            if plan is not None and planned.plan is not None and not plan.asks_for(planned.plan.configuration):
                continue
            members = self.store.members(experiment.id)
            if wanted <= {run.spec for run in members if not run.is_unfinished and run.plan != "waiting"}:
                return experiment
            if left is None and wanted <= {run.spec for run in members}:
                left = experiment
        return left

    @staticmethod
    def trained_text(experiment: Experiment, members: Sequence[Run]) -> str:
        """What an experiment trained, in the words of the name it would have by itself; empty where it has that name.

        Args:
            experiment: whatever it is called.
            members: all runs of it.
        """
        own = name_of([run.spec for run in members], plan_of(experiment))
        return "" if is_numbered(experiment.name, own) else own

    def rename(self, id: str, name: str) -> str:
        """Rename an experiment; an empty name gives it the one it would have by itself.

        Returns:
            The name that it has now.

        Raises:
            NoteError: the name is too long, or contains characters that are not text.
            UnknownRunError: there is no experiment with this id.
        """
        own = name_of([run.spec for run in self._members(id)], plan_of(self.store.experiment(id)))
        new = clean_name(name) or self._unused(own, id)
        self.store.rename(id, new)
        return new

    def growth(
        self, experiment: Experiment, arms: Sequence[Recipe], seeds: Sequence[int], again: bool = False
    ) -> Planned:
        """What is missing for an experiment to have each of these arms with each of these seeds.

        An arm with a seed is missing if no run of the experiment has both. A run counts while it is queued, running or
        interrupted and when it has finished.

        Args:
            experiment: to which runs are to be added. Base, task, device, measure and margin are those
                of its runs.
            arms: training settings and method of each.
            seeds: one run per arm and seed.
            again: whether runs that failed or were stopped are to be trained again; otherwise they count too.

        Raises:
            RunStateError: the base of all runs failed, or was stopped before it had learned anything.
            LabError: a spec is not valid.
            UnknownRunError: there is no such experiment.
        """
        members, plan = self._members(experiment.id), plan_of(experiment)
        network = members[0].spec.trained_network
        arms = [(with_head_rate(method, optim, network), method) for optim, method in arms]
        if plan is None:
            return self._missing(members, every(arms, seeds, members[0].spec.task), again)
        plan = plan.with_more(arms, seeds)
        return replace(self._missing(members, plan.wanted(members), again), plan=plan)

    def _unused(self, name: str, id: str = "") -> str:
        """A name with a number behind it, where other experiments than that with this id have it already."""
        taken = {experiment.name for experiment in self.store.experiments() if experiment.id != id}
        numbered = (f"{name} ({number})" for number in count(2))
        return next(each for each in chain([name], numbered) if each not in taken)

    def _members(self, id: str) -> list[Run]:
        """Runs of an experiment, in the order in which they were queued. Raises: UnknownRunError."""
        return self.store.members(self.store.experiment(id).id)

    def _missing(self, members: Sequence[Run], asked: Sequence[Wanted], again: bool = False) -> Planned:
        """Which runs of those that are asked for an experiment lacks. Raises: see :meth:`growth`."""
        first = members[0].spec
        base = None if first.is_direct else self.store.run(str(first.base))
        start: RunSpec | NetworkSpec = first.network if base is None else base.spec
        origin: str | Mapping[int, str] | None = None if base is None else base.id
        new: Queued = []
        if first.own_base and base is not None:
            bases = {run.id: run for run in self.store.runs_of(list({str(run.spec.base) for run in members}))}
            starts = {run.spec.seed: str(run.spec.base) for run in members if is_usable(bases.get(str(run.spec.base)))}
            seeds = dict.fromkeys(seed for *_, seed in asked)
            other, new = self.launcher.bases(base.spec, [seed for seed in seeds if seed not in starts])
            origin = starts | other
        elif base is not None and not is_usable(base):
            raise RunStateError(f"The base of this experiment, {base.id}, has no result: finish the experiment first.")
        specs = arm_specs(origin, start, asked, first.device, first.objective, first.source, first.head)
        ended = ("failed", "stopped") if again else ()
        there = {(run.spec.arm, run.spec.seed) for run in members if run.state not in ended}
        missing = tuple(spec for spec in specs if (spec.arm, spec.seed) not in there)
        needed = {spec.base for spec in missing}
        return Planned(missing, tuple((id, spec) for id, spec in new if id in needed))

    def grow(
        self, experiment: Experiment, arms: Sequence[Recipe], seeds: Sequence[int], again: bool = False
    ) -> tuple[str, ...]:
        """Queue what is missing for an experiment to have each of these arms with each of these seeds, all or none.

        What was trained stays. If the experiment has the name that it was given at its launch, the name follows.

        Args:
            experiment: to which the runs are added.
            arms: see :meth:`growth`.
            seeds: see :meth:`growth`.
            again: see :meth:`growth`.

        Returns:
            Ids of the new runs, bases not among them; empty if nothing is missing.

        Raises:
            LabError: see :meth:`growth` and :meth:`core.engine.launcher.Launcher.queue`; nothing was queued.
            RunStateError: somebody else changed the experiment at the same time; nothing was queued.
        """
        before = self.store.experiment(experiment.id)
        growth = self.growth(before, arms, seeds, again)
        return self._add(before, growth, joins=False) if growth.runs else ()

    def _add(self, before: Experiment, growth: Planned, joins: bool) -> tuple[str, ...]:
        """Queue more runs of an experiment. Args: joins: see :meth:`core.store.store.Store.add`."""
        there = {} if before.plan is None else self.store.alike(growth.runs)
        there = {spec: id for spec, id in there.items() if id not in before.runs}
        members, new = _with_ids(growth.runs, there)
        known = [run.spec for run in self.store.runs_of(before.runs)]
        name, own = before.name, name_of(known, plan_of(before))
        if is_numbered(name, own):
            name = self._unused(name_of([*known, *growth.runs], growth.plan), before.id)
        plan = before.plan if growth.plan is None else growth.plan.with_queued(growth.runs).to_json()
        after = replace(before, name=name, runs=(*before.runs, *members), plan=plan)
        self.launcher.queue([*growth.bases, *new], after, before, joins)
        return members

    def deleted(self, experiment: Experiment) -> Planned:
        """What an experiment had queued and lacks now, because somebody deleted it. Raises: see :meth:`growth`."""
        members, plan = self._members(experiment.id), plan_of(experiment)
        if plan is not None:
            missing = self._missing(members, plan.wanted(members))
            return replace(missing, runs=tuple(s for s in missing.runs if (s.arm, s.seed) in plan.queued), plan=plan)
        return self.growth(experiment, self.settings(experiment), sorted({run.spec.seed for run in members}))

    def restore_deleted(self, experiment: Experiment) -> tuple[str, ...]:
        """Queue what :meth:`deleted` says, again. Returns: ids of the new runs. Raises: see :meth:`grow`."""
        before = self.store.experiment(experiment.id)
        missing = self.deleted(before)
        return self._add(before, missing, joins=False) if missing.runs else ()

    # Plans

    def start(self, planned: Planned, name: str = "", trim: bool = False, anew: bool = False) -> Experiment:
        """Queue a new experiment. A search, such as a study, does not train again what other experiments have: these
        runs belong to both. Where they have all that it begins with, what follows is queued, too, so that something
        trains or the search is over. An experiment with given rates trains its own.

        Args:
            planned: by :meth:`core.engine.launcher.Launcher.plan`, and not queued before.
            name: title of the experiment; empty for :func:`core.wording.tasks.experiment_name`.
            trim: whether only the networks of chosen settings are kept once all runs have ended; adapters always are.
            anew: whether everything is trained again, also what other experiments have.

        Raises:
            LabError: a dataset is missing, or the queue is full; nothing was queued.
        """
        there = {} if anew or planned.plan is None else self.store.alike(planned.runs)
        members, new = _with_ids(planned.runs, there)
        title = name or self._unused(name_of(planned.runs, planned.plan))
        base = planned.runs[0].base or ""
        plan = None if planned.plan is None else planned.plan.with_queued(planned.runs).to_json()
        experiment = Experiment(new_id("e"), title, time.time(), base, members, trim, plan)
        self.launcher.queue([*planned.bases, *new], experiment)
        before = None
        while experiment != before and any(each.id == experiment.id for each in self.store.open_plans()):
            before = experiment
            self.extend_plans()
            experiment = self.store.experiment(experiment.id)
        return experiment

    def rate_search(self, experiment: Experiment) -> Planned:
        """Plan the experiment that asks the same as one whose learning rates were given, and searches for them; see
        :meth:`core.plan.configuration.Configuration.searched`. What is trained already is not trained again.

        Raises:
            RunStateError: the rates of the experiment are searched for already.
            LabError: its base is gone, or a spec is not valid.
        """
        if experiment.plan is not None:
            raise RunStateError("The learning rates of this experiment are searched for already.")
        first = self._members(experiment.id)[0].spec
        base = None if first.is_direct else self.store.run(str(first.base))
        asked = with_head(self.configuration(experiment)).searched()
        planned = self.launcher.plan(asked, base if is_usable(base) else None)
        shared = self.store.alike([*planned.runs, *planned.least, *planned.most])
        return replace(planned, shared=frozenset(shared))

    def extend_plans(self) -> None:
        """Queue what follows in experiments all of whose runs have ended, and whose plans may have more to train.

        Any process may call it at any time: what is wanted follows from the results, and a change by somebody else at
        the same time makes this one do nothing.

        Raises:
            sqlite3.Error: the store cannot be used now; it is to be tried again.
        """
        for experiment in self.store.open_plans():
            try:
                self._extend(experiment)
            except LabError as error:  # such as a full disk, or a dataset that is gone
                log.warning("Experiment %s waits until somebody finishes it: %s", experiment.id, error)
                self.store.add_log(experiment.runs[-1], f"The search for learning rates waits: {error}")
                self._end(experiment, "waiting")

    def _extend(self, experiment: Experiment) -> None:
        plan, members = plan_of(experiment), self.store.members(experiment.id)
        if plan is None or not members:
            return
        if any(run.is_unfinished for run in members):
            # Archived runs were left out by somebody who wanted an answer without them.
            waits = any(run.is_unfinished and not run.archived for run in members)
            self._end(experiment, "waiting" if waits else "complete")
            return
        growth = self._missing(members, plan.wanted(members))
        new = tuple(spec for spec in growth.runs if (spec.arm, spec.seed) not in plan.queued)
        if new and len(new) == len(growth.runs):
            try:
                self._add(experiment, replace(growth, plan=plan), joins=True)
            except (QueueFullError, RunStateError) as error:  # there is no room now, or somebody else was quicker
                log.debug("Experiment %s goes on later: %s", experiment.id, error)
        else:  # what is missing although it was queued was deleted
            self._end(experiment, "complete" if plan.is_done(members) else "waiting")

    def _end(self, experiment: Experiment, state: PlanState) -> None:
        self.store.end_plan(experiment, state)
        if state == "complete":
            self.workers.writes.put(Trim(experiment.id))


def name_of(specs: Iterable[RunSpec], plan: Plan | None) -> str:
    """What an experiment is called as long as nobody has named it. Args: specs: of its runs; plan: if it has one."""
    if plan is None:
        return experiment_name(specs)
    asked = plan.configuration
    own = list(specs)
    if asked.vary is not None:  # called by what was asked for, not by what that is at one of its points
        known = {arm.method for arm in asked.arms}
        own = [spec.but(task=asked.task) for spec in own if spec.method in known] or own
    return experiment_name(own, len(asked.seeds), "" if asked.vary is None else asked.vary.short)


def _with_ids(specs: Sequence[RunSpec], there: Mapping[RunSpec, str]) -> tuple[tuple[str, ...], Queued]:
    """Ids of the runs of an experiment, and ids and specs of those that are new. Args: there: ids of known runs."""
    members = [(there.get(spec) or new_id("r"), spec) for spec in specs]
    return tuple(id for id, _ in members), [(id, spec) for id, spec in members if spec not in there]
