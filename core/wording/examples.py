"""What examples and their classes are called: images or texts, by the kind of the data."""

from __future__ import annotations

from collections.abc import Sequence

from core.data.dataset import LANGUAGE
from core.numbers import count_text, number_text


def noun(kind: str, count: float = 2) -> str:
    """The word for this many examples of a kind of data, as in ``image`` for 1 and ``texts`` for 12.

    Args:
        kind: of a dataset, or what a network learns; the kinds are named after one example, but for language.
        count: how many; several by default.
    """
    one = "text" if kind == LANGUAGE else kind
    return one if count == 1 else f"{one}s"


def examples_text(kind: str, count: float, part: str = "") -> str:
    """A number of examples with their word, as in ``1,200 test texts``.

    Args:
        kind: see :func:`noun`.
        count: how many.
        part: ``training``, ``validation`` or ``test``; empty for none.
    """
    return " ".join(filter(None, (count_text(count), part, noun(kind, count))))


def class_name(label: int, names: Sequence[str]) -> str:
    """The name of a label; an output of the network that its dataset has no name for is called by its number."""
    return names[label] if label < len(names) else f"output {label}"


def shortened(text: str, length: int) -> str:
    """A text of at most this many characters, as in ``Dinosaurs of th…``."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def target_text(target: float, names: Sequence[str]) -> str:
    """A target or an answer in words: the name of a class for a label, else the number itself.

    Args:
        target: a label as an integer, or a number as a float.
        names: of the classes.
    """
    return class_name(target, names) if isinstance(target, int) else number_text(target, 3)
