"""``python -m core time``: time one training step of full fine-tuning and of LoRA."""

from __future__ import annotations

import argparse
import sys

from core.cli.asked import check_kind, family_of
from core.cli.networks import NAMES, network_named
from core.cli.options import NOTHING_KEPT, add_field, add_home, opened_lab
from core.cli.training import add_targets, by_family
from core.data.dataset import LANGUAGE
from core.data.task_spec import TaskSpec
from core.forecast.step_time import StepTimeSpec
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.objectives.registry import CLASSIFICATION, objective_of
from core.run_spec import OptimSpec, default_length, default_optim
from core.settings import choose_device
from core.study.arms.step_times import conditions_sentence, step_times_sentence, step_times_table
from core.study.arms.tables import plain_table
from core.training.sharing import LORA_BANK


def time_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Time one training step of full fine-tuning and of LoRA of some ranks, alternately and alone: in "
        "plain PyTorch, on this engine, and on this engine in a bank. It waits while runs of the home folder train."
    )
    parser.set_defaults(command=time_steps, kept=NOTHING_KEPT)
    parser.add_argument("--rank", type=int, nargs="+", default=[4], help="ranks of LoRA (default: 4)")
    add_targets(parser)
    parser.add_argument(
        "--network", metavar="NAME", help=f"network to train, for texts: {NAMES} (default: a perceptron)"
    )
    parser.add_argument(
        "--objective",
        choices=[CLASSIFICATION.kind, LANGUAGE],
        default=CLASSIFICATION.kind,
        help="what is learned (default: %(default)s)",
    )
    usual = "digits, or with a network the best dataset of texts on this machine"
    parser.add_argument("--dataset", help=f"dataset to train on (default: {usual})")
    shown = by_family(lambda family: default_optim(FullSpec, family).batch_size)
    add_field(parser, "--batch-size", OptimSpec, "batch_size", shown=shown, default=None)
    parser.add_argument(
        "--bank",
        type=int,
        default=8,
        choices=range(1, LORA_BANK + 1),
        metavar="RUNS",
        help="runs in a bank (default: %(default)s)",
    )
    add_home(parser)


def time_steps(options: argparse.Namespace) -> int:
    """Measure, and print the table."""
    with opened_lab(options) as lab:
        what = _what(lab, options)
        print("Timing steps of each method, one after the other: minutes, with a large network.", file=sys.stderr)
        times = lab.time_steps(what, lambda: print("waiting until training has ended", end="\r", file=sys.stderr))
        print(plain_table(step_times_table(times)), step_times_sentence(times), conditions_sentence(times), sep="\n\n")
    return 0


def _what(lab: Lab, options: argparse.Namespace) -> StepTimeSpec:
    """What the options ask to measure. Raises: LabError: an option is out of bounds, or does not fit the network."""
    family = family_of(options)
    is_image = options.network is None and options.objective != LANGUAGE
    dataset = options.dataset or ("digits" if is_image else lab.catalog.best(family.learns))
    info = lab.catalog.info(dataset, family.learns)
    check_kind(lab.catalog, options.network, dataset, LANGUAGE if options.objective == LANGUAGE else "")
    adapters = tuple(
        LoRASpec.of(rank=rank, target_modules=tuple(options.targets)) for rank in dict.fromkeys(options.rank)
    )
    usual = default_optim(FullSpec, family)
    optim = usual.but(batch_size=usual.batch_size if options.batch_size is None else options.batch_size)
    start: NetworkSpec = family.of() if options.network is None else FAMILIES[0].of()
    if options.network is not None:
        start = lab.networks.spec(network_named(lab.networks, options.network).digest)
    needed = info.num_outputs
    outputs = max(start.num_classes, needed) if info.has_classes and not start.brought else needed
    return StepTimeSpec(
        start.but(num_classes=outputs),
        TaskSpec.of(dataset=dataset, length=default_length(start)),
        adapters,
        optim.batch_size,
        options.bank,
        device=choose_device("auto").type,
        objective=objective_of(info.objective),
    )
