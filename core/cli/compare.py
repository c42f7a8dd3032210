"""``python -m core compare``: pretrain, fine-tune with every method, and print the comparison."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from core.cli.asked import check_consistent, dataset_names, family_of
from core.cli.comparison import answer
from core.cli.networks import NAMES, network_named
from core.cli.options import add_field, add_home, add_output, check_output
from core.cli.texts import add_texts, kept, read_own
from core.cli.training import add_training, by_family, optim_of, settings_asked
from core.data.presets import PRESETS, presets_for, suggested_preset
from core.data.task_spec import TaskSpec
from core.engine.cost import plan
from core.errors import LabError
from core.lab import Lab
from core.methods.pretrain import PretrainSpec
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.run_spec import OptimSpec, default_length, default_optim
from core.settings import Settings
from core.spec import DEVICES
from core.store.record import Experiment
from core.study.stats.claims import DEFAULT_SEEDS

KINDS = tuple(dict.fromkeys(kind for preset in PRESETS.values() for kind in preset.views))
"""Kinds of data that there are presets for."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    job = commands.add_parser("compare", help="pretrain, fine-tune fully and with LoRA, and compare")
    job.set_defaults(command=compare)
    job.add_argument(
        "--network", metavar="NAME", help=f"network with weights to start from, for texts: {NAMES} (default: none)"
    )
    job.add_argument("--source", help="dataset of the base (default: the best one on this machine)")
    job.add_argument("--target", help="dataset to fine-tune on (default: the source)")
    add_texts(job)
    job.add_argument(
        "--direct", action="store_true", help="fine-tune the network on the target as it is, without a source"
    )
    lines = "; ".join(f"{preset.name}: {preset.line}" for preset in PRESETS.values())
    usual = ", ".join(f"{suggested_preset(kind)} for {kind}s" for kind in KINDS)
    job.add_argument("--preset", choices=list(PRESETS), help=f"{lines} (default {usual})".replace("%", "%%"))
    add_field(job, "--shots", TaskSpec, "shots", "of the target", metavar="N", shown="those of the preset")
    add_field(job, "--length", TaskSpec, "length", metavar="N", default=None, shown="128, or what the network can read")
    job.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help="runs per arm, with seeds 0, 1, … (default 8)")
    shown = by_family(lambda family: default_optim(PretrainSpec, family).epochs)
    add_field(job, "--pretrain-epochs", OptimSpec, "epochs", "of the base", shown=shown, default=None)
    job.add_argument(
        "--vary-bases",
        action="store_true",
        help="use one base per seed, so that the seeds of base and fine-tuning vary together",
    )
    add_training(job)
    job.add_argument("--device", default="auto", choices=DEVICES, help="where to train")
    add_home(job)
    add_output(job)


def compare(options: argparse.Namespace) -> int:
    """Pretrain, fine-tune with every method, and print the comparison."""
    check_output(options)
    check_consistent(options)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        experiment = launch(lab, options)
        return answer(lab, experiment, experiment.runs, options)
    finally:
        lab.close()


def launch(lab: Lab, options: argparse.Namespace) -> Experiment:
    """Queue what the options ask for.

    A network that has to be brought stays in the library whatever happens; texts from a file are kept only if runs of
    them were queued.

    Raises:
        LabError: an option is out of bounds, or contradicts another one; nothing was queued.
    """
    check_consistent(options)
    if options.seeds < 1:
        raise LabError("The number of seeds must be at least 1.")
    source, target = dataset_names(lab.catalog, options)
    settings_asked(options, family_of(options))  # raises before anything is downloaded
    own = read_own(options) if options.data else None
    network: NetworkSpec | None = None
    if options.network is not None:
        network = lab.networks.spec(network_named(lab.networks, options.network).digest)
        for _, method in settings_asked(options, network):
            plan(network, method)  # raises where adapters do not fit
    with kept(lab.catalog, own) if own else nullcontext():
        return _queued(lab, options, source, own.name if own else target, network)


def _queued(
    lab: Lab, options: argparse.Namespace, source: str, target: str | None, network: NetworkSpec | None
) -> Experiment:
    """Queue an experiment from a source, or from a network as it is if there is none. Raises: LabError."""
    sizes = network or FAMILIES[0]
    arms, seeds = settings_asked(options, sizes), range(options.seeds)
    if network is not None and not source:
        length = default_length(network) if options.length is None else options.length
        task = TaskSpec.of(dataset=target, shots=options.shots, length=length)
        return lab.fine_tune(network, task, arms, seeds, device=options.device)
    kind = lab.catalog.info(source).kind
    return lab.compare(
        preset=options.preset or suggested_preset(kind) or next(iter(presets_for(kind))),
        source=source,
        target=target,
        pretraining=optim_of(options, PretrainSpec(), sizes, options.pretrain_epochs),
        arms=arms,
        seeds=seeds,
        device=options.device,
        own_bases=options.vary_bases,
        network=network,
        shots=options.shots,
        length=options.length,
    )
