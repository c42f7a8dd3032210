"""A table with an empty cell: the cell is named, its seed is left out, and the other seeds get their verdict."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from core.errors import JudgeError
from core.judge.results import KeptResults
from core.lab import Lab
from core.study.report.judged import carried
from tests.judge.samples import csv_of, judged, read, rows_of, verdict_of

SEEDS = 9
ROWS = rows_of(seeds=range(SEEDS))
FULL, LORA = SEEDS + 3, 4 * SEEDS + 3
"""Rows with seed 3 of full fine-tuning and of LoRA at the best of three learning rates."""

Rows = list[dict[str, object]]


def but(place: int, rows: Rows = ROWS, **cells: object) -> Rows:
    """The rows with other cells in one of them."""
    return [*rows[:place], {**rows[place], **cells}, *rows[place + 1 :]]


def found(rows: Rows, **reading: object) -> KeptResults:
    """What is read of rows of which nothing is asked."""
    results = read(csv_of(rows), **reading).results
    assert results is not None
    return results


def without(seed: int) -> list[tuple[object, ...]]:
    """What the rows say of all seeds but one."""
    return [key for key in map(key_of, found(ROWS).rows) if key[-2] != seed]


def key_of(row: object) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in ("method", "rank", "learning_rate", "seed", "value"))


def as_lines(rows: Rows) -> bytes:
    """JSON lines in which what is empty is null."""
    return b"\n".join(
        json.dumps({name: None if cell == "" else cell for name, cell in row.items()}).encode() for row in rows
    )


@pytest.mark.parametrize("place", [FULL, LORA])
@pytest.mark.parametrize("column", ["accuracy", "seed", "validation", "method", "learning_rate"])
def test_an_empty_cell_is_named_and_its_seed_left_out_of_all_settings(column: str, place: int, idle: Lab) -> None:
    rows = but(place, **{column: ""})
    assert [key_of(row) for row in found(rows).rows] == without(3)
    answer = judged(idle, csv_of(rows))
    assert verdict_of(answer)["seeds"] == SEEDS - 1
    known = {"method": str(ROWS[place]["method"]), "seed": "seed 3"}
    run = ", ".join(text for name, text in known.items() if name != column)
    first, second = carried(answer)[-2:]
    assert first.startswith("results-0.csv: All runs of seed 3 are left out because of an empty cell")
    assert second == f"results-0.csv: Row {place + 2} ({run}) has an empty cell in the column '{column}'."


def test_an_empty_rank_is_no_setting_of_its_own(idle: Lab) -> None:
    rows = but(LORA, rank="")
    assert [key_of(row) for row in found(rows).rows] == without(3)
    assert "Row 41 (lora, seed 3) has an empty cell in the column 'rank'." in carried(judged(idle, csv_of(rows)))[-1]


@pytest.mark.parametrize("write", [csv_of, as_lines])
def test_columns_and_formats_of_others_are_named_as_they_are(write: Callable[[Rows], bytes]) -> None:
    rows = [
        {"algo": row["method"], "lr": row["learning_rate"], "run_seed": row["seed"], "em": row["accuracy"]}
        for row in ROWS
    ]
    rows = [{**row, "algo": f"{row['algo']}{own['rank']}"} for row, own in zip(rows, ROWS, strict=True)]
    reading = {
        "method": "algo",
        "learning_rate": "lr",
        "seed": "run_seed",
        "measure": "em",
        "unit": "%",
        "better": "higher",
        "within": 0.5,
    }
    results = read(write(but(LORA, rows, em="")), "runs.txt", reference="full", **reading).results
    assert results is not None
    assert {row.seed for row in results.rows} == {0, 1, 2, 4, 5, 6, 7, 8}
    assert "(lora4, seed 3) has an empty cell in the column 'em'" in results.notes[-1]
    assert all(note.startswith("runs.txt: ") for note in results.notes)


def test_a_run_that_is_said_to_have_failed_is_one_and_one_that_was_repeated_counts() -> None:
    failed = found(
        [{**row, "state": "finished"} for row in ROWS[:LORA]] + [{**ROWS[LORA], "accuracy": "", "state": "failed"}]
    )
    assert [row.state for row in failed.rows if row.value is None] == ["failed"]
    assert failed.notes == ("Of 40 runs these did not finish: 1 failed.",)
    again = found([*but(LORA, accuracy=""), ROWS[LORA]])
    assert sorted(map(str, map(key_of, again.rows))) == sorted(map(str, map(key_of, found(ROWS).rows)))


def test_a_setting_without_any_measure_is_left_out_and_takes_no_seed_with_it() -> None:
    rows = [{**row, "accuracy": ""} if row["method"] == "vera" else row for row in ROWS]
    results = found(rows)
    assert [key_of(row) for row in results.rows] == [key for key in map(key_of, found(ROWS).rows) if key[0] != "vera"]
    assert results.notes[0].startswith("results.csv: Runs are left out because of an empty cell")


def test_where_no_seed_would_be_left_the_runs_alone_are_left_out() -> None:
    rows = [row for row in ROWS if row["seed"] == 0]
    results = found([{**rows[0], "accuracy": ""}, *rows[1:]], unseeded="one")
    assert len(results.rows) == len(rows) - 1


def test_rows_without_seeds_share_them_by_their_order_only_if_their_settings_are_known() -> None:
    rows: Rows = [{name: cell for name, cell in row.items() if name != "seed"} for row in ROWS]
    assert [key_of(row) for row in found(but(LORA, rows, accuracy=""), unseeded="order").rows] == without(3)
    with pytest.raises(JudgeError, match=r"Row 41 .* has an empty cell in the column 'rank': fill it in"):
        read(csv_of(but(LORA, rows, rank="")), unseeded="order")


def test_the_examples_of_a_run_that_is_left_out_are_no_error(idle: Lab) -> None:
    rows: Rows = [{**row, "run": f"run {place}", "accuracy": 50.0} for place, row in enumerate(ROWS)]
    each = csv_of({"run": row["run"], "examples": "01" * 50} for row in rows)
    answer = judged(idle, csv_of(but(LORA, rows, accuracy="")), each)
    assert {row.seed for row in answer.verdict.rows} == {0, 1, 2, 4, 5, 6, 7, 8}


def test_an_ablation_in_which_a_setting_leaves_a_column_empty_is_read_as_before() -> None:
    rows: Rows = [{**row, "weight_decay": decay} for decay in ("", 0.1, 0.01) for row in ROWS]
    results = found([{**row, "accuracy": place / 3} for place, row in enumerate(rows)])
    assert (len(results.rows), results.notes) == (len(rows), ())
