"""``python -m core compare``: pretrain, fine-tune with every method, and print the comparison."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from core.cli.asked import BESIDE_CONFIG, add_objective, check_consistent, dataset_names, family_of, objective_asked
from core.cli.comparison import answer, tell_shortage
from core.cli.networks import NAMES, network_named
from core.cli.options import (
    NOTHING_KEPT,
    RUNS_KEPT,
    add_field,
    add_home,
    add_output,
    check_folder,
    check_output,
    note_given,
    opened_lab,
)
from core.cli.texts import add_texts, kept, read_own
from core.cli.training import add_training, by_family, optim_of, settings_asked, study_asked, tuning_asked
from core.data.dataset import LANGUAGE
from core.data.task_spec import TaskSpec
from core.engine.launcher import Planned
from core.errors import LabError, SpecError, os_error_as
from core.files import write_atomically
from core.forecast.forecast import plan
from core.forecast.products import faster_precision
from core.lab import Lab
from core.methods.pretrain import PretrainSpec
from core.networks.network import NetworkSpec
from core.numbers import bytes_text, range_text
from core.plan.configuration import ArmSpec, Configuration, preset_configuration
from core.plan.configuration_file import MAX_FILE, read_configuration, write_configuration
from core.results.intervals import DEFAULT_SEEDS
from core.run_spec import OptimSpec, default_length, default_optim
from core.spec import DEVICES, Device, bounds
from core.store.record import Experiment
from core.study.report.expected import expected_sentences
from core.tasks.presets import PRESETS, presets_for, suggested_preset
from core.wording.tasks import noun

TIMING_SECONDS = 30.0
"""Longest time to wait until the time that training will take is known."""

KINDS = tuple(dict.fromkeys(kind for preset in PRESETS.values() for kind in preset.views if kind != LANGUAGE))
"""Kinds of data that there are presets for; texts to continue have those of texts."""


def compare_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.set_defaults(command=compare, kept=RUNS_KEPT)
    note_given(parser)
    data = parser.add_argument_group("network and data")
    data.add_argument(
        "--network", metavar="NAME", help=f"network with weights to start from, for texts: {NAMES} (default: none)"
    )
    data.add_argument("--source", help="dataset of the base (default: the best one on this machine)")
    data.add_argument("--target", help="dataset to fine-tune on (default: the source)")
    data.add_argument(
        "--direct", action="store_true", help="fine-tune the network on the target as it is, without a source"
    )
    about = bounds(Configuration, "forgetting")
    data.add_argument("--forgetting", metavar="DATASET", help=f"{about.title}: {about.description} (default: nothing)")
    lines = "; ".join(f"{preset.name}: {preset.line.rstrip('.')}" for preset in PRESETS.values())
    usual = ", ".join(f"{suggested_preset(kind)} for {noun(kind)}" for kind in KINDS)
    data.add_argument("--preset", choices=list(PRESETS), help=f"{lines} (default: {usual})".replace("%", "%%"))
    add_field(data, "--shots", TaskSpec, "shots", "of the target", metavar="N", shown="those of the preset")
    add_field(
        data, "--length", TaskSpec, "length", metavar="N", default=None, shown="128, or what the network can read"
    )
    shown = by_family(lambda family: default_optim(PretrainSpec, family).epochs)
    add_field(data, "--pretrain-epochs", OptimSpec, "epochs", "of the base", shown=shown, default=None)
    data.add_argument(
        "--vary-bases",
        action="store_true",
        help="use one base per seed, so that the seeds of base and fine-tuning vary together",
    )
    add_texts(parser.add_argument_group("own texts"))
    add_objective(parser.add_argument_group("objective"))
    add_training(parser)
    running = parser.add_argument_group("running and answering")
    running.add_argument(
        "--seeds", type=int, default=DEFAULT_SEEDS, help="runs per setting, with seeds 0, 1, … (default: %(default)s)"
    )
    running.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"run the experiment of a JSON file that a page or --save-config wrote; of the other options it takes "
        f"{', '.join(BESIDE_CONFIG)}",
    )
    running.add_argument(
        "--save-config", type=Path, metavar="FILE", help="write what is asked for as such a file, and train nothing"
    )
    running.add_argument("--device", default="auto", choices=DEVICES, help="where to train")
    add_home(running)
    add_output(running)


def compare(options: argparse.Namespace) -> int:
    """Pretrain, fine-tune with every method, and print the comparison; or write down what would be trained."""
    check_output(options)
    check_consistent(options)
    if options.save_config is not None:
        options.kept = NOTHING_KEPT
        with opened_lab(options) as lab:
            return _save(lab, options)
    with opened_lab(options, trains=True) as lab:
        experiment = launch(lab, options)
        return answer(lab, experiment, experiment.runs, options)


def launch(lab: Lab, options: argparse.Namespace) -> Experiment:
    """Queue what the options ask for. Raises: LabError: see :func:`asked`; nothing was queued."""
    with asked(lab, options) as configuration:
        planned = lab.launcher.plan(configuration)
        lab.launcher.check_runs(planned.specs)
        _tell_of_unfinished(lab, planned)
        _announce(lab, planned)
        tell_shortage(lab, planned.specs)
        return lab.experiments.start(planned, trim=configuration.trim)


def _tell_of_unfinished(lab: Lab, planned: Planned) -> None:
    """Say on stderr where an experiment has these runs already, some of which can be finished."""
    known = lab.experiments.find(planned)
    if known is not None and (rest := lab.launcher.rest(known.runs)):
        print(
            f"Note: {known.id} has these runs already, {len(rest.everything)} of them unfinished. This starts anew; "
            f"python -m core grow {known.id} --finish would train them to their ends.",
            file=sys.stderr,
        )


def _announce(lab: Lab, planned: Planned) -> None:
    """Print the expected time, or the least, and memory; and what is faster here than the precision that was chosen.

    A few steps of a network that was imported are timed first: that takes seconds, and its runs take minutes.
    """
    specs = planned.at_least
    if not specs:
        return
    patience = TIMING_SECONDS if any(spec.network.reads_tokens for spec in specs) else 0.0
    lab.estimates.wait(specs, patience)
    expected = lab.estimates.between(specs, planned.at_most)
    if expected.seconds_low is not None:
        time = range_text(expected.seconds_low, expected.seconds_high)
        print(f"Expected: {time}, {bytes_text(expected.memory)} of memory.", file=sys.stderr)
    if faster := faster_precision(specs[0]):
        print(f"Note: {faster}", file=sys.stderr)


@contextmanager
def asked(lab: Lab, options: argparse.Namespace) -> Iterator[Configuration]:
    """What the options ask for, themselves or in the file that they name.

    A network that has to be imported stays in the library whatever happens; texts from a file are kept only if the body
    of the context ends without an error.

    Raises:
        LabError: an option is out of bounds, or contradicts another one.
    """
    check_consistent(options)
    if options.config is not None:
        found = _configuration_in(lab, options.config, options.device if "--device" in options.given else None)
        if options.tune and found.is_search:
            raise SpecError(f"{options.config} searches for the learning rates already: leave --tune out.")
        yield found.searched() if options.tune else found
        return
    if options.seeds < 1:
        raise LabError("The number of seeds must be at least 1.")
    source, target = dataset_names(lab.catalog, options)
    settings_asked(options, family_of(options))  # raises before anything is downloaded
    tuning_asked(options, family_of(options))
    own = read_own(options) if options.data else None
    network: NetworkSpec | None = None
    if options.network is not None:
        digest = network_named(lab.networks, options.network).digest
        network = lab.networks.spec(digest, learns=family_of(options).learns)
        for _, method in settings_asked(options, network):
            plan(network, method)  # raises where adapters do not fit
    with kept(lab.catalog, own) if own else nullcontext():
        yield _configuration(lab, options, source, own.name if own else target, network)


def _configuration_in(lab: Lab, file: Path, device: Device | None) -> Configuration:
    """The configuration in a file, on a device where one is given. Raises: LabError: there is none, or it is wrong."""
    with os_error_as(LabError, f"{file} cannot be read"), file.open("rb") as opened:
        content = opened.read(MAX_FILE + 1)
    found = read_configuration(
        content, lab.catalog, lab.networks, lambda name: network_named(lab.networks, name, folders=False)
    )
    if device is None:
        return found
    base = None if found.base is None else found.base.but(device=device)
    return found.but(base=base, device=device)


def _save(lab: Lab, options: argparse.Namespace) -> int:
    file: Path = options.save_config
    check_folder(file)
    with asked(lab, options) as configuration:
        planned = lab.launcher.plan(configuration)
        lab.launcher.check_runs(planned.specs)
        with os_error_as(LabError, f"{file} cannot be written", "Name another file."):
            write_atomically(file, write_configuration(configuration).encode())
    print(f"The configuration is in {file}; compare --config runs it.", file=sys.stderr)
    for sentence in expected_sentences(lab, planned.at_least):
        print(sentence, file=sys.stderr)
    return 0


def _configuration(
    lab: Lab, options: argparse.Namespace, source: str, target: str | None, network: NetworkSpec | None
) -> Configuration:
    """The configuration from a source, or from a network as it is if there is none. Raises: LabError."""
    start = network or family_of(options).of()
    more = {"device": options.device, "tune": tuning_asked(options, start), "objective": objective_asked(options)}
    seeds = range(options.seeds)
    if network is not None and not source:
        more["vary"] = study_asked(options, network)
        arms = settings_asked(options, network)
        length = default_length(network) if options.length is None else options.length
        task = TaskSpec.of(dataset=target, shots=options.shots, length=length)
        if options.forgetting is not None:
            more["forgetting"] = TaskSpec.of(dataset=options.forgetting, length=length)
        return Configuration.on(network, task, arms, seeds, **more)
    info = lab.catalog.info(source, start.learns)
    kind, classes = info.kind, info.num_classes
    usual = suggested_preset(kind, classes=classes) or next(iter(presets_for(kind, classes=classes)))
    asked = preset_configuration(
        lab.catalog,
        preset=options.preset or usual,
        source=source,
        target=target,
        pretraining=optim_of(options, PretrainSpec(), start, options.pretrain_epochs),
        arms=(),
        seeds=seeds,
        network=start,
        shots=options.shots,
        length=options.length,
        own_bases=options.vary_bases,
        **more,
    )
    trained = asked.trained_network  # rates depend on how its head is trained
    found = tuple(ArmSpec.of(optim=optim, method=method) for optim, method in settings_asked(options, trained))
    return asked.but(arms=found, vary=study_asked(options, trained))
