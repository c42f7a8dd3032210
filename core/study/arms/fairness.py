"""Checks for an unfair comparison, and the runs that are missing in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from core.methods.method import Role
from core.numbers import counted, listed, seeds_text
from core.plan.experiment import head_for
from core.results.arm import arms_of
from core.results.choice import candidates, comparisons_of
from core.results.intervals import MIN_SEEDS
from core.results.row import Row
from core.results.setting import Setting, labels_of, order, tuning_groups
from core.run_spec import OptimSpec

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


def comparable(rows: Iterable[Row]) -> list[str]:
    """What makes a comparison of these rows unfair, one sentence each; empty where it is fair.

    Pretrain runs are left out where others are there: they are the base, not a side.
    """
    everything = list(rows)
    compared = {arm.key for arms in comparisons_of(everything) for arm in arms}
    chosen = [row for row in everything if row.setting.key in compared] or everything
    arms, settings = arms_of(chosen), [row.setting for row in chosen]
    tried = _settings_tried(settings)
    budgets = "; ".join(f"{count} for {listed(labels)}" for count, labels in sorted(tried.items()))
    # A search is the same procedure for all, whatever number of rates it comes to, and with few seeds for most of them.
    searched = bool(chosen) and all(row.plan is not None for row in chosen)
    few = [] if searched else [arm.label for arm in arms if len(arm.rows) < MIN_SEEDS]
    missing, labels = missing_rows(chosen), labels_of(settings)
    stopped = [row for row in missing if row.state == "stopped"]
    failed = [row for row in missing if row.state == "failed"]
    interrupted = [row for row in missing if row.state == "interrupted"]
    pending = sum(row.is_live for row in chosen) + len(interrupted)
    waiting = f", and somebody has to finish {named_rows(interrupted, labels)}" if interrupted else ""
    devices = sorted({row.result.device for row in chosen if row.result})
    checks = [
        (_bases_differ(chosen), "These runs start from different bases: a difference may come from there."),
        (
            len({each.task for each in settings}) > 1,
            "These runs learn different tasks, so their accuracies do not compare.",
        ),
        (_epochs_differ(everything), EPOCHS_DIFFER),
        *((True, sentence) for sentence in _training_differs(settings)),
        (any(map(_had_frozen_head, settings)), HEAD_FROZEN),
        (
            not searched and len({arm.seeds for arm in arms}) > 1,
            "Not every setting has the same seeds: a difference between two settings uses only those that both have.",
        ),
        (is_rate_shared((each.learning_rate, each.role) for each in settings), RATE_SHARED),
        (
            not searched and len(tried) > 1,
            f"Validation chooses among different numbers of settings ({budgets}): more to choose from is an advantage.",
        ),
        (
            bool(few),
            f"{TOO_FEW} in {listed(few)}: their intervals are too wide to be useful.",
        ),
        (bool(stopped), f"Runs that were stopped early take no part in the verdict: {named_rows(stopped, labels)}."),
        (
            bool(failed),
            f"{counted(len(failed), 'run')} failed, and the means are only of those that did not: "
            f"{named_rows(failed, labels)}.",
        ),
        (pending > 0, f"{counted(pending, 'run')} still to finish: the numbers will change{waiting}."),
        (len(devices) > 1, f"These runs trained on {listed(devices)}: their times do not compare."),
    ]
    return [sentence for applies, sentence in checks if applies]


HEAD_FROZEN = (
    "Below the adapters the head was frozen, although there are classes that the base was not trained on, and full "
    "fine-tuning trained it. Compared anew, every method trains the head."
)
"""Of runs of earlier versions."""


def _had_frozen_head(setting: Setting) -> bool:
    """Whether an adapter run of an earlier version left a head frozen that every method trains now."""
    spec = setting.spec
    if spec is None or setting.role is not Role.ADAPTER or spec.head or spec.source is None or spec.is_direct:
        return False
    return head_for(spec.network, spec.source, spec.task, spec.objective) is not None


def _bases_differ(rows: Sequence[Row]) -> bool:
    """Whether settings start from different bases; bases that go with the seeds must be the same for all of a seed."""
    by_seed: dict[int | None, set[str | None]] = {}
    for row in rows:
        is_own = row.setting.spec is not None and row.setting.spec.own_base
        by_seed.setdefault(row.seed if is_own else None, set()).add(row.base)
    return len({row.setting.start for row in rows}) > 1 or any(len(bases) > 1 for bases in by_seed.values())


OWN_SENTENCES = {
    "batch_size": "These runs use different batch sizes, so they take different numbers of steps per epoch.",
    "accumulation": "These runs compute a batch in different numbers of parts: their times and memory do not compare.",
}
"""What it means that runs differ in a setting of training, by its field; others are named in one sentence."""


EPOCHS_DIFFER = "These runs train for different numbers of epochs, among which not every method could choose."


def _epochs_differ(rows: Iterable[Row]) -> bool:
    """Whether methods were tried with different numbers of epochs; a search tries them the same way for all."""
    tried: dict[object, set[int]] = {}
    for row in rows:
        if row.plan is None and row.setting.role is not Role.BASE:
            tried.setdefault((row.setting.method, row.setting.size), set()).add(row.setting.epochs)
    return len({frozenset(own) for own in tried.values()}) > 1


def _training_differs(settings: Sequence[Setting]) -> list[str]:
    """A sentence for each setting of training but the learning rate in which rows differ, and one for the others.

    What every method, rank and control could choose among is fair: for all but those in
    :data:`OWN_SENTENCES`, the values that each was trained with are compared.
    """
    sentences, others = [], []
    groups = tuning_groups(settings)
    # Elsewhere the head has the rate of the method.
    with_rest = [own for own in groups if own[0].spec is None or not own[0].spec.method.only_head]
    for name, about in OptimSpec.model_fields.items():
        own = with_rest if name == "head_rate" else groups
        tried = [frozenset(_trained_with(setting, name) for setting in arms) for arms in own]
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


def _trained_with(setting: Setting, field: str) -> object:
    """A field of training; of results from elsewhere those that are reported."""
    return getattr(setting, field, None) if setting.spec is None else getattr(setting.spec.optim, field)


def _settings_tried(settings: Iterable[Setting]) -> dict[int, list[str]]:
    """Labels of methods, ranks and controls by the number of settings that validation can choose among for each.

    Every setting counts, whichever of learning rate, alpha, layers and so on tells it from the others.
    """
    tried: dict[int, dict[str, None]] = {}
    for own in tuning_groups(settings):
        tried.setdefault(len(own), {})[own[0].label] = None
    return {count: list(labels) for count, labels in tried.items()}


MAX_NAMED = 8
"""Settings that a sentence names with their seeds; more are counted."""


def missing_rows(rows: Iterable[Row]) -> list[Row]:
    """The rows that an answer lacks: the latest of each setting and seed of which none has finished, whatever became
    of it.

    In :func:`core.results.setting.order`, and by seed. Left out is what somebody has put away.

    Args:
        rows: of an experiment, in any state.
    """
    latest: dict[tuple[str, int], Row] = {}
    finished: set[tuple[str, int]] = set()
    for row in sorted(rows, key=lambda row: (row.created, row.id)):
        place = row.setting.key, row.seed
        if row.state == "finished":
            finished.add(place)
        if not row.archived:
            latest[place] = row
    found = [row for place, row in latest.items() if place not in finished]
    return sorted(found, key=lambda row: (order(row.setting), row.seed))


def lost_rows(rows: Iterable[Row]) -> list[Row]:
    """Those of :func:`missing_rows` that make an answer incomplete.

    A rate at which training diverges is a result where others were tried for the same method and rank, and one of them
    could be chosen.
    """
    everything = list(rows)
    able = {arm.setting.group for arms in comparisons_of(everything) for arm in candidates(arms)}
    return [row for row in missing_rows(everything) if not (row.has_diverged and row.setting.group in able)]


def named_rows(rows: Sequence[Row], labels: Mapping[str, str]) -> str:
    """Rows in a sentence, as in ``Full (seed 1) and LoRA r=4 (seeds 0 and 2)``.

    Args:
        rows: to be named.
        labels: of settings by their keys; see :func:`core.results.setting.labels_of`.
    """
    seeds: dict[str, set[int]] = {}
    for row in rows:
        seeds.setdefault(row.setting.key, set()).add(row.seed)
    names = [f"{labels[key]} ({seeds_text(sorted(found))})" for key, found in seeds.items()]
    more = len(names) - MAX_NAMED
    return listed([*names[:MAX_NAMED], counted(more, "more setting")] if more > 0 else names)
