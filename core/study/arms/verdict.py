"""Full fine-tuning or LoRA: the answer in one or two sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable

from core.store.record import Run
from core.study.arms.arm import Arm
from core.study.arms.choice import choices_of, chosen_arms, is_full, is_lora, no_choice_sentence
from core.study.arms.pairs import lora_against_full, paired_difference, paired_differences
from core.study.stats.claims import (
    Finding,
    accuracy_sentence,
    more_or_less,
    span_text,
)
from core.wording.numbers import bytes_text, count_text, listed, seconds_text, times_text


def verdict(runs: Iterable[Run]) -> str:
    """Full fine-tuning or LoRA: what these runs show, in one or two sentences that claim no more than they may.

    Each method and rank is represented by the setting that :mod:`core.study.arms.choice` picks. The answer compares the
    best LoRA with full fine-tuning, and its claim is corrected for all the pairs it was picked from.

    Args:
        runs: of one experiment, in any state.
    """
    everything = list(runs)
    if everything and (sentence := no_choice_sentence(everything)):
        return sentence
    chosen = chosen_arms(everything)
    pairs = lora_against_full(chosen)
    if not pairs:
        if {"full", "lora"} <= {arm.method for arm in chosen if not arm.spec.control}:
            return "No verdict: full fine-tuning and LoRA started from different bases or learnt different tasks."
        return "No verdict yet: it takes results of full fine-tuning and of LoRA on the same base and task."
    best = [(choice.best(is_lora), choice.best(is_full)) for choice in choices_of(everything)]
    keys = [(lora.key, full.key) for lora, full in best if lora is not None and full is not None]
    if not keys:
        return (
            "No verdict: nothing ranks these settings, since they have no finished seed in common with an accuracy on "
            "the validation part."
        )
    told = [(lora.key, full.key) for lora, full in pairs].index(keys[0])
    return f"{accuracy_sentence(paired_differences(pairs, 'accuracy')[told])} {_cost_sentence(*pairs[told])}"


def _cost_sentence(lora: Arm, full: Arm) -> str:
    many, few = (arm.interval("trainable_parameters").mean for arm in (full, lora))
    ratio = f"{times_text(many / few)} times fewer" if few < many else f"{times_text(few / many)} times as many"
    slow, fast = (arm.interval("seconds").mean for arm in (full, lora))
    clauses = [
        f"It trained {ratio} parameters ({count_text(few)} against {count_text(many)})",
        f"took {times_text(fast / slow)} times the training time ({seconds_text(fast)} against {seconds_text(slow)})"
        if slow
        else "",
    ]
    if lora.values("adapter_bytes"):
        adapter, checkpoint = lora.interval("adapter_bytes").mean, full.interval("checkpoint_bytes").mean
        clauses.append(f"is stored as a {bytes_text(adapter)} adapter instead of a {bytes_text(checkpoint)} checkpoint")
    if forgot := _forgetting_clause(lora, full):
        clauses.append(forgot)
    return f"{listed([clause for clause in clauses if clause])}."


def _forgetting_clause(lora: Arm, full: Arm) -> str:
    """A clause on forgetting; empty where the target is the source or forgetting was not measured."""
    # With classes left out, plain forgetting mostly shows which outputs the head now prefers.
    masked = bool(lora.spec.source and lora.spec.source.classes)
    difference = paired_difference(lora, full, "forgetting_masked" if masked else "forgetting")
    if lora.spec.source == lora.spec.task or not math.isfinite(difference.interval.half_width):
        return ""
    much, span = more_or_less(difference, "of the source"), span_text(difference.interval)
    if difference.finding is not Finding.NOT_SHOWN:
        return f"forgot {much} ({span})"
    if difference.interval.low <= 0 <= difference.interval.high:
        return f"showed no difference in forgetting ({span})"
    return f"was seen to forget {much} ({span}, not enough seeds for a claim)"
