"""What arms say together: means with intervals, differences paired by seed, and what may be claimed of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.spec import CONTROLS, LoRASpec, Method, RunSpec, TaskSpec
from core.store.record import Run
from core.study.stats.claims import (
    Difference,
    Finding,
    Pair,
    accuracy_sentence,
    differences_of,
    more_or_less,
    span_text,
)
from core.study.stats.intervals import LEAST_SEEDS, Interval, t_interval
from core.study.stats.measures import MEASURES, MeasureName
from core.wording.numbers import bytes_text, count_text, listed, seconds_text, times_text


@dataclass(frozen=True)
class Arm:
    """The runs that differ in nothing but the seed, one a seed, by seed; all have results."""

    key: str
    """:attr:`core.spec.RunSpec.arm` of every run."""
    label: str
    method: Method
    lora: LoRASpec | None
    learning_rate: float
    runs: tuple[Run, ...]

    @property
    def place(self) -> Place:
        """What it stands for among arms that differ only in how they were tuned; see :data:`Place`."""
        return place_of(self.spec)

    @property
    def spec(self) -> RunSpec:
        """The spec of the first run: right for all in everything but the seed."""
        return self.runs[0].spec

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, ascending."""
        return tuple(run.spec.seed for run in self.runs)

    def by_seed(self, measure: MeasureName) -> dict[int, float]:
        """The measure of each run that has it. NaN is a value; a run without one is left out."""
        read = MEASURES[measure].of
        found = {run.spec.seed: read(run.result) for run in self.runs if run.result is not None}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    def values(self, measure: MeasureName) -> tuple[float, ...]:
        """The measure of each run that has it, by seed."""
        return tuple(self.by_seed(measure).values())

    def interval(self, measure: MeasureName) -> Interval:
        """Mean and 95 % Student-t interval over the seeds."""
        return t_interval(self.values(measure))


Place = tuple[str | None, TaskSpec, str, int | None]
"""Base, task, method or control, and rank: arms of one place are the same thing, tuned in different ways."""


def place_of(spec: RunSpec) -> Place:
    """The place of an arm."""
    return spec.start, spec.task, spec.control or spec.method, spec.lora.rank if spec.lora else None


def _kind(spec: RunSpec) -> str:
    return "control" if spec.control else spec.method


def arm_order(spec: RunSpec) -> tuple[Any, ...]:
    """Sort key of arms: full first, LoRA by rank, alpha and learning rate, controls, pretraining last."""
    method = ("full", "lora", "pretrain").index(spec.method)
    control = list(CONTROLS).index(spec.control) + 1 if spec.control else 0
    rank, alpha = (spec.lora.rank, spec.lora.alpha) if spec.lora else (0, 0.0)
    return (method == 2, control, method, rank, alpha, spec.optim.learning_rate, spec.arm)


def arms_of(runs: Iterable[Run]) -> list[Arm]:
    """The arms among runs that have results, in :func:`arm_order`, with labels of :func:`labels_of`.

    The same spec gives the same numbers, so a seed that was run twice counts once: the finished
    run before a stopped one, then the latest. Counting it twice would make intervals too narrow.
    """
    everything = list(runs)
    labels = labels_of(run.spec for run in everything)
    by_arm: dict[str, dict[int, Run]] = {}
    for run in sorted(everything, key=lambda run: (run.state == "finished", run.created)):
        if run.result is not None:
            by_arm.setdefault(run.spec.arm, {})[run.spec.seed] = run
    arms = []
    for key, by_seed in by_arm.items():
        members = tuple(by_seed[seed] for seed in sorted(by_seed))
        spec = members[0].spec
        arms.append(Arm(key, labels[key], spec.method, spec.lora, spec.optim.learning_rate, members))
    return sorted(arms, key=lambda arm: arm_order(arm.spec))


def labels_of(specs: Iterable[RunSpec]) -> dict[str, str]:
    """A name for every arm, by its key; arms that would share one also say what they differ in."""
    by_label: dict[str, dict[str, RunSpec]] = {}
    for spec in specs:
        by_label.setdefault(spec.label, {})[spec.arm] = spec
    labels: dict[str, str] = {}
    for label, sharing in by_label.items():
        settings = {key: _settings(spec) for key, spec in sharing.items()}
        names = [name for name in next(iter(settings.values())) if len({s[name] for s in settings.values()}) > 1]
        labels |= {key: ", ".join([label, *(f"{name} {s[name]}" for name in names)]) for key, s in settings.items()}
    return labels


def _settings(spec: RunSpec) -> dict[str, str]:
    """Every setting but the seed under a short name, those first that people vary most."""
    parts = spec.model_dump(mode="json", exclude={"seed", "method"})
    found = {}
    for part, prefix in (("lora", ""), ("optim", ""), ("task", ""), ("source", "source "), ("model", "")):
        for field, value in (parts.pop(part) or {}).items():
            name = prefix + {"learning_rate": "lr", "target_modules": "layers"}.get(field, field.replace("_", " "))
            found[name] = _setting_text(field, value)
    return found | {name: _setting_text(name, value) for name, value in parts.items()}


