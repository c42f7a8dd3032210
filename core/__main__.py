"""The command line of LoRA Lab: ``python -m core``.

Its commands are ``compare``, ``grow``, ``report``, ``run``, ``serve``, ``time``, ``verify`` and ``restore``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from tqdm import tqdm

from core.adapter import verify_adapter
from core.cli import grow as grow_command
from core.cli import restore as restore_command
from core.cli import run as run_command
from core.cli import serve as serve_command
from core.cli import step_time as time_command
from core.data.presets import PRESETS
from core.engine.experiment import Setting
from core.engine.job import ADAPTER, NETWORK
from core.errors import LabError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.methods.method import MethodSpec, Role
from core.methods.pretrain import PretrainSpec
from core.methods.registry import adapter_methods, methods
from core.run_spec import OptimSpec, default_rate
from core.settings import Settings
from core.signals import Signalled, raised
from core.spec import DEVICES, Spec, bounds
from core.store.record import Experiment, Run
from core.study.arms.arm import arms_of
from core.study.arms.choice import chosen_arms, dropped_sentences
from core.study.arms.fairness import comparable
from core.study.arms.tables import comparison_text, plain_table
from core.study.arms.tuning import TuneSpec, choice_sentence, end_sentences, is_tuned, rate_choices, tuned_arms
from core.study.arms.verdict import MarginSpec, Verdict, verdict
from core.study.arms.verdict_words import costs, explanation, headline
from core.study.report.html import write_report
from core.study.report.report import report_of
from core.study.stats.claims import DEFAULT_SEEDS

POLL_SECONDS = 0.1

KEPT = (
    "Every run is kept with its progress: start the dashboard on the same home folder (streamlit run app.py), and "
    "press Resume on the Runs page to continue."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns: the exit status: 0, 1 if the command failed, or 128 + the number of a signal."""
    options = _parser().parse_args(arguments)
    try:
        with raised():
            status: int = options.command(options)
    except Signalled as signalled:
        print(f"\nEnded by {signalled}. {KEPT}", file=sys.stderr)
        return signalled.status
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


def compare(options: argparse.Namespace) -> int:
    """Pretrain, fine-tune with every method, and print the comparison."""
    _check_output(options)
    lab = Lab(Settings.from_environment(options.home))
    lab.start()
    try:
        experiment = _launch(lab, options)
        return _answer(lab, experiment, experiment.runs, options)
    finally:
        lab.close()


def _check_output(options: argparse.Namespace) -> None:
    """Raises: LabError: the margin is out of bounds, or there is no folder for the report."""
    MarginSpec.of(within=options.within)
    if options.report and not options.report.absolute().parent.is_dir():
        raise LabError(f"The folder of {options.report} does not exist: make it, or name another file.")


def _answer(lab: Lab, experiment: Experiment, new: Sequence[str], options: argparse.Namespace) -> int:
    """Wait until the new runs of an experiment have ended, and print its comparison. Returns: the exit status."""
    _follow(lab, new)
    members = lab.members(experiment)
    bases = lab.runs_of(list(dict.fromkeys(str(run.spec.base) for run in members)))
    ended = lab.runs_of(new)
    needed = {run.spec.base for run in ended}
    failed = [run for run in (*bases, *ended) if run.result is None and (run in ended or run.id in needed)]
    for run in failed:
        print(f"error: {run.spec.label}, seed {run.spec.seed}: {run.cause or run.state}", file=sys.stderr)
    base = next((run for run in bases if run.result), None)
    # With tuning, a rate at which training diverges is a result; without it, any failed run is a failure.
    tuned = is_tuned(run.spec for run in members)
    if base is None or not any(run.result for run in members) or (failed and (not tuned or bases[0] in failed)):
        return 1
    if options.report:
        write_report(options.report, report_of(lab, experiment, options.within))
        print(f"The report is in {options.report}.", file=sys.stderr)
    if options.json:
        print(json.dumps(_as_json(lab, base, members, options.within), indent=2))
    else:
        _print_comparison(members, options.within)
    return 0


