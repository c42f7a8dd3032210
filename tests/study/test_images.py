"""The interval over seeds and test images, and what the number of test images means."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.special import ndtr, stdtrit

from core.study.stats.images import MIN_IMAGES, crossed_interval, image_facts
from core.study.stats.intervals import t_interval

VALUES = st.sampled_from([-1, 0, 1])


def simulated(rng, count, seeds, images, shared=1.0, own=0.3, seed=0.1, rest=0.3, gap=0.2):
    """Differences of two probit models, (count, seeds, images), and their true mean over all seeds and images."""
    draw = rng.standard_normal
    both = shared * draw((count, 1, images), dtype=np.float32)
    right = [
        both
        + mean
        + own * draw((count, 1, images), dtype=np.float32)
        + seed * draw((count, seeds, 1), dtype=np.float32)
        + rest * draw((count, seeds, images), dtype=np.float32)
        > 0
        for mean in (1.0 + gap, 1.0)
    ]
    total = math.sqrt(shared**2 + own**2 + seed**2 + rest**2)
    return right[0].astype(np.int8) - right[1], 100 * (ndtr((1 + gap) / total) - ndtr(1 / total))


@given(st.integers(2, 6), st.integers(2, 12), st.randoms(use_true_random=False))
def test_mean_squares_are_those_of_an_analysis_of_variance(S, N, random):
    table = np.array([[random.choice([-1, 0, 1]) for _ in range(N)] for _ in range(S)])
    found = crossed_interval(100 * table)
    # By explicit sums over cells, as in a textbook.
    grand = sum(table[s][i] for s in range(S) for i in range(N)) / (S * N)
    rows, columns = [sum(table[s]) / N for s in range(S)], [sum(table[:, i]) / S for i in range(N)]
    ms_seed = N * sum((row - grand) ** 2 for row in rows) / (S - 1)
    ms_image = S * sum((column - grand) ** 2 for column in columns) / (N - 1)
    rest = sum((table[s][i] - rows[s] - columns[i] + grand) ** 2 for s in range(S) for i in range(N))
    ms_rest = rest / ((S - 1) * (N - 1))
    var = (ms_seed + ms_image - ms_rest) / (S * N)
    seeds = t_interval([100 * row for row in rows])
    assert found.crossed.mean == pytest.approx(100 * grand, abs=1e-9)
    assert (found.seeds.low, found.seeds.high) == pytest.approx((seeds.low, seeds.high), abs=1e-9)
    if ms_image - ms_rest <= 1e-9 * ms_image:
        assert found.crossed.half_width == pytest.approx(seeds.half_width, abs=1e-6)
        return
    terms = ms_seed**2 / (S - 1) + ms_image**2 / (N - 1) + ms_rest**2 / ((S - 1) * (N - 1))
    df = max((var * S * N) ** 2 / terms, min(S, N) - 1)
    half = 100 * stdtrit(df, 0.975) * math.sqrt(var)
    assert found.crossed.half_width == pytest.approx(max(half, seeds.half_width))
    if ms_seed:
        assert found.wider == pytest.approx(math.sqrt(var * S * N / ms_seed))


@pytest.mark.parametrize(
    ("seeds", "images", "seed"), [(3, 100, 0.05), (3, 200, 0.15), (5, 200, 0.1), (10, 100, 0.1), (6, 200, 0.3)]
)
def test_it_holds_for_other_seeds_and_other_images(seeds, images, seed):
    tables, truth = simulated(np.random.default_rng(1), 2000, seeds, images, seed=seed)
    found = [crossed_interval(100 * table) for table in tables]
    covered = np.mean([each.crossed.low <= truth <= each.crossed.high for each in found])
    assert 0.93 <= covered <= 0.97


def test_seeds_alone_say_too_little_about_other_images():
    tables, truth = simulated(np.random.default_rng(2), 500, 10, 100, seed=0.05)
    found = [crossed_interval(100 * table) for table in tables]
    assert np.mean([each.seeds.low <= truth <= each.seeds.high for each in found]) < 0.85
    assert np.median([each.wider for each in found]) > 1.3


@given(arrays(np.int8, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=7), elements=VALUES))
def test_it_is_never_narrower_than_over_seeds_and_never_fails(table):
    found = crossed_interval(100 * table)
    if min(table.shape) < 2:
        assert math.isnan(found.crossed.low)
        assert math.isnan(found.wider)
        assert not found.might_reverse
    else:
        assert found.crossed.half_width >= found.seeds.half_width
        assert found.wider >= 1
    assert (found.crossed.n, found.images) == table.shape


@given(arrays(np.float64, (3, 4), elements=st.sampled_from([-1.0, 0.0, 1.0, np.nan, np.inf])))
def test_values_that_are_not_finite_make_it_unknown(table):
    found = crossed_interval(100 * table)
    if not np.isfinite(table).all():
        assert math.isnan(found.crossed.low)
        assert math.isnan(found.crossed.high)


def test_one_value_everywhere_leaves_no_doubt():
    found = crossed_interval(100 * np.ones((4, 9), dtype=np.int8))
    assert (found.crossed.low, found.crossed.mean, found.crossed.high, found.wider) == (100, 100, 100, 1)


def test_images_can_reverse_what_seeds_agree_on():
    # Every seed gets the same three images of four right that the other method gets wrong, and the reverse for one.
    table = np.tile(np.array([1, 1, 1, -1, 0, 0, 0, 0], dtype=np.int8), (6, 1))
    found = crossed_interval(100 * table)
    assert found.seeds.low == found.seeds.high == 25
    assert found.wider == math.inf
    assert found.might_reverse
    with pytest.raises(ValueError, match="two dimensions"):
        crossed_interval(100 * table[0])


def test_facts_count_images_and_classes():
    even = image_facts(np.repeat(np.arange(10), 200))
    assert (even.images, even.classes, even.chance, even.worth) == (2000, 10, 10.0, 0.05)
    assert even.sentence == "2,000 test images: one is worth 0.050 points. Guessing among 10 classes reaches 10.0 %."
    assert even.warning == ""
    skewed = image_facts([0] * 300 + [1] * 60)
    assert skewed.sentence == (
        "360 test images: one is worth 0.28 points. Always naming the most frequent class reaches 83.3 %."
    )
    assert "only 360 test images" in skewed.warning
    assert image_facts([0] * (MIN_IMAGES - 1)).warning
    assert not image_facts([0] * MIN_IMAGES).warning
    assert "0.0033 points" in image_facts([0] * 30_000).sentence
    assert image_facts([]).sentence == "There are no test images."
