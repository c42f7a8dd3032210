"""The scale of low-rank adapters: ``python -m docs.measurements.scale`` trains LoRA by three rules, and writes tables.

LoRA at several ranks is fine-tuned with each rule over the rates of the grid, and full fine-tuning beside it. While the
best rate of a setting lies at an end of those tried, the next one is trained, too. Runs that are in the home folder
already are used again, and those that were interrupted go on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from core.cli.comparison import follow
from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.layers import Scaling
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.perceptron import PerceptronSpec
from core.networks.transformer import TransformerSpec
from core.numbers import counted
from core.plan.configuration import Configuration, preset_configuration
from core.plan.experiment import Recipe
from core.results.arm import Arm, all_arms
from core.results.grid import grid_rate, is_point
from core.results.row import rows_of
from core.run_spec import OptimSpec, default_optim
from core.store.record import Experiment
from docs.measurements.program import README, begun, minilm, options_of, training_lab
from docs.reports.readme import put_between

BEGIN, END = "<!-- written by scale.py: {} -->", "<!-- end of what scale.py writes: {} -->"

PRESETS = ("rotation-45", "split", "permutation")
MINILM = {"batch_size": 12, "epochs": 2, "warmup": 0.1, "decay": "linear", "clip": 1.0, "head_rate": 0.0316}
SHOTS = 100

NOT_TRIED, FAILED = "", "diverged"


@dataclass(frozen=True)
class Rule:
    """How the factor on an adapter's output follows from its rank."""

    title: str
    alpha: Callable[[int], float]
    scaling: Scaling = "alpha/r"

    def method(self, rank: int) -> LoRASpec:
        """LoRA of a rank; at rank 1 both scalings are the same, and one of them is trained."""
        return LoRASpec.of(rank=rank, alpha=self.alpha(rank), scaling="alpha/r" if rank == 1 else self.scaling)

    def factor(self, rank: int) -> float:
        """The factor at a rank."""
        return self.alpha(rank) / (rank if self.scaling == "alpha/r" else rank**0.5)


RULES = (
    Rule("alpha 2r, alpha/r", lambda rank: 2.0 * rank),
    Rule("alpha 8, alpha/r", lambda rank: 8.0),
    Rule("alpha 8, alpha/sqrt(r)", lambda rank: 8.0, "alpha/sqrt(r)"),
)


@dataclass(frozen=True)
class Program:
    """What is trained on one network: its tasks, ranks and training, and the points of the grid to begin with."""

    ranks: tuple[int, ...]
    full: range
    lora: range
    optim: OptimSpec
    tasks: Callable[[Lab, Sequence[Recipe]], Iterator[tuple[str, Configuration]]]
    """A name of each task, with the configuration of these settings on it."""


def on_perceptron(lab: Lab, arms: Sequence[Recipe]) -> Iterator[tuple[str, Configuration]]:
    """Presets of the packed MNIST, from a base that is trained once."""
    pretraining = default_optim(FullSpec, PerceptronSpec).but(epochs=10)
    for preset in PRESETS:
        yield preset, preset_configuration(lab.catalog, preset, "mnist-16k", None, pretraining, arms, seeds=(0,))


def on_minilm(lab: Lab, arms: Sequence[Recipe]) -> Iterator[tuple[str, Configuration]]:
    """Definitions, from MiniLM as it is."""
    yield (
        "definitions",
        Configuration.on(minilm(lab), TaskSpec.of(dataset="definitions", shots=SHOTS), arms, seeds=(0,)),
    )