def report(options: argparse.Namespace) -> int:
    """Write the report of an experiment in the home folder."""
    lab = Lab(Settings.from_environment(options.home))
    try:
        write_report(options.file, report_of(lab, lab.experiment(options.experiment), options.within))
    finally:
        lab.close()
    return 0


def _print_comparison(members: list[Run], margin: float) -> None:
    chosen = chosen_arms(members)
    print(plain_table(comparison_text(chosen or arms_of(members)), turned=True))
    print()
    found = verdict(members, margin)
    print(headline(found))
    for sentence in filter(None, [*explanation(found), costs(found)]):
        print(sentence)
    warnings = dropped_sentences(members) + comparable(members)
    if chosen and is_tuned(run.spec for run in members):
        choices = rate_choices(members)
        print(choice_sentence(choices))
        warnings = end_sentences(choices) + warnings
    for warning in warnings:
        print(f"Note: {warning}")


def verify(options: argparse.Namespace) -> int:
    """Check an adapter file against its base."""
    print(verify_adapter(options.adapter, options.base))
    return 0


def _launch(lab: Lab, options: argparse.Namespace) -> Experiment:
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


def _follow(lab: Lab, new: Sequence[str]) -> None:
    """Show a progress bar on stderr until these runs and their bases have ended."""
    ids = [*dict.fromkeys(str(run.spec.base) for run in lab.runs_of(new)), *new]
    with tqdm(
        total=len(ids), file=sys.stderr, unit="run", bar_format="{desc} {bar} {n:.1f}/{total_fmt} {elapsed}"
    ) as bar:
        while True:
            runs = lab.runs_of(ids)
            live = [run for run in runs if run.is_live]
            bar.n = sum(run.progress if run.is_live else 1 for run in runs)
            now = next((run for run in live if run.state == "running"), None)
            bar.set_description_str(f"{now.spec.label}, seed {now.spec.seed}" if now else "waiting", refresh=True)
            if not live:
                bar.set_description_str("done")
                return
            time.sleep(POLL_SECONDS)


def _as_json(lab: Lab, base: Run, runs: list[Run], margin: float | None = None) -> dict[str, Any]:
    results = {run.id: run.result for run in (base, *runs) if run.result}
    arms = []
    chosen = {arm.key for arm in chosen_arms(runs)}
    for arm in arms_of(runs):
        own = [results[run.id] for run in arm.runs]
        arms.append(
            {
                "label": arm.label,
                "method": FullSpec.name() if arm.role is Role.CONTROL else arm.spec.kind,
                "control": arm.spec.kind if arm.role is Role.CONTROL else None,
                "learning_rate": arm.learning_rate,
                "chosen": arm.key in chosen,
                "rank": arm.adapter.rank if arm.adapter else None,
                "trainable_parameters": own[0].trainable_parameters,
                "validation_accuracy": [result.validation_accuracy for result in own],
                "accuracy": [result.accuracy for result in own],
                "source_accuracy": [result.source_accuracy for result in own],
                "seconds": fmean(result.seconds for result in own),
                "adapter": str(lab.artifacts.path(arm.runs[0].id, ADAPTER)) if arm.adapter else None,
                "runs": [run.id for run in arm.runs],
            }
        )
    first = results[base.id]
    return {
        "device": next(results[run.id].device for run in runs if run.id in results),
        "base": {
            "run": base.id,
            "accuracy": first.accuracy,
            "parameters": first.parameters,
            "weights": str(lab.artifacts.path(base.id, NETWORK)),
        },
        "arms": arms,
        "verdict": _verdict_as_json(verdict(runs, margin)),
    }


