"""A text as tokens, with the bytes of UTF-8 that each token stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self


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
