"""A study computed again by other means: ``python -m docs.measurements.recomputed_study HOME ANSWER.json LABELS``.

Arguments, output and exit status are those of :mod:`docs.measurements.recomputed`, and nothing of the lab is imported.
ANSWER.json is what ``python -m core compare --vary ... --json`` printed. Of every point are computed again which rates
validation chooses, the values by seed, the difference of each method and rank from full fine-tuning with its interval,
the p-values of the one family of all points and ranks, and what is shown. Claims of earlier looks are taken as told.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from docs.measurements.recomputed import TOLERANCE, TOLERANCES, deviation
from docs.measurements.recomputed_runs import (
    FULL,
    Labels,
    Row,
    Setting,
    chosen_of,
    is_settled,
    labels_of,
    read_settings,
    shared,
)
from docs.measurements.recomputed_statistics import Values, family_p, holm, interval, level, method_p, two_way_p

FIELDS = {"epochs": ("optim", "epochs"), "batch": ("optim", "batch_size"), "batch-updates": ("optim", "batch_size")}
FIELDS |= {"shots": ("task", "shots"), "rotation": ("task", "rotation")}
"""Where specs have the value of an axis of numbers."""


@dataclass(frozen=True, eq=False)
class Member:
    """One method and rank at one point, with what the answer says of it."""

    point: Any
    told: Mapping[str, Any]
    one: Setting
    full: Setting
    around: tuple[list[Setting | None], list[Setting | None]]
    """Full fine-tuning, and the setting, at the neighbors of their learning rates."""
    reasons: tuple[str, ...]
    """Why it is not tested."""

    @property
    def name(self) -> str:
        """The same as in looks."""
        return self.one.name


class RecomputedStudy:
    """What a study says, from its settings."""

    def __init__(self, answer: Mapping[str, Any], settings: Sequence[Setting]) -> None:
        self.told = answer["study"]
        self.margin = Fraction(str(answer["objective"]["within"]))
        self.at = {str(at["point"]): self._settings(at, settings) for at in self.told["at"]}
        self.members = [member for at in self.told["at"] for member in self._members(at)]
        seeds = shared([one for member in self.members for one in (member.one, member.full)])
        self.seeds = sorted(seeds)

    def _settings(self, at: Mapping[str, Any], settings: Sequence[Setting]) -> list[Setting]:
        """The settings at a point."""
        if (field := FIELDS.get(self.told["axis"])) is not None:
            part, name = field
            return [one for one in settings if one.first.spec[part][name] == at["point"]]
        layers = [told["layers"] for told in at["settings"]]
        own = [one for one in settings if one.method[1] and one.first.spec["method"]["target_modules"] in layers]
        return own + [one for one in settings if not one.method[1]]

    def _members(self, at: Mapping[str, Any]) -> Iterator[Member]:
        own = self.at[str(at["point"])]
        chosen, _ = chosen_of(own)
        full = chosen[FULL]
        for told in at["settings"]:
            one = next(one for method, one in chosen.items() if method[1] == told["rank"] and method != FULL)
            seeds = shared([one, full])
            around = [self._beside(full, own, seeds), self._beside(one, own, seeds)]
            yield Member(at["point"], told, one, full, (around[0], around[1]), tuple(self._reasons((full, one), own)))

    def _beside(self, one: Setting, own: Sequence[Setting], seeds: frozenset[int]) -> list[Setting | None]:
        found = list[Setting | None]()
        alike = [other for other in own if other.first.key(rate=False) == one.first.key(rate=False)]
        for side in (-1, 1):
            beyond = [other for other in alike if side * other.rate > side * one.rate]
            near = min(beyond, key=lambda other: abs(other.rate - one.rate), default=None)
            found.append(near if near and not near.failed and near.runs.keys() >= seeds else None)
        return found

    def _reasons(self, compared: Sequence[Setting], own: Sequence[Setting]) -> Iterator[str]:
        for one in compared:
            alike = [other.rate for other in own if other.method == one.method and (other.runs or other.failed)]
            if one.rate in (min(alike), max(alike)):
                yield f"{one.label} is at an end"
            above = np.array([run.right - run.chance for run in one.runs.values()])
            if interval(above)[1] <= 0:
                yield f"{one.label} may be no better than the most frequent class"

    def _minus(self, one: Setting, other: Setting) -> Values:
        return np.array([one.runs[seed].right - other.runs[seed].right for seed in self.seeds])

    def rows(self) -> Iterator[Row]:
        """What is computed beside what the answer has."""
        (look,) = self.told["looks"]
        tested = [member for member in self.members if not member.reasons]
        lacking = len(look["family"]) - len(tested)
        family = [self._minus(member.one, member.full) for member in tested]
        of_look = float(level(len(self.seeds), self.told["earlier_looks"]))
        yield "look", "seeds of the look", look["seeds"], len(self.seeds)
        yield "look", "level of the look", look["level"], of_look
        at_full = [self._pair(m, 0) for m in tested]
        at_own = [self._pair(m, 1) for m in tested]
        better, worse = method_p(family, at_full, lacking), method_p(family, at_own, lacking)
        p = {
            "p": family_p(family, lacking),
            "p_methods": [b if d.mean() > 0 else w for d, b, w in zip(family, better, worse, strict=True)],
            "p_within": family_p(family, lacking, self.margin),
            "p_within_methods": method_p(family, at_full, lacking, self.margin),
        }
        leaning = holm([*(two_way_p(d.mean(1, keepdims=True)) for d in family), *[1.0] * lacking])
        for member in self.members:
            place = next((number for number, each in enumerate(tested) if each is member), None)
            own: dict[str, Any] = {name: None if place is None else values[place] for name, values in p.items()}
            yield from self._of_member(member, own, of_look, 1.0 if place is None else leaning[place])

    def _pair(self, member: Member, which: int) -> list[Values | None]:
        """Differences at the neighbors of full fine-tuning's rate (0), or of the setting's own (1)."""
        pairs = [(member.one, near) if which == 0 else (near, member.full) for near in member.around[which]]
        return [None if one is None or other is None else self._minus(one, other) for one, other in pairs]

    def _of_member(self, member: Member, p: dict[str, Any], of_look: float, leans: float) -> Iterator[Row]:
        told, one = member.told, member.one
        d = self._minus(one, member.full)
        mean, low, high = interval(d)
        if p["p"] is not None and d.shape[1] > 1:
            few = (1 - float(self.margin) / 100) ** d.shape[1]
            p |= {name: max(p[name], few) for name in ("p_within", "p_within_methods")}
        agree = bool(abs(np.sign(d.mean(1)).sum()) == len(self.seeds))
        found = {"difference": mean, "interval": [low, high], "median": float(np.median(d.mean(1))), **p}
        found["leaning"] = p["p"] is not None and 3 <= len(self.seeds) < 7 and agree and leans <= 0.05
        found["claims"] = self._claims(found, of_look)
        found["standing"] = self._standing(found["claims"])
        found["settled"] = bool(is_settled([member.full, one], float(self.margin)))
        found |= {"learning_rate": one.rate, "updates": max(run.row["steps"] for run in one.runs.values())}
        found |= {"values": [run.right.mean() for _, run in sorted(one.runs.items())], "seeds": sorted(one.runs)}
        label = f"{member.point}, {told['label']}"
        for name, value in found.items():
            yield name, f"{label}: {name}", told[name], value
        yield "withheld", f"{label}: withheld", bool(told["withheld"]), bool(member.reasons)

    def _claims(self, found: Mapping[str, Any], of_look: float) -> list[dict[str, Any]]:
        side, seeds = "higher" if found["difference"] > 0 else "lower", len(self.seeds)
        tests = [(side, "p", "p_methods", of_look), ("within", "p_within", "p_within_methods", of_look / 2)]
        return [
            {"rule": rule, "seeds": seeds, "about_methods": found[methods] <= at, "holds": True}
            for rule, p, methods, at in tests
            if of_look and found[p] is not None and found[p] <= at
        ]

    @staticmethod
    def _standing(claims: Sequence[Mapping[str, Any]]) -> str:
        rules = {claim["rule"] for claim in claims if claim["holds"]}
        return next((rule for rule in ("higher", "within", "lower") if rule in rules), "open")


def recomputed_study(home: Path, answer: Mapping[str, Any], labels: Labels) -> list[Row]:
    """All numbers of a study beside those computed again. Args: labels: of the test part, of all classes."""
    if "study" not in answer or answer["objective"]["measure"] != "accuracy" or not answer["study"]["looks"]:
        raise SystemExit("This is no study by accuracy that was looked at: there is nothing to compute again.")
    rows: list[Row] = []
    settings = read_settings(home, answer, labels, rows)
    return [*rows, *RecomputedStudy(answer, settings).rows()]


def main(arguments: Sequence[str]) -> int:
    """Print how far the numbers of each kind are apart at most, and those that differ."""
    home, answer, labels = arguments
    rows = recomputed_study(Path(home), json.loads(Path(answer).read_text(encoding="utf-8")), labels_of(labels))
    largest = dict[str, float]()
    for kind, name, told, found in rows:
        apart = deviation(told, found)
        largest[kind] = max(largest.get(kind, 0.0), apart)
        if apart > TOLERANCES.get(kind, TOLERANCE):
            print(f"{name}: {told} is {found}  DIFFERS")
    for kind, apart in largest.items():
        print(f"{kind:<22} {sum(own == kind for own, *_ in rows):>5} numbers  {apart:.1e}")
    return int(any(apart > TOLERANCES.get(kind, TOLERANCE) or math.isnan(apart) for kind, apart in largest.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
