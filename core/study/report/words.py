"""The terms of a report, for readers who never saw the dashboard."""

from __future__ import annotations

from core.objectives.objective import ObjectiveSpec

WORDS: tuple[tuple[str, str], ...] = (
    ("Full fine-tuning", "every weight of the pretrained network goes on training."),
    (
        "LoRA",
        "the pretrained weights stay as they are; beside each layer two small matrices of rank r are trained, whose "
        "product is added to the layer's weight (Hu et al., arXiv 2106.09685).",
    ),
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
        "the source's classes, so that what it has learnt to prefer does not count as forgetting.",
    ),
    ("Seed", "fixes data order and LoRA's random start. Settings are compared seed by seed."),
    (
        "95 % interval",
        "Student's t interval: a range that holds the true mean in about 95 of 100 repetitions with other seeds.",
    ),
    (
        "p",
        "how often chance alone would give a difference at least this large: the larger value of the paired t test and "
        "the sign-flip test, corrected by Holm for all LoRA ranks together, and for all controls together.",
    ),
    (
        "Shown, leaning, open",
        "shown where p ≤ 0.05; leaning where there are too few seeds for the sign-flip test, and the t test rejects "
        "with all seeds agreeing in sign; open otherwise.",
    ),
    ("Bootstrap", "a second 95 % interval, by resampling the differences (BCa), which does not assume normal ones."),
    ("Beats it", "how often a run of the setting is above a run of the other one, a tie counted as half."),
)
"""Each term and what it means."""

OF_CLASSES = ("Macro-F1", "Forgetting")
"""Terms that are explained by classes."""


def words_of(objective: ObjectiveSpec) -> tuple[tuple[str, str], ...]:
    """The terms of a report on runs that learn this; without classes those that need none."""
    if objective.has_classes:
        return WORDS
    lost = ("Forgetting", f"{objective.primary.noun} on the source before fine-tuning minus after it.")
    return (*(words for words in WORDS if words[0] not in OF_CLASSES), lost)
