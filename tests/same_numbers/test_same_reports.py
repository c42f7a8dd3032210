"""The tables of the committed reports follow to the last digit from the dots in their figures, by today's statistics.

Covered are the accuracies, their intervals, the differences of controls from full fine-tuning and of ranks from the
lowest one with every column of their tables, those of adapters without intervals and findings, the learning rates,
trainable parameters, bytes to store, and three tables of the README.

Not covered is what a figure has no dot per seed for: macro-F1, the rates of controls, everything about forgetting,
what is computed over test images, times, and memory.
"""

from __future__ import annotations

import math

import pytest

from core.numbers import NOTHING, bytes_text, count_text
from core.results.intervals import t_interval
from core.results.measures import spread_text
from core.rule.tuning import ratio_text
from core.study.arms.difference_tables import differences_table
from docs.reports.tables import told
from tests.same_numbers.published import ACCURACY, CONTROLS, FULL, NAMES, Row, published, readme_row

every_report = pytest.mark.parametrize("name", NAMES)


def rows_of(differences: list[object]) -> list[Row]:
    return differences_table(differences).to_dict("records")  # type: ignore[arg-type,return-value]


def number(text: str) -> float:
    return float(text.replace("−", "-"))


@every_report
def test_accuracies_and_their_intervals(name: str) -> None:
    report = published(name)
    found = {setting: t_interval(list(by_seed.values())) for setting, by_seed in report.accuracy.items()}
    rows = report.table("Settings")
    assert [row["Setting"] for row in rows] == list(found)
    assert [(row["Accuracy"], row["Seeds"]) for row in rows] == [
        (spread_text(i, ACCURACY), str(i.n)) for i in found.values()
    ]
    diamonds = {trace["name"]: trace for trace in report.figures["plot-accuracy-data"]["data"] if len(trace["x"]) == 1}
    for setting, interval in found.items():
        (mean,), whisker = diamonds[setting]["x"], diamonds[setting]["error_x"]
        assert mean == interval.mean
        assert whisker["arrayminus"] == [pytest.approx(mean - max(interval.low, 0), rel=1e-12)]
        assert whisker["array"] == [pytest.approx(min(interval.high, 100) - mean, rel=1e-12)]


@every_report
def test_differences_from_full_fine_tuning(name: str) -> None:
    report = published(name)
    adapters, controls = rows_of(report.minus(report.adapters, FULL)), rows_of(report.minus(report.controls, FULL))
    rows = report.table("Differences in accuracy")
    # Intervals over test images are wider, so that some differences are written with a digit less.
    own = [(row["Setting"], row["Beats it"], number(row["Difference"])) for row in rows[: len(adapters)]]
    assert own == [(r["Setting"], r["Beats it"], pytest.approx(number(r["Difference"]), abs=0.051)) for r in adapters]
    assert [{**row, "p": NOTHING} for row in controls] == rows[len(adapters) :]


@every_report
def test_differences_from_the_lowest_rank(name: str) -> None:
    report = published(name)
    lowest, *others = report.adapters
    assert rows_of(report.minus(others, lowest)) == report.table("Does the rank matter?")


@every_report
def test_learning_rates(name: str) -> None:
    report = published(name)
    lines = {trace["name"]: trace for trace in report.figures["plot-rates-data"]["data"] if "hovertext" in trace}
    rows = [row for row in report.table("Learning rates") if row["Setting"] not in CONTROLS]  # which have no line
    found, full = [], math.nan
    for row in rows:
        line = lines[row["Setting"]]
        chosen = line["x"][line["marker"]["symbol"].index("star")]
        full = chosen if row["Setting"] == FULL else full
        ends = {line["x"][0]: "lowest tried", line["x"][-1]: "highest tried"}
        found.append(
            {
                "Setting": row["Setting"],
                "Rates tried": ", ".join(f"{rate:g}" for rate in line["x"]),
                "Chosen": f"{chosen:g}",
                "Over that of full": f"{ratio_text(chosen / full)} ×",
                "Where": ends.get(chosen, "inside"),
            }
        )
    assert found == [{title: row[title] for title in found[0]} for row in rows]
    assert [row["Chosen"] for row in found] == [row["Learning rate"] for row in report.table("Settings")][: len(rows)]


@every_report
def test_trained_parameters_and_bytes_to_store(name: str) -> None:
    report = published(name)
    parameters, stored = (report.figures[f"plot-{which}-data"]["data"] for which in ("parameters", "storage"))
    rows = report.table("What each setting costs")
    assert [row["Trainable parameters"] for row in rows] == [count_text(trace["x"][0]) for trace in parameters][
        : len(rows)
    ]
    assert [row["To store, 100 customers"] for row in rows] == [bytes_text(trace["x"][0]) for trace in stored][
        : len(rows)
    ]
    means = [t_interval(list(by_seed.values())).mean for by_seed in report.accuracy.values()]
    assert [trace["y"][0] for trace in stored][: len(rows)] == means


def test_tables_of_the_readme() -> None:
    reports = [published(name) for name in NAMES]
    controls = [report.minus([*report.controls], FULL) for report in reports]
    ranks = [report.minus(report.adapters[1:], report.adapters[0]) for report in reports]
    settings = list(reports[0].accuracy)
    for setting in settings:
        means = [spread_text(t_interval(list(report.accuracy[setting].values())), ACCURACY) for report in reports]
        assert readme_row("Accuracy on the test part", setting) == [text.replace(" %", "") for text in means]
    for title, columns in (
        ("Accuracy minus that of full", controls),
        ("Accuracy of rank", ranks),
    ):
        for row in zip(*columns, strict=True):
            assert readme_row(title, row[0].a) == [told(difference) for difference in row]
