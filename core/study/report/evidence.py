"""Everything that a report is based on, read from the lab at once."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

from core.errors import LabError
from core.forecast.forecast import Forecast, frozen_sentence
from core.lab import Lab
from core.objectives.objective import ObjectiveSpec
from core.plan.configuration_file import write_configuration
from core.results.arm import Arm, named
from core.results.choice import chosen_arms
from core.results.results import Outcomes, untested
from core.results.row import Row, rows_of
from core.rule.answer import Answer
from core.rule.place import Place
from core.rule.tuning import RateChoice, is_tuned, rate_choices
from core.run_spec import RunSpec
from core.store.record import Curve, Experiment, Run
from core.study.figures.palette import colours_of
from core.study.report.answer import answer_of, bases_of, is_study, place_of
from core.study.report.shown import CUSTOMERS, Shown
from core.study.weights.predicted import tested_by
from core.study.weights.remeasured import Remeasured, remeasure


@dataclass(frozen=True)
class Evidence:
    """An experiment's runs, what was chosen among them, and what was measured again."""

    experiment: Experiment
    bases: tuple[Run, ...]
    """What the runs start from: one base, or one for each seed."""
    members: tuple[Run, ...]
    curves: dict[str, Curve]
    """Curves of all runs with results, by run id, without their losses."""
    remeasured: Remeasured
    file: str | None
    """The experiment as a file of :mod:`core.plan.configuration_file`; None where its base is gone."""
    verdict: Place
    forecasts: Mapping[str, Forecast]
    """What the chosen runs were expected to take when they were queued, by run id; not of earlier versions."""
    frozen: Mapping[str, str]
    """What was computed once since no run of an arm trains it, as a sentence by the arm's key; see
    :func:`core.forecast.forecast.frozen_sentence`."""
    versions: dict[str, str]
    """Versions of Python and the libraries, as installed now."""
    network: str
    """The sizes of the network that all runs train, or what it is called if it was imported."""
    examples: tuple[int, int, int] | None = None
    """Number of the target's training, validation and test examples; None where its dataset is gone, or where the runs
    have several targets, as along an axis.
    """
    overlaps: tuple[str, ...] = ()
    """See :func:`overlaps_of`."""
    tested: Outcomes = untested
    """The measure of each test example of a row."""
    study: Answer | None = None
    """What a study found along its axis; None for an experiment without one."""

    @cached_property
    def rows(self) -> list[Row]:
        """The members as rows."""
        return rows_of(self.members)

    @cached_property
    def chosen(self) -> list[Arm]:
        """One arm for each method, rank and control, of a study at each point; see
        :func:`core.results.choice.chosen_arms`.
        """
        if self.study is None:
            return chosen_arms(self.rows)
        return list({arm.key: arm for at in self.study.places for arm in chosen_arms(at.rows)}.values())

    @cached_property
    def choices(self) -> list[RateChoice]:
        """The learning rate that was chosen for each."""
        if self.study is None:
            return rate_choices(self.rows)
        found = (choice for at in self.study.places for choice in rate_choices(at.rows))
        return list({choice.arm.key: choice for choice in found}.values())

    @cached_property
    def tuned(self) -> bool:
        """Whether there was anything to choose among."""
        return is_tuned(row.setting for row in self.rows)

    @cached_property
    def named(self) -> list[Arm]:
        """The chosen arms under short names, where these tell them apart."""
        return named(self.chosen)

    @cached_property
    def colours(self) -> dict[str, str]:
        """Color of each arm, by key."""
        return colours_of(run.spec for run in self.members)

    def shown(self, customers: int = CUSTOMERS) -> Shown:
        """What its sections are made of. Args: customers: each has a network of their own."""
        return Shown(
            self.named,
            self.verdict,
            self.rows,
            self.colours,
            masked=self.split,
            customers=customers,
            tested=self.tested,
            curves=lambda: self.curves,
            base=lambda: self.remeasured.start,
            forecasts=lambda: self.forecasts,
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that the compared settings have, ascending; more may have been planned, where runs were stopped."""
        return tuple(sorted({seed for arm in self.chosen for seed in arm.finished}))

    @property
    def objective(self) -> ObjectiveSpec:
        """What the runs learn, and by which measure they are judged."""
        return self.members[0].spec.objective

    @property
    def split(self) -> bool:
        """Whether forgetting is judged with masked logits; see :attr:`core.run_spec.RunSpec.is_split`."""
        return self.members[0].spec.is_split


def gather(
    lab: Lab, experiment: Experiment, remeasured: Remeasured | None = None, curves: dict[str, Curve] | None = None
) -> Evidence:
    """Read an experiment.

    Args:
        lab: has it.
        experiment: with at least one run.
        remeasured: where it is known already; measuring takes seconds.
        curves: of all runs with results, by run id, where they were read already, or are not needed.
    """
    members = lab.store.members(experiment)
    study = answer_of(lab, experiment, members) if is_study(experiment) else None
    chosen = chosen_arms(rows_of(members))
    remeasured = Remeasured() if study is not None else remeasured
    return Evidence(
        experiment=experiment,
        bases=tuple(lab.store.runs_of(bases_of(members))),
        members=tuple(members),
        curves=epochs_of(lab, members) if curves is None else curves,
        remeasured=remeasure(lab, chosen) if remeasured is None else remeasured,
        file=_file(lab, experiment),
        verdict=place_of(lab, experiment, members),
        forecasts=lab.estimates.at_launch([run.id for arm in chosen for run in arm.runs]),
        frozen={arm.key: sentence for arm in chosen if (sentence := _frozen(lab, arm))},
        versions=versions(),
        network=lab.networks.title_of(members[0].spec.network),
        examples=_examples(lab, members),
        overlaps=overlaps_of(lab, [run.spec for run in members]),
        tested=tested_by(lab),
        study=study,
    )


def _file(lab: Lab, experiment: Experiment) -> str | None:
    try:
        return write_configuration(lab.experiments.configuration(experiment))
    except LabError:
        return None


def _examples(lab: Lab, members: Sequence[Run]) -> tuple[int, int, int] | None:
    """Number of training, validation and test examples of the runs' only target."""
    tasks = {run.spec.task for run in members}
    try:
        outline = lab.tasks.outline(tasks.pop()) if len(tasks) == 1 else None
    except LabError:
        return None
    return (len(outline.train), len(outline.validation), len(outline.test)) if outline else None


def overlaps_of(lab: Lab, specs: Iterable[RunSpec]) -> tuple[str, ...]:
    """What follows from test examples that are also trained on: a sentence for each uploaded dataset that has some."""
    found = []
    for name in dict.fromkeys(spec.task.dataset for spec in specs):
        try:
            sentence = lab.catalog.overlap(name)
        except LabError:
            continue  # it is gone or damaged, and nothing can be said
        found += [f"In {name}, {sentence}"] * bool(sentence)
    return tuple(found)


def _frozen(lab: Lab, arm: Arm) -> str | None:
    """What the log of a run says of its frozen blocks, which knows whether what they gave could be kept."""
    expected = frozen_sentence(arm.spec.trained_network, arm.spec.method)
    if expected is None:
        return None
    start = expected.removesuffix(", once for each text.")
    return next((text for _, text in lab.store.log(arm.runs[0].id) if text.startswith(start)), expected)


def epochs_of(lab: Lab, runs: Iterable[Run]) -> dict[str, Curve]:
    """Curves of the runs with results, by id, without losses: these are long, and the epochs alone are a few rows."""
    return {run.id: Curve.of_epochs(lab.store.curve(run.id).epochs) for run in runs if run.result is not None}


def versions() -> dict[str, str]:
    """Versions of Python, the system and the libraries that the numbers depend on."""
    names = {"PyTorch": "torch", "NumPy": "numpy", "SciPy": "scipy"}
    found = {title: version(name) for title, name in names.items()}
    return {"Python": platform.python_version(), **found, "System": f"{platform.system()} {platform.machine()}"}
