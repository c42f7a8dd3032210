"""``python -m core compare``: pretrain, fine-tune with every method, and print the comparison."""

from __future__ import annotations

import argparse

from core.cli.comparison import answer
from core.cli.options import add_field, add_home, add_output, check_output
from core.data.presets import PRESETS
from core.engine.experiment import Setting
from core.errors import LabError
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.methods.method import MethodSpec, Role
from core.methods.pretrain import PretrainSpec
from core.methods.registry import adapter_methods, methods
from core.run_spec import OptimSpec, default_rate
from core.settings import Settings
from core.spec import DEVICES, bounds
from core.store.record import Experiment
from core.study.arms.tuning import TuneSpec, tuned_arms
from core.study.stats.claims import DEFAULT_SEEDS


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    job = commands.add_parser("compare", help="pretrain, fine-tune fully and with LoRA, and compare")
    job.set_defaults(command=compare)
    job.add_argument("--source", help="dataset of the base (default: the best one on this machine)")
    job.add_argument("--target", help="dataset to fine-tune on (default: the source)")
    lines = "; ".join(f"{preset.name}: {preset.line}" for preset in PRESETS.values())
    job.add_argument("--preset", default="rotation-45", choices=list(PRESETS), help=lines.replace("%", "%%"))
    add_field(job, "--epochs", OptimSpec, "epochs", int, "of fine-tuning")
    add_field(job, "--pretrain-epochs", OptimSpec, "epochs", int, "of the base")
    job.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help="runs per arm, with seeds 0, 1, … (default 8)")
    lines = "; ".join(f"{kind}: {method.line}" for kind, method in adapter_methods().items())
    job.add_argument(
        "--adapters",
        nargs="+",
        choices=list(adapter_methods()),
        default=[LoRASpec.name()],
        help=f"methods that train adapters, each with every rank: {lines} (default {LoRASpec.name()})",
    )
    add_field(job, "--rank", LowRankSpec, "rank", int, "one arm per rank", nargs="+", default=[4])
    add_field(job, "--alpha", LowRankSpec, "alpha", float)
    for kind, method in (methods(Role.REFERENCE) | methods(Role.ADAPTER)).items():
        default = default_rate(method)
        add_field(job, f"--lr-{kind}", OptimSpec, "learning_rate", float, f"of {method.title}", default=default)
    add_field(job, "--batch-size", OptimSpec, "batch_size", int)
    add_field(
        job,
        "--tune",
        TuneSpec,
        "rates",
        int,
        "those of one grid, 10^(k/2), that are nearest its own rate",
        nargs="?",
        metavar="N",
        default=0,
        const=bounds(TuneSpec, "rates").default,
        shown="off; 5 without a number",
    )
    job.add_argument(
        "--vary-bases",
        action="store_true",
        help="use one base per seed, so that the seeds of base and fine-tuning vary together",
    )
    lines = "; ".join(f"{kind}: {method.line}" for kind, method in methods(Role.CONTROL).items())
    job.add_argument(
        "--controls",
        nargs="+",
        choices=list(methods(Role.CONTROL)),
        default=[],
        help=f"controls to compare with, by what they train: {lines}",
    )
    job.add_argument("--device", default="auto", choices=DEVICES, help="where to train")
    add_home(job)
    add_output(job)


def compare(options: argparse.Namespace) -> int:
    """Pretrain, fine-tune with every method, and print the comparison."""
    check_output(options)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        experiment = launch(lab, options)
        return answer(lab, experiment, experiment.runs, options)
    finally:
        lab.close()


def launch(lab: Lab, options: argparse.Namespace) -> Experiment:
    """Queue what the options ask for.

    Raises:
        LabError: an option is out of bounds, or contradicts another one; nothing was queued.
    """
    rates = {"batch_size": options.batch_size, "epochs": options.epochs}
    adapters, controls = adapter_methods(), methods(Role.CONTROL)
    chosen: list[MethodSpec] = [
        *(method.of() for method in methods(Role.REFERENCE).values()),
        *(adapters[kind].of(rank=rank, alpha=options.alpha) for kind in options.adapters for rank in options.rank),
        *(controls[kind].of() for kind in options.controls),
    ]
    arms: list[Setting] = [(OptimSpec.of(learning_rate=_rate(options, method), **rates), method) for method in chosen]
    if options.tune:
        arms = tuned_arms(arms, TuneSpec.of(rates=options.tune))
    if options.seeds < 1:
        raise LabError("The number of seeds must be at least 1.")
    return lab.compare(
        preset=options.preset,
        source=options.source or lab.catalog.best(),
        target=options.target,
        pretraining=OptimSpec.of(
            learning_rate=default_rate(PretrainSpec), batch_size=options.batch_size, epochs=options.pretrain_epochs
        ),
        arms=arms,
        seeds=range(options.seeds),
        device=options.device,
        own_bases=options.vary_bases,
    )


def _rate(options: argparse.Namespace, method: MethodSpec) -> float:
    """The learning rate that the options give a method, or else its default."""
    rate: float = getattr(options, f"lr_{method.kind}", default_rate(method))
    return rate
