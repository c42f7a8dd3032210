"""What the programs of this folder share: their options, the lab that they train in, and experiments that are kept."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.cli.comparison import follow
from core.lab import Lab
from core.networks.network import NetworkSpec
from core.plan.configuration import Configuration
from core.results.arm import Arm
from core.settings import Settings
from core.store.record import Experiment

README = Path(__file__).parent / "README.md"
"""Where their tables go."""


def options_of(about: str | None, seeds: int) -> argparse.ArgumentParser:
    """A parser with the options of all programs. Args: about: what the program does; seeds: how many it trains."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--home", type=Path, help="folder for runs (default: LORA_LAB_HOME)")
    parser.add_argument("--seeds", type=int, default=seeds, help="runs per setting")
    return parser


@contextmanager
def training_lab(home: Path | None) -> Iterator[Lab]:
    """A lab that trains. Args: home: its folder; None for LORA_LAB_HOME."""
    lab = Lab(Settings.from_environment(home))
    lab.start()
    try:
        yield lab
    finally:
        lab.close()


def begun(lab: Lab, asked: Configuration) -> Experiment:
    """The experiment of a configuration: one that is in the home folder already is used again, and finished."""
    planned = lab.launcher.plan(asked)
    known = lab.experiments.find(planned)
    if known is None:
        return lab.experiments.start(planned)
    lab.launcher.finish(known.runs)
    return known


def trained(lab: Lab, asked: Configuration) -> Experiment:
    """The same once its runs have ended."""
    experiment = begun(lab, asked)
    follow(lab, experiment, experiment.runs)
    return experiment


def accuracies(arm: Arm) -> tuple[str, str]:
    """The accuracy of each seed on the validation part and on the test part, in percent."""
    parts = [run.validated for run in arm.runs], [run.score for run in arm.runs]
    validated, tested = (", ".join(f"{value:.1f}" for value in part if value is not None) for part in parts)
    return validated, tested


def minilm(lab: Lab) -> NetworkSpec:
    """MiniLM as it is, from its package."""
    card = lab.networks.find("minilm") or lab.networks.import_known("minilm")
    return lab.networks.spec(card.digest)
