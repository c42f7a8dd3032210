"""The command line that runs an experiment again, read off the specs of its runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from core.data.sources.source import DatasetInfo
from core.data.task_spec import TaskSpec
from core.methods.fields import own_fields, with_values
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec, Role
from core.methods.pretrain import PretrainSpec
from core.methods.registry import method_order, methods
from core.networks.library.known import known
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.objectives.objective import ObjectiveSpec
from core.plan.rate_grid import TuneSpec, rates_around
from core.run_spec import OptimSpec, RunSpec, default_length, default_optim, default_rate
from core.spec import bounds
from core.tasks.presets import presets_for

DIGITS = 12
"""Digits of a digest that stand for a network whose name only one machine knows."""


def compare_command(
    base: RunSpec | None,
    specs: Sequence[RunSpec],
    datasets: Mapping[str, DatasetInfo],
    report: str = "report.html",
) -> str | None:
    """``python -m core compare`` with the options that give these runs; None where it has no such options.

    Args:
        base: what they start from, or any of the bases where each seed has its own; None if there is no base.
        specs: of all runs, at least one.
        datasets: each dataset that occurs in them, by its name.
        report: the file to write.
    """
    first = specs[0]
    if (base is None) != first.is_direct:
        return None
    tasks = _task_options(base, first, datasets)
    options, rates = _shared_options(base, specs), _rate_options(specs)
    seeds = sorted({spec.seed for spec in specs})
    if tasks is None or options is None or rates is None or seeds != list(range(len(seeds))):
        return None
    words = ["python -m core compare", *tasks, *options, *rates, f"--seeds {len(seeds)}"]
    words += ["--vary-bases"] if first.own_base else []
    words += [f"--device {first.device}"] if first.device != "auto" else []
    words += _objective_options(first.objective)
    return " ".join([*words, f"--report {shlex.quote(report)}"])


def _objective_options(objective: ObjectiveSpec) -> list[str]:
    """Measure and margin, where they are not the default ones."""
    words = [f"--measure {objective.measure}"] if objective.measure else []
    return [*words, f"--within {objective.within!r}"] if objective.within is not None else words


def _task_options(base: RunSpec | None, first: RunSpec, datasets: Mapping[str, DatasetInfo]) -> list[str] | None:
    """Network, datasets, preset, shots and length; None where no options give these tasks, or this network."""
    task, network = first.task, first.network
    tasks = [task] if base is None else [base.task, task]
    outputs = max(datasets[task.dataset].num_outputs for task in tasks)
    if network != (network if network.brought else FAMILIES[0].of()).but(num_classes=outputs):
        return None
    if {task.length for task in tasks} != {task.length} or any(
        spec.network != network for spec in (base, first) if spec
    ):
        return None
    words = [] if network.brought is None else [f"--network {shlex.quote(_name(network))}"]
    plain = [task.but(length=TaskSpec.of().length) for task in tasks]
    if base is None:
        if plain[0] != TaskSpec.of(dataset=task.dataset, shots=task.shots):
            return None
        words += [f"--target {task.dataset}", "--direct"]
        words += [f"--shots {task.shots}"] if task.shots is not None else []
    else:
        preset = _preset(plain[0], plain[1], datasets)
        if preset is None:
            return None
        words += [f"--source {base.task.dataset}", *preset]
        words += [f"--target {task.dataset}"] if task.dataset != base.task.dataset else []
    return [*words, f"--length {task.length}"] if task.length != default_length(network) else words


def _name(network: NetworkSpec) -> str:
    """What the command line calls a network: a name that others can bring it by, or else the start of its digest."""
    name = network.sizes
    short = known(name)
    if short is not None:
        return short.name
    return name if "/" in name else (network.brought or "")[:DIGITS]


def _preset(source: TaskSpec, target: TaskSpec, datasets: Mapping[str, DatasetInfo]) -> list[str] | None:
    """The preset that gives these two tasks, with other shots than its own if need be; None where none does."""
    two = source.dataset != target.dataset
    info = datasets[target.dataset]
    presets = presets_for(info.kind, has_classes=info.has_classes).values()
    found: dict[bool, list[str]] = {}
    for preset in sorted(presets, key=lambda preset: preset.other_dataset != two):
        if preset.other_dataset and not two:
            continue
        first, own = preset.tasks(datasets[source.dataset], datasets[target.dataset])
        other_shots = target.shots is not None and target.shots != own.shots
        given = own.but(shots=target.shots) if other_shots else own
        if (source, target) == (first, given):
            shots = [f"--shots {target.shots}"] if other_shots else []
            found.setdefault(other_shots, [f"--preset {preset.name}", *shots])
    return found.get(False, found.get(True))


def _shared_options(base: RunSpec | None, specs: Sequence[RunSpec]) -> list[str] | None:
    """Training, adapters and controls; None where runs differ in what the command shares."""
    network = specs[0].network
    usual = default_optim(FullSpec, network)
    everything = [spec for spec in (base, *specs) if spec is not None]
    adapters = {spec.method for spec in specs if spec.role is Role.ADAPTER}
    known = {method.kind: type(method) for method in sorted(adapters, key=lambda method: method_order(method.kind))}
    fields = own_fields(known.values())
    targets = {method.targets for method in adapters}
    values = {
        field.key: sorted({getattr(m, field.name) for m in adapters if type(m) in field.methods}) for field in fields
    }
    alike = {spec.optim.but(learning_rate=usual.learning_rate, epochs=usual.epochs) for spec in everything}
    if (
        len({spec.optim.epochs for spec in specs}) > 1
        or len(alike) > 1
        or len(targets) != 1
        or any(len(values[field.key]) > 1 for field in fields if not field.is_size)
        or len({(spec.task, spec.network, spec.device, spec.own_base, spec.objective) for spec in specs}) > 1
    ):
        return None
    (layers,) = targets
    given = {field.key: values[field.key] if field.is_size else values[field.key][0] for field in fields}
    if adapters != {method for kind in known.values() for method in with_values(kind, fields, given, layers)}:
        return None
    words = []
    if base is not None:
        if (
            base.optim.learning_rate != default_rate(PretrainSpec, network)
            or (base.seed and not specs[0].own_base)
            or base.device != specs[0].device
        ):
            return None
        words.append(f"--pretrain-epochs {base.optim.epochs}")
    words.append(f"--epochs {specs[0].optim.epochs}")
    optim = alike.pop()
    words += [
        f"--{field.replace('_', '-')} {value if isinstance(value, str) else repr(value)}"
        for field in OptimSpec.model_fields
        if (value := getattr(optim, field)) != getattr(usual, field)
    ]
    words += [f"--adapters {' '.join(known)}"] if list(known) != [LoRASpec.name()] else []
    for field in fields:
        if field.is_size or given[field.key] != field.about.default:
            own = " ".join(shlex.quote(str(value).removesuffix(".0")) for value in values[field.key])
            words.append(f"--{field.key.replace('_', '-')} {own}")
    words += [f"--targets {shlex.join(layers)}"] if layers != LoRASpec.of().target_modules else []
    controls = [kind for kind in methods(Role.CONTROL) if any(spec.kind == kind for spec in specs)]
    return [*words, "--controls " + " ".join(controls)] if controls else words


def _rate_options(specs: Sequence[RunSpec]) -> list[str] | None:
    """Learning rates, tuned or not; None where they are none that the command would try."""
    network = specs[0].network
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
        prior = default_rate(method, network)
        # A rate that these lie around: the method's default if it is one, else the middle one.
        options = [prior] if method.role is Role.CONTROL else [prior, sorted(rates)[len(rates) // 2]]
        centre = next((rate for rate in options if set(_around(rate, count)) == rates), None)
        if centre is None or centres.setdefault(method.kind, centre) != centre:
            return None
    words = [
        f"--lr-{kind} {centres[kind]!r}"
        for kind, method in (methods(Role.REFERENCE) | methods(Role.ADAPTER)).items()
        if kind in centres and centres[kind] != default_rate(method, network)
    ]
    return words if count == 1 else [*words, f"--tune {count}"]


def _around(centre: float, count: int) -> tuple[float, ...]:
    return (centre,) if count == 1 else rates_around(centre, TuneSpec.of(rates=count))
