"""The answer of a study: full fine-tuning against each method and rank, at every point of the axis.

At each point the validation part chooses among the learning rates that were found there. All points and ranks are one
family, tested together at the level of one look (:mod:`core.study.arms.looks`), so that the chance of any false claim
in the whole figure is that of one experiment. A setting that failed, whose rate is at an end of those tried or that has
not been shown to have learned anything stays in the family as p = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

from core.methods.method import MethodSpec, Role
from core.plan.axes import Axis, Point, VarySpec
from core.plan.plan import Plan
from core.results.arm import Arm, judged_by
from core.results.choice import best_arm, comparisons_of, is_adapter
from core.results.epochs import common_seeds
from core.results.row import Row
from core.store.looks import Look, Member
from core.study.arms.candidate import Candidate, Rule
from core.study.arms.compared import compared_settings
from core.study.arms.controls import unlearned_reason
from core.study.arms.family import Tested, candidate_of, member_name, untested
from core.study.arms.looks import families_of, look_at
from core.study.arms.settled import all_settled
from core.study.arms.tuning import rates_tried
from core.study.arms.verdict import Verdict, decide
from core.study.arms.withheld import ends_reason, waiting_reason
from core.study.stats.claims import Difference, Level, Pair, difference_of


class Standing(StrEnum):
    """What was shown of a setting at a point, beside full fine-tuning."""

    HIGHER = "higher"
    WITHIN = "within"
    LOWER = "lower"
    OPEN = "open"
    """Nothing was shown."""


def standing_of(candidate: Candidate | None) -> Standing:
    """What was shown of a setting; worse and yet within the margin counts as within."""
    claims = {
        Rule.HIGHER: Standing.HIGHER,
        Rule.WITHIN: Standing.WITHIN,
        Rule.LOWER: Standing.LOWER,
    }
    found = (standing for rule, standing in claims.items() if candidate is not None and candidate.claim(rule))
    return next(found, Standing.OPEN)


@dataclass(frozen=True, eq=False)
class AtPoint:
    """What a study found at one point of its axis."""

    point: Point
    rows: tuple[Row, ...]
    """All of them; what does not depend on the axis is in those of every point."""
    verdict: Verdict
    """The verdict at this point, with what was tested in the family of all points."""
    arms: tuple[Arm, ...] = ()
    """The adapter settings that are compared, as the validation part chose them."""
    by_line: Mapping[str, Candidate] = field(default_factory=dict)
    """What is compared with full fine-tuning, by the label of :attr:`StudyAnswer.lines`."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Why a setting that is compared was not tested, in a sentence, by the same label."""

    def settled(self, line: str) -> bool:
        """Whether full fine-tuning and a setting would gain nothing that matters by longer training."""
        found, full = self.by_line.get(line), self.verdict.full
        return found is not None and full is not None and bool(all_settled([full, found.arm]))


