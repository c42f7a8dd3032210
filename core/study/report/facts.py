"""What was run, as names and values for a report, and the terms that it explains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from core.methods.method import Role
from core.numbers import count_text, counted, listed, percent, seconds_text, seeds_text
from core.objectives.objective import ObjectiveSpec
from core.plan.configuration import Configuration
from core.rule.controls import share_sentence
from core.rule.tuning import one_per_group
from core.run_spec import OptimSpec, RunSpec
from core.study.report.evidence import Evidence
from core.wording.tasks import examples_text, task_text


def scope_of(evidence: Evidence) -> str:
    """What an answer is about, in one line: network with its size, task, number of examples, and seeds."""
    spec = evidence.members[0].spec
    parts = [
        f"{spec.network.title} {evidence.network}, {count_text(_parameters(evidence))} parameters",
        f"{task_text(spec.task, spec.objective)}{_counts(evidence)}",
        counted(len(evidence.seeds), "seed"),
    ]
    return f"This answer is about: {'; '.join(parts)}."


def facts_of(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Network, base, task, settings, seeds, device and versions of an experiment."""
    specs = [run.spec for run in evidence.members]
    first, results = specs[0], [run.result for run in evidence.members if run.result]
    yield "Experiment", f"{evidence.experiment.id}, started {_moment(evidence.experiment.created)}"
    yield "Network", f"{first.network.title} {evidence.network}, {count_text(_parameters(evidence))} parameters"
    yield from first.network.facts.items()
    yield from _bases(evidence)
    yield "Target", f"{task_text(first.task, first.objective)}{_counts(evidence)}"
    yield from _lengths(evidence)
    if share := share_sentence(evidence.chosen[0].rows[0], first.network.learns):
        yield "Balance", share
    yield "Settings", listed(list(dict.fromkeys(spec.label for spec in specs)))
    by_method: dict[str, set[str]] = {}
    for method in {spec.method for spec in specs if spec.role is Role.ADAPTER}:
        by_method.setdefault(method.title, set()).add(method.facts)
    for title, settings in sorted(by_method.items()):
        yield title, listed(sorted(settings))
    if evidence.frozen:
        yield "Frozen blocks", " ".join(_frozen(evidence))
    yield "Training", _training([spec.optim for spec in specs])
    yield "Learning rates", "; ".join(_rates(evidence))
    yield "Seeds", _seeds(evidence)
    yield "A seed draws", _drawn(specs)
    states = Counter(run.state for run in evidence.members)
    by_state = listed([f"{count} {state}" for state, count in states.items()])
    spent = sum(run.training_seconds for run in evidence.members)
    yield "Runs", f"{by_state}; {seconds_text(spent)} of training in all"
    devices = sorted({result.device for result in results})
    threads = sorted({result.threads for result in results})
    many = "thread" if threads == [1] else "threads"
    yield "Device", f"{listed(devices)}, {listed([str(count) for count in threads])} {many}"
    yield "Versions, now", ", ".join(f"{name} {number}" for name, number in evidence.versions.items())


def _parameters(evidence: Evidence) -> int | None:
    """Parameters of the network itself: a run with adapters counts them as well, so the network is the smallest."""
    return min((run.result.parameters for run in evidence.members if run.result), default=None)


def _frozen(evidence: Evidence) -> Iterator[str]:
    """What was computed once, as in ``Head only: No block of the network is trained, so …``; arms alike together."""
    by_sentence: dict[str, list[str]] = {}
    for arm in evidence.chosen:
        if sentence := evidence.frozen.get(arm.key):
            by_sentence.setdefault(sentence, []).append(arm.name)
    for sentence, labels in by_sentence.items():
        yield f"{listed(labels)}: {sentence}"


def _counts(evidence: Evidence) -> str:
    """How many examples the target has, as in ``: 108 texts to train on, 12 to choose by, 2,400 to test with``."""
    found = evidence.examples
    if found is None:
        return ""
    train = examples_text(evidence.members[0].spec.network.learns, found[0])
    return f": {train} to train on, {count_text(found[1])} to choose by, {count_text(found[2])} to test with"


def _lengths(evidence: Evidence) -> Iterator[tuple[str, str]]:
    found = evidence.remeasured.truncated
    if found is None:
        return
    lost = "no training text is cut"
    if found.cut:
        lost = (
            f"{count_text(found.cut)} of {count_text(len(found.lengths))} training texts are longer, and "
            f"{percent(100 * found.share_lost)} of all tokens are cut off"
        )
    yield "Longest input", f"{count_text(found.length)} tokens; {lost}"


def _training(optims: Sequence[OptimSpec]) -> str:
    """How the runs were trained; of what is newer than epochs and batches only what was used."""
    epochs, batches = ({getattr(optim, name) for optim in optims} for name in ("epochs", "batch_size"))
    passes, sizes = (listed([str(n) for n in sorted(found)]) for found in (epochs, batches))
    words = [
        "Adam" if not any(optim.weight_decay for optim in optims) else "AdamW",
        f"{passes} {'epoch' if epochs == {1} else 'epochs'}",
        f"batches of {sizes}",
    ]
    for name, about in OptimSpec.model_fields.items():
        values = {getattr(optim, name) for optim in optims}
        if name not in ("learning_rate", "epochs", "batch_size") and values != {about.default}:
            own = ["that of the method"] if None in values else []
            known = sorted(value for value in values if value is not None)
            shown = listed([*map(_value, known), *own])
            words.append(f"{str(about.title).lower()} {shown}")
    return ", ".join(words)