def _verdict_as_json(found: Verdict) -> dict[str, Any]:
    told = found.told.difference if found.told is not None and not found.reason else None
    # Full fine-tuning minus itself is nothing: the difference is then that of the best adapter setting.
    known = told is not None and isfinite(told.interval.half_width)
    return {
        "level": str(found.level),
        "sentence": headline(found),
        "choice": found.choice.label if found.choice is not None else None,
        "difference": told.interval.mean if told is not None else None,
        "interval": [told.interval.low, told.interval.high] if told is not None and known else None,
        "p": told.p if told is not None and isfinite(told.p) else None,
        "seeds": found.seeds,
        "seeds_needed": told.seeds_needed if told is not None else None,
        "adapter_run": found.offered.id if found.offered is not None else None,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    job = commands.add_parser("compare", help="pretrain, fine-tune fully and with LoRA, and compare")
    job.set_defaults(command=compare)
    job.add_argument("--source", help="dataset of the base (default: the best one on this machine)")
    job.add_argument("--target", help="dataset to fine-tune on (default: the source)")
    lines = "; ".join(f"{preset.name}: {preset.line}" for preset in PRESETS.values())
    job.add_argument("--preset", default="rotation-45", choices=list(PRESETS), help=lines.replace("%", "%%"))
    _option(job, "--epochs", OptimSpec, "epochs", int, "of fine-tuning")
    _option(job, "--pretrain-epochs", OptimSpec, "epochs", int, "of the base")
    job.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help="runs per arm, with seeds 0, 1, … (default 8)")
    lines = "; ".join(f"{kind}: {method.line}" for kind, method in adapter_methods().items())
    job.add_argument(
        "--adapters",
        nargs="+",
        choices=list(adapter_methods()),
        default=[LoRASpec.name()],
        help=f"methods that train adapters, each with every rank: {lines} (default {LoRASpec.name()})",
    )
    _option(job, "--rank", LowRankSpec, "rank", int, "one arm per rank", nargs="+", default=[4])
    _option(job, "--alpha", LowRankSpec, "alpha", float)
    for kind, method in (methods(Role.REFERENCE) | methods(Role.ADAPTER)).items():
        default = default_rate(method)
        _option(job, f"--lr-{kind}", OptimSpec, "learning_rate", float, f"of {method.title}", default=default)
    _option(job, "--batch-size", OptimSpec, "batch_size", int)
    _option(
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
    for output in (job, grow_command.register(commands, _check_output, _answer)):
        _option(output, "--within", MarginSpec, "within", float, metavar="X")
        output.add_argument("--report", type=Path, metavar="FILE", help="write the decision report, one HTML file")
        output.add_argument("--home", type=Path, help="folder for runs and datasets (default: LORA_LAB_HOME)")
        output.add_argument("--json", action="store_true", help="print one JSON object instead of a table")

    page = commands.add_parser("report", help="write the report of an existing experiment")
    page.set_defaults(command=report)
    page.add_argument("experiment", metavar="EXPERIMENT", help="its id, as in the address of the Compare page")
    page.add_argument("file", type=Path, metavar="FILE", help="HTML file to write")
    page.add_argument("--home", type=Path, help="folder for runs and datasets (default: LORA_LAB_HOME)")
    _option(page, "--within", MarginSpec, "within", float, metavar="X")

    run_command.register(commands)
    restore_command.register(commands)
    time_command.register(commands)
    serve_command.register(commands)

    check = commands.add_parser("verify", help="check an adapter file against its base")
    check.set_defaults(command=verify)
    check.add_argument("adapter", type=Path, metavar="ADAPTER.zip")
    check.add_argument("--base", type=Path, required=True, metavar="BASE.safetensors")
    return parser


def _option(
    parser: argparse.ArgumentParser,
    flag: str,
    spec: type[Spec],
    field: str,
    kind: type,
    more: str = "",
    shown: object = None,
    **settings: Any,
) -> None:
    """Add an option with the meaning, default and bounds of a spec's field."""
    about = bounds(spec, field)
    default = settings.setdefault("default", about.default)
    shown = shown or (default[0] if isinstance(default, list) else default)
    limits = f"{about.low:g} to {about.high:g}" if about.low is not None and about.high is not None else ""
    text = " ".join(
        filter(
            None, [f"{about.title}{', ' + more if more else ''}: {about.description}", f"({limits}; default {shown})"]
        )
    )
    parser.add_argument(flag, type=kind, help=text.replace("%", "%%"), **settings)


if __name__ == "__main__":
    sys.exit(main())
