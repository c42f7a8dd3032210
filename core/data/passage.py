"""A passage: a text to continue, which parts of it are scored, and its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
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


@dataclass(frozen=True)
class Tokenized:
    """The tokens of one text, without marks of its beginning and end."""

    ids: list[int]
    starts: list[int]
    """Byte of the text at which each token begins."""
    ends: list[int]
    """Byte behind each token. Tokens that share a character, such as an emoji, have all of it."""

    @classmethod
    def of_sizes(cls, ids: Sequence[int], sizes: Sequence[int]) -> Self:
        """From how many bytes each token stands for."""
        ends = list(accumulate(sizes))
        return cls(list(ids), [0, *ends[:-1]], ends)

    @classmethod
    def of_offsets(cls, text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]]) -> Self:
        """From a tokenizer's offsets. Args: offsets: first character of each token, and the one behind its last."""
        if text.isascii():
            return cls(list(ids), [start for start, _ in offsets], [end for _, end in offsets])
        places = [0, *accumulate(len(character.encode()) for character in text)]
        return cls(list(ids), [places[start] for start, _ in offsets], [places[end] for _, end in offsets])

    def size_of(self, count: int) -> int:
        """Bytes that the first tokens stand for, without a character of which only a part is among them."""
        if not count:
            return 0
        is_part = count < len(self.ids) and self.starts[count] < self.ends[count - 1]
        return self.starts[count - 1] if is_part else self.ends[count - 1]