def _setting_text(field: str, value: Any) -> str:
    if value is None:
        return "all" if field in ("classes", "shots") else "none"
    if isinstance(value, float):
        # Two values that differ must read differently, so the short form only stands where it is exact.
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def paired_differences(pairs: Sequence[tuple[Arm, Arm]], measure: MeasureName) -> list[Difference]:
    """For each pair the first arm minus the second; see :func:`core.study.stats.claims.differences_of`.

    Args:
        pairs: all that are compared to answer one question: each claim is corrected for the others.
        measure: what is compared.
    """
    return differences_of([Pair(a.label, b.label, a.by_seed(measure), b.by_seed(measure)) for a, b in pairs], measure)


def paired_difference(a: Arm, b: Arm, measure: MeasureName) -> Difference:
    """One difference that stands alone."""
    return paired_differences([(a, b)], measure)[0]


def lora_against_full(arms: Sequence[Arm], validation: Mapping[str, float] | None = None) -> list[tuple[Arm, Arm]]:
    """The pairs of a LoRA and a full arm that answer whether LoRA keeps up, in :func:`arm_order`; no controls.

    Args:
        arms: of one experiment or more; only those on the same base and task are paired.
        validation: accuracy on the validation part of each run by id, in percent. Where given, each method is
            tuned first, by :func:`chosen_arms`.
    """
    taken = list(arms) if validation is None else chosen_arms(arms, validation)
    return [(lora, full) for lora, full in against_full(taken) if lora.method == "lora"]


