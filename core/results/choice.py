"""Which settings win: one rule for every page, report and command.

Settings with one base and one task are compared. Only finished runs count. A setting with a failed seed never wins and
is named; one that lacks a seed wins only where no other has them all. The mean of the primary measure on the validation
part decides, over seeds that all who could win have finished; ties go to fewer trained parameters, then to the lower
learning rate, the lower alpha, and the key. Nothing of the test part is ever read here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from core.methods.method import Role
from core.numbers import count_text, seeds_text
from core.results.arm import Arm, all_arms, grouped
from core.results.grid import SETTLED_DIGITS, at_chosen_epochs, common_seeds, validated_mean
from core.results.row import Row
from core.results.setting import order

MAX_DROPPED = 3
"""Maximum number of settings that :func:`dropped_sentences` names; others are counted."""


def comparisons_of(rows: Iterable[Row]) -> list[list[Arm]]:
    """The arms that are compared, one list for each base and task, without pretraining.

    Each method and rank is at the number of epochs that is chosen for it (:func:`core.results.grid.at_chosen_epochs`).
    Arms have their :attr:`core.results.arm.Arm.planned` and :attr:`core.results.arm.Arm.common` seeds.
    """
    return compared_among(all_arms(rows))


def compared_among(arms: Iterable[Arm]) -> list[list[Arm]]:
    """The same of the arms of these runs, as :func:`core.results.arm.all_arms` gives them."""
    trained = (arm for arm in arms if arm.role is not Role.BASE)
    found = grouped(trained, lambda arm: arm.setting.comparison)
    compared = []
    for alike in found.values():
        chosen = at_chosen_epochs(alike)
        planned = tuple(sorted({seed for arm in chosen for seed in arm.seeds}))
        chosen = [replace(arm, planned=planned) for arm in chosen]
        common = common_seeds(candidates(chosen))
        compared.append([replace(arm, common=common) for arm in chosen])
    return compared


def compared_with(arm: Arm, rows: Iterable[Row]) -> list[Arm]:
    """All arms of the comparison that one of them is in, itself included. Args: rows: which have the arm among them."""
    return next(group for group in comparisons_of(rows) if any(other.key == arm.key for other in group))


def candidates(arms: Iterable[Arm]) -> list[Arm]:
    """Those of one comparison that may win their tuning group."""
    return [arm for members in by_group(arms) for arm in _able(members)]


def best(arms: Iterable[Arm]) -> Arm | None:
    """The winner among some arms of a comparison; None where none may win, or nothing tells several apart."""
    return _pick(_finalists(_able(arms)))


def winners(arms: Iterable[Arm]) -> list[Arm]:
    """The winner of each tuning group of a comparison; all candidates of a group where nothing tells them apart."""
    return _finalists(candidates(arms))


def _able(arms: Iterable[Arm]) -> list[Arm]:
    """Those without a failed seed that have all seeds; where there is none, those that have finished any."""
    able = [arm for arm in arms if arm.finished and not arm.failed]
    return [arm for arm in able if arm.is_complete] or able


def _finalists(able: Iterable[Arm]) -> list[Arm]:
    """The best of each tuning group first, so that the winner among several groups is always one of theirs."""
    picked = [(_pick(members), members) for members in by_group(able)]
    return [arm for first, members in picked for arm in ([first] if first is not None else members)]


def _pick(able: Sequence[Arm]) -> Arm | None:
    if len(able) < 2:
        return able[0] if able else None
    seeds = able[0].planned if able[0].is_complete else able[0].common or common_seeds(able)
    means = {arm.key: validated_mean(arm, seeds) for arm in able}
    if None in means.values():
        return None

    def rank(arm: Arm) -> tuple[float, int, float, float, str]:
        mean = arm.setting.objective.primary.sign * (means[arm.key] or 0.0)
        alpha = arm.setting.alpha or 0.0
        return -round(mean, SETTLED_DIGITS), arm.finished_only.trained, arm.learning_rate, alpha, arm.key

    return min(able, key=rank)


def chosen_arms(rows: Iterable[Row]) -> list[Arm]:
    """The arms that win their tuning groups, with their finished runs alone, in :func:`core.results.setting.order`.

    Luck adds as much to one method as to another where all tried about as many settings:
    :func:`core.study.arms.fairness.comparable` warns where they did not.
    """
    found = [arm.finished_only for arms in comparisons_of(rows) for arm in winners(arms)]
    return sorted(found, key=lambda arm: order(arm.setting))


def best_arm(rows: Iterable[Row], among: Callable[[Arm], bool]) -> Arm | None:
    """The winner among some settings, with its finished runs; of the first comparison that has one."""
    found = (best(filter(among, arms)) for arms in comparisons_of(rows))
    return next((arm.finished_only for arm in found if arm is not None), None)


def unchosen(rows: Sequence[Row]) -> list[Row]:
    """The rows of an experiment that train whole networks, in settings that were not chosen; none while it is under
    way, or where nothing was chosen.
    """
    chosen = {arm.key for arm in chosen_arms(rows)}
    compared = {arm.key for arms in comparisons_of(rows) for arm in arms}
    if not chosen or not all(row.is_over and row.plan in (None, "complete") for row in rows):
        return []
    return [
        row
        for row in rows
        if row.has_result and row.setting.role is not Role.ADAPTER and row.setting.key in compared - chosen
    ]


def typical_row(arm: Arm) -> Row:
    """The row of an arm that is nearest to its mean on the validation part, so that what is downloaded does what was
    said of the setting; the first seed among equals, or where it is unknown.
    """

    def distance(row: Row) -> float:
        off = math.inf if row.validated is None else abs(row.validated - arm.validated.mean)
        return round(off, SETTLED_DIGITS) if math.isfinite(off) else math.inf

    return min(arm.rows, key=lambda row: (distance(row), row.seed))


def is_full(arm: Arm) -> bool:
    """Whether it is full fine-tuning, the reference; controls are not."""
    return arm.role is Role.REFERENCE


def is_adapter(arm: Arm) -> bool:
    """Whether it trains adapters."""
    return arm.role is Role.ADAPTER


def dropped_sentences(rows: Iterable[Row]) -> list[str]:
    """A sentence for each comparison that names the settings which cannot win because a seed failed."""
    named = [[f"{arm.label} ({seeds_text(arm.failed)})" for arm in arms if arm.failed] for arms in comparisons_of(rows)]
    found = []
    for names in filter(None, named):
        more = f"; and {count_text(len(names) - MAX_DROPPED)} more" if len(names) > MAX_DROPPED else ""
        found.append(f"Left out of the choice because a seed failed: {'; '.join(names[:MAX_DROPPED])}{more}.")
    return found


def no_choice_sentence(rows: Iterable[Row]) -> str:
    """Why nothing is chosen; empty where something is."""
    compared = comparisons_of(rows)
    if any(map(candidates, compared)):
        return ""
    failed = any(arm.finished for arms in compared for arm in arms)
    return f"No setting has finished{' without a failed seed' if failed else ''}, so there is no verdict."


def by_group(arms: Iterable[Arm]) -> list[list[Arm]]:
    """Arms by tuning group, in the order in which the groups first occur."""
    return list(grouped(arms, lambda arm: arm.setting.group).values())
