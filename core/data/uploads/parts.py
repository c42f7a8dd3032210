"""Parts of an uploaded dataset: the words for them, and what becomes of a validation part."""

from __future__ import annotations

from collections.abc import Sequence

PARTS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development", "eval"), "validation"),
}
"""Parts by the words for them, in lower case."""


def part_of(word: str) -> str | None:
    """The part that a word names, in upper or lower case; None if it names none."""
    return PARTS.get(word.strip().lower())


def train_and_test(parts: Sequence[str]) -> tuple[list[str], str | None]:
    """Whether each example is trained on or tested on.

    A validation part belongs to training if there is a test part, and is the test part otherwise: LoRA Lab holds out
    a validation part of its own.

    Args:
        parts: ``train``, ``test`` or ``validation`` for every example.

    Returns:
        ``train`` or ``test`` for every example, and a note on a validation part if there is one.
    """
    if "validation" not in parts:
        return list(parts), None
    instead, use = ("train", "trained on") if "test" in parts else ("test", "used for testing")
    note = f"The validation part of the file is {use}: LoRA Lab holds out one of its own from the training part."
    return [instead if part == "validation" else part for part in parts], note
