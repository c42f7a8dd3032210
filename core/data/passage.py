"""A passage: a text to continue, and which parts of it are scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

SCORED_ROLE = "assistant"
"""Role of the messages that are scored, unless all are."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One example of a language dataset: a text in parts, or messages that a network's chat template makes into one.

    Hashable, so that duplicates are found in a set.
    """

    parts: tuple[tuple[str, bool], ...] = ()
    """Texts in their order, and whether each is scored; empty where there are messages. The text is their plain
    concatenation, without a separator."""
    messages: tuple[tuple[str, str], ...] = ()
    """(role, content) of each message, in their order; empty where there are parts."""
    all_scored: bool = False
    """Whether every message is scored, and not only those of the role ``assistant``; parts say it for themselves."""

    @classmethod
    def whole(cls, text: str) -> Self:
        """A text that is scored as a whole."""
        return cls(((text, True),))

    @classmethod
    def prompted(cls, prompt: str, completion: str, all_scored: bool = False) -> Self:
        """A completion that follows a prompt. Args: all_scored: whether the prompt is scored, too."""
        parts = ((prompt, all_scored), (completion, True))
        return cls(tuple(part for part in parts if part[0]))

    @property
    def pieces(self) -> tuple[tuple[str, bool], ...]:
        """The parts, or the contents of the messages, and whether each is scored; without what a chat template adds."""
        said = ((content, self.all_scored or role == SCORED_ROLE) for role, content in self.messages)
        return self.parts or tuple(said)

    @property
    def text(self) -> str:
        """The whole text; of messages their contents, a line each."""
        return ("" if self.parts else "\n").join(text for text, _ in self.pieces)
