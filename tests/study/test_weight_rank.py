from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.objectives.classification import ACCURACY, ClassificationSpec
from core.study.weights.change import cut_networks
from core.study.weights.curves import CutCurve, cut_curves, rank_sentence, ranks_up_to, suggested_rank
from core.study.weights.scores import Scores
from tests.study.changes import evaluator_of, full_change, inputs, planted_change

RANKS = (1, 2, 4, 8, 12)


def curve_of(*accuracies: float) -> CutCurve:
    values = np.array(accuracies)
    before = Scores(np.array([10.0]), None)
    return CutCurve(ranks_up_to(12)[: len(values)], Scores(values, None), before)


@pytest.mark.parametrize(("most", "ranks"), [(1, (1,)), (2, (1, 2)), (10, (1, 2, 4, 8, 10)), (16, (1, 2, 4, 8, 16))])
def test_ranks_double_up_to_the_largest(most, ranks):
    assert ranks_up_to(most) == ranks


def test_a_delta_of_an_exact_rank_is_whole_from_that_rank_on():
    change = planted_change({"layers.0": 2, "layers.2": 2})
    evaluator = evaluator_of(change.tuned)
    (curve,) = cut_curves(change, [evaluator])
    assert curve.ranks == RANKS
    # Labels are what the whole network says: nothing is lost from the planted rank on, much below it.
    assert curve.scores.target[1:] == pytest.approx([100] * 4)
    assert curve.scores.target[0] < 99
    assert suggested_rank([curve], 0.5) == 2
    assert curve.base.target[0] == evaluator.of_networks([change.base]).target[0]


def test_the_last_rank_is_the_whole_network_and_each_other_one_the_control_of_that_rank():
    change = full_change()
    evaluator, x = evaluator_of(change.tuned), inputs()
    (curve,) = cut_curves(change, [evaluator])
    with torch.no_grad():
        (whole,) = cut_networks(change, [12])
        assert torch.allclose(whole(x), change.tuned(x), atol=1e-6)
    assert curve.scores.target[-1] == 100
    for place, rank in enumerate(RANKS):
        assert curve.at(rank).target[0] == curve.scores.target[place]
        control = evaluator.of_networks(cut_networks(change, [rank]))
        assert control.target[0] == curve.scores.target[place]


def test_the_suggested_rank_is_the_first_from_which_on_all_are_close_enough():
    rising = curve_of(50, 80, 95, 97.6, 98)
    assert [suggested_rank([rising], tolerance) for tolerance in (0.5, 3.0, 0.0)] == [8, 4, 12]
    # A rank that is good by luck, with a worse one above it, does not count.
    assert suggested_rank([curve_of(98, 80, 98, 98, 98)], 0.5) == 4
    assert suggested_rank([curve_of(98, 98, 98, 98, 98)], 0.0) == 1


def test_several_seeds_are_judged_by_their_mean():
    assert suggested_rank([curve_of(50, 97, 98, 98, 98), curve_of(50, 95, 98, 98, 98)], 2.0) == 2
    assert suggested_rank([curve_of(50, 97, 98, 98, 98), curve_of(50, 94, 98, 98, 98)], 2.0) == 4


@given(st.lists(st.floats(0, 100), min_size=5, max_size=5), st.floats(0, 50), st.floats(0, 50))
def test_who_gives_more_points_away_is_never_told_a_higher_rank(values, a, b):
    low, high = sorted((a, b))
    curve = curve_of(*values)
    assert suggested_rank([curve], high) <= suggested_rank([curve], low)


CUT_TO_4 = "Cut to rank 4, full fine-tuning stayed within 0.5 points of its accuracy"


def told(seeds: list[int], examples: int, tested: float, rank: int = 4) -> str:
    return rank_sentence(rank, seeds, 0.5, (1, 2, 4, 8), examples, "image", ACCURACY, tested)


def test_a_rank_is_told_with_the_part_that_chose_it_the_test_part_and_single_seeds():
    assert told([2, 4, 4], 1000, -0.43) == (
        f"**{CUT_TO_4}** on the validation part (1,000 images, mean of 3 seeds), and on the test part it is 0.43 "
        "points less accurate than uncut. For single seeds it is rank 2 to 4, of those measured."
    )
    single = told([4], 1000, 0.2)
    assert "(1,000 images, 1 seed), and on the test part it is 0.20 points more accurate than uncut." in single
    assert single.endswith("Another seed may need a different rank.")
    assert "on the test part its accuracy is the same as uncut." in told([4, 4], 1000, 0.0)


def test_no_rank_is_stressed_where_the_test_part_disagrees_or_one_example_decides():
    assert told([4, 4], 1000, -0.83).startswith(
        f"{CUT_TO_4} on the validation part (1,000 images, mean of 2 seeds), but"
    )
    few = told([4, 4], 80, 0.0)
    assert few.startswith(CUT_TO_4)
    assert "One of these images alone is worth 1.25 points." in few


def test_where_no_smaller_rank_is_enough_the_largest_that_was_cut_to_is_told():
    lost = told([8, 8], 80, 0.0, rank=8)
    assert lost.startswith(
        "Cut to rank 4, full fine-tuning was more than 0.5 points less accurate on the validation part"
    )
    assert "**" not in lost


def test_by_a_loss_the_tolerance_is_what_may_be_added():
    base = curve_of(2.0, 1.0, 0.52, 0.505, 0.5)
    by_loss = ClassificationSpec.of(measure="loss")
    curve = replace(base, scores=replace(base.scores, objective=by_loss))
    assert [suggested_rank([curve], tolerance) for tolerance in (0.0, 0.01, 0.02, 1.0)] == [12, 8, 4, 2]
    for tested, joined in ((0.011, "and"), (0.031, "but")):
        found = rank_sentence(4, [4, 4], 0.02, (1, 2, 4, 8), 80, "image", by_loss.primary, tested)
        assert "stayed within 0.020 of its loss on the validation part" in found
        assert f", {joined} on the test part it is {tested:.4f} higher in loss than uncut." in found
        assert "**" not in found
        assert "alone is worth" not in found
