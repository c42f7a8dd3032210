"""Measured times and memory of a step: ratios are paired by round, and outliers decide nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from core.forecast.forecast import Forecast
from core.forecast.step_time import FULL, WAYS, Measured, StepTimes, StepTimeSpec
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.numbers import NOTHING
from core.results.arm import arms_of
from core.results.intervals import median_interval, paired_ratio
from core.results.row import rows_of
from core.study.arms.step_times import conditions_sentence, step_times_sentence, step_times_table
from core.study.arms.trained_memory import memory_columns, trained_memory
from tests.conftest import DIGITS
from tests.study.samples import make_run
from tests.training.tiny_texts import spec_of

PERCEPTRON = PerceptronSpec.of()
SPEEDS = [1.0, 10.0, 3.0, 1.1, 0.9, 1.0, 7.0, 1.0, 1.2, 1.0, 0.8, 1.0]


def times(noisy=(), network=PERCEPTRON, ratios=((1.25, 0.5, 0.25),)):
    """LoRA at one rank or more, measured. Args: noisy: ranks that take as long as full; ratios: of each rank."""
    spec = StepTimeSpec(network, DIGITS, tuple(LoRASpec.of(rank=4 * k) for k in range(1, 1 + len(ratios))), 64, 6)
    around = [(0.95, 1.02)[place % 2] for place in range(len(SPEEDS))]
    rows = [
        Measured(
            way,
            method,
            tuple(
                0.001 * speed * (noise if method.size in noisy else ratio)
                for speed, noise in zip(SPEEDS, around, strict=True)
            ),
        )
        for method, own in zip((FULL, *spec.adapters), ((1.0, 1.0, 1.0), *ratios), strict=True)
        for way, ratio in zip(WAYS, own, strict=True)
    ]
    return StepTimes(spec, tuple(rows), "a machine, 2 cores", 2)


TWO = ((0.5, 0.5, 0.5), (0.75, 0.75, 0.75))
"""Ratios of two ranks."""


def test_a_drift_of_the_machine_does_not_change_a_ratio():
    table = step_times_table(times())
    lora = table[table["Method"] == "LoRA r=4"]
    assert list(lora["Times full, 95 %"]) == ["1.25 (1.25 to 1.25)", "0.50 (0.50 to 0.50)", "0.25 (0.25 to 0.25)"]
    assert list(table["ms per step"])[:2] == ["1.00", "1.25"]


def test_the_sentence_has_the_ratio_of_each_way():
    sentence = step_times_sentence(times())
    assert "In plain PyTorch a step of LoRA takes 1.25 times (95 % interval 1.25 to 1.25)" in sentence
    assert "On this engine it takes 0.50 times" in sentence
    assert ": gradients are in closed form" in sentence
    assert "in banks of up to 6 runs it takes 0.25 times" in sentence
    assert "LoRA runs also share products" in sentence
    assert "12 rounds" in conditions_sentence(times())
    assert "a machine, 2 cores" in conditions_sentence(times())


@pytest.mark.parametrize(("noisy", "said"), [((), ""), ((8,), "at r = 8 "), ((4, 8), "")])
def test_a_ratio_whose_interval_holds_1_is_no_difference_in_the_sentence_as_in_the_table(noisy, said):
    found = times(noisy, ratios=TWO)
    sentence, table = step_times_sentence(found), step_times_table(found)
    spans = table[table["Measured in"] == "Plain PyTorch"].set_index("Method")["Times full, 95 %"]
    ends = [spans[f"LoRA r={rank}"].partition("(")[2].removesuffix(")").split(" to ") for rank in (4, 8)]
    lowest, highest = min(low for low, _ in ends), max(high for _, high in ends)
    assert f"(r = 4 to 8, 95 % intervals {lowest} to {highest}" in sentence
    assert [float(low) <= 1 <= float(high) for low, high in ends] == [4 in noisy, 8 in noisy]
    assert sentence.count(f"; {said}no difference is shown)") == (len(WAYS) if noisy else 0)


def test_what_autograd_trains_side_by_side_shares_no_products():
    sentence = step_times_sentence(times(network=spec_of("bert")))
    assert "in banks" in sentence
    assert "closed form" not in sentence
    assert "share products" not in sentence


def test_rounds_that_disagree_name_no_ratio():
    steady, rng = times(), np.random.default_rng(0)
    rows = (replace(row, seconds=tuple(rng.lognormal(size=12) * row.seconds)) for row in steady.rows)
    sentence = step_times_sentence(replace(steady, rows=tuple(rows)))
    assert "measure again" in sentence
    assert " times" not in sentence


def test_the_interval_of_a_median_covers_it_and_is_a_pair_of_its_values():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        found = median_interval(rng.lognormal(size=15).tolist())
        covered += found.low <= 1.0 <= found.high
    assert 0.95 <= covered / 2000 <= 0.98
    assert median_interval(range(1, 16)) == median_interval([*range(1, 15), 1e9])
    assert (median_interval(range(1, 16)).low, median_interval(range(1, 16)).high) == (4, 12)


def test_five_rounds_have_no_interval():
    found = paired_ratio([1.0] * 5, [2.0] * 5)
    assert found.mean == 0.5
    assert math.isnan(found.low)


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
    arms = arms_of(rows_of([full, lora]))
    assert memory_columns(arms, {}) == {}
    assert memory_columns(arms, {full.id: forecast(1)}) == {}
    columns = memory_columns(arms, {run.id: forecast(10**6) for run in (full, lora)})
    assert [values[0] for values in columns.values()] == [NOTHING, NOTHING]
    assert [values[1] for values in columns.values()] == ["1.0 MB", "1.0 MB"]
