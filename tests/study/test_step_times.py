"""Measured times and memory of a step: ratios are paired by round, and outliers decide nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from core.forecast.forecast import Forecast
from core.forecast.step_time import FULL, WAYS, Measured, StepTimes
from core.numbers import NOTHING
from core.study.arms.arm import arms_of
from core.study.arms.step_times import conditions_sentence, step_time_spec, step_times_sentence, step_times_table
from core.study.arms.trained_memory import memory_columns, trained_memory
from core.study.stats.intervals import median_interval, paired_ratio
from tests.study.samples import make_arm_runs, make_run
from tests.training.tiny_texts import spec_of

SPEEDS = [1.0, 10.0, 3.0, 1.1, 0.9, 1.0, 7.0, 1.0, 1.2, 1.0, 0.8, 1.0]


def times():
    runs = make_arm_runs("full", [90.0] * 3, bank=3) + make_arm_runs("lora", [90.0] * 3, bank=6)
    spec = step_time_spec(arms_of(runs), "cpu")
    rows = [
        Measured(way, method, tuple(0.001 * speed * ratio for speed in SPEEDS))
        for method, ratios in ((FULL, (1.0, 1.0, 1.0)), (spec.adapters[0], (1.25, 0.5, 0.25)))
        for way, ratio in zip(WAYS, ratios, strict=True)
    ]
    return StepTimes(spec, tuple(rows), "a machine, 2 cores", 2)


def test_what_is_measured_is_what_the_runs_were():
    spec = times().spec
    assert (spec.batch_size, spec.full_bank, spec.adapter_bank, spec.seeds) == (64, 3, 6, 3)
    assert [lora.rank for lora in spec.adapters] == [4]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_one_method_alone_is_not_measured(method):
    assert step_time_spec(arms_of(make_arm_runs(method, [90.0])), "cpu") is None


def test_a_drift_of_the_machine_does_not_change_a_ratio():
    table = step_times_table(times())
    lora = table[table["Method"] == "LoRA r=4"]
    assert list(lora["Times full, 95 %"]) == ["1.25 (1.25 to 1.25)", "0.50 (0.50 to 0.50)", "0.25 (0.25 to 0.25)"]
    assert list(table["ms per step"])[:2] == ["1.00", "1.25"]


def test_the_sentence_has_the_ratio_of_each_way():
    sentence = step_times_sentence(times())
    assert "In plain PyTorch a step of LoRA takes 1.25 times (95 % interval 1.25 to 1.25)" in sentence
    assert "On this engine it takes 0.50 times" in sentence
    assert "in banks (6 runs against 3 of full fine-tuning) it takes 0.25 times" in sentence
    assert "12 rounds" in conditions_sentence(times())
    assert "a machine, 2 cores" in conditions_sentence(times())


def with_dora(dora_ways=WAYS[:2], noisy=()):
    """LoRA at two ranks and DoRA at one of them, measured. Args: noisy: labels of those that take as long as full."""
    runs = make_arm_runs("full", [90.0] * 3, bank=3)
    for kind, rank, bank in (("lora", 4, 6), ("lora", 8, 6), ("dora", 4, 1)):
        runs += make_arm_runs("lora", [90.0] * 3, bank=bank, spec={"method": {"kind": kind, "rank": rank}})
    spec = step_time_spec(arms_of(runs), "cpu")
    speeds = {"LoRA r=4": 0.5, "LoRA r=8": 0.75, "DoRA r=4": 2.5, "Full": 1.0}
    ways = {method: dora_ways if method.kind == "dora" else WAYS for method in (FULL, *spec.adapters)}
    around = [(0.95, 1.02)[place % 2] for place in range(len(SPEEDS))]
    ratios = {m: around if m.label in noisy else [speeds[m.label]] * len(SPEEDS) for m in ways}
    rows = [
        Measured(way, method, tuple(speed * ratio for speed, ratio in zip(SPEEDS, ratios[method], strict=True)))
        for method, own in ways.items()
        for way in own
    ]
    return StepTimes(spec, tuple(rows), "a machine, 2 cores", 2)


def test_each_method_has_its_own_times_and_only_some_have_closed_forms():
    sentence = step_times_sentence(with_dora())
    plain, lora, dora = sentence.removesuffix(".").split(". ")
    times = "takes 0.50 to 0.75 times (r = 4 to 8, 95 % intervals 0.50 to 0.75)"
    assert f"a step of LoRA {times} and one of DoRA 2.50" in plain
    assert f"{times}: gradients are in closed form" in lora
    assert "(6 runs against 3 of full fine-tuning)" in lora
    assert "LoRA runs also share products" in lora
    assert "a step of DoRA takes 2.50 times (95 % interval 2.50 to 2.50)" in dora
    assert "closed form" not in dora
    assert "banks" not in dora


@pytest.mark.parametrize(("noisy", "said"), [((), ""), (("LoRA r=8",), "at r = 8 "), (("LoRA r=4", "LoRA r=8"), "")])
def test_a_ratio_whose_interval_holds_1_is_no_difference_in_the_sentence_as_in_the_table(noisy, said):
    times = with_dora(noisy=noisy)
    plain, lora, dora = step_times_sentence(times).removesuffix(".").split(". ")
    table = step_times_table(times)
    spans = table[table["Measured in"] == "Plain PyTorch"].set_index("Method")["Times full, 95 %"]
    ends = [spans[f"LoRA r={rank}"].partition("(")[2].removesuffix(")").split(" to ") for rank in (4, 8)]
    assert f"95 % intervals {min(low for low, _ in ends)} to {max(high for _, high in ends)}" in plain
    assert [float(low) <= 1 <= float(high) for low, high in ends] == ["LoRA r=4" in noisy, "LoRA r=8" in noisy]
    for sentence in (plain, lora):
        assert ("no difference is shown" in sentence) is bool(noisy)
        assert f"; {said}no difference is shown)" in sentence or not noisy
    assert "no difference" not in dora


def test_what_autograd_trains_side_by_side_shares_no_products():
    times = with_dora(WAYS)
    sentence = step_times_sentence(replace(times, spec=replace(times.spec, network=spec_of("bert"))))
    assert "in banks" in sentence
    assert "closed form" not in sentence
    assert "share products" not in sentence


def test_settings_whose_steps_take_the_same_time_are_measured_once():
    runs = make_arm_runs("full", [90.0] * 3)
    one = make_arm_runs("lora", [90.0] * 3)
    rate = make_arm_runs("lora", [90.0] * 3, optim={"learning_rate": 0.02})
    alpha = make_arm_runs("lora", [90.0] * 3, spec={"method": {"kind": "lora", "rank": 4, "alpha": 32.0}})
    assert step_time_spec(arms_of(runs + one), "cpu") == step_time_spec(arms_of(runs + one + rate + alpha), "cpu")
    layers = [{"kind": "lora", "rank": 4, "target_modules": [name]} for name in ("layers.0", "layers.2")]
    for method in layers:
        runs += make_arm_runs("lora", [90.0] * 3, spec={"method": method})
    spec = step_time_spec(arms_of(runs), "cpu")
    rows = [Measured("plain", method, tuple(SPEEDS)) for method in (FULL, *spec.adapters)]
    table = step_times_table(StepTimes(spec, tuple(rows), "a machine", 1))
    assert list(table["Method"]) == ["Full", "LoRA r=4 on layers.0", "LoRA r=4 on layers.2"]


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
    arms = arms_of([full, lora])
    assert memory_columns(arms, {}) == {}
    assert memory_columns(arms, {full.id: forecast(1)}) == {}
    columns = memory_columns(arms, {run.id: forecast(10**6) for run in (full, lora)})
    assert [values[0] for values in columns.values()] == [NOTHING, NOTHING]
    assert [values[1] for values in columns.values()] == ["1.0 MB", "1.0 MB"]
