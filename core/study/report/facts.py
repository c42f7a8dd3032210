"""What was run, as names and values for a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from core.study.arms.tuning import seeds_text
from core.study.report.evidence import Evidence
from core.wording.numbers import count_text, listed, percent, seconds_text
from core.wording.tasks import task_text


def facts_of(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Network, base, task, settings, seeds, device and versions of an experiment."""
    specs = [run.spec for run in evidence.members]
    first, results = specs[0], [run.result for run in evidence.members if run.result]
    yield "Experiment", f"{evidence.experiment.id}, started {_moment(evidence.experiment.created)}"
    # A run with adapters counts them as well: the network itself is the smallest.
    plain = min((result.parameters for result in results), default=None)
    yield "Network", f"{first.network.title} {first.network.sizes}, {count_text(plain)} parameters"
    yield from _bases(evidence)
    images = evidence.remeasured.images
    counts = f": {count_text(images[0])} images to train on, {count_text(images[1])} to choose by, " if images else ""
    yield "Target", task_text(first.task) + (f"{counts}{count_text(images[2])} to test with" if images else "")
    yield "Settings", listed(list(dict.fromkeys(spec.label for spec in specs)))
    by_method: dict[str, set[str]] = {}
    for own in {spec.adapter for spec in specs if spec.adapter}:
        words = f"alpha {own.alpha:g}, scaling {own.scaling}, A drawn {own.start}, on {' '.join(own.target_modules)}"
        by_method.setdefault(own.title, set()).add(words)
    for title, settings in sorted(by_method.items()):
        yield title, listed(sorted(settings))
    epochs, batches = ({getattr(spec.optim, name) for spec in specs} for name in ("epochs", "batch_size"))
    passes, sizes = (listed([str(n) for n in sorted(found)]) for found in (epochs, batches))
    yield "Training", f"Adam, {passes} epochs, batches of {sizes}"
    yield "Learning rates", "; ".join(_rates(evidence))
    yield "Seeds", _seeds(evidence)
    states = Counter(run.state for run in evidence.members)
    counted = listed([f"{count} {state}" for state, count in states.items()])
    spent = sum(run.training_seconds for run in evidence.members)
    yield "Runs", f"{counted}; {seconds_text(spent)} of training in all"
    devices = sorted({result.device for result in results})
    threads = sorted({result.threads for result in results})
    yield "Device", f"{listed(devices)}, {listed([str(count) for count in threads])} threads"
    yield "Versions, now", ", ".join(f"{name} {number}" for name, number in evidence.versions.items())


def _bases(evidence: Evidence) -> Iterator[tuple[str, str]]:
    if not evidence.bases:
        return
    first = evidence.bases[0]
    optim = first.spec.optim
    how = f"{task_text(first.spec.task)}, {optim.epochs} epochs, learning rate {optim.learning_rate:g}"
    reached = [percent(base.result.accuracy) for base in evidence.bases if base.result]
    if len(evidence.bases) == 1:
        yield "Base", f"{how}; {reached[0] if reached else 'no result'} on its test part ({first.id})"
    else:
        yield "Bases", f"one for each seed: {how}; on their test part {listed(reached)}"


def _rates(evidence: Evidence) -> Iterator[str]:
    for choice in evidence.choices:
        tried = listed([f"{rate:g}" for rate in choice.tried])
        yield f"{choice.arm.spec.label}: {tried}"


def _seeds(evidence: Evidence) -> str:
    seeds = seeds_text(evidence.seeds).removeprefix("seeds ").removeprefix("seed ")
    if not evidence.tuned:
        return seeds
    return (
        f"{seeds}; the same ones chose the learning rates, on the validation part, and are compared, on the test part"
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
