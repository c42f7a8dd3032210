"""What arms say together: means with intervals, differences paired by seed, and what may be claimed of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.runs.record import Run
from core.spec import LoRASpec, Method, RunSpec
from core.study.intervals import ERROR_RATE, LEAST_SEEDS, Interval, seeds_needed, t_interval
from core.study.measures import MEASURES, MeasureName
from core.study.wording import bytes_text, count_text, listed, number_text, points_text, seconds_text, times_text


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


def arm_order(spec: RunSpec) -> tuple[Any, ...]:
    """Sort key of arms: full first, LoRA by rank, alpha and learning rate, pretraining last."""
    method = ("full", "lora", "pretrain").index(spec.method)
    rank, alpha = (spec.lora.rank, spec.lora.alpha) if spec.lora else (0, 0.0)
    return method, rank, alpha, spec.optim.learning_rate, spec.arm


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


class Finding(StrEnum):
    """What a difference allows to claim."""

    A_HIGHER = "a higher"
    B_HIGHER = "b higher"
    NOT_SHOWN = "no difference shown"


@dataclass(frozen=True)
class Difference:
    """One measure of arm ``a`` minus that of arm ``b``, paired by seed."""

    a: str
    """Label of the arm."""
    b: str
    measure: MeasureName
    seeds: tuple[int, ...]
    """Those that both arms have."""
    interval: Interval
    """Of the mean difference, in the measure's unit (points where that is percent)."""
    finding: Finding
    seeds_needed: int | None
    """Seeds that would show a difference of the observed size; None where the spread is unknown or nothing differs."""


def paired_difference(a: Arm, b: Arm, measure: MeasureName, comparisons: int = 1) -> Difference:
    """The difference of two arms over the seeds that both have, and whether it may be claimed.

    A seed fixes data order and the draw of A for both arms, so pairing takes their common noise out.

    Args:
        a: the arm that is subtracted from.
        b: the arm that is subtracted.
        measure: what is compared.
        comparisons: pairs among which this one was picked. The interval covers 1 − 0.05 / comparisons,
            so that all of them hold together in 95 % of cases (Bonferroni; Dunn, JASA 56, 1961).
    """
    left, right = a.by_seed(measure), b.by_seed(measure)
    seeds = tuple(seed for seed in sorted(left) if seed in right)
    differences = [left[seed] - right[seed] for seed in seeds]
    interval = t_interval(differences, 1 - ERROR_RATE / comparisons)
    finding = Finding.NOT_SHOWN
    if MEASURES[measure].exact:
        low, high = min(differences, default=0.0), max(differences, default=0.0)
    else:
        low, high = (interval.low, interval.high) if len(seeds) >= LEAST_SEEDS else (-math.inf, math.inf)
    # NaN compares as false, so it never leads to a claim.
    if low > 0:
        finding = Finding.A_HIGHER
    elif high < 0:
        finding = Finding.B_HIGHER
    return Difference(a.label, b.label, measure, seeds, interval, finding, seeds_needed(differences, comparisons))


