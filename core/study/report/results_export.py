"""Experiments of this lab as the tables that Judge reads: results, test examples, epochs, and what was planned."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from core.errors import RunStateError
from core.judge.beside import ABOUT, EACH, TRIVIAL
from core.judge.reading import Reading
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.method import Role
from core.objectives.classification import ACCURACY, LARGEST_CLASS
from core.objectives.measure import Values
from core.results.arm import judged_by
from core.results.results import Results
from core.results.row import Row, rows_of
from core.rule.decide import decide
from core.store.record import Experiment, Run
from core.study.report.answer import place_of
from core.study.weights.predicted import tested_by, trivial_by
from core.wording.csv_file import FORMULA_STARTS

FIRST = ("run", "method", "rank", "alpha", "learning_rate", "seed", "state", "validation")
"""Columns of the table of results that come first; then the measure, by its name."""

LEFT_OUT = ("kind", "learning_rate")
"""Fields of specs that have other columns."""


def results_files(lab: Lab, experiment: Experiment, stem: str) -> dict[str, bytes]:
    """Write an experiment for Judge.

    Args:
        lab: has it.
        experiment: which one; all its runs have ended.
        stem: how the names of the files begin.

    Returns:
        The files by name, the table of results first.

    Raises:
        RunStateError: runs are still to finish, so that the test part is not to be read yet.
    """
    members = lab.store.members(experiment)
    found = place_of(lab, experiment, members)
    if found.unread:
        raise RunStateError(found.reason)
    runs = [run for run in members if run.spec.role is not Role.BASE]
    each = _each(lab, experiment, members)
    files = {
        f"{stem}.csv": _results(runs),
        f"{stem}-examples.csv": _csv(["run", EACH], ((id, _cell(values)) for id, values in each.items())),
        f"{stem}-epochs.csv": _epochs(lab, runs),
        f"{stem}-about.json": _about(lab, experiment, runs),
    }
    empty = [name for name, content in files.items() if content.count(b"\n") == 1 and name.endswith(".csv")]
    return {name: content for name, content in files.items() if name not in empty}


def _results(runs: Sequence[Run]) -> bytes:
    measure = judged_by(rows_of(runs)).primary.name
    rows = [_row(run, measure) for run in runs]
    names = list(dict.fromkeys([*FIRST, measure, *(name for row in rows for name in row)]))
    return _csv(names, ([row.get(name, "") for name in names] for row in rows))


def _row(run: Run, measure: str) -> dict[str, str]:
    spec, result = run.spec, run.result
    row: dict[str, Any] = {"run": run.id, "method": spec.kind, "learning_rate": spec.optim.learning_rate}
    row |= {"seed": spec.seed, "state": run.state, "archived": run.archived or None, "cause": run.cause}
    for part in (spec.method, spec.optim):
        row |= {name: value for name, value in part.model_dump(mode="json").items() if name not in LEFT_OUT}
    if result is not None and run.state == "finished":
        row |= {"validation": run.validated, measure: run.score, "steps": result.steps}
        row |= {
            "trainable_parameters": result.trainable_parameters,
            **{name: result.measures.get(name) for name in (LARGEST_CLASS, ACCURACY.name) if name != measure},
        }
    return {name: _text(value) for name, value in row.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, str):
        text = " ".join(value.split())
        return f"'{text}" if text.startswith(FORMULA_STARTS) else text
    return repr(value)


def _each(lab: Lab, experiment: Experiment, members: Sequence[Run]) -> dict[str, Values]:
    """The measure of each test example, of the runs that the verdict asks for, and of trivial answers."""
    tested, trivial = tested_by(lab), trivial_by(lab)
    asked: dict[str, Values] = {}

    def recorded(row: Row) -> Values | None:
        values = tested(row)
        return values if values is None else asked.setdefault(row.id, values)

    def without_input(row: Row) -> Values | None:
        values = trivial(row)
        return values if values is None else asked.setdefault(TRIVIAL, values)

    decide(Results(rows_of(members), recorded, without_input), lab.looks.of(experiment.id))
    return asked


def _cell(values: Values) -> str:
    """The measures of the test examples of a run: one digit each where they are right or wrong."""
    if set(np.unique(values).tolist()) <= {0.0, 100.0}:
        return "".join("1" if value else "0" for value in values.tolist())
    return " ".join(map(repr, values.tolist()))


def _epochs(lab: Lab, runs: Iterable[Run]) -> bytes:
    """The measure on the validation part after each epoch, of runs whose curves say what longer training would add."""
    rows = []
    for run in runs:
        name = run.spec.objective.validated
        if run.result is not None and run.state == "finished" and name in (run.result.trends or {}):
            epochs = lab.store.curve(run.id).epochs
            for epoch, value in zip(epochs["epoch"].tolist(), epochs[name].tolist(), strict=True):
                if value == value:  # measured
                    rows.append((run.id, str(epoch), repr(value)))
    return _csv(["run", "epoch", "validation"], rows)


def _about(lab: Lab, experiment: Experiment, runs: Sequence[Run]) -> bytes:
    objective = judged_by(rows_of(runs))
    measure = objective.primary
    reading = Reading(
        measure=measure.name,
        unit="%" if measure.unit == "%" else "plain",
        better="higher" if measure.higher_is_better else "lower",
        within=objective.margin,
        reference=FullSpec.name(),
        noun=runs[0].spec.network.learns,
    )
    # Settings have other keys where they are reported: each is named by one of its runs.
    names = {run.spec.arm: run.id for run in runs}
    content = {
        ABOUT: 1,
        "experiment": experiment.id,
        "name": experiment.name,
        "reading": reading.model_dump(mode="json", exclude_defaults=True),
        "seeds": sorted({run.spec.seed for run in runs}),
        "searched": any(run.plan is not None for run in runs),
        "looks": [asdict(look.renamed(names)) for look in lab.looks.of(experiment.id)],
    }
    return f"{json.dumps(content, indent=1)}\n".encode()


def _csv(names: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue().encode()
