"""Forecast memory beside what training took: of the run that took most, and in the report."""

from __future__ import annotations

from core.forecast.forecast import Forecast
from core.numbers import NOTHING, bytes_text
from core.study.arms.arm import arms_of
from core.study.arms.tables import comparison_table
from core.study.arms.trained_memory import memory_columns, trained_memory
from core.study.report.evidence import gather
from core.study.report.parts import Table
from core.study.report.report import report
from tests.study.samples import make_run


def forecast(memory: int) -> Forecast:
    return Forecast(1.0, 2.0, memory, "measured")


def test_the_run_that_took_most_counts_and_a_bank_is_named():
    runs = [make_run(seed=seed, peak_memory=size, bank=3) for seed, size in enumerate((10**6, 3 * 10**6, 2 * 10**6))]
    kept = {run.id: forecast(5 * 10**6 + place) for place, run in enumerate(runs)}
    found = trained_memory(runs, kept)
    assert (found.forecast, found.measured, found.bank) == (5 * 10**6 + 1, 3 * 10**6, 3)
    assert found.sentence == "Memory of the process with this bank of 3: forecast 5.0 MB, measured 3.0 MB."
    alone = make_run(peak_memory=10**6)
    found = trained_memory([alone], {alone.id: forecast(10**6)})
    assert found.sentence.startswith("Memory of the process with this run alone: ")
    assert "bank" not in found.measured_text


def test_without_forecast_or_measurement_nothing_is_shown():
    full, lora = make_run(peak_memory=None), make_run("lora", peak_memory=10**6)
    arms = arms_of([full, lora])
    assert memory_columns(arms, {}) == {}
    assert memory_columns(arms, {full.id: forecast(1)}) == {}
    columns = memory_columns(arms, {run.id: forecast(10**6) for run in (full, lora)})
    assert [values[0] for values in columns.values()] == [NOTHING, NOTHING]
    assert [values[1] for values in columns.values()] == ["1.0 MB", "1.0 MB"]


def test_the_report_has_both_for_every_setting(studied):
    lab, experiment = studied
    evidence = gather(lab, experiment)
    tables = [part for section in report(evidence).sections for part in section.parts if isinstance(part, Table)]
    (costs,) = [table for table in tables if table.title == "What each setting costs"]
    kept = lab.estimates.at_launch(experiment.runs)
    for arm, expected, measured in zip(
        evidence.named, costs.frame["Process, forecast"], costs.frame["Process, measured"], strict=True
    ):
        peaks = {run.id: run.result.peak_memory for run in arm.runs}
        most = max(peaks, key=peaks.get)
        assert measured.startswith(bytes_text(peaks[most]))
        assert expected in {bytes_text(kept[run.id].memory) for run in arm.runs}
    assert "Banks differ in size" in costs.note
    counted = [arm.runs[0].result.memory for arm in evidence.named]
    assert list(costs.frame["Memory, counted"]) == [bytes_text(size) for size in counted]
    assert list(comparison_table(evidence.named)["Memory, counted (bytes)"]) == counted
