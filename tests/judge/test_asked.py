"""What a table does not say is asked and not guessed, and what it says is read."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import JudgeError
from core.judge.results import Gathered
from tests.judge.samples import asked, csv_of, read, rows_of

ROWS = rows_of(seeds=range(2))


@pytest.fixture(autouse=True)
def here(read_here: None) -> None:
    """Read in this process: what is read is tested, and not who reads it."""
    return


def values(found: Gathered) -> list[tuple[object, ...]]:
    assert found.questions == []
    return [
        (row.method, row.rank, row.learning_rate, row.seed, row.validation, row.value) for row in found.results.rows
    ]


def expected() -> list[tuple[object, ...]]:
    names = ("method", "rank", "learning_rate", "seed", "validation", "accuracy")
    return [tuple(row[name] or None if name == "rank" else row[name] for name in names) for row in ROWS]


def parquet() -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{**row, "rank": row["rank"] or None} for row in ROWS]), target)
    return target.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        csv_of(ROWS),
        csv_of(ROWS).replace(b",", b";"),
        csv_of(ROWS).replace(b",", b"\t"),
        "\n".join(map(json.dumps, ROWS)).encode(),
        json.dumps(ROWS).encode(),
        parquet(),
    ],
    ids=["comma", "semicolon", "tab", "JSON lines", "JSON", "Parquet"],
)
def test_known_names_are_read_from_every_format_and_nothing_is_asked(content: bytes) -> None:
    assert values(read(content)) == expected()


def test_any_names_can_be_mapped() -> None:
    names = {"method": "algo", "rank": "r", "learning_rate": "lr", "seed": "no", "validation": "dev", "accuracy": "acc"}
    content = csv_of({names[name]: value for name, value in row.items()} for row in ROWS)
    assert asked(read(content)) == ["method", "measure", "unseeded"]
    mapped = {"method": "algo", "rank": "r", "learning_rate": "lr", "seed": "no", "validation": "dev", "measure": "acc"}
    assert asked(read(content, **mapped)) == ["unit", "better", "within"]
    found = read(content, **mapped, better="higher", within=0.5, unit="%")
    assert values(found) == expected()


@pytest.mark.parametrize(
    ("rows", "fields", "answers"),
    [
        ([{**row, "loss": 0.1, "macro_f1": 3.0} for row in ROWS], ["measure"], {"measure": "accuracy"}),
        ([{**row, "accuracy": 1.0, "validation": 0.0} for row in ROWS], ["unit"], {"unit": "fraction"}),
        ([{**row, "method": f"my {row['method']}"} for row in ROWS], ["reference"], {"reference": "my full"}),
        ([*ROWS, {**ROWS[0], "accuracy": 12.0}], ["repeated"], {"repeated": "first"}),
        ([{**row, "part": part} for row in ROWS for part in ("a", "b")], ["test"], {"test": "a"}),
        ([{**row, "epoch": epoch} for row in ROWS for epoch in (1, 2)], ["take"], {"take": "last"}),
        ([{**row, "experiment": name} for name in "xy" for row in ROWS], ["only"], {"only": "experiment=x"}),
    ],
    ids=["two measures", "unit", "reference", "duplicates", "parts", "epochs", "experiments"],
)
def test_what_does_not_fit_is_asked_and_the_answer_is_taken(
    rows: list[dict[str, object]], fields: list[str], answers: dict[str, object]
) -> None:
    content = csv_of(rows)
    found = read(content)
    assert asked(found) == fields
    assert found.results is None
    done = read(content, **answers)
    assert done.questions == []
    assert len(done.results.rows) == len(ROWS)


def test_runs_without_seeds_are_numbered_only_if_somebody_says_so() -> None:
    rows = [{name: value for name, value in row.items() if name != "seed"} for row in ROWS]
    assert asked(read(csv_of(rows))) == ["unseeded"]
    assert values(read(csv_of(rows), unseeded="order")) == expected()
    with pytest.raises(JudgeError, match="its setting has several runs"):
        read(csv_of(rows), unseeded="one")
    named = [{**row, "run": f"{row['method']}_no{place % 2}_x"} for place, row in enumerate(rows)]
    assert asked(read(csv_of(named))) == ["seed_pattern"]
    assert values(read(csv_of(named), seed_pattern="no")) == expected()


def test_the_best_epoch_is_that_of_the_validation_part_and_parts_are_joined() -> None:
    curve = {1: (70.0, 75.0), 2: (80.0, 74.0), 3: (75.0, 76.0)}
    one = {"method": "full", "seed": 0}
    rows = [
        {**one, "epoch": epoch, "part": part, "accuracy": value}
        for epoch, both in curve.items()
        for part, value in zip(("validation", "test"), both, strict=True)
    ]
    rows += [{**row, "method": "lora"} for row in rows]
    assert asked(read(csv_of(rows))) == ["take"]
    for take, (validation, value) in {"best": curve[2], "last": curve[3]}.items():
        found = read(csv_of(rows), take=take)
        assert [(row.validation, row.value) for row in found.results.rows] == [(validation, value)] * 2
        # The trend of the last two thirds, by hand: the slope on the logarithm of the epoch, times ln 3.
        slope = np.polyfit(np.log([2, 3]), [80.0, 75.0], 1)[0]
        assert found.results.rows[0].trend == pytest.approx(slope * np.log(3))


def test_a_fraction_is_shown_in_percent_and_a_loss_is_better_where_it_is_lower() -> None:
    rows = [{"method": method, "seed": 0, "accuracy": value} for method, value in (("full", 0.5), ("lora", 0.25))]
    assert [row.value for row in read(csv_of(rows), unit="fraction").results.rows] == [50.0, 25.0]
    losses = [{"method": method, "seed": 0, "loss": value} for method, value in (("full", 1.5), ("lora", 0.25))]
    assert read(csv_of(losses)).results.scale.primary.sign == -1


def test_a_run_that_diverged_is_a_failed_one_and_the_notes_say_so() -> None:
    found = read(csv_of([*ROWS[:-1], {**ROWS[-1], "accuracy": "nan"}]))
    assert [row.state for row in found.results.rows].count("failed") == 1
    assert any("counts as a run that failed" in note for note in found.results.notes)


@pytest.mark.parametrize(
    "names",
    [
        {"learning_rate": "lr", "rank": "r", "accuracy": "test_accuracy", "validation": "eval_accuracy"},
        {
            "learning_rate": "config.lr",
            "rank": "config.lora_r",
            "accuracy": "test/accuracy",
            "validation": "eval/accuracy",
        },
        {
            "learning_rate": "params.learning_rate",
            "accuracy": "metrics.test_accuracy",
            "validation": "metrics.val_accuracy",
        },
        {
            "learning_rate": "LR",
            "accuracy": "predict_accuracy",
            "validation": "validation_accuracy",
            "seed": "Random seed",
        },
    ],
)
def test_names_that_trainers_and_trackers_write_are_known(names: dict[str, str]) -> None:
    assert (
        values(read(csv_of({names.get(name, name): value for name, value in row.items()} for row in ROWS)))
        == expected()
    )


def test_of_which_part_a_lone_measure_is_is_asked_with_everything_else() -> None:
    content = csv_of(
        {"r": row["rank"], "eval_loss": row["accuracy"], "name": f"{row['method']} {number}"}
        for number, row in enumerate(ROWS)
    )
    found = read(content)
    assert asked(found) == ["in_names", "evaluated", "seed_pattern"]
    with pytest.raises(JudgeError, match=r"--in-names .*--evaluated .*--seed-pattern"):
        found.answered()
    both = {"method": "method", "seed": "seed", "rank": "rank", "learning_rate": "learning_rate"}
    lone = csv_of({**{new: row[old] for new, old in both.items()}, "eval/accuracy": row["accuracy"]} for row in ROWS)
    assert asked(read(lone)) == ["evaluated"]
    test, validation = (read(lone, evaluated=part) for part in ("test", "validation"))
    assert [row.value for row in test.results.rows] == [row["accuracy"] for row in ROWS]
    assert test.results.scale.primary.noun == "accuracy"
    assert validation.results.scale.primary.noun == "validation accuracy"


@pytest.mark.parametrize(
    ("column", "words", "answers"),
    [
        ("optimizer.lr", "They differ in 'optimizer.lr'. Name what is a setting", "learning_rate"),
        ("data order", "They differ in 'data order'. Name what is a setting", "settings"),
    ],
)
def test_a_setting_that_was_forgotten_is_named_where_rows_are_repeated(column: str, words: str, answers: str) -> None:
    names = {"learning_rate": column}
    rows = [
        {names.get(name, name): value for name, value in row.items()} | {"runtime": 1.5 * place}
        for place, row in enumerate(ROWS)
    ]
    found = read(csv_of(rows))
    assert asked(found) == ["repeated"]
    assert words in found.questions[0].text
    assert "runtime" not in found.questions[0].text
    done = read(csv_of(rows), **{answers: (column,) if answers == "settings" else column})
    assert done.questions == []
    assert len(done.results.rows) == len(ROWS)
