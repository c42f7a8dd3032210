"""The decision: what results may claim of full fine-tuning and adapters.

At each place the validation part chooses among the learning rates and numbers of epochs that were found there. All
places and ranks of an axis are one family, tested together at the level of one look (:mod:`core.rule.candidate`), so
that the chance of any false claim in a whole figure is that of one experiment. Along an axis a setting that failed,
whose rate is at an end of those tried or that has not been shown to have learned anything stays in the family as p = 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from core.methods.method import MethodSpec, Role
from core.plan.axes import Point, VarySpec
from core.plan.plan import Plan
from core.results.arm import Arm
from core.results.choice import best_arm, compared_with, is_adapter
from core.results.grid import common_seeds
from core.results.results import Outcomes, Results
from core.results.row import Row
from core.rule.answer import Answer
from core.rule.candidate import Candidate, Decision, Family, Rule, families_of, look_at, member_name
from core.rule.controls import Controls, controls_of, is_unlearnt, unlearned_reason
from core.rule.differences import at_equal_epochs, candidate_of
from core.rule.place import Place
from core.rule.spending import CLAIM_SEEDS
from core.rule.tuning import rates_beside
from core.rule.withheld import (
    SELECTED,
    NextStep,
    Reason,
    compared_settings,
    ends_reason,
    no_ranking,
    waiting_reason,
)
from core.store.looks import Look, Member


def decide(results: Results, looks: Sequence[Look] = (), plan: Plan | None = None, by: Decision = look_at) -> Answer:
    """Decide between full fine-tuning and adapters, as far as the rows allow.

    The settings are those that :mod:`core.results.choice` picks on the validation part, one for each method and
    rank; controls take no part. Something is *shown* where its p-value, corrected for the family
    (:func:`core.rule.family.p_values`), is at most the level of this look (:func:`core.rule.spending.level_of`). The
    choice is

    1. the cheapest adapter setting that is shown to be within the margin of full fine-tuning;
    2. else the adapter setting that is best on the validation part, if it is shown to be better;
    3. else full fine-tuning, if that setting is shown to be worse;
    4. else none.

    Nothing is compared while runs are to finish, or were stopped and nobody has archived them. Without an axis an
    answer is withheld, so that nothing is tested and no look is used, where a chosen learning rate is at an end of
    those tried, and where full fine-tuning or the setting has not been shown to have learned anything.

    Args:
        results: all rows, in any state.
        looks: earlier ones at them.
        plan: of the experiment, whose configuration may have an axis.
        by: what tests the settings, the rule of docs/statistics.md by default.
    """
    # What a run answered is read from files, and needed for each setting that it is compared with.
    results = replace(results, outcomes=cache(results.outcomes), trivial=cache(results.trivial))
    if plan is not None and plan.configuration.vary is not None:
        return _along(plan, plan.configuration.vary, results, looks, by)
    place = _at_one_place(results, looks, by)
    return Answer(results.margin, (place,), looks=place.looks, reason=place.reason, unread=place.unread)


def _at_one_place(results: Results, looks: Sequence[Look], by: Decision) -> Place:
    """The answer where nothing is varied; see :func:`decide`."""
    tested, trivial, selected = results.outcomes, results.trivial, results.is_selection
    everything = list(results.rows)
    recorded = tuple(sorted({look.seeds for look in looks}))
    found = replace(_seen(everything, results.margin), recorded=recorded, can_extend=bool(rates_beside(everything)))
    full, arms = found.full, found.arms
    done = len(common_seeds([full, *arms])) if full else 0
    if not selected and (waiting := waiting_reason(everything, done, results.bases)):
        return replace(found.because(waiting), mend=waiting.next_step, unread=True, answerable=waiting.answerable)
    if found.reason or full is None:
        lacks_a_side = len({row.setting.role for row in everything} & {Role.REFERENCE, Role.ADAPTER}) == 1
        return replace(found, mend=NextStep.OTHER_SIDE) if lacks_a_side and not selected else found
    everyone = compared_with(full, everything)
    # What shares no seed with full fine-tuning has nothing to be tested by, as where it failed.
    sharing = [arm for arm in arms if common_seeds([full, arm])]
    families = families_of(sharing, filter(is_adapter, everyone), looks, full=full)
    beside = [
        candidate_of(arm, full, everyone, seeds, tested)
        for family in families
        if (seeds := common_seeds([full, *family.arms]))
        for arm in family.arms
    ]
    candidates = tuple(sorted(beside, key=lambda candidate: candidate.arm.trained))
    best = _best(everything, candidates)
    found = replace(found, candidates=candidates, best=best)
    if best is None and not (full.setting.spec is None and len({member_name(arm) for arm in sharing}) == len(sharing)):
        return found.because(no_ranking(everything))
    if selected:
        return replace(found, withheld=SELECTED.text, more=SELECTED.more)
    if best is None:
        # Of reported settings without a validation part each is tested, and none is the best one.
        looked = _looked(found, families, looks, tested, by)
        few = max((len(each.difference.seeds) for each in candidates), default=0) < CLAIM_SEEDS
        if looked.rule is Rule.WITHIN:
            return looked
        text = "No choice: no measure on a validation part is reported, to choose one of these settings."
        return looked.because(Reason(text, more="" if few else "What is shown of each stands in the table."))
    # Where a setting has learned nothing, no end of its rates is the best of anything.
    learned = [arm for arm in arms if arm.key == best.arm.key or not is_unlearnt(arm, tested, trivial)]
    ends = ends_reason(everything, [full, *learned])
    controls = controls_of(everyone, full, best.arm, tested, trivial)
    found = replace(found, controls=controls)
    if why := unlearned_reason(controls, everyone, full, best.arm, tested, ends):
        return replace(found, withheld=why.text, more=why.more, mend=why.next_step)
    return _looked(found, families, looks, tested, by)


def _looked(found: Place, families: Sequence[Family], earlier: Sequence[Look], tested: Outcomes, by: Decision) -> Place:
    """The place with what every family is tested for, and the choice. Args: earlier: looks at the experiment."""
    looks, candidates = _tested(families, {each.arm.key: each for each in found.candidates}, found.margin, by)
    best = candidates[found.best.arm.key] if found.best is not None else None
    used: dict[tuple[Member, ...], float] = {}
    for look in {look.key: look for look in (*earlier, *looks)}.values():
        used[look.account] = used.get(look.account, 0.0) + look.level
    decided = tuple(candidates.values())
    found = replace(
        found,
        candidates=decided,
        best=best,
        rule=_rule(decided, best),
        looks=looks,
        used=tuple(used.values()),
    )
    told, full = found.told, found.full
    if told is None or full is None:
        return found
    return replace(found, at_equal_epochs=at_equal_epochs(told.arm, full, tested))


def _tested(
    families: Iterable[Family], candidates: Mapping[str, Candidate], margin: float, by: Decision
) -> tuple[tuple[Look, ...], dict[str, Candidate]]:
    """The looks at some families, and all candidates by key with what was found of them."""
    found, looks = dict(candidates), list[Look]()
    for family in families:
        if own := [candidates[arm.key] for arm in family.arms if arm.key in candidates]:
            look, done = by(family, own, margin)
            looks.append(look)
            found |= {candidate.arm.key: candidate for candidate in done}
    return tuple(looks), found


def _rule(candidates: Sequence[Candidate], best: Candidate | None) -> Rule:
    """The part of the rule that decides, of settings that were tested. Args: best: on the validation part."""
    if any(candidate.claim(Rule.WITHIN) for candidate in candidates):
        return Rule.WITHIN
    return next((rule for rule in (Rule.HIGHER, Rule.LOWER) if best is not None and best.claim(rule)), Rule.NONE)


def _best(everything: Sequence[Row], candidates: Sequence[Candidate]) -> Candidate | None:
    keys = {candidate.arm.key: candidate for candidate in candidates}
    picked = best_arm(everything, lambda setting: is_adapter(setting) and setting.key in keys)
    return keys[picked.key] if picked is not None else None


def _seen(rows: Sequence[Row], margin: float, point: Point = "") -> Place:
    """What is at a place before anything of the test part is read."""
    full, arms, reason = compared_settings(rows)
    found = Place(margin, full, point=point, rows=tuple(rows), arms=tuple(arms))
    return found if reason is None else found.because(reason)


def _along(plan: Plan, vary: VarySpec, results: Results, looks: Sequence[Look], by: Decision) -> Answer:
    """The answer along an axis; see :func:`decide`."""
    everything, asked = list(results.rows), plan.configuration
    seen = [
        _seen([row for row in everything if row.run is not None and part.has(row.run.spec)], results.margin, point)
        for point, part in zip(vary.points, plan.parts, strict=True)
    ]
    adapters = [arm for arm in asked.arms if arm.method.role is Role.ADAPTER]
    found = Answer(results.margin, tuple(seen), vary, {arm.method.label: arm.method for arm in adapters})
    common = common_seeds(arm for at in seen if at.full for arm in (at.full, *at.arms))
    if waiting := waiting_reason(everything, len(common), results.bases):
        return _without(replace(found, unread=True), waiting)
    if not common:
        none = "No verdict: the settings have no finished seed in common."
        return _without(found, Reason(next((at.reason for at in seen if at.reason), none)))
    # What a line of the answer is at each point: ranks may be others there, and one for several.
    members = {
        point: {
            arm.method.label: _named(vary.axis.setting((arm.optim, arm.method), point, asked.start)[1])
            for arm in adapters
        }
        for point in vary.points
    }
    return _looked_along(found, results, members, common, looks, by)


def _named(method: MethodSpec) -> str:
    """The name of a method as a member; see :func:`core.rule.candidate.member_name`."""
    return f"{method.kind} {method.size}"


def _without(found: Answer, why: Reason) -> Answer:
    """The answer where nothing is compared, at no point."""
    places = [at if at.reason else at.because(why) for at in found.places]
    return replace(found, places=tuple(replace(at, unread=found.unread) for at in places), reason=why.text)


def _looked_along(
    found: Answer,
    results: Results,
    members: Mapping[Point, Mapping[str, str]],
    seeds: tuple[int, ...],
    looks: Sequence[Look],
    by: Decision,
) -> Answer:
    """The answer with the differences at each point, and what the family of all of them is tested for; ``members``
    are the names of members at each point, by the label of a line, and ``seeds`` those that everything has finished.
    """
    tested, trivial, name = results.outcomes, results.trivial, found.axis.name
    names: dict[str, Member] = {}
    candidates: dict[str, Candidate] = {}
    reasons: dict[str, Reason] = {}
    controls: dict[str, Controls] = {}
    tried: list[Arm] = []
    for at in found.places:
        full = at.full
        if full is None:
            continue
        everyone = compared_with(full, at.rows)
        own = [arm for arm in everyone if is_adapter(arm)]
        # A member is told by its point, which may be a number of epochs, or have several.
        names |= {arm.key: (f"{name}={at.point} {member_name(arm)}", 0) for arm in own}
        tried += own
        for arm in at.arms:
            candidates[arm.key] = candidate_of(arm, full, everyone, seeds, tested)
            ends = ends_reason(at.rows, [full, arm])
            controls[arm.key] = own_controls = controls_of(everyone, full, arm, tested, trivial)
            if why := unlearned_reason(own_controls, everyone, full, arm, tested, ends):
                reasons[arm.key] = why
    able = [candidate.arm for key, candidate in candidates.items() if key not in reasons]
    families = families_of(able, tried, looks, lambda arm: names[arm.key])
    made, candidates = _tested(families, candidates, found.margin, by)
    places = []
    for at in found.places:
        beside = [candidates[arm.key] for arm in at.arms if arm.key in candidates]
        beside = sorted(beside, key=lambda candidate: candidate.arm.trained)
        if at.full is None or not beside:
            places.append(at)
            continue
        best = _best(at.rows, beside)
        named = {member_name(candidate.arm): candidate for candidate in beside}
        by_line = {label: named[own] for label, own in members[at.point].items() if own in named}
        missed = {label: reasons[each.arm.key].text for label, each in by_line.items() if each.arm.key in reasons}
        rule = _rule(beside, best)
        at = replace(at, candidates=tuple(beside), best=best, rule=rule, looks=made, by_line=by_line, not_tested=missed)
        if best is not None:
            why = reasons.get(best.arm.key, Reason(""))
            at = replace(at, withheld=why.text, more=why.more, controls=controls[best.arm.key])
        places.append(at)
    return replace(found, places=tuple(places), looks=made)
