"""``python -m core run``: train a run again from its recipe, without store or queue."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from core.artifacts.recipe import Recipe, weights_digest
from core.cli.networks import NAMES, network_named
from core.cli.options import NOTHING_KEPT, add_home
from core.cli.progress import ProgressBar
from core.data.sources.catalog import Catalog
from core.engine.jobs.job import Commands, Dependencies, Job
from core.engine.jobs.messages import Began, Ended, Failed, Reported
from core.engine.jobs.run_files import NETWORK
from core.engine.jobs.run_job import run_job
from core.errors import LabError, RunFailedError, SpecError, os_error_as
from core.files import sha256_of, write_atomically
from core.lab import Lab
from core.networks.library.networks import Networks
from core.networks.network import NetworkSpec
from core.numbers import listed, percent
from core.run_spec import RunSpec
from core.settings import Settings
from core.spec import DEVICES, MAX_CHARACTERS
from core.tasks.tasks import Tasks
from core.training.stepper import StepLoss


def run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Train a run again from the JSON file that its details offer, and its base first if it has one. "
        "The same device and thread count give the same results."
    )
    parser.set_defaults(command=run, kept=NOTHING_KEPT)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("recipe", nargs="?", type=Path, metavar="SPEC.json", help="JSON file of a run")
    source.add_argument("--run", metavar="ID", help="id of a run on this machine, instead of a file")
    parser.add_argument(
        "--base", type=Path, metavar="BASE.safetensors", help="weights of the base; it is not trained again"
    )
    parser.add_argument(
        "--network",
        metavar="NAME",
        help=f"network with weights that the run, or its base, starts from: {NAMES} (default: the one in the library)",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="new folder for the results (default: the run's id)")
    devices = [device for device in DEVICES if device != "auto"]
    parser.add_argument("--device", choices=devices, help="where to train (default: the run's device)")
    parser.add_argument("--threads", type=int, metavar="N", help="number of CPU threads (default: that of the run)")
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(options: argparse.Namespace) -> int:
    """Train, write the files, and print whether the weights equal those of the original run."""
    settings = Settings.from_environment(options.home)
    recipe = _recipe(options, settings)
    out: Path = options.out or Path(recipe.run)
    if options.threads is not None and not 1 <= options.threads <= 1024:
        raise SpecError(f"The number of threads must be 1 to 1024, not {options.threads}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SpecError(f"{out} exists already: name a new folder with --out.")
    _check_network(recipe.spec.network, options.network, settings)
    runner = RecipeRunner(settings, options.device, options.threads)
    notes: list[str] = []
    with os_error_as(LabError, f"{out} cannot be written"):
        # The folder is renamed when it is complete, so that it exists as a whole or not at all.
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}.") as made:
            folder = Path(made) / "run"
            base = None
            if recipe.spec.base is not None:
                base, notes = _base(recipe, options.base, runner, folder / "base")
            elif options.base is not None:
                raise SpecError("This run starts from no pretrain run: leave --base out.")
            outcome = runner.train(recipe, folder, base)
            weights = weights_digest(folder)
            (folder / "result.json").write_text(json.dumps(outcome.result.to_dict(), indent=2) + "\n", encoding="utf-8")
            if out.exists():
                out.rmdir()
            folder.rename(out)
    files = [str(out / name) for name in sorted(outcome.files)]
    same = None if recipe.weights is None or recipe.stopped else weights == recipe.weights
    if options.json:
        answer = {"files": files, "same_weights": same, "notes": notes, "result": outcome.result.to_dict()}
        print(json.dumps(answer, indent=2))
        return 0
    primary = recipe.spec.objective.primary
    reached = primary.text(outcome.result.measures.get(primary.name))
    print(f"{recipe.spec.label}, seed {recipe.spec.seed}: {reached} on the test part.")
    print(f"Files: {listed(files)}")
    for note in [*notes, _judgement(recipe, outcome, same)]:
        print(note)
    return 0


def _recipe(options: argparse.Namespace, settings: Settings) -> Recipe:
    """Read the recipe. Raises: LabError: there is none, or it is not valid."""
    if options.run is not None:
        lab = Lab(settings)
        try:
            return lab.recipe(options.run)
        finally:
            lab.close()
    try:
        with options.recipe.open(encoding="utf-8") as file:
            return Recipe.read(file.read(MAX_CHARACTERS + 1))
    except OSError as error:
        raise SpecError(f"{options.recipe} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{options.recipe} is not a spec: it is not text.") from error


def _check_network(network: NetworkSpec, given: str | None, settings: Settings) -> None:
    """Make sure that a network with weights is in the library.

    Raises:
        LabError: it is not, what is given is another one, or cannot be imported.
    """
    if network.brought is None:
        if given is not None:
            raise SpecError("This run starts from no network that was imported: leave --network out.")
        return
    if given is None:
        if all(card.digest != network.brought for card in Networks(settings).list()):
            raise SpecError(
                f"This run starts from the network {network.sizes} ({network.brought[:12]}), which is not in this home "
                "folder: name it with --network."
            )
        return
    lab = Lab(settings)
    try:
        card = network_named(lab.networks, given)
    finally:
        lab.close()
    if card.digest != network.brought:
        raise SpecError(
            f"{given} is not the network that this run starts from: its files have the digest {card.digest[:12]}, not "
            f"{network.brought[:12]}."
        )


def _base(recipe: Recipe, given: Path | None, runner: RecipeRunner, folder: Path) -> tuple[Path, list[str]]:
    """The weights of the base, trained unless they are given, and notes about them.

    Raises:
        SpecError: the given weights are not those of the run's base, or the base cannot be trained again.
    """
    wanted = recipe.base.weights if recipe.base else None
    if given is not None:
        if not given.is_file():
            raise SpecError(f"There is no file {given}: name the base's weights with --base.")
        if wanted not in (None, sha256_of(given)):
            raise SpecError(f"{given} is not the base that this run started from, {recipe.spec.base}.")
        return given, []
    if recipe.base is None:
        raise SpecError("This file does not say how its base was trained: give the base's weights with --base.")
    if recipe.base.stopped:
        raise SpecError(
            f"The base {recipe.base.run} was stopped by hand, which cannot be repeated: download its weights and "
            "give them with --base."
        )
    runner.train(recipe.base, folder, None)
    if wanted in (None, weights_digest(folder)):
        return folder / NETWORK, []
    reason = _reason(recipe.base) or "another processor or version rounds differently"
    return folder / NETWORK, [
        f"Note: each step of the base equals the original up to rounding only, since {reason}, and this adds up; give "
        "its weights with --base."
    ]


def _judgement(recipe: Recipe, outcome: Ended, same: bool | None) -> str:
    """A sentence that compares the result with that of the original run."""
    if recipe.stopped:
        taken = "" if recipe.steps is None else f" after {recipe.steps:,} steps"
        return f"The original run was stopped{taken}; this one was trained to the end, {outcome.result.steps:,} steps."
    if same is None:
        return "The recipe contains no result to compare with."
    if same:
        return "The weights are bit for bit those of the original run."
    reason = _reason(recipe) or "device, thread count, base, processor or version differ"
    return f"The original run had {percent(recipe.accuracy)}; the weights differ, since {reason}."


def _reason(recipe: Recipe) -> str | None:
    """Why weights may differ on the same device and thread count; None if they should not."""
    return f"it was trained in a bank of {recipe.bank} runs" if recipe.bank > 1 else None


class RecipeRunner:
    """Trains recipes on one device with one number of threads."""

    def __init__(self, settings: Settings, device: str | None, threads: int | None) -> None:
        """Args:
        settings: the home folder, with datasets and networks.
        device: where to train; None for that of the recipe.
        threads: CPU threads; None for those of the recipe.
        """
        self._networks = Networks(settings)
        self._tasks = Tasks(Catalog(settings), tokenizer=self._networks.tokenizer)
        self._device = device
        self._threads = threads

    def train(self, recipe: Recipe, folder: Path, base: Path | None) -> Ended:
        """Train and write the files to a folder, and show progress on stderr. Raises: LabError: training failed."""
        spec: RunSpec = recipe.spec.but(device=self._device or recipe.device or recipe.spec.device)
        threads = self._threads or recipe.threads
        dependencies = Dependencies(self._tasks, self._networks, lambda run: base or folder)
        job = Job.of(recipe.run, spec, threads)
        with ProgressBar(f"{spec.label}, seed {spec.seed}", "step") as shown:
            for message in run_job(job, dependencies, Commands()):
                match message:
                    case Began(steps=steps):
                        shown.show(0, total=steps)
                    case Reported(event=StepLoss(losses=losses)):
                        shown.show(shown.done + len(losses))
                    case Failed(fault=fault):
                        raise RunFailedError(fault.cause)
                    case Ended(files=files):
                        for name, content in files.items():
                            write_atomically(folder / name, content)
                        return message
        raise RunFailedError("The run ended without a result.")