def _value(value: float | str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else f"{value:g}"


def _bases(evidence: Evidence) -> Iterator[tuple[str, str]]:
    if not evidence.bases:
        if (spec := evidence.members[0].spec).is_direct:
            head = ", and its head is drawn from each seed" if spec.has_new_head else ""
            yield "Base", f"none: the network was fine-tuned as it was imported{head}"
            if spec.source is not None:
                yield str(Configuration.model_fields["forgetting"].title), task_text(spec.source, spec.objective)
        return
    first = evidence.bases[0]
    rate = first.spec.optim.learning_rate
    how = f"{task_text(first.spec.task, first.spec.objective)}, {first.epochs_text}, learning rate {rate:g}"
    how += f", {first.spec.method.facts}" if first.spec.method.facts else ""
    reached = [base.score_text() for base in evidence.bases if base.result]
    if len(evidence.bases) == 1:
        yield "Base", f"{how}; {reached[0] if reached else 'no result'} on its test part ({first.id})"
    else:
        yield "Bases", f"one for each seed: {how}; on their test part {listed(reached)}"
    if evidence.members[0].spec.head:
        yield "Head", "trained whole by every method, since there are classes that the base was not trained on"


def _rates(evidence: Evidence) -> Iterator[str]:
    for choice in one_per_group(evidence.choices):
        tried = listed([f"{rate:g}" for rate in choice.tried])
        yield f"{choice.arm.spec.label}: {tried}"


def _seeds(evidence: Evidence) -> str:
    seeds = seeds_text(evidence.seeds).removeprefix("seeds ").removeprefix("seed ")
    if not evidence.tuned:
        return seeds
    return (
        f"{seeds}; the same ones chose the learning rates, on the validation part, and are compared, on the test part"
    )


def _drawn(specs: Sequence[RunSpec]) -> str:
    """What a seed draws, and so what intervals over seeds are about."""
    spec, own = specs[0], dict.fromkeys(spec.method.drawn for spec in specs if spec.method.drawn)
    head = ["the draw of the head"] if spec.has_new_head else []
    dropout = ["dropout"] if spec.network.facts.get("Dropout", "none") != "none" else []
    return listed(["data order", *dropout, *head, *own])


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


WORDS: tuple[tuple[str, str], ...] = (
    ("Full fine-tuning", "every weight of the pretrained network goes on training."),
    (
        "LoRA",
        "the pretrained weights stay as they are; beside each layer two small matrices of rank r are trained, whose "
        "product is added to the layer's weight (Hu et al., arXiv 2106.09685). A higher rank trains and stores more.",
    ),
    (
        "Learning rate",
        "how far a step of training moves the weights. Full fine-tuning often needs a lower one than LoRA.",
    ),
    ("Epoch", "one pass over all training examples."),
    ("Margin", "the difference up to which fewer trained weights count as good enough; set before the start."),
    (
        "Head only, biases only, from scratch",
        "controls: train only the last layer, only the biases (BitFit, arXiv 2106.10199), or a new network from random "
        "weights. A method that does not beat them is not worth its price.",
    ),
    (
        "Macro-F1",
        "the mean of the F1 scores of all classes, each the harmonic mean of precision and recall: unlike accuracy it "
        "counts every class alike, however few examples it has.",
    ),
    ("Source and target", "what the base was trained on, and what it is fine-tuned on."),
    (
        "Forgetting",
        "accuracy on the source before fine-tuning minus after it, in points. Masked: the network chooses only among "
        "the source's classes, so that what it has learned to prefer does not count as forgetting.",
    ),
    ("Seed", "fixes data order and LoRA's random start. Settings are compared seed by seed."),
    (
        "95 % interval",
        "a range that holds the true mean in about 95 of 100 repetitions: of the difference of an adapter setting from "
        "full fine-tuning with other seeds and other test examples, of everything else with other seeds.",
    ),
    (
        "p",
        "how often chance alone would give a difference at least this large: by a t test over seeds and test examples, "
        "corrected by Holm for the settings tested together. Beside “within the margin” it is that of a shortfall as "
        "large. 0.008 in a table is 0.8 % in a sentence.",
    ),
    (
        "Shown, leaning, seen, open",
        "shown where p is at most the limit of this look: the part of 5 % that so many seeds release, less what "
        "earlier looks have used; leaning where 3 to 6 seeds all agree in sign and a t test rejects, which decides "
        "nothing; seen where the interval excludes 0 but no test has shown the difference, which claims nothing; open "
        "otherwise. “At these rates” means that learning rates were given, not tuned.",
    ),
    (
        "Find the learning rates",
        "ask the same again with a search that finds that of every method and rank in the same way, on "
        "the validation part. At rates that somebody gave, a method may be behind because of its rate.",
    ),
    ("Beats it", "how often a run of the setting is above a run of the other one, a tie counted as half."),
)
"""Each term and what it means."""

OF_CLASSES = ("Macro-F1", "Forgetting")
"""Terms that are explained by classes."""


def words_of(objective: ObjectiveSpec) -> tuple[tuple[str, str], ...]:
    """The terms of a report on runs that learn this; without classes those that need none."""
    if objective.has_classes:
        return WORDS
    ends = ("before", "after") if objective.primary.higher_is_better else ("after", "before")
    lost = ("Forgetting", f"{objective.primary.noun} on the source {ends[0]} fine-tuning minus {ends[1]} it.")
    return (*(words for words in WORDS if words[0] not in OF_CLASSES), lost)