@dataclass(frozen=True, eq=False)
class StudyAnswer:
    """The answer of a study, as far as its runs can give one."""

    vary: VarySpec
    margin: float
    lines: Mapping[str, MethodSpec]
    """The methods and ranks that are compared with full fine-tuning, by label, as they were asked for: where ranks are
    matched to numbers of parameters, others were trained at some points."""
    points: tuple[AtPoint, ...]
    looks: tuple[Look, ...] = ()
    """The looks that this answer is, as the store keeps them."""
    reason: str = ""
    """Why nothing was compared; empty where something was."""
    unread: bool = False
    """Whether the test part is not to be shown yet, because runs are to follow."""

    @property
    def axis(self) -> Axis:
        """What was varied."""
        return self.vary.axis

    @property
    def candidates(self) -> list[Candidate]:
        """Everything that is compared, point by point, each once."""
        return [each for at in self.points for each in at.verdict.candidates]

    @property
    def level(self) -> Level:
        """The level of what the study says: *shown* where anything was."""
        if any(standing_of(each) is not Standing.OPEN for each in self.candidates):
            return Level.SHOWN
        return Level.LEANING if any(each.leans for each in self.candidates) else Level.OPEN

    @property
    def seeds(self) -> int:
        """Number of seeds on which everything is compared; 0 where nothing is."""
        return max((len(each.difference.seeds) for each in self.candidates), default=0)

    def standings(self, line: str) -> list[Standing]:
        """What was shown of a method and rank, point by point."""
        return [standing_of(at.by_line.get(line)) for at in self.points]

    def turns(self, line: str) -> list[tuple[Point, Point, Standing, Standing]]:
        """Where a method and rank meets full fine-tuning or parts from it: between which points, and what was shown
        at these. Empty on an axis of choices, which has no order.
        """
        if not self.axis.is_scale:
            return []
        shown = [(at.point, standing_of(at.by_line.get(line))) for at in self.points]
        shown = [(point, standing) for point, standing in shown if standing is not Standing.OPEN]
        return [(one, two, before, after) for (one, before), (two, after) in pairwise(shown) if before is not after]

    def change(self, line: str) -> Difference | None:
        """The difference from full fine-tuning at the last point minus that at the first, seed by seed: seen, never
        tested. None where one of them is not known, or the axis has no order.
        """
        ends = [at.by_line.get(line) for at in (self.points[0], self.points[-1])]
        known = [each.difference for each in ends if each is not None]
        if not self.axis.is_scale or len(known) < len(ends):
            return None
        before, after = (dict(zip(each.seeds, each.values, strict=True)) for each in known)
        return difference_of(Pair(line, line, after, before), known[0].what)

    def crossings(self, line: str) -> list[tuple[Point, Point]]:
        """Between which points the mean difference from full fine-tuning changes its sign: seen, not shown."""
        return crossings([(at.point, at.by_line[line].crossed.mean) for at in self.points if line in at.by_line])


def crossings(means: Sequence[tuple[Point, float]]) -> list[tuple[Point, Point]]:
    """Between which points a mean difference changes its sign. Args: means: point and mean, in the order of points."""
    return [(one, two) for (one, before), (two, after) in pairwise(means) if before * after < 0]


def study(
    plan: Plan,
    rows: Sequence[Row],
    tested: Tested = untested,
    looks: Sequence[Look] = (),
    trivial: Tested = untested,
    bases: Sequence[Row] = (),
) -> StudyAnswer:
    """Compare full fine-tuning with each method and rank at each point of an axis.

    Args:
        plan: of the experiment, whose configuration has the axis.
        rows: all of the experiment, in any state.
        tested: has the measure of each test example of a row.
        looks: earlier ones at this experiment.
        trivial: has the same measure of the answers that need no input.
        bases: that count with the runs.

    Raises:
        ValueError: the experiment has no axis.
    """
    vary = plan.configuration.vary
    if vary is None:
        raise ValueError("This experiment is no study.")
    everything = list(rows)
    margin = judged_by(everything).margin
    arms = [arm.method for arm in plan.configuration.arms if arm.method.role is Role.ADAPTER]
    lines = {method.label: method for method in arms}
    seen = [
        _seen(point, [row for row in everything if row.run is not None and part.has(row.run.spec)], margin)
        for point, part in zip(vary.points, plan.parts, strict=True)
    ]
    found = StudyAnswer(vary, margin, lines, tuple(seen))
    common = common_seeds(arm for at in seen if at.verdict.full for arm in (at.verdict.full, *at.arms))
    if waiting := waiting_reason(everything, len(common), bases):
        return _without(replace(found, unread=True), waiting.text)
    if not common:
        reasons = [at.verdict.reason for at in seen if at.verdict.reason]
        return _without(found, next(iter(reasons), "No verdict: the settings have no finished seed in common."))
    return _looked(found, _members(plan), common, tested, looks, trivial)


def _seen(point: Point, rows: list[Row], margin: float) -> AtPoint:
    """What is at a point before anything of the test part is read."""
    full, arms, reason = compared_settings(rows)
    rates = rates_tried(row.setting for row in rows if row.setting.role in (Role.REFERENCE, Role.ADAPTER))
    leading = best_arm(rows, is_adapter)
    return AtPoint(point, tuple(rows), Verdict(margin, rates, full, reason=reason, leading=leading), tuple(arms))


