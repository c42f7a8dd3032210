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
        "how often chance alone would give a difference at least this large: the larger value of a t test over seeds "
        "and test examples, corrected by Holm for all adapter settings, and a joint sign-flip test over seeds.",
    ),
    (
        "Shown, leaning, open",
        "shown where p is at most the level of this look at the results, which is what earlier looks have left of 5 %; "
        "leaning where 3 to 6 seeds all agree in sign and a t test rejects, which decides nothing; open otherwise.",
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
    lost = ("Forgetting", f"{objective.primary.noun} on the source before fine-tuning minus after it.")
    return (*(words for words in WORDS if words[0] not in OF_CLASSES), lost)
