"""The command line that runs an experiment again, read off the specs of its runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from core.data.presets import presets_for
from core.data.sources.source import DatasetInfo
from core.data.task_spec import TaskSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec, Role
from core.methods.pretrain import PretrainSpec
from core.methods.registry import method_order, methods
from core.networks.registry import FAMILIES
from core.run_spec import OptimSpec, RunSpec, default_rate
from core.spec import bounds
from core.study.arms.tuning import TuneSpec, rates_around
from core.study.arms.verdict import MarginSpec


def compare_command(
    base: RunSpec,
    specs: Sequence[RunSpec],
    datasets: Mapping[str, DatasetInfo],
    margin: float,
    report: str = "report.html",
) -> str | None:
    """``python -m core compare`` with the options that give these runs; None where it has no such options.

    Args:
        base: what they start from, or any of the bases where each seed has its own.
        specs: of all runs, at least one.
        datasets: each dataset that occurs in them, by its name.
        margin: of the report.
        report: the file to write.
    """
    task = specs[0].task
    preset = _preset(base.task, task, datasets)
    seeds = sorted({spec.seed for spec in specs})
    options, rates = _shared_options(base, specs), _rate_options(specs)
    outputs = max(datasets[name].num_classes for name in (base.task.dataset, task.dataset))
    if preset is None or options is None or rates is None or base.network != FAMILIES[0].of(num_classes=outputs):
        return None
    if seeds != list(range(len(seeds))):
        return None
    words = ["python -m core compare", f"--source {base.task.dataset}", f"--preset {preset}"]
    words += [f"--target {task.dataset}"] if task.dataset != base.task.dataset else []
    words += [*options, *rates, f"--seeds {len(seeds)}"]
    words += ["--vary-bases"] if specs[0].own_base else []
    words += [f"--device {specs[0].device}"] if specs[0].device != "auto" else []
    words += [f"--within {margin:g}"] if margin != MarginSpec.of().within else []
    return " ".join([*words, f"--report {shlex.quote(report)}"])


def _preset(source: TaskSpec, target: TaskSpec, datasets: Mapping[str, DatasetInfo]) -> str | None:
    """The preset that gives these two tasks; None where none does."""
    two = source.dataset != target.dataset
    kind, classes = datasets[target.dataset].kind, {name: info.num_classes for name, info in datasets.items()}
    for preset in sorted(presets_for(kind).values(), key=lambda preset: preset.other_dataset != two):
        if preset.other_dataset and not two:
            continue
        first: dict[str, Any] = {"dataset": source.dataset}
        second: dict[str, Any] = {"dataset": target.dataset, **preset.views[kind]}
        if preset.halves:
            first["classes"] = tuple(range(classes[source.dataset] // 2))
            second["classes"] = tuple(range(classes[target.dataset] // 2, classes[target.dataset]))
        if (source, target) == (TaskSpec.of(**first), TaskSpec.of(**second)):
            return preset.name
    return None


def _shared_options(base: RunSpec, specs: Sequence[RunSpec]) -> list[str] | None:
    """Epochs, batch size, adapters, alpha and controls; None where runs differ in what the command shares."""
    epochs, batches = {spec.optim.epochs for spec in specs}, {spec.optim.batch_size for spec in specs}
    adapters = {spec.adapter for spec in specs if spec.adapter}
    kinds = sorted({adapter.kind for adapter in adapters}, key=method_order)
    ranks = sorted({adapter.rank for adapter in adapters})
    alphas = {adapter.alpha for adapter in adapters}
    trained_as = {spec.optim.but(learning_rate=0.1, epochs=1, batch_size=1) for spec in [base, *specs]}
    if (
        len(epochs) > 1
        or batches != {base.optim.batch_size}
        or len(alphas) != 1
        or trained_as != {OptimSpec.of(learning_rate=0.1, epochs=1, batch_size=1)}
        or base.optim.learning_rate != default_rate(PretrainSpec)
        or (base.seed and not specs[0].own_base)
        or any(adapter != type(adapter).of(rank=adapter.rank, alpha=adapter.alpha) for adapter in adapters)
        or len(adapters) != len(kinds) * len(ranks)
        or len({(spec.task, spec.device, spec.own_base) for spec in specs}) > 1
        or base.device != specs[0].device
    ):
        return None
    words = [f"--pretrain-epochs {base.optim.epochs}", f"--epochs {epochs.pop()}"]
    if base.optim.batch_size != OptimSpec.of().batch_size:
        words.append(f"--batch-size {base.optim.batch_size}")
    words += [f"--adapters {' '.join(kinds)}"] if kinds != [LoRASpec.name()] else []
    words.append(f"--rank {' '.join(map(str, ranks))}")
    if (alpha := alphas.pop()) != LoRASpec.of().alpha:
        words.append(f"--alpha {alpha:g}")
    controls = [kind for kind in methods(Role.CONTROL) if any(spec.kind == kind for spec in specs)]
    return [*words, "--controls " + " ".join(controls)] if controls else words


def _rate_options(specs: Sequence[RunSpec]) -> list[str] | None:
    """Learning rates, tuned or not; None where they are none that the command would try."""
    tried: dict[MethodSpec, set[float]] = {}
    for spec in specs:
        tried.setdefault(spec.method, set()).add(spec.optim.learning_rate)
    counts = {len(rates) for rates in tried.values()}
    if len(counts) > 1 or not methods(Role.REFERENCE).keys() & {method.kind for method in tried}:
        return None
    count = counts.pop()
    if count > (bounds(TuneSpec, "rates").high or 0):
        return None
    centres: dict[str, float] = {}
    for method, rates in tried.items():
        prior = default_rate(method)
        # A rate that these lie around: the method's default if it is one, else the middle one.
        options = [prior] if method.role is Role.CONTROL else [prior, sorted(rates)[len(rates) // 2]]
        centre = next((rate for rate in options if set(_around(rate, count)) == rates), None)
        if centre is None or centres.setdefault(method.kind, centre) != centre:
            return None
    words = [
        f"--lr-{kind} {centres[kind]!r}"
        for kind, method in (methods(Role.REFERENCE) | methods(Role.ADAPTER)).items()
        if kind in centres and centres[kind] != default_rate(method)
    ]
    return words if count == 1 else [*words, f"--tune {count}"]


def _around(centre: float, count: int) -> tuple[float, ...]:
    return (centre,) if count == 1 else rates_around(centre, TuneSpec.of(rates=count))
