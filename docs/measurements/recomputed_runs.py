"""What the runs of an answer left in their folders, and what validation chooses; nothing of the lab is imported."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from docs.measurements.recomputed_statistics import Values, interval

Labels = NDArray[np.int64]
Row = tuple[str, str, Any, Any]
"""Kind of a number, its name, the one of the answer, and the one that was computed."""

PACKED = Path(__file__).parents[2] / "core" / "data" / "sources"
"""Folder of the data that comes along."""
OF_RUNS, VALIDATED = "measures of runs", "validation of runs"
FULL = ("full", None)


def labels_of(source: str) -> Labels:
    """The labels of a test part, of all classes. Args: source: LABELS."""
    if source == "digits":
        known = load_digits().target
        return np.asarray(train_test_split(known, test_size=0.2, stratify=known, random_state=0)[1], np.int64)
    if source == "definitions" or source.endswith(".csv.gz"):
        path = PACKED / "definitions.csv.gz" if source == "definitions" else Path(source)
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            texts = list(csv.DictReader(lines))
        names = sorted({text["label"] for text in texts})
        return np.array([names.index(text["label"]) for text in texts if text["part"] == "test"])
    path = PACKED / "mnist-16k-test-labels-idx1-ubyte.gz" if source == "mnist-16k" else Path(source)
    path = next(path.rglob("t10k-labels-idx1-ubyte*")) if path.is_dir() else path
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return np.frombuffer(content, np.uint8, offset=8).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Run:
    """What a run left in its folder; ``right`` is 100 for each test example that it named rightly, else 0, and
    ``chance`` the same of naming the most frequent class.
    """

    id: str
    spec: Mapping[str, Any]
    row: Mapping[str, Any]
    curves: Mapping[str, Values]
    right: Values
    chance: Values
    measures: Mapping[str, float]
    validated: float = math.nan

    @classmethod
    def read(cls, folder: Path, labels: Labels) -> Run:
        """Read its files. Args: folder: of the run; labels: of the test part, of all classes."""
        kept = json.loads(json.loads((folder / "run.json").read_bytes())["rows"])
        row, epochs = kept["runs"][0], [json.loads(epoch["measures"]) for epoch in kept["epochs"]]
        curves = {name: np.array([epoch.get(name, np.nan) for epoch in epochs]) for name in (epochs or [{}])[0]}
        spec, measures = json.loads(row["spec"]), dict[str, float]()
        right = chance = np.empty(0)
        if (folder / "predictions.safetensors").exists():
            found, classes = load_file(folder / "predictions.safetensors"), spec["task"]["classes"]
            truth = labels if classes is None else labels[np.isin(labels, classes)]
            if truth.shape != found["predicted"].shape:
                raise SystemExit(f"{folder.name} has {len(found['predicted'])} answers for {len(truth)} labels.")
            right = np.where(found["predicted"] == truth, 100.0, 0.0)
            chance = np.where(truth == np.bincount(truth).argmax(), 100.0, 0.0)
            measures = {"accuracy": right.mean(), "largest_class": chance.mean()}
            if "losses" in found:
                measures["loss"] = found["losses"].astype(np.float64).mean()
        return cls(folder.name, spec, row, curves, right, chance, measures)

    def key(self, rate: bool = True) -> str:
        """What the runs of a setting have in common. Args: rate: with the learning rate."""
        spec = {name: own for name, own in self.spec.items() if name not in ("seed", "schema")}
        spec["optim"] = {name: own for name, own in spec["optim"].items() if rate or name != "learning_rate"}
        return json.dumps(spec | ({"base": None} if spec.get("own_base") else {}), sort_keys=True)


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs that differ in their seeds alone: by seed those that finished, and which failed or were to be there."""

    label: str
    first: Run
    arm: Mapping[str, Any] = field(default_factory=dict)
    runs: Mapping[int, Run] = field(default_factory=dict)
    failed: frozenset[int] = frozenset()
    seeds: frozenset[int] = frozenset()
    tried: Mapping[int, Setting] = field(default_factory=dict)
    """By number of epochs the best of its method and rank, where several numbers were tried."""

    @property
    def method(self) -> tuple[str, int | None]:
        """Its method and rank."""
        return self.first.spec["method"]["kind"], self.first.spec["method"].get("rank")

    @property
    def name(self) -> str:
        """The same as in looks."""
        return " ".join(map(str, self.method))

    @property
    def optim(self) -> Mapping[str, Any]:
        """How it was trained."""
        return self.first.spec["optim"]

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return int(self.optim["epochs"])

    @property
    def rate(self) -> float:
        """Its learning rate."""
        return float(self.optim["learning_rate"])

    @property
    def trained(self) -> int:
        """Number of its trainable parameters."""
        return int(self.arm["trainable_parameters"])

    def gains(self) -> dict[int, float]:
        """What three times the epochs would add, by seed, where that is known."""
        if self.optim["patience"]:
            return {}
        if self.optim["decay"] != "constant":
            third = self.beside(longer=False)
            both = self.runs.keys() & third.runs.keys() if third else set()
            return {seed: self.runs[seed].validated - third.runs[seed].validated for seed in both} if third else {}
        late = self.epochs >= 10
        return {seed: slope(run.curves["validation_accuracy"]) for seed, run in self.runs.items() if late}

    def beside(self, longer: bool) -> Setting | None:
        """The best with three times the epochs, or with a third of them; None where that was not tried."""
        for epochs, other in self.tried.items():
            fewer, more = (self.epochs, epochs) if longer else (epochs, self.epochs)
            if fewer < more and (more == 3 * fewer or fewer == max(1, round(more / 3))):
                return other
        return None

    def at(self, epochs: int) -> Setting | None:
        """The same, or the best with another number of epochs; None where that was not trained."""
        other = self if epochs == self.epochs else self.tried.get(epochs)
        return replace(other, tried=self.tried) if other is not None and other.runs else None

    def better(self, longer: bool) -> float | None:
        """By how much that is better on the validation part; None where it was not tried."""
        other = self.beside(longer)
        if other is None:
            return None
        seeds = shared([self.tried[self.epochs], other])
        return other.mean(seeds) - self.tried[self.epochs].mean(seeds)

    def mean(self, seeds: Iterable[int]) -> float:
        """On the validation part."""
        return round(fmean(self.runs[seed].validated for seed in seeds), 9)


