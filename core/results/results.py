"""Results: the rows of one question, with what is known of single test examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import pandas as pd

from core.objectives.measure import Values
from core.results.arm import judged_by
from core.results.row import Row
from core.results.scale import Objective
from core.results.setting import RATE, differing_of

Outcomes = Callable[[Row], Values | None]
"""Returns the primary measure of each test example of a row, (n,), in its unit; None where that is not known."""


IN_COLUMNS = (RATE, "rank", "alpha", "epochs")
"""Settings that have columns of their own in :meth:`Results.to_frame`."""

TAKEN = ("seconds", "device", "threads", "bank", "kept_epoch")
"""Fields of :class:`core.store.record.Result` that are columns there."""


def untested(row: Row) -> None:
    """Nothing is known of single test examples: differences are over seeds alone."""


@dataclass(frozen=True, eq=False)
class Results:
    """All rows of an experiment, of a table of results from elsewhere, or of runs that somebody selected."""

    rows: Sequence[Row]
    outcomes: Outcomes = untested
    trivial: Outcomes = untested
    """The same of the answers that need no input, which is what a setting has to beat."""
    bases: Sequence[Row] = field(default_factory=tuple)
    """Rows that count with the others where it is said how many are to finish."""
    is_selection: bool = False
    """Whether somebody selected the rows: what was left out is then not known."""

    @property
    def objective(self) -> Objective:
        """What the rows are judged by."""
        return judged_by(self.rows)

    @property
    def margin(self) -> float:
        """How much worse than full fine-tuning a setting may be and still be good enough."""
        return self.objective.margin

    def only(self, rows: Iterable[Row]) -> Self:
        """The same with some of the rows."""
        return replace(self, rows=tuple(rows))

    def to_frame(self) -> pd.DataFrame:
        """One line for each row: its setting, its seed, what it reached, what it took and its state.

        :func:`core.judge.results.results_of_frame` reads it, as far as a table can tell.
        """
        measures = dict.fromkeys(name for row in self.rows for name in row.measures)
        differing = differing_of(row.setting for row in self.rows)
        varied = {name for texts in differing.values() for name in texts} - {*IN_COLUMNS}
        lines = [
            {
                "run": row.id,
                "method": row.setting.method,
                "rank": row.setting.rank,
                "alpha": row.setting.alpha,
                "learning_rate": row.setting.learning_rate or None,
                "epochs": row.setting.epochs,
                "seed": row.seed,
                "state": row.state,
                "archived": row.archived or None,
                "cause": row.cause,
                **{name: text for name, text in row.setting.all_texts.items() if name in varied},
                **{name: row.measures.get(name) for name in measures},
                "trainable_parameters": row.trained or None,
                "steps": row.steps or None,
                **{name: getattr(row.result, name, None) for name in TAKEN},
            }
            for row in self.rows
        ]
        return pd.DataFrame(lines)
