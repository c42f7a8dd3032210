"""Experiments of this lab as the tables that Judge reads: results, test examples, epochs, and what was planned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from core.errors import RunStateError
from core.judge.beside import EACH, TRIVIAL
from core.judge.reading import Reading
from core.judge.table import ABOUT
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
        raise RunStateError(f"{found.reason} {found.more}")
    rows = [row for row in rows_of(members) if row.setting.role is not Role.BASE]
    each = _each(lab, experiment, members)
    examples = pd.DataFrame({"run": list(each), EACH: list(map(_cell, each.values()))})
    tables = {"": _table(rows), "-examples": examples, "-epochs": _epochs(lab, rows)}
    written = {f"{stem}{kind}.csv": _csv(table) for kind, table in tables.items() if len(table)}
    return written | {f"{stem}-about.json": _about(lab, experiment, rows)}


def _table(rows: Sequence[Row]) -> pd.DataFrame:
    """The frame of the rows with what the answer is computed of: of several measures a reader would ask for one."""
    objective = judged_by(rows)
    kept = {objective.primary.name, objective.validated, ACCURACY.name, LARGEST_CLASS}
    return Results(rows).to_frame().drop(columns={name for row in rows for name in row.measures} - kept)


def _csv(table: pd.DataFrame) -> bytes:
    """A table as a file, in whose cells nothing is a formula."""
    return table.map(_text).to_csv(index=False).encode()


def _text(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = " ".join(value.split())
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


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


def _epochs(lab: Lab, rows: Sequence[Row]) -> pd.DataFrame:
    """The measure on the validation part after each epoch, of rows whose curves say what longer training would add."""
    found = [pd.DataFrame()]
    for row in rows:
        name = row.objective.validated
        if row.state == "finished" and name in row.trends:
            epochs = lab.store.curve(row.id).epochs
            measured = epochs[["epoch", name]].dropna().rename(columns={name: "validation"})
            found.append(measured.assign(run=row.id)[["run", "epoch", "validation"]])
    return pd.concat(found, ignore_index=True)


def _about(lab: Lab, experiment: Experiment, rows: Sequence[Row]) -> bytes:
    objective = judged_by(rows)
    measure = objective.primary
    reading = Reading(
        measure=measure.name,
        unit="%" if measure.unit == "%" else "plain",
        better="higher" if measure.higher_is_better else "lower",
        within=objective.margin,
        reference=FullSpec.name(),
        noun=rows[0].setting.learns,
    )
    # Settings have other keys where they are reported: each is named by one of its runs.
    names = {row.setting.key: row.id for row in rows}
    content = {
        ABOUT: 1,
        "experiment": experiment.id,
        "name": experiment.name,
        "reading": reading.model_dump(mode="json", exclude_defaults=True),
        "seeds": sorted({row.seed for row in rows}),
        "searched": any(row.plan is not None for row in rows),
        "looks": [asdict(look.renamed(names)) for look in lab.looks.of(experiment.id)],
    }
    return f"{json.dumps(content, indent=1)}\n".encode()