def against_full(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Every LoRA arm and every control, each with every full arm on the same base and task."""
    return [
        (other, full)
        for full in arms
        for other in arms
        if _kind(full.spec) == "full" and _kind(other.spec) in ("lora", "control")
        if (full.spec.start, full.spec.task) == (other.spec.start, other.spec.task)
    ]


def chosen_arms(arms: Sequence[Arm], validation: Mapping[str, float] | None) -> list[Arm]:
    """Of each :data:`Place` the arm with the best mean on the validation part, in :func:`arm_order`.

    Only arms with the most seeds of their place are looked at.

    All methods choose among the seeds they are compared on, so what luck adds to one it adds to the other, as long
    as all tried about as many settings: :func:`comparable` warns where they did not. The test part takes no part.

    Args:
        arms: of one experiment.
        validation: accuracy on the validation part of each run by id, in percent; None leaves all arms as they are.
    """
    if validation is None:
        return list(arms)

    def worth(arm: Arm) -> tuple[int, float]:
        # A setting that failed for some seeds must not win by those that it got through.
        return len(arm.runs), validated(arm, validation)

    best: dict[Place, Arm] = {}
    for arm in arms:
        if arm.place not in best or worth(arm) > worth(best[arm.place]):
            best[arm.place] = arm
    return sorted(best.values(), key=lambda arm: arm_order(arm.spec))


def validation_of(arms: Iterable[Arm]) -> dict[str, float] | None:
    """Accuracy on the validation part of each run, by id, in percent; None where a run has none to choose by."""
    found = {run.id: run.result.validation_accuracy if run.result else None for arm in arms for run in arm.runs}
    known = {id: value for id, value in found.items() if value is not None}
    return known if len(known) == len(found) else None


def validated(arm: Arm, validation: Mapping[str, float]) -> float:
    """Mean accuracy on the validation part over the runs, in percent; below everything where one has none."""
    mean = float(np.mean([validation.get(run.id, math.nan) for run in arm.runs]))
    return mean if math.isfinite(mean) else -math.inf


def comparable(runs: Iterable[Run]) -> list[str]:
    """What stands in the way of a fair comparison of these runs, one sentence each; empty where nothing does.

    Pretrain runs are left out where others are there: they are the base, not a side.
    """
    everything = list(runs)
    chosen = [run for run in everything if run.spec.method != "pretrain"] or everything
    arms, specs = arms_of(chosen), [run.spec for run in chosen]
    rates = {kind: {s.optim.learning_rate for s in specs if _kind(s) == kind} for kind in ("full", "lora")}
    tried = _rates_tried(specs)
    few = [arm.label for arm in arms if len(arm.runs) < LEAST_SEEDS]
    stopped = [arm.label for arm in arms if any(run.state == "stopped" for run in arm.runs)]
    failed = sum(run.state == "failed" for run in chosen)
    pending = sum(run.is_live or run.state == "interrupted" for run in chosen)
    devices = sorted({run.result.device for run in chosen if run.result})
    checks = [
        (_bases_differ(specs), "These runs start from different bases: a difference may come from there."),
        (len({s.task for s in specs}) > 1, "These runs learn different tasks, so their accuracies do not compare."),
        (
            len({s.optim.epochs for s in specs}) > 1,
            "These runs train for different numbers of epochs: the longer ones have an advantage.",
        ),
        (
            len({s.optim.batch_size for s in specs}) > 1,
            "These runs use different batch sizes, so they take different numbers of steps an epoch.",
        ),
        (
            len({arm.seeds for arm in arms}) > 1,
            "Not every arm has the same seeds: a difference between two arms uses only those that both have.",
        ),
        (
            len(rates["full"]) == 1 and rates["full"] == rates["lora"],
            "Full fine-tuning and LoRA share one learning rate: this usually handicaps LoRA, "
            "whose best rate is often several times higher.",
        ),
        (
            0 not in tried.values() and tried["full"] != tried["lora"],
            f"Full fine-tuning was tried at {_counted(tried['full'], 'learning rate')} and LoRA at {tried['lora']}: "
            "the one with more to choose from has an advantage.",
        ),
        (bool(few), f"Fewer than {LEAST_SEEDS} seeds in {listed(few)}: their intervals say next to nothing; run more."),
        (bool(stopped), f"A run of {listed(stopped)} was stopped early: its numbers are those of a shorter training."),
        (failed > 0, f"{_counted(failed, 'run')} failed: the means are only of those that did not."),
        (pending > 0, f"{_counted(pending, 'run')} still to finish: the numbers will change."),
        (len(devices) > 1, f"These runs trained on {listed(devices)}: their times do not compare."),
    ]
    return [sentence for applies, sentence in checks if applies]


def _bases_differ(specs: Sequence[RunSpec]) -> bool:
    """Whether arms start from different bases; bases that go with the seeds must be the same for all of a seed."""
    by_seed: dict[int | None, set[str | None]] = {}
    for spec in specs:
        by_seed.setdefault(spec.seed if spec.own_base else None, set()).add(spec.base)
    return len({spec.start for spec in specs}) > 1 or any(len(bases) > 1 for bases in by_seed.values())


def _rates_tried(specs: Iterable[RunSpec]) -> dict[str, int]:
    """Learning rates that each method could choose among; of LoRA the most that any other setting had."""
    rates: dict[tuple[str, LoRASpec | None], set[float]] = {}
    for spec in specs:
        rates.setdefault((_kind(spec), spec.lora), set()).add(spec.optim.learning_rate)
    return {
        method: max((len(found) for (of, _), found in rates.items() if of == method), default=0)
        for method in ("full", "lora")
    }


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def verdict(arms: Sequence[Arm], validation: Mapping[str, float] | None = None) -> str:
    """Full fine-tuning or LoRA: what these arms say, in one or two sentences that claim no more than they may.

    Of several pairs the one with the best means is told of, and its claim is corrected for all of them.

    Args:
        arms: of one experiment.
        validation: what the best are picked by; see :func:`lora_against_full`. Without it every pair counts as a
            comparison of its own, and the best are picked by the test part, which only the correction makes fair.
    """
    pairs = lora_against_full(arms, validation)
    if not pairs:
        if {"full", "lora"} <= {arm.method for arm in arms}:
            return "No verdict: full fine-tuning and LoRA started from different bases or learnt different tasks."
        return "No verdict yet: it takes results of full fine-tuning and of LoRA on the same base and task."

    def worth(arm: Arm) -> float:
        mean = arm.interval("accuracy").mean if validation is None else validated(arm, validation)
        return mean if math.isfinite(mean) else -math.inf

    differences = paired_differences(pairs, "accuracy")
    told = max(range(len(pairs)), key=lambda i: sum(map(worth, pairs[i])))
    return f"{accuracy_sentence(differences[told])} {_cost_sentence(*pairs[told])}"


def _cost_sentence(lora: Arm, full: Arm) -> str:
    many, few = (arm.interval("trainable_parameters").mean for arm in (full, lora))
    ratio = f"{times_text(many / few)} times fewer" if few < many else f"{times_text(few / many)} times as many"
    slow, fast = (arm.interval("seconds").mean for arm in (full, lora))
    clauses = [
        f"It trained {ratio} parameters ({count_text(few)} against {count_text(many)})",
        f"took {times_text(fast / slow)} times the training time ({seconds_text(fast)} against {seconds_text(slow)})"
        if slow
        else "",
    ]
    if lora.values("adapter_bytes"):
        adapter, checkpoint = lora.interval("adapter_bytes").mean, full.interval("checkpoint_bytes").mean
        clauses.append(f"is stored as a {bytes_text(adapter)} adapter instead of a {bytes_text(checkpoint)} checkpoint")
    if forgot := _forgetting_clause(lora, full):
        clauses.append(forgot)
    return f"{listed([clause for clause in clauses if clause])}."


def _forgetting_clause(lora: Arm, full: Arm) -> str:
    """What is said of forgetting; nothing where the target is the source or was not measured on it."""
    # With classes left out, plain forgetting mostly shows which outputs the head now prefers.
    masked = bool(lora.spec.source and lora.spec.source.classes)
    difference = paired_difference(lora, full, "forgetting_masked" if masked else "forgetting")
    if lora.spec.source == lora.spec.task or not math.isfinite(difference.interval.half_width):
        return ""
    much, span = more_or_less(difference, "of the source"), span_text(difference.interval)
    if difference.finding is not Finding.NOT_SHOWN:
        return f"forgot {much} ({span})"
    if difference.interval.low <= 0 <= difference.interval.high:
        return f"showed no difference in forgetting ({span})"
    return f"was seen to forget {much} ({span}, not enough seeds for a claim)"
