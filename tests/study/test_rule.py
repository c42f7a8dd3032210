"""The tests of an answer are those of the rule: its sketch, written a second time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import stdtr

from core.rule.family import Around, Compared, Differences, family_p, holm, p_values, t_p, within_p
from core.rule.spending import Design, level_of

MARGIN = 0.5


def two_way_p(d: Differences) -> float:
    S, N = d.shape
    g = d.mean()
    a, b = d.mean(1) - g, d.mean(0) - g
    ms, mi = N * (a @ a) / (S - 1), S * (b @ b) / (N - 1)
    mr = max(0.0, ((d - g) ** 2).sum() - (S - 1) * ms - (N - 1) * mi) / ((S - 1) * (N - 1))
    if mi <= mr:
        return 2 * stdtr(S - 1, -abs(g) / math.sqrt(ms / (S * N)))
    both = ms + mi - mr
    terms = ms**2 / (S - 1) + mi**2 / (N - 1) + mr**2 / ((S - 1) * (N - 1))
    return 2 * stdtr(max(both**2 / terms, min(S - 1, N - 1)), -abs(g) / math.sqrt(both / (S * N)))


def sketch(family: list[Differences], failed: int, margin: float | None = None) -> list[float]:
    """p-values of one set of rates: two-sided, or one-sided with a margin."""
    shifted = [d + (margin or 0.0) for d in family]
    p = [two_way_p(d) for d in shifted]
    if margin is not None:
        p = [each / 2 if d.mean() > 0 else 1 - each / 2 for each, d in zip(p, shifted, strict=True)]
    return holm([*p, *[1.0] * failed])[: len(p)]


def at_neighbors(family: list[Compared], around: list[Around], failed: int, margin: float | None = None) -> list[float]:
    """The largest at the chosen rates and at both neighbors; 1 where a neighbor is on the other side."""
    found = sketch([each.chosen for each in family], failed, margin)
    for side in (0, 1):
        values = [each.chosen if pair[side] is None else pair[side] for each, pair in zip(family, around, strict=True)]
        for place, p in enumerate(sketch(values, failed, margin)):
            shift = margin or 0.0
            same = (family[place].chosen.mean() + shift) * (values[place].mean() + shift) > 0
            found[place] = max(found[place], p if same else 1.0)
    return found


@pytest.mark.parametrize("trial", range(40))
def test_p_values_are_those_of_the_sketch(trial: int) -> None:
    rng = np.random.default_rng(trial)
    m, S, N, failed = rng.integers(1, 5), rng.integers(7, 10), rng.integers(5, 40), rng.integers(0, 3)

    def drawn(mean: float) -> Differences:
        return mean + rng.normal(0, 0.5, (S, 1)) + rng.normal(0, 1, N) + rng.normal(0, 1, (S, N))

    def around(mean: float) -> Around:
        lower, upper = (None if rng.random() < 0.3 else drawn(mean + rng.normal(0, 0.3)) for _ in range(2))
        return lower, upper

    means = rng.normal(0, 1.5, m)
    family = [Compared(drawn(mean), around(mean), around(mean)) for mean in means]
    found = p_values(family, MARGIN, failed)
    chosen = [each.chosen for each in family]
    assert [each.differs for each in found] == pytest.approx(sketch(chosen, failed))
    assert [each.within for each in found] == pytest.approx(sketch(chosen, failed, MARGIN))
    by_full = at_neighbors(family, [each.full_around for each in family], failed)
    by_own = at_neighbors(family, [each.own_around for each in family], failed)
    sided = [up if d.mean() > 0 else down for d, up, down in zip(chosen, by_full, by_own, strict=True)]
    assert [each.methods_differ for each in found] == pytest.approx(sided)
    within = at_neighbors(family, [each.full_around for each in family], failed, MARGIN)
    assert [each.methods_within for each in found] == pytest.approx(within)


def test_without_single_examples_the_tests_are_over_seeds() -> None:
    only_t = np.array([[0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.2, 9.0]]).T
    assert family_p([only_t]) == pytest.approx([t_p(only_t[:, 0].tolist())])
    even = np.array([[1.0, 1.1, 0.9, 1.2, 1.0, 0.8, 1.0]]).T
    assert family_p([even] * 3) == pytest.approx([3 * t_p(even[:, 0].tolist())] * 3)
    assert family_p([even] * 3, failed=10) == pytest.approx([13 * t_p(even[:, 0].tolist())] * 3)
    eight = np.vstack([even, [[1.05]]])
    near, far = within_p([eight - 1, eight - 9], MARGIN)
    assert near <= level_of(8) / 2 < 0.999 < far, "no setting keeps another from being within"
    assert family_p([]) == within_p([], MARGIN) == p_values([], MARGIN) == []


@pytest.mark.parametrize(("examples", "is_shown"), [(48, False), (360, False), (1000, True)])
def test_to_agree_on_few_examples_shows_no_equivalence(examples: int, is_shown: bool) -> None:
    """None of 360 examples on which a method is worse says 0.5 points with probability 0.16, (1 − 0.005)³⁶⁰."""
    family = [Compared(np.zeros((8, examples)))]
    (found,) = p_values(family, 0.5, width=100.0)
    assert found.within == pytest.approx(0.995**examples)
    assert (found.within <= level_of(8) / 2) is is_shown
    assert p_values(family, 0.5)[0].within == 0, "a measure without bounds"
    out_of_reach = Design(0.1, 0.0, 1.0, examples, settings=1, width=100.0).is_out_of_reach(0.5)
    assert out_of_reach is not is_shown
