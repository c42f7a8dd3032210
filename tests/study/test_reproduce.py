"""The command that a report prints gives the runs that the report is about."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from core.__main__ import parser
from core.cli import compare
from core.cli.compare import launch
from core.data.sources.definitions import Definitions
from core.data.sources.digits import Digits
from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.configuration import Configuration
from core.plan.rate_grid import grid_rate
from core.run_spec import default_optim
from core.settings import Settings
from core.study.report.command import compare_command
from core.study.report.evidence import bases_of
from tests.conftest import short
from tests.networks.tiny import save_tiny

DATASETS = {
    "digits": Digits(Settings(Path())).info("digits"),
    "definitions": Definitions(Settings(Path())).info("definitions"),
}

COMMANDS = [
    "--scaling 'alpha/sqrt(r)' --start gaussian --alpha 0.123456789",
    "--rank 4",
    "--rank 1 4 16 --seeds 10 --tune --epochs 3 --pretrain-epochs 3 --controls head biases scratch",
    "--preset split --vary-bases --seeds 2 --tune 4 --alpha 3.5 --batch-size 128 --device cpu",
    "--preset permutation --lr-full 0.002 --lr-lora 0.0123 --rank 2",
    "--preset ten-shot --tune 3 --lr-full 0.0007 --controls biases",
    "--preset same --tune 2",
    "--preset same --tune 9 --lr-full 1 --lr-lora 0.0316",
    "--preset same --tune 4 --lr-full 0.003",
    "--preset inversion --seeds 1 --within 2.5",
    "--preset inversion --seeds 1 --measure loss --within 0.0123456789",
    "--preset split --seeds 1 --measure macro_f1",
    "--preset same --shots 7 --targets layers.0 layers.4 --adapters lora dora --rank 1 2",
    "--preset ten-shot --shots 3 --weight-decay 0.05 --decay cosine --warmup 0.25 --clip 0.3 --patience 2 --keep best",
]
"""Options for images, beside those of the source."""

OF_TEXTS = [
    "--rank 8 --targets attention --tune 3",
    "--preset same --shots 7 --length 16 --batch-size 8 --accumulation 2 --epochs 2 --pretrain-epochs 1",
    "--preset ten-shot --vary-bases --seeds 2 --weight-decay 0 --decay constant --lr-full 0.0001",
    "--direct",
    "--direct --shots 5 --length 24 --targets query attention.output.dense --adapters dora --controls head biases",
]
"""Options for texts, beside that of the network."""


@pytest.fixture
def waiting(tmp_path, monkeypatch):
    """A lab that queues and never trains, and does not time what it queues before."""
    monkeypatch.setattr(compare, "TIMING_SECONDS", 0.0)
    lab = Lab(Settings(home=tmp_path / "home", max_waiting=2000))
    yield lab
    lab.store.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a network that has weights."""
    return save_tiny(tmp_path_factory.mktemp("networks") / "tiny")


def queued(lab: Lab, experiment):
    members = lab.members(experiment)
    return [lab.run(id).spec for id in bases_of(members)], [run.spec for run in members]


def anonymous(specs, bases):
    """Specs without the ids of their bases, which differ in every home folder."""
    names = {base: f"base {i}" for i, base in enumerate(bases)}
    return [spec.but(base=names[spec.base]) if spec.base else spec for spec in specs]


@pytest.mark.parametrize("line", [f"--source digits {line}" for line in COMMANDS] + OF_TEXTS)
def test_a_command_is_found_again_in_the_runs_that_it_gave(waiting, tiny, tmp_path, line):
    own = [] if "--source" in line else ["--network", waiting.networks.bring_folder(tiny).digest]
    options = parser().parse_args(["compare", *own, *shlex.split(line)])
    experiment = launch(waiting, options)
    bases, specs = queued(waiting, experiment)
    command = compare_command(bases[0] if bases else None, specs, DATASETS, "out file.html")
    assert command is not None
    other = Lab(Settings(home=tmp_path / "other", max_waiting=2000))
    other.networks.bring_folder(tiny)
    again_options = parser().parse_args(shlex.split(command)[3:])
    assert (again_options.measure, again_options.within) == (options.measure, options.within)
    assert str(again_options.report) == "out file.html"
    again = launch(other, again_options)
    other_bases, other_specs = queued(other, again)
    assert other_bases == bases
    ids = [list(dict.fromkeys(spec.base for spec in each)) for each in (specs, other_specs)]
    assert anonymous(other_specs, ids[1]) == anonymous(specs, ids[0])
    other.store.close()


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", "minilm"),
        ("someone/a-network", "someone/a-network"),
        ("my network", None),
    ],
)
def test_a_network_is_called_by_the_name_that_others_can_bring_it_by(waiting, tiny, name, called):
    card = waiting.networks.bring_folder(tiny, name)
    network = waiting.networks.spec(card.digest)
    arms = [(default_optim(method, network), method) for method in (FullSpec(), LoRASpec.of())]
    task = TaskSpec.of(dataset="definitions", length=64)
    specs = waiting.planned(Configuration.on(network, task, arms, [0, 1])).runs
    command = compare_command(None, specs, DATASETS)
    assert command.startswith(f"python -m core compare --network {called or card.digest[:12]} ")


@pytest.mark.parametrize(
    ("task", "lora", "seeds"),
    [
        (TaskSpec.of(dataset="digits", rotation=30.0), LoRASpec.of(), [0, 1]),
        (TaskSpec.of(dataset="digits", rotation=45.0, validation=0.2), LoRASpec.of(), [0, 1]),
        (TaskSpec.of(dataset="digits", rotation=45.0, length=64), LoRASpec.of(), [0, 1]),
        (TaskSpec.of(dataset="digits", rotation=45.0), LoRASpec.of(), [0, 2]),
        (TaskSpec.of(dataset="digits", classes=(0, 1)), LoRASpec.of(), [0, 1]),
    ],
)
def test_no_command_is_made_up_for_what_the_command_line_cannot_do(waiting, task, lora, seeds):
    options = parser().parse_args(["compare", "--source", "digits"])
    base = waiting.run(launch(waiting, options).base)
    experiment = waiting.fine_tune(base, task, [(short(rate=0.001), FullSpec()), (short(), lora)], seeds, "x")
    bases, specs = queued(waiting, experiment)
    assert compare_command(bases[0], specs, DATASETS) is None


OLD_GRID = {"full": (0.0001, 0.00032, 0.001, 0.0032, 0.01), "lora": (0.0005, 0.0016, 0.005, 0.016, 0.05)}
"""What ``--tune`` gave when each method had a grid of its own."""


@pytest.mark.parametrize("full", [OLD_GRID["full"], [grid_rate(k) for k in range(-12, -1)], [0.001, 0.01]])
def test_no_command_is_made_up_for_rates_that_tuning_does_not_try(waiting, full):
    lora = OLD_GRID["lora"] if full == OLD_GRID["full"] else full
    options = parser().parse_args(["compare", "--source", "digits"])
    base = waiting.run(launch(waiting, options).base)
    arms = [(short(rate=rate), FullSpec()) for rate in full] + [(short(rate=rate), LoRASpec.of()) for rate in lora]
    experiment = waiting.fine_tune(base, TaskSpec.of(dataset="digits", rotation=45.0), arms, [0], "x")
    bases, specs = queued(waiting, experiment)
    assert compare_command(bases[0], specs, DATASETS) is None
