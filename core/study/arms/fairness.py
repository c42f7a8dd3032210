"""Checks for an unfair comparison, and the runs that are missing in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from core.methods.method import Role
from core.numbers import counted, listed, seeds_text
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Run
from core.study.arms.arm import arm_order, arms_of, labels_of, tuning_group, tuning_groups
from core.study.arms.choice import candidates, comparisons_of
from core.study.stats.intervals import MIN_SEEDS

TOO_FEW = f"Fewer than {MIN_SEEDS} seeds"
"""Beginning of a warning about settings whose intervals say little."""

RATE_SHARED = (
    "Full fine-tuning and LoRA share one learning rate: this usually handicaps LoRA, whose best rate is often several "
    "times higher."
)


def is_rate_shared(settings: Iterable[tuple[float, Role]]) -> bool:
    """Whether full fine-tuning and adapters have one and the same learning rate.

    Args:
        settings: learning rate of each, and role of its method.
    """
    rates: dict[Role, set[float]] = {}
    for rate, role in settings:
        if not rate:  # not reported
            return False
        rates.setdefault(role, set()).add(rate)
    full, adapters = rates.get(Role.REFERENCE), rates.get(Role.ADAPTER)
    return full is not None and len(full) == 1 and full == adapters


def comparable(runs: Iterable[Run]) -> list[str]:
    """What makes a comparison of these runs unfair, one sentence each; empty where it is fair.

    Pretrain runs are left out where others are there: they are the base, not a side.
    """
    everything = list(runs)
    compared = {arm.key for arms in comparisons_of(everything) for arm in arms}
    chosen = [run for run in everything if run.spec.arm in compared] or everything
    arms, specs = arms_of(chosen), [run.spec for run in chosen]
    tried = _settings_tried(specs)
    budgets = "; ".join(f"{count} for {listed(labels)}" for count, labels in sorted(tried.items()))
    # A search is the same procedure for all, whatever number of rates it comes to, and with few seeds for most of them.
    searched = bool(chosen) and all(run.plan is not None for run in chosen)
    few = [] if searched else [arm.label for arm in arms if len(arm.runs) < MIN_SEEDS]
    missing, labels = missing_runs(chosen), labels_of(specs)
    stopped = [run for run in missing if run.state == "stopped"]
    failed = [run for run in missing if run.state == "failed"]
    interrupted = [run for run in missing if run.state == "interrupted"]
    pending = sum(run.is_live for run in chosen) + len(interrupted)
    waiting = f", and somebody has to finish {named_runs(interrupted, labels)}" if interrupted else ""
    devices = sorted({run.result.device for run in chosen if run.result})
    checks = [
        (_bases_differ(specs), "These runs start from different bases: a difference may come from there."),
        (len({s.task for s in specs}) > 1, "These runs learn different tasks, so their accuracies do not compare."),
        (_epochs_differ(everything), EPOCHS_DIFFER),
        *((True, sentence) for sentence in _training_differs(specs)),
        (
            not searched and len({arm.seeds for arm in arms}) > 1,
            "Not every setting has the same seeds: a difference between two settings uses only those that both have.",
        ),
        (is_rate_shared((spec.optim.learning_rate, spec.role) for spec in specs), RATE_SHARED),
        (
            not searched and len(tried) > 1,
            f"Validation chooses among different numbers of settings ({budgets}): more to choose from is an advantage.",
        ),
        (
            bool(few),
            f"{TOO_FEW} in {listed(few)}: their intervals are too wide to be useful.",
        ),
        (bool(stopped), f"Runs that were stopped early take no part in the verdict: {named_runs(stopped, labels)}."),
        (
            bool(failed),
            f"{counted(len(failed), 'run')} failed, and the means are only of those that did not: "
            f"{named_runs(failed, labels)}.",
        ),
        (pending > 0, f"{counted(pending, 'run')} still to finish: the numbers will change{waiting}."),
        (len(devices) > 1, f"These runs trained on {listed(devices)}: their times do not compare."),
    ]
    return [sentence for applies, sentence in checks if applies]


def _bases_differ(specs: Sequence[RunSpec]) -> bool:
    """Whether arms start from different bases; bases that go with the seeds must be the same for all of a seed."""
    by_seed: dict[int | None, set[str | None]] = {}
    for spec in specs:
        by_seed.setdefault(spec.seed if spec.own_base else None, set()).add(spec.base or spec.network.brought)
    return len({spec.start for spec in specs}) > 1 or any(len(bases) > 1 for bases in by_seed.values())


OWN_SENTENCES = {
    "batch_size": "These runs use different batch sizes, so they take different numbers of steps per epoch.",
    "accumulation": "These runs compute a batch in different numbers of parts: their times and memory do not compare.",
}
"""What it means that runs differ in a setting of training, by its field; others are named in one sentence."""


EPOCHS_DIFFER = "These runs train for different numbers of epochs, among which not every method could choose."


def _epochs_differ(runs: Iterable[Run]) -> bool:
    """Whether methods were tried with different numbers of epochs; a search tries them the same way for all."""
    tried: dict[object, set[int]] = {}
    for run in runs:
        if run.plan is None and run.spec.role is not Role.BASE:
            tried.setdefault((run.spec.kind, run.spec.method.size), set()).add(run.spec.optim.epochs)
    return len({frozenset(own) for own in tried.values()}) > 1


def _training_differs(specs: Sequence[RunSpec]) -> list[str]:
    """A sentence for each setting of training but the learning rate in which runs differ, and one for the others.

    What every method, rank and control could choose among is fair: for all but those in
    :data:`OWN_SENTENCES`, the values that each was trained with are compared.
    """
    sentences, others = [], []
    groups = tuning_groups(specs)
    with_rest = [arms for arms in groups if not arms[0].method.only_head]  # else the head has the rate of the method
    for name, about in OptimSpec.model_fields.items():
        own = with_rest if name == "head_rate" else groups
        tried = [frozenset(getattr(spec.optim, name) for spec in arms) for arms in own]
        values = frozenset().union(*tried)
        if name in ("learning_rate", "epochs") or len(values) < 2:
            continue
        if name in OWN_SENTENCES:
            sentences.append(OWN_SENTENCES[name])
        elif len(set(tried)) > 1:
            others.append(str(about.title).lower())
    if others:
        sentences.append(f"These runs differ in {listed(others)}, from which a difference may come.")
    return sentences


def _settings_tried(specs: Iterable[RunSpec]) -> dict[int, list[str]]:
    """Labels of methods, ranks and controls by the number of settings that validation can choose among for each.

    Every setting counts, whichever of learning rate, alpha, layers and so on tells it from the others.
    """
    tried: dict[int, dict[str, None]] = {}
    for arms in tuning_groups(specs):
        tried.setdefault(len(arms), {})[arms[0].label] = None
    return {count: list(labels) for count, labels in tried.items()}


MAX_NAMED = 8
"""Settings that a sentence names with their seeds; more are counted."""


def missing_runs(runs: Iterable[Run]) -> list[Run]:
    """The runs that an answer lacks: the latest of each arm and seed of which none has finished, whatever became of it.

    In :func:`core.study.arms.arm.arm_order`, and by seed. Left out is what somebody has put away.

    Args:
        runs: of an experiment, in any state.
    """
    latest: dict[tuple[str, int], Run] = {}
    finished: set[tuple[str, int]] = set()
    for run in sorted(runs, key=lambda run: (run.created, run.id)):
        place = run.spec.arm, run.spec.seed
        if run.state == "finished":
            finished.add(place)
        if not run.archived:
            latest[place] = run
    found = [run for place, run in latest.items() if place not in finished]
    return sorted(found, key=lambda run: (arm_order(run.spec), run.spec.seed))


def lost_runs(runs: Iterable[Run]) -> list[Run]:
    """Those of :func:`missing_runs` that make an answer incomplete.

    A rate at which training diverges is a result where others were tried for the same method and rank, and one of them
    could be chosen.
    """
    everything = list(runs)
    able = {arm.tuning_group for arms in comparisons_of(everything) for arm in candidates(arms)}
    return [run for run in missing_runs(everything) if not (run.has_diverged and tuning_group(run.spec) in able)]


def named_runs(runs: Sequence[Run], labels: Mapping[str, str]) -> str:
    """Runs in a sentence, as in ``Full (seed 1) and LoRA r=4 (seeds 0 and 2)``.

    Args:
        runs: to be named.
        labels: of arms by their keys; see :func:`core.study.arms.arm.labels_of`.
    """
    seeds: dict[str, set[int]] = {}
    for run in runs:
        seeds.setdefault(run.spec.arm, set()).add(run.spec.seed)
    names = [f"{labels[arm]} ({seeds_text(sorted(found))})" for arm, found in seeds.items()]
    more = len(names) - MAX_NAMED
    return listed([*names[:MAX_NAMED], counted(more, "more setting")] if more > 0 else names)