def _without(found: StudyAnswer, reason: str) -> StudyAnswer:
    """The answer where nothing is compared, at no point."""
    points = [
        replace(at, verdict=replace(at.verdict, reason=at.verdict.reason or reason, unread=found.unread))
        for at in found.points
    ]
    return replace(found, points=tuple(points), reason=reason)


def _members(plan: Plan) -> dict[Point, dict[str, str]]:
    """The name of its member at each point, by the label of a line: ranks may be others there, and one for several."""
    vary, asked = plan.configuration.vary, plan.configuration
    found: dict[Point, dict[str, str]] = {}
    for point in vary.points if vary is not None else ():
        own = found.setdefault(point, {})
        for arm in asked.arms:
            if arm.method.role is Role.ADAPTER and vary is not None:
                _, method = vary.axis.setting((arm.optim, arm.method), point, asked.start)
                own[arm.method.label] = f"{method.kind} {method.size}"  # as by member_name()
    return found


def _looked(
    found: StudyAnswer,
    members: Mapping[Point, Mapping[str, str]],
    seeds: tuple[int, ...],
    tested: Tested,
    looks: Sequence[Look],
    trivial: Tested,
) -> StudyAnswer:
    """The answer with the differences at each point, and what the family of all of them is tested for."""
    names: dict[str, Member] = {}
    candidates: dict[str, Candidate] = {}
    reasons: dict[str, str] = {}
    tried: list[Arm] = []
    for at in found.points:
        full = at.verdict.full
        if full is None:
            continue
        everyone = next(group for group in comparisons_of(at.rows) if any(arm.key == full.key for arm in group))
        own = [arm for arm in everyone if is_adapter(arm)]
        # A member is told by its point, which may be a number of epochs, or have several.
        names |= {arm.key: (f"{found.vary.name}={at.point} {member_name(arm)}", 0) for arm in own}
        tried += own
        for arm in at.arms:
            candidates[arm.key] = candidate_of(arm, full, everyone, seeds, tested)
            ends = ends_reason(at.rows, [full, arm])
            if (why := unlearned_reason(everyone, full, arm, tested, trivial, ends)) is not None:
                reasons[arm.key] = why.text
    able = [candidate.arm for key, candidate in candidates.items() if key not in reasons]
    made = []
    for family in families_of(able, tried, looks, lambda arm: names[arm.key]):
        if own_ones := [candidates[arm.key] for arm in family.arms]:
            look, done = look_at(family, own_ones, found.margin)
            made.append(look)
            candidates |= {candidate.arm.key: candidate for candidate in done}
    points = tuple(_decided(at, members[at.point], candidates, reasons, tuple(made)) for at in found.points)
    return replace(found, points=points, looks=tuple(made))


def _decided(
    at: AtPoint,
    members: Mapping[str, str],
    candidates: Mapping[str, Candidate],
    reasons: Mapping[str, str],
    looks: tuple[Look, ...],
) -> AtPoint:
    """What was found at a point, of all that was found."""
    own = [candidates[arm.key] for arm in at.arms if arm.key in candidates]
    own = sorted(own, key=lambda candidate: candidate.arm.trained)
    if at.verdict.full is None or not own:
        return at
    keys = {candidate.arm.key: candidate for candidate in own}
    picked = best_arm(at.rows, lambda arm: is_adapter(arm) and arm.key in keys)
    best = keys[picked.key] if picked is not None else None
    withheld = next((reasons[key] for key in keys if key in reasons and key == (best and best.arm.key)), "")
    verdict = replace(
        at.verdict, candidates=tuple(own), best=best, rule=decide(own, best), looks=looks, withheld=withheld
    )
    named = {member_name(candidate.arm): candidate for candidate in own}
    by_line = {label: named[name] for label, name in members.items() if name in named}
    return replace(
        at,
        verdict=verdict,
        by_line=by_line,
        withheld={label: reasons[each.arm.key] for label, each in by_line.items() if each.arm.key in reasons},
    )
