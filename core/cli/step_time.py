"""``python -m core time``: time one training step of full fine-tuning and of LoRA."""

from __future__ import annotations

import argparse
import sys
import time

from core.cli.options import add_home
from core.data.task_spec import TaskSpec
from core.engine.step_time import StepTimeSpec
from core.errors import RunStateError
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.networks.registry import FAMILIES
from core.run_spec import OptimSpec
from core.settings import Settings, choose_device
from core.study.arms.step_times import conditions_sentence, step_times_sentence, step_times_table
from core.study.arms.tables import plain_table
from core.training.sharing import LORA_BANK

POLL_SECONDS = 0.2


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    job = commands.add_parser(
        "time",
        help="time one training step of full fine-tuning and of LoRA, here and in plain PyTorch",
        description="Time one training step of full fine-tuning and of LoRA of some ranks, alternately and alone: in "
        "plain PyTorch, on this engine, and on this engine in a bank. It waits while runs of the home folder train.",
    )
    job.set_defaults(command=time_steps)
    job.add_argument("--rank", type=int, nargs="+", default=[4], help="ranks of LoRA (default: 4)")
    job.add_argument("--dataset", default="digits", help="images to train on (default: digits)")
    job.add_argument("--batch-size", type=int, default=OptimSpec.of().batch_size, help="images per step")
    job.add_argument(
        "--bank",
        type=int,
        default=8,
        choices=range(1, LORA_BANK + 1),
        metavar="RUNS",
        help="runs in a bank (default: 8)",
    )
    add_home(job)


def time_steps(options: argparse.Namespace) -> int:
    """Measure, and print the table."""
    lab = Lab(Settings.from_environment(options.home))
    try:
        spec = StepTimeSpec(
            FAMILIES[0].of(
                num_classes=max(FAMILIES[0].of().num_classes, lab.catalog.info(options.dataset).num_classes)
            ),
            TaskSpec.of(dataset=options.dataset),
            tuple(LoRASpec.of(rank=rank) for rank in dict.fromkeys(options.rank)),
            OptimSpec.of(batch_size=options.batch_size).batch_size,
            options.bank,
            options.bank,
            device=choose_device("auto").type,
        )
        lab.timer.start(spec)
        while (progress := lab.timer.progress(spec)) is not None and not progress.ended:
            if progress.waiting:
                print("waiting until training has ended", end="\r", file=sys.stderr)
            time.sleep(POLL_SECONDS)
        times = lab.timer.found(spec)
        if times is None:
            raise RunStateError((progress and progress.error) or "The measurement was cancelled.")
        print(plain_table(step_times_table(times)), step_times_sentence(times), conditions_sentence(times), sep="\n\n")
    finally:
        lab.close()
    return 0
