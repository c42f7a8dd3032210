"""An answer computed again by other means: ``python -m docs.measurements.recomputed HOME ANSWER.json LABELS``.

Nothing of the lab is imported. HOME is its folder, of which the specs, the curves and the answers to single test
examples of runs are read; ANSWER.json is what ``python -m core compare ... --json`` printed, by accuracy. LABELS names
the true labels: ``digits``, ``mnist-16k``, ``definitions`` or a file like it, an IDX file of labels, or a folder with
those of MNIST; classes that the task leaves out are left out. Every number is printed beside the one in ANSWER.json.
The exit status is 1 where one deviates or a claim differs.

Not computed again are costs, sentences, measures on the source, macro-F1, and claims of earlier looks but for whether
they hold. Of settings that were added after a look, the answer does not tell earlier looks: there are taken to be none.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from docs.measurements.recomputed_runs import (
    FULL,
    OF_RUNS,
    VALIDATED,
    Labels,
    Row,
    Setting,
    chosen_of,
    has_better,
    is_settled,
    labels_of,
    of_chosen_epochs,
    read_settings,
    shared,
)
from docs.measurements.recomputed_statistics import (
    Values,
    family_p,
    holm,
    interval,
    level,
    method_p,
    next_look,
    out_of_reach,
    two_way_p,
)

TOLERANCES, TOLERANCE = {OF_RUNS: 1e-4, VALIDATED: 1e-4}, 1e-6


class Recomputed:
    """What an answer says, from its settings and from the looks before it."""

    def __init__(self, answer: Mapping[str, Any], settings: Sequence[Setting]) -> None:
        self.told, self.everything = answer["verdict"], settings
        self.margin = Fraction(str(answer["objective"]["within"]))
        self.compared = of_chosen_epochs(settings, float(self.margin))
        self.chosen, self.best = chosen_of(self.compared)
        self.full = self.chosen[FULL]
        self.adapters = sorted((one for one in self.chosen.values() if one.method[1]), key=lambda one: one.trained)
        self.found: dict[str, dict[str, Any]] = {}
        self.levels: list[tuple[int, float]] = []
        for names in [look["family"] for look in self.told["looks"]] or [[one.name for one in self.adapters]]:
            members = [one for one in self.adapters if one.name in names]
            self._look(members, len(names) - len(members), [] if self.levels else self.told["earlier_looks"])

    def _look(self, members: Sequence[Setting], lacking: int, earlier: Sequence[int]) -> None:
        """Find what there is of the members of a family. Args: lacking: number of others; earlier: seeds of looks."""
        seeds = sorted(shared([self.full, *members]))
        family, p = [_minus(one, self.full, seeds) for one in members], dict[str, list[float]]()
        own_level = float(level(len(seeds), earlier)) if self.told["looks"] else 0.0
        if self.told["looks"]:
            near = self._beside(self.full, seeds)
            at_full = [[_minus(one, other, seeds) if other else None for other in near] for one in members]
            at_own = [
                [_minus(other, self.full, seeds) if other else None for other in self._beside(one, seeds)]
                for one in members
            ]
            sides = zip(family, method_p(family, at_full, lacking), method_p(family, at_own, lacking), strict=True)
            p = {
                "p": family_p(family, lacking),
                "p_methods": [better if d.mean() > 0 else worse for d, better, worse in sides],
                "p_within": family_p(family, lacking, self.margin),
                "p_within_methods": method_p(family, at_full, lacking, self.margin),
            }
        self.levels.append((len(seeds), own_level))
        by_seed = [d.mean(1, keepdims=True) for d in family]
        leaning = holm([*map(two_way_p, by_seed), *[1.0] * lacking])
        for place, (one, d) in enumerate(zip(members, family, strict=True)):
            own = {name: values[place] for name, values in p.items()}
            if own and d.shape[1] > 1:  # on few examples, to agree on all of them shows little
                few = (1 - float(self.margin) / 100) ** d.shape[1]
                own |= {name: max(own[name], few) for name in ("p_within", "p_within_methods")}
            mean, low, high = interval(d)
            agree = bool(abs(np.sign(by_seed[place]).sum()) == len(seeds))
            leans = bool(own) and 3 <= len(seeds) < 7 and agree and leaning[place] <= 0.05
            known = {"difference": mean, "interval": [low, high], "leaning": leans}
            known["median"] = median(float(of_seed) for of_seed in d.mean(1))
            known |= own | {"seeds": len(seeds), "examples": d.shape[1], "by": dict(zip(seeds, d.mean(1), strict=True))}
            known |= {"lacking": [each.label for each in (self.full, one) if self._lacks(each, seeds)], "values": d}
            self.found[one.label] = known | {"claims": self._claims(one.label, known, own_level)}

    def _claims(self, label: str, found: Mapping[str, Any], of_look: float) -> list[dict[str, Any]]:
        """What is shown of a setting, and whether what an earlier look has shown still holds."""
        (low, high), seeds = found["interval"], found["seeds"]
        side = "higher" if found["difference"] > 0 else "lower"
        holds = {"higher": low > 0, "lower": high < 0, "within": low > -float(self.margin)}
        of_setting = next((own for own in self.told["settings"] if own["label"] == label), {"claims": []})
        told = of_setting["claims"]
        claims = {own["rule"]: own | {"holds": holds[own["rule"]]} for own in told if own["seeds"] < seeds}
        # As many seeds were looked at before, with other settings: what was not shown then is not tested again.
        untested = (
            {"higher", "lower", "within"} - {own["rule"] for own in told} if of_setting.get("is_again") else set()
        )
        tests = [(side, "p", "p_methods", of_look), ("within", "p_within", "p_within_methods", of_look / 2)]
        for rule, p, of_methods, at in tests if of_look else []:
            if found[p] <= at and rule not in untested:
                known = claims.get(rule, {"seeds": seeds, "about_methods": False})
                lacks = (label if rule == "lower" else self.full.label) in found["lacking"]
                about = known["about_methods"] or (found[of_methods] <= at and not lacks)
                claims[rule] = {"rule": rule, "seeds": known["seeds"], "about_methods": about, "holds": True}
        return sorted(claims.values(), key=lambda own: str(own["rule"]))

    def _near(self, one: Setting) -> list[Setting | None]:
        """The setting at the lower and at the higher neighbor: 10^0.4 to 10^0.6 times apart; None where not tried."""
        alike = [other for other in self.compared if other.first.key(rate=False) == one.first.key(rate=False)]
        sides = (lambda other: one.rate / other.rate, lambda other: other.rate / one.rate)
        near = [[other for other in alike if 10**0.4 <= ratio(other) <= 10**0.6] for ratio in sides]
        return [min(found, key=lambda other: abs(other.rate - one.rate), default=None) for found in near]

    def _beside(self, one: Setting, seeds: Sequence[int]) -> list[Setting | None]:
        """The same, and the best with fewer and with more epochs; None where it lacks one of these seeds, or failed."""
        around = [*self._near(one), one.beside(longer=False), one.beside(longer=True)]
        return [near if near and not near.failed and near.runs.keys() >= set(seeds) else None for near in around]

    def _lacks(self, one: Setting, seeds: Sequence[int]) -> bool:
        """Whether a neighbor was not trained with these seeds, and has not failed either."""
        return any(near is None or not (near.failed or near.runs.keys() >= set(seeds)) for near in self._near(one))

    def end_of(self, one: Setting) -> str | None:
        """Whether its learning rate is the lowest or the highest one that was tried."""
        alike = [other for other in self.compared if other.method == one.method and (other.runs or other.failed)]
        rates = sorted({other.rate for other in alike})
        higher = [other for other in alike if other.rate > one.rate and other.first.key(False) == one.first.key(False)]
        beside = min(higher, key=lambda other: other.rate, default=None)
        # As good, so that nothing points beyond the lowest.
        is_flat = beside is not None and _validated(one, one.runs) == _validated(beside, one.runs) is not None
        return {rates[-1]: "highest", rates[0]: "lowest"}.get(one.rate) if len(rates) > 1 and not is_flat else None

    def _learned(self, one: Setting) -> bool:
        """Whether it is shown to be better than naming the most frequent class."""
        better = np.array([run.right - run.chance for run in one.runs.values()])
        return interval(better if len(better) > 2 else better.mean(0)[:, np.newaxis])[1] > 0

    def reasons(self) -> list[str]:
        """Why a verdict is withheld."""
        ends = [one for one in (self.full, *self.adapters) if self._learned(one) or one in (self.full, self.best)]
        found = [f"{one.label} at the {end} rate" for one in ends if (end := self.end_of(one))]
        told = [one for one in (self.full, self.best or self.full) if not self._learned(one)]
        found += [f"{one.label} may be no better than the most frequent class" for one in told]
        head = self.chosen.get(("head", None))
        seeds = sorted(shared([self.full, head])) if head else []
        if head and len(seeds) > 1 and interval(_minus(self.full, head, seeds))[1] <= 0:
            found.append("the head alone may be as good")
        return found

    def rule(self) -> tuple[str, Setting | None]:
        """The rule that decides, and the setting that is told of."""
        held = {label: [own["rule"] for own in of["claims"] if own["holds"]] for label, of in self.found.items()}
        for one in self.adapters:
            if "within" in held[one.label]:
                return "within", one
        best = held[self.best.label] if self.best else []
        return next((rule for rule in ("higher", "lower") if rule in best), "none"), self.best

    def holds_on(self, rule: str, one: Setting) -> bool | None:
        """Whether a difference would be there with three times the epochs."""
        seeds, most = self.found[one.label]["by"].keys(), max(one.epochs, self.full.epochs)
        own, full = one.at(most), self.full.at(most)
        if rule == "none" or len(seeds) < 3 or own is None or full is None:
            return None
        ours, theirs = own.gains(), full.gains()
        if not (seeds <= ours.keys() & theirs.keys() and seeds <= own.runs.keys() & full.runs.keys()):
            return None
        by = {seed: float((own.runs[seed].right - full.runs[seed].right).mean()) for seed in seeds}
        shift = float(self.margin) if rule == "within" else 0.0
        _, low, high = interval(np.array([[d + ours[seed] - theirs[seed] + shift] for seed, d in by.items()]))
        return high < 0 if rule == "lower" else low > 0

    def about(self, claim: Mapping[str, Any], one: Setting, lasts: bool) -> str:
        """What a claim is about. Args: lasts: whether longer training would not change it."""
        found = self.found[one.label]
        budgets = {(own.method, own.epochs) for own in self.everything if own.method in (FULL, one.method)}
        tried = [{own.rate for own in self.everything if (own.method, own.epochs) == budget} for budget in budgets]
        if not claim["about_methods"] or min(map(len, tried)) == 1:
            return "rates"
        shift = float(self.margin) if claim["rule"] == "within" else 0.0
        if np.sign(round(found["difference"] + shift, 9)) != np.sign(round(found["median"] + shift, 9)):
            return "runs"
        return "methods" if lasts else "budget"

    def is_saturated(self, one: Setting, looks: Sequence[int]) -> bool:
        """Whether test examples hardly tell a setting from full fine-tuning, and cannot show that both are as good."""
        d, margin = self.found[one.label]["values"], float(self.margin)
        N = d.shape[1]
        compared, seeds = [self.full, one], self.found[one.label]["by"]
        is_right = any(all((own.runs[seed].right == 100).all() for seed in seeds) for own in compared)
        is_best = is_right and abs(d.mean()) <= 3 * 100 / N
        if N < 2 or not (is_best or (not d.any() and is_settled(compared, margin) is not False)):
            return False
        return not margin or (1 - margin / 100) ** N > float(level(next_look(len(d), looks), [*looks, len(d)])) / 2

    def verdict(self) -> dict[str, Any]:
        """The verdict, under the names of the answer."""
        rule, one = self.rule()
        if one is None:
            return {}
        found, compared = self.found[one.label], [self.full, one]
        claim = next((own for own in found["claims"] if own["rule"] == rule and own["holds"]), None)
        settled, holds_on = is_settled(compared, float(self.margin)), self.holds_on(rule, one)
        left = any(has_better(own, float(self.margin)) for own in compared)
        about = self.about(claim, one, bool(settled or (holds_on and not left))) if claim else None
        looks = [*self.told["earlier_looks"], self.levels[0][0]]
        low, high = found["interval"]
        spent = low <= 0 <= high and out_of_reach(found["values"], len(self.found), float(self.margin), looks)
        spent |= low <= 0 <= high and not found["leaning"] and self.is_saturated(one, looks)
        spent &= found["seeds"] >= 7  # fewer can show nothing
        center = np.mean([run.validated for run in one.runs.values()])
        typical = min(one.runs.values(), key=lambda run: (round(abs(run.validated - center), 9), run.spec["seed"]))
        return {name: found.get(name) for name in ("difference", "interval", "p", "seeds", "examples")} | {
            "level": "shown" if claim else "leaning" if found["leaning"] else "open",
            "about": about,
            "choice": (self.full if rule == "lower" else one).label if about == "methods" else None,
            "seeds_needed": None if claim or self.told["withheld"] or spent else next_look(found["seeds"], looks),
            "adapter_run": typical.id,
            "settled": settled,
            "holds_on": holds_on,
            "updates": max(run.row["steps"] for own in compared for run in own.runs.values()),
        }

    def rows(self) -> Iterator[Row]:
        """What is computed beside what the answer has."""
        chosen, compared = {one.label for one in self.chosen.values()}, {one.label: one for one in self.compared}
        for one in self.everything:
            own = compared.get(one.label, one)
            found = {"chosen": one.label in chosen, "settled": is_settled([own], float(self.margin))}
            found |= {"rate_at_end": self.end_of(own) if found["chosen"] else None}
            yield from ((name, f"{one.label}: {name}", one.arm[name], found[name]) for name in found if one.arm)
        for look, (seeds, of_look) in zip(self.told["looks"], self.levels, strict=False):
            yield "look", f"{', '.join(look['family'])}: seeds", look["seeds"], seeds
            yield "level of a look", f"{', '.join(look['family'])}: level", look["level"], of_look
        yield "withheld", "withheld", bool(self.told["withheld"]), bool(self.reasons())
        yield "order", "settings", [own["label"] for own in self.told["settings"]], [one.label for one in self.adapters]
        for told in self.told["settings"]:
            for name in (
                "difference",
                "interval",
                "median",
                "p",
                "p_methods",
                "p_within",
                "p_within_methods",
                "leaning",
                "claims",
            ):
                yield name, f"{told['label']}: {name}", told[name], self.found.get(told["label"], {}).get(name)
        yield from (("verdict", f"verdict: {name}", self.told[name], own) for name, own in self.verdict().items())


def _validated(one: Setting, seeds: Iterable[int]) -> float | None:
    """Mean on the validation part over these seeds; None where one is missing."""
    known = [one.runs[seed].validated for seed in seeds if seed in one.runs]
    return round(float(np.mean(known)), 9) if one.runs.keys() >= set(seeds) else None


def _minus(one: Setting, other: Setting, seeds: Iterable[int]) -> Values:
    """Differences in points by seed and test example."""
    return np.array([one.runs[seed].right - other.runs[seed].right for seed in seeds])


def deviation(told: Any, found: Any) -> float:
    """How far two values are apart: infinitely where they are no numbers and differ."""
    if isinstance(told, list) and isinstance(found, list) and len(told) == len(found):
        return max(map(deviation, told, found), default=0.0)
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in (told, found)):
        return 0.0 if told == found and isinstance(told, bool) == isinstance(found, bool) else math.inf
    return abs(told - found) if told != found else 0.0


def recomputed(home: Path, answer: Mapping[str, Any], labels: Labels) -> list[Row]:
    """All numbers of an answer beside those computed again. Args: labels: of the test part, of all classes."""
    if answer["objective"]["measure"] != "accuracy" or answer["verdict"]["seeds"] < 2:
        raise SystemExit("This is no answer by accuracy with two seeds or more: there is nothing to compute again.")
    rows: list[Row] = []
    settings = read_settings(home, answer, labels, rows)
    return [*rows, *Recomputed(answer, settings).rows()]


def main(arguments: Sequence[str]) -> int:
    """Print all numbers, and how far those of each kind are apart at most."""
    home, answer, labels = arguments
    rows = recomputed(Path(home), json.loads(Path(answer).read_text(encoding="utf-8")), labels_of(labels))
    width, largest = max(len(name) for _, name, _, _ in rows), dict[str, float]()
    for kind, name, told, found in rows:
        apart = deviation(told, found)
        largest[kind] = max(largest.get(kind, 0.0), apart)
        mark = "  DIFFERS" if apart > TOLERANCES.get(kind, TOLERANCE) else ""
        print(f"{name:<{width}}  {_text(told):>24}  {_text(found):>24}  {apart:.1e}{mark}")
    print("\nLargest deviations:")
    for kind, apart in largest.items():
        print(f"{kind:<20} {sum(own == kind for own, *_ in rows):>5} numbers  {apart:.1e}")
    return int(any(apart > TOLERANCES.get(kind, TOLERANCE) for kind, apart in largest.items()))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, dict):
        return " ".join(f"{name}={own}" for name, own in sorted(value.items()))
    return f"{value:.9g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