def slope(curve: Values) -> float:
    """What a curve gains per tripling of the epochs, by a line through its last two thirds."""
    at = [epoch for epoch in range(1, len(curve) + 1) if 3 * epoch > len(curve) and not math.isnan(curve[epoch - 1])]
    return float(np.polyfit([math.log(epoch, 3) for epoch in at], [curve[epoch - 1] for epoch in at], 1)[0])


def is_settled(settings: Iterable[Setting], margin: float) -> bool | None:
    """Whether no other number of epochs is better by half the margin; None where that is not known."""
    found = set()
    for one in settings:
        if has_better(one, margin):
            found.add(False)
            continue
        if one.better(longer=True) is not None:
            found.add(True)
            continue
        gains = [*one.gains().values()]
        known = len(gains) == len(one.runs) >= 3
        _, low, high = interval(np.array(gains)[:, None], 0.1) if known else (0, -math.inf, math.inf)
        found.add(True if high < margin / 2 else False if low > 0 else None)
    return False if False in found else None if None in found or not found else True


def has_better(one: Setting, margin: float) -> bool:
    """Whether another number of epochs was tried that is better by more than half the margin."""
    return any((one.better(longer) or 0.0) > margin / 2 + 1e-9 for longer in (False, True))


def read_settings(home: Path, answer: Mapping[str, Any], labels: Labels, rows: list[Row]) -> list[Setting]:
    """The settings of an answer. Args: rows: to which those of single runs are added."""
    found: dict[str, Setting] = {}
    for arm in answer["arms"]:
        for place, id in enumerate(arm["runs"]):
            run = replace(Run.read(home / "runs" / id, labels), validated=arm["validation_accuracy"][place])
            seed, key, curve = run.spec["seed"], run.key(), run.curves.get("validation_accuracy")
            for name, told in arm["measures"].items():
                if name in run.measures:
                    rows.append((OF_RUNS, f"{arm['label']}, seed {seed}: {name}", told[place], run.measures[name]))
            if curve is not None:
                kept = curve[json.loads(run.row["result"])["kept_epoch"] - 1]
                rows.append((VALIDATED, f"{arm['label']}, seed {seed}: validation", run.validated, kept))
            known = found.get(key) or Setting(arm["label"], run, arm)
            ended = {seed: run} if run.row["state"] == "finished" else {}
            broken = {seed} if ended and not math.isfinite(run.validated) else set()
            known = replace(known, runs={**known.runs, **ended}, failed=known.failed | broken)
            found[key] = replace(known, seeds=known.seeds | {seed})
    for lost in answer["missing"]:
        run = Run.read(home / "runs" / lost["run"], labels)
        known, seed = found.get(run.key()) or Setting(lost["label"], run), {run.spec["seed"]}
        failed = known.failed | (seed if lost["state"] == "failed" else set())
        found[run.key()] = replace(known, failed=failed, seeds=known.seeds | seed)
    return list(found.values())


