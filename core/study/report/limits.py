"""What cannot be concluded from an experiment, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.methods.method import Role
from core.networks.network import NetworkSpec
from core.numbers import capitalized, counted, listed
from core.results.arm import Arm, all_arms
from core.results.row import Row
from core.rule.claims import Level
from core.rule.compared import paired_differences
from core.rule.place import Place
from core.rule.settled import Course, course_of
from core.rule.tuning import end_sentences, name_in_sentence, rate_words, rates_tried
from core.rule.words import off_text
from core.run_spec import RunSpec
from core.study.arms.fairness import comparable
from core.study.report.evidence import Evidence
from core.tasks.views.registry import view_of
from core.wording.tasks import noun


def limits_of(evidence: Evidence) -> list[str]:
    """The limits that this design and these numbers have, the most important first."""
    specs, measure = [run.spec for run in evidence.members], evidence.objective.primary
    seeds, network, nouns = len(evidence.seeds), specs[0].network, noun(specs[0].network.learns)
    bases = held_sentence(specs[0], evidence.network)
    if specs[0].source is None:
        bases += " Nothing tells what the network has forgotten of what it knew before."
    elif specs[0].is_direct:
        bases += " What it knew before is more than what its forgetting is measured on."
    elif not specs[0].own_base:
        bases += " An experiment with a base for each seed would show what those give."
    sentences = [
        _network(network, evidence.network),
        bases,
        f"The intervals are over {counted(seeds, 'seed')}, that is over {_drawn(specs)}. Those of adapter settings "
        f"minus full fine-tuning are over test {nouns} as well, where the answers to each are known; all others hold "
        f"for these test {nouns}.",
        *evidence.overlaps,
        *better_tested(evidence.verdict, evidence.rows),
        _lengths(evidence),
    ]
    rates = rates_tried(row.setting for row in evidence.rows)
    alphas = {spec.method.strength for spec in specs if spec.method.strength_field}
    if len(alphas) == 1:
        tuned = {spec.label for spec in specs if spec.method.strength_field} <= set(rates.several)
        other = "only the learning rate was tuned to it" if tuned else "no other was tried"
        sentences.append(f"Alpha was {alphas.pop():g} throughout; {other}.")
    if not rates.several:
        sentences.append("No learning rate was tuned: a method may do better at a rate of its own.")
    elif rates.one:
        names = listed([name_in_sentence(label) for label in rates.one])
        sentences.append(f"The learning rate was not tuned for {names}, which may do better at another one.")
    labels = {arm.key: arm.label for arm in evidence.named}
    candidates = [each for each in evidence.verdict.candidates if Level.SHOWN not in (each.level, each.within)]
    for holds_zero, start, words in (
        (True, "Not shown is not the same as equal", "no difference in {} from full fine-tuning is shown for"),
        (False, "Seen is not the same as shown", "a difference in {} was seen, and is not a claim, for"),
    ):
        if found := [labels[each.arm.key] for each in candidates if each.difference.holds_zero is holds_zero]:
            sentences.append(f"{start}: {words.format(measure.noun)} {listed(found)}.")
    sentences += end_sentences(evidence.choices)
    # Each learning rate of a tuned experiment fails or is left out on its own account: fairness is that of the choice.
    sentences += comparable(row for row in evidence.rows if not evidence.tuned or row.state != "failed")
    banks = {run.result.bank for run in evidence.members if run.result}
    if banks and max(banks) > 1:
        sentences.append(
            f"Up to {max(banks)} runs were trained side by side, and each is charged an equal share of the time. The "
            "times of methods are therefore not measured under the same conditions, and their ratio says nothing about "
            "LoRA: in plain PyTorch a step of LoRA may take longer than one of full fine-tuning."
        )
    if evidence.remeasured.missing:
        sentences.append(f"Some things could not be measured again: {evidence.remeasured.missing}")
    return sentences


def _lengths(evidence: Evidence) -> str:
    """How long the compared settings trained, and which of them may gain from more."""
    found = evidence.verdict
    compared = {arm.spec.optim.epochs for arm in evidence.chosen}
    tried = {run.spec.optim.epochs for run in evidence.members if run.spec.role is not Role.BASE}
    epochs = f"{listed([str(n) for n in sorted(compared)])} epoch{'' if compared == {1} else 's'}"
    trained = f"All settings trained for {epochs}."
    if len(tried) > 1:
        among = listed([str(n) for n in sorted(tried)])
        trained = f"The settings that are compared trained for {epochs}, which validation chose among {among}."
    arms = [arm for arm in (found.full, *(each.arm for each in found.candidates)) if arm is not None]
    stay = {arm.key for arm in found.compared} if found.holds_on else set[str]()
    may_gain = [arm for arm in arms if arm.key not in stay and course_of(arm) is not Course.SETTLED]
    if len(may_gain) == len(arms):
        return f"{trained} What learns more slowly may catch up in a longer training."
    names = listed([name_in_sentence(arm.name) for arm in may_gain])
    return f"{trained} {capitalized(names)} may still gain from a longer training." if may_gain else trained


def better_tested(found: Place, rows: Iterable[Row]) -> list[str]:
    """A sentence for each compared setting beside which another rate or length of its method and rank was seen to be
    better on the test part by more than the margin, with the seeds of both; it names the best one, and chooses nothing.

    Args:
        found: the verdict.
        rows: of the experiment.
    """
    tried = [arm.finished_only for arm in all_arms(rows) if not arm.failed] if found.told is not None else []
    sentences = []
    for chosen in found.compared if tried else ():
        (own,) = [arm for arm in tried if arm.key == chosen.key]
        group = own.setting.group[:-1]
        alike = [arm for arm in tried if arm.setting.group[:-1] == group and arm is not own]
        differences = paired_differences([(arm, own) for arm in alike], own.primary)
        sign = own.what().sign
        ahead = [
            (sign * each.interval.mean, arm, each)
            for arm, each in zip(alike, differences, strict=True)
            if sign * each.interval.mean > found.margin and not each.holds_zero
        ]
        if ahead:
            _, best, difference = max(ahead, key=lambda one: one[0])
            few = len(difference.seeds) < len(chosen.finished)
            over = f" over the {len(difference.seeds)} seeds that both have," * few
            sentences.append(
                f"On the test part,{over} {_in_full(best)} was seen to be {off_text(difference)} than {_in_full(own)}, "
                "which the validation part chose: to choose by the test part would be no fair estimate, so the answer "
                "rests on what the validation part chose."
            )
    return sentences


def _in_full(arm: Arm) -> str:
    """A setting with its rate and length, as in ``LoRA r=4 at learning rate 0.01 with 90 epochs``."""
    return f"{name_in_sentence(arm.name)}{rate_words(arm)} with {counted(arm.spec.optim.epochs, 'epoch')}"


def held_sentence(spec: RunSpec, network: str) -> str:
    """What the intervals of an experiment hold for, by what its runs start from.

    Args:
        spec: of any of its runs.
        network: name of the network.
    """
    if spec.own_base:
        return (
            "Each seed has a base of its own, and differences are paired by seed: the intervals hold for bases trained "
            "like these, on this source, with this network."
        )
    if spec.is_direct:
        head = ", with a head that each seed draws anew" if spec.has_new_head else ""
        return f"All runs start from {network} as it was imported{head}: the intervals hold for no other network."
    return "All runs start from one base: the intervals hold for other fine-tuning seeds, not for other bases."


def _network(network: NetworkSpec, name: str) -> str:
    reads = view_of(network.learns).reads
    if network.brought is not None:
        return (
            f"The network is {name}, a {network.title} that reads {reads}. What holds here need not "
            "hold for another network, and least for a much larger one."
        )
    return (
        f"The network is a {network.title} of {name} units on {reads}. What holds here need not "
        "hold for a language model or a larger network."
    )


def _drawn(specs: Sequence[RunSpec]) -> str:
    """What a seed draws."""
    spec, own = specs[0], dict.fromkeys(spec.method.drawn for spec in specs if spec.method.drawn)
    head = ["the draw of the head"] if spec.has_new_head else []
    dropout = ["dropout"] if spec.network.facts.get("Dropout", "none") != "none" else []
    return listed(["data order", *dropout, *head, *own])
