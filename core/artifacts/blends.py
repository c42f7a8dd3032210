"""Adapters of finished runs blended into one, which is evaluated and written as any adapter is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.adapter.blend import blend
from core.adapter.card import Card
from core.adapter.write import adapter_bytes
from core.artifacts.artifacts import Artifacts
from core.artifacts.trial import Score
from core.engine.jobs.run_files import probe_of
from core.errors import LoRAError
from core.methods.heads import head_paths, head_state
from core.methods.lora import LoRASpec
from core.networks.fingerprint import base_fingerprint
from core.networks.network import NetworkSpec
from core.numbers import number_text, percent
from core.store.record import Run
from core.tasks.tasks import Tasks
from core.wording.tasks import task_text

ENERGY = "the sum's energy, its squared Frobenius norm"
"""What a lower rank keeps a share of."""
ROUNDING = 1e-6
"""Share of the energy of a sum that is not counted as lost."""


@dataclass(frozen=True)
class Blend:
    """A blend of adapters."""

    content: bytes
    """The adapter file."""
    spec: LoRASpec
    scores: tuple[Score, ...]
    """Of the blend on the tasks of all runs and of their base, by the objective of the first run."""
    kept: float
    """Share of the energy of the summed changes that the rank keeps; see :func:`core.adapter.blend.blend`."""

    @property
    def cut(self) -> str:
        """What the rank keeps of the sum, as a clause; empty if nothing is lost."""
        return _cut(self.spec.rank, self.kept)


def start_of(run: Run) -> tuple[str | None, NetworkSpec, int | None, str]:
    """What a run started from, and the kind of its objective; runs that share all of it can be blended.

    A new head is drawn from the seed, so that each seed has another start.
    """
    spec = run.spec
    return spec.base, spec.trained_network, spec.seed if spec.has_new_head else None, spec.objective.kind


def blended(artifacts: Artifacts, tasks: Tasks, parts: Sequence[tuple[Run, float]], rank: int | None = None) -> Blend:
    """Blend the adapters of some runs.

    Args:
        artifacts: has the files.
        tasks: what the blend is evaluated on.
        parts: runs with adapters on one base, each with its weight; at least one.
        rank: see :func:`core.adapter.blend.blend`.

    Raises:
        LoRAError: the runs started from different networks, or see :func:`core.adapter.blend.blend`.
        LabError: a file or a dataset is gone or damaged.
    """
    first = parts[0][0]
    if len({start_of(run) for run, _ in parts}) > 1:
        raise LoRAError("Only adapters that started from the same network can be blended: choose two of one base.")
    base = artifacts.base_network(first)
    network, spec, kept = blend(base, [(artifacts.adapter(run.id), weight) for run, weight in parts], rank)
    wanted = [task for run, _ in parts for task in (run.spec.task, run.spec.source) if task is not None]
    scores, objective = [], first.spec.objective
    for task_spec in dict.fromkeys(wanted):
        task = tasks.get(task_spec, network=first.spec.network)
        scores.append(Score.of(base, network, task, objective))
    trained_on = [tasks.get(run.spec.task, network=run.spec.network) for run, _ in parts]
    own, cut = trained_on[0], _cut(spec.rank, kept)
    names = {task.class_names for task in trained_on}
    card = Card(
        run=" + ".join(f"{number_text(weight, 2)} × {run.id}" for run, weight in parts),
        base=first.spec.base or "",
        task=(f"A blend of {len(parts)} adapters, by the weighted sum of their changes{f'; {cut}' if cut else ''}",),
        results={
            f"{score.measure.title} on {task_text(score.task, objective)}": score.measure.text(score.values[1])
            for score in scores
        },
        labels=own.class_names if len(names) == 1 else (),
        data=first.spec.task if objective.has_classes and len({run.spec.task for run, _ in parts}) == 1 else None,
        length=min(run.spec.task.length for run, _ in parts) if first.spec.network.reads_tokens else None,
        has_classes=objective.has_classes,
        written="blend",
    )
    probe = probe_of(own.test, first.spec.network)
    head = {} if head_paths(base) else {name: base.state_dict()[name] for name in head_state(network)}
    mark = base_fingerprint(base)
    content = adapter_bytes(network, spec, base_fingerprint=mark, base_head=head, card=card, probe=probe)
    return Blend(content, spec, tuple(scores), kept)


def _cut(rank: int, kept: float) -> str:
    """What a rank keeps of a sum of changes, as a clause; empty if it loses no more than rounding does."""
    return "" if kept > 1 - ROUNDING else f"rank {rank} keeps {percent(100 * kept)} of {ENERGY}"