def of_chosen_epochs(settings: Sequence[Setting], margin: float) -> list[Setting]:
    """Those of each method and rank with the fewest epochs within half a margin of its best, among the numbers of
    epochs that have the most seeds, and over these.
    """
    found: list[Setting] = []
    for method in dict.fromkeys(one.method for one in settings):
        own = [one for one in settings if one.method == method]
        able = sorted((one for one in own if one.runs and not one.failed), key=lambda one: one.rate)
        if len({one.epochs for one in own}) == 1 or not able:
            found += own
            continue
        tried: dict[int, Setting] = {}
        for epochs in sorted({one.epochs for one in able}):
            here = [one for one in able if one.epochs == epochs]
            here = [one for one in here if len(one.runs) == max(len(other.runs) for other in here)]
            tried[epochs] = max(here, key=lambda one: one.mean(shared(here)))
        most = max(len(one.runs) for one in tried.values())
        whole = {epochs: one for epochs, one in tried.items() if len(one.runs) == most}
        chosen = _fewest_good(whole, shared(whole.values()), margin)
        found += [replace(one, tried=tried) for one in own if one.epochs == chosen]
    return found


def _fewest_good(tried: Mapping[int, Setting], seeds: frozenset[int], margin: float) -> int:
    best = max(one.mean(seeds) for one in tried.values())
    return min(epochs for epochs, one in tried.items() if best - one.mean(seeds) <= margin / 2 + 1e-9)


def able_of(settings: Iterable[Setting], planned: frozenset[int]) -> list[Setting]:
    """Those that may be chosen: without a failed seed, and with all seeds if one of them has all."""
    able = [one for one in settings if one.runs and not one.failed]
    return [one for one in able if one.runs.keys() == planned] or able


def shared(settings: Iterable[Setting]) -> frozenset[int]:
    """Seeds that all of them have finished."""
    return frozenset.intersection(*(frozenset(one.runs) for one in settings))


def chosen_of(settings: Sequence[Setting]) -> tuple[dict[tuple[str, int | None], Setting], Setting | None]:
    """What validation chooses of each method and rank, and of all adapters."""
    planned, groups = frozenset[int]().union(*(one.seeds for one in settings)), defaultdict(list)
    for one in settings:
        groups[one.method].append(one)
    able = {method: own for method, every in groups.items() if (own := able_of(every, planned))}
    common = shared(one for own in able.values() for one in own) if able else frozenset()

    def best(own: Sequence[Setting]) -> Setting:
        seeds = planned if own[0].runs.keys() == planned else common or shared(own)
        means = {one: round(fmean(one.runs[seed].validated for seed in seeds), 9) for one in own}
        alphas = {one: one.first.spec["method"].get("alpha", 0) for one in own}
        return min(own, key=lambda one: (-means[one], one.trained, one.rate, alphas[one]))

    adapters = able_of((one for one in settings if one.method[1]), planned)
    return {method: best(own) for method, own in able.items()}, best(adapters) if adapters else None