def comparable(runs: Iterable[Run]) -> list[str]:
    """What stands in the way of a fair comparison of these runs, one sentence each; empty where nothing does.

    Pretrain runs are left out where others are there: they are the base, not a side.
    """
    everything = list(runs)
    chosen = [run for run in everything if run.spec.method != "pretrain"] or everything
    arms, specs = arms_of(chosen), [run.spec for run in chosen]
    rates = {method: {s.optim.learning_rate for s in specs if s.method == method} for method in ("full", "lora")}
    few = [arm.label for arm in arms if len(arm.runs) < LEAST_SEEDS]
    stopped = [arm.label for arm in arms if any(run.state == "stopped" for run in arm.runs)]
    failed = sum(run.state == "failed" for run in chosen)
    pending = sum(run.is_live or run.state == "interrupted" for run in chosen)
    devices = sorted({run.result.device for run in chosen if run.result})
    checks = [
        (len({s.base for s in specs}) > 1, "These runs start from different bases: a difference may come from there."),
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
        (bool(few), f"Fewer than {LEAST_SEEDS} seeds in {listed(few)}: no difference can be shown; run more."),
        (bool(stopped), f"A run of {listed(stopped)} was stopped early: its numbers are those of a shorter training."),
        (failed > 0, f"{_counted(failed, 'run')} failed: the means are only of those that did not."),
        (pending > 0, f"{_counted(pending, 'run')} still to finish: the numbers will change."),
        (len(devices) > 1, f"These runs trained on {listed(devices)}: their times do not compare."),
    ]
    return [sentence for applies, sentence in checks if applies]


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def verdict(arms: Sequence[Arm]) -> str:
    """Full fine-tuning or LoRA: what these arms say, in one or two sentences that claim no more than they may.

    Of several arms of a method the one with the best mean accuracy is taken, and the interval is
    widened for having picked it among that many pairs.
    """
    pairs = [
        (full, lora)
        for full in arms
        for lora in arms
        if full.method == "full" and lora.method == "lora"
        if (full.spec.base, full.spec.task) == (lora.spec.base, lora.spec.task)
    ]
    if not pairs:
        if {"full", "lora"} <= {arm.method for arm in arms}:
            return "No verdict: full fine-tuning and LoRA started from different bases or learnt different tasks."
        return "No verdict yet: it takes results of full fine-tuning and of LoRA on the same base and task."
    full, lora = max(pairs, key=lambda pair: sum(_rank_of(arm) for arm in pair))
    accuracy = paired_difference(lora, full, "accuracy", comparisons=len(pairs))
    return f"{_accuracy_sentence(accuracy)} {_cost_sentence(full, lora)}"


def _rank_of(arm: Arm) -> float:
    mean = arm.interval("accuracy").mean
    return mean if math.isfinite(mean) else -math.inf


def _accuracy_sentence(difference: Difference) -> str:
    lora, full, interval = difference.a, difference.b.replace("Full", "full fine-tuning", 1), difference.interval
    if not difference.seeds:
        return f"{lora} and {full} share no seed, so their accuracies cannot be paired."
    seeds = _counted(interval.n, "seed")
    if interval.n < LEAST_SEEDS:
        shown = f"{lora} against {full}: {points_text(interval.mean)} of accuracy with {seeds}"
        return f"{shown}; a claim takes at least {LEAST_SEEDS}."
    if difference.finding is not Finding.NOT_SHOWN:
        return f"{lora} is {_more_or_less(difference, 'accurate')} than {full} ({_span(interval)}, {seeds})."
    need = difference.seeds_needed
    more = f"; a difference of this size takes about {count_text(need)} seeds" if need else ""
    shown = f"{points_text(interval.mean)}, {_span(interval)}"
    return f"No difference in accuracy is shown between {lora} and {full} with {seeds} ({shown}{more})."


def _cost_sentence(full: Arm, lora: Arm) -> str:
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
    if forgot := _forgetting_clause(full, lora):
        clauses.append(forgot)
    return f"{listed([clause for clause in clauses if clause])}."


def _forgetting_clause(full: Arm, lora: Arm) -> str:
    """What is said of forgetting; nothing where the target is the source or was not measured on it."""
    # With classes left out, plain forgetting mostly shows which outputs the head now prefers.
    masked = bool(lora.spec.source and lora.spec.source.classes)
    difference = paired_difference(lora, full, "forgetting_masked" if masked else "forgetting")
    if lora.spec.source == lora.spec.task or difference.interval.n < 2:
        return ""
    if difference.finding is Finding.NOT_SHOWN:
        return f"showed no difference in forgetting ({_span(difference.interval)})"
    return f"forgot {_more_or_less(difference, 'of the source')} ({_span(difference.interval)})"


def _more_or_less(difference: Difference, what: str) -> str:
    side = "more" if difference.interval.mean > 0 else "less"
    return f"{number_text(abs(difference.interval.mean))} points {side} {what}"


def _span(interval: Interval) -> str:
    return f"95 % interval {points_text(interval.low)} to {points_text(interval.high)}".replace(" points to", " to")
