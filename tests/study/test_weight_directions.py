from __future__ import annotations

import numpy as np
import pytest

from core.engine.jobs.job import network_of
from core.methods.adapted import adapted_layers
from core.run_spec import RunSpec
from core.study.weights.subspace import directions, drawn_alike, overlap
from tests.study.changes import SIZES, orthonormal
from tests.study.samples import SOURCE, TARGET


def test_identical_directions_overlap_fully_and_orthogonal_ones_not_at_all():
    basis = orthonormal(40, 8)
    same, apart = overlap(basis[:, :4], basis[:, :4]), overlap(basis[:, :4], basis[:, 4:])
    assert (same.whole, apart.whole) == pytest.approx((1, 0), abs=1e-12)
    assert (same.beyond_chance, apart.beyond_chance) == (True, False)
    assert same.random_mean == 4 / 40


def test_random_directions_are_beyond_chance_about_once_in_twenty():
    found = [overlap(orthonormal(30, 3, seed), orthonormal(30, 5, 1000 + seed)) for seed in range(300)]
    assert np.mean([each.beyond_chance for each in found if each]) == pytest.approx(0.05, abs=0.04)


def test_a_layer_that_did_not_change_has_nothing_to_compare():
    assert overlap(orthonormal(10, 2), np.zeros((10, 0))) is None
    assert overlap(np.zeros((10, 0)), orthonormal(10, 2)) is None


def test_in_a_whole_space_nothing_is_beyond_chance():
    found = overlap(orthonormal(4, 4), orthonormal(4, 4, 1))
    whole = (found.whole, found.random_mean, found.random_high)
    assert whole == pytest.approx((1, 1, 1)), "it is like any other basis of it"
    assert not found.beyond_chance


LORA = {"kind": "lora", "rank": 4}


@pytest.mark.parametrize(
    ("changes", "alike"),
    [
        ({"method": {"kind": "dora", "rank": 4}}, True),
        ({"method": LORA | {"alpha": 32.0, "start": "gaussian"}, "optim": {"learning_rate": 0.02}}, True),
        ({"method": LORA | {"target_modules": ["layers.0"]}}, True),
        ({"method": LORA | {"target_modules": ["layers.2"]}}, False),
        ({"method": LORA | {"rank": 2}}, False),
        ({"method": "full"}, False),
        ({"seed": 1}, False),
    ],
)
def test_adapters_of_one_rank_and_seed_begin_in_the_same_directions(changes, alike):
    base = SIZES.build(0)
    common = {"method": LORA, "network": SIZES, "task": TARGET, "source": SOURCE, "base": "base"}
    one, other = RunSpec.of(**common), RunSpec.of(**common | changes)
    assert drawn_alike(base, one, other, "layers.0") == alike == drawn_alike(base, other, one, "layers.0")
    started = [adapted_layers(network_of(spec, base)).get("layers.0") for spec in (one, other)]
    if all(started):
        spans = [directions(layer.lora.A.detach().numpy(), "outputs") for layer in started]
        same = spans[0].shape == spans[1].shape and overlap(*spans).whole == pytest.approx(1)
        # Another distribution makes other directions of the same random numbers, which overlap beyond chance.
        assert same == (alike and one.method.start == other.method.start)