PROGRAMS = {
    "perceptron": Program(
        (1, 4, 16, 64),
        range(-8, -3),
        range(-6, -1),
        default_optim(LoRASpec, PerceptronSpec).but(epochs=10),
        on_perceptron,
    ),
    "minilm": Program(
        (1, 8, 64),
        range(-9, -6),
        range(-7, -4),
        default_optim(LoRASpec, TransformerSpec).but(**MINILM),
        on_minilm,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and import the README up to date."""
    parser = options_of(__doc__, seeds=3)
    parser.add_argument("--rank", type=int, nargs="+", help="ranks of LoRA (default: those of the network)")
    parser.add_argument("--epochs", type=int, help="passes over the training part (default: those of the network)")
    parser.add_argument("networks", nargs="*", default=[*PROGRAMS], help=f"some of: {', '.join(PROGRAMS)}")
    options = parser.parse_args(arguments)
    with training_lab(options.home) as lab:
        for name in options.networks:
            program = PROGRAMS[name]
            ranks, seeds = options.rank or program.ranks, tuple(range(options.seeds))
            optim = program.optim.but(epochs=options.epochs or program.optim.epochs)
            starts: dict[MethodSpec, range] = {FullSpec.of(): program.full}
            starts |= {rule.method(rank): program.lora for rank in ranks for rule in RULES}
            parts = []
            for title, configuration in program.tasks(lab, settings(optim, {FullSpec.of(): program.full})):
                found = Found(train(lab, begun(lab, configuration), optim, starts, seeds), seeds)
                parts.append(tables(title, found, ranks))
                put_between(README, BEGIN.format(name), "\n\n".join(parts), END.format(name))
    return 0


@dataclass(frozen=True)
class Found:
    """What the settings of one task have reached."""

    arms: Sequence[Arm]
    seeds: tuple[int, ...]

    def tried(self, method: MethodSpec) -> list[int]:
        """The points of the grid at which a method was trained, ascending."""
        return [k for k in range(-16, 1) if self.at(method, k) is not None]

    def at(self, method: MethodSpec, k: int) -> Arm | None:
        """A method at a point of the grid; None where it was not trained, or a seed diverged."""
        for arm in self.arms:
            if arm.spec.method == method and arm.learning_rate == grid_rate(k):
                return arm if set(self.seeds) <= set(arm.finished) else None
        return None

    def validated(self, method: MethodSpec, k: int, seeds: Sequence[int] | None = None) -> float:
        """Mean accuracy on the validation part."""
        arm = self.at(method, k)
        return fmean(arm.finished[seed].validated or 0.0 for seed in seeds or self.seeds) if arm else -1.0

    def best(self, method: MethodSpec, seeds: Sequence[int] | None = None) -> int:
        """The point with the highest mean on the validation part, of equal ones the lowest."""
        return max(self.tried(method), key=lambda k: (self.validated(method, k, seeds), -k))

    def tested(self, method: MethodSpec) -> list[float]:
        """Accuracy of each seed on the test part, at the best point."""
        arm = self.at(method, self.best(method))
        return [arm.finished[seed].score or 0.0 for seed in self.seeds] if arm else []

    def ratios(self, method: MethodSpec) -> tuple[float, float, float]:
        """The best rate over that of full fine-tuning: by the means, and the lowest and highest of single seeds."""

        def ratio(seeds: Sequence[int] | None) -> float:
            return 10 ** ((self.best(method, seeds) - self.best(FullSpec.of(), seeds)) / 2)

        single = [ratio([seed]) for seed in self.seeds]
        return ratio(None), min(single), max(single)


def train(
    lab: Lab, experiment: Experiment, optim: OptimSpec, starts: Mapping[MethodSpec, range], seeds: Sequence[int]
) -> list[Arm]:
    """Train every method until its best rate lies between two others, or between one and a rate that diverged.

    Args:
        lab: trains.
        experiment: to which runs are added.
        optim: how all are trained, but for the rate.
        starts: the points of the grid to begin with, for each method.
        seeds: of each setting.
    """
    lab.launcher.finish([run.id for run in lab.store.members(experiment) if run.spec.seed in seeds])
    points = {method: list(start) for method, start in starts.items()}
    while True:
        lab.experiments.grow(experiment, settings(optim, points), seeds)
        experiment = lab.store.experiment(experiment.id)
        follow(lab, experiment, experiment.runs)
        found = Found(all_arms(rows_of(lab.store.members(experiment))), tuple(seeds))
        more = {method: beyond(own, found.best(method)) for method, own in points.items()}
        if not any(more.values()):
            return list(found.arms)
        points = {method: sorted([*own, *more[method]]) for method, own in points.items()}


def settings(optim: OptimSpec, points: Mapping[MethodSpec, Iterable[int]]) -> list[Recipe]:
    """Every method at its points of the grid."""
    return [(optim.but(learning_rate=grid_rate(k)), method) for method, own in points.items() for k in own]


def beyond(points: Sequence[int], best: int) -> list[int]:
    """The point beyond the end at which the best one lies, if it does. Args: points: those tried, ascending."""
    if best == points[0]:
        return [best - 1]
    return [best + 1] if best == points[-1] and is_point(best + 1) else []


def tables(title: str, found: Found, ranks: Sequence[int]) -> str:
    """What was reached at which rate, and how far the best rate moves with the rank."""
    full = FullSpec.of()
    rows: list[tuple[str, str, str, MethodSpec]] = [("Full", "", "", full)]
    for rule in RULES:
        rows += [(f"LoRA r={r}", rule.title, f"{rule.factor(r):.3g}", rule.method(r)) for r in ranks]
    tried = sorted({k for *_, method in rows for k in found.tried(method)})
    seeds = counted(len(found.seeds), "seed")
    steps = next(run.result.steps for arm in found.arms for run in arm.runs if run.result)
    lines = [
        f"**{title}**, {seeds}, {steps:,} updates: accuracy on the validation part at each rate, in percent",
        "",
        f"| Method | Rule | Factor | {' | '.join(f'{grid_rate(k):g}' for k in tried)} | Test, % | Rate over full's |",
        f"| --- | --- | ---: | {' | '.join('---:' for _ in tried)} | ---: | --- |",
    ]
    for name, rule_title, factor, method in rows:
        best = found.best(method)
        cells = [_cell(found, method, k, best) for k in tried]
        ratio, low, high = found.ratios(method)
        span = f" ({low:.3g} to {high:.3g})" if len(found.seeds) > 1 else ""
        told = f"{ratio:.3g}{span}" if method != full else ""
        test = f"{fmean(found.tested(method)):.1f}"
        lines.append(f"| {name} | {rule_title} | {factor} | {' | '.join(cells)} | {test} | {told} |")
    lines += [
        "",
        f"| Rule | Best rate at r = {', '.join(map(str, ranks))} | Points moved | One rate for all | Lost at it |",
        "| --- | --- | ---: | ---: | --- |",
        *(_moves(found, rule, ranks) for rule in RULES),
    ]
    return "\n".join(lines)


def _cell(found: Found, method: MethodSpec, k: int, best: int) -> str:
    if found.at(method, k) is None:
        asked = any(arm.spec.method == method and arm.learning_rate == grid_rate(k) for arm in found.arms)
        return FAILED if asked else NOT_TRIED
    value = f"{found.validated(method, k):.1f}"
    return f"**{value}**" if k == best else value


def _moves(found: Found, rule: Rule, ranks: Sequence[int]) -> str:
    """The best rates of a rule, and the rate at which the rank that loses most against its best rate loses least."""
    methods = [rule.method(rank) for rank in ranks]
    bests = [found.best(method) for method in methods]
    shared = set.intersection(*(set(found.tried(method)) for method in methods))

    def lost(k: int) -> list[float]:
        found_at = zip(methods, bests, strict=True)
        return [found.validated(method, best) - found.validated(method, k) for method, best in found_at]

    one = min(sorted(shared), key=lambda k: max(lost(k)), default=None)
    told = ("none", "") if one is None else (f"{grid_rate(one):g}", ", ".join(f"{value:.1f}" for value in lost(one)))
    rates = ", ".join(f"{grid_rate(k):g}" for k in bests)
    return f"| {rule.title} | {rates} | {max(bests) - min(bests)} | {' | '.join(told)} |"


if __name__ == "__main__":
    sys.exit(main())
